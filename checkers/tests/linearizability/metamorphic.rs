//! Changes to a history after which the verdict is known.

use checkers::Valid;
use checkers::linearizability::Options;
use serde_json::json;
use store::{Event, EventType, Process};

use crate::generate::{Shape, correct};
use crate::support::{Random, cases, judge};

fn shape(random: &mut Random) -> Shape {
    Shape {
        operations: 60 + random.below(60),
        processes: 2 + random.below(6),
        values: 2 + random.below(4),
        cas: [0, 40][random.below(2) as usize],
        crashes: [0, 10][random.below(2) as usize],
        failures: 0,
    }
}

/// Gives events the indexes of their positions.
pub(crate) fn renumber(events: &mut [Event]) {
    for (at, event) in events.iter_mut().enumerate() {
        event.index = at as u64;
        event.time = event.index * 1_000_000;
    }
}

fn for_correct_histories(change: impl Fn(&mut Vec<Event>, &mut Random), wanted: Valid) {
    for case in 0..cases(60) {
        let mut random = Random(case);
        let shape = shape(&mut random);
        let mut events = correct(shape, &mut random);
        change(&mut events, &mut random);
        renumber(&mut events);
        let result = judge(&events, &Options::default());
        assert_eq!(result.valid, wanted, "case {case}: {}", result.reason);
    }
}

fn position(events: &[Event], random: &mut Random, f: &str, kind: EventType) -> Option<usize> {
    let all: Vec<usize> = (0..events.len())
        .filter(|at| &*events[*at].f == f && events[*at].kind == kind)
        .collect();
    (!all.is_empty()).then(|| all[random.below(all.len() as u64) as usize])
}

pub(crate) fn invocation(events: &[Event], complete: usize) -> usize {
    let process = &events[complete].process;
    (0..complete)
        .rev()
        .find(|at| events[*at].process == *process)
        .unwrap()
}

#[test]
fn leaving_out_a_read_keeps_it_valid() {
    let change = |events: &mut Vec<Event>, random: &mut Random| {
        if let Some(at) = position(events, random, "read", EventType::Ok) {
            let invoke = invocation(events, at);
            events.remove(at);
            events.remove(invoke);
        }
    };
    for_correct_histories(change, Valid::True);
}

/// Lets operations begin earlier or end later, here and there.
pub(crate) fn widen(events: &mut [Event], random: &mut Random) {
    for _ in 0..5 {
        let at = random.below(events.len() as u64 - 1) as usize;
        let (early, late) = (&events[at], &events[at + 1]);
        // A completion moves behind what follows, an invocation before what precedes.
        let widens = !early.is_invoke() || late.is_invoke();
        if widens && early.process != late.process {
            events.swap(at, at + 1);
        }
    }
}

#[test]
fn widening_an_operation_keeps_it_valid() {
    for_correct_histories(|events, random| widen(events, random), Valid::True);
}

#[test]
fn forgetting_how_a_write_ended_keeps_it_valid() {
    let change = |events: &mut Vec<Event>, random: &mut Random| {
        if let Some(at) = position(events, random, "write", EventType::Ok) {
            events[at].kind = EventType::Info;
            let process = events[at].process.clone();
            for event in events[at + 1..]
                .iter_mut()
                .filter(|it| it.process == process)
            {
                event.process = Process::Client(5_000);
            }
        }
    };
    for_correct_histories(change, Valid::True);
}

#[test]
fn renaming_values_keeps_it_valid() {
    let change = |events: &mut Vec<Event>, _: &mut Random| {
        for event in events {
            let rename = |value: &serde_json::Value| match value.as_u64() {
                Some(number) => json!(format!("value {number}")),
                None => value.clone(),
            };
            event.value = match event.value.as_array() {
                Some(pair) => pair.iter().map(rename).collect(),
                None => rename(&event.value),
            };
        }
    };
    for_correct_histories(change, Valid::True);
}

/// Appends an operation of a fresh process that nothing overlaps.
fn append(events: &mut Vec<Event>, f: &str, asked: serde_json::Value, got: serde_json::Value) {
    for (kind, value) in [(EventType::Invoke, asked), (EventType::Ok, got)] {
        let index = events.len() as u64;
        events.push(crate::support::event(index, 9_000, kind, f, value));
    }
}

#[test]
fn reading_what_nobody_wrote_makes_it_invalid() {
    let change = |events: &mut Vec<Event>, random: &mut Random| {
        if let Some(at) = position(events, random, "read", EventType::Ok) {
            events[at].value = json!("nobody wrote this");
        } else {
            append(events, "read", json!(null), json!("nobody wrote this"));
        }
    };
    for_correct_histories(change, Valid::False);
}

#[test]
fn a_stale_read_makes_it_invalid() {
    let change = |events: &mut Vec<Event>, _: &mut Random| {
        append(events, "write", json!("old"), json!("old"));
        append(events, "write", json!("new"), json!("new"));
        append(events, "read", json!(null), json!("old"));
    };
    for_correct_histories(change, Valid::False);
}

#[test]
fn a_lost_write_makes_it_invalid() {
    let change = |events: &mut Vec<Event>, _: &mut Random| {
        append(events, "write", json!("kept"), json!("kept"));
        append(
            events,
            "cas",
            json!(["kept", "lost"]),
            json!(["kept", "lost"]),
        );
        append(
            events,
            "cas",
            json!(["kept", "other"]),
            json!(["kept", "other"]),
        );
    };
    for_correct_histories(change, Valid::False);
}
