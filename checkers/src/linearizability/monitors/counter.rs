//! Counters to which the same amount is added, and that are read.
//!
//! A read says how many additions came before it, and not which; and two additions that are both open can be
//! exchanged. So it is enough to go through the history once and to be lazy: an addition is done when it completes,
//! or when a read completes that wants more of them, and then the one that completes first is done first. Whatever an
//! order does earlier or in another sequence can be put off or exchanged without harm to a read: a read is
//! satisfied when the count passes what it saw, and it is open until then. The history is impossible if and
//! only if a read begins when the count is already past what it saw, or ends when all additions that have begun are
//! not enough.
//!
//! The first has a proof of two reads (or one): what the earlier saw, and all that was added after its end and before
//! the beginning of the later. Take the last moment at which a read forced additions and none that would
//! be over before the later read was left undone: from there on, nothing else is counted.
//!
//! An addition without an answer completes never, so it is done last, if at all.
//!
//! Where the amounts differ, deciding is as hard as finding sums of subsets. Then only the two bounds are looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::budget::{Budget, Exhausted};

use super::history::{History, Kind, Pace, Stop, widen};
use super::lives::NONE;
use super::{NEVER, NotApplicable, Operation, Outcome, Reason, conclude};

/// What an operation of a counter did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CounterKind {
    /// Added the value.
    Add,
    /// Read the value.
    Read,
}

impl Kind for CounterKind {
    const NAMES: bool = false;
}

/// Why a counter is impossible. Additions are not named, as there may be many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterReason {
    /// What was read is no sum of the amounts, as it is no multiple of their greatest common divisor.
    NoSum {
        /// The read.
        read: u32,
    },
    /// All additions that began before a read ended are less than what it saw.
    TooFew {
        /// The read.
        read: u32,
    },
    /// A read saw less than what an earlier read saw and all additions that began after the end of the earlier one
    /// and ended before the beginning of the later one.
    TooMany {
        /// The earlier read. `None` is the beginning, when the counter is 0.
        earlier: Option<u32>,
        /// The later read.
        read: u32,
    },
}

impl Reason for CounterReason {
    fn operations(&self) -> Vec<u32> {
        match *self {
            CounterReason::NoSum { read } | CounterReason::TooFew { read } => vec![read],
            CounterReason::TooMany { earlier, read } => {
                let mut all: Vec<u32> = earlier.into_iter().chain([read]).collect();
                all.sort_unstable();
                all
            }
        }
    }
}

type Op = Operation<CounterKind>;

/// Decides whether a counter is linearizable. It is 0 at first.
///
/// # Errors
///
/// Where the budget is used up.
pub fn check(ops: &[Op], budget: &dyn Budget) -> Result<Outcome<CounterReason>, Exhausted> {
    let mut pace = Pace::new(budget);
    conclude(decide(ops, &mut pace))
}

fn decide(ops: &[Op], pace: &mut Pace<'_>) -> Result<(), Stop<CounterReason>> {
    let history = History::new(ops, pace).map_err(widen)?;
    let (mut first, mut other, mut divisor) = (None, None, 0);
    for (at, op) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        if op.kind == CounterKind::Add && op.value != 0 {
            let (first, _) = *first.get_or_insert((at, op.value));
            if history.ops[first as usize].value != op.value {
                other = other.or(Some((first, at)));
            }
            divisor = common_divisor(divisor, op.value);
        }
    }
    sweep(&history, divisor, other.is_none(), pace)?;
    match other {
        Some((first, second)) => Err(NotApplicable::Amounts { first, second }.into()),
        None => Ok(()),
    }
}

fn common_divisor(mut one: u32, mut other: u32) -> u32 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Goes through the history. Where amounts differ, reads force nothing.
fn sweep(
    history: &History<'_, CounterKind>,
    divisor: u32,
    equal: bool,
    pace: &mut Pace<'_>,
) -> Result<(), Stop<CounterReason>> {
    let mut completes = pace.array(NONE, history.end as usize)?;
    for (at, op) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        if op.complete != NEVER {
            completes[op.complete as usize] = at;
        }
    }
    let mut invokes = history.ops.iter().peekable();
    // What was done, what has begun, and the ends of additions that are open and not done.
    let (mut done, mut begun) = (0u64, 0u64);
    let mut open = BinaryHeap::new();
    let mut read_before = 0u64;
    for (position, at) in (0..).zip(completes) {
        pace.step()?;
        if let Some(op) = invokes.next_if(|op| op.invoke == position) {
            match op.kind {
                CounterKind::Add if op.value == 0 => {}
                CounterKind::Add => {
                    begun += u64::from(op.value);
                    open.push(Reverse(op.complete));
                }
                CounterKind::Read if op.complete == NEVER => {}
                CounterKind::Read if u64::from(op.value) < done.max(read_before) => {
                    return Err(too_many(op, history));
                }
                CounterKind::Read => {}
            }
            continue;
        }
        let Some(op) = history.ops.get(at as usize) else {
            continue;
        };
        if op.kind == CounterKind::Add {
            if op.value != 0 && open.peek() == Some(&Reverse(position)) {
                open.pop();
                done += u64::from(op.value);
            }
            continue;
        }
        let seen = u64::from(op.value);
        if seen > begun {
            return Err(Stop::Violation(CounterReason::TooFew { read: at }));
        }
        if seen != 0 && !op.value.is_multiple_of(divisor) {
            return Err(Stop::Violation(CounterReason::NoSum { read: at }));
        }
        read_before = read_before.max(seen);
        while equal && done < seen && open.pop().is_some() {
            pace.step()?;
            done += u64::from(divisor);
        }
    }
    Ok(())
}

/// That a read came too late, with the earlier read that shows it.
fn too_many(read: &Op, history: &History<'_, CounterKind>) -> Stop<CounterReason> {
    let seen = u64::from(read.value);
    let earlier = |(_, op): &(u32, &Op)| op.complete < read.invoke;
    let earlier = (0..).zip(history.ops.iter()).filter(earlier);
    let (adds, mut reads): (Vec<_>, Vec<_>) =
        earlier.partition(|(_, op)| op.kind == CounterKind::Add);
    reads.sort_unstable_by_key(|(_, op)| Reverse(op.complete));
    let mut adds = adds.into_iter().rev().peekable();
    let mut added = 0;
    let mut found = None;
    for (at, op) in reads {
        while let Some((_, add)) = adds.next_if(|(_, add)| add.invoke > op.complete) {
            added += u64::from(add.value);
        }
        if u64::from(op.value) + added > seen {
            found = Some(at);
            break;
        }
    }
    let Ok(read) = history
        .ops
        .binary_search_by_key(&read.invoke, |op| op.invoke)
    else {
        return NotApplicable::NoProof.into();
    };
    let read = read as u32;
    Stop::Violation(CounterReason::TooMany {
        earlier: found,
        read,
    })
}
