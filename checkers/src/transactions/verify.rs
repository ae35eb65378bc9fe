//! Proves evidence again, from itself alone, and compares it with a history.
//!
//! What is different of registers is in `registers/verify.rs`. This shares nothing with the search but the types of the evidence. Each step of a cycle is derived anew from the
//! transactions as they stand in the evidence, and the name of the cycle from its steps. [`verify_in`] moreover finds
//! each transaction in the events, and holds what evidence takes for granted against all of them: that an
//! element was appended once, and for garbage, never.

use serde_json::Value;
use store::{Event, EventType, Process};
use thiserror::Error;

use super::counters::verify as counters;
use super::evidence::{
    AnomalyEvidence, Cycle, Impossible, Objects, PassedOver, Relation, Step, TransactionView,
};
use super::predicates::verify as rows;
use super::registers::verify as registers;
use super::sets::verify as sets;
use super::shapes::verify as shapes;

/// Why evidence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotProved {
    /// A name that stands for no transaction.
    #[error("no transaction is called {0:?}")]
    Nobody(String),
    /// A step of a cycle that does not follow.
    #[error("that {from} comes before {to} does not follow")]
    Step {
        /// The earlier one, by name.
        from: String,
        /// The later one, by name.
        to: String,
    },
    /// The steps are no cycle.
    #[error("the steps are no cycle")]
    Open,
    /// The cycle, or the anomaly, has another name.
    #[error("this is no {0}")]
    Misnamed(String),
    /// A transaction is not in the history as it is in the evidence.
    #[error("{0} is not in the history like this")]
    NotInHistory(String),
    /// Increments of a counter, by key, come to another sum than the evidence says.
    #[error("what was added to key {0} is not what the evidence takes it for")]
    Sum(String),
    /// An element was appended several times, or, of garbage, at all.
    #[error("the element {0} was appended otherwise than the evidence takes it")]
    Appended(String),
}

/// Micro-operations of a view, as function, key, and element or list.
pub(super) fn micro(
    view: &TransactionView,
) -> impl DoubleEndedIterator<Item = (&str, &Value, &Value)> {
    let all = view.value.as_array().map_or(&[][..], Vec::as_slice).iter();
    all.filter_map(|one| Some((one.get(0)?.as_str()?, one.get(1)?, one.get(2)?)))
}

fn appends(view: &TransactionView, key: &Value, element: &Value) -> bool {
    micro(view).any(|(f, of, what)| f == "append" && of == key && what == element)
}

/// The lists that a transaction certainly read of a key.
fn lists<'a>(view: &'a TransactionView, key: &'a Value) -> impl Iterator<Item = &'a Vec<Value>> {
    let ok = view.outcome == EventType::Ok;
    micro(view)
        .filter(move |(f, of, _)| ok && *f == "r" && *of == key)
        .filter_map(|(_, _, list)| list.as_array())
}

/// Whether a transaction took effect, as the others show.
pub(super) fn took_effect(view: &TransactionView, all: &[TransactionView]) -> bool {
    let observed = || {
        micro(view)
            .filter(|(f, ..)| *f == "append")
            .any(|(_, key, element)| {
                all.iter()
                    .any(|reader| lists(reader, key).any(|list| list.contains(element)))
            })
    };
    view.outcome == EventType::Ok || view.outcome == EventType::Info && observed()
}

pub(super) struct Cast<'a>(pub(super) &'a [TransactionView]);

impl<'a> Cast<'a> {
    pub(super) fn get(&self, name: &str) -> Result<&'a TransactionView, NotProved> {
        let found = self.0.iter().find(|view| view.name == name);
        found.ok_or_else(|| NotProved::Nobody(name.to_owned()))
    }

    fn follows(&self, step: &Step) -> Result<bool, NotProved> {
        let (from, to) = (self.get(&step.from)?, self.get(&step.to)?);
        let effective = took_effect(from, self.0) && took_effect(to, self.0);
        let different = from.name != to.name;
        let proved = match (step.relation, &step.key, &step.value, &step.next) {
            (Relation::Ww, Some(key), Some(first), Some(second)) => {
                let witness = self.get(step.witness.as_deref().unwrap_or_default())?;
                appends(from, key, first)
                    && appends(to, key, second)
                    && lists(witness, key).any(|list| {
                        let at = |element| list.iter().position(|one| one == element);
                        at(first)
                            .is_some_and(|first| at(second).is_none_or(|second| first < second))
                    })
            }
            (Relation::Wr, Some(key), Some(value), _) => {
                appends(from, key, value) && lists(to, key).any(|list| list.contains(value))
            }
            (Relation::Rw, Some(key), _, Some(next)) => {
                appends(to, key, next) && lists(from, key).any(|list| !list.contains(next))
            }
            (Relation::Process, ..) => from.process == to.process && before(from, to),
            (Relation::Realtime, ..) => to.invoke.is_some() && before(from, to),
            _ => false,
        };
        Ok(different && effective && proved)
    }
}

/// Whether a transaction ended before another began; of one whose beginning is not known, before it ended.
pub(super) fn before(from: &TransactionView, to: &TransactionView) -> bool {
    match (from.complete, to.invoke.or(to.complete)) {
        (Some(end), Some(begin)) => from.outcome == EventType::Ok && end < begin,
        _ => false,
    }
}

/// Proves a cycle from what is in it.
///
/// # Errors
/// What does not follow.
pub fn verify_cycle(cycle: &Cycle) -> Result<(), NotProved> {
    let cast = Cast(&cycle.transactions);
    for (step, next) in cycle.steps.iter().zip(cycle.steps.iter().cycle().skip(1)) {
        if step.to != next.from {
            return Err(NotProved::Open);
        }
        let follows = match cycle.objects {
            Objects::Lists => cast.follows(step)?,
            Objects::Registers => registers::follows(&cast, step)?,
            Objects::Rows => rows::follows(&cast, step)?,
            Objects::Sets => sets::follows(&cast, step)?,
            Objects::Counters => counters::follows(&cast, step, cycle)?,
        };
        if !follows {
            return Err(NotProved::Step {
                from: step.from.clone(),
                to: step.to.clone(),
            });
        }
    }
    // Of registers, other cycles are called so that have conclusions.
    let has_shape = match cycle.objects {
        Objects::Lists => true,
        Objects::Registers => registers::name_of(cycle).is_none(),
        Objects::Rows | Objects::Sets | Objects::Counters => false,
    };
    if let Some(shows) = shapes::shows(cycle).filter(|_| has_shape) {
        return match shows {
            true => Ok(()),
            false => Err(NotProved::Misnamed(cycle.anomaly.clone())),
        };
    }
    match name_of(cycle) {
        Some(name) if name == cycle.anomaly => Ok(()),
        _ => Err(NotProved::Misnamed(cycle.anomaly.clone())),
    }
}

/// What a cycle is called, by its relations.
fn name_of(cycle: &Cycle) -> Option<String> {
    if let Some(name) = registers::name_of(cycle) {
        return Some(name);
    }
    let has = |relation| cycle.steps.iter().any(|step| step.relation == relation);
    let certain = |step: &Step| {
        let ends = cycle
            .transactions
            .iter()
            .filter(|view| view.name == step.from || view.name == step.to);
        ends.into_iter().all(|view| view.outcome == EventType::Ok)
    };
    // What grew did so by an anti-dependency, and then dependencies.
    let anti: Vec<bool> = cycle
        .steps
        .iter()
        .flat_map(|step| match step.relation {
            Relation::Rw | Relation::Rwp => &[true][..],
            Relation::Grew => &[true, false],
            _ => &[false],
        })
        .copied()
        .collect();
    let in_a_row = anti
        .iter()
        .zip(anti.iter().cycle().skip(1))
        .any(|(one, next)| *one && *next);
    let doubtful = cycle
        .steps
        .iter()
        .any(|step| step.relation == Relation::Ww && !certain(step));
    let class = match anti.iter().filter(|one| **one).count() {
        0 if has(Relation::Wr) || has(Relation::Wrp) || doubtful => "G1c",
        0 if has(Relation::Ww) => "G0",
        0 => return None,
        1 => "G-single-item",
        _ if in_a_row => "G2-item",
        _ => "G-nonadjacent-item",
    };
    let base = match () {
        () if has(Relation::Realtime) => "-realtime",
        () if has(Relation::Process) => "-process",
        () => "",
    };
    let name = format!("{class}{base}");
    Some(match cycle.objects {
        Objects::Rows => rows::name_of(cycle, &name),
        Objects::Lists | Objects::Registers | Objects::Sets | Objects::Counters => name,
    })
}

/// Proves from what is in it that transactions are impossible.
///
/// # Errors
/// That it does not follow.
pub fn verify_impossible(evidence: &Impossible) -> Result<(), NotProved> {
    match super::argument::verify(evidence) {
        true => Ok(()),
        false => Err(NotProved::Misnamed(evidence.anomaly.clone())),
    }
}

/// Proves an anomaly that is no cycle from what is in it.
///
/// # Errors
/// That it does not follow.
pub fn verify_anomaly(evidence: &AnomalyEvidence) -> Result<(), NotProved> {
    let of_timestamps = super::timestamps::verify::shows(evidence);
    let shows = match evidence.objects {
        _ if of_timestamps.is_some() => of_timestamps,
        Objects::Lists => shows(evidence),
        Objects::Registers => registers::shows(evidence),
        Objects::Rows => rows::shows(evidence),
        Objects::Sets => sets::shows(evidence),
        Objects::Counters => counters::shows(evidence),
    };
    match shows {
        Some(true) => Ok(()),
        _ => Err(NotProved::Misnamed(evidence.anomaly.clone())),
    }
}

/// Proves from the history the sums that evidence of counters takes for granted: what others may have added, or had added by some time.
///
/// # Errors
/// Which sum is another.
pub fn verify_sums_in(evidence: &crate::Evidence, events: &[Event]) -> Result<(), NotProved> {
    counters::verify_sums_in(evidence, events)
}

fn shows(evidence: &AnomalyEvidence) -> Option<bool> {
    let key = &evidence.key;
    let view = |at: usize| evidence.transactions.get(at);
    let element = |at: usize| evidence.elements.get(at);
    let one = view(0)?;
    let reads =
        |view: &TransactionView, what: &Value| lists(view, key).any(|list| list.contains(what));
    Some(match evidence.anomaly.as_str() {
        "G1a" => {
            let failed = view(1)?.outcome == EventType::Fail;
            failed && appends(view(1)?, key, element(0)?) && reads(one, element(0)?)
        }
        "G1b" => {
            let (writer, what) = (view(1)?, element(0)?);
            let mut rest = micro(writer)
                .skip_while(|(f, of, value)| (*f, *of, *value) != ("append", key, what));
            let unfinished =
                rest.next().is_some() && rest.any(|(f, of, _)| f == "append" && of == key);
            writer.outcome != EventType::Fail
                && writer.name != one.name
                && unfinished
                && ends_with(one, key, what)
        }
        "dirty-update" => {
            let (failed, next) = (view(1)?, view(2)?);
            let (aborted, after) = (element(0)?, element(1)?);
            let in_order = lists(one, key).any(|list| {
                let at = |element| list.iter().position(|one| one == element);
                matches!((at(aborted), at(after)), (Some(first), Some(second)) if first < second)
            });
            let written = appends(failed, key, aborted) && appends(next, key, after);
            failed.outcome == EventType::Fail
                && next.outcome != EventType::Fail
                && written
                && in_order
        }
        "garbage-read" => {
            reads(one, element(0)?)
                && !evidence
                    .transactions
                    .iter()
                    .any(|view| appends(view, key, element(0).unwrap_or(key)))
        }
        "duplicate-elements" => {
            let what = element(0)?;
            lists(one, key).any(|list| list.iter().filter(|one| *one == what).count() > 1)
        }
        "future-read" => {
            let what = element(0)?;
            let mut early =
                micro(one).take_while(|(f, of, value)| (*f, *of, *value) != ("append", key, what));
            let seen = early.any(|(f, of, value)| {
                f == "r" && of == key && value.as_array().is_some_and(|list| list.contains(what))
            });
            one.outcome == EventType::Ok && seen && appends(one, key, what)
        }
        "incompatible-order" => {
            let others = view(1).unwrap_or(one);
            let parts =
                |list: &[Value], of: &[Value]| list.iter().zip(of).any(|(one, other)| one != other);
            foreign_lists(one, key).iter().any(|list| {
                foreign_lists(others, key)
                    .iter()
                    .any(|other| parts(list, other))
            })
        }
        "cyclic-versions" => {
            let (other, first, second) = (view(1)?, element(0)?, element(1)?);
            let earlier = |view: &TransactionView, one: &Value, next: &Value| {
                lists(view, key).any(|list| {
                    let at = |element| list.iter().position(|one| one == element);
                    at(one).is_some_and(|one| at(next).is_none_or(|next| one < next))
                })
            };
            let writers = [(view(2)?, first), (view(3)?, second)];
            let written = writers.iter().all(|(writer, what)| {
                writer.outcome == EventType::Ok && appends(writer, key, what)
            });
            written
                && view(2)?.name != view(3)?.name
                && earlier(one, first, second)
                && earlier(other, second, first)
        }
        "internal" => one.outcome == EventType::Ok && at_odds(one, key),
        "unseen-own-write" => {
            let mut own: Vec<Value> = Vec::new();
            let mut all = micro(one).filter(|(_, of, _)| *of == key);
            one.outcome == EventType::Ok
                && all.any(|(f, _, what)| match what.as_array() {
                    Some(list) if f == "r" => !list.ends_with(&own),
                    _ => {
                        own.push(what.clone());
                        false
                    }
                })
        }
        "lost-update" => {
            let first = |view: &TransactionView| {
                let (f, _, list) = micro(view).find(|(_, of, _)| *of == key)?;
                let appends = micro(view).any(|(f, of, _)| f == "append" && of == key);
                let ok = view.outcome == EventType::Ok;
                (f == "r" && appends && ok).then(|| list.clone())
            };
            let (first, second) = (first(one)?, first(view(1)?)?);
            first == second && one.name != view(1)?.name
        }
        "lost-append" => {
            let (later, reader) = (view(1)?, view(2)?);
            let (lost, after) = (element(0)?, element(1)?);
            let seen = lists(reader, key).any(|list| list.contains(after) && !list.contains(lost));
            let written = appends(one, key, lost) && appends(later, key, after);
            later.invoke.is_some()
                && before(one, later)
                && later.outcome == EventType::Ok
                && written
                && seen
        }
        _ => return None,
    })
}

/// The lists of a key without what the transaction itself had appended to it.
pub(super) fn foreign_lists(view: &TransactionView, key: &Value) -> Vec<Vec<Value>> {
    let mut own: Vec<&Value> = Vec::new();
    let mut lists = Vec::new();
    for (f, of, what) in micro(view).filter(|(_, of, _)| *of == key) {
        debug_assert_eq!(of, key);
        match what.as_array() {
            _ if f == "append" => own.push(what),
            Some(list) => {
                let length = list.len().saturating_sub(own.len());
                let ends = list.len() >= own.len()
                    && list[length..]
                        .iter()
                        .zip(&own)
                        .all(|(one, own)| one == *own);
                lists.push(if ends {
                    list[..length].to_vec()
                } else {
                    list.clone()
                });
            }
            None => {}
        }
    }
    lists
}

/// Whether some read of a key has a list that ends with an element, but for the reader's own appends.
fn ends_with(view: &TransactionView, key: &Value, element: &Value) -> bool {
    view.outcome == EventType::Ok
        && foreign_lists(view, key)
            .iter()
            .any(|list| list.last() == Some(element))
}

/// Whether a transaction read a key otherwise than it had left it.
fn at_odds(view: &TransactionView, key: &Value) -> bool {
    // What is known of the list: all of it, or, before it is read, only how it ends.
    let mut whole: Option<Vec<Value>> = None;
    let mut end: Vec<Value> = Vec::new();
    for (f, _, what) in micro(view).filter(|(_, of, _)| *of == key) {
        if f == "append" {
            end.push(what.clone());
            if let Some(whole) = &mut whole {
                whole.push(what.clone());
            }
        } else if let Some(list) = what.as_array() {
            let differs = whole.as_ref().is_some_and(|whole| whole != list);
            if differs || !list.ends_with(&end) {
                return true;
            }
            whole = Some(list.clone());
        }
    }
    false
}

/// Whether the transactions of some evidence are in a history as they are in the evidence, and elements were appended
/// as it takes for granted: each once, those read by nobody else than who the evidence shows, but for reads that it
/// passes over, and garbage by nobody.
///
/// # Errors
/// What is not so.
pub fn verify_in(
    transactions: &[TransactionView],
    events: &[Event],
    garbage: Option<(&Value, &Value)>,
    passed_over: &[PassedOver],
) -> Result<(), NotProved> {
    for view in transactions {
        let missing = || NotProved::NotInHistory(view.name.clone());
        let find = |index: u64| {
            events
                .iter()
                .find(|event| event.index == index)
                .ok_or_else(missing)
        };
        let process = Process::Client(view.process);
        let invoke = view.invoke.map(find).transpose()?;
        let complete = view.complete.map(find).transpose()?;
        let mine = [invoke, complete]
            .into_iter()
            .flatten()
            .all(|event| event.process == process);
        let kind = complete.map_or(EventType::Info, |event| event.kind);
        let pairs = match (view.invoke, view.complete) {
            (Some(begin), Some(end)) => !events
                .iter()
                .any(|event| event.process == process && event.index > begin && event.index < end),
            _ => true,
        };
        let of_end = complete.filter(|event| event.kind == EventType::Ok || view.invoke.is_none());
        let source = of_end.filter(|event| !event.value.is_null()).or(invoke);
        let same = source.is_some_and(|event| same_micro(view, &event.value));
        if !mine || !pairs || kind != view.outcome || !same {
            return Err(missing());
        }
    }
    let elements = transactions
        .iter()
        .flat_map(micro)
        .filter(|(f, ..)| *f == "append");
    for (_, key, element) in elements {
        if times_appended(events, key, element) != 1 {
            return Err(NotProved::Appended(element.to_string()));
        }
    }
    // Of registers, what was read.
    let registers = |view: &&TransactionView| micro(view).all(|(_, _, what)| !what.is_array());
    let ok = |view: &&TransactionView| view.outcome == EventType::Ok;
    for view in transactions.iter().filter(registers).filter(ok) {
        for (_, key, value) in micro(view).filter(|(f, ..)| *f == "r") {
            let is_this = |one: &PassedOver| {
                one.transaction == view.name && one.key == *key && one.value == *value
            };
            let most = usize::from(!value.is_null());
            if times_appended(events, key, value) > most && !passed_over.iter().any(is_this) {
                return Err(NotProved::Appended(value.to_string()));
            }
        }
    }
    match garbage {
        Some((key, element)) if times_appended(events, key, element) > 0 => {
            Err(NotProved::Appended(element.to_string()))
        }
        _ => Ok(()),
    }
}

/// By how many operations, at most, an element was appended to a key.
fn times_appended(events: &[Event], key: &Value, element: &Value) -> usize {
    let appends = |event: &&Event| {
        let micro = event.value.as_array().map_or(&[][..], Vec::as_slice).iter();
        micro
            .filter(|one| {
                matches!(one.get(0).and_then(Value::as_str), Some("append" | "w"))
                    && one.get(1) == Some(key)
            })
            .any(|one| one.get(2) == Some(element))
    };
    let mut operations: Vec<&Process> = Vec::new();
    let mut begun = 0;
    for event in events.iter().filter(appends) {
        // An end of what is counted already is not counted again.
        let known = operations
            .iter()
            .position(|process| **process == event.process);
        match (event.is_invoke(), known) {
            (true, _) => {
                begun += 1;
                operations.push(&event.process);
            }
            (false, Some(at)) => {
                operations.remove(at);
            }
            (false, None) => begun += 1,
        }
    }
    begun
}

fn same_micro(view: &TransactionView, value: &Value) -> bool {
    let there = value.as_array().map_or(&[][..], Vec::as_slice);
    let ok = view.outcome == EventType::Ok;
    let same = |(here, there): ((&str, &Value, &Value), &Value)| {
        let (f, key, what) = here;
        let read = there.get(2).unwrap_or(&Value::Null);
        let nothing = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
        let equal = what == read || f == "r" && (!ok || nothing(what) && nothing(read));
        there.get(0).and_then(Value::as_str) == Some(f) && there.get(1) == Some(key) && equal
    };
    micro(view).count() == there.len()
        && micro(view).zip(there).all(same)
        && registers::same_versions(view, there)
}
