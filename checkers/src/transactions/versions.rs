//! The version order of each key, and who wrote what.
//!
//! A list shows all that was appended before: the elements of the longest list that was read of a key are the key's
//! versions, in order. An append that is in no list, of a transaction that committed, comes after all of these, for otherwise the
//! longest list would show it. Where lists contradict each other, only the part that all of them share is an order.

use super::history::{Outcome, Transactions};
use super::values::NONE;
use crate::budget::{Budget, Exhausted, Scope};

/// Who appended an element. Both are `NONE` for an element that nobody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) transaction: u32,
    pub(super) mop: u32,
}

/// How many transactions pass between two looks at the budget.
const LOOK: u32 = 1 << 14;

const NOBODY: Writer = Writer {
    transaction: NONE,
    mop: NONE,
};

/// An element that was appended twice: not the system's fault, and its key tells nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendedTwice {
    pub(super) key: u32,
    pub(super) code: u32,
    pub(super) first: u32,
    pub(super) second: u32,
}

/// Version orders of all keys.
pub(super) struct Versions {
    /// By key, where its versions begin in `writers`; one more at the end.
    offset: Vec<u32>,
    /// Who wrote each version.
    writers: Vec<Writer>,
    /// For each version, the position in its key of the last at or before it that was committed, or `NONE`.
    last_committed: Vec<u32>,
    /// The writers of the lists that are no prefixes.
    pub(super) odd: Vec<Vec<Writer>>,
    /// By append, its position in its key; `NONE` if no list of its key's order shows it.
    position: Vec<u32>,
    /// By key, where its committed appends that nobody read begin in `unread`; one more at the end.
    unread_offset: Vec<u32>,
    /// Ascending by transaction.
    unread: Vec<Writer>,
    /// By key: how many of its versions are in a known order.
    pub(super) trusted: Vec<u32>,
    /// By transaction: whether it took effect, as far as anyone knows.
    pub(super) committed: Vec<bool>,
    /// Keys without any order, with why.
    pub(super) ambiguous: Vec<AppendedTwice>,
    /// Keys with the position of their first element that is there before.
    pub(super) repeated: Vec<(u32, u32)>,
}

impl Versions {
    pub(super) fn infer(all: &Transactions, budget: &dyn Budget) -> Result<Versions, Exhausted> {
        let keys = all.keys.len();
        let versions: usize = all.keys.iter().map(|key| key.order.len()).sum();
        budget.charge(all.mops.len() * 4 + versions * 12 + keys * 12 + all.len())?;
        let scratch = &Scope::of(budget);
        let appends = Appends::of(all, scratch)?;
        let mut this = Versions {
            offset: Vec::with_capacity(keys + 1),
            writers: Vec::with_capacity(versions),
            last_committed: Vec::with_capacity(versions),
            odd: Vec::with_capacity(all.odd.len()),
            position: vec![NONE; all.mops.len()],
            unread_offset: Vec::new(),
            unread: Vec::new(),
            trusted: Vec::with_capacity(keys),
            committed: all
                .outcome
                .iter()
                .map(|outcome| *outcome == Outcome::Ok)
                .collect(),
            ambiguous: appends.twice(),
            repeated: Vec::new(),
        };
        for (key, number) in all.keys.iter().zip(0..) {
            this.offset.push(this.writers.len() as u32);
            let mut trusted = key.agreed.min(key.order.len() as u32);
            let mut strangers: Vec<u32> = Vec::new();
            for (code, position) in key.order.iter().zip(0..) {
                let found = appends.writer(number, *code);
                this.writers.push(found);
                let again = match found.mop {
                    NONE => strangers.contains(code),
                    mop => this.position[mop as usize] != NONE,
                };
                if found.mop == NONE {
                    strangers.push(*code);
                } else if !again {
                    this.position[found.mop as usize] = position;
                }
                if again && position < trusted {
                    trusted = position;
                    if !this.is_ambiguous(number) {
                        this.repeated.push((number, position));
                    }
                }
                this.observe(all, found);
            }
            this.trusted.push(trusted);
            if number.is_multiple_of(LOOK) {
                budget.check()?;
            }
        }
        this.offset.push(this.writers.len() as u32);
        for odd in &all.odd {
            let writers: Vec<Writer> = odd
                .codes
                .iter()
                .map(|code| appends.writer(odd.key, *code))
                .collect();
            writers.iter().for_each(|found| this.observe(all, *found));
            this.odd.push(writers);
        }
        for twice in &this.ambiguous {
            this.trusted[twice.key as usize] = 0;
        }
        drop(appends);
        this.find_committed(keys);
        this.find_unread(all);
        Ok(this)
    }

    /// What was read by a transaction that is `ok` had been written by one that committed, unless it certainly failed.
    fn observe(&mut self, all: &Transactions, writer: Writer) {
        if writer.mop != NONE && all.outcome[writer.transaction as usize] == Outcome::Info {
            self.committed[writer.transaction as usize] = true;
        }
    }

    fn find_committed(&mut self, keys: usize) {
        for key in 0..keys as u32 {
            let mut last = NONE;
            let writers = self.offset[key as usize]..self.offset[key as usize + 1];
            for (writer, position) in writers.zip(0..) {
                if self.is_committed(self.writers[writer as usize]) {
                    last = position;
                }
                self.last_committed.push(last);
            }
        }
    }

    fn find_unread(&mut self, all: &Transactions) {
        let keys = all.keys.len();
        let whole: Vec<bool> = (0..keys as u32)
            .map(|key| self.is_whole(all, key))
            .collect();
        let mut counts = vec![0u32; keys + 1];
        let each = |visit: &mut dyn FnMut(u32, Writer)| {
            for transaction in 0..all.len() as u32 {
                if self.committed[transaction as usize] {
                    for (mop, key, _) in all.writes(transaction) {
                        if whole[key as usize] && self.position[mop as usize] == NONE {
                            visit(key, Writer { transaction, mop });
                        }
                    }
                }
            }
        };
        each(&mut |key, _| counts[key as usize + 1] += 1);
        for key in 0..keys {
            counts[key + 1] += counts[key];
        }
        let mut next = counts.clone();
        let mut unread = vec![NOBODY; counts[keys] as usize];
        each(&mut |key, writer| {
            unread[next[key as usize] as usize] = writer;
            next[key as usize] += 1;
        });
        self.unread_offset = counts;
        self.unread = unread;
    }

    /// Whether a writer's transaction took effect.
    pub(super) fn is_committed(&self, writer: Writer) -> bool {
        writer.mop != NONE && self.committed[writer.transaction as usize]
    }

    /// Whether all of a key's versions are in order.
    pub(super) fn is_whole(&self, all: &Transactions, key: u32) -> bool {
        let twice = self.ambiguous.binary_search_by_key(&key, |twice| twice.key);
        self.trusted[key as usize] as usize == all.keys[key as usize].order.len() && twice.is_err()
    }

    /// Whether a key tells nothing, because its elements are not unique.
    pub(super) fn is_ambiguous(&self, key: u32) -> bool {
        !self.ambiguous.is_empty()
            && self
                .ambiguous
                .binary_search_by_key(&key, |twice| twice.key)
                .is_ok()
    }

    /// The writers of a key's versions.
    pub(super) fn of(&self, key: u32) -> &[Writer] {
        &self.writers[self.offset[key as usize] as usize..self.offset[key as usize + 1] as usize]
    }

    /// Where the writers of a key's versions begin among all.
    pub(super) fn offset(&self, key: u32) -> usize {
        self.offset[key as usize] as usize
    }

    /// How many versions all keys have together.
    pub(super) fn len(&self) -> usize {
        self.writers.len()
    }

    /// The writers of a key's committed appends that nobody read, if all its versions are in order. Ascending by transaction.
    pub(super) fn unread(&self, key: u32) -> &[Writer] {
        let (begin, end) = (
            self.unread_offset[key as usize],
            self.unread_offset[key as usize + 1],
        );
        &self.unread[begin as usize..end as usize]
    }

    /// The position of an append in its key, if a list of the order shows it.
    pub(super) fn position(&self, mop: u32) -> Option<u32> {
        match self.position[mop as usize] {
            NONE => None,
            position => Some(position),
        }
    }

    /// The last committed version among the first so many of a key.
    pub(super) fn last_committed(&self, key: u32, length: u32) -> Option<Writer> {
        let last = length.checked_sub(1)?;
        match self.last_committed[self.offset(key) + last as usize] {
            NONE => None,
            position => Some(self.of(key)[position as usize]),
        }
    }

    /// The first committed version after the first so many of a key, of those in order.
    pub(super) fn next_committed(&self, key: u32, length: u32) -> Option<Writer> {
        let known = &self.of(key)[..self.trusted[key as usize] as usize];
        let after = known.get(length as usize..)?;
        after
            .iter()
            .copied()
            .find(|writer| self.is_committed(*writer))
    }
}

/// An append, by its element.
#[derive(Clone, Copy)]
struct Append {
    code: u32,
    writer: Writer,
}

/// All appends, key by key, ascending by element and then by transaction. Those of a key are near to each other, and few.
struct Appends {
    /// By key, where its appends begin.
    begin: Vec<u32>,
    /// By key, where they end.
    end: Vec<u32>,
    appends: Vec<Append>,
}

impl Appends {
    fn of(all: &Transactions, budget: &dyn Budget) -> Result<Appends, Exhausted> {
        let keys = all.keys.len();
        budget.charge(keys * 8)?;
        let mut begin = vec![0u32; keys];
        for mop in all.mops.iter().filter(|mop| mop.element().is_some()) {
            begin[mop.key() as usize] += 1;
        }
        let mut count = 0;
        for place in &mut begin {
            count += std::mem::replace(place, count);
        }
        budget.charge(count as usize * size_of::<Append>())?;
        let writer = NOBODY;
        let mut appends = vec![Append { code: 0, writer }; count as usize];
        // Behind them stays room for appends of invocations that their completions do not have.
        let mut end = begin.clone();
        for transaction in 0..all.len() as u32 {
            if transaction.is_multiple_of(LOOK) {
                budget.check()?;
            }
            for (mop, key, code) in all.writes(transaction) {
                let writer = Writer { transaction, mop };
                let place = &mut end[key as usize];
                appends[*place as usize] = Append { code, writer };
                *place += 1;
            }
        }
        for (begin, end) in begin.iter().zip(&end) {
            appends[*begin as usize..*end as usize].sort_unstable_by_key(|append| {
                (append.code, append.writer.transaction, append.writer.mop)
            });
        }
        budget.check()?;
        Ok(Appends {
            begin,
            end,
            appends,
        })
    }

    fn of_key(&self, key: u32) -> &[Append] {
        let (begin, end) = (self.begin[key as usize], self.end[key as usize]);
        &self.appends[begin as usize..end as usize]
    }

    /// Who appended an element to a key; the last, if several did.
    fn writer(&self, key: u32, code: u32) -> Writer {
        let of_key = self.of_key(key);
        let after = of_key.partition_point(|append| append.code <= code);
        let last = of_key[..after].last().filter(|last| last.code == code);
        last.map_or(NOBODY, |append| append.writer)
    }

    /// For each key that has such, the first element that was appended twice.
    fn twice(&self) -> Vec<AppendedTwice> {
        let keys = 0..self.begin.len() as u32;
        let of_key = |key: u32| {
            let pairs = self.of_key(key).windows(2);
            let twice = pairs
                .filter(|pair| pair[0].code == pair[1].code)
                .map(|pair| AppendedTwice {
                    key,
                    code: pair[0].code,
                    first: pair[0].writer.transaction,
                    second: pair[1].writer.transaction,
                });
            twice.min_by_key(|twice| twice.second)
        };
        keys.filter_map(of_key).collect()
    }
}
