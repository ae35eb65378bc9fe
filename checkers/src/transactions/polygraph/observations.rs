//! What is asked about: who wrote which keys, and whom each read may have seen.

use super::NONE;

/// The writer of all initial values, as a candidate of a read. It comes before every transaction.
pub const INITIAL: u32 = u32::MAX - 1;

/// A transaction, as it is handed in.
///
/// Those that failed, and those of unknown outcome that nobody saw, are left out by the caller. One of unknown outcome that
/// somebody saw is handed in without an end and without reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed<'a> {
    /// Its session. Transactions of a session are handed in in its order. `None`: it is in no session.
    pub session: Option<u32>,
    /// The event that began it, where real time is known. `None`: it may have begun at any time.
    pub begin: Option<u32>,
    /// The event that ended it, where real time is known. `None`: it may have taken effect at any time after its begin.
    pub end: Option<u32>,
    /// The keys for which it left a value. Each once.
    pub writes: &'a [u32],
    /// What it read of others (before it wrote the key itself): the key, and all who left there the value that it saw, by
    /// number (transactions count from 0 as they are handed in), and [`INITIAL`] if the key had it at first. Never itself. At
    /// least one: what nobody can have written is for the caller to report.
    pub reads: &'a [(u32, &'a [u32])],
}

/// Transactions of registers, in columns.
///
/// The order in which they are handed in means nothing beyond sessions, but a decision is quicker where it resembles the
/// order in which they took effect: the order of their ends is a good one.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    pub(super) session: Vec<u32>,
    pub(super) begin: Vec<u32>,
    pub(super) end: Vec<u32>,
    /// Where each transaction's writes end in `writes`.
    write_end: Vec<u32>,
    writes: Vec<u32>,
    /// Where each transaction's reads end in `read_key`.
    read_end: Vec<u32>,
    read_key: Vec<u32>,
    /// Where each read's candidates end in `candidates`.
    candidate_end: Vec<u32>,
    candidates: Vec<u32>,
}

/// The part of a column that belongs to `at`, if each part ends where `ends` says.
fn span(ends: &[u32], at: u32) -> std::ops::Range<usize> {
    let begin = if at == 0 { 0 } else { ends[at as usize - 1] };
    begin as usize..ends[at as usize] as usize
}

impl Observations {
    /// Nothing yet.
    pub fn new() -> Observations {
        Observations::default()
    }

    /// Adds a transaction, and returns its number.
    ///
    /// # Panics
    /// If a read has no candidate, or there are more than four billion transactions, writes, reads or candidates.
    pub fn push(&mut self, one: &Observed<'_>) -> u32 {
        let number = self.len();
        assert!(number < INITIAL, "too many transactions");
        self.session.push(one.session.unwrap_or(NONE));
        self.begin.push(one.begin.unwrap_or(NONE));
        self.end.push(one.end.unwrap_or(NONE));
        self.writes.extend_from_slice(one.writes);
        self.write_end.push(length(&self.writes));
        for (key, candidates) in one.reads {
            assert!(
                !candidates.is_empty(),
                "a read that nobody can have written"
            );
            self.read_key.push(*key);
            self.candidates.extend_from_slice(candidates);
            self.candidate_end.push(length(&self.candidates));
        }
        self.read_end.push(length(&self.read_key));
        number
    }

    /// How many transactions there are.
    pub fn len(&self) -> u32 {
        length(&self.session)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.session.is_empty()
    }

    /// The keys that a transaction wrote.
    pub fn writes(&self, transaction: u32) -> &[u32] {
        &self.writes[span(&self.write_end, transaction)]
    }

    /// A transaction's reads, by number over all transactions.
    pub(super) fn reads(&self, transaction: u32) -> std::ops::Range<usize> {
        span(&self.read_end, transaction)
    }

    /// How many reads there are.
    pub(super) fn read_count(&self) -> usize {
        self.read_key.len()
    }

    /// The key of a read.
    pub(super) fn key(&self, read: usize) -> u32 {
        self.read_key[read]
    }

    /// Whom a read may have seen.
    pub(super) fn candidates(&self, read: usize) -> &[u32] {
        &self.candidates[span(&self.candidate_end, read as u32)]
    }

    /// The number of keys, if they count from 0.
    pub(super) fn keys(&self) -> u32 {
        let all = self.writes.iter().chain(&self.read_key);
        all.max().map_or(0, |most| most + 1)
    }
}

fn length<T>(column: &[T]) -> u32 {
    u32::try_from(column.len()).expect("fewer than four billion")
}
