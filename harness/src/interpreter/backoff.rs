//! Workers whose operations are refused take a rest, so that a node that is down does not make them
//! spin, and fill the history with failures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::generator::Thread;
use crate::time::{Nanos, nanos};

/// From one refused operation's beginning to the next. Doubles with each in a row.
const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(100);

/// Which workers rest, and until when.
pub(super) struct Backoff {
    /// For each client worker, the refusals in a row.
    refusals: Vec<u32>,
    resting: BinaryHeap<Reverse<(Nanos, Thread)>>,
}

impl Backoff {
    pub(super) fn new(workers: usize) -> Backoff {
        Backoff {
            refusals: vec![0; workers],
            resting: BinaryHeap::new(),
        }
    }

    /// Takes note of an operation that was not refused.
    pub(super) fn answered(&mut self, thread: Thread) {
        if let Some(refusals) = self.refusals.get_mut(thread) {
            *refusals = 0;
        }
    }

    /// Puts a worker to rest whose operation, begun at a time, was refused. Whether that is necessary:
    /// a refusal that took its time was rest enough.
    pub(super) fn refused(&mut self, thread: Thread, invoked: Nanos, now: Nanos) -> bool {
        let Some(refusals) = self.refusals.get_mut(thread) else {
            return false;
        };
        let pause = FIRST.saturating_mul(1 << (*refusals).min(16)).min(LONGEST);
        *refusals = refusals.saturating_add(1);
        let until = invoked.saturating_add(nanos(pause));
        let rest = until > now;
        if rest {
            self.resting.push(Reverse((until, thread)));
        }
        rest
    }

    /// When the next worker has rested.
    pub(super) fn next(&self) -> Option<Nanos> {
        self.resting.peek().map(|Reverse((until, _))| *until)
    }

    /// A worker that has rested by now, and since when.
    pub(super) fn rested(&mut self, now: Nanos) -> Option<(Nanos, Thread)> {
        if self.next()? > now {
            return None;
        }
        self.resting.pop().map(|Reverse(rested)| rested)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MS: Nanos = 1_000_000;

    #[test]
    fn pauses_double_up_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new(2);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(backoff.refused(1, now, now));
            let until = backoff.next().unwrap();
            pauses.push((until - now) / MS);
            assert_eq!(backoff.rested(until - 1), None);
            assert_eq!(backoff.rested(until), Some((until, 1)));
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        backoff.answered(1);
        assert!(backoff.refused(1, now, now));
        assert_eq!(backoff.next(), Some(now + MS));
    }

    #[test]
    fn a_slow_refusal_needs_no_rest() {
        let mut backoff = Backoff::new(1);
        assert!(!backoff.refused(0, 0, MS));
        assert!(backoff.refused(0, 0, MS), "the second pause is longer");
        assert!(!backoff.refused(7, 0, 0), "a fault never rests");
    }
}
