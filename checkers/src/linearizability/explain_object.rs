//! From an impossible sub-history of an object to a [`DeadEnd`] that a person can follow.

use std::collections::BTreeMap;

use serde_json::Value;
use store::EventType;

use super::evidence::{DeadEnd, OperationView};
use super::explain::{at, list};
use super::minimise::Impossible;
use super::object::{Object, ObjectOp};
use super::objects::Objects;
use super::slice::SliceOp;
use super::subject::{LoggedOf, Subject, describe_key};
use super::verify::Bounds;

/// How many pending operations are shown.
const SHOWN: usize = 20;
/// How many states are told one by one.
const STATES: usize = 6;
/// How many operations are told one by one.
const TOLD: usize = 8;
/// How many characters of a value are told.
const CHARS: usize = 100;

/// What an explanation is made from.
pub(super) struct Material<'a> {
    pub(super) key: Option<&'a Value>,
    pub(super) subject: &'a Objects,
    /// The only elements that are looked at, if so.
    pub(super) elements: &'a [u32],
    /// All operations until the end.
    pub(super) all: &'a [SliceOp<ObjectOp>],
    /// By [`SliceOp::at`].
    pub(super) log: &'a [&'a LoggedOf<Objects>],
    pub(super) found: &'a Impossible<Object>,
    /// The event at which the search of the whole history came to its end, and the states that
    /// were possible then, with the object that they are states of.
    pub(super) whole_end: (u64, (&'a Object, &'a [u32])),
}

/// Makes evidence of an impossible sub-history.
pub(super) fn explain(material: &Material<'_>) -> DeadEnd {
    let found = material.found;
    let dead = found.ops[found.dead];
    let end = dead.returned.unwrap_or(u64::MAX);
    let (whole_end, (object, states)) = material.whole_end;
    let states_of_whole = whole_end == end && !states.is_empty();
    let (object, states) = match states_of_whole {
        true => (object, states),
        false => (&found.machine, found.states.as_slice()),
    };
    let (pending, pending_omitted) = pending(material, &dead);
    let values = &material.subject.values;
    let mut dead_end = DeadEnd {
        model: material.subject.name.clone(),
        key: material.key.cloned(),
        initial: material.subject.initial.clone(),
        operation: dead.invoke,
        states: states
            .iter()
            .map(|state| object.describe(*state, values))
            .collect(),
        range: None,
        states_of_whole,
        pending: pending.iter().map(|op| op.invoke).collect(),
        pending_omitted,
        sources: Vec::new(),
        sub_history: sub_history(material),
        minimal: found.minimal,
        prefixes: Vec::new(),
        elements: (material.elements.iter())
            .map(|element| values.value(*element).clone())
            .collect(),
        operations: Vec::new(),
        explanation: Vec::new(),
    };
    let mentioned = pending.iter().chain(&found.ops);
    let mentioned: BTreeMap<u64, usize> = mentioned.map(|op| (op.invoke, op.at)).collect();
    dead_end.operations = mentioned
        .values()
        .map(|at| material.subject.view(material.log[*at]))
        .collect();
    dead_end.explanation = tell(&dead_end, &material.subject.noun());
    dead_end
}

/// Makes evidence of an operation that showed what a counter cannot have been.
pub(super) fn explain_bounds(
    subject: &Objects,
    key: Option<&Value>,
    operation: OperationView,
    bounds: &Bounds,
) -> DeadEnd {
    let number = |it: i128| i64::try_from(it).map_or_else(|_| it.to_string().into(), Value::from);
    let object = describe_key(key, &subject.noun());
    let (began, ended) = (operation.invoke, operation.complete.unwrap_or(u64::MAX));
    let open = match (bounds.most - bounds.certain, bounds.certain - bounds.least) {
        (0, 0) => "nothing that was open until it ended changes it".to_owned(),
        (up, 0) => format!("what was open until it ended can have added up to {up}"),
        (0, down) => format!("what was open until it ended can have taken up to {down}"),
        (up, down) => {
            format!("what was open until it ended can have added up to {up} or taken up to {down}")
        }
    };
    let explanation = vec![
        tell_end(&operation, &[]),
        format!(
            "All that had ended when it began, at {}, brought {object} to {}; {open}.",
            at(Some(operation.invoke_time)),
            bounds.certain
        ),
        format!(
            "Just before it took effect {object} was {}, going by the result, which is not from {} to {}.",
            bounds.was, bounds.least, bounds.most
        ),
    ];
    DeadEnd {
        model: subject.name.clone(),
        key: key.cloned(),
        initial: subject.initial.clone(),
        operation: operation.invoke,
        states: Vec::new(),
        range: Some([number(bounds.least), number(bounds.most)]),
        states_of_whole: true,
        pending: Vec::new(),
        pending_omitted: 0,
        sources: Vec::new(),
        sub_history: vec![began, ended],
        minimal: true,
        prefixes: Vec::new(),
        elements: Vec::new(),
        operations: vec![operation],
        explanation,
    }
}

/// What was open when the impossible operation ended, the latest first, and how much of it is left out.
fn pending(material: &Material<'_>, dead: &SliceOp<ObjectOp>) -> (Vec<SliceOp<ObjectOp>>, u64) {
    let end = dead.returned.unwrap_or(u64::MAX);
    let open = |op: &&SliceOp<ObjectOp>| {
        op.invoke < end && op.returned.is_none_or(|at| at > end) && op.invoke != dead.invoke
    };
    let mut pending: Vec<SliceOp<ObjectOp>> = material.all.iter().filter(open).copied().collect();
    pending.sort_by_key(|op| std::cmp::Reverse(op.invoke));
    let omitted = pending.len().saturating_sub(SHOWN);
    pending.truncate(SHOWN);
    (pending, omitted as u64)
}

/// Of operations that ended later than the impossible one, too, the results are part of the proof.
fn sub_history(material: &Material<'_>) -> Vec<u64> {
    let events = material.found.ops.iter().flat_map(|op| {
        let complete = material.log[op.at].complete.map(|(index, _)| index);
        [Some(op.invoke), complete]
    });
    let mut events: Vec<u64> = events.flatten().collect();
    events.sort_unstable();
    events
}

/// What happened, in a sentence without its end.
pub(super) fn summary(dead_end: &DeadEnd) -> String {
    let Some(operation) = dead_end.get(dead_end.operation) else {
        return String::new();
    };
    let (of, what) = match dead_end.elements.is_empty() {
        true => (String::new(), "it"),
        false => (format!(" of the elements {}", elements(dead_end)), "that"),
    };
    format!(
        "{}{of} (events {} to {}), when {what} can only have been {}",
        describe(operation, &dead_end.elements),
        operation.invoke,
        operation.complete.unwrap_or(operation.invoke),
        possible(dead_end)
    )
}

/// The elements that are looked at.
fn elements(dead_end: &DeadEnd) -> String {
    let told: Vec<String> = dead_end.elements.iter().map(short).collect();
    list(&told, "and")
}

/// The possible states.
fn possible(dead_end: &DeadEnd) -> String {
    if let Some([least, most]) = &dead_end.range {
        return format!("from {least} to {most}");
    }
    let told = dead_end.states.iter().take(STATES);
    let mut states: Vec<String> = told.map(short).collect();
    if let Some(more) = dead_end
        .states
        .len()
        .checked_sub(STATES)
        .filter(|more| *more > 0)
    {
        states.push(format!("one of {more} more states"));
    }
    list(&states, "or")
}

/// The sentences.
fn tell(dead_end: &DeadEnd, noun: &str) -> Vec<String> {
    let Some(operation) = dead_end.get(dead_end.operation) else {
        return Vec::new();
    };
    let object = describe_key(dead_end.key.as_ref(), noun);
    let going_by = match dead_end.states_of_whole {
        true => "",
        false => "going by the operations below, ",
    };
    let looked_at = (!dead_end.elements.is_empty()).then(|| {
        format!(
            "Only the elements {} are looked at here, also of what was read: if {object} is possible, so is that.",
            elements(dead_end)
        )
    });
    let sentences = [
        tell_end(operation, &dead_end.elements),
        format!(
            "From {}, when it began, until then, {going_by}{object} can only have been {}.",
            at(Some(operation.invoke_time)),
            possible(dead_end)
        ),
        tell_pending(dead_end),
        tell_sub_history(dead_end),
    ];
    looked_at.into_iter().chain(sentences).collect()
}

/// When the impossible operation ended.
fn tell_end(operation: &OperationView, elements: &[Value]) -> String {
    format!(
        "{} ended at {} (events {} to {}).",
        describe(operation, elements),
        at(operation.complete_time),
        operation.invoke,
        operation.complete.unwrap_or(operation.invoke)
    )
}

fn tell_pending(dead_end: &DeadEnd) -> String {
    let open = dead_end.pending.len() as u64 + dead_end.pending_omitted;
    if open == 0 {
        return "Nothing else was open then.".to_owned();
    }
    let pending = dead_end.pending.iter().filter_map(|at| dead_end.get(*at));
    let describe = |view| describe(view, &dead_end.elements);
    let told: Vec<String> = pending.take(TOLD).map(describe).collect();
    let more = match open - told.len() as u64 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "Still open then, and so possible at any moment: {}{more}.",
        told.join("; ")
    )
}

fn tell_sub_history(dead_end: &DeadEnd) -> String {
    let operations: Vec<&OperationView> = dead_end.sub_operations().collect();
    let describe = |view| describe(view, &dead_end.elements);
    let told = operations.iter().take(TOLD).map(|view| {
        let began = at(Some(view.invoke_time));
        match (view.outcome, view.complete_time) {
            (EventType::Info, _) | (_, None) => format!("{} (from {began})", describe(view)),
            (_, Some(time)) => format!("{} ({began} to {})", describe(view), at(Some(time))),
        }
    });
    let told: Vec<String> = told.collect();
    let more = match operations.len() - told.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let subject = match (operations.len(), dead_end.minimal) {
        (1, _) => "This operation alone is impossible".to_owned(),
        (n, true) => {
            format!("These {n} operations alone have no possible order, and none can be spared")
        }
        (n, false) => format!("These {n} operations alone have no possible order"),
    };
    format!(
        "{subject}: {}{more}. Nothing that was left out makes a difference to them.",
        told.join("; ")
    )
}

/// An operation in a few words, and only some elements of what it saw, if there are any to be looked at.
fn describe(view: &OperationView, elements: &[Value]) -> String {
    let OperationView {
        process,
        f,
        value,
        result,
        outcome,
        ..
    } = view;
    let asked = match value {
        Value::Null => String::new(),
        value => format!(" {}", short(value)),
    };
    let ended = match outcome {
        EventType::Fail => ", refused".to_owned(),
        EventType::Info | EventType::Invoke => ", outcome unknown".to_owned(),
        EventType::Ok if result == value => String::new(),
        EventType::Ok => format!(" with the result {}", short(&restricted(result, elements))),
    };
    format!("{f}{asked} by process {process}{ended}")
}

/// What was seen of some elements, if there are any to be looked at.
fn restricted(result: &Value, elements: &[Value]) -> Value {
    match result.as_array().filter(|_| !elements.is_empty()) {
        None => result.clone(),
        Some(all) => (all.iter().filter(|it| elements.contains(it)).cloned()).collect(),
    }
}

/// A value that is not too long.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(CHARS) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
