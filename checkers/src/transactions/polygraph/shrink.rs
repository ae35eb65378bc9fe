//! From transactions that contradict each other to few that still do.

use super::level::Level;
use super::observations::{INITIAL, Observations, Observed};
use super::{NONE, Outcome, Progress, attempt};
use crate::budget::{Budget, Exhausted};

/// How many transactions may be judged again, in all. Smaller sets are worth more than this is likely to cost.
const EFFORT: usize = 400_000;

/// Some of the transactions, numbered anew, in their order, and the reads that are left: those of which all candidates are.
pub(super) fn restrict(seen: &Observations, keep: &[u32]) -> (Observations, Vec<u32>) {
    let mut left = Vec::new();
    let mut keys: Vec<u32> = Vec::new();
    for one in keep {
        keys.extend(seen.writes(*one));
        keys.extend(seen.reads(*one).map(|read| seen.key(read)));
        keys.extend(seen.shown(*one).iter().map(|(key, _)| *key));
    }
    keys.sort_unstable();
    keys.dedup();
    let key = |old: u32| keys.binary_search(&old).unwrap_or_default() as u32;
    let number = |old: u32| match old {
        INITIAL => Some(INITIAL),
        old => keep.binary_search(&old).ok().map(|new| new as u32),
    };
    let some = |time: u32| (time != NONE).then_some(time);
    let mut few = Observations::new();
    for one in keep {
        let at = *one as usize;
        let reads: Vec<(u32, Vec<u32>)> = seen
            .reads(*one)
            .filter_map(|read| {
                let candidates = seen.candidates(read).iter().map(|old| number(*old));
                let candidates: Option<Vec<u32>> = candidates.collect();
                let candidates = candidates?;
                left.push(read as u32);
                Some((key(seen.key(read)), candidates))
            })
            .collect();
        let reads: Vec<(u32, &[u32])> = reads.iter().map(|(key, of)| (*key, &of[..])).collect();
        let writes: Vec<u32> = seen.writes(*one).iter().map(|old| key(*old)).collect();
        let renamed = |all: &[(u32, u32)]| -> Vec<(u32, u32)> {
            all.iter().map(|(old, place)| (key(*old), *place)).collect()
        };
        few.push(&Observed {
            session: some(seen.session[at]),
            open: seen.open[at],
            begin: some(seen.begin[at]),
            end: some(seen.end[at]),
            writes: &writes,
            placed: &renamed(seen.placed(*one)),
            shown: &renamed(seen.shown(*one)),
            reads: &reads,
        });
    }
    (few, left)
}

/// The transactions of a contradiction among these, if they contradict each other.
fn contradiction(
    seen: &Observations,
    level: Level,
    keep: &[u32],
    budget: &dyn Budget,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let (few, _) = restrict(seen, keep);
    Ok(match attempt(&few, level, &Progress::default(), budget)? {
        Outcome::Contradiction(core) => Some(core.iter().map(|one| keep[*one as usize]).collect()),
        Outcome::Order(_) => None,
    })
}

/// Few of some transactions that contradict each other, and whether none of them could be left out.
///
/// What a contradiction among them comes from is often less than all of them, so that is asked for first, until it stays the
/// same. Then parts are left out: halves, quarters, and so on, to single ones (Zeller and Hildebrandt 2002).
pub(super) fn shrink(
    seen: &Observations,
    level: Level,
    mut core: Vec<u32>,
    budget: &dyn Budget,
) -> Result<(Vec<u32>, bool), Exhausted> {
    let mut effort = EFFORT;
    let mut part = core.len();
    loop {
        let mut smaller = false;
        let mut at = 0;
        while at < core.len() {
            let left: Vec<u32> = if part >= core.len() {
                core.clone()
            } else {
                let end = (at + part).min(core.len());
                [&core[..at], &core[end..]].concat()
            };
            if left.len() > effort {
                return Ok((core, false));
            }
            effort -= left.len();
            match contradiction(seen, level, &left, budget)? {
                Some(less) if less.len() < core.len() => {
                    // What stood before this part, and is still there, need not be tried again in this round.
                    let next = core.get(at).copied().unwrap_or(NONE);
                    core = less;
                    at = core.partition_point(|one| *one < next);
                    smaller = true;
                }
                _ => at += part,
            }
        }
        if part == 1 && !smaller {
            return Ok((core, true));
        }
        part = if part == 1 {
            1
        } else {
            part.min(core.len()).div_ceil(2)
        };
    }
}
