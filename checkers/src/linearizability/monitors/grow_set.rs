//! Sets that only grow, and that are read as a whole.
//!
//! The set after one read contains the set before it, so what was read must be a chain: of two reads, one saw all
//! that the other saw. That gives *levels*: additions of what the smallest read saw, the reads that saw just that,
//! additions of what the next larger saw in addition, and so on; last, additions of what nobody saw. Operations of one
//! level may come in any order. So the history is linearizable if and only if no operation completed
//! before one of a lower level was invoked: one comparison each, with the latest invocation in the levels below.
//!
//! A value may be added more than once. Then the first addition in the order is what counts, and the one that was invoked
//! first can always be that; the others only must not come before its level. An addition without an
//! answer never completes, and so is never too early.

use crate::budget::{Budget, Exhausted};

use super::history::{History, Kind, Pace, Stop, widen};
use super::lives::NONE;
use super::{NEVER, NotApplicable, Operation, Outcome, Reason, conclude};

/// What an operation of a growing set did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrowSetKind {
    /// Added the value.
    Add,
    /// Read the whole set: a part of the array of contents.
    Read {
        /// Where the part begins.
        from: u32,
        /// Where it ends.
        to: u32,
    },
}

impl Kind for GrowSetKind {
    const NAMES: bool = false;
}

/// Why a growing set is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowSetReason {
    /// A value was read that nobody added.
    NeverAdded {
        /// The read.
        read: u32,
        /// The value.
        value: u32,
    },
    /// Each of two reads saw a value that the other did not see.
    Incomparable {
        /// A read, and a value that only it saw.
        first: (u32, u32),
        /// Another read, and a value that only it saw.
        second: (u32, u32),
    },
    /// A read saw less than one that completed before it was invoked.
    Shrunk {
        /// The earlier.
        first: u32,
        /// The later.
        second: u32,
        /// A value that it did not see.
        value: u32,
    },
    /// A read did not see a value although its addition had completed.
    Missed {
        /// The addition.
        add: u32,
        /// The read.
        read: u32,
    },
    /// A read saw a value and completed before any addition of it was invoked.
    ReadEarly {
        /// The first addition of the value.
        add: u32,
        /// The read.
        read: u32,
    },
    /// A read saw a value but not another, although the addition of the other completed before any addition of the
    /// first was invoked.
    Skipped {
        /// The addition that was not seen.
        early: u32,
        /// The first addition of the value that was seen.
        late: u32,
        /// The read.
        read: u32,
    },
}

impl Reason for GrowSetReason {
    fn operations(&self) -> Vec<u32> {
        let mut all = match *self {
            GrowSetReason::NeverAdded { read, .. } => vec![read],
            GrowSetReason::Incomparable { first, second } => vec![first.0, second.0],
            GrowSetReason::Shrunk { first, second, .. } => vec![first, second],
            GrowSetReason::Missed { add, read } | GrowSetReason::ReadEarly { add, read } => {
                vec![add, read]
            }
            GrowSetReason::Skipped { early, late, read } => vec![early, late, read],
        };
        all.sort_unstable();
        all
    }

    fn elements(&self) -> Option<Vec<u32>> {
        Some(match *self {
            GrowSetReason::NeverAdded { value, .. } | GrowSetReason::Shrunk { value, .. } => {
                vec![value]
            }
            GrowSetReason::Incomparable { first, second } => vec![first.1, second.1],
            GrowSetReason::Missed { .. }
            | GrowSetReason::ReadEarly { .. }
            | GrowSetReason::Skipped { .. } => Vec::new(),
        })
    }
}

type Op = Operation<GrowSetKind>;
type Checked<T> = Result<T, Stop<GrowSetReason>>;

/// Decides whether a growing set is linearizable. It is empty at first. `contents` holds what was read, and the
/// numbers of values should be small, as arrays are indexed with them.
///
/// # Errors
///
/// Where the budget is used up.
///
/// # Panics
///
/// If a read's part is not a part of `contents`.
pub fn check(
    ops: &[Op],
    contents: &[u32],
    budget: &dyn Budget,
) -> Result<Outcome<GrowSetReason>, Exhausted> {
    let mut pace = Pace::new(budget);
    conclude(decide(ops, contents, &mut pace))
}

fn decide(ops: &[Op], contents: &[u32], pace: &mut Pace<'_>) -> Checked<()> {
    let history = History::new(ops, pace).map_err(widen)?;
    let levels = Levels::new(&history, contents, pace)?;
    let first_adds = levels.first_adds(&history, pace)?;
    for (value, _) in (0..).zip(&first_adds).filter(|(_, add)| **add == NONE) {
        pace.step()?;
        if levels.of_value[value as usize] != NONE {
            return Err(Stop::Violation(
                levels.never_added(value, &history, contents),
            ));
        }
    }
    // By level: the last invocation in it, and then below it.
    let count = 2 * levels.groups.len() + 2;
    let mut last = pace.array(0, count)?;
    let level = |at: u32, op: &Op| levels.of(at, op);
    for (at, op) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        let counts = match op.kind {
            GrowSetKind::Add => first_adds[op.value as usize] == at,
            GrowSetKind::Read { .. } => op.complete != NEVER,
        };
        if counts {
            let last: &mut u32 = &mut last[level(at, op)];
            *last = op.invoke.max(*last);
        }
    }
    let mut below = 0;
    for last in &mut last {
        below = below.max(std::mem::replace(last, below));
    }
    for (at, op) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        if op.complete != NEVER && op.complete < last[level(at, op)] {
            let invoked = last[level(at, op)];
            return Err(levels.out_of_order(at, invoked, &history, contents));
        }
    }
    Ok(())
}

/// The levels of values and reads.
struct Levels {
    /// By value: the number of the first group of reads that saw it, or [`NONE`].
    of_value: Vec<u32>,
    /// By operation: the number of the group, if it is a read.
    of_read: Vec<u32>,
    /// A read of each group.
    groups: Vec<u32>,
}

impl Levels {
    fn new(
        history: &History<'_, GrowSetKind>,
        contents: &[u32],
        pace: &mut Pace<'_>,
    ) -> Checked<Levels> {
        let values = history
            .ops
            .iter()
            .map(|op| op.value)
            .chain(contents.iter().copied());
        let values = values.max().unwrap_or(0) as usize + 1;
        let mut levels = Levels {
            of_value: pace.array(NONE, values)?,
            of_read: pace.array(NONE, history.ops.len())?,
            groups: Vec::new(),
        };
        // A value may be listed twice.
        let mut stamps = pace.array(NONE, values)?;
        let mut reads = Vec::new();
        for (at, op) in (0..).zip(history.ops.iter()) {
            if let Some(seen) = seen(op, contents) {
                let mut size = 0u32;
                for value in seen {
                    pace.step()?;
                    size += u32::from(std::mem::replace(&mut stamps[*value as usize], at) != at);
                }
                reads.push((size, at));
            }
        }
        pace.hold::<(u32, u32)>(reads.capacity())?;
        reads.sort_unstable();
        stamps.fill(NONE);
        let (mut before, mut largest) = (NONE, 0);
        for (size, at) in reads {
            if size > largest || before == NONE {
                levels.groups.push(at);
            }
            let group = levels.groups.len() as u32 - 1;
            let mut known = 0;
            for value in seen(&history.ops[at as usize], contents).unwrap_or_default() {
                pace.step()?;
                let level = &mut levels.of_value[*value as usize];
                if std::mem::replace(&mut stamps[*value as usize], at) != at && *level != NONE {
                    known += 1;
                } else if *level == NONE {
                    *level = group;
                }
            }
            if known < largest {
                return Err(incomparable(before, at, history, contents));
            }
            levels.of_read[at as usize] = group;
            (before, largest) = (at, size);
        }
        Ok(levels)
    }

    fn of(&self, at: u32, op: &Op) -> usize {
        let group = match op.kind {
            GrowSetKind::Add => self.of_value[op.value as usize].min(self.groups.len() as u32),
            GrowSetKind::Read { .. } => self.of_read[at as usize].min(self.groups.len() as u32),
        };
        2 * group as usize + usize::from(op.kind != GrowSetKind::Add)
    }

    /// By value: its addition that was invoked first, or [`NONE`].
    fn first_adds(
        &self,
        history: &History<'_, GrowSetKind>,
        pace: &mut Pace<'_>,
    ) -> Checked<Vec<u32>> {
        let mut adds = pace.array(NONE, self.of_value.len())?;
        for (at, op) in (0..).zip(history.ops.iter()) {
            pace.step()?;
            let add = &mut adds[op.value as usize];
            if op.kind == GrowSetKind::Add && *add == NONE {
                *add = at;
            }
        }
        Ok(adds)
    }

    fn never_added(
        &self,
        value: u32,
        history: &History<'_, GrowSetKind>,
        contents: &[u32],
    ) -> GrowSetReason {
        let saw = |op: &Op| seen(op, contents).is_some_and(|seen| seen.contains(&value));
        let read = history.ops.iter().position(saw);
        let read = read.map_or(NONE, |at| at as u32);
        GrowSetReason::NeverAdded { read, value }
    }

    /// Why an operation is impossible that completed before one of a lower level was invoked.
    fn out_of_order(
        &self,
        early: u32,
        invoked: u32,
        history: &History<'_, GrowSetKind>,
        contents: &[u32],
    ) -> Stop<GrowSetReason> {
        let Ok(late) = history.ops.binary_search_by_key(&invoked, |op| op.invoke) else {
            return NotApplicable::NoProof.into();
        };
        let late = late as u32;
        let (early_op, late_op) = (&history.ops[early as usize], &history.ops[late as usize]);
        let reason = match (seen(early_op, contents), seen(late_op, contents)) {
            (Some(more), Some(less)) => {
                let value = more.iter().find(|value| !less.contains(value));
                GrowSetReason::Shrunk {
                    first: early,
                    second: late,
                    value: value.copied().unwrap_or(NONE),
                }
            }
            (None, Some(_)) => GrowSetReason::Missed {
                add: early,
                read: late,
            },
            (Some(_), None) => GrowSetReason::ReadEarly {
                add: late,
                read: early,
            },
            (None, None) => GrowSetReason::Skipped {
                early,
                late,
                read: self.groups[self.of(late, late_op) / 2],
            },
        };
        Stop::Violation(reason)
    }
}

/// What an operation saw, if it is a read that completed.
fn seen<'a>(op: &Op, contents: &'a [u32]) -> Option<&'a [u32]> {
    match op.kind {
        GrowSetKind::Read { from, to } if op.complete != NEVER => {
            Some(&contents[from as usize..to as usize])
        }
        _ => None,
    }
}

fn incomparable(
    first: u32,
    second: u32,
    history: &History<'_, GrowSetKind>,
    contents: &[u32],
) -> Stop<GrowSetReason> {
    let set = |at: u32| seen(&history.ops[at as usize], contents).unwrap_or_default();
    let only = |one: &[u32], other: &[u32]| {
        let other: std::collections::BTreeSet<u32> = other.iter().copied().collect();
        one.iter()
            .copied()
            .find(|value| !other.contains(value))
            .unwrap_or(NONE)
    };
    Stop::Violation(GrowSetReason::Incomparable {
        first: (first, only(set(first), set(second))),
        second: (second, only(set(second), set(first))),
    })
}
