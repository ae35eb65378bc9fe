//! From transactions that contradict each other to few that still do.

use super::level::Level;
use super::observations::{INITIAL, Observations, Observed};
use super::problem::Problem;
use super::{NONE, Outcome, Progress, within};
use crate::budget::{Budget, Exhausted};

/// How many transactions may be judged again, in all. Smaller sets are worth more than this is likely to cost.
const TRANSACTIONS: usize = 400_000;

/// How much effort goes into judging some of them. What takes more is taken for possible.
const EFFORT: u64 = 4_000_000;

/// How many times that may be.
const OPEN_MAX: u32 = 30;

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

/// What becomes of some transactions by themselves.
pub(super) enum Judged {
    Possible,
    /// These of them contradict each other.
    Contradiction(Vec<u32>),
    /// That takes more effort.
    Open,
}

/// Judges some transactions by themselves.
pub(super) fn judge(
    seen: &Observations,
    level: Level,
    keep: &[u32],
    effort: u64,
    budget: &dyn Budget,
) -> Result<Judged, Exhausted> {
    let (few, _) = restrict(seen, keep);
    let problem = Problem::new(&few, level);
    let found = within(&problem, effort, &Progress::default(), budget)?;
    Ok(match found {
        Some(Outcome::Contradiction(core)) => {
            Judged::Contradiction(core.iter().map(|one| keep[*one as usize]).collect())
        }
        Some(Outcome::Order(_)) => Judged::Possible,
        None => Judged::Open,
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
    let (mut left_over, mut open) = (TRANSACTIONS, 0);
    let mut part = core.len();
    loop {
        let (mut smaller, mut is_sure) = (false, true);
        let mut at = 0;
        while at < core.len() {
            let left: Vec<u32> = if part >= core.len() {
                core.clone()
            } else {
                let end = (at + part).min(core.len());
                [&core[..at], &core[end..]].concat()
            };
            if left.len() > left_over || open > OPEN_MAX {
                return Ok((core, false));
            }
            left_over -= left.len();
            match judge(seen, level, &left, EFFORT, budget)? {
                Judged::Contradiction(less) if less.len() < core.len() => {
                    // What stood before this part, and is still there, need not be tried again in this round.
                    let next = core.get(at).copied().unwrap_or(NONE);
                    core = less;
                    at = core.partition_point(|one| *one < next);
                    smaller = true;
                }
                judged => {
                    if matches!(judged, Judged::Open) {
                        open += 1;
                        is_sure &= part > 1;
                    }
                    at += part;
                }
            }
        }
        if part == 1 && !smaller {
            return Ok((core, is_sure));
        }
        part = if part == 1 {
            1
        } else {
            part.min(core.len()).div_ceil(2)
        };
    }
}
