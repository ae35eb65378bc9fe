//! What was there a moment ago, for transactions that read a snapshot.

use std::collections::VecDeque;

use super::Key;

/// How many transactions that write a snapshot is behind.
const BEHIND: usize = 4;

/// What a key held: its register, and how long its list was.
type Held = (Option<i64>, usize);

/// What the last transactions replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// By transaction, the oldest first: what the keys held that it wrote.
    replaced: VecDeque<Vec<(Key, Held)>>,
}

impl Snapshot {
    /// Whether one of these keys was written since.
    pub(super) fn conflicts(&self, keys: &[Key]) -> bool {
        keys.iter().any(|key| self.of(*key).is_some())
    }

    /// What a key held then, if it was written since.
    pub(super) fn of(&self, key: Key) -> Option<Held> {
        let mut replaced = self.replaced.iter().flatten();
        let first = replaced.find(|(replaced, _)| *replaced == key);
        first.map(|(_, held)| *held)
    }

    /// A transaction replaces this.
    pub(super) fn note(&mut self, held: Vec<(Key, Held)>) {
        if self.replaced.len() == BEHIND {
            self.replaced.pop_front();
        }
        self.replaced.push_back(held);
    }
}
