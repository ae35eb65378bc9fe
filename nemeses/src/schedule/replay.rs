//! What the faults of a recorded run did, as a script that does the same again.
//!
//! Times are those at which activities began and ended then. What was left open then (a primary, whoever that was) is written
//! as what it came to: the nodes that were struck, the links that were cut.

use std::time::Duration;

use harness::{Event, EventType, Process, Value};

use super::script::{Entry, Script};
use super::{START, STOP};
use crate::spec::FaultSpec;

/// An activity that has begun.
struct Begun<'a> {
    at: u64,
    asked: &'a Value,
    /// When it was in force, and what it came to.
    installed: Option<(u64, &'a Value)>,
    /// When its end was asked for.
    stopped: Option<u64>,
}

/// The script of a run whose faults were these and that left this history. Activities that did nothing are left out; one that
/// was never ended lasts to the end of the history.
pub fn replay(faults: &[FaultSpec], history: &[Event]) -> Script {
    let origin = history.first().map_or(0, |event| event.time);
    let end = history.last().map_or(0, |event| event.time);
    let mut entries = Vec::new();
    for fault in faults {
        let mine = |event: &&Event| matches!(&event.process, Process::Nemesis(name) if **name == *fault.label);
        for begun in activities(history.iter().filter(mine)) {
            let Some((since, came_to)) = begun.installed else {
                continue;
            };
            let until = begun.stopped.unwrap_or(end);
            entries.push(Entry {
                at: Duration::from_nanos(begun.at.saturating_sub(origin)),
                lasts: Duration::from_nanos(until.saturating_sub(since)),
                nemesis: fault.text.clone(),
                value: Some(exactly(begun.asked, came_to)),
            });
        }
    }
    entries.sort_by_key(|entry| entry.at);
    Script { entries }
}

fn activities<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Begun<'a>> {
    let mut all: Vec<Begun<'a>> = Vec::new();
    for event in events {
        match (&*event.f, event.kind, all.last_mut()) {
            (START, EventType::Invoke, _) => all.push(Begun {
                at: event.time,
                asked: &event.value,
                installed: None,
                stopped: None,
            }),
            (START, EventType::Ok | EventType::Info, Some(begun)) => {
                begun.installed = Some((event.time, &event.value));
            }
            (STOP, EventType::Invoke, Some(begun)) => {
                begun.stopped.get_or_insert(event.time);
            }
            _ => {}
        }
    }
    all
}

/// What was asked, with what it came to where that was left open.
fn exactly(asked: &Value, came_to: &Value) -> Value {
    let mut exact = asked.clone();
    let (Some(fields), Some(found)) = (exact.as_object_mut(), came_to.as_object()) else {
        return exact;
    };
    if let Some(grudge) = found.get("grudge") {
        fields.insert("grudge".to_owned(), grudge.clone());
    }
    let targets = found.get("targets").and_then(Value::as_array);
    if let (Some(targets), true) = (targets, fields.contains_key("target")) {
        let names: Vec<&str> = targets.iter().filter_map(Value::as_str).collect();
        fields.insert("target".to_owned(), names.join("+").into());
    }
    exact
}
