//! All ways to understand what counters show: who wrote in which order, and so which dependencies there are, by their definitions.

use store::EventType;

use super::{KEYS, Mop, Txn, before};
use crate::oracle::Order;

/// Which cycles the dependencies of an understanding of a history have: by base, of how many anti-dependencies (no, one, none in a
/// row, any).
pub(super) type Cycles = [[bool; 4]; 3];

/// A relation among few, by rows of bits.
#[derive(Clone)]
struct Pairs(Vec<u32>);

impl Pairs {
    fn none(count: usize) -> Pairs {
        Pairs(vec![0; count])
    }

    fn and(&self, other: &Pairs) -> Pairs {
        Pairs(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(one, two)| one | two)
                .collect(),
        )
    }

    fn then(&self, next: &Pairs) -> Pairs {
        let row = |row: &u32| {
            let through = (0..self.0.len()).filter(|at| row >> at & 1 == 1);
            through.fold(0, |all, at| all | next.0[at])
        };
        Pairs(self.0.iter().map(row).collect())
    }

    fn closed(&self) -> Pairs {
        let mut all = self.clone();
        for _ in 0..self.0.len() {
            all = all.and(&all.then(self));
        }
        all
    }

    fn is_cyclic(&self) -> bool {
        let closed = self.closed();
        (0..self.0.len()).any(|at| closed.0[at] >> at & 1 == 1)
    }
}

/// A read before the reader's own increments: reader, key, sum.
fn clean(txns: &[Txn]) -> Vec<(usize, usize, u64)> {
    let mut all = Vec::new();
    for (at, txn) in txns
        .iter()
        .enumerate()
        .filter(|(_, txn)| txn.outcome == EventType::Ok)
    {
        let mut own = [false; KEYS];
        for mop in &txn.mops {
            match mop {
                Mop::Inc(key, _) => own[*key] = true,
                Mop::Read(key, sum) if !own[*key] => all.push((at, *key, *sum)),
                Mop::Read(..) => {}
            }
        }
    }
    all
}

fn adds(txn: &Txn, key: usize) -> u64 {
    let of = txn.mops.iter().map(|mop| match mop {
        Mop::Inc(of, n) if *of == key => *n,
        _ => 0,
    });
    of.sum()
}

fn permutations(all: &[usize]) -> Vec<Vec<usize>> {
    if all.is_empty() {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for at in 0..all.len() {
        let mut rest = all.to_vec();
        let one = rest.remove(at);
        for mut more in permutations(&rest) {
            more.insert(0, one);
            found.push(more);
        }
    }
    found
}

/// Dependencies of a key by an order of its writers: between these, on those who are read, and of who is not. `None` where a read
/// shows what there never was.
fn dependencies(
    txns: &[Txn],
    key: usize,
    order: &[usize],
    reads: &[(usize, usize, u64)],
) -> Option<(Pairs, Pairs)> {
    let (mut depends, mut anti) = (Pairs::none(txns.len()), Pairs::none(txns.len()));
    for pair in order.windows(2) {
        depends.0[pair[0]] |= 1 << pair[1];
    }
    for (reader, _, sum) in reads.iter().filter(|(_, of, _)| *of == key) {
        let mut there = 0;
        let mut count = 0;
        while there < *sum {
            there += adds(&txns[*order.get(count)?], key);
            count += 1;
        }
        if there != *sum {
            return None;
        }
        if let Some(last) = count.checked_sub(1).map(|last| order[last]) {
            // What it does later cannot be read: a cycle, however short.
            depends.0[last] |= 1 << reader;
        }
        if let Some(next) = order.get(count).filter(|next| *next != reader) {
            anti.0[*reader] |= 1 << next;
        }
    }
    Some((depends, anti))
}

/// All understandings of a history, by their cycles and whether an update is lost: who of unknown outcome happened, and in which order
/// each key was written.
pub(super) fn understandings(txns: &[Txn]) -> Vec<(Cycles, bool)> {
    let reads = clean(txns);
    let unknown = |at: &usize| txns[*at].outcome == EventType::Info;
    let doubtful: Vec<usize> = (0..txns.len()).filter(unknown).collect();
    let is_lost = lost_update(txns, &reads);
    let mut all = Vec::new();
    for choice in 0u32..1 << doubtful.len() {
        let happened = |at: usize| match doubtful.iter().position(|one| *one == at) {
            Some(bit) => choice >> bit & 1 == 1,
            None => txns[at].outcome == EventType::Ok,
        };
        let by_key = (0..KEYS).map(|key| {
            let writes = |at: &usize| happened(*at) && adds(&txns[*at], key) > 0;
            let writers: Vec<usize> = (0..txns.len()).filter(writes).collect();
            let orders = permutations(&writers);
            let found = orders
                .iter()
                .filter_map(|order| dependencies(txns, key, order, &reads));
            found.collect::<Vec<_>>()
        });
        let by_key: Vec<_> = by_key.collect();
        for (depends, anti) in &by_key[0] {
            for (more, others) in &by_key[1] {
                let (depends, anti) = (depends.and(more), anti.and(others));
                let cycles = [Order::Free, Order::Sessions, Order::Realtime].map(|order| {
                    let mut first = depends.clone();
                    for one in (0..txns.len()).filter(|one| happened(*one)) {
                        for other in (0..txns.len()).filter(|other| happened(*other)) {
                            if before(&txns[one], &txns[other], order) {
                                first.0[one] |= 1 << other;
                            }
                        }
                    }
                    let closed = first.closed();
                    let single = closed.then(&anti);
                    let apart = closed.and(&anti.then(&closed));
                    [
                        first.is_cyclic(),
                        (0..txns.len()).any(|at| single.0[at] >> at & 1 == 1),
                        apart.is_cyclic(),
                        first.and(&anti).is_cyclic(),
                    ]
                });
                all.push((cycles, is_lost));
            }
        }
    }
    all
}

fn lost_update(txns: &[Txn], reads: &[(usize, usize, u64)]) -> bool {
    let updates = |(at, key, _): &&(usize, usize, u64)| adds(&txns[*at], *key) > 0;
    let updates: Vec<_> = reads.iter().filter(updates).collect();
    updates.iter().any(|(one, key, sum)| {
        let same =
            |(other, of, read): &&&(usize, usize, u64)| one != other && key == of && sum == read;
        updates.iter().any(|update| same(&update))
    })
}
