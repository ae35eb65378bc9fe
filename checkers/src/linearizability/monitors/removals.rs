//! Removals without an answer: which of the values that were left did they take?
//!
//! Such a removal may have taken one value at any moment after it was invoked. The earlier that was, the less it
//! forbids, so only *which removal took which value* matters, and mostly not even that:
//!
//! - If the history is impossible even when every value that was left was taken by the *first* of these removals,
//!   it is impossible.
//! - Often a value must have been taken by a certain position, by the rules of the order: its *deadline*. One
//!   removal takes one value, so at no position may there be more values due than removals invoked (Hall's
//!   theorem for intervals that all begin at the same side). Likewise, the collection cannot have been empty
//!   while more values had been inserted than removals could have taken.
//! - If it is linearizable when the removals take the values in the order of deadlines, it is linearizable.
//!
//! For bags, the second point is exact: there is no other rule. For the other orders the answer is open
//! if none of the three gives one.

use crate::budget::Exhausted;

use super::NotApplicable;
use super::collection::{
    Checked, CollectionKind, CollectionReason, Deadline, Order, completed_at, in_order, interval,
    presences,
};
use super::cover::{Cover, Interval, fewest};
use super::history::{History, Pace, Stop};
use super::lives::{Left, Lives, NONE};
use super::priority::Peeks;
use super::trees::SuffixMin;

pub(super) fn decide(
    order: Order,
    history: &History<'_, CollectionKind>,
    lives: &mut Lives,
    pace: &mut Pace<'_>,
) -> Checked {
    let removals = std::mem::take(&mut lives.removals);
    let mut left = std::mem::take(&mut lives.left);
    left.sort_unstable_by_key(|left| lives.lives[left.value as usize].first);
    for one in &left {
        lives.remove(*one, removals[0]);
    }
    in_order(order, history, lives, pace)?;

    let scarcity = Scarcity::new(&left, &removals, history, lives, pace)?;
    scarcity.empties(history, lives, pace)?;
    if order == Order::Any {
        return Ok(());
    }
    let certain = deadlines(order, &left, history, lives, pace)?;
    if let Some(due) = too_many(&certain, &removals) {
        return Err(Stop::Violation(proof(due, &certain, &left, history, lives)));
    }
    let (earliest, latest) = scarcity.places(history, lives, pace)?;
    for places in [None, Some(latest), Some(earliest)] {
        let mut deadlines: Vec<u32> = certain.iter().map(|due| due.position).collect();
        if let Some(places) = places {
            tighten(&mut deadlines, &places, &left, lives);
        }
        assign(&deadlines, &left, &removals, history, lives);
        match in_order(order, history, lives, pace) {
            Err(Stop::Violation(_) | Stop::NotApplicable(_)) => {}
            decided => return decided,
        }
    }
    let removals = removals.len() as u32;
    Err(NotApplicable::UnknownRemovals { removals }.into())
}

/// By when a value must have been taken.
#[derive(Clone, Copy)]
struct Due {
    /// A removal invoked before this position may have taken it in time. [`NONE`] if any may.
    position: u32,
    /// The operation that says so.
    operation: u32,
}

/// The deadline of each value that was left.
fn deadlines(
    order: Order,
    left: &[Left],
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Result<Vec<Due>, Exhausted> {
    let moments = history.end as usize + 1;
    let mut dues = SuffixMin::new(moments, pace)?;
    for empty in &lives.empties {
        pace.step()?;
        let op = &history.ops[*empty as usize];
        dues.put(op.invoke, op.complete, *empty);
    }
    let life = |value: u32| &lives.lives[value as usize];
    let mut found = vec![
        Due {
            position: NONE,
            operation: NONE
        };
        left.len()
    ];
    let due = |tree: &SuffixMin, value: u32| {
        let (position, operation) = tree.least(life(value).first + 1);
        Due {
            position,
            operation,
        }
    };
    match order {
        Order::Any => {}
        Order::First => {
            // Whoever sees a value that was inserted later.
            let mut heads: Vec<(u32, u32)> = Vec::new();
            for (_, life) in lives.inserted(history) {
                if life.head != NONE {
                    heads.push((life.head, life.begin));
                }
            }
            let positions: Vec<u32> = heads.iter().map(|(head, _)| *head).collect();
            let operations = completed_at(history, &positions);
            for ((head, begin), operation) in heads.into_iter().zip(operations) {
                pace.step()?;
                dues.put(begin, head, operation);
            }
        }
        Order::Last => return below(left, history, lives, dues, pace),
        Order::Greatest | Order::Least => {
            // Whoever sees a value of lower priority, and began later.
            let peeks = Peeks::new(history, lives, pace)?;
            let mut places = vec![NONE; lives.lives.len()];
            for (at, one) in (0..).zip(left) {
                places[one.value as usize] = at;
            }
            let count = lives.lives.len() as u32;
            for at in 0..count {
                pace.step()?;
                let value = if order == Order::Greatest {
                    at
                } else {
                    count - 1 - at
                };
                if let Some(place) = found.get_mut(places[value as usize] as usize) {
                    *place = due(&dues, value);
                }
                let removal = Some(life(value).remove).filter(|removal| *removal != NONE);
                for operation in peeks.of(value).iter().copied().chain(removal) {
                    let op = &history.ops[operation as usize];
                    dues.put(op.invoke, op.complete, operation);
                }
            }
            return Ok(found);
        }
    }
    for (found, one) in found.iter_mut().zip(left) {
        *found = due(&dues, one.value);
    }
    Ok(found)
}

/// The deadlines in a stack: whoever removes a value that is certainly below.
fn below(
    left: &[Left],
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    empties: SuffixMin,
    pace: &mut Pace<'_>,
) -> Result<Vec<Due>, Exhausted> {
    let life = |value: u32| &lives.lives[value as usize];
    let mut pops = SuffixMin::new(history.end as usize + 1, pace)?;
    let mut by_first: Vec<u32> = lives.inserted(history).map(|(value, _)| value).collect();
    by_first.sort_unstable_by_key(|value| life(*value).first);
    let mut pushed = by_first.into_iter().peekable();
    let mut by_begin: Vec<usize> = (0..left.len()).collect();
    by_begin.sort_unstable_by_key(|at| life(left[*at].value).begin);
    let mut found = vec![
        Due {
            position: NONE,
            operation: NONE
        };
        left.len()
    ];
    for at in by_begin {
        pace.step()?;
        let upper = life(left[at].value);
        while let Some(lower) = pushed.next_if(|lower| life(*lower).first < upper.begin) {
            pops.put(life(lower).last, life(lower).end, life(lower).remove);
        }
        let least = pops
            .least(upper.first + 1)
            .min(empties.least(upper.first + 1));
        let (position, operation) = least;
        found[at] = Due {
            position,
            operation,
        };
    }
    Ok(found)
}

/// The places of values of which one more is due by some position than there are removals.
fn too_many(dues: &[Due], removals: &[u32]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..dues.len()).collect();
    order.sort_unstable_by_key(|at| dues[*at].position);
    for (count, at) in order.iter().enumerate() {
        let due = dues[*at].position;
        if due == NONE {
            return None;
        }
        if removals.get(count).is_none_or(|removal| *removal > due) {
            order.truncate(count + 1);
            return Some(order);
        }
    }
    None
}

fn proof(
    places: Vec<usize>,
    dues: &[Due],
    left: &[Left],
    history: &History<'_, CollectionKind>,
    lives: &Lives,
) -> CollectionReason {
    let first = |at: &usize| lives.lives[left[*at].value as usize].first;
    let firsts: Vec<u32> = places.iter().map(first).collect();
    let since = completed_at(history, &firsts);
    let show = |(at, since): (&usize, u32)| Deadline {
        since,
        operation: dues[*at].operation,
    };
    CollectionReason::TooFewRemovals(places.iter().zip(since).map(show).collect())
}

/// Lets the removals take values in the order of deadlines.
fn assign(
    deadlines: &[u32],
    left: &[Left],
    removals: &[u32],
    history: &History<'_, CollectionKind>,
    lives: &mut Lives,
) {
    let mut order: Vec<usize> = (0..left.len()).collect();
    order.sort_by_key(|at| deadlines[*at]);
    for (count, at) in order.into_iter().enumerate() {
        let removal = removals.get(count).copied();
        lives.remove(left[at], removal.unwrap_or(history.end));
    }
}

/// Values that were inserted before a moment at which the collection shall be empty are due then.
fn tighten(deadlines: &mut [u32], places: &[u32], left: &[Left], lives: &Lives) {
    let mut places = places.to_vec();
    places.sort_unstable();
    for (deadline, one) in deadlines.iter_mut().zip(left) {
        let first = lives.lives[one.value as usize].first;
        let next = places.partition_point(|place| *place < first);
        if let Some(place) = places.get(next) {
            *deadline = (*deadline).min(place + 1);
        }
    }
}

/// When more values had been inserted than removals could have taken.
struct Scarcity<'a> {
    left: &'a [Left],
    removals: &'a [u32],
    /// Those moments.
    intervals: Vec<Interval>,
}

impl<'a> Scarcity<'a> {
    /// `left` must be in the order of first completions.
    fn new(
        left: &'a [Left],
        removals: &'a [u32],
        history: &History<'_, CollectionKind>,
        lives: &Lives,
        pace: &mut Pace<'_>,
    ) -> Result<Scarcity<'a>, Exhausted> {
        let mut intervals = Vec::new();
        for (count, one) in left.iter().enumerate() {
            pace.step()?;
            let from = lives.lives[one.value as usize].first;
            let to = removals.get(count).copied().unwrap_or(history.end);
            if from < to {
                intervals.push(Interval {
                    from,
                    to,
                    value: NONE,
                });
            }
        }
        pace.hold::<Interval>(intervals.capacity())?;
        Ok(Scarcity {
            left,
            removals,
            intervals,
        })
    }

    /// The presences of values, those that were left taken for removed as early as can be, and scarcity.
    fn all(&self, lives: &Lives) -> impl Iterator<Item = Interval> {
        let present = (0..).zip(&lives.lives);
        let present = present.filter(|(_, life)| life.is_certain());
        let present = present.map(|(value, life)| interval(value, life));
        present.chain(self.intervals.iter().copied())
    }

    /// Whether each answer "empty" has a moment without scarcity.
    fn empties(
        &self,
        history: &History<'_, CollectionKind>,
        lives: &Lives,
        pace: &mut Pace<'_>,
    ) -> Checked {
        let mut cover = self.cover(history, lives, pace)?;
        for empty in &lives.empties {
            pace.step()?;
            let op = &history.ops[*empty as usize];
            if cover.free(op.invoke) >= op.complete {
                return Err(self.blocked(*empty, history, lives, pace)?);
            }
        }
        Ok(())
    }

    fn cover(
        &self,
        history: &History<'_, CollectionKind>,
        lives: &Lives,
        pace: &mut Pace<'_>,
    ) -> Result<Cover, Exhausted> {
        let mut cover = Cover::new(history.end, pace)?;
        for one in self.all(lives) {
            pace.step()?;
            cover.add(one.from, one.to);
        }
        Ok(cover)
    }

    fn blocked(
        &self,
        empty: u32,
        history: &History<'_, CollectionKind>,
        lives: &Lives,
        pace: &mut Pace<'_>,
    ) -> Result<Stop<CollectionReason>, Exhausted> {
        let op = &history.ops[empty as usize];
        let all: Vec<Interval> = self.all(lives).collect();
        let Some(chosen) = fewest(all, op.invoke, op.complete, pace)? else {
            return Ok(Stop::NotApplicable(NotApplicable::NoProof));
        };
        let values = chosen.iter().map(|one| one.value);
        let values: Vec<u32> = values.filter(|value| *value != NONE).collect();
        // As many values as are needed where the most removals were invoked.
        let scarce = chosen.iter().filter(|one| one.value == NONE);
        let most = scarce.map(|one| self.removals.partition_point(|removal| *removal < one.to));
        let count = most.max().map_or(0, |most| most + 1);
        let inserted = self
            .left
            .iter()
            .take(count)
            .map(|one| lives.lives[one.value as usize].first);
        let inserted: Vec<u32> = inserted.filter(|first| *first < op.complete).collect();
        Ok(Stop::Violation(CollectionReason::Blocked {
            operation: empty,
            after: empty,
            by: presences(&values, history, lives),
            left: completed_at(history, &inserted),
        }))
    }

    /// For each answer "empty": the first and the last moment without scarcity.
    fn places(
        &self,
        history: &History<'_, CollectionKind>,
        lives: &Lives,
        pace: &mut Pace<'_>,
    ) -> Result<(Vec<u32>, Vec<u32>), Exhausted> {
        let mut cover = self.cover(history, lives, pace)?;
        let mut mirrored = Cover::new(history.end, pace)?;
        for one in self.all(lives) {
            pace.step()?;
            mirrored.add(history.end - one.to, history.end - one.from);
        }
        let (mut earliest, mut latest) = (Vec::new(), Vec::new());
        for empty in &lives.empties {
            pace.step()?;
            let op = &history.ops[*empty as usize];
            earliest.push(cover.free(op.invoke));
            latest.push(history.end - 1 - mirrored.free(history.end - op.complete));
        }
        Ok((earliest, latest))
    }
}
