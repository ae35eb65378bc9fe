//! Counters per thread.

use super::Thread;

/// How many operations each thread has had from one generator: the counter that numbers a thread's
/// random draws.
///
/// Kept from the lowest thread on, since a generator of one group of threads among many is common.
#[derive(Debug, Default)]
pub(super) struct Counts {
    lowest: Thread,
    counts: Vec<u64>,
}

impl Counts {
    /// The count of a thread, 0 at first.
    pub(super) fn get(&self, thread: Thread) -> u64 {
        let at = thread.checked_sub(self.lowest);
        at.and_then(|at| self.counts.get(at)).copied().unwrap_or(0)
    }

    /// Counts one more.
    pub(super) fn add(&mut self, thread: Thread) {
        if self.counts.is_empty() {
            self.lowest = thread;
        }
        if thread < self.lowest {
            let more = self.lowest - thread;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.lowest = thread;
        }
        let at = thread - self.lowest;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_below_and_above_the_first() {
        let mut counts = Counts::default();
        for thread in [5, 3, 9, 3, 5, 3] {
            counts.add(thread);
        }
        let all: Vec<u64> = (0..11).map(|thread| counts.get(thread)).collect();
        assert_eq!(all, [0, 0, 0, 3, 0, 2, 0, 0, 0, 1, 0]);
    }
}
