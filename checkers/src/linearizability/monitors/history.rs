//! What every monitor begins with: operations whose positions and values are small numbers, and a budget
//! that is asked at a steady pace.

use std::borrow::Cow;

use crate::budget::{Budget, Exhausted};

use super::{NEVER, NotApplicable, Operation};

/// What kinds of operations tell a monitor about their values.
pub trait Kind: Copy {
    /// Whether values are names, so that only which are the same matters, and their order.
    const NAMES: bool = true;

    /// A second value, where a kind has one.
    fn second(&mut self) -> Option<&mut u32> {
        None
    }
}

/// Why a monitor stops.
#[derive(Debug)]
pub(super) enum Stop<R> {
    Violation(R),
    NotApplicable(NotApplicable),
    Exhausted(Exhausted),
}

impl<R> From<Exhausted> for Stop<R> {
    fn from(exhausted: Exhausted) -> Self {
        Stop::Exhausted(exhausted)
    }
}

impl<R> From<NotApplicable> for Stop<R> {
    fn from(why: NotApplicable) -> Self {
        Stop::NotApplicable(why)
    }
}

/// Steps between two questions to the budget: well under a millisecond, even where each misses the cache.
const STRIDE: u32 = 4096;

/// Asks a budget every so many steps, and gives back what it was charged.
pub(super) struct Pace<'a> {
    budget: &'a dyn Budget,
    left: u32,
    held: usize,
}

impl<'a> Pace<'a> {
    pub(super) fn new(budget: &'a dyn Budget) -> Pace<'a> {
        Pace {
            budget,
            left: 0,
            held: 0,
        }
    }

    #[inline]
    pub(super) fn step(&mut self) -> Result<(), Exhausted> {
        if self.left == 0 {
            self.left = STRIDE;
            self.budget.check()?;
        }
        self.left -= 1;
        Ok(())
    }

    /// Charges for an array and makes it.
    pub(super) fn array<T: Clone>(&mut self, fill: T, count: usize) -> Result<Vec<T>, Exhausted> {
        self.hold::<T>(count)?;
        Ok(vec![fill; count])
    }

    /// Charges for so many values of a type.
    pub(super) fn hold<T>(&mut self, count: usize) -> Result<(), Exhausted> {
        let bytes = count.saturating_mul(size_of::<T>());
        self.budget.charge(bytes)?;
        self.held += bytes;
        self.budget.check()
    }
}

impl Drop for Pace<'_> {
    fn drop(&mut self) {
        self.budget.release(self.held);
    }
}

/// Operations whose positions and values can be indexes of arrays.
pub(super) struct History<'a, K: Clone> {
    pub(super) ops: Cow<'a, [Operation<K>]>,
    /// One more than the last position. The moment after position `p` has the number `p`, so this is the
    /// number of moments.
    pub(super) end: u32,
    /// One more than the greatest value.
    pub(super) values: usize,
}

/// Positions and values are used as indexes as they are up to this multiple of the number of operations.
const SPARSE: usize = 4;

impl<'a, K: Kind> History<'a, K> {
    /// Checks the order, and renumbers positions and values where they leave large gaps. The order among
    /// positions and among values stays.
    pub(super) fn new(
        ops: &'a [Operation<K>],
        pace: &mut Pace<'_>,
    ) -> Result<History<'a, K>, Stop<std::convert::Infallible>> {
        let (mut last, mut greatest) = (0, 0);
        let mut before = None;
        for (at, op) in ops.iter().enumerate() {
            pace.step()?;
            if before.is_some_and(|before| before >= op.invoke) || op.complete <= op.invoke {
                return Err(NotApplicable::Disordered {
                    operation: at as u32,
                }
                .into());
            }
            before = Some(op.invoke);
            let end = if op.complete == NEVER {
                op.invoke
            } else {
                op.complete
            };
            last = last.max(end);
            let mut kind = op.kind;
            greatest = greatest
                .max(op.value)
                .max(kind.second().copied().unwrap_or(0));
        }
        let most = SPARSE * ops.len() + 64;
        let mut history = History {
            ops: Cow::Borrowed(ops),
            end: last + 1,
            values: if K::NAMES { greatest as usize + 1 } else { 0 },
        };
        if last as usize > most {
            history.renumber_positions(pace)?;
        }
        if K::NAMES && greatest as usize > most {
            history.renumber_values(pace)?;
        }
        Ok(history)
    }

    fn renumber_positions(&mut self, pace: &mut Pace<'_>) -> Result<(), Exhausted> {
        pace.hold::<Operation<K>>(self.ops.len())?;
        pace.hold::<u32>(2 * self.ops.len())?;
        let ends = |op: &Operation<K>| [op.invoke, op.complete];
        let all = self.ops.iter().flat_map(ends);
        let positions = sorted(all.filter(|position| *position != NEVER).collect());
        for op in self.ops.to_mut() {
            pace.step()?;
            op.invoke = rank(&positions, op.invoke);
            if op.complete != NEVER {
                op.complete = rank(&positions, op.complete);
            }
        }
        self.end = positions.len() as u32;
        Ok(())
    }

    fn renumber_values(&mut self, pace: &mut Pace<'_>) -> Result<(), Exhausted> {
        pace.hold::<Operation<K>>(self.ops.len())?;
        pace.hold::<u32>(2 * self.ops.len())?;
        let both = |op: &Operation<K>| {
            let mut kind = op.kind;
            std::iter::once(op.value).chain(kind.second().copied())
        };
        // 0 stays what it is: a value may have a meaning of its own.
        let values = std::iter::once(0).chain(self.ops.iter().flat_map(both));
        let values = sorted(values.collect());
        for op in self.ops.to_mut() {
            pace.step()?;
            op.value = rank(&values, op.value);
            if let Some(second) = op.kind.second() {
                *second = rank(&values, *second);
            }
        }
        self.values = values.len();
        Ok(())
    }
}

fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn rank(sorted: &[u32], number: u32) -> u32 {
    sorted.partition_point(|other| *other < number) as u32
}

/// Makes an error of a function that finds no violation one of a function that may.
pub(super) fn widen<R>(stop: Stop<std::convert::Infallible>) -> Stop<R> {
    match stop {
        Stop::Violation(never) => match never {},
        Stop::NotApplicable(why) => Stop::NotApplicable(why),
        Stop::Exhausted(exhausted) => Stop::Exhausted(exhausted),
    }
}
