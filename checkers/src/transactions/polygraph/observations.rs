//! What is asked about: who wrote which keys, and whom each read may have seen.
//!
//! Of a register that is all there is to see. A list shows more: where it was read, all whose appends it has come before the
//! reader, in their order, and all others after it. What such reads leave open is the order of the appends that nobody read.

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
    /// Whether nobody knows when it took effect: what comes after it in its session may have come before it.
    pub open: bool,
    /// The event that began it, where real time is known. `None`: it may have begun at any time.
    pub begin: Option<u32>,
    /// The event that ended it, where real time is known. `None`: it may have taken effect at any time after its begin.
    pub end: Option<u32>,
    /// The keys for which it left a value. Each once.
    pub writes: &'a [u32],
    /// Those of its writes whose places in the order of their keys are known: key and place, from 1. Of each key, writes without
    /// a place come after those that have one.
    pub placed: &'a [(u32, u32)],
    /// What it read of keys whose writes have places: the key, and up to which place it saw all writes, and no others.
    pub shown: &'a [(u32, u32)],
    /// What it read of others (before it wrote the key itself): the key, and all who left there the value that it saw, by
    /// number (transactions count from 0 as they are handed in), and [`INITIAL`] if the key had it at first. Never itself. At
    /// least one: what nobody can have written is for the caller to report.
    pub reads: &'a [(u32, &'a [u32])],
}

/// Transactions, in columns.
///
/// The order in which they are handed in means nothing beyond sessions, but a decision is quicker where it resembles the
/// order in which they took effect: the order of their ends is a good one.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    pub(super) session: Vec<u32>,
    /// Whose session goes on while they may be under way.
    pub(super) open: Vec<bool>,
    pub(super) begin: Vec<u32>,
    pub(super) end: Vec<u32>,
    /// Where each transaction's writes end in `writes`.
    write_end: Vec<u32>,
    writes: Vec<u32>,
    /// Where each transaction's places end in `placed`.
    placed_end: Vec<u32>,
    placed: Vec<(u32, u32)>,
    /// Where what each transaction was shown ends in `shown`.
    shown_end: Vec<u32>,
    shown: Vec<(u32, u32)>,
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
        self.open.push(one.open);
        self.begin.push(one.begin.unwrap_or(NONE));
        self.end.push(one.end.unwrap_or(NONE));
        self.writes.extend_from_slice(one.writes);
        self.write_end.push(length(&self.writes));
        self.placed.extend_from_slice(one.placed);
        self.placed_end.push(length(&self.placed));
        self.shown.extend_from_slice(one.shown);
        self.shown_end.push(length(&self.shown));
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

    /// The writes of a transaction whose places are known: key and place.
    pub(super) fn placed(&self, transaction: u32) -> &[(u32, u32)] {
        &self.placed[span(&self.placed_end, transaction)]
    }

    /// The place of a transaction's write of a key, or `NONE`: after all that have one.
    pub(super) fn place(&self, transaction: u32, key: u32) -> u32 {
        let mut all = self.placed(transaction).iter();
        all.find(|(of, _)| *of == key)
            .map_or(NONE, |(_, place)| *place)
    }

    /// What a transaction was shown: key, and up to which place.
    pub(super) fn shown(&self, transaction: u32) -> &[(u32, u32)] {
        &self.shown[span(&self.shown_end, transaction)]
    }

    /// Whether any writes have places.
    pub(super) fn has_places(&self) -> bool {
        !self.placed.is_empty() || !self.shown.is_empty()
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

    /// Whom a read of an argument may have seen. None, if there is no such read.
    pub(in super::super) fn candidates_of(&self, read: super::Read) -> &[u32] {
        let is_there = read.reader < self.len();
        let all = if is_there {
            self.reads(read.reader)
        } else {
            0..0
        };
        let mut all = all.skip(read.place as usize);
        all.next().map_or(&[], |read| self.candidates(read))
    }

    /// The number of keys, if they count from 0.
    pub(super) fn keys(&self) -> u32 {
        let shown = self.shown.iter().map(|(key, _)| key);
        let all = self.writes.iter().chain(&self.read_key).chain(shown);
        all.max().map_or(0, |most| most + 1)
    }
}

fn length<T>(column: &[T]) -> u32 {
    u32::try_from(column.len()).expect("fewer than four billion")
}
