//! Proves a [`DeadEnd`] again, by other means than it was found with.
//!
//! Two things make a dead end a proof, and both are checked here from the evidence alone and the
//! history that it claims to be about:
//!
//! 1. The sub-history cannot be ordered: a depth-first search over all orders (Wing and Gong 1993,
//!    with Lowe's memory of visited nodes) finds none.
//! 2. The operations left out cannot help: each operation that could have written what one of the
//!    sub-history saw is in it, or began too late, or was certainly overwritten in time by one
//!    that is in it.
//!
//! This shares nothing with the search but the types of the evidence.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;
use store::{Event, EventType, Process};
use thiserror::Error;

use super::evidence::{DeadEnd, OperationView};
use super::options::{FailedCas, NullRead, Options};

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
/// `events` is the whole history, or a part from its beginning that contains the evidence.
pub fn verify(dead_end: &DeadEnd, events: &[Event], options: &Options) -> Result<(), Refutation> {
    let all = operations(events, dead_end.key.as_ref(), options);
    let end = dead_end.end().unwrap_or(u64::MAX);
    for view in &dead_end.operations {
        if !all.iter().any(|actual| same_until(view, actual, end)) {
            return Err(Refutation::Mismatch(format!(
                "no such operation begins with event {}",
                view.invoke
            )));
        }
    }
    if dead_end.initial != options.initial {
        return Err(Refutation::Mismatch("the initial value differs".into()));
    }
    prove(dead_end, all.into_iter(), None)
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

/// The same, with all operations of the key at hand, apart from those that returned at
/// `forgotten` or before.
pub(super) fn prove(
    dead_end: &DeadEnd,
    all: impl Iterator<Item = OperationView>,
    forgotten: Option<u64>,
) -> Result<(), Refutation> {
    let end = dead_end
        .end()
        .ok_or_else(|| Refutation::Mismatch("the impossible operation is missing".into()))?;
    let members: Vec<Op> = dead_end
        .sub_operations()
        .filter_map(|view| Op::new(view, end))
        .collect();
    is_closed(&members, all, end, forgotten)?;
    match has_order(&members, &dead_end.initial) {
        Some(false) => Ok(()),
        Some(true) => Err(Refutation::Possible),
        None => Err(Refutation::TooHard(NODES)),
    }
}

/// What an operation does to a register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Effect {
    Read(Value),
    Differs(Value),
    Write(Value),
    Cas(Value, Value),
}

#[derive(Clone, Debug)]
struct Op {
    effect: Effect,
    invoke: u64,
    /// When it certainly had happened; `None` if it need not have.
    returned: Option<u64>,
}

impl Op {
    /// What is known of an operation when the event `end` has happened; `None` if it says nothing.
    fn new(view: &OperationView, end: u64) -> Option<Op> {
        if view.invoke > end {
            return None;
        }
        let pair = || match view.value.as_array().map(Vec::as_slice) {
            Some([from, to]) => Some((from.clone(), to.clone())),
            _ => None,
        };
        let ended = view.complete.is_some_and(|complete| complete <= end);
        let effect = match (view.f.as_str(), view.outcome) {
            ("read", EventType::Ok) if ended => Effect::Read(view.result.clone()),
            ("write", EventType::Ok | EventType::Info) => Effect::Write(view.value.clone()),
            ("cas", EventType::Ok | EventType::Info) => {
                let (from, to) = pair()?;
                match from == to {
                    true if ended && view.outcome == EventType::Ok => Effect::Read(from),
                    true => return None,
                    false => Effect::Cas(from, to),
                }
            }
            ("cas", EventType::Fail) if ended => Effect::Differs(pair()?.0),
            _ => return None,
        };
        Some(Op {
            effect,
            invoke: view.invoke,
            returned: view
                .complete
                .filter(|_| ended && view.outcome != EventType::Info),
        })
    }

    /// What the register holds afterwards, for operations that may change that.
    fn writes(&self) -> Option<&Value> {
        match &self.effect {
            Effect::Write(value) | Effect::Cas(_, value) => Some(value),
            _ => None,
        }
    }

    /// Whether the operation can happen to a register that holds `value`.
    fn accepts(&self, value: &Value) -> bool {
        match &self.effect {
            Effect::Read(seen) | Effect::Cas(seen, _) => seen == value,
            Effect::Differs(not) => not != value,
            Effect::Write(_) => true,
        }
    }
}

/// Whether no operation that is not a member can have written what a member saw.
fn is_closed(
    members: &[Op],
    all: impl Iterator<Item = OperationView>,
    end: u64,
    forgotten: Option<u64>,
) -> Result<(), Refutation> {
    let observers: Vec<(&Op, u64)> = members
        .iter()
        .filter(|op| !matches!(op.effect, Effect::Write(_)))
        .map(|op| (op, overwritten_before(members, op)))
        .collect();
    if let (Some(last), Some((observer, _))) = (
        forgotten,
        observers
            .iter()
            .find(|(_, barrier)| forgotten >= Some(*barrier)),
    ) {
        return Err(Refutation::Open {
            left_out: last,
            observer: observer.invoke,
        });
    }
    let inside: BTreeSet<u64> = members.iter().map(|op| op.invoke).collect();
    for op in all.filter_map(|view| Op::new(&view, end)) {
        let Some(value) = op.writes().filter(|_| !inside.contains(&op.invoke)) else {
            continue;
        };
        let helps = |(observer, barrier): &&(&Op, u64)| {
            observer.accepts(value)
                && observer
                    .returned
                    .is_none_or(|returned| op.invoke < returned)
                && op.returned.is_none_or(|returned| returned >= *barrier)
        };
        if let Some((observer, _)) = observers.iter().find(helps) {
            return Err(Refutation::Open {
                left_out: op.invoke,
                observer: observer.invoke,
            });
        }
    }
    Ok(())
}

/// The last event such that whatever ended before it was overwritten before the observer began.
fn overwritten_before(members: &[Op], observer: &Op) -> u64 {
    members
        .iter()
        .filter(|op| op.writes().is_some())
        .filter(|op| op.returned.is_some_and(|at| at < observer.invoke))
        .map(|op| op.invoke)
        .max()
        .unwrap_or(0)
}

/// Whether operations can be ordered; `None` if there were too many orders.
fn has_order(members: &[Op], initial: &Value) -> Option<bool> {
    let mut ops = members.to_vec();
    ops.sort_by_key(|op| op.invoke);
    let mut seen: HashSet<(Vec<u64>, Value)> = HashSet::new();
    let mut stack = vec![(vec![0u64; ops.len().div_ceil(64)], initial.clone())];
    while let Some((placed, state)) = stack.pop() {
        let is_placed = |at: usize| placed[at / 64] >> (at % 64) & 1 == 1;
        let left = || (0..ops.len()).filter(|at| !is_placed(*at));
        let Some(deadline) = left().filter_map(|at| ops[at].returned).min() else {
            return Some(true);
        };
        let candidates: Vec<usize> = left()
            .take_while(|at| ops[*at].invoke < deadline)
            .filter(|at| ops[*at].accepts(&state))
            .collect();
        // Something that changes nothing can be placed as soon as it fits.
        let harmless = candidates.iter().find(|at| ops[**at].writes().is_none());
        let choices = match harmless {
            Some(at) => std::slice::from_ref(at),
            None => &candidates,
        };
        for at in choices {
            // Of operations that need not happen and do the same, the one that began first will do.
            let twin = |other: &usize| {
                ops[*other].returned.is_none() && ops[*other].effect == ops[*at].effect
            };
            if ops[*at].returned.is_none()
                && left().take_while(|other| other < at).any(|o| twin(&o))
            {
                continue;
            }
            let mut placed = placed.clone();
            placed[at / 64] |= 1 << (at % 64);
            let state = ops[*at].writes().unwrap_or(&state).clone();
            let node = (placed, state);
            if !seen.contains(&node) {
                if seen.len() >= NODES {
                    return None;
                }
                seen.insert(node.clone());
                stack.push(node);
            }
        }
    }
    Some(false)
}

/// The operations of a key, as the options have them read, those that did not happen left out.
fn operations(events: &[Event], key: Option<&Value>, options: &Options) -> Vec<OperationView> {
    let mut open: BTreeMap<&Process, &Event> = BTreeMap::new();
    let mut found = Vec::new();
    for event in events.iter().filter(|event| event.is_client()) {
        if event.is_invoke() {
            open.insert(&event.process, event);
        } else if let Some(invoke) = open.remove(&event.process)
            && invoke.key.as_ref() == key
        {
            found.extend(view(invoke, Some(event), options));
        }
    }
    let rest = open.values().filter(|invoke| invoke.key.as_ref() == key);
    found.extend(rest.filter_map(|invoke| view(invoke, None, options)));
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
