//! Moments that are covered by intervals.

use super::history::Pace;
use crate::budget::Exhausted;

/// A set of moments to which intervals are added; finds the next moment outside it.
///
/// A forest in which every covered moment points to the right (union-find with path halving).
pub(super) struct Cover {
    next: Vec<u32>,
}

impl Cover {
    /// Nothing is covered of so many moments.
    pub(super) fn new(moments: u32, pace: &mut Pace<'_>) -> Result<Cover, Exhausted> {
        pace.hold::<u32>(moments as usize + 1)?;
        Ok(Cover {
            next: (0..=moments).collect(),
        })
    }

    /// The first moment from `moment` on that is not covered.
    #[inline]
    pub(super) fn free(&mut self, moment: u32) -> u32 {
        let mut at = moment as usize;
        while self.next[at] as usize != at {
            let next = self.next[self.next[at] as usize];
            self.next[at] = next;
            at = next as usize;
        }
        at as u32
    }

    /// Covers the moments from `from` to before `to`.
    pub(super) fn add(&mut self, from: u32, to: u32) {
        let mut at = self.free(from);
        while at < to {
            self.next[at as usize] = at + 1;
            at = self.free(at + 1);
        }
    }
}

/// An interval of moments, the end excluded, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) value: u32,
}

/// As few intervals as possible that cover the moments from `from` to before `to`, in order. `None` if
/// all together do not.
pub(super) fn fewest(
    mut intervals: Vec<Interval>,
    from: u32,
    to: u32,
    pace: &mut Pace<'_>,
) -> Result<Option<Vec<Interval>>, Exhausted> {
    intervals.retain(|interval| interval.from < to && interval.to > from);
    intervals.sort_unstable_by_key(|interval| interval.from);
    let mut chosen = Vec::new();
    let mut covered = from;
    let mut rest = intervals.into_iter().peekable();
    while covered < to {
        let mut farthest: Option<Interval> = None;
        while let Some(interval) = rest.next_if(|interval| interval.from <= covered) {
            pace.step()?;
            if farthest.is_none_or(|farthest| interval.to > farthest.to) {
                farthest = Some(interval);
            }
        }
        match farthest {
            Some(interval) if interval.to > covered => {
                covered = interval.to;
                chosen.push(interval);
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(chosen))
}
