//! An order to begin with: the store replayed, as far as that goes.
//!
//! Points are taken when all that leads to them has been taken, those first that are first in real time (or, where that is not
//! known, in the depth of the graph and then as handed in). But a writer waits as long as somebody who saw what it
//! overwrites is still to come, and a reader waits until what it saw is there. Where writers of a key exclude each other, one does
//! not begin while another is under way. A snapshot may be older than real time says: where somebody who reads what is about to be
//! overwritten could begin, it does so first. When all wait, the first goes on, and some
//! read is wrong: the search will see to it. What real systems did is mostly explained by this alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::NONE;
use super::observations::INITIAL;
use super::problem::Problem;
use super::saturate::Facts;
use crate::budget::{Budget, Exhausted};

/// How many points are taken between two looks at the budget.
const LOOK: usize = 1 << 12;

/// By how many events others may overtake who is held up. What was under way together is mostly no further apart, and without a limit
/// one knot would tear the rest of the history apart.
const PATIENCE: u64 = 200;

type Queue = BinaryHeap<Reverse<(u64, u32)>>;

struct Replay<'a> {
    problem: &'a Problem<'a>,
    facts: &'a Facts,
    /// Whether ranks are times.
    is_timed: bool,
    rank: Vec<u64>,
    waits: Vec<u32>,
    ready: Queue,
    /// Ready, but overwrites what somebody has yet to read, or reads what is not there.
    held: Queue,
    taken: Vec<bool>,
    /// Who wrote each key last.
    current: Vec<u32>,
    /// How many of each writer's readers are to come, by place of the write.
    pending: rustc_hash::FxHashMap<(u32, u32), u32>,
    /// Where snapshots are moments of their own: who reads each version.
    readers: rustc_hash::FxHashMap<(u32, u32), Vec<u32>>,
    /// By key, who has begun and will write it, where they exclude each other.
    under_way: Vec<u32>,
    /// Who waits for a change of a key.
    waiting: Vec<Vec<u32>>,
    order: Vec<u32>,
}

/// All points, in an order with which the facts agree and few reads do not.
pub(super) fn guess(
    problem: &Problem<'_>,
    facts: &Facts,
    budget: &dyn Budget,
) -> Result<Vec<u32>, Exhausted> {
    let points = problem.points() as usize;
    let bytes = points * 64 + facts.source.len() * 32;
    budget.charge(bytes)?;
    let mut waits = vec![0; points];
    facts
        .graph
        .to
        .iter()
        .for_each(|to| waits[*to as usize] += 1);
    let mut pending = rustc_hash::FxHashMap::default();
    let mut readers: rustc_hash::FxHashMap<(u32, u32), Vec<u32>> = rustc_hash::FxHashMap::default();
    for (read, source) in facts
        .source
        .iter()
        .enumerate()
        .filter(|(_, source)| **source != NONE)
    {
        let version = (problem.seen.key(read), *source);
        *pending.entry(version).or_default() += 1;
        if problem.split() {
            readers
                .entry(version)
                .or_default()
                .push(problem.reader[read]);
        }
    }
    let mut replay = Replay {
        problem,
        facts,
        is_timed: problem.seen.begin.iter().all(|begin| *begin != NONE),
        rank: ranks(problem, facts),
        waits,
        ready: Queue::new(),
        held: Queue::new(),
        taken: vec![false; points],
        current: vec![INITIAL; problem.keys as usize],
        pending,
        readers,
        under_way: vec![
            NONE;
            if problem.exclusive() {
                problem.keys as usize
            } else {
                0
            }
        ],
        waiting: vec![Vec::new(); problem.keys as usize],
        order: Vec::with_capacity(points),
    };
    replay.run(budget)?;
    budget.release(bytes);
    Ok(replay.order)
}

fn ranks(problem: &Problem<'_>, facts: &Facts) -> Vec<u64> {
    let seen = problem.seen;
    let mut rank = vec![0u64; problem.points() as usize];
    // Depth first, for it costs little, and is what is left without times.
    for point in &facts.sorted {
        let into = facts
            .graph
            .entering(*point)
            .map(|edge| facts.graph.from[edge as usize]);
        let deepest = into.map(|from| rank[from as usize] + 1).max();
        rank[*point as usize] = deepest.unwrap_or(0);
    }
    for one in 0..seen.len() {
        let (begin, end) = (seen.begin[one as usize], seen.end[one as usize]);
        if begin != NONE || end != NONE {
            let end = if end == NONE { begin } else { end };
            rank[problem.begin(one) as usize] = u64::from(if begin == NONE { end } else { begin });
            rank[problem.commit(one) as usize] = u64::from(end);
        }
    }
    let moments = problem.moments() as usize;
    // Relays hold nothing up.
    rank[moments..].fill(0);
    rank
}

impl Replay<'_> {
    fn run(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        for point in 0..self.problem.points() {
            if self.waits[point as usize] == 0 {
                self.ready.push(Reverse((self.rank[point as usize], point)));
            }
        }
        loop {
            if self.order.len().is_multiple_of(LOOK) {
                budget.check()?;
            }
            let late = self.late();
            if let Some(point) = late {
                self.take(point);
            } else if let Some(Reverse((_, point))) = self.ready.pop() {
                if self.taken[point as usize] {
                    continue;
                }
                self.pull(point);
                match self.obstacle(point) {
                    None => self.take(point),
                    Some(key) => {
                        self.waiting[key as usize].push(point);
                        self.held.push(Reverse((self.rank[point as usize], point)));
                    }
                }
            } else if let Some(Reverse((_, point))) = self.held.pop() {
                if !self.taken[point as usize] {
                    self.take(point);
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Who was held up for so long that whoever is next is much later in real time.
    fn late(&mut self) -> Option<u32> {
        if !self.is_timed {
            return None;
        }
        let Reverse((next, _)) = *self.ready.peek()?;
        while let Some(Reverse((rank, point))) = self.held.peek().copied() {
            if !self.taken[point as usize] {
                let is_late = rank.saturating_add(PATIENCE) < next;
                return is_late.then(|| self.held.pop().map(|_| point)).flatten();
            }
            self.held.pop();
        }
        None
    }

    /// Lets those begin that read what a commit is about to overwrite, if they can.
    fn pull(&mut self, point: u32) {
        let Some(one) = self.problem.transaction(point) else {
            return;
        };
        if !self.problem.split() || point != self.problem.commit(one) {
            return;
        }
        for key in self.problem.seen.writes(one) {
            let version = (*key, self.current[*key as usize]);
            let readers = self.readers.remove(&version).unwrap_or_default();
            let mut left = Vec::new();
            for reader in readers {
                let begin = self.problem.begin(reader);
                if self.taken[begin as usize] {
                    continue;
                }
                if self.waits[begin as usize] == 0 && self.obstacle(begin).is_none() {
                    self.take(begin);
                } else {
                    left.push(reader);
                }
            }
            if !left.is_empty() {
                self.readers.insert(version, left);
            }
        }
    }

    /// A key for whose sake a point should wait.
    fn obstacle(&self, point: u32) -> Option<u32> {
        let one = self.problem.transaction(point)?;
        let seen = self.problem.seen;
        if point == self.problem.begin(one) {
            for read in seen
                .reads(one)
                .filter(|read| self.facts.source[*read] == NONE)
            {
                let key = seen.key(read);
                if !seen.candidates(read).contains(&self.current[key as usize]) {
                    return Some(key);
                }
            }
            let mut writes = seen.writes(one).iter().copied();
            let is_under_way = |key: &u32| {
                let other = self.under_way.get(*key as usize);
                other.is_some_and(|other| *other != NONE && *other != one)
            };
            if let Some(key) = writes.find(is_under_way) {
                return Some(key);
            }
        }
        if point != self.problem.commit(one) {
            return None;
        }
        let mine = |key: u32| -> u32 {
            let mut reads = seen.reads(one).filter(|_| point == self.problem.begin(one));
            let current = self.current[key as usize];
            reads
                .any(|read| seen.key(read) == key && self.facts.source[read] == current)
                .into()
        };
        let mut writes = seen.writes(one).iter().copied();
        writes.find(|key| {
            let left = self.pending.get(&(*key, self.current[*key as usize]));
            left.copied().unwrap_or(0) > mine(*key)
        })
    }

    fn take(&mut self, point: u32) {
        self.taken[point as usize] = true;
        self.order.push(point);
        if let Some(one) = self.problem.transaction(point) {
            if point == self.problem.begin(one) {
                self.read(one);
                for key in self.problem.seen.writes(one) {
                    if let Some(other) = self.under_way.get_mut(*key as usize) {
                        *other = one;
                    }
                }
            }
            if point == self.problem.commit(one) {
                for key in self.problem.seen.writes(one) {
                    self.current[*key as usize] = one;
                    if let Some(other) = self.under_way.get_mut(*key as usize) {
                        *other = NONE;
                    }
                    self.wake(*key);
                }
            }
        }
        for edge in self.facts.graph.leaving(point) {
            let to = self.facts.graph.to[edge as usize];
            self.waits[to as usize] -= 1;
            if self.waits[to as usize] == 0 {
                self.ready.push(Reverse((self.rank[to as usize], to)));
            }
        }
    }

    fn read(&mut self, one: u32) {
        for read in self.problem.seen.reads(one) {
            let (key, source) = (self.problem.seen.key(read), self.facts.source[read]);
            if let Some(left) = self.pending.get_mut(&(key, source)) {
                *left -= 1;
                // One that reads and writes may be all that is left.
                if *left <= 1 && self.current[key as usize] == source {
                    self.wake(key);
                }
            }
        }
    }

    fn wake(&mut self, key: u32) {
        for point in std::mem::take(&mut self.waiting[key as usize]) {
            if !self.taken[point as usize] {
                self.ready.push(Reverse((self.rank[point as usize], point)));
            }
        }
    }
}
