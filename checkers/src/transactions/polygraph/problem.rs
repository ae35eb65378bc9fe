//! Observations at a level, as moments that want an order.
//!
//! | level | moments of `t` | a read of `w`'s `x` by `r`, and another writer `s` of `x` | writers `t`, `s` of `x` |
//! | --- | --- | --- | --- |
//! | serializable | one | `w` < `r`, and `s` < `w` or `r` < `s` | |
//! | snapshot isolation | begin `Bt` < commit `Ct` | `Cw` < `Br`, and `Cs` < `Bw` or `Br` < `Cs` | `Ct` < `Bs` or `Cs` < `Bt` |
//! | prefix | begin `Bt` < commit `Ct` | `Cw` < `Br`, and `Cs` < `Cw` or `Br` < `Cs` | |
//!
//! Besides the moments of transactions there are *relays*, which keep the number of edges linear: one for each end in real time
//! (each end leads to its relay, each relay to the next, and the last before a begin to the begin), and one for each key (those
//! that read its initial value lead to it, and it leads to all that write the key; of lists: `lists.rs`).

use super::graph::{Graph, Why};
use super::level::{Level, Model, Respects};
use super::lists;
use super::observations::{INITIAL, Observations};
use super::{Moment, NONE};

/// Lists of numbers by number.
pub(super) struct Lists {
    start: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// Of pairs of a number below `count` and an item, in their order.
    fn of(count: u32, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Lists {
        let mut start = vec![0u32; count as usize + 1];
        pairs
            .clone()
            .for_each(|(list, _)| start[list as usize + 1] += 1);
        (0..count as usize).for_each(|at| start[at + 1] += start[at]);
        let mut next = start.clone();
        let mut items = vec![0; start[count as usize] as usize];
        for (list, item) in pairs {
            items[next[list as usize] as usize] = item;
            next[list as usize] += 1;
        }
        Lists { start, items }
    }

    pub(super) fn of_list(&self, list: u32) -> &[u32] {
        let at = list as usize;
        &self.items[self.start[at] as usize..self.start[at + 1] as usize]
    }
}

/// What has to hold besides the edges: one of a few things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Constraint {
    /// The read saw `writer`, so `other`, which wrote the key too, is not between them.
    Between { read: u32, writer: u32, other: u32 },
    /// Both wrote a key, so one commits before the other begins.
    Exclusive { one: u32, other: u32 },
    /// The read saw one of those that wrote its value.
    Choice { read: u32 },
}

/// Observations at a level.
pub(super) struct Problem<'a> {
    pub(super) seen: &'a Observations,
    pub(super) level: Level,
    pub(super) keys: u32,
    /// Writers by key.
    pub(super) writers: Lists,
    /// Reads by key.
    pub(super) reads: Lists,
    /// Who made each read.
    pub(super) reader: Vec<u32>,
    /// Ends in real time, ascending, with who ended.
    ends: Vec<(u32, u32)>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(seen: &'a Observations, level: Level) -> Problem<'a> {
        let keys = seen.keys();
        let transactions = || 0..seen.len();
        let writes =
            transactions().flat_map(|one| seen.writes(one).iter().map(move |key| (*key, one)));
        let mut reader = Vec::with_capacity(seen.read_count());
        transactions().for_each(|one| reader.extend(seen.reads(one).map(|_| one)));
        let reads = (0..seen.read_count()).map(|read| (seen.key(read), read as u32));
        let mut ends = Vec::new();
        if level.respects == Respects::RealTime {
            let ended = (0u32..).zip(&seen.end).filter(|(_, end)| **end != NONE);
            ends.extend(ended.map(|(one, end)| (*end, one)));
            ends.sort_unstable();
        }
        Problem {
            seen,
            level,
            keys,
            writers: Lists::of(keys, writes),
            reads: Lists::of(keys, reads),
            reader,
            ends,
        }
    }

    /// How many bytes one of these observations takes, about.
    pub(super) fn bytes(seen: &Observations) -> usize {
        let writes: usize = (0..seen.len()).map(|one| seen.writes(one).len()).sum();
        let lists = 2 * seen.keys() as usize + writes + seen.read_count();
        (lists + seen.read_count() + 2 * seen.len() as usize) * 4
    }

    /// Whether begin and commit are two.
    pub(super) fn split(&self) -> bool {
        self.level.model != Model::Serializable
    }

    /// Whether those that write a key exclude each other.
    pub(super) fn exclusive(&self) -> bool {
        self.level.model == Model::SnapshotIsolation
    }

    /// Whether anything is known to have ended before anything.
    pub(super) fn timed(&self) -> bool {
        !self.ends.is_empty()
    }

    /// The moment at which a transaction reads.
    pub(super) fn begin(&self, transaction: u32) -> u32 {
        transaction << u32::from(self.split())
    }

    /// The moment at which it writes.
    pub(super) fn commit(&self, transaction: u32) -> u32 {
        self.begin(transaction) + u32::from(self.split())
    }

    /// The moment before which those that it overwrites must have written.
    pub(super) fn enter(&self, transaction: u32) -> u32 {
        match self.level.model {
            Model::SnapshotIsolation => self.begin(transaction),
            Model::Serializable | Model::Prefix => self.commit(transaction),
        }
    }

    /// How many moments transactions have.
    pub(super) fn moments(&self) -> u32 {
        self.begin(self.seen.len())
    }

    /// How many points there are: moments and relays.
    pub(super) fn points(&self) -> u32 {
        self.moments() + self.ends.len() as u32 + self.keys
    }

    /// Whose moment a point is. `None` for relays.
    pub(super) fn transaction(&self, point: u32) -> Option<u32> {
        (point < self.moments()).then_some(point >> u32::from(self.split()))
    }

    /// What a point is to the outside.
    pub(super) fn moment(&self, point: u32) -> Option<Moment> {
        let one = self.transaction(point)?;
        Some(if point == self.commit(one) {
            Moment::Commit(one)
        } else {
            Moment::Begin(one)
        })
    }

    /// The transactions of a read: who made it, and who else wrote its key.
    pub(super) fn others(&self, read: u32) -> impl Iterator<Item = u32> {
        let (reader, seen) = (self.reader[read as usize], self.seen);
        let writers = self
            .writers
            .of_list(seen.key(read as usize))
            .iter()
            .copied();
        writers.filter(move |one| *one != reader && !seen.candidates(read as usize).contains(one))
    }

    /// Whether who made a read also wrote its key.
    pub(super) fn writes_too(&self, read: u32) -> bool {
        let key = self.seen.key(read as usize);
        self.seen.writes(self.reader[read as usize]).contains(&key)
    }

    /// The only one whom a read can have seen, if it is one.
    pub(super) fn source(&self, read: u32) -> Option<u32> {
        match self.seen.candidates(read as usize) {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// What holds in any order.
    pub(super) fn graph(&self) -> Graph {
        let mut graph = Graph::new(self.points());
        let mut add = |from, to| graph.add(from, to, Why::Base);
        let mut last: rustc_hash::FxHashMap<u32, u32> = rustc_hash::FxHashMap::default();
        for one in 0..self.seen.len() {
            if self.split() {
                add(self.begin(one), self.commit(one));
            }
            let session = self.seen.session[one as usize];
            if self.level.respects != Respects::Nothing && session != NONE {
                if let Some(before) = last.get(&session) {
                    add(self.commit(*before), self.begin(one));
                }
                if !self.seen.open[one as usize] {
                    last.insert(session, one);
                }
            }
        }
        for read in 0..self.reader.len() as u32 {
            if let Some(source) = self.source(read).filter(|one| *one != INITIAL) {
                add(self.commit(source), self.begin(self.reader[read as usize]));
            }
        }
        let relays = self.moments();
        for (at, (_, one)) in (0u32..).zip(&self.ends) {
            add(self.commit(*one), relays + at);
            if at > 0 {
                add(relays + at - 1, relays + at);
            }
        }
        for one in 0..self.seen.len() {
            let begin = self.seen.begin[one as usize];
            let ended = self.ends.partition_point(|(end, _)| *end < begin) as u32;
            if begin != NONE && ended > 0 {
                add(relays + ended - 1, self.begin(one));
            }
        }
        for key in 0..self.keys {
            self.initial(key, relays + self.ends.len() as u32 + key, &mut add);
        }
        if self.seen.has_places() {
            lists::each_edge(self, relays + self.ends.len() as u32, &mut add);
        }
        graph
    }

    /// Who saw the initial value of a key comes before all who wrote it.
    fn initial(&self, key: u32, relay: u32, add: &mut impl FnMut(u32, u32)) {
        let writers = self.writers.of_list(key);
        let reads = self.reads.of_list(key).iter();
        let initial = reads.filter(|read| self.source(**read) == Some(INITIAL));
        let mut before = BeforeAll::of(writers, relay);
        for reader in initial.map(|read| self.reader[*read as usize]) {
            let writes = self.seen.writes(reader).contains(&key);
            before.reader(self, reader, writes, add);
        }
        before.end(self, add);
    }
}

/// That readers come before all of some writers, in as many edges as there are of both.
pub(super) struct BeforeAll<'a> {
    writers: &'a [u32],
    /// A point that leads to all of them, and whether anything leads there.
    relay: u32,
    relayed: bool,
    /// How many readers were among them.
    updates: u32,
}

impl<'a> BeforeAll<'a> {
    pub(super) fn of(writers: &'a [u32], relay: u32) -> BeforeAll<'a> {
        BeforeAll {
            writers,
            relay,
            relayed: false,
            updates: 0,
        }
    }

    /// A reader; `is_among` if it must not come before itself.
    pub(super) fn reader(
        &mut self,
        problem: &Problem<'_>,
        reader: u32,
        is_among: bool,
        add: &mut impl FnMut(u32, u32),
    ) {
        if !is_among {
            self.relayed = true;
            add(problem.begin(reader), self.relay);
        } else if self.updates < 2 {
            // Where two saw nothing of them and wrote, there is a cycle already.
            self.updates += 1;
            let others = self.writers.iter().filter(|one| **one != reader);
            others.for_each(|one| add(problem.begin(reader), problem.commit(*one)));
        }
    }

    pub(super) fn end(self, problem: &Problem<'_>, add: &mut impl FnMut(u32, u32)) {
        let writers = self.writers.iter().filter(|_| self.relayed);
        writers.for_each(|one| add(self.relay, problem.commit(*one)));
    }
}
