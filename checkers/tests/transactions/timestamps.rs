//! Given timestamps: against an oracle that looks at all transactions for every read, and what a person reads.

use checkers::budget::Unlimited;
use checkers::transactions::models::find;
use checkers::transactions::verify::verify_anomaly;
use checkers::transactions::{Objects, Options, Timestamps};
use checkers::{CheckResult, Evidence, Valid, check};
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::dice::Dice;
use crate::oracle::cases;
use crate::support::event;

fn judge(events: &[Event], level: &str, objects: Objects) -> CheckResult {
    let options = Options {
        consistency: find(level).unwrap(),
    };
    let result = check(&mut Timestamps::new(options, objects), events, &Unlimited);
    for evidence in &result.evidence {
        let Evidence::Anomaly(one) = evidence else {
            panic!("{evidence:?}")
        };
        verify_anomaly(one).unwrap();
        for view in &one.transactions {
            let event = events
                .iter()
                .find(|event| Some(event.index) == view.complete);
            assert_eq!(event.unwrap().value, view.value);
        }
    }
    assert_eq!(result.valid == Valid::False, !result.evidence.is_empty());
    assert!(
        !result.reason.contains("could not be proved"),
        "{}",
        result.reason
    );
    result
}

#[derive(Clone, Debug)]
enum Mop {
    Write(usize, i64),
    /// Of a register, at most one value.
    Read(usize, Vec<i64>),
}

#[derive(Clone, Debug)]
struct Txn {
    process: u64,
    invoke: u64,
    complete: u64,
    ok: bool,
    start: i64,
    commit: i64,
    mops: Vec<Mop>,
}

const KEYS: usize = 2;

/// What a transaction sees of a key, as far as its own writes let it.
fn seen(txns: &[Txn], reader: usize, key: usize, until: i64, lists: bool) -> Vec<i64> {
    let mut all: Vec<&Txn> = txns
        .iter()
        .enumerate()
        .filter(|(at, one)| *at != reader && one.ok && one.commit < until)
        .map(|(_, one)| one)
        .collect();
    all.sort_by_key(|one| one.commit);
    let mut list: Vec<i64> = Vec::new();
    for mop in all.iter().flat_map(|one| &one.mops) {
        match mop {
            Mop::Write(of, value) if *of == key => list.push(*value),
            _ => {}
        }
    }
    if lists {
        list
    } else {
        list.last().copied().into_iter().collect()
    }
}

fn simulate(dice: &mut Dice, lists: bool, serial: bool) -> Vec<Txn> {
    let count = 2 + dice.below(6);
    let mut clock = 0;
    let mut value = 0;
    let mut txns: Vec<Txn> = Vec::new();
    // Each ends after it began, and mostly takes its timestamps meanwhile.
    for at in 0..count {
        let invoke = clock;
        let length = 1 + dice.below(6) as u64;
        let complete = invoke * 100 + 100 * length + at as u64 + 10;
        let slip = if dice.percent(10) { 700 } else { 0 };
        let commit = complete as i64 - 3 - at as i64 * 2 - slip;
        let start = if serial || dice.percent(20) {
            commit - 1
        } else {
            invoke as i64 * 100 + 20 + at as i64 - slip
        };
        let mops = (0..1 + dice.below(3)).map(|_| {
            value += 1;
            let key = dice.below(KEYS);
            if dice.percent(50) {
                Mop::Write(key, value)
            } else {
                Mop::Read(key, Vec::new())
            }
        });
        let mops = mops.collect();
        txns.push(Txn {
            process: at as u64 % 3,
            invoke: invoke * 100 + at as u64,
            complete,
            ok: !dice.percent(8),
            start: start.min(commit),
            commit,
            mops,
        });
        clock += 1 + dice.below(3) as u64;
    }
    // One at a time in a process: else it is another.
    for at in 0..txns.len() {
        let busy = txns[..at]
            .iter()
            .any(|one| one.process == txns[at].process && one.complete >= txns[at].invoke);
        if busy {
            txns[at].process = 10 + at as u64;
        }
    }
    for at in 0..txns.len() {
        let old = dice.percent(8);
        for place in 0..txns[at].mops.len() {
            let Mop::Read(key, _) = txns[at].mops[place] else {
                continue;
            };
            let until = if serial {
                txns[at].commit
            } else {
                txns[at].start + 1
            };
            let until = if old {
                until - 150
            } else if dice.percent(4) {
                until + 150
            } else {
                until
            };
            let mut list = seen(&txns, at, key, until, lists);
            let own: Vec<i64> = txns[at].mops[..place]
                .iter()
                .filter_map(|mop| match mop {
                    Mop::Write(of, value) if *of == key => Some(*value),
                    _ => None,
                })
                .collect();
            if lists {
                list.extend(own);
            } else if let Some(last) = own.last() {
                list = vec![*last];
            }
            txns[at].mops[place] = Mop::Read(key, list);
        }
    }
    txns
}

fn events(txns: &[Txn], lists: bool) -> Vec<Event> {
    let mut events = Vec::new();
    for txn in txns {
        let mut micro: Vec<Value> = txn
            .mops
            .iter()
            .map(|mop| match mop {
                Mop::Write(key, value) => json!([if lists { "append" } else { "w" }, key, value]),
                Mop::Read(key, list) if lists => json!(["r", key, list]),
                Mop::Read(key, list) => json!(["r", key, list.first()]),
            })
            .collect();
        events.push(event(txn.invoke, txn.process, EventType::Invoke, json!([])));
        micro.push(json!(["timestamps", txn.start, txn.commit]));
        let kind = if txn.ok {
            EventType::Ok
        } else {
            EventType::Fail
        };
        events.push(event(txn.complete, txn.process, kind, Value::Array(micro)));
    }
    events.sort_by_key(|event| event.index);
    events
}

/// Whether the history is what its timestamps say.
fn holds(txns: &[Txn], lists: bool, serial: bool, sessions: bool, realtime: bool) -> bool {
    let all: Vec<usize> = (0..txns.len()).filter(|at| txns[*at].ok).collect();
    let reads = all.iter().all(|at| {
        let one = &txns[*at];
        let until = if serial { one.commit } else { one.start + 1 };
        one.mops.iter().enumerate().all(|(place, mop)| {
            let Mop::Read(key, list) = mop else {
                return true;
            };
            let mut expected = seen(txns, *at, *key, until, lists);
            for mop in &one.mops[..place] {
                match mop {
                    Mop::Write(of, value) if of == key && lists => expected.push(*value),
                    Mop::Write(of, value) if of == key => expected = vec![*value],
                    _ => {}
                }
            }
            *list == expected
        })
    });
    let writes = |at: usize, key: usize| {
        txns[at]
            .mops
            .iter()
            .any(|mop| matches!(mop, Mop::Write(of, _) if *of == key))
    };
    let pairs = all.iter().all(|one| {
        all.iter().all(|other| {
            let (first, second) = (&txns[*one], &txns[*other]);
            let point = if serial { second.commit } else { second.start };
            let both = (0..KEYS).any(|key| writes(*one, key) && writes(*other, key));
            let conflict = one != other
                && !serial
                && both
                && first.commit < second.commit
                && second.start < first.commit;
            let ended = first.complete < second.invoke;
            let late = ended && first.commit > point;
            !(conflict || sessions && late && first.process == second.process || realtime && late)
        })
    });
    reads && pairs
}

#[test]
fn timestamps_are_right_exactly_where_every_read_is_of_what_had_committed() {
    let levels = [
        ("snapshot-isolation", false, false, false),
        ("strong-session-snapshot-isolation", false, true, false),
        ("strong-snapshot-isolation", false, true, true),
        ("serializable", true, false, false),
        ("strong-session-serializable", true, true, false),
        ("strict-serializable", true, true, true),
    ];
    let mut counts = [[0_u64; 2]; 6];
    for seed in 1..=cases(2000) {
        for (lists, objects) in [(true, Objects::Lists), (false, Objects::Registers)] {
            for ((level, serial, sessions, realtime), counts) in levels.into_iter().zip(&mut counts)
            {
                let txns = simulate(&mut Dice::new(seed), lists, serial);
                let mut commits: Vec<i64> = txns.iter().map(|txn| txn.commit).collect();
                commits.sort_unstable();
                commits.dedup();
                let events = events(&txns, lists);
                let mut indexes: Vec<u64> = events.iter().map(|event| event.index).collect();
                indexes.dedup();
                if commits.len() < txns.len() || indexes.len() < events.len() {
                    continue;
                }
                let expected = holds(&txns, lists, serial, sessions, realtime);
                let result = judge(&events, level, objects);
                counts[usize::from(expected)] += 1;
                let nothing = result.reason.starts_with("not enough evidence") && expected;
                let agrees = result.valid == if expected { Valid::True } else { Valid::False };
                assert!(
                    agrees || nothing,
                    "seed {seed}, {level}, {objects:?}: {expected}, {}\n{txns:#?}",
                    result.reason
                );
            }
        }
    }
    eprintln!("wrong and right, by level: {counts:?}");
    assert!(
        counts.iter().flatten().all(|count| *count > 100),
        "{counts:?}"
    );
}

fn done(index: u64, process: u64, value: Value) -> [Event; 2] {
    [
        event(index, process, EventType::Invoke, json!([])),
        event(index + 1, process, EventType::Ok, value),
    ]
}

#[test]
fn what_timestamps_say_is_explained() {
    let x = |value: Value, start: i64, commit: i64| {
        let mut all = value.as_array().unwrap().clone();
        all.push(json!(["timestamps", start, commit]));
        Value::Array(all)
    };
    let examples = [
        (
            "snapshot-isolation",
            vec![
                done(0, 0, x(json!([["append", "x", 1]]), 1, 2)),
                done(2, 1, x(json!([["r", "x", []]]), 3, 3)),
            ],
        ),
        (
            "snapshot-isolation",
            vec![
                done(0, 0, x(json!([["append", "x", 1]]), 1, 5)),
                done(2, 1, x(json!([["r", "x", [1]]]), 3, 3)),
            ],
        ),
        (
            "snapshot-isolation",
            vec![
                done(0, 0, x(json!([["append", "x", 1]]), 1, 5)),
                done(2, 1, x(json!([["append", "x", 2]]), 3, 6)),
            ],
        ),
        (
            "strong-session-snapshot-isolation",
            vec![
                done(0, 0, x(json!([["append", "x", 1]]), 1, 5)),
                done(2, 0, x(json!([["append", "y", 2]]), 3, 6)),
            ],
        ),
        (
            "strict-serializable",
            vec![
                done(0, 0, x(json!([["append", "x", 1]]), 1, 5)),
                done(2, 1, x(json!([["r", "x", []]]), 3, 3)),
            ],
        ),
        (
            "serializable",
            vec![
                done(0, 0, x(json!([["append", "x", 1]]), 1, 5)),
                done(
                    2,
                    1,
                    x(json!([["append", "x", 2], ["r", "x", [2, 1]]]), 6, 7),
                ),
            ],
        ),
    ];
    let mut text = String::new();
    for (level, events) in examples {
        let result = judge(&events.concat(), level, Objects::Lists);
        let Evidence::Anomaly(one) = &result.evidence[0] else {
            panic!()
        };
        text += &format!("{}\n\n{}\n\n", result.reason, one.explanation.join("\n"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_has_no_timestamps_is_unknown() {
    let bare = done(0, 0, json!([["append", "x", 1]]));
    let result = judge(&bare, "serializable", Objects::Lists);
    assert_eq!(
        (result.valid, &*result.reason),
        (
            Valid::Unknown,
            "event 1: this transaction has no timestamps"
        )
    );
    let result = judge(&bare, "read-committed", Objects::Lists);
    assert!(
        result
            .reason
            .starts_with("timestamps do not decide read-committed"),
        "{}",
        result.reason
    );
    let backwards = done(0, 0, json!([["append", "x", 1], ["timestamps", 3, 2]]));
    assert_eq!(
        judge(&backwards, "serializable", Objects::Lists).reason,
        "event 1: it committed before its start"
    );
}
