//! Predicates over closed universes: against an oracle that tries all orders, Elle's own cases, and what a person reads.

use std::collections::BTreeMap;

use checkers::budget::Unlimited;
use checkers::transactions::models::find;
use checkers::transactions::verify::{verify_anomaly, verify_cycle};
use checkers::transactions::{ClosedPredicate, Options};
use checkers::{CheckResult, Evidence, Valid, check};
use serde_json::{Value, json};
use store::import::edn::{Edn, Reader};
use store::import::{ImportOptions, events_of};
use store::{Event, EventType};

use crate::corpus::{corpus, is_violated, names, shows};
use crate::dice::Dice;
use crate::events::event;
use crate::oracle::cases;
use crate::support::{anomalies, is_without_dependencies};

fn judge(events: &[Event], level: &str) -> CheckResult {
    let options = Options {
        consistency: find(level).unwrap(),
    };
    let result = check(&mut ClosedPredicate::new(options), events, &Unlimited);
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
        for view in transactions {
            let event = view.complete.or(view.invoke);
            let event = events.iter().find(|one| Some(one.index) == event).unwrap();
            assert!(&*event.f == "init" || event.value == view.value);
        }
    }
    result
}

#[test]
fn elle_s_own_cases() {
    let Some(corpus) = corpus() else { return };
    let text = std::fs::read_to_string(corpus.join("elle/cases.edn")).unwrap();
    let mut reader = Reader::new(&text);
    let mut judged = 0;
    while let Some(case) = reader.next_value().unwrap() {
        if case.get("checker").and_then(Edn::text) != Some("closed-predicate") {
            continue;
        }
        let events = events_of(case.get("history").unwrap(), ImportOptions::default()).unwrap();
        let id = format!("{:?}", case.get("id"));
        let result = judge(&events, "strict-serializable");
        let found = anomalies(&result);
        for wanted in names(case.get("anomaly-types")) {
            // That something is there without being shown; here it is.
            if !wanted.ends_with("-cycle-exists") {
                assert!(shows(&found, &wanted), "case {id}: {wanted}, not {found:?}");
            }
        }
        assert_eq!(result.valid, Valid::False, "case {id}");
        for model in names(case.get("not")) {
            // Transactions that were begun and ended at once in the record are not in each other's real time.
            let realtime = model.starts_with("strong-");
            if !realtime {
                is_violated(&id, &result, find(&model).unwrap().name);
            }
        }
        judged += 1;
    }
    assert!(judged > 5, "{judged}");
}

const KEYS: usize = 4;
/// Those that the universe has.
const MADE: usize = 2;

#[derive(Clone, Debug)]
enum Mop {
    Write(usize, Option<i64>),
    Read(usize, Option<i64>),
    Rows(Value, BTreeMap<usize, i64>),
}

#[derive(Clone, Debug)]
struct Txn {
    process: u64,
    invoke: u64,
    complete: u64,
    outcome: EventType,
    mops: Vec<Mop>,
}

type State = [Option<i64>; KEYS];

fn matches(predicate: &Value, value: Option<i64>) -> bool {
    let Some(value) = value else { return false };
    match predicate[0].as_str() {
        None => true,
        Some("=") => predicate[1] == value,
        Some(_) => value % predicate[1].as_i64().unwrap() == predicate[2].as_i64().unwrap(),
    }
}

/// A history of a store that shows of each row what is there, or what was.
fn simulate(dice: &mut Dice) -> (State, Vec<Txn>) {
    let mut made: State = [None; KEYS];
    for value in &mut made[..MADE] {
        *value = Some(dice.below(2) as i64);
    }
    let mut state = made;
    let mut fresh: Vec<usize> = (0..KEYS).collect();
    let mut txns: Vec<Txn> = Vec::new();
    let mut clock = 2;
    for at in 0..2 + dice.below(4) {
        let view: Vec<Option<i64>> = (0..KEYS)
            .map(|key| {
                if dice.percent(65) {
                    state[key]
                } else {
                    made[key]
                }
            })
            .collect();
        let mut own: BTreeMap<usize, Option<i64>> = BTreeMap::new();
        let mut mops = Vec::new();
        for _ in 0..1 + dice.below(3) {
            let read = |own: &BTreeMap<usize, Option<i64>>, key: usize| {
                own.get(&key).copied().unwrap_or(view[key])
            };
            mops.push(match dice.below(3) {
                0 if !fresh.is_empty() => {
                    let key = fresh.remove(dice.below(fresh.len()));
                    let delete = key < MADE && dice.percent(50);
                    let value = (!delete).then_some(2 + dice.below(3) as i64);
                    own.insert(key, value);
                    Mop::Write(key, value)
                }
                1 => {
                    let key = dice.below(KEYS);
                    Mop::Read(key, read(&own, key))
                }
                _ => {
                    let predicate = match dice.below(3) {
                        0 => json!("true"),
                        1 => json!(["=", dice.below(4)]),
                        _ => json!(["mod", 2, dice.below(2)]),
                    };
                    let rows = (0..KEYS).filter_map(|key| {
                        let value = read(&own, key);
                        matches(&predicate, value).then(|| (key, value.unwrap()))
                    });
                    let rows = rows.collect();
                    Mop::Rows(predicate, rows)
                }
            });
        }
        let outcome = match dice.below(10) {
            0 => EventType::Fail,
            1 => EventType::Info,
            _ => EventType::Ok,
        };
        if outcome != EventType::Fail && (outcome == EventType::Ok || dice.percent(50)) {
            for (key, value) in &own {
                state[*key] = *value;
            }
        }
        let begun = clock - dice.below(3) as u64 % clock;
        txns.push(Txn {
            process: 1
                + at as u64 % 3
                + if outcome == EventType::Info {
                    10 * at as u64
                } else {
                    0
                },
            invoke: begun.max(2) * 10 + at as u64,
            complete: (clock + 1) * 10 + at as u64,
            outcome,
            mops,
        });
        clock += 2;
    }
    // One at a time in a process.
    for at in 0..txns.len() {
        let before = txns[..at]
            .iter()
            .filter(|one| one.process == txns[at].process);
        let end = before.map(|one| one.complete).max().unwrap_or(0);
        if txns[at].invoke <= end {
            txns[at].invoke = end + 1;
        }
    }
    (made, txns)
}

fn events(made: &State, txns: &[Txn]) -> Vec<Event> {
    let rows: serde_json::Map<String, Value> = (0..MADE)
        .map(|key| (key.to_string(), json!(made[key])))
        .collect();
    let init = |index, kind| event(index, 0, kind, "init", Value::Object(rows.clone()));
    let value = |txn: &Txn, told: bool| -> Value {
        let micro = txn.mops.iter().map(|mop| match mop {
            Mop::Write(key, None) => json!(["delete", key]),
            Mop::Write(key, value) if *key < MADE => json!(["w", key, value]),
            Mop::Write(key, value) => json!(["insert", key, value]),
            Mop::Read(key, value) => {
                json!(["r", key, if told { json!(value) } else { Value::Null }])
            }
            Mop::Rows(predicate, _) if !told => json!(["rp", predicate, null]),
            Mop::Rows(predicate, rows) => {
                let rows = rows
                    .iter()
                    .map(|(key, value)| (key.to_string(), json!(value)));
                json!(["rp", predicate, rows.collect::<serde_json::Map<_, _>>()])
            }
        });
        micro.collect()
    };
    let mut events = vec![init(0, EventType::Invoke), init(1, EventType::Ok)];
    for txn in txns {
        let told = txn.outcome == EventType::Ok;
        events.push(event(
            txn.invoke,
            txn.process,
            EventType::Invoke,
            "txn",
            value(txn, false),
        ));
        events.push(event(
            txn.complete,
            txn.process,
            txn.outcome,
            "txn",
            value(txn, told),
        ));
    }
    events.sort_by_key(|event| event.index);
    events
}

/// Whether a transaction can have read what it did from a state; if so, the state after it.
fn run(txn: &Txn, from: &State) -> Option<State> {
    let mut state = *from;
    for mop in &txn.mops {
        match mop {
            Mop::Write(key, value) => state[*key] = *value,
            Mop::Read(key, value) if txn.outcome == EventType::Ok && state[*key] != *value => {
                return None;
            }
            Mop::Rows(predicate, rows) if txn.outcome == EventType::Ok => {
                let all = (0..KEYS).filter(|key| matches(predicate, state[*key]));
                let all: BTreeMap<usize, i64> = all.map(|key| (key, state[key].unwrap())).collect();
                if all != *rows {
                    return None;
                }
            }
            _ => {}
        }
    }
    Some(state)
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Free,
    Sessions,
    Realtime,
}

/// Whether some order explains all reads; with snapshots, each of some state before.
fn explains(txns: &[Txn], done: u32, states: &[State], order: Order, snapshots: bool) -> bool {
    let waits = |at: usize| {
        let before = |other: &Txn| {
            let ended = other.outcome == EventType::Ok && other.complete < txns[at].invoke;
            match order {
                Order::Free => false,
                Order::Sessions => ended && other.process == txns[at].process,
                Order::Realtime => ended,
            }
        };
        (0..txns.len()).any(|other| done >> other & 1 == 0 && before(&txns[other]))
    };
    let left = (0..txns.len()).filter(|at| done >> at & 1 == 0);
    let left: Vec<usize> = left.collect();
    // Who is of unknown outcome need not have happened.
    if left.iter().all(|at| txns[*at].outcome != EventType::Ok) {
        return true;
    }
    let now = states.last().unwrap();
    left.into_iter().any(|at| {
        let from = if snapshots {
            states
        } else {
            std::slice::from_ref(now)
        };
        if txns[at].outcome == EventType::Fail
            || waits(at)
            || !from.iter().any(|one| run(&txns[at], one).is_some())
        {
            return false;
        }
        let mut next = *now;
        for mop in &txns[at].mops {
            if let Mop::Write(key, value) = mop {
                next[*key] = *value;
            }
        }
        let states = [states, &[next]].concat();
        explains(txns, done | 1 << at, &states, order, snapshots)
    })
}

#[test]
fn a_level_holds_exactly_where_some_order_explains_all_rows() {
    let levels = [
        ("serializable", Order::Free, false),
        ("strong-session-serializable", Order::Sessions, false),
        ("strict-serializable", Order::Realtime, false),
        ("snapshot-isolation", Order::Free, true),
    ];
    let mut counts = [[0; 2]; 4];
    for seed in 1..=cases(800) {
        let (made, txns) = simulate(&mut Dice::new(seed));
        let events = events(&made, &txns);
        for ((level, order, snapshots), counts) in levels.into_iter().zip(&mut counts) {
            let expected = explains(&txns, 0, &[made], order, snapshots);
            let result = judge(&events, level);
            counts[usize::from(expected)] += 1;
            let agrees = result.valid == if expected { Valid::True } else { Valid::False };
            assert!(
                agrees || is_without_dependencies(&result) && expected,
                "seed {seed}, {level}: {expected}, {}\n{:#?}",
                result.reason,
                events
                    .iter()
                    .map(|event| format!("{} {:?} {}", event.process, event.kind, event.value))
                    .collect::<Vec<_>>()
            );
        }
    }
    eprintln!("not explained and explained, by level: {counts:?}");
    assert!(
        counts.iter().flatten().all(|count| *count > 50),
        "{counts:?}"
    );
}

/// A history from lines of `process type function value`.
fn lines(text: &str) -> Vec<Event> {
    let events = text.lines().zip(0..).map(|(line, index)| {
        let mut words = line.splitn(4, ' ');
        let process = words.next().unwrap().parse().unwrap();
        let kind = serde_json::from_value(words.next().unwrap().into()).unwrap();
        let f = words.next().unwrap();
        event(
            index,
            process,
            kind,
            f,
            serde_json::from_str(words.next().unwrap()).unwrap(),
        )
    });
    events.collect()
}

#[test]
fn what_predicates_say_is_explained() {
    let universe = "0 invoke init {\"x\":0,\"y\":0}\n0 ok init {\"x\":0,\"y\":0}";
    let examples = [
        (
            "predicate-read-miss",
            "1 invoke txn [[\"rp\",[\"=\",0],null]]\n1 ok txn [[\"rp\",[\"=\",0],{\"x\":0}]]\n2 invoke txn [[\"r\",\"y\",null]]\n2 ok txn [[\"r\",\"y\",0]]",
        ),
        (
            "G2",
            "1 invoke txn [[\"rp\",[\"=\",1],null],[\"w\",\"x\",1]]\n2 invoke txn [[\"rp\",[\"=\",1],null],[\"w\",\"y\",1]]\n\
             1 ok txn [[\"rp\",[\"=\",1],{}],[\"w\",\"x\",1]]\n2 ok txn [[\"rp\",[\"=\",1],{}],[\"w\",\"y\",1]]",
        ),
        (
            "G-single",
            "1 invoke txn [[\"delete\",\"x\"],[\"insert\",\"z\",5]]\n2 invoke txn [[\"rp\",[\"mod\",5,0],null],[\"r\",\"x\",null]]\n\
             1 ok txn [[\"delete\",\"x\"],[\"insert\",\"z\",5]]\n2 ok txn [[\"rp\",[\"=\",5],{}],[\"r\",\"x\",null]]",
        ),
        (
            "G1c",
            "1 invoke txn [[\"delete\",\"x\"],[\"rp\",\"true\",null]]\n2 invoke txn [[\"delete\",\"y\"],[\"rp\",\"true\",null]]\n\
             1 ok txn [[\"delete\",\"x\"],[\"rp\",\"true\",{}]]\n2 ok txn [[\"delete\",\"y\"],[\"rp\",\"true\",{}]]",
        ),
        (
            "internal",
            "1 invoke txn [[\"insert\",\"z\",5],[\"rp\",\"true\",null]]\n1 ok txn [[\"insert\",\"z\",5],[\"rp\",\"true\",{\"x\":0,\"y\":0}]]",
        ),
        (
            "G-single-realtime",
            "1 invoke txn [[\"insert\",\"z\",5]]\n1 ok txn [[\"insert\",\"z\",5]]\n\
             2 invoke txn [[\"rp\",[\"=\",5],null]]\n2 ok txn [[\"rp\",[\"=\",5],{}]]",
        ),
    ];
    let mut text = String::new();
    for (anomaly, example) in examples {
        let result = judge(
            &lines(&format!("{universe}\n{example}")),
            "strict-serializable",
        );
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
fn what_is_no_closed_universe_is_unknown() {
    let unknown = |text: &str, why: &str| {
        let result = judge(&lines(text), "serializable");
        assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
        assert!(result.reason.contains(why), "{}", result.reason);
    };
    unknown("0 invoke read null", "\"init\" and \"txn\" alone");
    unknown(
        "0 invoke txn [[\"rp\",[\"<\",1],null]]",
        "is no micro-operation",
    );
    unknown("0 invoke init [1]", "an object");
    unknown(
        "0 invoke txn []\n0 ok txn []\n0 invoke init {}\n0 ok init {}",
        "the universe is closed",
    );
    unknown(
        "0 invoke txn [[\"w\",\"x\",1]]\n0 ok txn [[\"w\",\"x\",1]]\n1 invoke txn [[\"w\",\"x\",2]]\n1 ok txn [[\"w\",\"x\",2]]\n\
         2 invoke txn [[\"r\",\"x\",null]]\n2 ok txn [[\"r\",\"x\",2]]",
        "is written by several transactions",
    );
    unknown(
        "0 invoke txn [[\"r\",\"x\",null]]\n0 ok txn [[\"r\",\"x\",null]]",
        "not enough evidence",
    );
}
