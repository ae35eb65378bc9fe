//! FIFO queues: values come out in the order in which they went in.
//!
//! A queue is linearizable if and only if its values can be put in one order such that insertions and
//! *heads* (peeks and removals) both follow it. Two rules say that `v` must be before `w`:
//!
//! 1. an operation on `v` completed before the insertion of `w` was invoked;
//! 2. a head of `v` completed before a head of `w` was invoked, where a value that was never removed has
//!    a head after the end of the history.
//!
//! Without peeks, each rule compares intervals (a value has one insertion and one head), and a union of
//! two interval orders has a cycle only if it has one of two values. For, since each rule is transitive, a
//! shortest cycle alternates between them; of `a → b` and `c → d` by the same rule, `a → d` or `c → b`
//! follows by that rule, which makes the cycle shorter. So it is enough to look for `v` before `w` by
//! insertion and `w` before `v` by heads: one sweep, which carries the latest head among the values
//! whose insertions are over.
//!
//! With peeks, the heads of a value span a *zone*: from the first completion to the last invocation if
//! that comes later (then the value was in front throughout, and no other head fits in), else from the last
//! invocation to the first completion. As in registers (Gibbons and Korach 1997), zones of the first kind must
//! be disjoint, and none of the second may lie in one of the first. Then those that reach into one of the
//! first kind are cut at its edge: this makes rule 2 an interval order again, and the argument holds.
//!
//! Given an order without contradiction, operations can be placed in it greedily, each as early as those
//! before it allow; none comes too late, since that would be a contradiction.

use super::collection::{
    Before, Checked, CollectionKind, CollectionReason, completed_at, invoked_at,
};
use super::history::{History, Pace, Stop};
use super::lives::{Life, Lives, NONE};

pub(super) fn check(
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Checked {
    let zones = Zones::new(history, lives, pace)?;
    // By position: the value whose first completion it is.
    let mut completes = pace.array(NONE, history.end as usize)?;
    for (value, life) in (0..).zip(&lives.lives) {
        pace.step()?;
        if life.insert != NONE {
            completes[life.first as usize] = value;
        }
    }
    let mut completed = completes.into_iter();
    let mut position = 0;
    // The latest head among the values whose insertion is over, and its value.
    let (mut latest, mut holder) = (0, NONE);
    for (value, life) in lives.inserted(history) {
        pace.step()?;
        while position < life.begin {
            position += 1;
            let Some(earlier) = completed.next().filter(|value| *value != NONE) else {
                continue;
            };
            let last = zones.last(&lives.lives[earlier as usize]);
            if last > latest {
                (latest, holder) = (last, earlier);
            }
        }
        if latest > zones.head(life) {
            let back = zones.path(value, holder, lives);
            let cycle = std::iter::once((holder, value)).chain(back);
            return Err(out_of_order(cycle, history, lives));
        }
    }
    Ok(())
}

/// The zones during which a value was certainly in front, in order. Empty where nobody peeked.
struct Zones(Vec<Zone>);

struct Zone {
    from: u32,
    to: u32,
    value: u32,
}

impl Zones {
    fn new(
        history: &History<'_, CollectionKind>,
        lives: &Lives,
        pace: &mut Pace<'_>,
    ) -> Result<Zones, Stop<CollectionReason>> {
        let mut zones = Zones(Vec::new());
        if lives.peeks == 0 {
            return Ok(zones);
        }
        for (value, life) in (0..).zip(&lives.lives) {
            pace.step()?;
            if life.insert != NONE && life.head < life.last {
                pace.hold::<Zone>(1)?;
                zones.0.push(Zone {
                    from: life.head,
                    to: life.last,
                    value,
                });
            }
        }
        zones.0.sort_unstable_by_key(|zone| zone.from);
        for pair in zones.0.windows(2) {
            pace.step()?;
            let (first, second) = (&pair[0], &pair[1]);
            if second.from < first.to {
                let cycle = [(first.value, second.value), (second.value, first.value)];
                return Err(out_of_order(cycle.into_iter(), history, lives));
            }
        }
        for (value, life) in (0..).zip(&lives.lives) {
            pace.step()?;
            if life.insert == NONE || life.head <= life.last {
                continue;
            }
            if let Some(zone) = zones.around(life.last)
                && life.head < zone.to
            {
                let cycle = [(zone.value, value), (value, zone.value)];
                return Err(out_of_order(cycle.into_iter(), history, lives));
            }
        }
        Ok(zones)
    }

    /// The zone that a position is strictly inside of.
    fn around(&self, position: u32) -> Option<&Zone> {
        let next = self.0.partition_point(|zone| zone.from < position);
        let zone = &self.0[next.checked_sub(1)?];
        (position < zone.to).then_some(zone)
    }

    /// The first completion of a head, cut.
    fn head(&self, life: &Life) -> u32 {
        self.around(life.head).map_or(life.head, |zone| zone.from)
    }

    /// The last invocation of a head, cut.
    fn last(&self, life: &Life) -> u32 {
        self.around(life.last).map_or(life.last, |zone| zone.to)
    }

    /// Why `from` must be before `to` by rule 2, in steps that need no cutting.
    fn path(&self, from: u32, to: u32, lives: &Lives) -> Vec<(u32, u32)> {
        let (head, last) = (
            lives.lives[from as usize].head,
            lives.lives[to as usize].last,
        );
        let mut values = vec![from];
        if head >= last {
            values.extend(self.around(head).map(|zone| zone.value));
            values.extend(self.around(last).map(|zone| zone.value));
        }
        values.push(to);
        values.dedup();
        values.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// A cycle of values, each of which must be before the next one.
fn out_of_order(
    cycle: impl Iterator<Item = (u32, u32)>,
    history: &History<'_, CollectionKind>,
    lives: &Lives,
) -> Stop<CollectionReason> {
    let pair = |(first, second): (u32, u32)| {
        let (before, after) = (&lives.lives[first as usize], &lives.lives[second as usize]);
        if before.first < after.begin {
            return (before.first, Some(after.insert));
        }
        debug_assert!(before.head < after.last);
        (before.head, invoked_at(history, after.last))
    };
    let (firsts, seconds): (Vec<u32>, Vec<Option<u32>>) = cycle.map(pair).unzip();
    let firsts = completed_at(history, &firsts);
    let cycle = firsts.into_iter().zip(seconds);
    let cycle = cycle.map(|(first, second)| Before { first, second });
    Stop::Violation(CollectionReason::OutOfOrder(cycle.collect()))
}
