//! What several tests need.

use std::collections::BTreeSet;

use checkers::budget::Unlimited;
use checkers::transactions::models::find;
use checkers::transactions::verify::{verify_anomaly, verify_cycle, verify_impossible, verify_in};
use checkers::transactions::{Cycle, ListAppend, Options, Relation, Step, TransactionView};
use checkers::{CheckResult, Evidence, Valid, check};
use serde_json::Value;
use store::{Event, EventType};

use crate::events::{self, history_of};

/// An event of a client's transaction.
pub(crate) fn event(index: u64, process: u64, kind: EventType, value: Value) -> Event {
    events::event(index, process, kind, "txn", value)
}

/// A history from lines of `process type micro-operation…`. A micro-operation is `x+1` (append 1 to x), `x=1,2` (read 1 and 2
/// from x), or `x?` (a read of which nothing is known).
pub(crate) fn history(text: &str) -> Vec<Event> {
    history_of(text, |index, process, kind, words| {
        event(index, process, kind, words.map(micro).collect())
    })
}

fn micro(word: &str) -> Value {
    if let Some((key, element)) = word.split_once('+') {
        return serde_json::json!(["append", key, element.parse::<i64>().unwrap()]);
    }
    let Some((key, list)) = word.split_once('=') else {
        return serde_json::json!(["r", word.trim_end_matches('?'), null]);
    };
    let list: Vec<i64> = list
        .split(',')
        .filter(|one| !one.is_empty())
        .map(|one| one.parse().unwrap())
        .collect();
    serde_json::json!(["r", key, list])
}

/// The verdict at a level, with all evidence proved again from the events.
pub(crate) fn judge(events: &[Event], level: &str) -> CheckResult {
    let options = Options {
        consistency: find(level).unwrap(),
    };
    let result = check(&mut ListAppend::new(options), events, &Unlimited);
    proved(&result, events);
    result
}

/// Proves all evidence of a verdict again from the events.
pub(crate) fn proved(result: &CheckResult, events: &[Event]) {
    assert!(!result.details.contains_key("unproved"), "{result:#?}");
    assert_eq!(result.valid == Valid::False, !result.evidence.is_empty());
    for evidence in &result.evidence {
        prove(evidence, events);
    }
}

/// Verifies all evidence of a verdict, cycles and anomalies, and has each of its transactions compared with the events.
pub(crate) fn proved_by(result: &CheckResult, compare: impl Fn(&TransactionView)) {
    assert!(!result.details.contains_key("unproved"), "{result:#?}");
    assert_eq!(result.valid == Valid::False, !result.evidence.is_empty());
    for evidence in &result.evidence {
        let transactions = match evidence {
            Evidence::Cycle(cycle) => {
                verify_cycle(cycle).unwrap();
                &cycle.transactions
            }
            Evidence::Anomaly(anomaly) => {
                verify_anomaly(anomaly).unwrap();
                &anomaly.transactions
            }
            other => panic!("{other:?}"),
        };
        transactions.iter().for_each(&compare);
    }
}

/// What a verdict says, and what it says of an anomaly, which it must have found: a part of a snapshot.
pub(crate) fn explained(result: &CheckResult, anomaly: &str) -> String {
    let of = result.evidence.iter().find_map(|evidence| match evidence {
        Evidence::Cycle(cycle) if cycle.anomaly == anomaly => Some(&cycle.explanation),
        Evidence::Anomaly(one) if one.anomaly == anomaly => Some(&one.explanation),
        _ => None,
    });
    let of = of.unwrap_or_else(|| panic!("no {anomaly}: {}", result.reason));
    format!("== {anomaly}\n\n{}\n\n{}\n\n", result.reason, of.join("\n"))
}

fn prove(evidence: &Evidence, events: &[Event]) {
    match evidence {
        Evidence::Cycle(cycle) => {
            verify_cycle(cycle).unwrap();
            is_drawable(&cycle.steps, &cycle.transactions);
            verify_in(&cycle.transactions, events, None, &[]).unwrap();
        }
        Evidence::Anomaly(anomaly) => {
            verify_anomaly(anomaly).unwrap();
            let garbage =
                (anomaly.anomaly == "garbage-read").then(|| (&anomaly.key, &anomaly.elements[0]));
            verify_in(&anomaly.transactions, events, garbage, &[]).unwrap();
        }
        Evidence::Impossible(impossible) => {
            verify_impossible(impossible).unwrap();
            is_drawable(&impossible.steps, &impossible.transactions);
            verify_in(
                &impossible.transactions,
                events,
                None,
                &impossible.passed_over,
            )
            .unwrap();
        }
        other => panic!("{other:?}"),
    }
    let again: Evidence = serde_json::from_value(serde_json::to_value(evidence).unwrap()).unwrap();
    assert_eq!(again, *evidence);
}

/// Evidence is a graph: its transactions are nodes, and its steps edges between them, each with what it is about.
fn is_drawable(steps: &[Step], transactions: &[TransactionView]) {
    let known =
        |name: &str| name == Cycle::INITIAL || transactions.iter().any(|one| one.name == name);
    for step in steps {
        assert!(known(&step.from) && known(&step.to), "{step:?}");
        let about = (
            step.key.is_some(),
            step.value.is_some(),
            step.next.is_some(),
        );
        let whole = match step.relation {
            Relation::Ww | Relation::Overwritten | Relation::Grew => about == (true, true, true),
            Relation::Wr => about == (true, true, false),
            Relation::Rw => about.0 && about.2,
            Relation::Wrp | Relation::Rwp => about.0,
            Relation::Process | Relation::Realtime | Relation::Initial => true,
        };
        assert!(whole, "{step:?}");
        is_drawable(&step.seen, transactions);
    }
}

/// Whether a verdict is open because no transaction depends on another.
pub(crate) fn is_without_dependencies(result: &CheckResult) -> bool {
    result.valid == Valid::Unknown && result.reason.contains("no transaction read")
}

/// The names of all anomalies that were found.
pub(crate) fn anomalies(result: &CheckResult) -> BTreeSet<String> {
    result.details["anomalies"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

/// A list of names in the details.
pub(crate) fn listed(result: &CheckResult, field: &str) -> Vec<String> {
    serde_json::from_value(result.details[field].clone()).unwrap()
}

/// What is said of a level.
pub(crate) fn standing(result: &CheckResult, level: &str) -> Valid {
    let has = |field: &str| {
        let names = result.details[field].as_array().unwrap();
        names.iter().any(|name| name == level)
    };
    match (has("holds"), has("violated")) {
        (true, false) => Valid::True,
        (false, true) => Valid::False,
        (false, false) => Valid::Unknown,
        (true, true) => panic!("{level} both holds and is violated"),
    }
}
