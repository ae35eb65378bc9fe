//! What happens to frontiers, remembered from a checkpoint on.

use std::hash::Hash;

use crate::budget::{Budget, Exhausted};

use super::frontier::{Frontier, Limits, OpId};
use super::model::Machine;

/// One thing that happens to a frontier.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<T> {
    /// An operation begins that will return with the event of the number.
    Call(OpId, T, u64),
    /// An operation begins that never returns.
    Crash(T),
    /// An operation returns.
    Return(OpId),
}

/// Lets a step happen to a frontier.
pub(super) fn apply<A: Machine>(
    frontier: &mut Frontier<A::Op>,
    step: Step<A::Op>,
    machine: &mut A,
    budget: &dyn Budget,
) -> Result<(), Exhausted> {
    match step {
        Step::Call(id, op, deadline) => frontier.call(id, op, deadline, machine),
        Step::Crash(op) => frontier.crash(op, machine),
        Step::Return(id) => frontier.complete(id, machine, budget)?,
    }
    Ok(())
}

/// Forgets how configurations came to be of which nothing is left in some frontiers.
pub(super) fn sweep<'a, A: Machine>(
    frontiers: impl Iterator<Item = &'a Frontier<A::Op>>,
    machine: &mut A,
) where
    A::Op: 'a,
{
    let live: Vec<u32> = frontiers.flat_map(Frontier::traces).collect();
    machine.sweep(&live);
}

/// A frontier, and the steps that came after it, each with its event.
pub(super) struct Trail<T: Copy + Eq + Hash> {
    pub(super) start: Frontier<T>,
    /// Whether nothing has been dropped from `start`, so that what is impossible from there is impossible.
    pub(super) is_exact: bool,
    pub(super) steps: Vec<(Step<T>, u64)>,
}

/// What became of a frontier that was sent over old steps.
pub(super) struct Replay<T: Copy + Eq + Hash> {
    pub(super) frontier: Frontier<T>,
    /// The event with which the last configuration died.
    pub(super) died_at: Option<u64>,
    /// The last event that it survived.
    pub(super) survived: Option<u64>,
}

impl<T: Copy + Eq + Hash> Trail<T> {
    pub(super) fn new(start: Frontier<T>) -> Self {
        Trail {
            start,
            is_exact: true,
            steps: Vec::new(),
        }
    }

    /// Begins anew from a frontier that has dropped nothing, with the room that there is.
    pub(super) fn restart(&mut self, start: Frontier<T>) {
        self.start = start;
        self.is_exact = true;
        self.steps.clear();
    }

    /// Forgets the first steps: begins with a frontier that has seen them, and may have dropped something.
    pub(super) fn forget(&mut self, steps: usize, start: Frontier<T>) {
        self.steps.drain(..steps);
        self.steps.shrink_to_fit();
        self.start = start;
        self.is_exact = false;
    }

    /// Sends a frontier that has seen the first `from` steps over the others.
    pub(super) fn replay<A: Machine<Op = T>>(
        &self,
        mut frontier: Frontier<T>,
        from: usize,
        limits: Limits,
        machine: &mut A,
        budget: &dyn Budget,
    ) -> Result<Replay<T>, Exhausted> {
        frontier.set_limits(limits);
        let mut replay = Replay {
            frontier,
            died_at: None,
            survived: None,
        };
        for (at, (step, index)) in self.steps[from..].iter().enumerate() {
            if at.is_multiple_of(64) {
                budget.check()?;
                if machine.is_littered() {
                    sweep([&self.start, &replay.frontier].into_iter(), machine);
                }
            }
            apply(&mut replay.frontier, *step, machine, budget)?;
            if replay.frontier.is_dead() {
                replay.died_at = Some(*index);
                break;
            }
            replay.survived = Some(*index);
        }
        Ok(replay)
    }
}
