//! From an impossible sub-history to a [`DeadEnd`] that a person can follow.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use store::EventType;

use super::evidence::{DeadEnd, OperationView, Source};
use super::minimise::Impossible;
use super::model::{Register, RegisterOp};
use super::registers::{Logged, view};
use super::slice::SliceOp;
use super::values::Values;
use super::verify::REGISTER;

/// How many pending operations are shown.
const SHOWN: usize = 20;
/// How many sources are shown.
const SOURCES: usize = 3;
/// How many states are told one by one.
const STATES: usize = 10;
/// How many operations are told one by one.
const TOLD: usize = 8;

/// What an explanation is made from.
pub(super) struct Material<'a> {
    pub(super) key: Option<&'a Value>,
    /// The values by their numbers.
    pub(super) values: &'a Values,
    pub(super) initial: u32,
    /// All operations until the end.
    pub(super) all: &'a [SliceOp<RegisterOp>],
    /// By [`SliceOp::at`].
    pub(super) log: &'a [&'a Logged],
    pub(super) found: &'a Impossible<Register>,
    /// The event at which the search of the whole history came to its end, and the states that
    /// were possible then; none if they are not known.
    pub(super) whole_end: (u64, &'a [u32]),
}

/// Makes evidence of an impossible sub-history.
pub(super) fn explain(material: &Material<'_>) -> DeadEnd {
    let dead = material.found.ops[material.found.dead];
    let end = dead.returned.unwrap_or(u64::MAX);
    let states_of_whole = material.whole_end.0 == end && !material.whole_end.1.is_empty();
    let states = if states_of_whole {
        material.whole_end.1
    } else {
        &material.found.states
    };
    let sources = material.sources(&dead);
    let (pending, pending_omitted) = material.pending(&dead);
    let mut dead_end = DeadEnd {
        model: REGISTER.to_owned(),
        key: material.key.cloned(),
        initial: material.value(material.initial),
        operation: dead.invoke,
        states: states.iter().map(|state| material.value(*state)).collect(),
        range: None,
        states_of_whole,
        pending: pending.iter().map(|op| op.invoke).collect(),
        pending_omitted,
        sources: sources
            .iter()
            .map(|(source, by)| Source {
                operation: source.invoke,
                overwritten_by: by.map(|by| by.invoke),
            })
            .collect(),
        sub_history: material.sub_history(end),
        minimal: material.found.minimal,
        prefixes: Vec::new(),
        elements: Vec::new(),
        operations: Vec::new(),
        explanation: Vec::new(),
    };
    let mentioned = sources
        .iter()
        .flat_map(|(source, by)| std::iter::once(*source).chain(*by))
        .chain(pending)
        .chain(material.found.ops.iter().copied());
    let mentioned: BTreeMap<u64, usize> = mentioned.map(|op| (op.invoke, op.at)).collect();
    dead_end.operations = mentioned.values().map(|at| material.view(*at)).collect();
    dead_end.explanation = tell(&dead_end);
    dead_end.explanation.extend(material.tell_blind());
    dead_end
}

impl Material<'_> {
    fn value(&self, id: u32) -> Value {
        self.values.value(id).clone()
    }

    fn view(&self, at: usize) -> OperationView {
        view(self.log[at], self.values)
    }

    /// The operations that could have written what the impossible operation saw, those that ended
    /// last first, each with one that certainly overwrote it in time.
    fn sources(
        &self,
        dead: &SliceOp<RegisterOp>,
    ) -> Vec<(SliceOp<RegisterOp>, Option<SliceOp<RegisterOp>>)> {
        let end = |op: &SliceOp<RegisterOp>| op.returned.unwrap_or(u64::MAX);
        let began_in_time =
            |op: &&SliceOp<RegisterOp>| op.invoke < end(dead) && op.invoke != dead.invoke;
        let mut sources: Vec<&SliceOp<RegisterOp>> =
            self.all.iter().filter(began_in_time).collect();
        sources.retain(|op| {
            op.op
                .writes()
                .is_some_and(|value| dead.op.apply(value).is_some())
        });
        sources.sort_by_key(|op| std::cmp::Reverse((end(op), op.invoke)));
        let members: BTreeSet<u64> = self.found.ops.iter().map(|op| op.invoke).collect();
        let mut sure: Vec<&SliceOp<RegisterOp>> = self.all.iter().collect();
        sure.retain(|op| {
            op.op.writes().is_some() && op.returned.is_some_and(|at| at < dead.invoke)
        });
        sure.sort_by_key(|op| (!members.contains(&op.invoke), op.invoke));
        sources
            .into_iter()
            .take(SOURCES)
            .map(|source| {
                let by = sure.iter().find(|by| by.invoke > end(source));
                (*source, by.map(|by| **by))
            })
            .collect()
    }

    /// What was open when the impossible operation ended, and how much of it is left out.
    fn pending(&self, dead: &SliceOp<RegisterOp>) -> (Vec<SliceOp<RegisterOp>>, u64) {
        let end = dead.returned.unwrap_or(u64::MAX);
        let mut pending: Vec<SliceOp<RegisterOp>> = self
            .all
            .iter()
            .filter(|op| op.invoke < end && op.returned.is_none_or(|at| at > end))
            .copied()
            .collect();
        pending.sort_by_key(|op| {
            let helps = op
                .op
                .writes()
                .is_some_and(|value| dead.op.apply(value).is_some());
            (!helps, std::cmp::Reverse(op.invoke))
        });
        let omitted = pending.len().saturating_sub(SHOWN);
        pending.truncate(SHOWN);
        (pending, omitted as u64)
    }

    /// Which compare-and-sets count as writes, if any do.
    fn tell_blind(&self) -> Option<String> {
        let cut = |op: &&SliceOp<RegisterOp>| self.log[op.at].op != op.op;
        let mut blind = self.found.ops.iter().filter(cut);
        let first = describe(&self.view(blind.next()?.at));
        Some(match blind.count() {
            0 => format!("What the {first} found does not matter: it counts as a write."),
            more => format!(
                "What the {first} found does not matter: it counts as a write, and so do {more} \
                 other compare-and-sets."
            ),
        })
    }

    fn sub_history(&self, end: u64) -> Vec<u64> {
        let mut events: Vec<u64> = self
            .found
            .ops
            .iter()
            .filter(|op| op.invoke <= end)
            .flat_map(|op| {
                let complete = self.log[op.at].complete.map(|(index, _)| index);
                [Some(op.invoke), complete.filter(|index| *index <= end)]
            })
            .flatten()
            .collect();
        events.sort_unstable();
        events
    }
}

/// What happened, in a sentence without its end.
pub(super) fn summary(dead_end: &DeadEnd) -> String {
    let Some(operation) = dead_end.get(dead_end.operation) else {
        return String::new();
    };
    let mut did = tell_operation(operation);
    did.pop();
    if let Some(first) = did.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    if dead_end.states.is_empty() {
        let so_often = "more often than it can have been written";
        return format!("{did}, a value that was seen anew {so_often} until then");
    }
    format!("{did}, when it can only have held {}", possible(dead_end))
}

/// The possible values.
fn possible(dead_end: &DeadEnd) -> String {
    let told = dead_end.states.iter().take(STATES).map(Value::to_string);
    let mut values: Vec<String> = told.collect();
    if let Some(more) = dead_end
        .states
        .len()
        .checked_sub(STATES)
        .filter(|more| *more > 0)
    {
        values.push(format!("one of {more} more values"));
    }
    list(&values, "or")
}

/// The sentences.
fn tell(dead_end: &DeadEnd) -> Vec<String> {
    let Some(operation) = dead_end.get(dead_end.operation) else {
        return Vec::new();
    };
    let mut sentences = vec![tell_operation(operation), tell_states(dead_end, operation)];
    sentences.extend(tell_sources(dead_end, operation));
    sentences.extend(tell_pending(dead_end, operation));
    sentences.push(tell_sub_history(dead_end));
    sentences
}

fn tell_operation(operation: &OperationView) -> String {
    let (from, to) = pair(operation);
    let process = operation.process;
    let did = match (operation.f.as_str(), operation.outcome) {
        ("read", _) => format!(
            "Read by process {process} returned {}",
            returned(&operation.result)
        ),
        (_, EventType::Fail) => format!(
            "Compare-and-set from {from} to {to} by process {process} failed because it found \
             something else than {from}"
        ),
        _ => format!("Compare-and-set from {from} to {to} by process {process} succeeded"),
    };
    format!(
        "{did} at {} (events {} to {}).",
        at(operation.complete_time),
        operation.invoke,
        operation.complete.unwrap_or(operation.invoke)
    )
}

fn tell_states(dead_end: &DeadEnd, operation: &OperationView) -> String {
    let register = match &dead_end.key {
        Some(key) => format!("key {key}"),
        None => "the register".to_owned(),
    };
    let scope = if dead_end.states_of_whole {
        String::new()
    } else {
        "Going by the operations below, ".to_owned()
    };
    let mut sentence = format!(
        "{scope}{register} can only have held {} from {}, when it began, until then.",
        possible(dead_end),
        at(Some(operation.invoke_time))
    );
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    sentence
}

fn tell_sources(dead_end: &DeadEnd, operation: &OperationView) -> Vec<String> {
    let wanted = match (operation.f.as_str(), operation.outcome) {
        ("read", _) => operation.result.to_string(),
        (_, EventType::Fail) => format!("anything else than {}", pair(operation).0),
        _ => pair(operation).0,
    };
    let Some(last) = dead_end.sources.first() else {
        return vec![format!(
            "Nothing that began before it ended could have written {wanted}, and the register \
             began as {}.",
            dead_end.initial
        )];
    };
    let Some(source) = dead_end.get(last.operation) else {
        return Vec::new();
    };
    let by = last.overwritten_by.and_then(|by| dead_end.get(by));
    let ended = match source.outcome {
        EventType::Info => "of which nobody knows whether and when it took effect".to_owned(),
        _ if source.complete > operation.complete => "which was still open".to_owned(),
        _ => format!("which completed at {}", at(source.complete_time)),
    };
    let Some(by) = by else {
        return vec![format!(
            "It could have come from {}, {ended}; but then other operations have no place.",
            describe(source)
        )];
    };
    vec![
        format!(
            "The last operation that could have written {wanted} is {}, {ended}.",
            describe(source)
        ),
        format!(
            "{} began after that, at {}, and completed at {}, before the {} began.",
            capitalised(&describe(by)),
            at(Some(by.invoke_time)),
            at(by.complete_time),
            short(operation)
        ),
    ]
}

fn tell_pending(dead_end: &DeadEnd, operation: &OperationView) -> Option<String> {
    let open = dead_end.pending.len() as u64 + dead_end.pending_omitted;
    if open == 0 {
        return Some(format!(
            "Nothing else was open when the {} completed.",
            short(operation)
        ));
    }
    let pending = dead_end.pending.iter().filter_map(|at| dead_end.get(*at));
    let told: Vec<String> = pending.take(TOLD).map(describe).collect();
    let more = match open - told.len() as u64 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "Still open, and so possible at any moment: {}{more}.",
        told.join("; ")
    ))
}

fn tell_sub_history(dead_end: &DeadEnd) -> String {
    let operations: Vec<&OperationView> = dead_end.sub_operations().collect();
    let minimal = if dead_end.minimal {
        ", and none of them can be spared"
    } else {
        ""
    };
    let told: Vec<String> = operations
        .iter()
        .take(TOLD)
        .map(|view| {
            let began = at(Some(view.invoke_time));
            match (view.outcome, view.complete_time) {
                (EventType::Info, _) | (_, None) => {
                    format!("{} (from {began}, outcome unknown)", describe(view))
                }
                (_, Some(time)) => {
                    format!("{} ({began} to {})", describe(view), at(Some(time)))
                }
            }
        })
        .collect();
    let more = match operations.len() - told.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let subject = match operations.len() {
        1 => "This operation alone is impossible".to_owned(),
        n => format!("These {n} operations alone have no possible order{minimal}"),
    };
    format!(
        "{subject}: {}{more}. No other operation can help: whatever else wrote what they saw had \
         been overwritten before, or began too late.",
        told.join("; ")
    )
}

/// An operation in a few words.
fn describe(view: &OperationView) -> String {
    let (from, to) = pair(view);
    let process = view.process;
    match (view.f.as_str(), view.outcome) {
        ("read", _) => format!("read of {} by process {process}", view.result),
        ("write", _) => format!("write of {} by process {process}", view.value),
        (_, EventType::Fail) => format!("failed cas from {from} to {to} by process {process}"),
        _ => format!("cas from {from} to {to} by process {process}"),
    }
}

fn short(view: &OperationView) -> &'static str {
    match view.f.as_str() {
        "read" => "read",
        "write" => "write",
        _ => "compare-and-set",
    }
}

/// The arguments of a compare-and-set.
fn pair(view: &OperationView) -> (String, String) {
    match view.value.as_array().map(Vec::as_slice) {
        Some([from, to]) => (from.to_string(), to.to_string()),
        _ => (String::new(), String::new()),
    }
}

fn returned(value: &Value) -> String {
    match value {
        Value::Null => "null (absent)".to_owned(),
        value => value.to_string(),
    }
}

/// A time in seconds since the run began.
pub(super) fn at(nanoseconds: Option<u64>) -> String {
    nanoseconds.map_or_else(
        || "the end".to_owned(),
        |time| format!("{:.3} s", time as f64 / 1e9),
    )
}

pub(super) fn list(items: &[String], last: &str) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}
