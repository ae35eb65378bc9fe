//! Sets: against an oracle that tries all orders, and what a person reads.

use std::collections::BTreeSet;

use checkers::budget::Unlimited;
use checkers::transactions::models::find;
use checkers::transactions::verify::{verify_anomaly, verify_cycle};
use checkers::transactions::{Options, SetAdd};
use checkers::{CheckResult, Evidence, Valid, check};
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::dice::Dice;
use crate::oracle::cases;
use crate::support::{event, is_without_dependencies, listed};

fn judge(events: &[Event], level: &str) -> CheckResult {
    let options = Options {
        consistency: find(level).unwrap(),
    };
    let result = check(&mut SetAdd::new(options), events, &Unlimited);
    assert!(!result.details.contains_key("unproved"), "{result:#?}");
    assert_eq!(result.valid == Valid::False, !result.evidence.is_empty());
    for evidence in &result.evidence {
        let views = match evidence {
            Evidence::Cycle(cycle) => {
                verify_cycle(cycle).unwrap();
                &cycle.transactions
            }
            Evidence::Anomaly(one) => {
                verify_anomaly(one).unwrap();
                &one.transactions
            }
            other => panic!("{other:?}"),
        };
        for view in views.iter().filter(|view| view.outcome == EventType::Ok) {
            let event = events
                .iter()
                .find(|event| Some(event.index) == view.complete);
            assert_eq!(event.unwrap().value, view.value);
        }
    }
    result
}

#[derive(Clone, Debug)]
enum Mop {
    Add(usize, i64),
    Read(usize, BTreeSet<i64>),
}

#[derive(Clone, Debug)]
struct Txn {
    process: u64,
    invoke: u64,
    complete: u64,
    outcome: EventType,
    mops: Vec<Mop>,
}

const KEYS: usize = 2;
type Sets = [BTreeSet<i64>; KEYS];

/// A store that mostly shows all that there is.
fn simulate(dice: &mut Dice) -> Vec<Txn> {
    let mut sets: Sets = Default::default();
    let mut element = 0;
    let count = 2 + dice.below(5);
    let mut txns: Vec<Txn> = Vec::new();
    for at in 0..count as u64 {
        let outcome = match dice.below(12) {
            0 => EventType::Fail,
            1 => EventType::Info,
            _ => EventType::Ok,
        };
        let hidden = if dice.percent(35) {
            1 + dice.below(3)
        } else {
            0
        };
        let view = sets.clone().map(|set| {
            let mut all: Vec<i64> = set.into_iter().collect();
            for _ in 0..hidden.min(all.len()) {
                if dice.percent(60) {
                    all.remove(dice.below(all.len()));
                }
            }
            all.into_iter().collect::<BTreeSet<i64>>()
        });
        let mut own: Sets = Default::default();
        let mops: Vec<Mop> = (0..1 + dice.below(3))
            .map(|_| {
                let key = dice.below(KEYS);
                if dice.percent(50) {
                    element += 1;
                    own[key].insert(element);
                    return Mop::Add(key, element);
                }
                let mut set: BTreeSet<i64> = view[key].union(&own[key]).copied().collect();
                if dice.percent(2) {
                    set.insert(element + dice.below(2) as i64);
                }
                Mop::Read(key, set)
            })
            .collect();
        if outcome == EventType::Ok
            || dice.percent(if outcome == EventType::Fail { 10 } else { 50 })
        {
            for (set, own) in sets.iter_mut().zip(own) {
                set.extend(own);
            }
        }
        let begun = (at * 20).saturating_sub(dice.below(60) as u64 / 20 * 20);
        let mut process = at % 3;
        if txns
            .iter()
            .any(|one| one.process == process && one.complete >= begun + at)
        {
            process = 10 + at;
        }
        txns.push(Txn {
            process,
            invoke: begun + at,
            complete: at * 20 + 19,
            outcome,
            mops,
        });
    }
    txns
}

fn events(txns: &[Txn]) -> Vec<Event> {
    let value = |txn: &Txn, told: bool| -> Value {
        let micro = txn.mops.iter().map(|mop| match mop {
            Mop::Add(key, element) => json!(["add", key, element]),
            Mop::Read(key, set) => json!(["r", key, if told { json!(set) } else { Value::Null }]),
        });
        micro.collect()
    };
    let mut events = Vec::new();
    for txn in txns {
        events.push(event(
            txn.invoke,
            txn.process,
            EventType::Invoke,
            value(txn, false),
        ));
        let told = txn.outcome == EventType::Ok;
        events.push(event(
            txn.complete,
            txn.process,
            txn.outcome,
            value(txn, told),
        ));
    }
    events.sort_by_key(|event| event.index);
    events
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Free,
    Sessions,
    Realtime,
}

fn serial(txns: &[Txn], done: u32, sets: &Sets, order: Order) -> bool {
    let left: Vec<usize> = (0..txns.len()).filter(|at| done >> at & 1 == 0).collect();
    if left.iter().all(|at| txns[*at].outcome != EventType::Ok) {
        return true;
    }
    left.iter().any(|at| {
        let one = &txns[*at];
        let waits = left.iter().any(|other| {
            let other = &txns[*other];
            let ended = other.outcome == EventType::Ok && other.complete < one.invoke;
            match order {
                Order::Free => false,
                Order::Sessions => ended && other.process == one.process,
                Order::Realtime => ended,
            }
        });
        if waits || one.outcome == EventType::Fail {
            return false;
        }
        let mut sets = sets.clone();
        for mop in &one.mops {
            match mop {
                Mop::Add(key, element) => {
                    sets[*key].insert(*element);
                }
                Mop::Read(key, set) if one.outcome == EventType::Ok && sets[*key] != *set => {
                    return false;
                }
                Mop::Read(..) => {}
            }
        }
        serial(txns, done | 1 << at, &sets, order)
    })
}

#[test]
fn serializability_is_that_some_serial_order_explains_all_sets() {
    let levels = [
        ("serializable", Order::Free),
        ("strong-session-serializable", Order::Sessions),
        ("strict-serializable", Order::Realtime),
    ];
    let (mut counts, mut held) = ([[0; 2]; 3], 0);
    for seed in 1..=cases(1000) {
        let txns = simulate(&mut Dice::new(seed));
        let events = events(&txns);
        for ((level, order), counts) in levels.into_iter().zip(&mut counts) {
            let expected = serial(&txns, 0, &Default::default(), order);
            let result = judge(&events, level);
            counts[usize::from(expected)] += 1;
            let agrees = result.valid == if expected { Valid::True } else { Valid::False };
            assert!(
                agrees || is_without_dependencies(&result) && expected,
                "seed {seed}, {level}: {expected}, {}\n{txns:#?}",
                result.reason
            );
            held += u64::from(
                !expected && listed(&result, "holds").contains(&"read-committed".to_owned()),
            );
        }
    }
    eprintln!(
        "not explained and explained, by level: {counts:?}; read committed all the same {held}"
    );
    assert!(
        counts.iter().flatten().all(|count| *count > 30) && held > 30,
        "{counts:?}"
    );
}

fn history(text: &str) -> Vec<Event> {
    let events = text.lines().zip(0..).map(|(line, index)| {
        let mut words = line.splitn(3, ' ');
        let process = words.next().unwrap().parse().unwrap();
        let kind = serde_json::from_value(words.next().unwrap().into()).unwrap();
        event(
            index,
            process,
            kind,
            serde_json::from_str(words.next().unwrap()).unwrap(),
        )
    });
    events.collect()
}

#[test]
fn what_sets_show_is_explained() {
    let examples = [
        (
            "G1a",
            "0 invoke [[\"add\",\"x\",1]]\n1 invoke [[\"r\",\"x\",null]]\n0 fail [[\"add\",\"x\",1]]\n1 ok [[\"r\",\"x\",[1]]]",
        ),
        (
            "G1b",
            "0 invoke [[\"add\",\"x\",1],[\"add\",\"x\",2]]\n1 invoke [[\"r\",\"x\",null]]\n0 ok [[\"add\",\"x\",1],[\"add\",\"x\",2]]\n1 ok [[\"r\",\"x\",[2]]]",
        ),
        (
            "garbage-read",
            "0 invoke [[\"r\",\"x\",null]]\n0 ok [[\"r\",\"x\",[7]]]",
        ),
        (
            "future-read",
            "0 invoke [[\"r\",\"x\",null],[\"add\",\"x\",1]]\n0 ok [[\"r\",\"x\",[1]],[\"add\",\"x\",1]]",
        ),
        (
            "internal",
            "0 invoke [[\"add\",\"x\",1],[\"r\",\"x\",null]]\n0 ok [[\"add\",\"x\",1],[\"r\",\"x\",[]]]",
        ),
        (
            "G-single-item",
            "0 invoke [[\"add\",\"x\",1],[\"add\",\"y\",1]]\n1 invoke [[\"r\",\"x\",null],[\"r\",\"y\",null]]\n0 ok [[\"add\",\"x\",1],[\"add\",\"y\",1]]\n1 ok [[\"r\",\"x\",[]],[\"r\",\"y\",[1]]]",
        ),
        (
            "G2-item",
            "0 invoke [[\"r\",\"x\",null],[\"add\",\"y\",1]]\n1 invoke [[\"r\",\"y\",null],[\"add\",\"x\",1]]\n0 ok [[\"r\",\"x\",[]],[\"add\",\"y\",1]]\n1 ok [[\"r\",\"y\",[]],[\"add\",\"x\",1]]",
        ),
        (
            "G-single-item-realtime",
            "0 invoke [[\"add\",\"x\",1]]\n0 ok [[\"add\",\"x\",1]]\n1 invoke [[\"r\",\"x\",null]]\n1 ok [[\"r\",\"x\",[]]]",
        ),
    ];
    let mut text = String::new();
    for (anomaly, example) in examples {
        let result = judge(&history(example), "strict-serializable");
        let of = result.evidence.iter().find_map(|evidence| match evidence {
            Evidence::Cycle(cycle) if cycle.anomaly == anomaly => Some(&cycle.explanation),
            Evidence::Anomaly(one) if one.anomaly == anomaly => Some(&one.explanation),
            _ => None,
        });
        let of = of.unwrap_or_else(|| panic!("no {anomaly}: {}", result.reason));
        text += &format!("== {anomaly}\n\n{}\n\n{}\n\n", result.reason, of.join("\n"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_tells_nothing_of_sets_is_unknown() {
    let unknown = |text: &str, why: &str| {
        let result = judge(&history(text), "serializable");
        assert_eq!(result.valid, Valid::Unknown);
        assert!(result.reason.contains(why), "{}", result.reason);
    };
    unknown("0 invoke [[\"append\",\"x\",1]]", "micro-operations are");
    unknown(
        "0 invoke [[\"add\",\"x\",1]]\n0 ok [[\"add\",\"x\",1]]",
        "not enough evidence",
    );
    unknown(
        "0 invoke [[\"add\",\"x\",1]]\n0 ok [[\"add\",\"x\",1]]\n0 invoke [[\"add\",\"x\",1]]\n0 ok [[\"add\",\"x\",1]]",
        "added to key \"x\" twice",
    );
}
