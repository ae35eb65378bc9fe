//! Queues, stacks, priority queues and bags whose values are inserted once each.
//!
//! An operation inserts a value, removes one, looks at the next to be removed (peek), or finds nothing to
//! remove. What is common to all orders is in `lives`: the operations on each value on their own, and
//! when a value was certainly inside. The moments at which *nothing* was certainly inside are special:
//! the collection can be taken to be empty at all of them at once, since every value whose first
//! completion comes before such a moment can have all of its operations before it, and every other value
//! all of them after it. So an answer "empty" is possible if and only if there is such a moment in its
//! interval, and then says nothing more (Bouajjani, Emmi, Enea and Hamza 2015 for queues and stacks; Lee
//! and Mathur 2025 for what peeks add).
//!
//! What is left is the order in which values come out: see `queue`, `stack` and `priority`. A bag (an
//! unordered queue) gives them out in any order.
//!
//! Removals without an answer may have taken any value that was left: see `removals`.

use crate::budget::{Budget, Exhausted};

use super::cover::{Cover, Interval, fewest};
use super::history::{History, Kind, Pace, Stop, widen};
use super::lives::{Life, Lives, NONE};
use super::{
    NotApplicable, Operation, Outcome, Reason, conclude, priority, queue, removals, stack,
};

/// Which value comes out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one that was inserted first: a FIFO queue.
    First,
    /// The one that was inserted last: a stack.
    Last,
    /// The greatest: a priority queue. The numbers of values must be in their order.
    Greatest,
    /// The least: a priority queue. The numbers of values must be in their order.
    Least,
    /// Any: a bag, or unordered queue. It cannot be peeked at in a way that would say more than that the
    /// value was inside.
    Any,
}

/// What an operation of a collection did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CollectionKind {
    /// Inserted the value.
    Insert,
    /// Removed the value. Without a completion: removed any value, or found none.
    Remove,
    /// Saw that the value would be the next to be removed.
    Peek,
    /// Found that there was nothing to remove.
    Empty,
}

impl Kind for CollectionKind {}

/// Two operations that show a value to have been inside between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// An operation on the value, after the completion of which it was inside.
    pub since: u32,
    /// Another, or the first removal without an answer: before it was invoked, the value was not taken.
    /// `None` if there is nothing that could have taken it.
    pub until: Option<u32>,
}

/// Two operations that show that a value is before another in a queue: the first completed before the
/// second was invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// An operation on the first value: any if `second` is the insertion of the second value, otherwise a
    /// peek or its removal.
    pub first: u32,
    /// The insertion of the second value, a peek at it, its removal, or the first removal without an answer
    /// if that is what could have taken it. `None` if the second value was never taken.
    pub second: Option<u32>,
}

/// A value on a stack that can have nothing but air below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Afloat {
    /// Its insertion.
    pub insert: u32,
    /// Its removal, if it was taken by one that answered.
    pub removal: Option<u32>,
    /// When it was certainly inside.
    pub presence: Presence,
    /// A peek at it, while others were inside all the time. Only where its insertion and removal would let it
    /// lie at the bottom.
    pub peek: Option<u32>,
}

/// Why a collection is impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionReason {
    /// A value was seen that nobody inserted.
    NeverInserted {
        /// Who saw it.
        observer: u32,
    },
    /// A value was seen before its insertion began.
    ObservedEarly {
        /// Its insertion.
        insert: u32,
        /// Who saw it.
        observer: u32,
    },
    /// A value that was inserted once was removed twice.
    RemovedTwice {
        /// A removal.
        first: u32,
        /// Another.
        second: u32,
    },
    /// A value was seen after its removal had ended.
    ObservedLate {
        /// Its removal.
        removal: u32,
        /// Who saw it.
        observer: u32,
    },
    /// An operation could not have its result at any moment, as something that forbids it was inside: any
    /// value for an answer "empty", one of higher priority in a priority queue.
    Blocked {
        /// The operation.
        operation: u32,
        /// It must have happened after this one was invoked: itself, or another on the same value that must come
        /// first.
        after: u32,
        /// What was certainly inside; together at (nearly) all moments of the operation.
        by: Vec<Presence>,
        /// At the other moments, more of these values had been inserted (each is shown by an operation on it
        /// that completed) than there were removals without an answer that could have taken them.
        left: Vec<u32>,
    },
    /// Values of a queue that each must be before the next one, and the last before the first.
    OutOfOrder(Vec<Before>),
    /// Values of a stack, at least one of which was inside all the time from the first to the last moment of
    /// their presences. So one must have been at the bottom throughout. But each was pushed or popped in
    /// between, or was seen on top while others were inside.
    NoBottom(Vec<Afloat>),
    /// Values must have been taken by removals without an answer, and there are not so many.
    TooFewRemovals(Vec<Deadline>),
}

/// Why a value must have been taken by some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// An operation on the value that completed.
    pub since: u32,
    /// The operation before the end of which the value must have been taken, as it could not have had its
    /// result otherwise. In a queue it is on a value that was inserted after `since`; in a stack it removed a
    /// value below; in a priority queue it saw a lesser value; or it found the collection empty.
    pub operation: u32,
}

impl Reason for CollectionReason {
    fn operations(&self) -> Vec<u32> {
        let mut all: Vec<u32> = match self {
            CollectionReason::NeverInserted { observer } => vec![*observer],
            CollectionReason::ObservedEarly { insert, observer } => vec![*insert, *observer],
            CollectionReason::RemovedTwice { first, second } => vec![*first, *second],
            CollectionReason::ObservedLate { removal, observer } => vec![*removal, *observer],
            CollectionReason::Blocked {
                operation,
                after,
                by,
                left,
            } => {
                let presences = by.iter().flat_map(Presence::operations);
                let ends = [*operation, *after].into_iter();
                ends.chain(presences).chain(left.iter().copied()).collect()
            }
            CollectionReason::OutOfOrder(cycle) => {
                let pair = |edge: &Before| std::iter::once(edge.first).chain(edge.second);
                cycle.iter().flat_map(pair).collect()
            }
            CollectionReason::NoBottom(values) => {
                let of = |value: &Afloat| {
                    let both = std::iter::once(value.insert).chain(value.removal);
                    both.chain(value.peek).chain(value.presence.operations())
                };
                values.iter().flat_map(of).collect()
            }
            CollectionReason::TooFewRemovals(deadlines) => {
                let pair = |deadline: &Deadline| [deadline.since, deadline.operation];
                deadlines.iter().flat_map(pair).collect()
            }
        };
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Presence {
    fn operations(&self) -> impl Iterator<Item = u32> + use<> {
        std::iter::once(self.since).chain(self.until)
    }
}

pub(super) type Checked = Result<(), Stop<CollectionReason>>;

/// Decides whether a collection is linearizable. It is empty at first.
///
/// # Errors
///
/// Where the budget is used up.
pub fn check(
    order: Order,
    ops: &[Operation<CollectionKind>],
    budget: &dyn Budget,
) -> Result<Outcome<CollectionReason>, Exhausted> {
    let mut pace = Pace::new(budget);
    conclude(decide(order, ops, &mut pace))
}

fn decide(order: Order, ops: &[Operation<CollectionKind>], pace: &mut Pace<'_>) -> Checked {
    let history = History::new(ops, pace).map_err(widen)?;
    let mut lives = Lives::new(&history, pace)?;
    if lives.removals.is_empty() || lives.left.is_empty() {
        return in_order(order, &history, &lives, pace);
    }
    removals::decide(order, &history, &mut lives, pace)
}

/// Decides, with the end of each life known.
pub(super) fn in_order(
    order: Order,
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Checked {
    match order {
        Order::First => queue::check(history, lives, pace)?,
        Order::Last => stack::check(history, lives, pace)?,
        Order::Greatest | Order::Least => return priority::check(order, history, lives, pace),
        Order::Any => {}
    }
    if lives.empties.is_empty() {
        return Ok(());
    }
    let mut cover = Cover::new(history.end, pace)?;
    for life in &lives.lives {
        pace.step()?;
        if life.is_certain() {
            cover.add(life.first, life.last);
        }
    }
    empties(&mut cover, history, lives, pace)
}

/// Whether every answer "empty" has a moment that is not covered.
pub(super) fn empties(
    cover: &mut Cover,
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Checked {
    for empty in &lives.empties {
        pace.step()?;
        let op = &history.ops[*empty as usize];
        if cover.free(op.invoke) >= op.complete {
            return Err(blocked(*empty, op.invoke, |_| true, history, lives, pace)?);
        }
    }
    Ok(())
}

/// That an operation is blocked from a moment on by the values that `blocks` tells.
pub(super) fn blocked(
    operation: u32,
    from: u32,
    blocks: impl Fn(u32) -> bool,
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Result<Stop<CollectionReason>, Exhausted> {
    let mut intervals = Vec::new();
    for (value, life) in (0..).zip(&lives.lives) {
        pace.step()?;
        if life.is_certain() && blocks(value) {
            intervals.push(interval(value, life));
        }
    }
    let complete = history.ops[operation as usize].complete;
    let Some(chosen) = fewest(intervals, from, complete, pace)? else {
        return Ok(Stop::NotApplicable(NotApplicable::NoProof));
    };
    let values: Vec<u32> = chosen.iter().map(|interval| interval.value).collect();
    let by = presences(&values, history, lives);
    Ok(Stop::Violation(CollectionReason::Blocked {
        operation,
        after: invoked_at(history, from).unwrap_or(operation),
        by,
        left: Vec::new(),
    }))
}

/// The moments at which a value was certainly inside.
pub(super) fn interval(value: u32, life: &Life) -> Interval {
    Interval {
        from: life.first,
        to: life.last,
        value,
    }
}

/// The operations that show when values were certainly inside.
pub(super) fn presences(
    values: &[u32],
    history: &History<'_, CollectionKind>,
    lives: &Lives,
) -> Vec<Presence> {
    let firsts: Vec<u32> = values
        .iter()
        .map(|value| lives.lives[*value as usize].first)
        .collect();
    let since = completed_at(history, &firsts);
    let show = |(value, since): (&u32, u32)| Presence {
        since,
        until: invoked_at(history, lives.lives[*value as usize].last),
    };
    values.iter().zip(since).map(show).collect()
}

/// The operations that completed at positions.
pub(super) fn completed_at(history: &History<'_, CollectionKind>, positions: &[u32]) -> Vec<u32> {
    let mut wanted: Vec<(u32, usize)> = positions.iter().copied().zip(0..).collect();
    wanted.sort_unstable();
    let mut found = vec![NONE; positions.len()];
    for (at, op) in (0..).zip(history.ops.iter()) {
        let from = wanted.partition_point(|(position, _)| *position < op.complete);
        for (_, place) in wanted[from..]
            .iter()
            .take_while(|(at, _)| *at == op.complete)
        {
            found[*place] = at;
        }
    }
    found
}

/// The operation that was invoked at a position, if it is before the end of the history.
pub(super) fn invoked_at(history: &History<'_, CollectionKind>, position: u32) -> Option<u32> {
    let found = history.ops.binary_search_by_key(&position, |op| op.invoke);
    debug_assert!(position == history.end || found.is_ok());
    found.ok().map(|at| at as u32)
}
