//! From what was found and proved to a verdict.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::anomaly::Anomaly;
use super::components::groups;
use super::evidence::{AnomalyEvidence, Cycle};
use super::graph::Graph;
use super::intake::Intake;
use super::models::{Boundary, Level, Standing};
use super::scan::{KEPT, Sighting, Sightings};
use super::search::{Found, search};
use super::values::NONE;
use super::verify::{verify_anomaly, verify_cycle};
use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Evidence, Valid};

/// How many pieces of evidence a verdict comes with.
const EVIDENCE_MAX: usize = 24;

/// Why nothing is said of a history without dependencies.
pub(super) const NOT_ENOUGH: &str =
    "not enough evidence: no transaction read what another wrote, or would write";

/// Cycles of one name, and how many components have one.
pub(super) type Cycles = BTreeMap<Anomaly, (u64, Vec<Found>)>;

/// The most members that a component may have to be searched again without the cycles that were found.
const AGAIN_MAX: usize = 200;

/// The shortest cycles of all components. Of a small component also others, as far as they have no transaction in common.
pub(super) fn cycles(
    graph: &Graph,
    component: &[u32],
    budget: &dyn Budget,
) -> Result<Cycles, Exhausted> {
    let mut local = vec![NONE; graph.vertices() as usize];
    let mut cycles = Cycles::new();
    for members in groups(component) {
        let mut members = members;
        let mut first: Option<Vec<Anomaly>> = None;
        for _ in 0..KEPT {
            let all = search(graph, &members, &mut local, budget)?;
            let passed = all.iter().flat_map(|found| &found.links);
            let passed: Vec<u32> = passed.map(|link| link.from).collect();
            let names = all.iter().map(|found| found.anomaly).collect();
            for mut found in all {
                let (count, kept) = match &first {
                    // What only shows in the rest is implied by what was found before.
                    Some(names) if !names.contains(&found.anomaly) => continue,
                    _ => cycles.entry(found.anomaly).or_default(),
                };
                *count += u64::from(first.is_none());
                found.shortest &= first.is_none();
                kept.push(found);
                // The shortest are the easiest to read.
                kept.sort_by_key(|found| found.links.len());
                kept.truncate(KEPT);
            }
            let names = first.get_or_insert(names);
            let enough =
                |name: &Anomaly| cycles.get(name).is_none_or(|(_, kept)| kept.len() >= KEPT);
            if passed.is_empty() || members.len() > AGAIN_MAX || names.iter().all(enough) {
                break;
            }
            members.retain(|one| !passed.contains(one));
        }
    }
    Ok(cycles)
}

/// Evidence that was proved again, by anomaly, with how often each was found; and which could not be proved.
#[derive(Default)]
pub(super) struct Proved {
    pub(super) evidence: BTreeMap<Anomaly, Vec<Evidence>>,
    pub(super) counts: BTreeMap<Anomaly, u64>,
    pub(super) unproved: Vec<String>,
}

impl Proved {
    /// What was found, each as evidence: of a sighting, and of a cycle, unless a step of it has no reason.
    pub(super) fn of(
        sightings: &Sightings,
        cycles: &Cycles,
        sighting: impl Fn(&Sighting) -> AnomalyEvidence,
        cycle: impl Fn(&Found) -> Option<Cycle>,
    ) -> Proved {
        let mut proved = Proved::default();
        for (anomaly, (count, kept)) in &sightings.by_anomaly {
            let made = kept.iter().map(|one| {
                let one = sighting(one);
                verify_anomaly(&one).map_err(|why| why.to_string())?;
                Ok(Evidence::Anomaly(Box::new(one)))
            });
            proved.keep(*anomaly, *count, made);
        }
        for (anomaly, (count, kept)) in cycles {
            proved.keep_cycles(*anomaly, *count, kept.iter().map(&cycle));
        }
        proved
    }

    /// Takes cycles of an anomaly that was found so often: each as evidence, unless a step of it has no reason.
    pub(super) fn keep_cycles(
        &mut self,
        anomaly: Anomaly,
        count: u64,
        cycles: impl Iterator<Item = Option<Cycle>>,
    ) {
        let made = cycles.map(|cycle| {
            let cycle = cycle.ok_or("a step has no reason")?;
            verify_cycle(&cycle).map_err(|why| why.to_string())?;
            Ok(Evidence::Cycle(Box::new(cycle)))
        });
        self.keep(anomaly, count, made);
    }

    /// Takes evidence of an anomaly that was found so often, or why it proves nothing.
    pub(super) fn keep(
        &mut self,
        anomaly: Anomaly,
        count: u64,
        made: impl Iterator<Item = Result<Evidence, String>>,
    ) {
        let mut evidence = Vec::new();
        for one in made {
            match one {
                Ok(one) => evidence.push(one),
                Err(why) => self.unproved.push(format!("{anomaly}: {why}")),
            }
        }
        if !evidence.is_empty() {
            *self.counts.entry(anomaly).or_default() += count;
            self.evidence.entry(anomaly).or_default().extend(evidence);
        }
    }
}

/// The verdict at a level. `open` says why nothing can be said.
pub(super) fn conclude(
    level: &Level,
    intake: &Intake,
    proved: &Proved,
    boundary: &Boundary,
    open: impl FnOnce() -> String,
) -> CheckResult {
    let mut counts = Map::new();
    let mut put = |name: &str, value: Value| counts.insert(name.to_owned(), value);
    put("transactions", intake.transactions.len().into());
    put("keys", intake.transactions.keys.len().into());
    if intake.overlapping > 0 {
        let note = "transactions begun while their process had another open, which is taken as never ended";
        put(
            "overlapping",
            json!({ "count": intake.overlapping, "note": note }),
        );
    }
    conclude_all(level, counts, proved, boundary, open)
}

/// The verdict at a level, with what was counted.
pub(super) fn conclude_all(
    level: &Level,
    counts: Map<String, Value>,
    proved: &Proved,
    boundary: &Boundary,
    open: impl FnOnce() -> String,
) -> CheckResult {
    let mut details = details(counts, proved, boundary);
    let (valid, reason) = match boundary.standing(level) {
        Standing::Violated => (Valid::False, violated(level, proved, boundary)),
        Standing::Holds => (Valid::True, holds(level, proved, boundary)),
        Standing::Open => match proved.unproved.first() {
            Some(unproved) => {
                let why = format!("something was found that could not be proved again: {unproved}");
                (Valid::Unknown, why)
            }
            None => (Valid::Unknown, open()),
        },
    };
    details.insert("consistency".to_owned(), level.name.into());
    if !proved.unproved.is_empty() {
        details.insert("unproved".to_owned(), json!(proved.unproved));
    }
    CheckResult {
        valid,
        reason,
        evidence: match valid {
            Valid::False => disproof(proved, level),
            _ => Vec::new(),
        },
        details,
    }
}

/// That a model is not decided itself, and what is known instead.
pub(super) fn undecided(level: &Level, boundary: &Boundary) -> String {
    let nearest = names(&boundary.strongest_holding());
    format!(
        "no check is complete for {} alone; what holds is {}",
        level.name,
        nearest.join(" and ")
    )
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
    let weakest = match &names(&boundary.weakest_violated())[..] {
        [one] => format!("the weakest model violated is {one}"),
        several => format!("the weakest models violated are {}", several.join(" and ")),
    };
    let left = match names(&boundary.strongest_holding()) {
        none if none.is_empty() => "no weaker model is known to hold".to_owned(),
        some => format!("what holds is {}", some.join(" and ")),
    };
    format!("not {}: {found}; {weakest}, {left}", level.name)
}

fn holds(level: &Level, proved: &Proved, boundary: &Boundary) -> String {
    if proved.counts.is_empty() {
        return format!("{}: no anomaly", level.name);
    }
    let weakest = names(&boundary.weakest_violated()).join(" and ");
    let found = list_of(proved, |_| true);
    format!("{}; but not {weakest}: {found}", level.name)
}

fn details(
    mut details: Map<String, Value>,
    proved: &Proved,
    boundary: &Boundary,
) -> Map<String, Value> {
    let counts = proved.counts.iter();
    let anomalies: Map<String, Value> = counts
        .map(|(anomaly, count)| (anomaly.name().to_owned(), (*count).into()))
        .collect();
    let mut put = |name: &str, value: Value| details.insert(name.to_owned(), value);
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
    details
}
