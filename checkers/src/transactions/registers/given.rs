//! The order of versions that the database gives.
//!
//! Some databases say of what was read or written which version of its key it is: etcd's modification revision, a write timestamp, the
//! version of a row. Of a key, a higher version is a later one; versions of different keys have nothing to do with each other.
//!
//! What counts is what transactions left that took effect, and what others read of them. What a transaction wrote and then wrote again, or
//! read of its own, is no version of the database yet. The initial value is the first version of each key, whatever is said of it; and of
//! a value that was written several times nobody knows which of its versions is which: what is said of it is passed over, and then no
//! level is said to hold. A write without a version has that of a read that
//! saw its value.
//!
//! A value that has two versions, or two values of different transactions that have the same, are an anomaly (`incompatible-versions`), and
//! no order is taken from what is said of their key.

use super::super::history::Transactions;
use super::super::values::NONE;
use super::versions::Versions;
use crate::budget::{Budget, Exhausted};

/// How many transactions or keys pass between two looks at the budget.
const LOOK: u32 = 1 << 14;

/// That a version has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Said {
    pub(super) version: u32,
    pub(super) number: i64,
    /// Whether this is said elsewhere than with a write of a transaction that is `ok`.
    aside: bool,
    /// With what the history has it.
    pub(super) transaction: u32,
}

/// Two things said of a key that contradict each other.
pub(super) type Contradiction = [Said; 2];

/// What a database says of the order of versions.
#[derive(Default)]
pub(super) struct Given {
    /// By key, where its versions begin in `chain`; one more at the end.
    offset: Vec<u32>,
    /// The versions of each key that committed and have numbers, in their order.
    chain: Vec<Said>,
    /// By version, its place in `chain`, or `NONE`.
    place: Vec<u32>,
    /// Whether all versions that committed have places, but those that are alone on their keys.
    pub(super) is_whole: bool,
    /// The first transaction with which the history has the version of a value that was written several times.
    pub(super) passed_over: Option<u32>,
    /// What contradicts itself, by key.
    pub(super) contradictions: Vec<Contradiction>,
}

impl Given {
    pub(super) fn infer(
        all: &Transactions,
        versions: &Versions,
        budget: &dyn Budget,
    ) -> Result<Given, Exhausted> {
        let (mut said, passed_over) = said(all, versions, budget)?;
        budget.charge(said.len() * size_of::<Said>() + versions.len() * 4 + all.keys.len() * 4)?;
        said.sort_unstable();
        let mut this = Given {
            place: vec![NONE; versions.len()],
            passed_over,
            ..Given::default()
        };
        let mut rest = &said[..];
        for key in 0..all.keys.len() as u32 {
            if key.is_multiple_of(LOOK) {
                budget.check()?;
            }
            let end = versions.of(key).end;
            let (mine, others) = rest.split_at(rest.partition_point(|said| said.version < end));
            rest = others;
            this.offset.push(this.chain.len() as u32);
            this.order(versions, key, mine);
        }
        this.offset.push(this.chain.len() as u32);
        this.is_whole = this.contradictions.is_empty() && this.is_whole(all, versions);
        Ok(this)
    }

    fn is_whole(&self, all: &Transactions, versions: &Versions) -> bool {
        let committed = (0..all.len() as u32).filter(|one| versions.committed[*one as usize]);
        let mut left = vec![0u32; all.keys.len()];
        for one in committed.flat_map(|one| versions.finals(one)) {
            left[one.key as usize] += 1;
        }
        let keys = (0u32..).zip(left);
        keys.into_iter()
            .all(|(key, left)| left < 2 || self.chain(key).len() as u32 == left)
    }

    /// Puts the versions of a key in order, of which this is said.
    fn order(&mut self, versions: &Versions, key: u32, said: &[Said]) {
        let before = self.contradictions.len();
        let mut numbered: Vec<Said> = Vec::new();
        for of_version in said.chunk_by(|one, other| one.version == other.version) {
            let first = of_version[0];
            numbered.push(first);
            let other = of_version.iter().find(|one| one.number != first.number);
            self.contradictions
                .extend(other.map(|other| [first, *other]));
        }
        numbered.sort_unstable_by_key(|one| (one.number, one.version));
        let writer = |one: &Said| versions.writers(one.version).next();
        for pair in numbered.windows(2) {
            let same = pair[0].number == pair[1].number;
            if same && writer(&pair[0]) != writer(&pair[1]) {
                self.contradictions.push([pair[0], pair[1]]);
            }
        }
        if self.contradictions.len() > before {
            return;
        }
        for one in numbered {
            let writer = versions.writer(one.version);
            if writer.and_then(|writer| versions.last_of(writer, key)) == Some(one.version) {
                self.place[one.version as usize] = self.chain.len() as u32;
                self.chain.push(one);
            }
        }
    }

    /// What is said of a version that has a place in its key's order.
    pub(super) fn of(&self, version: u32) -> Option<Said> {
        let place = *self.place.get(version as usize)?;
        self.chain.get(place as usize).copied()
    }

    /// The place of a version, in the order of its key. One that is alone needs none to be said.
    pub(super) fn place(&self, version: u32) -> u32 {
        match self.place[version as usize] {
            NONE => 0,
            place => place,
        }
    }

    /// The versions of a key that have places, in their order.
    pub(super) fn chain(&self, key: u32) -> &[Said] {
        match self.offset.get(key as usize..key as usize + 2) {
            Some([begin, end]) => &self.chain[*begin as usize..*end as usize],
            _ => &[],
        }
    }

    /// The first transaction that took effect and left something without a place.
    pub(super) fn unsaid(&self, all: &Transactions, versions: &Versions) -> Option<u32> {
        let mut committed = (0..all.len() as u32).filter(|one| versions.committed[*one as usize]);
        committed.find(|one| {
            let mut finals = versions.finals(*one).iter();
            finals.any(|left| self.of(left.version).is_none())
        })
    }

    /// Whether a version is the first in order that committed.
    pub(super) fn is_first(&self, said: Said, key: u32) -> bool {
        self.chain(key).first() == Some(&said)
    }
}

/// All that is said of versions that were written once, and the first transaction with which something is said of others.
fn said(
    all: &Transactions,
    versions: &Versions,
    budget: &dyn Budget,
) -> Result<(Vec<Said>, Option<u32>), Exhausted> {
    let (mut said, mut passed_over) = (Vec::new(), None);
    for transaction in 0..all.len() as u32 {
        if transaction.is_multiple_of(LOOK) {
            budget.check()?;
        }
        let mut add = |mop: u32, aside: bool| {
            let version = versions.version(mop);
            let Some(number) = all.given(mop).filter(|_| version != NONE) else {
                return;
            };
            match (versions.writes(version).len(), versions.is_initial(version)) {
                // The initial one, before all others whatever its number; or nobody's, which is an anomaly by itself.
                (0, _) => {}
                (1, false) => said.push(Said {
                    version,
                    number,
                    aside,
                    transaction,
                }),
                _ => {
                    passed_over.get_or_insert(transaction);
                }
            }
        };
        if versions.committed[transaction as usize] {
            for (mop, key, _) in all.writes(transaction) {
                if versions.last_of(transaction, key) == Some(versions.version(mop)) {
                    add(mop, !all.is_ok(transaction));
                }
            }
        }
        for (mop, _) in versions.foreign_or_ambiguous(all, transaction) {
            add(mop, true);
        }
    }
    Ok((said, passed_over))
}
