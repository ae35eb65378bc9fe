//! The dependency graph: which transaction comes before which, and why.
//!
//! Vertices are transactions, and *relays*: vertices that stand for a set of transactions, where edges from many to many would
//! be too many. An edge into a relay has a relation; those from it are hops, which cost nothing and say nothing. Real time
//! needs a relay for each moment at which some transactions have ended before others begin, and so as many edges as there
//! are transactions, where a plain reduction has as many as there are pairs of concurrent ones.
//!
//! The edges of a vertex are one stretch of an array (compressed sparse rows). They are enumerated twice, to be counted and to be
//! stored, so that they are never held in any other form.

use std::cell::Cell;

use super::history::{Outcome, Transactions};
use super::values::NONE;
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
/// The source's version of a key was overwritten by the target's, as some transaction saw both and read the latter (registers).
pub(super) const OVERWRITTEN: u8 = 64;
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

/// Edges from many readers of a version to all who wrote the next: each reader comes before each of these but itself.
///
/// Where that would be too many, there are relays, two for each target: of each two, the first leads to this target
/// and all after it, the second to this and all before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fan {
    /// The first relay, or `NONE`.
    relays: u32,
}

impl Fan {
    /// One without relays.
    pub(super) const NONE: Fan = Fan { relays: NONE };

    /// A fan, which takes its relays from `next` on, if it needs any.
    pub(super) fn new(readers: u32, targets: usize, next: &mut u32) -> Fan {
        let (targets, readers) = (targets as u64, u64::from(readers));
        if targets * readers <= 4 * (2 * targets + readers) {
            return Fan::NONE;
        }
        let relays = *next;
        *next += 2 * targets as u32;
        Fan { relays }
    }

    /// The hops from its relays. Targets ascend, and are the same at each call.
    pub(super) fn each_hop(self, targets: impl ExactSizeIterator<Item = u32>, visit: Sink) {
        if self.relays == NONE {
            return;
        }
        let count = targets.len() as u32;
        for (at, target) in (0u32..).zip(targets) {
            let (after, before) = (self.relays + 2 * at, self.relays + 2 * at + 1);
            visit(after, target, HOP);
            visit(before, target, HOP);
            if at + 1 < count {
                visit(after, after + 2, HOP);
                visit(before + 2, before, HOP);
            }
        }
    }

    /// The edges of a reader.
    pub(super) fn each_of<T>(
        self,
        reader: u32,
        targets: &[T],
        transaction: impl Fn(&T) -> u32,
        visit: Sink,
    ) {
        if self.relays == NONE {
            let others = targets.iter().map(transaction);
            for target in others.filter(|target| *target != reader) {
                visit(reader, target, RW);
            }
            return;
        }
        let first = targets.partition_point(|target| transaction(target) < reader) as u32;
        let after = targets.partition_point(|target| transaction(target) <= reader) as u32;
        if first > 0 {
            visit(reader, self.relays + 2 * (first - 1) + 1, RW);
        }
        if (after as usize) < targets.len() {
            visit(reader, self.relays + 2 * after, RW);
        }
    }
}

/// What comes before what by the clock: the order of each process, and real time.
pub(super) struct Time<'a> {
    all: &'a Transactions,
    committed: &'a [bool],
    /// Committed transactions that are `ok`, by their ends.
    by_end: Vec<u32>,
    first_moment: u32,
}

impl<'a> Time<'a> {
    /// Its moments are vertices from `next` on.
    pub(super) fn new(
        all: &'a Transactions,
        committed: &'a [bool],
        next: u32,
        budget: &dyn Budget,
    ) -> Result<Time<'a>, Exhausted> {
        budget.charge(all.len() * 4)?;
        let ended = |t: &u32| all.is_ok(*t) && all.complete[*t as usize] != NONE;
        let mut by_end: Vec<u32> = (0..all.len() as u32).filter(ended).collect();
        by_end.sort_unstable_by_key(|t| all.complete[*t as usize]);
        budget.check()?;
        Ok(Time {
            all,
            committed,
            by_end,
            first_moment: next,
        })
    }

    /// The first vertex after its moments.
    pub(super) fn end(&self) -> u32 {
        // A moment needs somebody to end.
        self.first_moment + self.by_end.len() as u32
    }

    /// The graph of dependencies and of what comes before what, and whether there are any dependencies.
    pub(super) fn graph(
        &self,
        each_dependency: &dyn Fn(Sink),
        budget: &dyn Budget,
    ) -> Result<(Graph, bool), Exhausted> {
        let depends = Cell::new(false);
        let each = |visit: Sink| {
            each_dependency(&mut |from, to, relation| {
                if relation & DEPENDENCIES != 0 {
                    depends.set(true);
                }
                visit(from, to, relation);
            });
            self.each_process(visit);
            self.each_moment(visit);
        };
        let graph = Graph::build(self.end(), self.all.len() as u32, &each, budget)?;
        Ok((graph, depends.get()))
    }

    /// The order of each process.
    pub(super) fn each_process(&self, visit: Sink) {
        let mut last = vec![NONE; self.all.processes.len()];
        for transaction in 0..self.all.len() as u32 {
            if !self.committed[transaction as usize] {
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

    /// Real time.
    pub(super) fn each_moment(&self, visit: Sink) {
        let (mut next, mut moment) = (self.by_end.iter().peekable(), NONE);
        for transaction in 0..self.all.len() as u32 {
            let invoke = self.all.invoke[transaction as usize];
            if invoke == NONE || !self.committed[transaction as usize] {
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
