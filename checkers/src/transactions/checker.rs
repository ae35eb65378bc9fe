//! The checker of list-append histories: takes everything in, and says at the end what was found.

use std::collections::BTreeSet;

use store::Event;

use super::anomaly::{Anomaly, Base};
use super::components::components;
use super::conclude::{Cycles, NOT_ENOUGH, Proved, conclude, cycles, undecided};
use super::edges::Edges;
use super::evidence::Objects;
use super::feeding::Feeding;
use super::graph::{DEPENDENCIES, Graph, OVERWRITTEN, RW};
use super::history::Transactions;
use super::intake::Intake;
use super::models::{Boundary, DEFAULT, Level, find};
use super::prove::Prover;
use super::scan::{Sightings, scan};
use super::search::{also, rank};
use super::shapes::{self, Conflict, Lists, Shapes};
use super::verify::{verify_anomaly, verify_cycle};
use super::versions::Versions;
use crate::budget::{Budget, Exhausted, Scope};
use crate::{CheckResult, Checker, Evidence, Feed};

/// What to check.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The level that decides the verdict.
    pub consistency: &'static Level,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            consistency: find(DEFAULT).unwrap_or(&super::models::LEVELS[0]),
        }
    }
}

/// Checks the isolation of transactions that append to lists and read them.
///
/// Values are `[["append", key, element], ["r", key, list]]`. Each element is appended to its key at most once.
pub struct ListAppend {
    options: Options,
    feeding: Feeding,
}

impl ListAppend {
    /// A checker that has seen nothing.
    pub fn new(options: Options) -> ListAppend {
        ListAppend {
            options,
            feeding: Feeding::of(Objects::Lists),
        }
    }
}

impl Checker for ListAppend {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.feeding.feed(events, budget)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let level = self.options.consistency;
        self.feeding
            .finish(budget, |intake| judge(intake, level, budget))
    }
}

/// All that was found in a history.
struct Findings {
    sightings: Sightings,
    cycles: Cycles,
    shapes: Shapes,
    /// Whether transactions depend on each other at all.
    depends: bool,
    /// Orders of the appends that nobody read, where their order matters: each as the cycles that there are then.
    guesses: Vec<BTreeSet<Anomaly>>,
}

impl Findings {
    /// The anomalies that were found.
    fn anomalies(&self) -> BTreeSet<Anomaly> {
        self.sightings
            .by_anomaly
            .keys()
            .chain(self.cycles.keys())
            .chain(self.shapes.keys())
            .copied()
            .collect()
    }
}

fn look(intake: &Intake, versions: &Versions, budget: &dyn Budget) -> Result<Findings, Exhausted> {
    let all = &intake.transactions;
    let sightings = scan(all, versions, budget)?;
    let mut edges = Edges::new(all, versions, budget)?;
    let (graph, depends) = edges.graph(budget)?;
    let component = components(&graph, !0, budget)?;
    let cycles = cycles(&graph, &component, budget)?;
    let lists = Lists {
        all,
        versions,
        guess: edges.guesses(),
    };
    let mut findings = Findings {
        sightings,
        shapes: shapes::find(&lists, &graph, &cycles, budget)?,
        cycles,
        depends,
        guesses: Vec::new(),
    };
    if !findings.cycles.is_empty() && edges.is_contested(&component) {
        let certain = findings.anomalies();
        findings.guesses = guess((all, versions), &mut edges, &graph, &certain, budget)?;
    }
    Ok(findings)
}

/// By what dependencies appends that nobody read are ordered.
#[derive(Clone, Copy, PartialEq)]
enum Rank {
    All,
    /// Without two anti-dependencies in a row.
    Apart,
    /// Without anti-dependencies.
    Committed,
    /// The same, and such that no update is lost.
    Updates,
    /// The same, and such that who writes after another missed nothing of it.
    Atomic,
}

impl Rank {
    const ALL: [Rank; 5] = [
        Rank::All,
        Rank::Apart,
        Rank::Committed,
        Rank::Updates,
        Rank::Atomic,
    ];
}

/// Orders of the appends that nobody read, until all models hold in one of them that may.
fn guess(
    (all, versions): (&Transactions, &Versions),
    edges: &mut Edges,
    graph: &Graph,
    certain: &BTreeSet<Anomaly>,
    budget: &dyn Budget,
) -> Result<Vec<BTreeSet<Anomaly>>, Exhausted> {
    let mut ways = Vec::new();
    let lists = Lists {
        all,
        versions,
        guess: edges.guesses(),
    };
    let updates = shapes::with_conflicts(&lists, graph, Conflict::Cursor, budget)?;
    let atomic = shapes::with_conflicts(&lists, graph, Conflict::Any, budget)?;
    let ranks = Rank::ALL.into_iter();
    for (by, base) in ranks.flat_map(|by| Base::ALL.map(|base| (by, base))) {
        let budget = &Scope::of(budget);
        let committed = DEPENDENCIES & !RW | also(base);
        edges.guess(match by {
            Rank::All => rank(graph, base, false, budget)?,
            Rank::Apart => rank(graph, base, true, budget)?,
            Rank::Committed => components(graph, committed, budget)?,
            Rank::Updates => components(&updates, committed | OVERWRITTEN, budget)?,
            Rank::Atomic => components(&atomic, committed | OVERWRITTEN, budget)?,
        });
        let (guessed, _) = edges.graph(budget)?;
        let component = components(&guessed, !0, budget)?;
        let mut way = certain.clone();
        let cycles = cycles(&guessed, &component, budget)?;
        let lists = Lists {
            all,
            versions,
            guess: edges.guesses(),
        };
        way.extend(shapes::find(&lists, &guessed, &cycles, budget)?.into_keys());
        way.extend(cycles.into_keys());
        ways.push(way);
        if !Boundary::of(certain, &ways, &|level| level.decided).is_open(&|level| level.decided) {
            break;
        }
    }
    Ok(ways)
}

fn prove(findings: &Findings, prover: &Prover) -> Proved {
    let mut proved = Proved::default();
    for (anomaly, (count, kept)) in &findings.sightings.by_anomaly {
        let made = kept.iter().map(|sighting| {
            let one = prover.sighting(sighting);
            verify_anomaly(&one).map_err(|why| why.to_string())?;
            Ok(Evidence::Anomaly(Box::new(one)))
        });
        proved.keep(*anomaly, *count, made);
    }
    for (anomaly, (count, kept)) in &findings.cycles {
        let made = kept.iter().map(|found| {
            let cycle = prover.cycle(found).ok_or("a step has no reason")?;
            verify_cycle(&cycle).map_err(|why| why.to_string())?;
            Ok(Evidence::Cycle(Box::new(cycle)))
        });
        proved.keep(*anomaly, *count, made);
    }
    for (anomaly, (count, kept)) in &findings.shapes {
        let made = kept.iter().map(|shape| {
            let cycle = prover.shape(shape).ok_or("a step has no reason")?;
            verify_cycle(&cycle).map_err(|why| why.to_string())?;
            Ok(Evidence::Cycle(Box::new(cycle)))
        });
        proved.keep(*anomaly, *count, made);
    }
    proved
}

fn judge(intake: &Intake, level: &Level, budget: &dyn Budget) -> Result<CheckResult, Exhausted> {
    let budget = &Scope::of(budget);
    let all = &intake.transactions;
    let versions = Versions::infer(all, budget)?;
    let findings = look(intake, &versions, budget)?;
    let prover = Prover {
        all,
        versions: &versions,
    };
    let proved = prove(&findings, &prover);
    let keys = 0..all.keys.len() as u32;
    let whole = keys.into_iter().all(|key| versions.is_whole(all, key));
    let complete = whole && findings.depends && proved.unproved.is_empty();
    let anomalies: BTreeSet<Anomaly> = proved.counts.keys().copied().collect();
    let ways = match complete {
        false => &[][..],
        true if findings.guesses.is_empty() => std::slice::from_ref(&anomalies),
        true => &findings.guesses,
    };
    let boundary = Boundary::of(&anomalies, ways, &|level| level.decided);
    let open = || {
        if let Some(twice) = versions.ambiguous.first() {
            let event = |transaction: u32| {
                all.invoke[transaction as usize].min(all.complete[transaction as usize])
            };
            format!(
                "the element {} was appended to key {} twice, at events {} and {}: each element of a key must be unique",
                all.elements.value(twice.code),
                all.key_value(twice.key),
                event(twice.first),
                event(twice.second)
            )
        } else if !findings.depends {
            NOT_ENOUGH.to_owned()
        } else if !whole {
            "the order of some keys' versions is not known, because their lists contradict each other".to_owned()
        } else if level.decided {
            "it depends on the order of appends that nobody read".to_owned()
        } else {
            undecided(level, &boundary)
        }
    };
    Ok(conclude(level, intake, &proved, &boundary, open))
}
