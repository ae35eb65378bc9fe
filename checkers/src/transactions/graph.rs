//! The dependency graph: which transaction comes before which, and why.
//!
//! Vertices are transactions, and *relays*: vertices that stand for a set of transactions, where edges from many to many would
//! be too many. An edge into a relay has a relation; those from it are hops, which cost nothing and say nothing. Real time
//! needs a relay for each moment at which some transactions have ended before others begin, and so as many edges as there
//! are transactions, where a plain reduction has as many as there are pairs of concurrent ones.
//!
//! The edges of a vertex are one stretch of an array (compressed sparse rows). They are enumerated twice, to be counted and to be
//! stored, so that they are never held in any other form.

use super::history::{Outcome, Seen, Transactions};
use super::values::NONE;
use super::versions::{Versions, Writer};
use crate::budget::{Budget, Exhausted};

/// The target's version follows the source's.
pub(super) const WW: u8 = 1;
/// The target read the source's version.
pub(super) const WR: u8 = 2;
/// The source read a version that the target's follows.
pub(super) const RW: u8 = 4;
/// The source ended before the target began, on one process.
pub(super) const PROCESS: u8 = 8;
/// The source ended before the target began.
pub(super) const REALTIME: u8 = 16;
/// As `WW`, where a transaction of unknown outcome is an end of it. That it committed is known from a read of it, so the edge
/// proves no more than a read dependency does.
pub(super) const WW_READ: u8 = 32;
/// From a relay.
pub(super) const HOP: u8 = 128;
/// All that comes from reads and writes.
pub(super) const DEPENDENCIES: u8 = WW | WW_READ | WR | RW;

/// What takes edges, as source, target and relation.
pub(super) type Sink<'a> = &'a mut dyn FnMut(u32, u32, u8);

/// A graph in compressed sparse rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    start: Vec<u32>,
    to: Vec<u32>,
    relation: Vec<u8>,
    /// Vertices from here on are relays.
    pub(super) relays: u32,
}

impl Graph {
    /// From edges as `(from, to, relation)`, which `each` enumerates the same way whenever it is called.
    pub(super) fn build(
        vertices: u32,
        relays: u32,
        each: &dyn Fn(Sink),
        budget: &dyn Budget,
    ) -> Result<Graph, Exhausted> {
        budget.charge(vertices as usize * 4)?;
        let mut start = vec![0u32; vertices as usize + 1];
        each(&mut |from, _, _| start[from as usize + 1] += 1);
        budget.check()?;
        for at in 0..vertices as usize {
            start[at + 1] += start[at];
        }
        let edges = start[vertices as usize] as usize;
        budget.charge(edges * 5)?;
        let (mut to, mut relation) = (vec![0u32; edges], vec![0u8; edges]);
        let mut next = start.clone();
        each(&mut |from, target, kind| {
            let at = next[from as usize] as usize;
            to[at] = target;
            relation[at] = kind;
            next[from as usize] += 1;
        });
        budget.check()?;
        Ok(Graph {
            start,
            to,
            relation,
            relays,
        })
    }

    pub(super) fn vertices(&self) -> u32 {
        self.start.len().saturating_sub(1) as u32
    }

    pub(super) fn edges(&self) -> usize {
        self.to.len()
    }

    /// Where a vertex's edges are.
    pub(super) fn span(&self, vertex: u32) -> std::ops::Range<u32> {
        self.start[vertex as usize]..self.start[vertex as usize + 1]
    }

    /// The target and the relation of an edge.
    pub(super) fn edge(&self, edge: u32) -> (u32, u8) {
        (self.to[edge as usize], self.relation[edge as usize])
    }

    /// The edges of a vertex.
    pub(super) fn from(&self, vertex: u32) -> impl Iterator<Item = (u32, u8)> + '_ {
        self.span(vertex).map(|edge| self.edge(edge))
    }

    pub(super) fn is_relay(&self, vertex: u32) -> bool {
        vertex >= self.relays
    }
}

/// The edges of a history.
pub(super) struct Edges<'a> {
    all: &'a Transactions,
    versions: &'a Versions,
    /// Committed transactions that are `ok`, by their ends.
    by_end: Vec<u32>,
    /// By key: the first of the relays between these reads and the appends that nobody read, or `NONE`.
    tail_relays: Vec<u32>,
    first_moment: u32,
    vertices: u32,
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
        budget.charge(all.len() * 4 + all.keys.len() * 8)?;
        let ended = |t: &u32| all.is_ok(*t) && all.complete[*t as usize] != NONE;
        let mut by_end: Vec<u32> = (0..transactions).filter(ended).collect();
        by_end.sort_unstable_by_key(|t| all.complete[*t as usize]);
        budget.check()?;

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
        let tail_relays = (0..all.keys.len() as u32).map(|key| {
            let (unread, readers) = (
                versions.unread(key).len() as u64,
                u64::from(tail_readers[key as usize]),
            );
            if unread * readers <= 4 * (2 * unread + readers) {
                return NONE;
            }
            next += 2 * unread as u32;
            next - 2 * unread as u32
        });
        let tail_relays = tail_relays.collect();
        Ok(Edges {
            all,
            versions,
            // A moment needs somebody to end.
            vertices: next + by_end.len() as u32,
            by_end,
            tail_relays,
            first_moment: next,
            guess: None,
        })
    }

    /// With a possible order of the appends that nobody read, which is otherwise left open: as their transactions are ranked, the
    /// highest first, and else as they ended.
    pub(super) fn guess(&mut self, rank: Vec<u32>) {
        self.guess = Some(rank);
    }

    /// Whether a key has several appends that nobody read, by transactions of one component. Elsewhere any order that fits the
    /// other dependencies will do.
    pub(super) fn is_contested(&self, component: &[u32]) -> bool {
        (0..self.all.keys.len() as u32).any(|key| {
            let unread = self.versions.unread(key).iter();
            let mut places: Vec<(u32, u32)> = unread
                .map(|writer| (component[writer.transaction as usize], writer.transaction))
                .collect();
            places.sort_unstable();
            places.dedup();
            places.windows(2).any(|pair| pair[0].0 == pair[1].0)
        })
    }

    /// The graph of them all, and whether any of them comes from a read or a write.
    pub(super) fn graph(&self, budget: &dyn Budget) -> Result<(Graph, bool), Exhausted> {
        let depends = std::cell::Cell::new(false);
        let each = |visit: Sink| {
            let mut watch = |from, to, relation| {
                if relation & DEPENDENCIES != 0 {
                    depends.set(true);
                }
                visit(from, to, relation);
            };
            self.each_dependency(&mut watch);
            self.each_process(&mut watch);
            self.each_moment(&mut watch);
        };
        let graph = Graph::build(self.vertices, self.all.len() as u32, &each, budget)?;
        Ok((graph, depends.get()))
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
            let mut guess = unread.to_vec();
            guess.sort_by_key(|writer| {
                let at = writer.transaction as usize;
                (std::cmp::Reverse(rank[at]), self.all.complete[at])
            });
            for pair in guess
                .windows(2)
                .filter(|pair| pair[0].transaction != pair[1].transaction)
            {
                visit(pair[0].transaction, pair[1].transaction, WW);
            }
        }
        let relays = self.tail_relays[key as usize];
        if relays == NONE {
            return;
        }
        // Of each two, the first leads to this append and all after it, the second to this and all before.
        for (at, writer) in (0u32..).zip(unread) {
            let (after, before) = (relays + 2 * at, relays + 2 * at + 1);
            visit(after, writer.transaction, HOP);
            visit(before, writer.transaction, HOP);
            if at + 1 < unread.len() as u32 {
                visit(after, after + 2, HOP);
                visit(before + 2, before, HOP);
            }
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
        let relays = self.tail_relays[key as usize];
        // Of a read that ends before versions that failed, the relays do not know.
        if relays == NONE || length < self.all.keys[key as usize].order.len() as u32 {
            for writer in unread.iter().filter(|writer| writer.transaction != reader) {
                visit(reader, writer.transaction, RW);
            }
            return;
        }
        let first = unread.partition_point(|writer| writer.transaction < reader) as u32;
        let after = unread.partition_point(|writer| writer.transaction <= reader) as u32;
        if first > 0 {
            visit(reader, relays + 2 * (first - 1) + 1, RW);
        }
        if (after as usize) < unread.len() {
            visit(reader, relays + 2 * after, RW);
        }
    }

    fn each_process(&self, visit: Sink) {
        let mut last = vec![NONE; self.all.processes.len()];
        for transaction in 0..self.all.len() as u32 {
            if !self.versions.committed[transaction as usize] {
                continue;
            }
            let last = &mut last[self.all.process[transaction as usize] as usize];
            if *last != NONE {
                visit(*last, transaction, PROCESS);
            }
            if self.all.outcome[transaction as usize] == Outcome::Ok {
                *last = transaction;
            }
        }
    }

    fn each_moment(&self, visit: Sink) {
        let (mut next, mut moment) = (self.by_end.iter().peekable(), NONE);
        for transaction in 0..self.all.len() as u32 {
            let invoke = self.all.invoke[transaction as usize];
            if invoke == NONE || !self.versions.committed[transaction as usize] {
                continue;
            }
            let before = moment;
            while let Some(ended) =
                next.next_if(|ended| self.all.complete[**ended as usize] < invoke)
            {
                if moment == before {
                    moment = if before == NONE {
                        self.first_moment
                    } else {
                        before + 1
                    };
                    if before != NONE {
                        visit(before, moment, HOP);
                    }
                }
                visit(*ended, moment, REALTIME);
            }
            if moment != NONE {
                visit(moment, transaction, HOP);
            }
        }
    }
}
