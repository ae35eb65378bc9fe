//! Who comes before whom, in a table that is linear in the history.
//!
//! Transactions of a session (or any others of which each comes before the next) form a *chain*, and of a chain it is enough to
//! know the last that comes before a point: its clock (Fidge 1988, Mattern 1989). A history of `n` transactions in `k`
//! sessions needs a table of `n * k` numbers, not of `n * n` bits.
//!
//! Where there are too many chains, the longest are kept. What is in none is not seen to come before anything: that
//! leaves more to the search, and is never wrong.

use super::NONE;
use super::graph::Graph;
use super::level::Respects;
use super::problem::Problem;
use crate::budget::{Budget, Exhausted};

/// The most bytes that a table may take.
const TABLE_MAX: usize = 768 << 20;

/// Chains of transactions.
pub(super) struct Chains {
    /// How many there are.
    pub(super) count: u32,
    /// Each transaction's, or `NONE`.
    pub(super) of: Vec<u32>,
    /// Its place in it, from 1.
    pub(super) place: Vec<u32>,
    scale: u32,
}

impl Chains {
    pub(super) fn new(problem: &Problem<'_>, graph: &Graph, sorted: &[u32], most: usize) -> Chains {
        let raw = match problem.level.respects {
            Respects::Sessions => sessions(problem),
            // Where nobody knows the time, sessions are what is left of it.
            Respects::RealTime if !problem.timed() => sessions(problem),
            Respects::RealTime => intervals(problem),
            Respects::Nothing => greedy(problem, graph, sorted),
        };
        let bytes = problem.points() as usize * 4;
        let most = (TABLE_MAX / bytes.max(1)).clamp(1, most);
        let (of, count) = longest(&raw, most);
        let mut length = vec![0u32; count as usize];
        let mut place = vec![0u32; of.len()];
        // In the order of each chain: by number in sessions, by the sorted order everywhere.
        for point in sorted {
            let Some(one) = problem.transaction(*point) else {
                continue;
            };
            let (at, chain) = (one as usize, of[one as usize]);
            if chain != NONE && *point == problem.commit(one) {
                length[chain as usize] += 1;
                place[at] = length[chain as usize];
            }
        }
        Chains {
            count,
            of,
            place,
            scale: 1 + u32::from(problem.split()),
        }
    }

    /// The time of a transaction's commit in its chain.
    pub(super) fn commit(&self, transaction: u32) -> u32 {
        self.place[transaction as usize] * self.scale
    }

    /// The time of its begin. Means nothing, like that of its commit, where it is in no chain.
    pub(super) fn begin(&self, transaction: u32) -> u32 {
        (self.commit(transaction) + 1).saturating_sub(self.scale)
    }
}

/// Sessions, without those whose sessions went on while they may have been under way.
fn sessions(problem: &Problem<'_>) -> Vec<u32> {
    let all = problem.seen.session.iter().zip(&problem.seen.open);
    all.map(|(session, open)| if *open { NONE } else { *session })
        .collect()
}

/// Chains of transactions that ended before the next began, as few as can be.
fn intervals(problem: &Problem<'_>) -> Vec<u32> {
    let seen = problem.seen;
    let mut chain = vec![NONE; seen.len() as usize];
    let timed = |one: &u32| seen.begin[*one as usize] != NONE && seen.end[*one as usize] != NONE;
    let mut begins: Vec<u32> = (0..seen.len()).filter(timed).collect();
    let mut ends = begins.clone();
    begins.sort_unstable_by_key(|one| seen.begin[*one as usize]);
    ends.sort_unstable_by_key(|one| seen.end[*one as usize]);
    let (mut free, mut count, mut ended) = (Vec::new(), 0, 0);
    for one in begins {
        while seen.end[ends[ended] as usize] < seen.begin[one as usize] {
            free.push(chain[ends[ended] as usize]);
            ended += 1;
        }
        chain[one as usize] = free.pop().unwrap_or_else(|| {
            count += 1;
            count - 1
        });
    }
    chain
}

/// Chains along edges: each transaction goes on a chain that ends with one that leads to it, if there is one.
fn greedy(problem: &Problem<'_>, graph: &Graph, sorted: &[u32]) -> Vec<u32> {
    let mut chain = vec![NONE; problem.seen.len() as usize];
    let mut last: Vec<u32> = Vec::new();
    for point in sorted {
        let Some(one) = problem.transaction(*point) else {
            continue;
        };
        if *point != problem.begin(one) {
            continue;
        }
        let before = graph.entering(*point).map(|edge| graph.from[edge as usize]);
        let before = before.filter_map(|from| {
            problem
                .transaction(from)
                .filter(|other| from == problem.commit(*other))
        });
        let free = |other: &u32| last[chain[*other as usize] as usize] == *other;
        let found = before
            .filter(|other| chain[*other as usize] != NONE)
            .find(free);
        chain[one as usize] = found.map_or(last.len() as u32, |other| chain[other as usize]);
        match found {
            Some(_) => last[chain[one as usize] as usize] = one,
            None => last.push(one),
        }
    }
    chain
}

/// The longest chains, numbered anew from 0, and how many they are.
fn longest(raw: &[u32], most: usize) -> (Vec<u32>, u32) {
    let mut length: rustc_hash::FxHashMap<u32, u32> = rustc_hash::FxHashMap::default();
    for chain in raw.iter().filter(|one| **one != NONE) {
        *length.entry(*chain).or_default() += 1;
    }
    let mut order: Vec<(u32, u32)> = length.into_iter().collect();
    order.sort_unstable_by_key(|(chain, length)| (u32::MAX - length, *chain));
    order.truncate(most);
    let number: rustc_hash::FxHashMap<u32, u32> = order
        .iter()
        .zip(0..)
        .map(|((chain, _), number)| (*chain, number))
        .collect();
    let of = raw
        .iter()
        .map(|one| number.get(one).copied().unwrap_or(NONE));
    (of.collect(), order.len() as u32)
}

/// For each point, how far each chain has come before it, itself included.
pub(super) struct Clocks {
    chains: usize,
    table: Vec<u32>,
    /// The points whose clocks were set anew last.
    pub(super) changed: Vec<bool>,
}

impl Clocks {
    pub(super) fn bytes(chains: &Chains, points: u32) -> usize {
        chains.count as usize * points as usize * 4
    }

    pub(super) fn new(chains: &Chains, points: u32) -> Clocks {
        let chains = chains.count as usize;
        Clocks {
            chains,
            table: vec![0; chains * points as usize],
            changed: vec![false; points as usize],
        }
    }

    /// Reads the clocks off a sorted graph, in which the edges from `new` on are new.
    pub(super) fn set(
        &mut self,
        problem: &Problem<'_>,
        chains: &Chains,
        graph: &Graph,
        sorted: &[u32],
        new: u32,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let width = self.chains;
        let mut clock = vec![0u32; width];
        for (at, point) in sorted.iter().enumerate() {
            if at.is_multiple_of(1 << 12) {
                budget.check()?;
            }
            let mut sources = graph.entering(*point);
            let touched = new == 0
                || sources
                    .any(|edge| edge >= new || self.changed[graph.from[edge as usize] as usize]);
            self.changed[*point as usize] = touched;
            if !touched {
                continue;
            }
            let own = *point as usize * width;
            clock.copy_from_slice(&self.table[own..own + width]);
            for edge in graph.entering(*point) {
                let from = graph.from[edge as usize] as usize * width;
                for (mine, theirs) in clock.iter_mut().zip(&self.table[from..from + width]) {
                    *mine = (*mine).max(*theirs);
                }
            }
            if let Some(one) = problem.transaction(*point) {
                let chain = chains.of[one as usize];
                if chain != NONE {
                    clock[chain as usize] = if *point == problem.commit(one) {
                        chains.commit(one)
                    } else {
                        chains.begin(one)
                    };
                }
            }
            let old = &mut self.table[own..own + width];
            self.changed[*point as usize] = new == 0 || *old != clock[..];
            old.copy_from_slice(&clock);
        }
        Ok(())
    }

    /// How far each chain has come before a point.
    pub(super) fn of(&self, point: u32) -> &[u32] {
        let own = point as usize * self.chains;
        &self.table[own..own + self.chains]
    }
}
