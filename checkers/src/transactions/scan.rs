//! Anomalies that are no cycles: what single reads show, and what pairs of transactions do.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::anomaly::Anomaly;
use super::history::{OddList, Outcome, Seen, Transactions};
use super::values::NONE;
use super::versions::{Versions, Writer};
use crate::budget::{Budget, Exhausted};

/// How many of each anomaly are kept as evidence. All are counted.
pub(super) const KEPT: usize = 8;

/// How many transactions pass between two looks at the budget.
const LOOK: u32 = 1 << 14;

/// An anomaly with who shows it. Who plays which part is said at [`AnomalyEvidence`](super::AnomalyEvidence).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) anomaly: Anomaly,
    pub(super) key: u32,
    pub(super) codes: Vec<u32>,
    pub(super) transactions: Vec<u32>,
}

/// All anomalies of a history that are no cycles.
#[derive(Default)]
pub(super) struct Sightings {
    /// How many, and the first few.
    pub(super) by_anomaly: BTreeMap<Anomaly, (u64, Vec<Sighting>)>,
}

impl Sightings {
    pub(super) fn add(&mut self, anomaly: Anomaly, key: u32, codes: &[u32], transactions: &[u32]) {
        let (count, kept) = self.by_anomaly.entry(anomaly).or_default();
        *count += 1;
        if kept.len() < KEPT {
            kept.push(Sighting {
                anomaly,
                key,
                codes: codes.to_vec(),
                transactions: transactions.to_vec(),
            });
        }
    }
}

/// Looks for all of them.
pub(super) fn scan(
    all: &Transactions,
    versions: &Versions,
    budget: &dyn Budget,
) -> Result<Sightings, Exhausted> {
    let mut scan = Scan {
        all,
        versions,
        found: Sightings::default(),
    };
    scan.lists();
    scan.pairs(budget)?;
    scan.lost_appends();
    for transaction in 0..all.len() as u32 {
        if transaction.is_multiple_of(LOOK) {
            budget.check()?;
        }
        if all.is_ok(transaction) {
            scan.transaction(transaction);
        }
    }
    Ok(scan.found)
}

struct Scan<'a> {
    all: &'a Transactions,
    versions: &'a Versions,
    found: Sightings,
}

impl Scan<'_> {
    /// What the lists of each key show.
    fn lists(&mut self) {
        for (number, key) in (0u32..).zip(&self.all.keys) {
            self.list(number, key.reader, &key.order, self.versions.of(number));
        }
        for (key, position) in &self.versions.repeated {
            let of = &self.all.keys[*key as usize];
            let code = of.order[*position as usize];
            self.found
                .add(Anomaly::DuplicateElements, *key, &[code], &[of.reader]);
        }
        for (odd, writers) in self.all.odd.iter().zip(&self.versions.odd) {
            self.list(odd.key, odd.reader, &odd.codes, writers);
            let mut there = FxHashSet::default();
            let twice = odd.codes.iter().find(|code| !there.insert(**code));
            if let Some(twice) = twice.filter(|_| !self.versions.is_ambiguous(odd.key)) {
                self.found.add(
                    Anomaly::DuplicateElements,
                    odd.key,
                    &[*twice],
                    &[odd.reader],
                );
            }
            let mut readers = vec![odd.reader, self.all.keys[odd.key as usize].reader];
            readers.dedup();
            self.found
                .add(Anomaly::IncompatibleOrder, odd.key, &[], &readers);
            self.opposite(odd, writers);
        }
    }

    /// Whether an odd list shows committed appends in another order than its key's longest list. Each list has
    /// the one first that the other has not, or has later.
    fn opposite(&mut self, odd: &OddList, writers: &[Writer]) {
        let key = &self.all.keys[odd.key as usize];
        let mut pairs = key.order.iter().zip(&odd.codes).enumerate();
        let Some((at, (first, second))) = pairs.find(|(_, (here, there))| here != there) else {
            return;
        };
        let (here, there) = (self.versions.of(odd.key)[at], writers[at]);
        let ok = [here, there]
            .iter()
            .all(|writer| writer.mop != NONE && self.all.is_ok(writer.transaction));
        if ok && here.transaction != there.transaction && !self.versions.is_ambiguous(odd.key) {
            let transactions = [key.reader, odd.reader, here.transaction, there.transaction];
            self.found.add(
                Anomaly::CyclicVersions,
                odd.key,
                &[*first, *second],
                &transactions,
            );
        }
    }

    fn list(&mut self, key: u32, reader: u32, codes: &[u32], writers: &[Writer]) {
        if self.versions.is_ambiguous(key) {
            return;
        }
        let mut committed: Option<(u32, u32)> = None;
        for (writer, code) in writers.iter().zip(codes).rev() {
            if writer.mop == NONE {
                self.found
                    .add(Anomaly::GarbageRead, key, &[*code], &[reader]);
            } else if self.versions.is_committed(*writer) {
                committed = Some((writer.transaction, *code));
            } else if self.all.outcome[writer.transaction as usize] == Outcome::Fail {
                self.found
                    .add(Anomaly::G1a, key, &[*code], &[reader, writer.transaction]);
                if let Some((next, after)) = committed {
                    let transactions = [reader, writer.transaction, next];
                    self.found
                        .add(Anomaly::DirtyUpdate, key, &[*code, after], &transactions);
                }
            }
        }
    }

    /// Transactions that read the same version of a key and both append to it.
    fn pairs(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        let slots = self.versions.len() + self.all.keys.len();
        budget.charge(slots * 4)?;
        let mut first = vec![NONE; slots];
        for transaction in
            (0..self.all.len() as u32).filter(|transaction| self.all.is_ok(*transaction))
        {
            for (read, key, seen) in self.all.reads(transaction) {
                let Seen::Prefix(length) = seen else { continue };
                let before = self.all.mops(transaction).take_while(|(at, _)| *at < read);
                let is_first = before.into_iter().all(|(_, mop)| mop.key() != key);
                let writes = self.all.writes(transaction).any(|(_, of, _)| of == key);
                if !is_first || !writes || self.versions.is_ambiguous(key) {
                    continue;
                }
                // A key with n versions has n + 1 lengths.
                let slot = self.versions.offset(key) + key as usize + length as usize;
                if first[slot] == NONE {
                    first[slot] = transaction;
                } else {
                    self.found
                        .add(Anomaly::LostUpdate, key, &[], &[first[slot], transaction]);
                }
            }
        }
        budget.release(slots * 4);
        Ok(())
    }

    /// Appends that ended before others began that are seen, and never are.
    fn lost_appends(&mut self) {
        let invoked = |writer: &Writer| match self.all.invoke[writer.transaction as usize] {
            NONE => None,
            invoke => Some(invoke),
        };
        for (number, key) in (0u32..).zip(&self.all.keys) {
            let unread = self.versions.unread(number);
            if unread.is_empty() {
                continue;
            }
            let seen = self.versions.of(number).iter().zip(&key.order);
            // That one of unknown outcome is seen makes this a matter of reads, and a cycle.
            let certain = |writer: &Writer| {
                self.versions.is_committed(*writer) && self.all.is_ok(writer.transaction)
            };
            let seen = seen.filter(|(writer, _)| certain(writer));
            let Some((later, after)) = seen.max_by_key(|(writer, _)| invoked(writer)) else {
                continue;
            };
            let Some(begun) = invoked(later) else {
                continue;
            };
            for lost in unread {
                let ended = self.all.complete[lost.transaction as usize];
                if !self.all.is_ok(lost.transaction) || ended >= begun {
                    continue;
                }
                let code = self.all.mops[lost.mop as usize].element().unwrap_or(NONE);
                let transactions = [lost.transaction, later.transaction, key.reader];
                self.found
                    .add(Anomaly::LostAppend, number, &[code, *after], &transactions);
            }
        }
    }

    /// What a transaction shows that is at odds with itself or with the writer of what it read last.
    fn transaction(&mut self, transaction: u32) {
        let mut earlier: Vec<(u32, Seen)> = Vec::new();
        let mut at_odds: Vec<u32> = Vec::new();
        for (read, key, seen) in self.all.reads(transaction) {
            let foreign = |seen| self.all.foreign(key, seen);
            let before = earlier.iter().find(|(of, _)| *of == key);
            let changed = before
                .is_some_and(|(_, before)| *before != seen && foreign(*before) != foreign(seen));
            if before.is_none() {
                earlier.push((key, seen));
            }
            if (changed || self.all.torn.contains(&read)) && !at_odds.contains(&key) {
                at_odds.push(key);
                self.found.add(Anomaly::Internal, key, &[], &[transaction]);
                if self.all.torn.contains(&read) {
                    self.found
                        .add(Anomaly::UnseenOwnWrite, key, &[], &[transaction]);
                }
            }
            if !self.versions.is_ambiguous(key) {
                self.own_later(transaction, read, key, seen);
                self.own_twice(transaction, read, key, seen);
                self.unfinished(transaction, key, seen);
            }
        }
    }

    /// Whether a read's foreign part shows an append.
    fn shows(&self, seen: Seen, append: u32, code: u32) -> bool {
        match seen {
            Seen::Unknown => false,
            Seen::Prefix(length) => self
                .versions
                .position(append)
                .is_some_and(|position| position < length),
            Seen::Odd(number) => self.all.odd[number as usize].codes.contains(&code),
        }
    }

    /// The element of some append of the reader's own, by its number, that a read's foreign part shows.
    fn shown_of_own(
        &self,
        transaction: u32,
        key: u32,
        seen: Seen,
        which: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let appends = self.all.writes(transaction);
        let mut own = appends.filter(|(at, of, _)| which(*at) && *of == key);
        own.find(|(at, _, code)| self.shows(seen, *at, *code))
            .map(|(_, _, code)| code)
    }

    fn own_later(&mut self, transaction: u32, read: u32, key: u32, seen: Seen) {
        if let Some(code) = self.shown_of_own(transaction, key, seen, |at| at > read) {
            self.found
                .add(Anomaly::FutureRead, key, &[code], &[transaction]);
        }
    }

    /// An own append at the end of a list that has it before.
    fn own_twice(&mut self, transaction: u32, read: u32, key: u32, seen: Seen) {
        if self.all.torn.contains(&read) {
            return;
        }
        if let Some(code) = self.shown_of_own(transaction, key, seen, |at| at < read) {
            self.found
                .add(Anomaly::DuplicateElements, key, &[code], &[transaction]);
        }
    }

    /// A read that ends with what its writer had not finished with.
    fn unfinished(&mut self, transaction: u32, key: u32, seen: Seen) {
        let last = match seen {
            Seen::Unknown => None,
            Seen::Prefix(length) => self.versions.of(key)[..length as usize].last(),
            Seen::Odd(number) => self.versions.odd[number as usize].last(),
        };
        let Some(last) = last.filter(|last| last.mop != NONE && last.transaction != transaction)
        else {
            return;
        };
        let mut appends = self.all.writes(last.transaction);
        let more = appends.any(|(at, of, _)| at > last.mop && of == key);
        let failed = self.all.outcome[last.transaction as usize] == Outcome::Fail;
        if let (true, false, Some(code)) =
            (more, failed, self.all.mops[last.mop as usize].element())
        {
            self.found
                .add(Anomaly::G1b, key, &[code], &[transaction, last.transaction]);
        }
    }
}
