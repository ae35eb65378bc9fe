//! Proves a [`DeadEnd`] again, by other means than it was found with.
//!
//! Two things make a dead end a proof, and both are checked here from the evidence alone and the
//! history that it claims to be about:
//!
//! 1. The sub-history cannot be ordered: a depth-first search over all orders (Wing and Gong 1993,
//!    with Lowe's memory of visited nodes) finds none.
//! 2. The operations left out cannot help: each operation that could have written what one of the
//!    sub-history saw is in it, or began too late, or was certainly overwritten in time by one
//!    that is in it. A compare-and-set of which that is not true counts as a write.
//!
//! Or, for a register, the sub-history shows that a value came more often than it can have been written,
//! which is counted.
//!
//! Or, for a counter, all operations added up cannot make what a single one saw.
//!
//! For objects other than registers the second is: nothing that an operation left out leaves behind is
//! needed by one of the sub-history.
//!
//! This shares nothing with the search but the types of the evidence; the models are there once more,
//! written as plainly as can be ([`Reference`]). Only users' own models are asked themselves.

mod bounds;
mod count;
mod objects;
mod order;
mod prefixes;
mod reference;
mod register;
mod sequential;

use std::collections::BTreeMap;

use serde_json::Value;
use store::{Event, EventType, Process};
use thiserror::Error;

use super::evidence::{DeadEnd, OperationView};
use super::options::{FailedCas, NullRead, Options};

pub use bounds::Bounds;
pub use objects::{Judge, ModelJudge, bounds_of, prove_object};
pub use order::{Outcome, Rules, Seen, Touch};
pub(super) use prefixes::prefixes;
pub use reference::Reference;
pub(super) use register::prove;
pub use sequential::{prove_sequential, verify_sequential};

/// Why evidence does not prove what it claims.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refutation {
    /// The evidence names what it does not contain, or not what the history has.
    #[error("the evidence does not fit the history: {0}")]
    Mismatch(String),
    /// The sub-history can be ordered.
    #[error("the sub-history of the evidence is possible after all")]
    Possible,
    /// An operation that was left out could make a difference.
    #[error(
        "the operation of event {left_out} is not in the sub-history, but that of event {observer} could have seen it"
    )]
    Open {
        /// The operation that is missing.
        left_out: u64,
        /// The operation that could have seen it.
        observer: u64,
    },
    /// There were too many orders to try.
    #[error("the sub-history has too many possible orders to try them all (gave up after {0})")]
    TooHard(usize),
}

/// How many nodes of the search are visited at most.
pub const NODES: usize = 2_000_000;

/// Proves that the history, which the evidence was found in, is not linearizable.
///
/// `events` is the whole history, or a part from its beginning that contains the evidence. For evidence
/// about a user's own model see [`verify_with`].
pub fn verify(dead_end: &DeadEnd, events: &[Event], options: &Options) -> Result<(), Refutation> {
    if dead_end.model != REGISTER {
        let judge = Reference::new(&dead_end.model, options)
            .ok_or_else(|| Refutation::Mismatch(format!("no model is {:?}", dead_end.model)))?;
        return verify_with(&judge, dead_end, events, options);
    }
    let all = operations(events, dead_end.key.as_ref(), |invoke, complete| {
        view(invoke, complete, options)
    });
    fits(dead_end, &all, options, same_until)?;
    prove(dead_end, all.into_iter(), None)
}

/// The same, for evidence about a model that the judge knows.
pub fn verify_with(
    judge: &dyn Judge,
    dead_end: &DeadEnd,
    events: &[Event],
    options: &Options,
) -> Result<(), Refutation> {
    let all = operations(events, dead_end.key.as_ref(), |invoke, complete| {
        object_view(invoke, complete, options)
    });
    fits(dead_end, &all, options, |claimed, actual, _| {
        claimed == actual
    })?;
    prove_object(dead_end, &all, judge)
}

/// What [`DeadEnd::model`] is for registers.
pub(super) const REGISTER: &str = "register";

/// Whether the evidence is about these operations.
fn fits(
    dead_end: &DeadEnd,
    all: &[OperationView],
    options: &Options,
    same: impl Fn(&OperationView, &OperationView, u64) -> bool,
) -> Result<(), Refutation> {
    let end = dead_end.end().unwrap_or(u64::MAX);
    for view in &dead_end.operations {
        let at = all.binary_search_by_key(&view.invoke, |actual| actual.invoke);
        if !at.is_ok_and(|at| same(view, &all[at], end)) {
            return Err(Refutation::Mismatch(format!(
                "no such operation begins with event {}",
                view.invoke
            )));
        }
    }
    if dead_end.initial != options.initial {
        return Err(Refutation::Mismatch("the initial value differs".into()));
    }
    Ok(())
}

/// Whether two views tell the same of an operation up to the event `end`.
fn same_until(claimed: &OperationView, actual: &OperationView, end: u64) -> bool {
    let ends_later = |view: &OperationView| view.complete.is_none_or(|index| index > end);
    if !(ends_later(claimed) && ends_later(actual)) {
        return claimed == actual;
    }
    let known = |view: &OperationView| (view.invoke, view.invoke_time, view.process);
    known(claimed) == known(actual) && claimed.f == actual.f && claimed.value == actual.value
}

/// The operations of a key, those that did not happen left out.
fn operations(
    events: &[Event],
    key: Option<&Value>,
    view: impl Fn(&Event, Option<&Event>) -> Option<OperationView>,
) -> Vec<OperationView> {
    let mut open: BTreeMap<&Process, &Event> = BTreeMap::new();
    let mut found = Vec::new();
    for event in events.iter().filter(|event| event.is_client()) {
        if event.is_invoke() {
            open.insert(&event.process, event);
        } else if let Some(invoke) = open.remove(&event.process)
            && invoke.key.as_ref() == key
        {
            found.extend(view(invoke, Some(event)));
        }
    }
    let rest = open.values().filter(|invoke| invoke.key.as_ref() == key);
    found.extend(rest.filter_map(|invoke| view(invoke, None)));
    found.sort_by_key(|view| view.invoke);
    found
}

fn view(invoke: &Event, complete: Option<&Event>, options: &Options) -> Option<OperationView> {
    let Process::Client(process) = invoke.process else {
        return None;
    };
    let outcome = complete.map_or(EventType::Info, |event| event.kind);
    let read = &*invoke.f == "read";
    let result = match complete {
        Some(event) if read && outcome == EventType::Ok => event.value.clone(),
        _ => Value::Null,
    };
    let says_something = match (read, outcome) {
        (true, EventType::Ok) => options.null_read == NullRead::Absent || !result.is_null(),
        (true, _) => false,
        (false, EventType::Fail) => {
            &*invoke.f == "cas"
                && match options.failed_cas {
                    FailedCas::Precondition => {
                        complete.and_then(Event::error_class) == Some(store::OpError::PRECONDITION)
                    }
                    FailedCas::Observes => true,
                    FailedCas::Dropped => false,
                }
        }
        (false, _) => true,
    };
    says_something.then(|| OperationView {
        invoke: invoke.index,
        complete: complete.map(|event| event.index),
        invoke_time: invoke.time,
        complete_time: complete.map(|event| event.time),
        process,
        f: invoke.f.to_string(),
        value: if read {
            Value::Null
        } else {
            invoke.value.clone()
        },
        result,
        outcome,
    })
}

/// An operation on an object, with its values as they stand.
fn object_view(
    invoke: &Event,
    complete: Option<&Event>,
    options: &Options,
) -> Option<OperationView> {
    let Process::Client(process) = invoke.process else {
        return None;
    };
    let outcome = complete.map_or(EventType::Info, |event| event.kind);
    if outcome == EventType::Fail {
        let precondition =
            complete.and_then(Event::error_class) == Some(store::OpError::PRECONDITION);
        let refused = match options.failed_cas {
            FailedCas::Observes if &*invoke.f == "cas" => true,
            FailedCas::Dropped if &*invoke.f == "cas" => false,
            _ => precondition,
        };
        if !refused {
            return None;
        }
    }
    let seen = complete.filter(|_| outcome == EventType::Ok);
    Some(OperationView {
        invoke: invoke.index,
        complete: complete.map(|event| event.index),
        invoke_time: invoke.time,
        complete_time: complete.map(|event| event.time),
        process,
        f: invoke.f.to_string(),
        value: invoke.value.clone(),
        result: seen.map_or(Value::Null, |event| event.value.clone()),
        outcome,
    })
}
