//! Predicates over a closed universe: transactions that insert, write, delete and read rows, and read all rows that match a predicate.
//!
//! What a read by predicate does *not* show is evidence too, if it is known what there can have been (Kingsbury's closed predicate test
//! in Elle). So the universe is closed: an operation `init` makes all rows that there are at first, for certain; other rows
//! are not there until they are inserted; and each row is written by one transaction at most, so that what the universe made comes before
//! what that wrote. Where several write a row, nothing is known of their order, and nothing is said to hold.
//!
//! A row that a read by predicate shows is read as any row is. That it does not show one is a *predicate dependency* where just one
//! version of the row would not match ([`infer`]). Cycles with an anti-dependency by predicate are G-single, G-nonadjacent and G2; without,
//! they are those of items, which repeatable read rules out too (Adya 1999).

pub(super) mod explain;
mod history;
mod infer;
mod prove;
pub(super) mod verify;

use std::collections::BTreeSet;

use serde_json::json;
use store::Event;

use super::Options;
use super::anomaly::{Anomaly, Class};
use super::components::components;
use super::conclude::{Cycles, NOT_ENOUGH, Proved, conclude_all, cycles, undecided};
use super::graph::{Graph, RW, Sink, Time};
use super::models::{Boundary, Level};
use super::search::{Found, classify};
use crate::budget::{Budget, Exhausted, Scope};
use crate::{CheckResult, Checker, Feed, Valid};
use history::History;
use infer::{Inferred, infer};
use prove::Prover;

pub(super) use history::{Predicate, key_text};

/// The levels that are decided where each row is written once.
const DECIDED: &[&str] = &[
    "consistent-view",
    "forward-consistent-view",
    "parallel-snapshot-isolation",
    "read-committed",
    "read-uncommitted",
    "repeatable-read",
    "serializable",
    "snapshot-isolation",
    "strict-serializable",
    "strong-read-committed",
    "strong-read-uncommitted",
    "strong-session-read-committed",
    "strong-session-read-uncommitted",
    "strong-session-serializable",
    "strong-session-snapshot-isolation",
    "strong-snapshot-isolation",
];

/// Checks the isolation of transactions that read by predicates over a closed universe.
///
/// Operations are `init` with `{key: value}`, once and first, and `txn` with `["insert", key, value]`, `["delete", key]`,
/// `["w", key, value]`, `["r", key, value]` (`null` where there is no row) and `["rp", predicate, {key: value}]`, where the predicate
/// is `"true"`, `["=", value]` or `["mod", modulus, rest]`. Keys are compared as JSON writes them in objects.
pub struct ClosedPredicate {
    options: Options,
    history: History,
    wrong: Option<CheckResult>,
}

impl ClosedPredicate {
    /// A checker that has seen nothing.
    pub fn new(options: Options) -> ClosedPredicate {
        ClosedPredicate {
            options,
            history: History::default(),
            wrong: None,
        }
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) -> Result<(), CheckResult> {
        let exhausted =
            |why: Exhausted| CheckResult::new(Valid::Unknown, format!("out of budget: {why}"));
        if event.index.is_multiple_of(1 << 10) {
            budget.check().map_err(exhausted)?;
        }
        // About what an event's values take.
        let parts = event.value.as_array().map_or(1, Vec::len);
        budget.charge(256 + 128 * parts).map_err(exhausted)?;
        let taken = self.history.take(event);
        taken.map_err(|why| CheckResult::new(Valid::Unknown, why.to_string()))
    }
}

impl Checker for ClosedPredicate {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        for event in events {
            if self.wrong.is_some() {
                break;
            }
            self.wrong = self.take(event, budget).err();
        }
        Feed::Continue
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        match self.wrong.take() {
            Some(wrong) => wrong,
            None => judge(&self.history, self.options.consistency, budget).unwrap_or_else(|why| {
                CheckResult::new(Valid::Unknown, format!("out of budget: {why}"))
            }),
        }
    }
}

/// All cycles: those of items alone, and those that need what a predicate did not show.
fn find(
    history: &History,
    inferred: &Inferred,
    budget: &dyn Budget,
) -> Result<(Cycles, bool), Exhausted> {
    let time = Time::new(
        &history.all,
        &inferred.committed,
        history.len() as u32,
        budget,
    )?;
    let graph = |is_wanted: &dyn Fn(bool, u8) -> bool| -> Result<(Graph, bool), Exhausted> {
        let each = |visit: Sink| {
            for one in &inferred.dependencies {
                if is_wanted(one.predicate, one.relation) {
                    visit(one.from, one.to, one.relation);
                }
            }
        };
        time.graph(&each, budget)
    };
    let (items, _) = graph(&|predicate, relation| !predicate || relation != RW)?;
    let mut all = cycles(&items, &components(&items, !0, budget)?, budget)?;
    let (whole, depends) = graph(&|_, _| true)?;
    let with_predicates = cycles(&whole, &components(&whole, !0, budget)?, budget)?;
    for found in with_predicates.into_values().flat_map(|(_, kept)| kept) {
        let is_item = |found: &Found| {
            let mut missed = found.links.iter().filter(|link| link.relation == RW);
            missed.all(|link| {
                let mut same = inferred.dependencies.iter();
                same.any(|one| {
                    !one.predicate && (one.from, one.to, one.relation) == (link.from, link.to, RW)
                })
            })
        };
        let Some(Anomaly::Cycle(class, base)) = classify(&found.links) else {
            continue;
        };
        if matches!(class, Class::G0 | Class::G1c) || is_item(&found) {
            continue;
        }
        let anomaly = Anomaly::Predicate(class, base);
        let (count, kept) = all.entry(anomaly).or_default();
        *count += 1;
        kept.push(Found { anomaly, ..found });
    }
    Ok((all, depends))
}

fn judge(history: &History, level: &Level, budget: &dyn Budget) -> Result<CheckResult, Exhausted> {
    let budget = &Scope::of(budget);
    let inferred = infer(history, budget)?;
    let (found, depends) = find(history, &inferred, budget)?;
    let prover = Prover {
        history,
        inferred: &inferred,
    };
    let proved = Proved::of(
        &inferred.sightings,
        &found,
        |sighting| prover.sighting(sighting),
        |found| prover.cycle(found),
    );
    let anomalies: BTreeSet<Anomaly> = proved.counts.keys().copied().collect();
    // No version of that row explains the read, so no definition in terms of versions is of any use.
    let missed = anomalies.contains(&Anomaly::PredicateReadMiss);
    let complete = depends && !missed && inferred.open.is_none() && proved.unproved.is_empty();
    let ways = match complete {
        true => std::slice::from_ref(&anomalies),
        false => &[],
    };
    let decided = |level: &Level| DECIDED.contains(&level.name);
    let boundary = Boundary::of(&anomalies, ways, &decided);
    let open = || {
        match &inferred.open {
        Some(why) => why.clone(),
        None if missed => "a row that matched a predicate whatever it was is not shown, which no version of it explains".to_owned(),
        None if !depends => NOT_ENOUGH.to_owned(),
        None => undecided(level, &boundary),
    }
    };
    let mut counts = serde_json::Map::new();
    counts.insert("transactions".to_owned(), json!(history.len()));
    counts.insert("keys".to_owned(), json!(history.keys.len()));
    Ok(conclude_all(level, counts, &proved, &boundary, open))
}
