//! Is there an order? By depth-first search, with memory of what was tried.

use std::collections::HashSet;
use std::hash::Hash;

use serde_json::Value;
use store::EventType;

use super::NODES;
use super::bounds::Bounds;
use crate::linearizability::evidence::OperationView;

/// An operation of a history that is looked at up to some event.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The function.
    pub f: String,
    /// What was asked.
    pub value: Value,
    /// How it ended.
    pub outcome: Outcome,
    /// Who asked.
    pub process: u64,
    /// The event that began it.
    pub invoke: u64,
    /// The event before which it certainly happened, if there is one.
    pub returned: Option<u64>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It happened, with this result.
    Ok(Value),
    /// The state did not allow it.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Seen {
    /// An operation that began before the event `end`. If it ended later it need not have happened, but
    /// if it did, then with the result that is known. `None` if it began later.
    pub fn until(view: &OperationView, end: u64) -> Option<Seen> {
        let returned = view
            .complete
            .filter(|complete| *complete <= end && view.outcome != EventType::Info);
        let outcome = match view.outcome {
            EventType::Ok => Outcome::Ok(view.result.clone()),
            EventType::Fail => Outcome::Refused,
            EventType::Info | EventType::Invoke => Outcome::Unknown,
        };
        (view.invoke <= end).then(|| Seen {
            f: view.f.clone(),
            value: view.value.clone(),
            outcome,
            process: view.process,
            invoke: view.invoke,
            returned,
        })
    }
}

/// What a sequential object does, for proofs.
pub trait Rules {
    /// A state.
    type State: Clone + Eq + Hash;

    /// The state before the first operation.
    fn first(&self) -> Self::State;

    /// All states in which the object can be after the operation; none if it cannot happen.
    fn after(&self, state: &Self::State, op: &Seen) -> Vec<Self::State>;

    /// A state as a person reads it.
    fn show(&self, state: &Self::State) -> Value;

    /// Whether the operation never changes a state.
    fn observes(&self, op: &Seen) -> bool;

    /// Whether it matters which process does something.
    fn minds_processes(&self) -> bool {
        true
    }

    /// The operation as it is when only some elements are looked at; `None` if it has to do with none of them.
    fn restrict(&self, op: &Seen, _elements: &[Value]) -> Option<Seen> {
        Some(op.clone())
    }

    /// Whether an object that is possible is so whatever elements are looked at, and has none at first.
    fn has_elements(&self) -> bool {
        false
    }

    /// What a counter can have been when an operation showed what it was, all operations being given.
    fn bounds(&self, _op: &Seen, _all: &[Seen]) -> Option<Bounds> {
        None
    }

    /// What the operation leaves for others.
    fn leaves(&self, op: &Seen) -> Touch;

    /// What the operation needs from others.
    fn needs(&self, op: &Seen) -> Touch;
}

/// A part of an object's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Touch {
    /// None of it.
    Nothing,
    /// These parts.
    These(Vec<Value>),
    /// All of it.
    Everything,
}

impl Touch {
    /// Whether something is in both.
    pub(super) fn meets(&self, other: &Touch) -> bool {
        match (self, other) {
            (Touch::Nothing, _) | (_, Touch::Nothing) => false,
            (Touch::These(these), Touch::These(those)) => {
                these.iter().any(|part| those.contains(part))
            }
            (Touch::These(these), Touch::Everything) | (Touch::Everything, Touch::These(these)) => {
                !these.is_empty()
            }
            (Touch::Everything, Touch::Everything) => true,
        }
    }
}

/// The operations that were placed: all before the first that was not, and some after it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placed {
    first: usize,
    after: Vec<u64>,
}

impl Placed {
    fn contains(&self, at: usize) -> bool {
        match at.checked_sub(self.first) {
            None => true,
            Some(at) => self
                .after
                .get(at / 64)
                .is_some_and(|word| word >> (at % 64) & 1 == 1),
        }
    }

    /// With one more.
    fn and(&self, new: usize, all: usize) -> Placed {
        let mut first = self.first;
        while first < all && (first == new || self.contains(first)) {
            first += 1;
        }
        let mut after = Vec::new();
        let last = (self.first + self.after.len() * 64).max(new + 1).min(all);
        for at in (first..last).filter(|at| *at == new || self.contains(*at)) {
            let at = at - first;
            after.resize(after.len().max(at / 64 + 1), 0);
            after[at / 64] |= 1 << (at % 64);
        }
        Placed { first, after }
    }
}

/// Whether operations can be ordered; `None` if there were too many orders.
pub(super) fn has_order<R: Rules>(rules: &R, ops: &[Seen]) -> Option<bool> {
    // What nobody knows the outcome of and changes nothing says nothing.
    let says_something = |op: &&Seen| op.returned.is_some() || !rules.observes(op);
    let mut ops: Vec<&Seen> = ops.iter().filter(says_something).collect();
    ops.sort_by_key(|op| op.invoke);
    let mut seen: HashSet<(Placed, R::State)> = HashSet::new();
    let nothing = Placed {
        first: 0,
        after: Vec::new(),
    };
    let mut stack = vec![(nothing, rules.first())];
    while let Some((placed, state)) = stack.pop() {
        let left = || (placed.first..ops.len()).filter(|at| !placed.contains(*at));
        let mut deadline = None;
        for at in left() {
            if deadline.is_some_and(|deadline| ops[at].invoke > deadline) {
                break;
            }
            let returned = ops[at].returned;
            deadline = match (deadline, returned) {
                (Some(before), Some(returned)) => Some(returned.min(before)),
                (before, returned) => before.or(returned),
            };
        }
        let Some(deadline) = deadline else {
            return Some(true);
        };
        let candidates: Vec<usize> = left().take_while(|at| ops[*at].invoke < deadline).collect();
        // Something that changes nothing can be placed as soon as it fits.
        let harmless = candidates
            .iter()
            .find(|at| rules.observes(ops[**at]) && !rules.after(&state, ops[**at]).is_empty());
        let choices = match harmless {
            Some(at) => std::slice::from_ref(at),
            None => &candidates,
        };
        for at in choices {
            // Of operations that need not happen and do the same, the one that began first will do.
            let is_twin = |other: &usize| {
                let (one, other) = (ops[*at], ops[*other]);
                other.returned.is_none()
                    && (&one.f, &one.value, &one.outcome)
                        == (&other.f, &other.value, &other.outcome)
                    && (one.process == other.process || !rules.minds_processes())
            };
            if ops[*at].returned.is_none()
                && candidates
                    .iter()
                    .take_while(|other| *other < at)
                    .any(is_twin)
            {
                continue;
            }
            for state in rules.after(&state, ops[*at]) {
                let node = (placed.and(*at, ops.len()), state);
                if !seen.contains(&node) {
                    if seen.len() >= NODES {
                        return None;
                    }
                    seen.insert(node.clone());
                    stack.push(node);
                }
            }
        }
    }
    Some(false)
}
