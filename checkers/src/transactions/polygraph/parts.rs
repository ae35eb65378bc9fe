//! Contradictions that a few transactions have among themselves, found by looking at a few at a time.
//!
//! A search of a whole history has everything to put right at once, and what it learns may be far from what cannot be put right.
//! But what systems do wrong is mostly over in a moment: some transactions that were under way together contradict each other,
//! whatever the others did. So parts of the history are searched by themselves: those that ended one after the other, half of which are in the
//! next part again.
//!
//! Where a search gives up, those that its contradictions were about are one more part.
//!
//! That is sound, as leaving out transactions only takes away what must hold: where a history is possible, so is each part of it.
//! That all parts are possible means nothing.

use super::level::Level;
use super::observations::Observations;
use super::shrink::{Judged, judge};
use crate::budget::{Budget, Exhausted};

/// How large parts are, and how much effort goes into one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    transactions: u32,
    effort: u64,
}

impl Size {
    /// What is looked at before a stage of the search; most histories need no more than two.
    pub(super) fn of_stage(stage: u32) -> Option<Size> {
        let more = stage.checked_sub(2)?;
        Some(Size {
            transactions: 64u32.checked_shl(2 * more)?,
            effort: 100_000u64.checked_shl(4 * more)?,
        })
    }
}

/// Transactions of a part that contradict each other. `None`: no part was found to be contradictory.
pub(super) fn contradiction(
    seen: &Observations,
    level: Level,
    size: Size,
    budget: &dyn Budget,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let count = seen.len();
    // The whole is searched anyway.
    let mut first = if count <= size.transactions { count } else { 0 };
    while first < count {
        budget.check()?;
        let end = first.saturating_add(size.transactions).min(count);
        let part: Vec<u32> = (first..end).collect();
        if let Judged::Contradiction(core) = judge(seen, level, &part, size.effort, budget)? {
            return Ok(Some(core));
        }
        first = if end == count {
            count
        } else {
            first + size.transactions.div_ceil(2)
        };
    }
    Ok(None)
}

/// How many of the most suspect transactions are looked at by themselves.
const SUSPECTS: [usize; 3] = [32, 128, 512];

/// Suspect transactions that contradict each other, of some in the order of suspicion.
pub(super) fn of_suspects(
    seen: &Observations,
    level: Level,
    suspects: &[u32],
    effort: u64,
    budget: &dyn Budget,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let mut judged = 0;
    for count in SUSPECTS.map(|count| count.min(suspects.len())) {
        // Where there are fewer, they were all judged already.
        if count == judged {
            break;
        }
        judged = count;
        let mut some = suspects[..count].to_vec();
        some.sort_unstable();
        if let Judged::Contradiction(core) = judge(seen, level, &some, effort / 8, budget)? {
            return Ok(Some(core));
        }
    }
    Ok(None)
}
