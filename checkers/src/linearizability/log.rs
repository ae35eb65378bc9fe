//! What is remembered of a key's operations, for searching again and for explaining.

use std::collections::VecDeque;

use serde_json::Value;
use store::EventType;

use super::evidence::OperationView;
use super::frontier::OpId;

/// How an operation ended, as far as the search is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It happened, and returned.
    Ok,
    /// It was refused, and so observed the state.
    Fail,
    /// Nobody knows.
    Info,
}

/// An operation with its result known.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoggedOp<O, T> {
    pub(super) op: O,
    /// What it takes to show it.
    pub(super) told: T,
    pub(super) process: u64,
    pub(super) ending: Ending,
    pub(super) invoke: u64,
    pub(super) invoke_time: u64,
    /// The event that ended it, an `info` included, and its time.
    pub(super) complete: Option<(u64, u64)>,
}

impl<O, T> LoggedOp<O, T> {
    /// The event before which it certainly happened, if there is one.
    pub(super) fn returned(&self) -> Option<u64> {
        match self.ending {
            Ending::Ok | Ending::Fail => self.complete.map(|(index, _)| index),
            Ending::Info => None,
        }
    }

    /// The operation as evidence shows it, given its function, what was asked, and what came of it.
    pub(super) fn view(&self, f: String, value: Value, result: Value) -> OperationView {
        OperationView {
            invoke: self.invoke,
            complete: self.complete.map(|(index, _)| index),
            invoke_time: self.invoke_time,
            complete_time: self.complete.map(|(_, time)| time),
            process: self.process,
            f,
            value,
            result,
            outcome: match self.ending {
                Ending::Ok => EventType::Ok,
                Ending::Fail => EventType::Fail,
                Ending::Info => EventType::Info,
            },
        }
    }
}

/// An event of logged operations: its index, the position of its operation, and whether the operation returns.
pub(super) type Happening = (u64, u32, bool);

/// The invocations of operations, and their returns before an event, in order.
pub(super) fn happenings<'a, O: 'a, T: 'a>(
    ops: impl Iterator<Item = &'a LoggedOp<O, T>>,
    before: u64,
) -> Vec<Happening> {
    let past = |index: &u64| *index < before;
    let mut events = Vec::with_capacity(ops.size_hint().0 * 2);
    for (op, at) in ops.zip(0..) {
        events.push((op.invoke, at, false));
        events.extend(op.returned().filter(past).map(|end| (end, at, true)));
    }
    events.sort_unstable();
    events
}

/// The operations of an object in order of invocation, those that did not happen left out.
#[derive(Debug)]
pub(super) struct Log<L> {
    ops: VecDeque<L>,
    /// The number of the first operation in `ops`.
    first: OpId,
    /// Crashed operations that were taken out of `ops`: they may matter for ever.
    crashed: Vec<L>,
    /// The last completion among the operations that were forgotten.
    forgotten: Option<u64>,
}

impl<L> Default for Log<L> {
    fn default() -> Self {
        Log {
            ops: VecDeque::new(),
            first: 0,
            crashed: Vec::new(),
            forgotten: None,
        }
    }
}

impl<O, T> Log<LoggedOp<O, T>> {
    pub(super) fn push(&mut self, op: LoggedOp<O, T>) -> OpId {
        self.ops.push_back(op);
        self.first + (self.ops.len() - 1) as OpId
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len() + self.crashed.len()
    }

    /// All remembered operations, in order of invocation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LoggedOp<O, T>> + Clone {
        self.crashed.iter().chain(&self.ops)
    }

    /// The last completion among the operations that were forgotten: none of them can have taken
    /// effect later.
    pub(super) fn forgotten(&self) -> Option<u64> {
        self.forgotten
    }

    /// Whether any operation was forgotten.
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten.is_some()
    }

    /// Forgets the oldest operations, so that about half remain. Crashed ones are kept.
    pub(super) fn trim(&mut self) {
        for _ in 0..self.ops.len() / 2 {
            let Some(op) = self.ops.pop_front() else {
                return;
            };
            self.first += 1;
            match op.returned() {
                Some(index) => self.forgotten = self.forgotten.max(Some(index)),
                None => self.crashed.push(op),
            }
        }
    }
}
