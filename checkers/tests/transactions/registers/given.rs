//! Histories in which the database says which version of its key each value is.

use std::collections::HashMap;

use checkers::Valid;
use serde_json::json;
use store::{Event, EventType};

use super::oracle::{
    COMPLETE, KEYS, MANNERS, Mop, Txn, events, holds, on_snapshots, serializable, simulate,
};
use super::support::{GIVEN, raw};
use crate::dice::Dice;
use crate::oracle::{self as lists, ON_SNAPSHOTS, Order, cases};
use crate::support::{anomalies, is_without_dependencies, judge, proved, standing};

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
            let is_said = match says {
                Says::Everybody | Says::Some => txns[at].is_ok(),
                Says::Reads => false,
                Says::Invocations => writers(txns, key).contains(&at),
            };
            let is_known = is_seen || is_said;
            txns[at].versions[key] = numbers.get(&value).copied().filter(|_| is_known);
        }
    }
    for key in 0..KEYS {
        // What is alone comes after the initial version.
        if let [one] = writers(txns, key)[..] {
            txns[one].versions[key] = Some(0);
        }
    }
    all
}

/// Who took effect of those that write a key.
fn writers(txns: &[Txn], key: usize) -> Vec<usize> {
    let read = |txn: &Txn| {
        let mut all = txns.iter().filter(|other| other.is_ok());
        all.any(|other| {
            let mut foreign = other.foreign().into_iter();
            foreign.any(|(_, key, value)| txn.mops.contains(&Mop::Write(key, value)))
        })
    };
    let effective = |txn: &Txn| txn.is_ok() || txn.outcome == EventType::Info && read(txn);
    let all = (0..txns.len()).filter(|at| txns[*at].last(key).is_some());
    all.filter(|at| effective(&txns[*at])).collect()
}

/// Whether all that took effect has a version.
fn is_complete(txns: &[Txn]) -> bool {
    (0..KEYS).all(|key| {
        let mut writers = writers(txns, key).into_iter();
        writers.all(|at| txns[at].versions[key].is_some())
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
    match name {
        "cursor-stability" => return expected(txns, "read-committed") && is_stable(txns),
        "update-atomic" => return expected(txns, "read-atomic") && is_atomic_for_updates(txns),
        _ => {}
    }
    let (_, level, order) = COMPLETE.iter().find(|(level, ..)| *level == name).unwrap();
    holds(txns, *level, *order)
}

/// Whether nobody that wrote a key missed another's write of it that came between.
fn is_stable(txns: &[Txn]) -> bool {
    let mut cases = cases_of(txns).into_iter();
    !cases.any(|(writer, key, read, other)| {
        let version = |txn: usize| txns[txn].versions[key];
        txns[writer].last(key).is_some()
            && read < version(other)
            && version(other) < version(writer)
    })
}

/// Whether nobody that wrote a key after another, or read what it wrote, missed what it wrote elsewhere.
fn is_atomic_for_updates(txns: &[Txn]) -> bool {
    let mut cases = cases_of(txns).into_iter();
    !cases.any(|(reader, key, read, other)| {
        let after = (0..KEYS).any(|of| {
            let (earlier, later) = (txns[other].versions[of], txns[reader].versions[of]);
            earlier.is_some() && later.is_some() && earlier < later
        });
        after && read < txns[other].versions[key]
    })
}

/// Who read a key, the version, and who else wrote it.
fn cases_of(txns: &[Txn]) -> Vec<(usize, usize, Option<i64>, usize)> {
    let mut cases = Vec::new();
    for (reader, txn) in txns.iter().enumerate().filter(|(_, txn)| txn.is_ok()) {
        for (_, key, value) in txn.foreign() {
            let left = |one: &&Txn| value.is_some() && one.last(key) == Some(value);
            let read = txns.iter().find(left).and_then(|one| one.versions[key]);
            let others = (0..txns.len()).filter(|other| *other != reader);
            let others = others.filter(|other| txns[*other].versions[key].is_some());
            cases.extend(others.map(|other| (reader, key, read, other)));
        }
    }
    cases
}

/// Levels that are about pairs of transactions.
const PAIRS: [&str; 2] = ["cursor-stability", "update-atomic"];

fn levels() -> impl Iterator<Item = &'static str> {
    let serial = [
        "serializable",
        "strong-session-serializable",
        "strict-serializable",
    ];
    let snapshots = ON_SNAPSHOTS.iter().map(|(name, ..)| *name);
    let weak = COMPLETE.iter().map(|(name, ..)| *name);
    serial.into_iter().chain(snapshots).chain(PAIRS).chain(weak)
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
            // Some are defined by the order alone.
            if !complete && PAIRS.contains(&name) {
                continue;
            }
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
    eprintln!("by level, whether it holds, and what was said: {counts:?}");
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
        format!(
            "{} {:?} {:?} {}\n",
            event.index, event.process, event.kind, event.value
        )
    });
    each.collect()
}

/// Lists as registers: who appends an element writes it, with its place in the list as its version, and who reads a list reads its last
/// element. `None` where the lists do not show the order of all appends.
fn as_registers(txns: &[lists::Txn]) -> Option<Vec<Event>> {
    let mut orders: Vec<Vec<i64>> = vec![Vec::new(); lists::KEYS];
    for mop in txns.iter().flat_map(|txn| &txn.mops) {
        if let lists::Mop::Read(key, Some(list)) = mop
            && list.len() > orders[*key].len()
        {
            orders[*key].clone_from(list);
        }
    }
    let place = |key: usize, element: i64| {
        let place = orders[key].iter().position(|one| *one == element)?;
        Some(json!(place))
    };
    let micro = |mop: &lists::Mop, ends: bool| {
        Some(match mop {
            lists::Mop::Append(key, element) => json!(["w", key, element, place(*key, *element)?]),
            lists::Mop::Read(key, Some(list)) if ends && !list.is_empty() => {
                let last = list[list.len() - 1];
                json!(["r", key, last, place(*key, last)?])
            }
            lists::Mop::Read(key, _) => json!(["r", key, null]),
        })
    };
    let mut events = lists::events(txns);
    for event in &mut events {
        let begun = |txn: &&lists::Txn| txn.invoke == event.index;
        let mut all = txns.iter();
        let txn = all.find(|txn| begun(txn) || txn.complete == Some(event.index))?;
        let ends = event.kind == EventType::Ok;
        let micros = txn.mops.iter().map(|mop| micro(mop, ends));
        event.value = micros.collect::<Option<Vec<_>>>()?.into();
    }
    Some(events)
}

/// Whether a transaction reads what it wrote: of a list it then still sees what others did, of a register it does not.
fn reads_its_own(txn: &lists::Txn) -> bool {
    let appends = |at: usize, key: usize| {
        let mut before = txn.mops[..at].iter();
        before.any(|mop| matches!(mop, lists::Mop::Append(of, _) if *of == key))
    };
    let mut mops = txn.mops.iter().enumerate();
    mops.any(|(at, mop)| matches!(mop, lists::Mop::Read(key, _) if appends(at, *key)))
}

/// Levels that are defined by which transactions depend on each other, which lists show and versions say.
const OF_DEPENDENCIES: [&str; 20] = [
    "strict-serializable",
    "strong-session-serializable",
    "strong-snapshot-isolation",
    "serializable",
    "strong-session-snapshot-isolation",
    "snapshot-isolation",
    "update-serializable",
    "forward-consistent-view",
    "repeatable-read",
    "consistent-view",
    "parallel-snapshot-isolation",
    "prefix",
    "monotonic-view",
    "cursor-stability",
    "strong-read-committed",
    "strong-session-read-committed",
    "read-committed",
    "strong-read-uncommitted",
    "strong-session-read-uncommitted",
    "read-uncommitted",
];

#[test]
fn versions_say_what_lists_show() {
    let manners = lists::Manners {
        present: 60,
        steady: 80,
        ok: 100,
        late: 30,
    };
    let mut counts: HashMap<(&str, Valid), u64> = HashMap::new();
    for seed in 1..=cases(20_000) {
        let txns = lists::simulate(&mut Dice::new(seed), 7, manners);
        if txns.iter().any(reads_its_own) {
            continue;
        }
        let Some(events) = as_registers(&txns) else {
            continue;
        };
        let of_lists = judge(&lists::events(&txns), "strict-serializable");
        let is_cycle = |name: &String| name.contains('G') || name.contains("violation");
        let cycles = anomalies(&of_lists)
            .iter()
            .all(|name| (is_cycle(name) && !name.starts_with("G1b")) || name == "lost-update");
        if !cycles || is_without_dependencies(&of_lists) {
            continue;
        }
        let of_registers = raw(&events, "strict-serializable", GIVEN);
        proved(&of_registers, &events);
        for name in OF_DEPENDENCIES {
            let standing_of_lists = standing(&of_lists, name);
            assert_eq!(
                standing(&of_registers, name),
                standing_of_lists,
                "seed {seed}, {name}: {}, {}\n{}",
                of_registers.reason,
                of_lists.reason,
                shown(&events)
            );
            *counts.entry((name, standing_of_lists)).or_default() += 1;
            if seed % 8 == 0 {
                proved(&raw(&events, name, GIVEN), &events);
            }
        }
    }
    eprintln!("by level and standing: {counts:?}");
    for name in OF_DEPENDENCIES {
        assert!(counts[&(name, Valid::True)] > 100, "{name}");
    }
    for name in [
        "monotonic-view",
        "cursor-stability",
        "prefix",
        "update-serializable",
    ] {
        assert!(counts[&(name, Valid::False)] > 5, "{name}");
    }
}
