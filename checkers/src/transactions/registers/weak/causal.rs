//! Causal consistency: who comes after a transaction, through reads and sessions, reads nothing older than its writes.
//!
//! Cerone et al. 2015; with sessions, what Biswas and Enea call causal consistency.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::super::graph::{Graph, PROCESS, Sink, WR};
use super::super::super::values::NONE;
use super::super::versions::INITIAL;
use super::chains::Clocks;
use super::{Conclusion, Weak};
use crate::budget::{Budget, Exhausted};

/// How many transactions pass between two looks at the budget.
const LOOK: u32 = 1 << 12;

/// A write of a key, in a list of those of a chain.
struct Write {
    transaction: u32,
    /// The one before it in its chain, or `NONE`.
    before: u32,
    /// One further before it, such that any can be reached in few steps.
    jump: u32,
    depth: u32,
}

/// The last write of a key in a chain, and the next such of another chain.
struct Last {
    chain: u32,
    write: u32,
    next: u32,
}

/// The writes of all keys, chain by chain.
struct Writes {
    all: Vec<Write>,
    last: Vec<Last>,
    /// By key.
    first: Vec<u32>,
}

impl Writes {
    fn new(keys: usize) -> Writes {
        Writes {
            all: Vec::new(),
            last: Vec::new(),
            first: vec![NONE; keys],
        }
    }

    /// The last writes of a key, one of each chain.
    fn of(&self, key: u32) -> impl Iterator<Item = &Last> {
        let at = |at: u32| self.last.get(at as usize);
        std::iter::successors(at(self.first[key as usize]), move |last| at(last.next))
    }

    fn add(&mut self, key: u32, chain: u32, transaction: u32) {
        let number = self.all.len() as u32;
        let mut at = self.first[key as usize];
        while at != NONE && self.last[at as usize].chain != chain {
            at = self.last[at as usize].next;
        }
        let before = match at {
            NONE => {
                self.last.push(Last {
                    chain,
                    write: number,
                    next: self.first[key as usize],
                });
                self.first[key as usize] = self.last.len() as u32 - 1;
                NONE
            }
            at => std::mem::replace(&mut self.last[at as usize].write, number),
        };
        let (jump, depth) = self.jump(before);
        self.all.push(Write {
            transaction,
            before,
            jump,
            depth,
        });
    }

    /// Where one after another jumps to: twice as far where the other's jump, and that one's, are as long (Myers 1983).
    fn jump(&self, before: u32) -> (u32, u32) {
        if before == NONE {
            return (NONE, 0);
        }
        let depth = |at: u32| match at {
            NONE => -1,
            at => i64::from(self.all[at as usize].depth),
        };
        let jump_of = |at: u32| match at {
            NONE => NONE,
            at => self.all[at as usize].jump,
        };
        let one = jump_of(before);
        let two = jump_of(one);
        let level = one != NONE && depth(before) - depth(one) == depth(one) - depth(two);
        (
            if level { two } else { before },
            self.all[before as usize].depth + 1,
        )
    }

    /// The last write of a chain's list among the first `seen` of the chain.
    fn last_before(&self, mut at: u32, seen: u32, clocks: &Clocks) -> Option<u32> {
        let is_seen = |at: u32| clocks.place(self.all[at as usize].transaction) <= seen;
        while at != NONE && !is_seen(at) {
            let Write { before, jump, .. } = self.all[at as usize];
            at = match jump != NONE && !is_seen(jump) {
                true => jump,
                false => before,
            };
        }
        (at != NONE).then(|| self.all[at as usize].transaction)
    }
}

/// Of all conclusions, enough; `None` if reads and sessions alone have a cycle.
pub(super) fn conclusions(
    weak: &Weak,
    budget: &dyn Budget,
) -> Result<Option<Vec<Conclusion>>, Exhausted> {
    let all = weak.all;
    let count = all.len() as u32;
    // A transaction may have read several writes of another, each of which is an edge.
    let each = |visit: Sink| {
        weak.each_before(true, &mut |from, to, relation| {
            if relation & (WR | PROCESS) != 0 {
                visit(from, to, relation);
            }
        });
    };
    let graph = Graph::build(count, count, &each, budget)?;
    budget.charge(all.len() * 24 + all.keys.len() * 4)?;
    let mut waits = vec![0u32; all.len()];
    each(&mut |_, to, _| waits[to as usize] += 1);
    let mut needed: Vec<u32> = (0..count).map(|one| graph.span(one).len() as u32).collect();
    let mut left = vec![0u32; all.processes.len()];
    let mut before = vec![NONE; all.len()];
    weak.time
        .each_process(&mut |from, to, _| before[to as usize] = from);
    let is_in = |transaction: &u32| weak.committed[*transaction as usize];
    for transaction in (0..count).filter(is_in) {
        left[all.process[transaction as usize] as usize] += 1;
    }

    let mut clocks = Clocks::new(all.len(), all.processes.len());
    let mut writes = Writes::new(all.keys.len());
    let mut found = Vec::new();
    let ready = (0..count).filter(|one| is_in(one) && waits[*one as usize] == 0);
    let mut ready: BinaryHeap<Reverse<u32>> = ready.map(Reverse).collect();
    let mut done = 0u32;
    while let Some(Reverse(transaction)) = ready.pop() {
        done += 1;
        if done.is_multiple_of(LOOK) {
            budget.check()?;
        }
        clocks.begin(transaction, budget)?;
        let session = before[transaction as usize];
        if session != NONE {
            clocks.join(transaction, session);
        }
        for (_, _, source) in weak.observed(transaction) {
            if source != INITIAL && source != session && !clocks.is_before(source, transaction) {
                clocks.join(transaction, source);
            }
        }
        conclude(weak, transaction, &clocks, &writes, &mut found);
        let process = all.process[transaction as usize];
        let finals = weak.versions.finals(transaction);
        if !finals.is_empty() {
            let chain = clocks.chain(transaction, process, budget)?;
            finals
                .iter()
                .for_each(|one| writes.add(one.key, chain, transaction));
        }
        left[process as usize] -= 1;
        if left[process as usize] == 0 {
            clocks.end(process);
        }
        for (next, _) in graph.from(transaction) {
            waits[next as usize] -= 1;
            if waits[next as usize] == 0 {
                ready.push(Reverse(next));
            }
        }
        let sources = weak.observed(transaction).map(|(_, _, source)| source);
        let consumed = sources.filter(|source| *source != INITIAL).chain([session]);
        for source in consumed.filter(|source| *source != NONE) {
            needed[source as usize] -= 1;
            if needed[source as usize] == 0 {
                clocks.forget(source);
            }
        }
        if needed[transaction as usize] == 0 {
            clocks.forget(transaction);
        }
    }
    budget.charge(found.len() * size_of::<Conclusion>())?;
    let whole = (0..count).filter(is_in).count() == done as usize;
    Ok(whole.then_some(found))
}

/// What a transaction's reads say of all writers before it.
fn conclude(
    weak: &Weak,
    reader: u32,
    clocks: &Clocks,
    writes: &Writes,
    found: &mut Vec<Conclusion>,
) {
    let clock = clocks.of(reader);
    for (_, key, after) in weak.observed(reader) {
        for last in writes.of(key) {
            let seen = clock[last.chain as usize];
            let Some(before) = writes.last_before(last.write, seen, clocks) else {
                continue;
            };
            // That it comes before the other may be known already.
            let known = before == after || after != INITIAL && clocks.is_before(before, after);
            if !known {
                found.push(Conclusion {
                    before,
                    after,
                    reader,
                    key,
                });
            }
        }
    }
}
