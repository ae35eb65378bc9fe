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
    /// In pieces, so that none of them moves as the log grows.
    pieces: VecDeque<Vec<L>>,
    /// How many are in `pieces`.
    whole: usize,
    /// The number of the first operation in `pieces`.
    first: OpId,
    /// Crashed operations that were taken out of `pieces`: they may matter for ever.
    crashed: Vec<L>,
    /// The last completion among the operations that were forgotten.
    forgotten: Option<u64>,
}

impl<L> Default for Log<L> {
    fn default() -> Self {
        Log {
            pieces: VecDeque::new(),
            whole: 0,
            first: 0,
            crashed: Vec::new(),
            forgotten: None,
        }
    }
}

/// How many operations a piece of a log has.
const PIECE: usize = 512;

impl<O, T> Log<LoggedOp<O, T>> {
    pub(super) fn push(&mut self, op: LoggedOp<O, T>) -> OpId {
        match self.pieces.back_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(op),
            None => {
                // Most logs are short. One that is not will fill its next piece, too.
                let mut piece = match self.pieces.is_empty() {
                    true => Vec::new(),
                    false => Vec::with_capacity(PIECE),
                };
                piece.push(op);
                self.pieces.push_back(piece);
            }
        }
        self.whole += 1;
        self.first + (self.whole - 1) as OpId
    }

    pub(super) fn len(&self) -> usize {
        self.whole + self.crashed.len()
    }

    /// All remembered operations, in order of invocation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &LoggedOp<O, T>> + Clone {
        self.crashed.iter().chain(self.pieces.iter().flatten())
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
        let mut left = self.whole / 2;
        self.whole -= left;
        self.first += left as OpId;
        while left > 0
            && let Some(mut piece) = self.pieces.pop_front()
        {
            let some = piece.len().min(left);
            left -= some;
            for op in piece.drain(..some) {
                match op.returned() {
                    Some(index) => self.forgotten = self.forgotten.max(Some(index)),
                    None => self.crashed.push(op),
                }
            }
            if !piece.is_empty() {
                self.pieces.push_front(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(number: u64) -> LoggedOp<u64, ()> {
        let crashed = number.is_multiple_of(100);
        LoggedOp {
            op: number,
            told: (),
            process: 0,
            ending: if crashed { Ending::Info } else { Ending::Ok },
            invoke: number,
            invoke_time: number,
            complete: Some((number + 5, number + 5)),
        }
    }

    /// As a list that is not in pieces would.
    #[test]
    fn the_older_half_is_forgotten_but_for_what_crashed() {
        let (mut log, mut next) = (Log::default(), 0);
        let (mut whole, mut crashed): (Vec<u64>, Vec<u64>) = Default::default();
        assert!(!log.has_forgotten());
        for more in [3, 600, 1, 1_500, 0, 5_000] {
            for _ in 0..more {
                assert_eq!(log.push(op(next)), next as OpId);
                whole.push(next);
                next += 1;
            }
            log.trim();
            let forgotten: Vec<u64> = whole.drain(..whole.len() / 2).collect();
            crashed.extend(forgotten.iter().filter(|it| it.is_multiple_of(100)));
            let last = forgotten.iter().rfind(|it| !it.is_multiple_of(100));
            assert!(last.is_none_or(|last| log.forgotten() == Some(last + 5)));
            let left: Vec<u64> = log.iter().map(|logged| logged.op).collect();
            assert_eq!(left, [&crashed[..], &whole[..]].concat());
            assert_eq!(log.len(), left.len());
        }
    }
}
