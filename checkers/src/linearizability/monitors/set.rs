//! Sets every value of which is added once.
//!
//! Each value is an object of its own, and has a simple life: absent, added, present, removed, absent. So an
//! operation that saw it present lies between the addition and the removal, and one that saw it absent lies before the
//! one or after the other. The value was *certainly* present from the first completion to the last invocation among
//! those that added it, saw it present or removed it. The history is impossible if an operation saw the value
//! before the addition began or after the removal ended, or saw it absent while it was certainly present; otherwise
//! the addition can be placed just before the first completion and the removal just after the last
//! invocation, with everybody else on the right side.
//!
//! An addition without an answer, of a value that nobody saw, need not have happened. A removal without an answer
//! can be what ended a value's life, unless one that answered is; of several, the one that was invoked first
//! forbids the least.

use crate::budget::{Budget, Exhausted};

use super::history::{History, Kind, Pace, Stop, widen};
use super::lives::NONE;
use super::{NEVER, NotApplicable, Operation, Outcome, Reason, conclude};

/// What an operation of a set did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SetKind {
    /// Added the value, which was absent.
    Add,
    /// Removed the value, which was present. Without a completion: if it was.
    Remove,
    /// Saw that the value was present, as an addition does that finds it.
    Present,
    /// Saw that the value was absent, as a removal does that does not find it.
    Absent,
}

impl Kind for SetKind {}

/// Why a set is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetReason {
    /// A value was present that nobody added.
    NeverAdded {
        /// Who saw or removed it.
        observer: u32,
    },
    /// A value was present before its addition began.
    ObservedEarly {
        /// Its addition.
        add: u32,
        /// Who saw or removed it.
        observer: u32,
    },
    /// A value that was added once was removed twice.
    RemovedTwice {
        /// A removal.
        first: u32,
        /// Another.
        second: u32,
    },
    /// A value was present after its removal had ended.
    ObservedLate {
        /// Its removal.
        removal: u32,
        /// Who saw it.
        observer: u32,
    },
    /// A value was seen absent while it was certainly present.
    Missed {
        /// An operation after the completion of which the value was present.
        since: u32,
        /// Who saw it absent.
        absent: u32,
        /// An operation before the invocation of which it was not removed, or the first removal without an answer.
        /// `None` if nothing could have removed it.
        until: Option<u32>,
    },
}

impl Reason for SetReason {
    fn operations(&self) -> Vec<u32> {
        let mut all = match *self {
            SetReason::NeverAdded { observer } => vec![observer],
            SetReason::ObservedEarly { add, observer } => vec![add, observer],
            SetReason::RemovedTwice { first, second } => vec![first, second],
            SetReason::ObservedLate { removal, observer } => vec![removal, observer],
            SetReason::Missed {
                since,
                absent,
                until,
            } => [since, absent].into_iter().chain(until).collect(),
        };
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// What is known of a value.
#[derive(Clone, Copy)]
struct Life {
    /// Its addition, or [`NONE`].
    add: u32,
    /// A removal that answered, or [`NONE`].
    remove: u32,
    /// The first completion of those that had it present, or [`NEVER`].
    first: u32,
    /// The last invocation of those that had it present.
    last: u32,
    /// The first invocation of a removal without an answer, or [`NEVER`].
    unknown: u32,
}

impl Life {
    const UNKNOWN: Life = Life {
        add: NONE,
        remove: NONE,
        first: NEVER,
        last: 0,
        unknown: NEVER,
    };

    /// The position until which it was not removed.
    fn until(&self) -> u32 {
        if self.remove == NONE {
            self.last.max(self.unknown)
        } else {
            self.last
        }
    }
}

/// Decides whether a set is linearizable. It is empty at first.
///
/// # Errors
///
/// Where the budget is used up.
pub fn check(
    ops: &[Operation<SetKind>],
    budget: &dyn Budget,
) -> Result<Outcome<SetReason>, Exhausted> {
    let mut pace = Pace::new(budget);
    conclude(decide(ops, &mut pace))
}

type Checked<T> = Result<T, Stop<SetReason>>;

fn decide(ops: &[Operation<SetKind>], pace: &mut Pace<'_>) -> Checked<()> {
    let history = History::new(ops, pace).map_err(widen)?;
    let lives = lives(&history, pace)?;
    for (value, life) in (0..).zip(&lives) {
        pace.step()?;
        if life.first == NEVER {
            continue;
        }
        let op = |at: u32| history.ops.get(at as usize);
        let early = op(life.add).is_none_or(|add| life.first < add.invoke);
        let late = op(life.remove).is_some_and(|removal| removal.complete < life.last);
        if early || late {
            return Err(Stop::Violation(misfit(value, life, &history)));
        }
    }
    for (at, op) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        let life = &lives[op.value as usize];
        let is_absent = op.kind == SetKind::Absent && op.complete != NEVER;
        if is_absent && life.first < op.invoke && op.complete < life.until() {
            return Err(Stop::Violation(missed(at, life, &history)));
        }
    }
    Ok(())
}

fn lives(history: &History<'_, SetKind>, pace: &mut Pace<'_>) -> Checked<Vec<Life>> {
    let mut lives = pace.array(Life::UNKNOWN, history.values)?;
    let mut twice = None;
    for (at, op) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        let life = &mut lives[op.value as usize];
        match op.kind {
            SetKind::Add => {
                if life.add != NONE {
                    let first = life.add;
                    return Err(NotApplicable::NotUnique { first, second: at }.into());
                }
                life.add = at;
            }
            SetKind::Remove if op.complete == NEVER => {
                life.unknown = life.unknown.min(op.invoke);
                continue;
            }
            SetKind::Remove if life.remove != NONE => {
                twice = twice.or(Some((life.remove, at)));
            }
            SetKind::Remove => life.remove = at,
            SetKind::Present if op.complete != NEVER => {}
            SetKind::Present | SetKind::Absent => continue,
        }
        life.first = life.first.min(op.complete);
        life.last = life.last.max(op.invoke);
    }
    match twice {
        Some((first, second)) => Err(Stop::Violation(SetReason::RemovedTwice { first, second })),
        None => Ok(lives),
    }
}

/// The operations that had a value present, with an answer.
fn present(value: u32, history: &History<'_, SetKind>) -> impl Iterator<Item = u32> {
    let ops = (0..).zip(history.ops.iter());
    let present = ops.filter(move |(_, op)| {
        op.value == value && op.kind != SetKind::Absent && op.complete != NEVER
    });
    present.map(|(at, _)| at)
}

/// Why those who had a value present are impossible.
fn misfit(value: u32, life: &Life, history: &History<'_, SetKind>) -> SetReason {
    let op = |at: u32| &history.ops[at as usize];
    let mut present = present(value, history);
    if life.add == NONE {
        let observer = present.next().unwrap_or(NONE);
        return SetReason::NeverAdded { observer };
    }
    if life.first < op(life.add).invoke {
        let observer = present.find(|at| op(*at).complete == life.first);
        return SetReason::ObservedEarly {
            add: life.add,
            observer: observer.unwrap_or(NONE),
        };
    }
    let observer = present.find(|at| op(*at).invoke == life.last);
    SetReason::ObservedLate {
        removal: life.remove,
        observer: observer.unwrap_or(NONE),
    }
}

fn missed(absent: u32, life: &Life, history: &History<'_, SetKind>) -> SetReason {
    let value = history.ops[absent as usize].value;
    let since = present(value, history).find(|at| history.ops[*at as usize].complete == life.first);
    let until = history
        .ops
        .binary_search_by_key(&life.until(), |op| op.invoke);
    SetReason::Missed {
        since: since.unwrap_or(NONE),
        absent,
        until: until.ok().map(|at| at as u32),
    }
}
