//! Transactions in columns.
//!
//! Everything is a number: a micro-operation takes eight bytes. The lists that were read are not kept. Each was compared
//! with the longest list read of its key when it came, so that its length says what it held; lists that do not fit are kept
//! as they are, for they are anomalies.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::values::{Elements, Interner, NONE};

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Fail,
    /// Nobody knows, or it had not ended when the history did.
    Info,
}

/// A write (of a list: an append), or a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mop {
    /// The key, and whether it is a write.
    key: u32,
    /// The code of the element; or what was read.
    argument: u32,
}

const WRITE: u32 = 1 << 31;
/// A read of a list that is kept, because it is no prefix of its key's longest list.
const ODD: u32 = 1 << 31;

/// No version.
const NOT_GIVEN: i64 = i64::MIN;

/// What was read, but for the transaction's own appends at the end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing is known.
    Unknown,
    /// As many elements of its key's order.
    Prefix(u32),
    /// A list of its own, by its number.
    Odd(u32),
}

impl Mop {
    pub(super) fn write(key: u32, code: u32) -> Mop {
        Mop {
            key: key | WRITE,
            argument: code,
        }
    }

    pub(super) fn read(key: u32, seen: Seen) -> Mop {
        let argument = match seen {
            Seen::Unknown => NONE,
            Seen::Prefix(length) => length,
            Seen::Odd(number) => number | ODD,
        };
        Mop { key, argument }
    }

    /// A read of a register.
    pub(super) fn read_value(key: u32, code: u32) -> Mop {
        Mop {
            key,
            argument: code,
        }
    }

    pub(super) fn key(self) -> u32 {
        self.key & !WRITE
    }

    /// The code of the element that is written, if this is a write.
    pub(super) fn element(self) -> Option<u32> {
        (self.key & WRITE != 0).then_some(self.argument)
    }

    /// The code of what was written to a register or read of it, if it is known.
    pub(super) fn value(self) -> Option<u32> {
        (self.argument != NONE).then_some(self.argument)
    }

    /// What was read of a list, if this is a read.
    pub(super) fn seen(self) -> Option<Seen> {
        if self.key & WRITE != 0 {
            return None;
        }
        Some(match self.argument {
            NONE => Seen::Unknown,
            odd if odd & ODD != 0 => Seen::Odd(odd & !ODD),
            length => Seen::Prefix(length),
        })
    }
}

/// A key, with the longest list that was read of it.
#[derive(Default)]
pub(super) struct Key {
    /// The elements, in order.
    pub(super) order: Vec<u32>,
    /// Who read it.
    pub(super) reader: u32,
    /// How much of `order` every list agrees with that is no prefix of it. `NONE` where there is no such list.
    pub(super) agreed: u32,
}

/// A list that is no prefix of its key's longest.
pub(super) struct OddList {
    pub(super) reader: u32,
    pub(super) key: u32,
    pub(super) codes: Vec<u32>,
}

/// All transactions of clients, in order of invocation.
#[derive(Default)]
pub(super) struct Transactions {
    pub(super) process: Vec<u32>,
    /// The event that began it. `NONE` if the history has only its end.
    pub(super) invoke: Vec<u32>,
    /// The event that ended it. `NONE` if it did not.
    pub(super) complete: Vec<u32>,
    pub(super) outcome: Vec<Outcome>,
    pub(super) begin: Vec<u32>,
    pub(super) end: Vec<u32>,
    pub(super) mops: Vec<Mop>,
    /// By micro-operation: the version that the database gave what was read or written, or [`NOT_GIVEN`]. Ends with the last that
    /// was given.
    given: Vec<i64>,
    pub(super) keys: Vec<Key>,
    pub(super) odd: Vec<OddList>,
    /// Reads that do not end with what their transaction had appended before.
    pub(super) torn: FxHashSet<u32>,
    pub(super) key_names: Interner,
    pub(super) elements: Elements,
    pub(super) processes: Vec<u64>,
}

impl Transactions {
    pub(super) fn len(&self) -> usize {
        self.outcome.len()
    }

    pub(super) fn is_ok(&self, transaction: u32) -> bool {
        self.outcome[transaction as usize] == Outcome::Ok
    }

    /// The micro-operations of a transaction, with their numbers.
    pub(super) fn mops(
        &self,
        transaction: u32,
    ) -> impl DoubleEndedIterator<Item = (u32, Mop)> + '_ {
        let (begin, end) = (
            self.begin[transaction as usize],
            self.end[transaction as usize],
        );
        (begin..end).map(|at| (at, self.mops[at as usize]))
    }

    /// The reads of an `ok` transaction that tell something, with their numbers. Other transactions' reads say nothing.
    pub(super) fn reads(&self, transaction: u32) -> impl Iterator<Item = (u32, u32, Seen)> + '_ {
        let ok = self.is_ok(transaction);
        self.mops(transaction)
            .filter_map(move |(at, mop)| match mop.seen() {
                Some(seen) if ok && seen != Seen::Unknown => Some((at, mop.key(), seen)),
                _ => None,
            })
    }

    /// The writes of a transaction: number, key and code.
    pub(super) fn writes(
        &self,
        transaction: u32,
    ) -> impl DoubleEndedIterator<Item = (u32, u32, u32)> + '_ {
        self.mops(transaction)
            .filter_map(|(at, mop)| mop.element().map(|code| (at, mop.key(), code)))
    }

    /// The version that the database gave what a micro-operation read or wrote.
    pub(super) fn given(&self, mop: u32) -> Option<i64> {
        let given = self.given.get(mop as usize).copied();
        given.filter(|version| *version != NOT_GIVEN)
    }

    /// The first transaction of which the database gave a version.
    pub(super) fn first_given(&self) -> Option<u32> {
        let has = |one: &u32| self.mops(*one).any(|(at, _)| self.given(at).is_some());
        let mut all = 0..self.len() as u32;
        all.find(|one| !self.given.is_empty() && has(one))
    }

    /// Takes in which version the database gave a micro-operation.
    pub(super) fn give(&mut self, mop: u32, version: Option<i64>) {
        let at = mop as usize;
        if at >= self.given.len() {
            if version.is_none() {
                return;
            }
            self.given.resize(at + 1, NOT_GIVEN);
        }
        self.given[at] = version.unwrap_or(NOT_GIVEN);
    }

    /// Has some micro-operations, the last there are, take the place of as many earlier ones, of which they differ by versions
    /// alone.
    pub(super) fn replace(&mut self, begin: u32, last: u32) {
        let count = self.mops.len() as u32 - last;
        for at in 0..count {
            self.give(begin + at, self.given(last + at));
        }
        self.mops.truncate(last as usize);
        self.given.truncate(last as usize);
    }

    /// What a transaction had appended to the key of one of its reads before.
    pub(super) fn own_before(&self, transaction: u32, read: u32) -> impl Iterator<Item = u32> + '_ {
        let key = self.mops[read as usize].key();
        self.writes(transaction)
            .take_while(move |(at, ..)| *at < read)
            .filter(move |(_, of, _)| *of == key)
            .map(|(_, _, code)| code)
    }

    /// What a read saw of others, as codes.
    pub(super) fn foreign(&self, key: u32, seen: Seen) -> &[u32] {
        match seen {
            Seen::Unknown => &[],
            Seen::Prefix(length) => &self.keys[key as usize].order[..length as usize],
            Seen::Odd(number) => &self.odd[number as usize].codes,
        }
    }

    /// The whole list that a read returned, as codes.
    pub(super) fn list(&self, transaction: u32, read: u32) -> Vec<u32> {
        let mop = self.mops[read as usize];
        let Some(seen) = mop.seen() else {
            return Vec::new();
        };
        let mut list = self.foreign(mop.key(), seen).to_vec();
        if !self.torn.contains(&read) {
            list.extend(self.own_before(transaction, read));
        }
        list
    }

    pub(super) fn key_value(&self, key: u32) -> &Value {
        self.key_names.value(key)
    }

    /// How many bytes the columns take, about.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.keys.len() * size_of::<Key>() + self.odd.len() * size_of::<OddList>();
        let names = (self.key_names.len() + self.elements.len()) * 96;
        self.outcome.capacity() * 21
            + self.mops.capacity() * size_of::<Mop>()
            + self.given.capacity() * size_of::<i64>()
            + lists
            + names
            + self.torn.len() * 8
    }
}
