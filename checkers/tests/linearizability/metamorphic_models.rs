//! Changes to a history of any model after which the verdict is known.

use checkers::Valid;
use checkers::linearizability::{Options, models};
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::metamorphic::{invocation, renumber, widen};
use crate::models::{correct_of, judge_as};
use crate::support::{Random, cases, event};

fn for_correct_histories(change: impl Fn(&str, &mut Vec<Event>, &mut Random), wanted: Valid) {
    for model in models::BUILT_IN {
        // It is the register, under another name.
        if model.name == "cas-register" {
            continue;
        }
        for case in 0..cases(100) {
            let mut random = Random(case);
            let operations = 4 + random.below(16);
            let mut events = correct_of(operations, model.name, &Value::Null, &mut random);
            if events.len() < 2 {
                continue;
            }
            change(model.name, &mut events, &mut random);
            renumber(&mut events);
            let result = judge_as(model.name, &events, &Options::default());
            let name = model.name;
            assert_eq!(
                result.valid, wanted,
                "{name} case {case}: {}",
                result.reason
            );
        }
    }
}

fn one_of(positions: Vec<usize>, random: &mut Random) -> Option<usize> {
    let any = !positions.is_empty();
    any.then(|| positions[random.below(positions.len() as u64) as usize])
}

/// Whether an operation only looks.
fn observes(event: &Event) -> bool {
    let reads = |part: &Value| part[0] == "r";
    match &*event.f {
        "read" | "get" | "contains" | "peek" => true,
        "txn" => event.value.as_array().unwrap().iter().all(reads),
        _ => false,
    }
}

#[test]
fn leaving_out_an_observation_keeps_it_valid() {
    let change = |_: &str, events: &mut Vec<Event>, random: &mut Random| {
        let found = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok && observes(&events[*at]));
        if let Some(at) = one_of(found.collect(), random) {
            let invoke = invocation(events, at);
            events.remove(at);
            events.remove(invoke);
        }
    };
    for_correct_histories(change, Valid::True);
}

#[test]
fn widening_an_operation_keeps_it_valid() {
    for_correct_histories(|_, events, random| widen(events, random), Valid::True);
}

/// Only the last operation of a client: a lock's owner is a client, and cannot become another.
#[test]
fn forgetting_how_an_operation_ended_keeps_it_valid() {
    let change = |_: &str, events: &mut Vec<Event>, random: &mut Random| {
        let is_last = |at: &usize| {
            let rest = &events[at + 1..];
            let mut rest = rest.iter();
            !events[*at].is_invoke() && rest.all(|event| event.process != events[*at].process)
        };
        if let Some(at) = one_of((0..events.len()).filter(is_last).collect(), random) {
            let invoke = invocation(events, at);
            events[at].value = events[invoke].value.clone();
            events[at].kind = EventType::Info;
            events[at].error = None;
        }
    };
    for_correct_histories(change, Valid::True);
}

/// What no object of the model can do after any of the histories, as a function, what was asked, the answer,
/// and how many times.
fn impossible(model: &str) -> (&'static str, Value, Value, usize) {
    let absent = Value::Null;
    match model {
        "register" => ("read", absent, json!(99), 1),
        "map" => ("get", absent, json!("nobody wrote this"), 1),
        "multi-register" => ("txn", json!([["r", "x", null]]), json!([["r", "x", 99]]), 1),
        "versioned-register" => ("read", json!([null, null]), json!([99, 0]), 1),
        // More often than anybody can have acquired.
        "mutex" | "reentrant-lock" | "fenced-lock" | "reentrant-fenced-lock" => {
            ("release", Value::Null, Value::Null, 100)
        }
        "semaphore" => ("acquire", json!(100), json!(100), 1),
        "set" | "multiset" => ("contains", json!(99), json!([99, true]), 1),
        "counter" => ("read", absent, json!(1_000), 1),
        "list" => ("read", absent, json!([99]), 1),
        "log" => ("read", json!(99), json!([99, 0]), 1),
        "stack" => ("pop", absent, json!(99), 1),
        "queue" | "unordered-queue" => ("dequeue", absent, json!(99), 1),
        "priority-queue" | "min-priority-queue" => ("poll", absent, json!(99), 1),
        other => panic!("what is impossible with {other}?"),
    }
}

#[test]
fn the_impossible_makes_it_invalid() {
    let change = |model: &str, events: &mut Vec<Event>, _: &mut Random| {
        let (f, asked, got, times) = impossible(model);
        for _ in 0..times {
            for (kind, value) in [(EventType::Invoke, &asked), (EventType::Ok, &got)] {
                events.push(event(0, 9_000, kind, f, value.clone()));
            }
        }
    };
    for_correct_histories(change, Valid::False);
}
