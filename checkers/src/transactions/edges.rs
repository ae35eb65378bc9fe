//! The dependencies of a list-append history, as a graph.

use rustc_hash::FxHashMap;

use super::graph::{Fan, Graph, RW, Sink, Time, WR, WW, WW_READ};
use super::history::{Seen, Transactions};
use super::shapes::Lists;
use super::values::NONE;
use super::versions::{Versions, Writer};
use crate::budget::{Budget, Exhausted};

/// The edges of a history.
pub(super) struct Edges<'a> {
    all: &'a Transactions,
    versions: &'a Versions,
    time: Time<'a>,
    /// By key: from readers of the last version to the appends that nobody read.
    tails: Vec<Fan>,
    /// By transaction: if there is a guess at the order of the appends that nobody read, the earlier the higher.
    guess: Option<Vec<u32>>,
}

impl<'a> Edges<'a> {
    pub(super) fn new(
        all: &'a Transactions,
        versions: &'a Versions,
        budget: &dyn Budget,
    ) -> Result<Edges<'a>, Exhausted> {
        let transactions = all.len() as u32;
        budget.charge(all.keys.len() * 8)?;
        let mut tail_readers = vec![0u32; all.keys.len()];
        for transaction in 0..transactions {
            for (_, key, seen) in all.reads(transaction) {
                let whole = all.keys[key as usize].order.len() as u32;
                if seen == Seen::Prefix(whole) {
                    tail_readers[key as usize] += 1;
                }
            }
        }
        let mut next = transactions;
        let tails = (0..all.keys.len() as u32).map(|key| {
            let (unread, readers) = (versions.unread(key).len(), tail_readers[key as usize]);
            Fan::new(readers, unread, &mut next)
        });
        let tails = tails.collect();
        Ok(Edges {
            all,
            versions,
            time: Time::new(all, &versions.committed, next, budget)?,
            tails,
            guess: None,
        })
    }

    /// With a possible order of the appends that nobody read, which is otherwise left open: as their transactions are ranked, the
    /// highest first, and else as they ended.
    pub(super) fn guess(&mut self, rank: Vec<u32>) {
        self.guess = Some(rank);
    }

    /// The components of which several transactions have appends to one key that nobody read, ascending. Elsewhere any order that fits
    /// the other dependencies will do.
    pub(super) fn contested(&self, component: &[u32]) -> Vec<u32> {
        let mut contested = Vec::new();
        for key in 0..self.all.keys.len() as u32 {
            let unread = self.versions.unread(key).iter();
            let mut places: Vec<(u32, u32)> = unread
                .map(|writer| (component[writer.transaction as usize], writer.transaction))
                .collect();
            places.sort_unstable();
            places.dedup();
            let pairs = places.windows(2).filter(|pair| pair[0].0 == pair[1].0);
            contested.extend(pairs.map(|pair| pair[0].0));
        }
        contested.sort_unstable();
        contested.dedup();
        contested
    }

    /// The graph of them all, and whether any of them comes from a read or a write.
    pub(super) fn graph(&self, budget: &dyn Budget) -> Result<(Graph, bool), Exhausted> {
        self.time
            .graph(&|visit| self.each_dependency(visit), budget)
    }

    fn ww(&self, from: u32, to: u32) -> u8 {
        match self.all.is_ok(from) && self.all.is_ok(to) {
            true => WW,
            false => WW_READ,
        }
    }

    fn each_dependency(&self, visit: Sink) {
        for key in 0..self.all.keys.len() as u32 {
            if !self.versions.is_ambiguous(key) {
                self.each_write(key, visit);
            }
        }
        for transaction in 0..self.all.len() as u32 {
            for (_, key, seen) in self.all.reads(transaction) {
                if !self.versions.is_ambiguous(key) {
                    self.each_read(transaction, key, seen, visit);
                }
            }
        }
    }

    /// Write dependencies of a key, and the relays to its last ones.
    fn each_write(&self, key: u32, visit: Sink) {
        let known = self.versions.trusted[key as usize] as usize;
        let mut last = NONE;
        for writer in &self.versions.of(key)[..known] {
            if !self.versions.is_committed(*writer) {
                continue;
            }
            if last != NONE && last != writer.transaction {
                visit(last, writer.transaction, self.ww(last, writer.transaction));
            }
            last = writer.transaction;
        }
        let unread = self.versions.unread(key);
        if last != NONE {
            for writer in unread.iter().filter(|writer| writer.transaction != last) {
                visit(last, writer.transaction, self.ww(last, writer.transaction));
            }
        }
        if let Some(rank) = &self.guess {
            let guess = self.guessed(unread, rank);
            for pair in guess
                .windows(2)
                .filter(|pair| pair[0].transaction != pair[1].transaction)
            {
                visit(pair[0].transaction, pair[1].transaction, WW);
            }
        }
        let targets = unread.iter().map(|writer| writer.transaction);
        self.tails[key as usize].each_hop(targets, visit);
    }

    /// Appends in the order that is guessed.
    fn guessed(&self, unread: &[Writer], rank: &[u32]) -> Vec<Writer> {
        let mut guess = unread.to_vec();
        guess.sort_by_key(|writer| {
            let at = writer.transaction as usize;
            (std::cmp::Reverse(rank[at]), self.all.complete[at])
        });
        guess
    }

    /// Where lists stand among each other, with what is guessed.
    pub(super) fn lists(&self) -> Lists<'a> {
        let mut guess = FxHashMap::default();
        if let Some(rank) = &self.guess {
            for key in 0..self.all.keys.len() as u32 {
                let unread = self.guessed(self.versions.unread(key), rank);
                guess.extend(unread.iter().map(|writer| writer.mop).zip(0..));
            }
        }
        Lists {
            all: self.all,
            versions: self.versions,
            guess,
        }
    }

    /// What a read depends on, and what depends on it.
    fn each_read(&self, reader: u32, key: u32, seen: Seen, visit: Sink) {
        let last = match seen {
            Seen::Unknown => None,
            Seen::Prefix(length) => self.versions.last_committed(key, length),
            Seen::Odd(number) => {
                let writers = self.versions.odd[number as usize].iter().rev();
                writers
                    .copied()
                    .find(|writer| self.versions.is_committed(*writer))
            }
        };
        if let Some(writer) = last.filter(|writer| writer.transaction != reader) {
            visit(writer.transaction, reader, WR);
        }
        let Seen::Prefix(length) = seen else {
            return;
        };
        if let Some(writer) = self.versions.next_committed(key, length) {
            if writer.transaction != reader {
                visit(reader, writer.transaction, RW);
            }
        } else if length <= self.versions.trusted[key as usize] {
            // Where versions are not all in order, there is nothing unread.
            self.each_unread(reader, key, self.versions.unread(key), length, visit);
        }
    }

    fn each_unread(&self, reader: u32, key: u32, unread: &[Writer], length: u32, visit: Sink) {
        // Of a read that ends before versions that failed, the relays do not know.
        let whole = length == self.all.keys[key as usize].order.len() as u32;
        let fan = match whole {
            true => self.tails[key as usize],
            false => Fan::NONE,
        };
        fan.each_of(reader, unread, |writer| writer.transaction, visit);
    }
}
