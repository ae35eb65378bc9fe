//! The checker of list-append histories: takes everything in, and says at the end what was found.

use std::collections::BTreeSet;

use store::Event;

use super::anomaly::{Anomaly, Base};
use super::components::components;
use super::conclude::{Cycles, NOT_ENOUGH, Proved, conclude, cycles, undecided};
use super::deciding::Standings;
use super::edges::Edges;
use super::evidence::Objects;
use super::feeding::Feeding;
use super::fewest::fewest;
use super::graph::Graph;
use super::history::Transactions;
use super::intake::Intake;
use super::models::{Boundary, DEFAULT, Level, find};
use super::prove::Prover;
use super::scan::{Sightings, scan};
use super::search::{Anti, rank};
use super::shapes::{self, Conflict, Shapes};
use super::unread::Unread;
use super::versions::Versions;
use crate::budget::{Budget, Exhausted, Scope};
use crate::{CheckResult, Checker, Feed};

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
    fn hurry(&mut self) {
        self.feeding.hurry(self.options.consistency);
    }

    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        let level = self.options.consistency;
        self.feeding
            .feed(events, budget, |intake| judge(intake, level, budget))
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let level = self.options.consistency;
        self.feeding
            .finish(budget, |intake| judge(intake, level, budget))
    }
}

/// What is found in a history, whatever the order of the appends that nobody read.
struct Findings {
    sightings: Sightings,
    cycles: Cycles,
    shapes: Shapes,
    /// Whether transactions depend on each other at all.
    depends: bool,
    /// All dependencies, and the components that they form, where there are cycles.
    tangled: Option<(Graph, Vec<u32>)>,
}

fn look(
    all: &Transactions,
    versions: &Versions,
    edges: &Edges,
    budget: &dyn Budget,
) -> Result<Findings, Exhausted> {
    let sightings = scan(all, versions, budget)?;
    let (graph, depends) = edges.graph(budget)?;
    let component = components(&graph, !0, budget)?;
    let cycles = cycles(&graph, &component, budget)?;
    Ok(Findings {
        sightings,
        shapes: shapes::find(&edges.lists(), &graph, &cycles, budget)?,
        depends,
        tangled: (!cycles.is_empty()).then_some((graph, component)),
        cycles,
    })
}

/// By which dependencies appends that nobody read are put in an order: with which anti-dependencies, and whether such that who wrote a
/// key after another had not missed what this one wrote, of that key or of any.
const RANKS: [(Anti, Option<Conflict>); 5] = [
    (Anti::Any, None),
    (Anti::Apart, None),
    (Anti::No, None),
    (Anti::No, Some(Conflict::Cursor)),
    (Anti::No, Some(Conflict::Any)),
];

/// Orders of the appends that nobody read, until all models hold in one of them that may.
fn guess(
    edges: &mut Edges,
    graph: &Graph,
    certain: &BTreeSet<Anomaly>,
    budget: &dyn Budget,
) -> Result<Vec<BTreeSet<Anomaly>>, Exhausted> {
    let mut ways = Vec::new();
    let known = edges.lists();
    for (anti, conflict) in RANKS {
        let budget = &Scope::of(budget);
        let firsts = conflict.map(|what| shapes::with_conflicts(&known, graph, what, budget));
        let firsts = firsts.transpose()?;
        for base in Base::ALL {
            let budget = &Scope::of(budget);
            edges.guess(rank(firsts.as_ref().unwrap_or(graph), base, anti, budget)?);
            let (guessed, _) = edges.graph(budget)?;
            let component = components(&guessed, !0, budget)?;
            let cycles = cycles(&guessed, &component, budget)?;
            let mut way = certain.clone();
            way.extend(shapes::find(&edges.lists(), &guessed, &cycles, budget)?.into_keys());
            way.extend(cycles.into_keys());
            ways.push(way);
            let boundary = Boundary::of(certain, &ways, &|level| level.decided);
            if !boundary.is_open(&|level| level.decided) {
                return Ok(ways);
            }
        }
    }
    Ok(ways)
}

fn prove(findings: &Findings, prover: &Prover) -> Proved {
    let mut proved = Proved::of(
        &findings.sightings,
        &findings.cycles,
        |sighting| prover.sighting(sighting),
        |found| prover.cycle(found),
    );
    for (anomaly, (count, kept)) in &findings.shapes {
        let made = kept.iter().map(|shape| prover.shape(shape));
        proved.keep_cycles(*anomaly, *count, made);
    }
    proved
}

fn judge(intake: &Intake, level: &Level, budget: &dyn Budget) -> Result<CheckResult, Exhausted> {
    let budget = &Scope::of(budget);
    let all = &intake.transactions;
    let versions = Versions::infer(all, budget)?;
    let mut edges = Edges::new(all, &versions, budget)?;
    let findings = look(all, &versions, &edges, budget)?;
    let prover = Prover {
        all,
        versions: &versions,
    };
    let mut proved = prove(&findings, &prover);
    let keys = 0..all.keys.len() as u32;
    let whole = keys.into_iter().all(|key| versions.is_whole(all, key));
    let complete = whole && findings.depends && proved.unproved.is_empty();
    let anomalies: BTreeSet<Anomaly> = proved.counts.keys().copied().collect();
    let mut ways = Vec::from_iter(complete.then(|| anomalies.clone()));
    let tangled = findings.tangled.as_ref().filter(|_| complete);
    if let Some((graph, component)) = tangled
        && !edges.contested(component).is_empty()
    {
        ways = guess(&mut edges, graph, &anomalies, budget)?;
    }
    let mut standings = Standings::of(anomalies, ways, &|level| level.decided);
    if let Some((graph, _)) = tangled {
        let unread = Unread {
            edges: &edges,
            graph,
            prover: &prover,
        };
        unread.settle(level, &mut standings, &mut proved, budget)?;
    }
    let Standings { boundary, why, .. } = standings;
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
        } else if let Some(why) = why {
            format!(
                "it depends on the order of appends that nobody read, and neither an order was found that explains the history, nor an \
                 argument that there is none: {why}"
            )
        } else if level.decided {
            "it depends on the order of appends that nobody read".to_owned()
        } else {
            undecided(level, &boundary)
        }
    };
    let mut result = conclude(level, intake, &proved, &boundary, open);
    let evidence = result.evidence.into_iter();
    result.evidence = evidence
        .map(|one| fewest(one, &|few| find_in(few, budget)))
        .collect();
    Ok(result)
}

/// What is found in a few transactions.
fn find_in(few: &Intake, budget: &dyn Budget) -> Result<Proved, Exhausted> {
    let budget = &Scope::of(budget);
    let all = &few.transactions;
    let versions = &Versions::infer(all, budget)?;
    let findings = look(all, versions, &Edges::new(all, versions, budget)?, budget)?;
    Ok(prove(&findings, &Prover { all, versions }))
}
