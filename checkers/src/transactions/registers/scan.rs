//! Anomalies of registers that are no cycles of transactions.

use rustc_hash::FxHashSet;

use super::super::anomaly::Anomaly;
use super::super::history::{Outcome, Transactions};
use super::super::scan::Sightings;
use super::super::values::NONE;
use super::given::Contradiction;
use super::order::Order;
use super::versions::{Past, Versions};
use crate::budget::{Budget, Exhausted};

/// How many transactions pass between two looks at the budget.
const LOOK: u32 = 1 << 14;

/// What single reads and pairs of transactions show.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) sightings: Sightings,
    /// A read, of several transactions' value, that none of them can have left there.
    pub(super) doubtful: Option<u32>,
}

/// Looks for all of them.
pub(super) fn scan(
    all: &Transactions,
    versions: &Versions,
    order: &Order,
    budget: &dyn Budget,
) -> Result<Seen, Exhausted> {
    let mut seen = Seen::default();
    let mut past = Past::new(all.keys.len());
    for transaction in 0..all.len() as u32 {
        if transaction.is_multiple_of(LOOK) {
            budget.check()?;
        }
        if all.is_ok(transaction) {
            one(all, versions, transaction, &mut past, &mut seen);
        }
    }
    for (version, transactions) in &order.lost {
        let key = versions.key(*version);
        for other in &transactions[1..] {
            let pair = [transactions[0], *other];
            seen.sightings.add(Anomaly::LostUpdate, key, &[], &pair);
        }
    }
    for one in &order.cyclic {
        let (key, codes) = (versions.key(one[0]), one.iter());
        let codes: Vec<u32> = codes.map(|version| versions.code(*version)).collect();
        // Who shows it is found when it is proved.
        seen.sightings
            .add(Anomaly::CyclicVersions, key, &codes, &[]);
    }
    for said in &order.given.contradictions {
        incompatible(versions, said, &mut seen);
    }
    Ok(seen)
}

/// What a database said of versions of a key that cannot be.
fn incompatible(versions: &Versions, said: &Contradiction, seen: &mut Seen) {
    let mut those = said.map(|said| said.version).to_vec();
    those.dedup();
    let codes: Vec<u32> = those.iter().map(|one| versions.code(*one)).collect();
    let mut transactions: Vec<u32> = said.iter().map(|said| said.transaction).collect();
    transactions.extend(those.iter().flat_map(|one| versions.writers(*one)));
    let mut named = FxHashSet::default();
    transactions.retain(|one| named.insert(*one));
    let key = versions.key(said[0].version);
    seen.sightings
        .add(Anomaly::IncompatibleVersions, key, &codes, &transactions);
}

/// What a transaction shows that is at odds with itself or with the writers of what it read.
fn one(
    all: &Transactions,
    versions: &Versions,
    transaction: u32,
    past: &mut Past,
    seen: &mut Seen,
) {
    let mut at_odds: Vec<u32> = Vec::new();
    for (at, mop) in all.mops(transaction) {
        let before = past.pass(all, transaction, at);
        let version = versions.version(at);
        if mop.element().is_some() || version == NONE {
            continue;
        }
        let expected = before.map_or(NONE, |before| versions.version(before));
        if expected == version {
            continue;
        }
        let key = mop.key();
        if expected != NONE && !at_odds.contains(&key) {
            at_odds.push(key);
            seen.sightings
                .add(Anomaly::Internal, key, &[], &[transaction]);
            if before.is_some_and(|before| all.mops[before as usize].element().is_some()) {
                seen.sightings
                    .add(Anomaly::UnseenOwnWrite, key, &[], &[transaction]);
            }
        }
        if let Some(code) = mop.value().filter(|_| !versions.is_initial(version)) {
            of_writers(all, versions, transaction, at, code, seen);
        }
    }
}

/// Whether somebody can have left for a transaction what it read.
fn of_writers(
    all: &Transactions,
    versions: &Versions,
    reader: u32,
    read: u32,
    code: u32,
    seen: &mut Seen,
) {
    let (key, version) = (all.mops[read as usize].key(), versions.version(read));
    let mut add = |anomaly, transactions: &[u32]| {
        seen.sightings.add(anomaly, key, &[code], transactions);
    };
    let others = || versions.writers(version).filter(|one| *one != reader);
    let left = |one: u32| {
        let failed = all.outcome[one as usize] == Outcome::Fail;
        !failed && versions.last_of(one, key) == Some(version)
    };
    let Some(first) = others().next() else {
        return match versions.writes(version).first() {
            None => add(Anomaly::GarbageRead, &[reader]),
            Some(first) if *first > read => add(Anomaly::FutureRead, &[reader]),
            // It had written something else since.
            Some(_) => {}
        };
    };
    if others().any(left) {
        return;
    }
    if versions.writers(version).any(|one| one != first) {
        seen.doubtful.get_or_insert(reader);
    } else if all.outcome[first as usize] == Outcome::Fail {
        add(Anomaly::G1a, &[reader, first]);
    } else {
        add(Anomaly::G1b, &[reader, first]);
    }
}
