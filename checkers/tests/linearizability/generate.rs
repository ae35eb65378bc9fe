//! Random histories of a register.

use serde_json::{Value, json};
use store::{Event, EventType, OpError};

use crate::support::{Random, event};

/// What kind of histories.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) operations: u64,
    pub(crate) processes: u64,
    pub(crate) values: u64,
    /// Percent of operations that are compare-and-sets.
    pub(crate) cas: u64,
    /// Percent of operations that end `info` or never.
    pub(crate) crashes: u64,
    /// Percent of operations that fail without having happened.
    pub(crate) failures: u64,
}

struct Running {
    process: u64,
    f: &'static str,
    value: Value,
    /// The result, once the operation has taken effect.
    result: Option<(bool, Value)>,
    crashes: bool,
}

/// A history of a register that works: each operation takes effect at a random moment between its
/// invocation and its completion, a crashed one at any time or never.
pub(crate) fn correct(shape: Shape, random: &mut Random) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut running: Vec<Running> = Vec::new();
    let mut limbo: Vec<Running> = Vec::new();
    let mut idle: Vec<u64> = (0..shape.processes).collect();
    let mut fresh = shape.processes;
    let mut state = Value::Null;
    let mut begun = 0;
    while begun < shape.operations || !running.is_empty() {
        let choices = if begun < shape.operations { 4 } else { 3 };
        match random.below(choices) {
            0 if !running.is_empty() => {
                let at = random.below(running.len() as u64) as usize;
                take_effect(&mut running[at], &mut state);
            }
            1 if !limbo.is_empty() => {
                let at = random.below(limbo.len() as u64) as usize;
                take_effect(&mut limbo[at], &mut state);
            }
            2 if !running.is_empty() => {
                let at = random.below(running.len() as u64) as usize;
                let mut op = running.swap_remove(at);
                let index = events.len() as u64;
                if op.crashes {
                    if random.percent(70) {
                        let value = op.value.clone();
                        events.push(event(index, op.process, EventType::Info, op.f, value));
                    }
                    limbo.push(op);
                    idle.push(fresh);
                    fresh += 1;
                    continue;
                }
                idle.push(op.process);
                if op.result.is_none() && random.percent(shape.failures) {
                    let mut failed =
                        event(index, op.process, EventType::Fail, op.f, op.value.clone());
                    failed.error = Some("unavailable".into());
                    events.push(failed);
                    continue;
                }
                take_effect(&mut op, &mut state);
                events.push(completion(index, op));
            }
            3 if !idle.is_empty() => {
                let at = random.below(idle.len() as u64) as usize;
                let process = idle.swap_remove(at);
                let (f, value) = operation(shape, random);
                let index = events.len() as u64;
                events.push(event(index, process, EventType::Invoke, f, value.clone()));
                running.push(Running {
                    process,
                    f,
                    value,
                    result: None,
                    crashes: random.percent(shape.crashes),
                });
                begun += 1;
            }
            _ => {}
        }
    }
    events
}

fn operation(shape: Shape, random: &mut Random) -> (&'static str, Value) {
    if random.percent(shape.cas) {
        let from = random.below(shape.values);
        return ("cas", json!([from, random.below(shape.values)]));
    }
    if random.percent(50) {
        ("read", Value::Null)
    } else {
        ("write", json!(random.below(shape.values)))
    }
}

fn take_effect(op: &mut Running, state: &mut Value) {
    if op.result.is_some() {
        return;
    }
    let mut happened = true;
    let mut result = op.value.clone();
    match op.f {
        "read" => result = state.clone(),
        "write" => *state = op.value.clone(),
        _ if *state == op.value[0] => *state = op.value[1].clone(),
        _ => happened = false,
    }
    op.result = Some((happened, result));
}

fn completion(index: u64, op: Running) -> Event {
    let (happened, value) = op.result.unwrap();
    if happened {
        return event(index, op.process, EventType::Ok, op.f, value);
    }
    let mut failed = event(index, op.process, EventType::Fail, op.f, value);
    failed.error = Some(json!([OpError::PRECONDITION, "another value"]));
    failed
}

/// Changes what some operations saw or did, so that the history may have become impossible.
pub(crate) fn mutate(events: &mut [Event], shape: Shape, random: &mut Random) {
    for _ in 0..=random.below(2) {
        if events.is_empty() {
            return;
        }
        let at = random.below(events.len() as u64) as usize;
        let event = &mut events[at];
        match (event.kind, &*event.f) {
            (EventType::Ok, "read") => {
                let value = random.below(shape.values + 1);
                event.value = if value == shape.values {
                    Value::Null
                } else {
                    json!(value)
                };
            }
            (EventType::Ok, "cas") => {
                event.kind = EventType::Fail;
                event.error = Some(OpError::PRECONDITION.into());
            }
            (EventType::Fail, "cas") => {
                event.kind = EventType::Ok;
                event.error = None;
            }
            (EventType::Ok, _) => event.kind = EventType::Info,
            _ => {}
        }
    }
    retire_crashed(events);
}

/// A process whose operation ended `info` goes on under another number.
fn retire_crashed(events: &mut [Event]) {
    for at in 0..events.len() {
        if events[at].kind != EventType::Info {
            continue;
        }
        let old = events[at].process.clone();
        let new = store::Process::Client(1_000 + at as u64);
        for event in events[at + 1..].iter_mut().filter(|it| it.process == old) {
            event.process = new.clone();
        }
    }
}
