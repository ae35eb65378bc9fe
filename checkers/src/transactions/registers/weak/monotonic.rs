//! Monotonic atomic view: who has read a write of a transaction reads nothing older than its other writes from then on.
//!
//! Bailis et al. 2013; without sessions it is what Biswas and Enea call read committed.

use rustc_hash::FxHashMap;

use super::super::super::values::NONE;
use super::super::versions::INITIAL;
use super::{Conclusion, Weak};
use crate::budget::{Budget, Exhausted};

/// How many transactions pass between two looks at the budget.
const LOOK: u32 = 1 << 12;

/// By key, the two writers that later reads of it saw, the nearest first.
type Later = FxHashMap<u32, [u32; 2]>;

/// Of all conclusions, enough.
pub(super) fn conclusions(weak: &Weak, budget: &dyn Budget) -> Result<Vec<Conclusion>, Exhausted> {
    let mut found = Vec::new();
    let mut later = Later::default();
    let mut first: FxHashMap<u32, u32> = FxHashMap::default();
    for reader in 0..weak.all.len() as u32 {
        if reader.is_multiple_of(LOOK) {
            budget.check()?;
        }
        let mut reads = weak.observed(reader);
        if reads.next().is_none() || reads.next().is_none() {
            continue;
        }
        first.clear();
        for (at, _, source) in weak.observed(reader) {
            first.entry(source).or_insert(at);
        }
        later.clear();
        // Each read looks at those after it, which were looked at before. Only the first of a writer's matters.
        for (at, key, source) in weak.observed(reader).rev() {
            if source != INITIAL && first[&source] == at {
                one(weak, reader, source, &later, &mut found);
            }
            let two = later.entry(key).or_insert([NONE; 2]);
            if two[0] != source {
                *two = [source, two[0]];
            }
        }
    }
    budget.charge(found.len() * size_of::<Conclusion>())?;
    Ok(found)
}

/// What follows for the writes of a transaction, from the reads after one of it. The smaller side is gone through.
fn one(weak: &Weak, reader: u32, seen: u32, later: &Later, found: &mut Vec<Conclusion>) {
    let mut conclude = |key: u32, two: &[u32; 2]| {
        let other = two.iter().find(|one| **one != seen && **one != NONE);
        found.extend(other.map(|after| Conclusion {
            before: seen,
            after: *after,
            reader,
            key,
        }));
    };
    let finals = weak.versions.finals(seen);
    if finals.len() <= later.len() {
        for one in finals {
            if let Some(two) = later.get(&one.key) {
                conclude(one.key, two);
            }
        }
        return;
    }
    for (key, two) in later {
        if weak.writes(seen, *key) {
            conclude(*key, two);
        }
    }
}
