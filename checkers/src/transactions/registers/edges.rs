//! The dependencies of a register history, as a graph.

use super::super::graph::{Fan, Graph, Sink, Time, WR, WW, WW_READ};
use super::super::history::Transactions;
use super::order::{Next, Order, Why};
use super::versions::{INITIAL, Versions, is_transaction};
use crate::budget::{Budget, Exhausted};

/// The edges of a history.
pub(super) struct Edges<'a> {
    all: &'a Transactions,
    versions: &'a Versions,
    order: &'a Order,
    time: Time<'a>,
    /// By version: from its readers to those who wrote what follows it.
    fans: Vec<Fan>,
}

impl<'a> Edges<'a> {
    pub(super) fn new(
        all: &'a Transactions,
        versions: &'a Versions,
        order: &'a Order,
        budget: &dyn Budget,
    ) -> Result<Edges<'a>, Exhausted> {
        budget.charge(versions.len() * 8)?;
        let mut readers = vec![0u32; versions.len()];
        for transaction in 0..all.len() as u32 {
            for (at, _) in versions.foreign(all, transaction) {
                readers[versions.version(at) as usize] += 1;
            }
        }
        let mut next = all.len() as u32;
        let mut fans = Vec::with_capacity(versions.len());
        for key in 0..all.keys.len() as u32 {
            for version in versions.of(key) {
                let targets = match versions.is_initial(version) {
                    true => order.first(key).len(),
                    false => order.next(version).len(),
                };
                fans.push(Fan::new(readers[version as usize], targets, &mut next));
            }
        }
        Ok(Edges {
            all,
            versions,
            order,
            time: Time::new(all, &versions.committed, next, budget)?,
            fans,
        })
    }

    /// The graph of them all, and whether any of them comes from a read or a write.
    pub(super) fn graph(&self, budget: &dyn Budget) -> Result<(Graph, bool), Exhausted> {
        let each = |visit: Sink| {
            self.each_write(visit);
            for transaction in 0..self.all.len() as u32 {
                self.each_read(transaction, visit);
            }
        };
        self.time.graph(&each, budget)
    }

    /// Write dependencies that follow from assumptions.
    pub(super) fn each_assumed(&self, visit: Sink) {
        for key in 0..self.all.keys.len() as u32 {
            for version in self.versions.of(key).skip(1) {
                self.each_next(version, visit);
            }
        }
    }

    fn each_next(&self, version: u32, visit: Sink) {
        // That writes follow reads is no more than the read.
        let next = self.order.next(version).iter();
        let mut assumed = next.filter(|next| next.why != Why::Followed).peekable();
        if assumed.peek().is_none() {
            return;
        }
        let Some(writer) = self.versions.writer(version) else {
            return;
        };
        for next in assumed.filter(|next| next.transaction != writer) {
            visit(writer, next.transaction, self.ww(writer, next.transaction));
        }
    }

    /// What comes before what by the clock.
    pub(super) fn time(&self) -> &Time<'a> {
        &self.time
    }

    /// Write dependencies, and the hops of all fans.
    fn each_write(&self, visit: Sink) {
        for key in 0..self.all.keys.len() as u32 {
            let first = self.order.first(key);
            let initial = self.versions.initial(key);
            self.fans[initial as usize].each_hop(first.iter().copied(), visit);
            for version in self.versions.of(key).skip(1) {
                let next = self.order.next(version);
                if next.is_empty() {
                    continue;
                }
                let targets = next.iter().map(|next| next.transaction);
                self.fans[version as usize].each_hop(targets, visit);
                self.each_next(version, visit);
            }
        }
    }

    fn ww(&self, from: u32, to: u32) -> u8 {
        match self.all.is_ok(from) && self.all.is_ok(to) {
            true => WW,
            false => WW_READ,
        }
    }

    /// What a transaction's reads depend on, and what depends on them.
    fn each_read(&self, transaction: u32, visit: Sink) {
        for (at, source) in self.versions.foreign(self.all, transaction) {
            let version = self.versions.version(at);
            let fan = self.fans[version as usize];
            if source == INITIAL {
                let first = self.order.first(self.all.mops[at as usize].key());
                fan.each_of(transaction, first, |one| *one, visit);
                continue;
            }
            if is_transaction(source) {
                visit(source, transaction, WR);
            }
            let next = self.order.next(version);
            let writer = |next: &Next| next.transaction;
            fan.each_of(transaction, next, writer, visit);
        }
    }
}
