//! The log of a replica.

use harness::time::Nanos;

use crate::message::{Entry, Index, Term};
use crate::settings::FLUSH_INTERVAL;

/// Entries with positions from 1. Position 0 is before the first, of term 0.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    /// How many entries a kill cannot take: all, except with [`crate::Bug::UnsyncedLog`].
    synced: Index,
    last_flush: Nanos,
}

impl Log {
    pub(crate) fn last_index(&self) -> Index {
        self.entries.len()
    }

    pub(crate) fn last_term(&self) -> Term {
        self.entries.last().map_or(0, |entry| entry.term)
    }

    /// The term of the entry at a position; 0 before the first, `None` beyond the last.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        match index {
            0 => Some(0),
            _ => self.get(index).map(|entry| entry.term),
        }
    }

    pub(crate) fn get(&self, index: Index) -> Option<&Entry> {
        self.entries.get(index.checked_sub(1)?)
    }

    /// Up to `limit` entries after a position.
    pub(crate) fn after(&self, index: Index, limit: usize) -> &[Entry] {
        let rest = self.entries.get(index..).unwrap_or_default();
        &rest[..rest.len().min(limit)]
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Drops everything after a position.
    pub(crate) fn truncate(&mut self, index: Index) {
        self.entries.truncate(index);
        self.synced = self.synced.min(index);
    }

    /// Writes all entries to disk; a lazy log only when the last time is an interval ago.
    pub(crate) fn sync(&mut self, now: Nanos, lazy: bool) {
        if !lazy || now >= self.last_flush + FLUSH_INTERVAL {
            self.synced = self.entries.len();
            self.last_flush = now;
        }
    }

    /// Drops what was not written to disk.
    pub(crate) fn lose_unsynced(&mut self) {
        self.entries.truncate(self.synced);
    }

    /// Where the run of entries of one term that a position is in begins.
    pub(crate) fn first_of_term_at(&self, index: Index) -> Index {
        let Some(term) = self.term_at(index) else {
            return index;
        };
        let before = self.entries[..index.saturating_sub(1)]
            .iter()
            .rev()
            .take_while(|entry| entry.term == term)
            .count();
        index - before
    }
}
