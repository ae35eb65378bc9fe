//! Read atomic: who has read a write of a transaction reads nothing older than its other writes, before or after.
//!
//! Bailis et al. 2014, Cerone et al. 2015.

use super::super::super::values::NONE;
use super::super::versions::INITIAL;
use super::{Conclusion, Weak};
use crate::budget::{Budget, Exhausted};

/// How many transactions pass between two looks at the budget.
const LOOK: u32 = 1 << 12;

/// Of all conclusions, enough. With sessions, what a session did before is seen.
pub(super) fn conclusions(
    weak: &Weak,
    sessions: bool,
    budget: &dyn Budget,
) -> Result<Vec<Conclusion>, Exhausted> {
    let mut found = Vec::new();
    // Key and source, ascending; and the sources.
    let (mut reads, mut seen): (Vec<(u32, u32)>, Vec<u32>) = (Vec::new(), Vec::new());
    for reader in 0..weak.all.len() as u32 {
        if reader.is_multiple_of(LOOK) {
            budget.check()?;
        }
        reads.clear();
        reads.extend(weak.observed(reader).map(|(_, key, source)| (key, source)));
        if reads.len() < 2 {
            continue;
        }
        reads.sort_by_key(|(key, _)| *key);
        seen.clear();
        seen.extend(reads.iter().map(|(_, source)| *source));
        seen.sort_unstable();
        seen.dedup();
        for before in seen.iter().copied().filter(|one| *one != INITIAL) {
            let mut conclude = |key: u32, after: u32| {
                if after != before {
                    found.push(Conclusion {
                        before,
                        after,
                        reader,
                        key,
                    });
                }
            };
            let finals = weak.versions.finals(before);
            if finals.len() < reads.len() {
                for one in finals {
                    let from = reads.partition_point(|(key, _)| *key < one.key);
                    let of_key = reads[from..].iter().take_while(|(key, _)| *key == one.key);
                    of_key.for_each(|(key, after)| conclude(*key, *after));
                }
            } else {
                let written = reads.iter().filter(|(key, _)| weak.writes(before, *key));
                written.for_each(|(key, after)| conclude(*key, *after));
            }
        }
    }
    if sessions {
        in_sessions(weak, &mut found, budget)?;
    }
    budget.charge(found.len() * size_of::<Conclusion>())?;
    Ok(found)
}

/// Of the transactions of a session before a reader, the last that wrote a key is enough.
fn in_sessions(
    weak: &Weak,
    found: &mut Vec<Conclusion>,
    budget: &dyn Budget,
) -> Result<(), Exhausted> {
    let all = weak.all;
    let mut by_process: Vec<u32> = (0..all.len() as u32)
        .filter(|transaction| weak.committed[*transaction as usize])
        .collect();
    by_process.sort_by_key(|transaction| all.process[*transaction as usize]);
    // By key, the process that wrote it last, and with which transaction.
    let mut last = vec![(NONE, NONE); all.keys.len()];
    for (at, reader) in (0u32..).zip(by_process) {
        if at.is_multiple_of(LOOK) {
            budget.check()?;
        }
        let process = all.process[reader as usize];
        for (_, key, after) in weak.observed(reader) {
            let (owner, before) = last[key as usize];
            if owner == process && before != after {
                found.push(Conclusion {
                    before,
                    after,
                    reader,
                    key,
                });
            }
        }
        // What comes after one of unknown outcome may have begun before it took effect.
        if all.is_ok(reader) {
            for one in weak.versions.finals(reader) {
                last[one.key as usize] = (process, reader);
            }
        }
    }
    Ok(())
}
