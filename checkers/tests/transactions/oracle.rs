//! Against oracles that try everything: all serial orders, and all ways of snapshots.

use std::collections::BTreeMap;

use checkers::{CheckResult, Valid};
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::dice::Dice;
use crate::support::{event, is_without_dependencies, judge, listed, standing};

#[derive(Clone, Debug)]
pub(crate) enum Mop {
    Append(usize, i64),
    Read(usize, Option<Vec<i64>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Txn {
    pub(crate) process: u64,
    pub(crate) invoke: u64,
    pub(crate) complete: Option<u64>,
    pub(crate) outcome: EventType,
    pub(crate) mops: Vec<Mop>,
}

pub(crate) const KEYS: usize = 2;
const PROCESSES: usize = 3;

/// How a store behaves, in hundredths.
#[derive(Clone, Copy)]
pub(crate) struct Manners {
    /// A transaction's view of a key is of the present.
    pub(crate) present: usize,
    /// A read is of this view.
    pub(crate) steady: usize,
    /// A transaction ends `ok`.
    pub(crate) ok: usize,
    /// What a transaction appends to a key comes after what others append.
    pub(crate) late: usize,
}

/// What comes later than it was appended, with its key.
type Late = Vec<(usize, Vec<i64>)>;

/// A history of a store that mostly shows the present, and mostly keeps what it is given.
pub(crate) fn sloppy(dice: &mut Dice, most: usize) -> Vec<Txn> {
    let manners = Manners {
        present: 75,
        steady: 95,
        ok: 85,
        late: 6,
    };
    simulate(dice, most, manners)
}

/// A history of a store.
pub(crate) fn simulate(dice: &mut Dice, most: usize, manners: Manners) -> Vec<Txn> {
    let mut txns: Vec<Txn> = Vec::new();
    let mut lists: Vec<Vec<i64>> = vec![Vec::new(); KEYS];
    let mut state: Vec<Option<(usize, bool)>> = vec![None; PROCESSES];
    let mut process: Vec<u64> = (0..PROCESSES as u64).collect();
    let (mut clock, mut element) = (0, 0);
    let mut late = Late::new();
    let total = 2 + dice.below(most - 1);
    while txns.len() < total || state.iter().any(Option::is_some) {
        let at = dice.below(PROCESSES);
        match state[at] {
            None if txns.len() < total => {
                let mops = (0..1 + dice.below(3)).map(|_| {
                    let key = dice.below(KEYS);
                    if dice.percent(50) {
                        element += 1;
                        return Mop::Append(key, element);
                    }
                    Mop::Read(key, None)
                });
                let mops = mops.collect();
                state[at] = Some((txns.len(), false));
                txns.push(Txn {
                    process: process[at],
                    invoke: clock,
                    complete: None,
                    outcome: EventType::Info,
                    mops,
                });
                clock += 1;
            }
            None => {}
            Some((txn, false)) => {
                if dice.percent(50) {
                    late.drain(..).for_each(|(key, own)| lists[key].extend(own));
                }
                execute(dice, &mut txns[txn], (&mut lists, &mut late), manners);
                state[at] = Some((txn, true));
            }
            Some((txn, true)) => {
                if txns[txn].outcome == EventType::Info {
                    process[at] += PROCESSES as u64;
                }
                if txns[txn].outcome != EventType::Info || dice.percent(50) {
                    txns[txn].complete = Some(clock);
                    clock += 1;
                }
                state[at] = None;
            }
        }
    }
    txns
}

/// Some of what is appended comes late, after what others append.
fn execute(
    dice: &mut Dice,
    txn: &mut Txn,
    (lists, late): (&mut [Vec<i64>], &mut Late),
    manners: Manners,
) {
    txn.outcome = match dice.below(100) {
        chance if chance < manners.ok => EventType::Ok,
        chance if chance < manners.ok + (100 - manners.ok) / 2 => EventType::Fail,
        _ => EventType::Info,
    };
    let applied = match txn.outcome {
        EventType::Ok => true,
        EventType::Fail => dice.percent(15),
        _ => dice.percent(50),
    };
    let mut own: Vec<Vec<i64>> = vec![Vec::new(); lists.len()];
    let shown: Vec<usize> = lists
        .iter()
        .map(|list| {
            if dice.percent(manners.present) {
                list.len()
            } else {
                dice.below(list.len() + 1)
            }
        })
        .collect();
    for mop in &mut txn.mops {
        match mop {
            Mop::Append(key, element) => own[*key].push(*element),
            Mop::Read(key, list) => {
                let length = if dice.percent(manners.steady) {
                    shown[*key]
                } else {
                    dice.below(lists[*key].len() + 1)
                };
                *list = Some(
                    lists[*key][..length]
                        .iter()
                        .chain(&own[*key])
                        .copied()
                        .collect(),
                );
            }
        }
    }
    if applied {
        for (key, own) in own.into_iter().enumerate() {
            match dice.percent(manners.late) {
                true => late.push((key, own)),
                false => lists[key].extend(own),
            }
        }
    }
}

fn value(txn: &Txn, results: bool) -> Value {
    txn.mops
        .iter()
        .map(|mop| match mop {
            Mop::Append(key, element) => json!(["append", key, element]),
            Mop::Read(key, list) => {
                json!(["r", key, if results { json!(list) } else { Value::Null }])
            }
        })
        .collect()
}

pub(crate) fn events(txns: &[Txn]) -> Vec<Event> {
    let mut events = Vec::new();
    for txn in txns {
        events.push(event(
            txn.invoke,
            txn.process,
            EventType::Invoke,
            value(txn, false),
        ));
        if let Some(complete) = txn.complete {
            let value = value(txn, txn.outcome == EventType::Ok);
            events.push(event(complete, txn.process, txn.outcome, value));
        }
    }
    events.sort_by_key(|event| event.index);
    events
}

/// The transactions that took effect: those that are `ok`, and those of unknown outcome of which something was read. Whether
/// others did makes no difference.
pub(crate) fn effective(txns: &[Txn]) -> Vec<&Txn> {
    let ok = || txns.iter().filter(|txn| txn.outcome == EventType::Ok);
    let observed = |txn: &Txn| {
        let mut appends = txn.mops.iter().filter_map(|mop| match mop {
            Mop::Append(key, element) => Some((*key, *element)),
            Mop::Read(..) => None,
        });
        appends.any(|(key, element)| {
            ok().flat_map(|txn| &txn.mops)
                .any(|mop| matches!(mop, Mop::Read(of, Some(list)) if *of == key && list.contains(&element)))
        })
    };
    txns.iter()
        .filter(|txn| {
            txn.outcome == EventType::Ok || txn.outcome == EventType::Info && observed(txn)
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Free,
    Sessions,
    Realtime,
}

pub(crate) fn before(one: &Txn, other: &Txn, order: Order) -> bool {
    let ended = one.outcome == EventType::Ok && one.complete.is_some_and(|end| end < other.invoke);
    match order {
        Order::Free => false,
        Order::Sessions => ended && one.process == other.process,
        Order::Realtime => ended,
    }
}

/// Whether a transaction reads what it did, from a snapshot; if so, what it appends.
fn runs(txn: &Txn, lists: &[Vec<i64>]) -> Option<BTreeMap<usize, Vec<i64>>> {
    let mut own: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for mop in &txn.mops {
        match mop {
            Mop::Append(key, element) => own.entry(*key).or_default().push(*element),
            Mop::Read(key, Some(seen)) if txn.outcome == EventType::Ok => {
                let mine = own.get(key).map_or(&[][..], Vec::as_slice);
                if !lists[*key].iter().chain(mine).eq(seen) {
                    return None;
                }
            }
            Mop::Read(..) => {}
        }
    }
    Some(own)
}

fn serial(txns: &[&Txn], done: u32, lists: &[Vec<i64>], order: Order) -> bool {
    if done.count_ones() as usize == txns.len() {
        return true;
    }
    (0..txns.len()).filter(|at| done >> at & 1 == 0).any(|at| {
        let waits = (0..txns.len())
            .any(|other| done >> other & 1 == 0 && before(txns[other], txns[at], order));
        let Some(own) = runs(txns[at], lists).filter(|_| !waits) else {
            return false;
        };
        let mut next = lists.to_vec();
        own.into_iter()
            .for_each(|(key, mine)| next[key].extend(mine));
        serial(txns, done | 1 << at, &next, order)
    })
}

/// Whether transactions can be run on snapshots, if `exclusive` such that of two that append to one key, one begins after the other's end.
/// `begun` and `ended` are sets; a transaction that has begun has a snapshot, the lengths of the lists.
fn snapshots(
    txns: &[&Txn],
    begun: &mut Vec<Option<Vec<usize>>>,
    ended: u32,
    lists: &[Vec<i64>],
    (order, exclusive): (Order, bool),
) -> bool {
    if ended.count_ones() as usize == txns.len() {
        return true;
    }
    for at in (0..txns.len()).filter(|at| ended >> at & 1 == 0) {
        match begun[at].clone() {
            None => {
                let waits = (0..txns.len())
                    .any(|other| ended >> other & 1 == 0 && before(txns[other], txns[at], order));
                if waits {
                    continue;
                }
                begun[at] = Some(lists.iter().map(Vec::len).collect());
                if snapshots(txns, begun, ended, lists, (order, exclusive)) {
                    return true;
                }
                begun[at] = None;
            }
            Some(snapshot) => {
                let shown: Vec<Vec<i64>> = lists
                    .iter()
                    .zip(&snapshot)
                    .map(|(list, length)| list[..*length].to_vec())
                    .collect();
                let Some(own) = runs(txns[at], &shown) else {
                    return false;
                };
                // Somebody else was there first.
                if exclusive && own.keys().any(|key| lists[*key].len() != snapshot[*key]) {
                    return false;
                }
                let mut next = lists.to_vec();
                own.into_iter()
                    .for_each(|(key, mine)| next[key].extend(mine));
                if snapshots(txns, begun, ended | 1 << at, &next, (order, exclusive)) {
                    return true;
                }
            }
        }
    }
    false
}

/// Whether what is said of a level is as expected, both where all levels are asked for at once and, now and then, where it alone is.
fn agree(events: &[Event], all: &CheckResult, (seed, level): (u64, &str), expected: bool) {
    let right = if expected { Valid::True } else { Valid::False };
    let said = standing(all, level);
    if said == right && seed % 16 != 0 {
        return;
    }
    let alone = judge(events, level);
    let nothing = expected && is_without_dependencies(&alone);
    assert!(
        nothing || said == right && alone.valid == right,
        "seed {seed}, {level}: {expected}, but {said} and {}\n{events:#?}",
        alone.reason
    );
}

pub(crate) fn cases(default: u64) -> u64 {
    let asked = std::env::var("GAINSAY_TXN_CASES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn serializability_is_that_some_serial_order_explains_everything() {
    let levels = [
        ("serializable", Order::Free),
        ("strong-session-serializable", Order::Sessions),
        ("strict-serializable", Order::Realtime),
    ];
    let mut counts = [[0; 2]; 3];
    for seed in 1..=cases(1500) {
        let txns = sloppy(&mut Dice::new(seed), 6);
        let effective = effective(&txns);
        let events = events(&txns);
        let all = judge(&events, "strict-serializable");
        for ((level, order), counts) in levels.into_iter().zip(&mut counts) {
            let expected = serial(&effective, 0, &vec![Vec::new(); KEYS], order);
            agree(&events, &all, (seed, level), expected);
            counts[usize::from(expected)] += 1;
        }
    }
    eprintln!("not explained and explained, by level: {counts:?}");
    assert!(
        counts.iter().flatten().all(|count| *count > 50),
        "{counts:?}"
    );
}

/// Levels that some snapshots must explain: what order they keep, and whether of two that write a key one commits before the
/// other begins.
pub(crate) const ON_SNAPSHOTS: [(&str, Order, bool); 4] = [
    ("prefix", Order::Free, false),
    ("snapshot-isolation", Order::Free, true),
    ("strong-session-snapshot-isolation", Order::Sessions, true),
    ("strong-snapshot-isolation", Order::Realtime, true),
];

#[test]
fn snapshot_isolation_is_that_some_snapshots_explain_everything() {
    let mut counts = [[0_u64; 2]; 4];
    for seed in 1..=cases(1500) {
        let txns = sloppy(&mut Dice::new(seed), 4);
        let effective = effective(&txns);
        let events = events(&txns);
        let all = judge(&events, "strict-serializable");
        for ((level, order, exclusive), counts) in ON_SNAPSHOTS.into_iter().zip(&mut counts) {
            let expected = snapshots(
                &effective,
                &mut vec![None; effective.len()],
                0,
                &vec![Vec::new(); KEYS],
                (order, exclusive),
            );
            agree(&events, &all, (seed, level), expected);
            counts[usize::from(expected)] += 1;
        }
    }
    eprintln!("not explained and explained, by level: {counts:?}");
    assert!(
        counts.iter().flatten().all(|count| *count > 40),
        "{counts:?}"
    );
}

#[test]
fn weaker_models_hold_where_stronger_ones_do() {
    for seed in 1..=cases(500) {
        let events = events(&sloppy(&mut Dice::new(seed), 8));
        let result = judge(&events, "strict-serializable");
        let (violated, holds) = (listed(&result, "violated"), listed(&result, "holds"));
        for level in checkers::transactions::LEVELS {
            let weaker = checkers::transactions::LEVELS
                .iter()
                .filter(|weaker| level.reaches(weaker.name));
            for weaker in weaker {
                let name = |level: &checkers::transactions::Level| level.name.to_owned();
                assert!(
                    !holds.contains(&name(level)) || holds.contains(&name(weaker)),
                    "seed {seed}"
                );
                assert!(
                    !violated.contains(&name(weaker)) || violated.contains(&name(level)),
                    "seed {seed}"
                );
            }
        }
    }
}
