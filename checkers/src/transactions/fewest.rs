//! The fewest transactions that still show an anomaly.
//!
//! A cycle is found by going from each version to the next, so it may pass transactions that its contradiction does not need: where a
//! third appended between two, the second comes after the first all the same. So the transactions of a piece of evidence are taken
//! as a history of their own, and the anomaly is looked for in it again, without one after the other. What remains is minimal: the
//! others alone do not show it.

use store::{Event, EventType, Process};

use super::anomaly::{Anomaly, implies};
use super::conclude::Proved;
use super::evidence::{AnomalyEvidence, Cycle, Objects, TransactionView};
use super::explain;
use super::intake::Intake;
use crate::Evidence;
use crate::budget::Exhausted;

/// Of more transactions none are left out: somebody who reads that many does not read them one by one.
const MOST: usize = 32;

/// Looks for anomalies in a history.
pub(super) type Find<'a> = &'a dyn Fn(&Intake) -> Result<Proved, Exhausted>;

/// The same evidence with as few transactions as can be. Where a budget ends before that is known, what was found stands.
pub(super) fn fewest(evidence: Evidence, find: Find) -> Evidence {
    let Some((anomaly, objects, transactions)) = parts(&evidence) else {
        return evidence;
    };
    let anomaly = anomaly.to_owned();
    let mut few = distinct(transactions);
    if few.len() > MOST {
        return evidence;
    }
    let mut best = evidence.clone();
    // All of them first: there may be a shorter way through them.
    let mut at = few.len();
    let mut is_new = true;
    let mut minimal = true;
    while is_new || at < few.len() {
        let mut left = few.clone();
        if !is_new {
            left.remove(at);
        }
        let count = |one: &Evidence| parts(one).map_or(usize::MAX, |(.., all)| distinct(all).len());
        let Ok(shown) = again(&anomaly, objects, &left, find) else {
            minimal = false;
            break;
        };
        minimal &= match shown {
            Shown::It(_) => true,
            Shown::More => false,
            Shown::Nothing => !is_new,
        };
        match shown {
            Shown::It(one) if count(&one) < few.len() => {
                few = parts(&one)
                    .map(|(.., all)| distinct(all))
                    .unwrap_or_default();
                best = *one;
                at = 0;
                minimal = true;
            }
            _ if is_new => at = 0,
            _ => at += 1,
        }
        is_new = false;
    }
    finish(best, &evidence, minimal)
}

/// What an anomaly is called, of what, and its transactions, if fewer may do.
fn parts(evidence: &Evidence) -> Option<(&str, Objects, &[TransactionView])> {
    match evidence {
        Evidence::Cycle(one) => Some((&one.anomaly, one.objects, &one.transactions)),
        Evidence::Anomaly(one) => Some((&one.anomaly, one.objects, &one.transactions)),
        _ => None,
    }
}

/// Who has several parts once, in order of their names.
fn distinct(all: &[TransactionView]) -> Vec<TransactionView> {
    let mut few: Vec<TransactionView> = Vec::new();
    for one in all {
        if !few.iter().any(|other| other.name == one.name) {
            few.push(one.clone());
        }
    }
    few
}

/// What some transactions alone show of an anomaly.
enum Shown {
    It(Box<Evidence>),
    /// Not it by its name, but what implies it.
    More,
    Nothing,
}

/// The anomaly in a history of some transactions alone.
fn again(
    anomaly: &str,
    objects: Objects,
    few: &[TransactionView],
    find: Find,
) -> Result<Shown, Exhausted> {
    let mut events: Vec<Event> = few.iter().flat_map(events).collect();
    events.sort_by_key(|event| event.index);
    let mut intake = Intake::of(objects);
    for event in &events {
        let Process::Client(process) = event.process else {
            continue;
        };
        if intake.take(event, process).is_err() {
            return Ok(Shown::Nothing);
        }
    }
    let mut proved = find(&intake)?.evidence;
    let it = proved.keys().find(|one| one.name() == anomaly).copied();
    let evidence = it.and_then(|it| proved.remove(&it)?.into_iter().next());
    // What was appended by those that are left out is nobody's.
    proved.remove(&Anomaly::GarbageRead);
    Ok(match evidence {
        Some(evidence) => Shown::It(Box::new(evidence)),
        None if proved.keys().any(|one| implies(one.name(), anomaly)) => Shown::More,
        None => Shown::Nothing,
    })
}

/// The events of a transaction.
fn events(view: &TransactionView) -> Vec<Event> {
    let event = |index: u64, kind: EventType| Event {
        index,
        time: index,
        process: Process::Client(view.process),
        kind,
        f: "txn".into(),
        key: None,
        value: view.value.clone(),
        error: None,
        node: None,
    };
    let invoke = view.invoke.map(|index| event(index, EventType::Invoke));
    let complete = view.complete.map(|index| event(index, view.outcome));
    invoke.into_iter().chain(complete).collect()
}

/// Says of evidence whether it is known that nothing can be left out of it.
fn finish(best: Evidence, before: &Evidence, minimal: bool) -> Evidence {
    match (best, before) {
        (Evidence::Cycle(cycle), Evidence::Cycle(before)) => {
            let mut cycle = Cycle {
                minimal,
                shortest: before.shortest,
                ..*cycle
            };
            // The whole order of a key says more than what few transactions saw of it.
            for order in &mut cycle.versions {
                let mut known = before.versions.iter().filter(|one| one.key == order.key);
                if let (Objects::Lists, Some(whole)) = (cycle.objects, known.next()) {
                    *order = whole.clone();
                }
            }
            cycle.explanation = explain::cycle(&cycle);
            Evidence::Cycle(Box::new(cycle))
        }
        (Evidence::Anomaly(anomaly), _) => {
            let mut anomaly = AnomalyEvidence {
                minimal,
                ..*anomaly
            };
            anomaly.explanation = explain::anomaly(&anomaly);
            Evidence::Anomaly(Box::new(anomaly))
        }
        (best, _) => best,
    }
}
