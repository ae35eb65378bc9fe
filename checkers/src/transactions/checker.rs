//! The checker: takes everything in, and says at the end what was found.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use store::{Event, Process};

use super::anomaly::{Anomaly, Base};
use super::components::{components, groups};
use super::graph::{Edges, Graph};
use super::intake::{Intake, Malformed};
use super::models::{Boundary, DEFAULT, Level, Standing, find};
use super::prove::Prover;
use super::scan::{KEPT, Sightings, scan};
use super::search::{Found, rank, search};
use super::values::NONE;
use super::verify::{verify_anomaly, verify_cycle};
use super::versions::Versions;
use crate::budget::{Budget, Exhausted, Scope};
use crate::{CheckResult, Checker, Evidence, Feed, Valid};

/// How many events pass between two looks at the budget.
const LOOK: u64 = 1 << 12;

/// How many pieces of evidence a verdict comes with.
const EVIDENCE_MAX: usize = 24;

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
    intake: Intake,
    events: u64,
    charged: usize,
    stopped: Option<Stopped>,
}

enum Stopped {
    Malformed(Malformed),
    Exhausted(Exhausted),
}

impl ListAppend {
    /// A checker that has seen nothing.
    pub fn new(options: Options) -> ListAppend {
        ListAppend {
            options,
            intake: Intake::default(),
            events: 0,
            charged: 0,
            stopped: None,
        }
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) -> Result<(), Stopped> {
        let Process::Client(process) = event.process else {
            return Ok(());
        };
        self.events += 1;
        if self.events.is_multiple_of(LOOK) {
            budget.check().map_err(Stopped::Exhausted)?;
            let more = self.intake.bytes().saturating_sub(self.charged);
            budget.charge(more).map_err(Stopped::Exhausted)?;
            self.charged += more;
        }
        self.intake.take(event, process).map_err(Stopped::Malformed)
    }
}

impl Checker for ListAppend {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        for event in events {
            if self.stopped.is_some() {
                break;
            }
            if let Err(why) = self.take(event, budget) {
                self.stopped = Some(why);
            }
        }
        match self.stopped {
            Some(Stopped::Exhausted(_)) => Feed::Exhausted,
            // What is malformed is said at the end.
            Some(Stopped::Malformed(_)) | None => Feed::Continue,
        }
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let result = match &self.stopped {
            Some(Stopped::Malformed(malformed)) => {
                CheckResult::new(Valid::Unknown, malformed.to_string())
            }
            Some(Stopped::Exhausted(exhausted)) => out_of_budget(*exhausted),
            None => {
                judge(&self.intake, self.options.consistency, budget).unwrap_or_else(out_of_budget)
            }
        };
        budget.release(self.charged);
        result
    }
}

fn out_of_budget(exhausted: Exhausted) -> CheckResult {
    CheckResult::new(Valid::Unknown, format!("out of budget: {exhausted}"))
}

/// Cycles of one name, and how many components have one.
type Cycles = BTreeMap<Anomaly, (u64, Vec<Found>)>;

/// All that was found in a history.
struct Findings {
    sightings: Sightings,
    cycles: Cycles,
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
    let mut findings = Findings {
        sightings,
        cycles: cycles(&graph, &component, budget)?,
        depends,
        guesses: Vec::new(),
    };
    if !findings.cycles.is_empty() && edges.is_contested(&component) {
        findings.guesses = guess(&mut edges, &graph, &findings.anomalies(), budget)?;
    }
    Ok(findings)
}

/// Orders of the appends that nobody read, until all models hold in one of them that may.
fn guess(
    edges: &mut Edges,
    graph: &Graph,
    certain: &BTreeSet<Anomaly>,
    budget: &dyn Budget,
) -> Result<Vec<BTreeSet<Anomaly>>, Exhausted> {
    let mut ways = Vec::new();
    for (apart, base) in [false, true]
        .into_iter()
        .flat_map(|apart| Base::ALL.map(|base| (apart, base)))
    {
        let budget = &Scope::of(budget);
        edges.guess(rank(graph, base, apart, budget)?);
        let (guessed, _) = edges.graph(budget)?;
        let component = components(&guessed, !0, budget)?;
        let mut way = certain.clone();
        way.extend(cycles(&guessed, &component, budget)?.into_keys());
        ways.push(way);
        if !Boundary::of(certain, &ways).is_open() {
            break;
        }
    }
    Ok(ways)
}

fn cycles(graph: &Graph, component: &[u32], budget: &dyn Budget) -> Result<Cycles, Exhausted> {
    let mut local = vec![NONE; graph.vertices() as usize];
    let mut cycles = Cycles::new();
    for members in groups(component) {
        for found in search(graph, &members, &mut local, budget)? {
            let (count, kept) = cycles.entry(found.anomaly).or_default();
            *count += 1;
            kept.push(found);
            // The shortest are the easiest to read.
            kept.sort_by_key(|found| found.links.len());
            kept.truncate(KEPT);
        }
    }
    Ok(cycles)
}

/// Evidence that was proved again, by anomaly, with how often each was found; and which could not be proved.
struct Proved {
    evidence: BTreeMap<Anomaly, Vec<Evidence>>,
    counts: BTreeMap<Anomaly, u64>,
    unproved: Vec<String>,
}

fn prove(findings: &Findings, prover: &Prover) -> Proved {
    let mut proved = Proved {
        evidence: BTreeMap::new(),
        counts: BTreeMap::new(),
        unproved: Vec::new(),
    };
    let mut keep = |anomaly: Anomaly, count: u64, evidence: Vec<Evidence>, doubts: Vec<String>| {
        proved.unproved.extend(doubts);
        if !evidence.is_empty() {
            proved.counts.insert(anomaly, count);
            proved.evidence.insert(anomaly, evidence);
        }
    };
    for (anomaly, (count, kept)) in &findings.sightings.by_anomaly {
        let (mut evidence, mut doubts) = (Vec::new(), Vec::new());
        for sighting in kept {
            let one = prover.sighting(sighting);
            match verify_anomaly(&one) {
                Ok(()) => evidence.push(Evidence::Anomaly(Box::new(one))),
                Err(why) => doubts.push(format!("{anomaly}: {why}")),
            }
        }
        keep(*anomaly, *count, evidence, doubts);
    }
    for (anomaly, (count, kept)) in &findings.cycles {
        let (mut evidence, mut doubts) = (Vec::new(), Vec::new());
        for found in kept {
            match prover
                .cycle(found)
                .map(|cycle| verify_cycle(&cycle).map(|()| cycle))
            {
                Some(Ok(cycle)) => evidence.push(Evidence::Cycle(Box::new(cycle))),
                Some(Err(why)) => doubts.push(format!("{anomaly}: {why}")),
                None => doubts.push(format!("{anomaly}: a step has no reason")),
            }
        }
        keep(*anomaly, *count, evidence, doubts);
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
    let boundary = Boundary::of(&anomalies, ways);

    let mut details = details(intake, &proved, &boundary);
    let disproof = disproof(&proved, level);
    let (valid, reason) = match boundary.standing(level) {
        Standing::Violated => (Valid::False, violated(level, &proved, &boundary)),
        Standing::Holds => (Valid::True, holds(level, &proved, &boundary)),
        Standing::Open => {
            let why = if let Some(unproved) = proved.unproved.first() {
                format!("something was found that could not be proved again: {unproved}")
            } else if let Some(twice) = versions.ambiguous.first() {
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
                "not enough evidence: no transaction read what another wrote, or would write"
                    .to_owned()
            } else if !whole {
                "the order of some keys' versions is not known, because their lists contradict each other".to_owned()
            } else if level.decided {
                "it depends on the order of appends that nobody read".to_owned()
            } else {
                let nearest = boundary.strongest_holding();
                let names: Vec<&str> = nearest.iter().map(|level| level.name).collect();
                format!(
                    "no check is complete for {} alone; what holds is {}",
                    level.name,
                    names.join(" and ")
                )
            };
            (Valid::Unknown, why)
        }
    };
    details.insert("consistency".to_owned(), level.name.into());
    if !proved.unproved.is_empty() {
        details.insert("unproved".to_owned(), json!(proved.unproved));
    }
    Ok(CheckResult {
        valid,
        reason,
        evidence: if valid == Valid::False {
            disproof
        } else {
            Vec::new()
        },
        details,
    })
}

/// Evidence against a level: one of each anomaly, the most telling first, and then more of them.
fn disproof(proved: &Proved, level: &Level) -> Vec<Evidence> {
    let against = || {
        proved
            .evidence
            .iter()
            .filter(|(anomaly, _)| level.rules_out(**anomaly))
    };
    let round = |at: usize| against().filter_map(move |(_, evidence)| evidence.get(at));
    (0..KEPT)
        .flat_map(round)
        .take(EVIDENCE_MAX)
        .cloned()
        .collect()
}

fn names(levels: &[&Level]) -> Vec<&'static str> {
    levels.iter().map(|level| level.name).collect()
}

/// The anomalies with their numbers, in words.
fn list_of(proved: &Proved, which: impl Fn(Anomaly) -> bool) -> String {
    let counts = proved.counts.iter().filter(|(anomaly, _)| which(**anomaly));
    let words: Vec<String> = counts
        .map(|(anomaly, count)| match count {
            1 => anomaly.name().to_owned(),
            count => format!("{anomaly} ({count} times)"),
        })
        .collect();
    words.join(", ")
}

fn violated(level: &Level, proved: &Proved, boundary: &Boundary) -> String {
    let found = list_of(proved, |anomaly| level.rules_out(anomaly));
    let weakest = names(&boundary.weakest_violated()).join(" and ");
    let left = match names(&boundary.strongest_holding()) {
        none if none.is_empty() => "no weaker model is known to hold".to_owned(),
        some => format!("what holds is {}", some.join(" and ")),
    };
    format!(
        "not {}: {found}; the weakest model violated is {weakest}, {left}",
        level.name
    )
}

fn holds(level: &Level, proved: &Proved, boundary: &Boundary) -> String {
    if proved.counts.is_empty() {
        return format!("{}: no anomaly", level.name);
    }
    let weakest = names(&boundary.weakest_violated()).join(" and ");
    let found = list_of(proved, |_| true);
    format!("{}; but not {weakest}: {found}", level.name)
}

fn details(intake: &Intake, proved: &Proved, boundary: &Boundary) -> Map<String, Value> {
    let counts = proved.counts.iter();
    let anomalies: Map<String, Value> = counts
        .map(|(anomaly, count)| (anomaly.name().to_owned(), (*count).into()))
        .collect();
    let mut details = Map::new();
    let mut put = |name: &str, value: Value| details.insert(name.to_owned(), value);
    put("transactions", intake.transactions.len().into());
    put("keys", intake.transactions.keys.len().into());
    put("anomalies", anomalies.into());
    put("violated", json!(names(&boundary.all(Standing::Violated))));
    put(
        "weakest-violated",
        json!(names(&boundary.weakest_violated())),
    );
    put("holds", json!(names(&boundary.all(Standing::Holds))));
    put(
        "strongest-that-holds",
        json!(names(&boundary.strongest_holding())),
    );
    if intake.overlapping > 0 {
        let note = "transactions begun while their process had another open, which is taken as never ended";
        put(
            "overlapping",
            json!({ "count": intake.overlapping, "note": note }),
        );
    }
    details
}
