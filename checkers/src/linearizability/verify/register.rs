//! Proofs about registers.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use store::EventType;

use super::{NODES, Refutation, count};
use crate::linearizability::evidence::{DeadEnd, OperationView};

/// Proves evidence about a register, with all operations of the key at hand, apart from those that
/// returned at `forgotten` or before.
pub(in crate::linearizability) fn prove(
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
    let all: Vec<Op> = all.filter_map(|view| Op::new(&view, end)).collect();
    if is_counted(dead_end, &members, &all, forgotten) {
        return Ok(());
    }
    is_closed(&members, &all, forgotten)?;
    match has_order(&members, &dead_end.initial) {
        Some(false) => Ok(()),
        Some(true) => Err(Refutation::Possible),
        None => Err(Refutation::TooHard(NODES)),
    }
}

/// Whether what the impossible operation saw came more often than it can have been written.
fn is_counted(dead_end: &DeadEnd, members: &[Op], all: &[Op], forgotten: Option<u64>) -> bool {
    let dead = members.iter().find(|op| op.invoke == dead_end.operation);
    let (Some(dead), Some(begin)) = (dead, members.iter().map(|op| op.invoke).min()) else {
        return false;
    };
    let seen = match &dead.effect {
        Effect::Read(value) | Effect::Write(value) => vec![value],
        Effect::Cas(from, to) => vec![from, to],
        Effect::Differs(_) => Vec::new(),
    };
    // Whatever is forgotten had returned before the first absence.
    forgotten.is_none_or(|last| last < begin)
        && seen
            .into_iter()
            .any(|value| count::came_too_often(value, members, all))
}

/// What an operation does to a register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    Read(Value),
    Differs(Value),
    Write(Value),
    Cas(Value, Value),
}

#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) effect: Effect,
    pub(super) invoke: u64,
    /// When it certainly had happened; `None` if it need not have.
    pub(super) returned: Option<u64>,
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
    pub(super) fn writes(&self) -> Option<&Value> {
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
fn is_closed(members: &[Op], all: &[Op], forgotten: Option<u64>) -> Result<(), Refutation> {
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
    for op in all {
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
