//! The versions of each register: who wrote them, who read them, and who committed.
//!
//! A version is a value of a key. The initial value, `null`, is the first version of each key. Where values are unique, a
//! read says whose write it saw; where several transactions wrote a value, it does not, and is *ambiguous*.

use serde_json::Value;

use super::super::history::{Outcome, Transactions};
use super::super::values::NONE;
use crate::budget::{Budget, Exhausted};

/// The writer of all initial values.
pub(super) const INITIAL: u32 = u32::MAX - 1;
/// Some transaction, nobody knows which.
pub(super) const AMBIGUOUS: u32 = u32::MAX - 2;

/// Nobody, or one that failed.
pub(super) const NOBODY: u32 = u32::MAX - 3;

/// Whether a source is a transaction.
pub(super) fn is_transaction(source: u32) -> bool {
    source < NOBODY
}

/// How many keys or transactions pass between two looks at the budget.
const LOOK: usize = 1 << 14;

/// What a transaction leaves of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Final {
    pub(super) key: u32,
    pub(super) version: u32,
}

/// All versions of all keys.
pub(super) struct Versions {
    /// By key, where its versions begin; one more at the end. The first of each is the initial one.
    offset: Vec<u32>,
    /// By version, the code of its value.
    code: Vec<u32>,
    /// The code of the initial value, if it occurs.
    initial_code: u32,
    /// By version, where its writes begin in `writes`; one more at the end.
    write_offset: Vec<u32>,
    /// Micro-operations, ascending within a version.
    writes: Vec<u32>,
    /// By micro-operation: the version that it wrote or certainly read, or `NONE`.
    version: Vec<u32>,
    /// By micro-operation: its transaction.
    transaction: Vec<u32>,
    /// By micro-operation: the transaction whose write it read, [`INITIAL`], [`AMBIGUOUS`] or [`NOBODY`]; `NONE` where it wrote,
    /// knows nothing, or comes after a write of its own transaction.
    source: Vec<u32>,
    /// By transaction, where its last writes begin in `finals`; one more at the end.
    final_offset: Vec<u32>,
    /// Ascending by key.
    finals: Vec<Final>,
    /// By transaction: whether it took effect, as far as anyone knows.
    pub(super) committed: Vec<bool>,
    /// The first read that is ambiguous.
    pub(super) ambiguous: Option<u32>,
}

/// By key, what a transaction did there first, as it goes through its micro-operations.
pub(super) struct Past {
    /// The transaction, plus one.
    owner: Vec<u32>,
    mop: Vec<u32>,
}

impl Past {
    pub(super) fn new(keys: usize) -> Past {
        Past {
            owner: vec![0; keys],
            mop: vec![NONE; keys],
        }
    }

    /// What a transaction's next micro-operation has before it on its key: its last own write, and else its first read.
    pub(super) fn pass(&mut self, all: &Transactions, transaction: u32, mop: u32) -> Option<u32> {
        let this = all.mops[mop as usize];
        let key = this.key() as usize;
        let known = std::mem::replace(&mut self.owner[key], transaction + 1) == transaction + 1;
        let before = known.then_some(self.mop[key]);
        if !known || this.element().is_some() {
            self.mop[key] = mop;
        }
        before
    }
}

impl Versions {
    pub(super) fn infer(all: &Transactions, budget: &dyn Budget) -> Result<Versions, Exhausted> {
        let mops = all.mops.len();
        budget.charge(mops * 36 + all.keys.len() * 20 + all.len() * 5)?;
        let mut this = Versions {
            offset: Vec::with_capacity(all.keys.len() + 1),
            code: Vec::new(),
            initial_code: all.elements.find(&Value::Null).unwrap_or(NONE),
            write_offset: Vec::new(),
            writes: Vec::new(),
            version: vec![NONE; mops],
            transaction: vec![NONE; mops],
            source: vec![NONE; mops],
            final_offset: Vec::with_capacity(all.len() + 1),
            finals: Vec::new(),
            committed: all
                .outcome
                .iter()
                .map(|outcome| *outcome == Outcome::Ok)
                .collect(),
            ambiguous: None,
        };
        this.number(all, budget)?;
        this.find_finals(all, budget)?;
        this.find_sources(all, budget)?;
        Ok(this)
    }

    /// Gives versions their numbers: key by key, the initial one first, then by their codes.
    fn number(&mut self, all: &Transactions, budget: &dyn Budget) -> Result<(), Exhausted> {
        let initial = (self.initial_code != NONE).then_some(self.initial_code);
        let (starts, mut sorted) = self.by_key(all);
        budget.check()?;
        for key in 0..all.keys.len() {
            if key.is_multiple_of(LOOK) {
                budget.check()?;
            }
            let part = &mut sorted[starts[key] as usize..starts[key + 1] as usize];
            part.sort_unstable();
            self.offset.push(self.code.len() as u32);
            self.begin_version(self.initial_code);
            let is_initial = |one: &&u64| Some((**one >> 32) as u32) == initial;
            for one in part.iter().filter(is_initial) {
                self.add(all, *one as u32);
            }
            for one in part.iter().filter(|one| !is_initial(one)) {
                let (code, mop) = ((*one >> 32) as u32, *one as u32);
                if self.code.last() != Some(&code) {
                    self.begin_version(code);
                }
                self.add(all, mop);
            }
        }
        self.offset.push(self.code.len() as u32);
        self.write_offset.push(self.writes.len() as u32);
        Ok(())
    }

    /// The micro-operations that say something, with their codes, key by key.
    fn by_key(&mut self, all: &Transactions) -> (Vec<u32>, Vec<u64>) {
        let each = |visit: &mut dyn FnMut(u32, u32, u32, u32)| {
            for transaction in 0..all.len() as u32 {
                let ok = all.is_ok(transaction);
                for (at, mop) in all.mops(transaction) {
                    let known = mop.value().filter(|_| ok || mop.element().is_some());
                    if let Some(code) = known {
                        visit(transaction, at, mop.key(), code);
                    }
                }
            }
        };
        let mut starts = vec![0u32; all.keys.len() + 1];
        let owner = &mut self.transaction;
        each(&mut |transaction, at, key, _| {
            starts[key as usize + 1] += 1;
            owner[at as usize] = transaction;
        });
        for key in 0..all.keys.len() {
            starts[key + 1] += starts[key];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0u64; starts[all.keys.len()] as usize];
        each(&mut |_, at, key, code| {
            let place = &mut next[key as usize];
            sorted[*place as usize] = u64::from(code) << 32 | u64::from(at);
            *place += 1;
        });
        (starts, sorted)
    }

    fn begin_version(&mut self, code: u32) {
        self.code.push(code);
        self.write_offset.push(self.writes.len() as u32);
    }

    fn add(&mut self, all: &Transactions, mop: u32) {
        self.version[mop as usize] = self.code.len() as u32 - 1;
        if all.mops[mop as usize].element().is_some() {
            self.writes.push(mop);
        }
    }

    fn find_finals(&mut self, all: &Transactions, budget: &dyn Budget) -> Result<(), Exhausted> {
        let mut mine: Vec<(u32, u32)> = Vec::new();
        for transaction in 0..all.len() as u32 {
            if (transaction as usize).is_multiple_of(LOOK) {
                budget.check()?;
            }
            self.final_offset.push(self.finals.len() as u32);
            mine.clear();
            // The last comes first, and stays.
            let writes = all.writes(transaction).rev();
            mine.extend(writes.map(|(mop, key, _)| (key, self.version[mop as usize])));
            mine.sort_by_key(|(key, _)| *key);
            mine.dedup_by_key(|(key, _)| *key);
            self.finals.extend(mine.iter().map(|(key, version)| Final {
                key: *key,
                version: *version,
            }));
        }
        self.final_offset.push(self.finals.len() as u32);
        Ok(())
    }

    fn find_sources(&mut self, all: &Transactions, budget: &dyn Budget) -> Result<(), Exhausted> {
        let mut past = Past::new(all.keys.len());
        for transaction in 0..all.len() as u32 {
            if (transaction as usize).is_multiple_of(LOOK) {
                budget.check()?;
            }
            if !all.is_ok(transaction) {
                continue;
            }
            for (at, mop) in all.mops(transaction) {
                let before = past.pass(all, transaction, at);
                let own =
                    before.is_some_and(|before| all.mops[before as usize].element().is_some());
                let version = self.version[at as usize];
                if mop.element().is_some() || own || version == NONE {
                    continue;
                }
                let source = self.source_of(all, transaction, version);
                self.source[at as usize] = source;
                if source == AMBIGUOUS {
                    self.ambiguous.get_or_insert(at);
                } else if is_transaction(source) {
                    self.committed[source as usize] = true;
                }
            }
        }
        Ok(())
    }

    /// Whose write a transaction saw that read a version.
    fn source_of(&self, all: &Transactions, reader: u32, version: u32) -> u32 {
        let initial = self.is_initial(version);
        let mut writers = self.writers(version);
        match (writers.next(), initial) {
            (None, true) => INITIAL,
            (None, false) => NOBODY,
            (Some(one), false) if writers.all(|other| other == one) => {
                match all.outcome[one as usize] {
                    _ if one == reader => NONE,
                    Outcome::Fail => NOBODY,
                    Outcome::Ok | Outcome::Info => one,
                }
            }
            _ => AMBIGUOUS,
        }
    }

    /// All transactions that wrote a version, ascending; one that did so twice may be there twice.
    pub(super) fn writers(&self, version: u32) -> impl Iterator<Item = u32> + '_ {
        self.writes(version)
            .iter()
            .map(|mop| self.transaction[*mop as usize])
    }

    /// The micro-operations that wrote a version.
    pub(super) fn writes(&self, version: u32) -> &[u32] {
        let at = version as usize;
        &self.writes[self.write_offset[at] as usize..self.write_offset[at + 1] as usize]
    }

    /// How many versions all keys have.
    pub(super) fn len(&self) -> usize {
        self.code.len()
    }

    /// The first version of a key.
    pub(super) fn initial(&self, key: u32) -> u32 {
        self.offset[key as usize]
    }

    /// The key of a version.
    pub(super) fn key(&self, version: u32) -> u32 {
        self.offset.partition_point(|first| *first <= version) as u32 - 1
    }

    /// Whether this is the first version of its key.
    pub(super) fn is_initial(&self, version: u32) -> bool {
        self.code[version as usize] == self.initial_code
    }

    /// The versions of a key.
    pub(super) fn of(&self, key: u32) -> std::ops::Range<u32> {
        self.offset[key as usize]..self.offset[key as usize + 1]
    }

    /// The code of a version's value.
    pub(super) fn code(&self, version: u32) -> u32 {
        self.code[version as usize]
    }

    /// The value of a version.
    pub(super) fn value(&self, all: &Transactions, version: u32) -> Value {
        match self.is_initial(version) {
            true => Value::Null,
            false => all.elements.value(self.code[version as usize]),
        }
    }

    /// The version that a micro-operation wrote or certainly read, or `NONE`.
    pub(super) fn version(&self, mop: u32) -> u32 {
        self.version[mop as usize]
    }

    /// Whose writes all reads saw, by micro-operation.
    pub(super) fn sources(&self) -> &[u32] {
        &self.source
    }

    /// What a transaction leaves, ascending by key.
    pub(super) fn finals(&self, transaction: u32) -> &[Final] {
        let at = transaction as usize;
        &self.finals[self.final_offset[at] as usize..self.final_offset[at + 1] as usize]
    }

    /// The version of a key that a transaction leaves, if it writes it.
    pub(super) fn last_of(&self, transaction: u32, key: u32) -> Option<u32> {
        let finals = self.finals(transaction);
        let at = finals.binary_search_by_key(&key, |one| one.key).ok()?;
        Some(finals[at].version)
    }

    /// Whether it is known whose a version is: at most one transaction wrote it, and none if it is the initial one.
    pub(super) fn is_certain(&self, version: u32) -> bool {
        let mut writers = self.writers(version);
        match writers.next() {
            None => true,
            Some(one) => !self.is_initial(version) && writers.all(|other| other == one),
        }
    }

    /// The one committed transaction that wrote a version, if it is known.
    pub(super) fn writer(&self, version: u32) -> Option<u32> {
        let one = self.writers(version).next()?;
        (self.is_certain(version) && self.committed[one as usize]).then_some(one)
    }

    /// The reads of a transaction whose source is known: number, key and source.
    pub(super) fn observed<'a>(
        &'a self,
        all: &'a Transactions,
        transaction: u32,
    ) -> impl DoubleEndedIterator<Item = (u32, u32, u32)> + 'a {
        all.mops(transaction).filter_map(|(at, mop)| {
            let source = self.source[at as usize];
            (is_transaction(source) || source == INITIAL).then_some((at, mop.key(), source))
        })
    }

    /// The reads of a transaction whose version is known, with whose write it saw, if that is known.
    pub(super) fn foreign<'a>(
        &'a self,
        all: &'a Transactions,
        transaction: u32,
    ) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.foreign_or_ambiguous(all, transaction)
            .filter(|(_, source)| *source != AMBIGUOUS)
    }

    /// The reads of a transaction that are of others, with whose write it saw, if that is known.
    pub(super) fn foreign_or_ambiguous<'a>(
        &'a self,
        all: &'a Transactions,
        transaction: u32,
    ) -> impl Iterator<Item = (u32, u32)> + 'a {
        all.mops(transaction).filter_map(|(at, _)| {
            let source = self.source[at as usize];
            (source != NONE).then_some((at, source))
        })
    }
}
