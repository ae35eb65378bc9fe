//! Histories in which the database says which version of its key each value is.

use std::collections::HashMap;

use checkers::transactions::Assumptions;
use checkers::{CheckResult, Valid};
use serde_json::json;
use store::{Event, EventType};

use super::oracle::{
    COMPLETE, KEYS, Level, MANNERS, Mop, Txn, events, holds, on_snapshots, serializable, simulate,
};
use super::support::{GIVEN, history, judge_with, raw};
use crate::dice::Dice;
use crate::oracle::{ON_SNAPSHOTS, Order, cases};
use crate::support::{anomalies, is_without_dependencies, proved, standing};

/// Who says versions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    Everybody,
    Reads,
    /// Also invocations, as of timestamps that clients make.
    Invocations,
    /// Of some values, nobody.
    Some,
}

/// Gives what transactions leave versions: by value. The order is mostly that in which the store took it.
fn number(dice: &mut Dice, txns: &[Txn]) -> HashMap<i64, i64> {
    let mut numbers = HashMap::new();
    for key in 0..KEYS {
        let mut writers: Vec<&Txn> = txns.iter().filter(|txn| txn.last(key).is_some()).collect();
        writers.sort_by_key(|txn| txn.executed);
        for at in 1..writers.len() {
            if dice.percent(12) {
                writers.swap(at - 1, at);
            }
        }
        let first = dice.below(5) as i64;
        for (place, txn) in (first..).zip(writers) {
            let values = txn.mops.iter().filter_map(|mop| match mop {
                Mop::Write(of, Some(value)) if *of == key => Some(*value),
                _ => None,
            });
            // All that it writes becomes one version.
            numbers.extend(values.map(|value| (value, place * 3)));
        }
    }
    numbers
}

/// The events of transactions with versions. What is known of these is noted.
fn told(dice: &mut Dice, txns: &mut [Txn], says: Says) -> Vec<Event> {
    let mut numbers = number(dice, txns);
    if says == Says::Some {
        numbers.retain(|_, _| dice.percent(70));
    }
    let mut all = events(txns);
    for event in &mut all {
        let ok = event.kind == EventType::Ok;
        for micro in event.value.as_array_mut().unwrap() {
            let read = micro[0] == "r";
            let says = match says {
                Says::Everybody | Says::Some => ok,
                Says::Reads => ok && read,
                Says::Invocations => ok || !read,
            };
            let number = micro[2].as_i64().and_then(|value| numbers.get(&value));
            if let Some(number) = number.filter(|_| says) {
                micro.as_array_mut().unwrap().push(json!(number));
            }
        }
    }
    let seen: Vec<Vec<i64>> = txns
        .iter()
        .map(|txn| match txn.is_ok() {
            true => txn.foreign().iter().filter_map(|read| read.2).collect(),
            false => Vec::new(),
        })
        .collect();
    for at in 0..txns.len() {
        for key in 0..KEYS {
            let Some(Some(value)) = txns[at].last(key) else {
                continue;
            };
            let others = (0..txns.len()).filter(|other| *other != at);
            let is_seen = others.into_iter().any(|other| seen[other].contains(&value));
            let is_known = is_seen || txns[at].is_ok() && says != Says::Reads;
            txns[at].versions[key] = numbers.get(&value).copied().filter(|_| is_known);
        }
    }
    all
}

/// Whether all that took effect has a version, but what is alone on its key.
fn is_complete(txns: &[Txn]) -> bool {
    let read = |txn: &Txn| {
        let mut all = txns.iter().filter(|other| other.is_ok());
        all.any(|other| {
            let mut foreign = other.foreign().into_iter();
            foreign.any(|(_, key, value)| txn.mops.contains(&Mop::Write(key, value)))
        })
    };
    (0..KEYS).all(|key| {
        let writers = txns.iter().filter(|txn| txn.last(key).is_some());
        let writers = writers
            .filter(|txn| txn.is_ok() || txn.outcome == EventType::Info && read(txn));
        let writers: Vec<&Txn> = writers.collect();
        writers.len() < 2 || writers.iter().all(|txn| txn.versions[key].is_some())
    })
}

/// Whether a level holds, the versions of each key being in the order that is known.
fn expected(txns: &[Txn], name: &str) -> bool {
    let of_orders = [
        ("serializable", Order::Free),
        ("strong-session-serializable", Order::Sessions),
        ("strict-serializable", Order::Realtime),
    ];
    if let Some((_, order)) = of_orders.iter().find(|(level, _)| *level == name) {
        return serializable(txns, *order);
    }
    if let Some((_, order, exclusive)) = ON_SNAPSHOTS.iter().find(|(level, ..)| *level == name) {
        return on_snapshots(txns, *order, *exclusive);
    }
    let (_, level, order) = COMPLETE.iter().find(|(level, ..)| *level == name).unwrap();
    holds(txns, *level, *order)
}

fn levels() -> impl Iterator<Item = &'static str> {
    let serial = ["serializable", "strong-session-serializable", "strict-serializable"];
    let snapshots = ON_SNAPSHOTS.iter().map(|(name, ..)| *name);
    let weak = COMPLETE.iter().map(|(name, ..)| *name);
    serial.into_iter().chain(snapshots).chain(weak)
}

#[test]
fn a_level_holds_exactly_where_it_does_in_the_given_order() {
    let mut counts: HashMap<(&str, bool, Valid), u64> = HashMap::new();
    for seed in 1..=cases(1500) {
        let dice = &mut Dice::new(seed);
        let mut txns = simulate(dice, 6, &MANNERS[seed as usize % MANNERS.len()]);
        let modes = [Says::Everybody, Says::Reads, Says::Invocations, Says::Some];
        let says = modes[seed as usize / 4 % 4];
        let events = told(dice, &mut txns, says);
        let all = raw(&events, "strict-serializable", GIVEN);
        proved(&all, &events);
        let complete = is_complete(&txns);
        for name in levels() {
            let expected = expected(&txns, name);
            let said = standing(&all, name);
            *counts.entry((name, expected, said)).or_default() += 1;
            let right = if expected { Valid::True } else { Valid::False };
            if said == right && seed % 16 != 0 {
                continue;
            }
            let alone = raw(&events, name, GIVEN);
            proved(&alone, &events);
            let open = is_without_dependencies(&alone) || !complete;
            assert!(
                said == right && alone.valid == right
                    || open && said != wrong(right) && alone.valid != wrong(right),
                "seed {seed}, {name}, {says:?}: {expected}, but {said} and {}\n{}",
                alone.reason,
                shown(&events)
            );
        }
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|((name, expected, said), _)| (*name, *expected, *said as usize));
    eprintln!("{sorted:#?}");
    for name in levels() {
        for (expected, right) in [(true, Valid::True), (false, Valid::False)] {
            assert!(counts[&(name, expected, right)] > 20, "{name} {expected}");
        }
    }
}

fn wrong(right: Valid) -> Valid {
    match right {
        Valid::True => Valid::False,
        _ => Valid::True,
    }
}

fn shown(events: &[Event]) -> String {
    let each = events.iter().map(|event| {
        format!("{} {:?} {:?} {}\n", event.index, event.process, event.kind, event.value)
    });
    each.collect()
}
