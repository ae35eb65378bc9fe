//! What is remembered of a key's operations, for searching again and for explaining.

use std::collections::VecDeque;

use super::frontier::OpId;
use super::model::RegisterOp;

/// How an operation ended, as far as the search is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It happened, and returned.
    Ok,
    /// A compare-and-set that failed, and so observed the register.
    Fail,
    /// Nobody knows.
    Info,
}

/// An operation with its result known.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoggedOp {
    pub(super) op: RegisterOp,
    /// Whether `op` comes from a compare-and-set. One of a value to itself is lowered to a read.
    pub(super) cas: Option<(u32, u32)>,
    pub(super) process: u64,
    pub(super) ending: Ending,
    pub(super) invoke: u64,
    pub(super) invoke_time: u64,
    /// The event that ended it, an `info` included, and its time.
    pub(super) complete: Option<(u64, u64)>,
}

impl LoggedOp {
    /// The event before which it certainly happened, if there is one.
    pub(super) fn returned(&self) -> Option<u64> {
        match self.ending {
            Ending::Ok | Ending::Fail => self.complete.map(|(index, _)| index),
            Ending::Info => None,
        }
    }
}

/// The operations of a key in order of invocation, those that did not happen left out.
#[derive(Debug, Default)]
pub(super) struct Log {
    ops: VecDeque<LoggedOp>,
    /// The number of the first operation in `ops`.
    first: OpId,
    /// Crashed operations that were taken out of `ops`: they may matter for ever.
    crashed: Vec<LoggedOp>,
    /// The last completion among the operations that were forgotten.
    forgotten: Option<u64>,
}

impl Log {
    pub(super) fn push(&mut self, op: LoggedOp) -> OpId {
        self.ops.push_back(op);
        self.first + (self.ops.len() - 1) as OpId
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len() + self.crashed.len()
    }

    /// All remembered operations, in order of invocation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LoggedOp> {
        self.crashed.iter().chain(&self.ops)
    }

    /// The last completion among the operations that were forgotten: none of them can have taken
    /// effect later.
    pub(super) fn forgotten(&self) -> Option<u64> {
        self.forgotten
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
