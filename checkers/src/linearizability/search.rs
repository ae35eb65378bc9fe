//! Decides one key: a frontier while that is enough, bounds from both sides where it is not.
//!
//! As long as nothing crashed and few operations are open, one frontier is exact. From the first
//! crashed operation on there are two. The *upper* one lets crashed operations take effect any
//! number of times: when it dies, the history is invalid. The *lower* one is a beam that keeps only
//! the configurations that used fewest crashed operations: while it lives, the history so far is
//! valid. When it dies, a wider beam is sent over the same steps, from the last event at which
//! nothing had been dropped; when the widest dies, only the exact search can tell, and that is left
//! for the end.

use std::hash::Hash;

use crate::budget::{Budget, Exhausted};

use super::frontier::{Crashed, Frontier, Limits, OpId};
use super::model::Machine;

/// How wide the bounds are.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Before the first crashed operation: wide enough to be exact for tens of processes.
    calm: Limits,
    /// The upper bound is given up where it does not fit: a bound that drops anything is none.
    upper: Limits,
    /// Ever wider beams.
    beams: &'static [Limits],
    /// The beam to begin with where width, not crashes, made the exact frontier too large.
    wide_beam: usize,
    /// How many steps may pass before a new checkpoint is taken, while nothing was dropped.
    checkpoint_steps: usize,
}

const PLAN: Plan = Plan {
    calm: Limits {
        crashed: Crashed::Once,
        width: 1 << 10,
        depth: 0,
        closure: 1 << 16,
    },
    upper: Limits {
        crashed: Crashed::Unlimited,
        width: 1 << 14,
        depth: usize::MAX,
        closure: 1 << 17,
    },
    beams: &[
        beam(16, 1),
        beam(64, 1),
        beam(64, 2),
        beam(512, 1),
        beam(512, 2),
        beam(4096, 3),
    ],
    wide_beam: 3,
    checkpoint_steps: 1 << 10,
};

const fn beam(width: usize, depth: usize) -> Limits {
    Limits {
        crashed: Crashed::Once,
        width,
        depth,
        closure: width * 64,
    }
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is an order.
    Valid,
    /// There is none.
    Invalid {
        /// The event at which that was found: an operation returned, and nothing survived.
        at: u64,
    },
    /// The budget ran out.
    Exhausted(Exhausted),
    /// What the exact search needs was forgotten.
    Forgotten,
}

/// One thing that happens to a frontier.
#[derive(Clone, Copy, Debug)]
enum Step<T> {
    /// An operation begins that will return with the event of the number.
    Call(OpId, T, u64),
    /// An operation begins that never returns.
    Crash(T),
    /// An operation returns.
    Return(OpId),
}

/// A frontier from which nothing has been dropped, and the steps that came after it, each with its
/// event.
struct Checkpoint<T: Copy + Eq + Hash> {
    frontier: Frontier<T>,
    steps: Vec<(Step<T>, u64)>,
}

/// The search for an order of one key's operations.
pub(super) struct Search<A: Machine> {
    /// The sequential object, with the states that it has met.
    pub(super) machine: A,
    plan: Plan,
    /// Where searching again begins; `None` once what it needs has been forgotten.
    checkpoint: Option<Checkpoint<A::Op>>,
    lower: Option<Frontier<A::Op>>,
    upper: Option<Frontier<A::Op>>,
    /// Which of the plan's beams the lower bound is; `None` while it is calm.
    beam: Option<usize>,
    invalid_at: Option<u64>,
    /// The states that were possible then.
    last_states: Vec<u32>,
    /// The last event up to which there certainly is an order.
    proved: Option<u64>,
    widest: usize,
    most_open: usize,
    crashed: usize,
}

/// What made a key hard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hardness {
    /// Crashed operations that may have changed the state.
    pub(super) crashed: usize,
    /// The most operations open at once that returned later.
    pub(super) open: usize,
    /// The most configurations after an event.
    pub(super) width: usize,
    /// The last event up to which there certainly is an order.
    pub(super) proved: Option<u64>,
}

impl<A: Machine> Search<A> {
    pub(super) fn new(machine: A, initial: u32) -> Self {
        Search::with_plan(machine, initial, PLAN)
    }

    fn with_plan(machine: A, initial: u32, plan: Plan) -> Self {
        let frontier = Frontier::new(initial, plan.calm);
        Search {
            machine,
            plan,
            checkpoint: Some(Checkpoint {
                frontier: frontier.clone(),
                steps: Vec::new(),
            }),
            lower: Some(frontier),
            upper: None,
            beam: None,
            invalid_at: None,
            last_states: Vec::new(),
            proved: None,
            widest: 1,
            most_open: 0,
            crashed: 0,
        }
    }

    /// Whether an event has been found before which there is no order.
    pub(super) fn is_invalid(&self) -> bool {
        self.invalid_at.is_some()
    }

    /// The values that the register could have had when there was no order any more, ascending by
    /// number. Possibly too many, never too few.
    pub(super) fn last_states(&self) -> &[u32] {
        &self.last_states
    }

    pub(super) fn hardness(&self) -> Hardness {
        Hardness {
            crashed: self.crashed,
            open: self.most_open,
            width: self.widest,
            proved: self.proved,
        }
    }

    /// How many steps are kept for searching again.
    pub(super) fn steps(&self) -> usize {
        self.checkpoint.as_ref().map_or(0, |it| it.steps.len())
    }

    /// About how many bytes are kept that grow with the history.
    pub(super) fn bytes(&self) -> usize {
        self.steps() * size_of::<(Step<A::Op>, u64)>()
    }

    /// Gives up the chance to search again.
    pub(super) fn forget(&mut self) {
        self.checkpoint = None;
    }

    /// An operation begins, with the event `index`; its result is known already, and so is the
    /// event with which it returns. One that crashed never does. `id` names it until then.
    pub(super) fn call(
        &mut self,
        id: OpId,
        op: A::Op,
        returns: Option<u64>,
        index: u64,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let step = match returns {
            Some(deadline) => Step::Call(id, op, deadline),
            None => {
                self.crashed += 1;
                Step::Crash(op)
            }
        };
        self.advance(step, index, budget)
    }

    /// An operation returns, with the event `index`.
    pub(super) fn complete(
        &mut self,
        id: OpId,
        index: u64,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.advance(Step::Return(id), index, budget)?;
        if self.machine.is_crowded() {
            let live = self.live_states();
            self.machine.retain(&live);
        }
        Ok(())
    }

    /// The states that anything may still begin from, ascending.
    fn live_states(&mut self) -> Vec<u32> {
        let mut live = self.last_states.clone();
        let checkpoint = self.checkpoint.iter_mut().map(|it| &mut it.frontier);
        let bounds = self.lower.iter_mut().chain(&mut self.upper);
        for frontier in bounds.chain(checkpoint) {
            frontier.live_states(&mut live);
        }
        live.sort_unstable();
        live.dedup();
        live
    }

    fn advance(
        &mut self,
        step: Step<A::Op>,
        index: u64,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        if self.is_invalid() {
            return Ok(());
        }
        if matches!(step, Step::Crash(_)) && self.beam.is_none() {
            self.expect_crashes();
        }
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.steps.push((step, index));
        }
        self.advance_upper(step, index, budget)?;
        if self.is_invalid() {
            return Ok(());
        }
        self.advance_lower(step, index, budget)
    }

    /// Splits the exact frontier in two, before the first crashed operation.
    fn expect_crashes(&mut self) {
        let Some(lower) = &mut self.lower else {
            return;
        };
        let mut upper = lower.clone();
        upper.set_limits(self.plan.upper);
        self.upper = Some(upper);
        lower.set_limits(self.plan.beams[0]);
        self.beam = Some(0);
        self.take_checkpoint();
    }

    fn take_checkpoint(&mut self) {
        if let Some(lower) = &self.lower {
            self.checkpoint = Some(Checkpoint {
                frontier: lower.clone(),
                steps: Vec::new(),
            });
        }
    }

    fn advance_upper(
        &mut self,
        step: Step<A::Op>,
        index: u64,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let Some(upper) = &mut self.upper else {
            return Ok(());
        };
        apply(upper, step, &mut self.machine, budget)?;
        if upper.lossy() {
            self.upper = None;
        } else if upper.is_dead() {
            self.invalid_at = Some(index);
            self.last_states = upper.last_states().to_vec();
        }
        Ok(())
    }

    fn advance_lower(
        &mut self,
        step: Step<A::Op>,
        index: u64,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let Some(lower) = &mut self.lower else {
            return Ok(());
        };
        apply(lower, step, &mut self.machine, budget)?;
        self.widest = self.widest.max(lower.width());
        self.most_open = self.most_open.max(lower.open());
        if lower.is_dead() {
            if !lower.lossy() {
                self.invalid_at = Some(index);
                self.last_states = lower.last_states().to_vec();
                return Ok(());
            }
            return self.widen_beam(budget);
        }
        self.proved = Some(index);
        if lower.lossy() {
            if self.beam.is_none() {
                self.fall_back(budget)?;
            }
        } else if self.steps() >= self.plan.checkpoint_steps {
            self.take_checkpoint();
        }
        Ok(())
    }

    /// The exact frontier grew too large without any crash.
    fn fall_back(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        self.beam = Some(self.plan.wide_beam);
        if let Some(lower) = &mut self.lower {
            lower.set_limits(self.plan.beams[self.plan.wide_beam]);
        }
        if let Some(replay) = self.replay(self.plan.upper, budget)?
            && !replay.frontier.lossy()
        {
            self.note(&replay);
            self.upper = Some(replay.frontier);
        }
        Ok(())
    }

    fn widen_beam(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        self.lower = None;
        let first = self.beam.map_or(self.plan.wide_beam, |beam| beam + 1);
        for (next, beam) in self.plan.beams.iter().enumerate().skip(first) {
            self.beam = Some(next);
            let Some(replay) = self.replay(*beam, budget)? else {
                return Ok(());
            };
            match replay.died_at {
                None => {
                    self.lower = Some(replay.frontier);
                    return Ok(());
                }
                Some(_) if !replay.frontier.lossy() => {
                    self.note(&replay);
                    return Ok(());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Sends a frontier over all steps since the checkpoint, if there still is one.
    fn replay(
        &mut self,
        limits: Limits,
        budget: &dyn Budget,
    ) -> Result<Option<Replay<A::Op>>, Exhausted> {
        let Some(checkpoint) = &self.checkpoint else {
            return Ok(None);
        };
        let mut replay = Replay {
            frontier: checkpoint.frontier.clone(),
            died_at: None,
        };
        replay.frontier.set_limits(limits);
        for (at, (step, index)) in checkpoint.steps.iter().enumerate() {
            if at.is_multiple_of(64) {
                budget.check()?;
            }
            apply(&mut replay.frontier, *step, &mut self.machine, budget)?;
            if replay.frontier.is_dead() {
                replay.died_at = Some(*index);
                break;
            }
            if limits.crashed == Crashed::Once {
                self.proved = self.proved.max(Some(*index));
            }
        }
        Ok(Some(replay))
    }

    /// Takes over where a frontier that dropped nothing died, if it did.
    fn note(&mut self, replay: &Replay<A::Op>) {
        self.invalid_at = replay.died_at;
        self.last_states = replay.frontier.last_states().to_vec();
    }

    /// The answer on everything so far.
    pub(super) fn answer(&mut self, budget: &dyn Budget) -> Answer {
        if let Some(at) = self.invalid_at {
            return Answer::Invalid { at };
        }
        if self.lower.is_some() {
            return Answer::Valid;
        }
        match self.replay(Limits::EXACT, budget) {
            Err(exhausted) => Answer::Exhausted(exhausted),
            Ok(None) => Answer::Forgotten,
            Ok(Some(replay)) => {
                self.note(&replay);
                replay
                    .died_at
                    .map_or(Answer::Valid, |at| Answer::Invalid { at })
            }
        }
    }
}

/// What became of a frontier that was sent over old steps.
struct Replay<T: Copy + Eq + Hash> {
    frontier: Frontier<T>,
    died_at: Option<u64>,
}

/// Lets a step happen to a frontier.
fn apply<A: Machine>(
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::model::{Register, RegisterOp};
    use super::*;
    use crate::budget::Unlimited;

    /// Bounds so narrow that small histories make use of all of them.
    const NARROW: Plan = Plan {
        calm: Limits {
            crashed: Crashed::Once,
            width: 2,
            depth: 0,
            closure: 6,
        },
        upper: Limits {
            crashed: Crashed::Unlimited,
            width: 3,
            depth: usize::MAX,
            closure: 20,
        },
        beams: &[beam(1, 1), beam(2, 1), beam(3, 2)],
        wide_beam: 1,
        checkpoint_steps: 4,
    };

    /// An operation of a test's history.
    #[derive(Clone, Copy, Debug)]
    struct Event {
        id: OpId,
        op: RegisterOp,
        /// When it will return, if it will.
        returns: Option<u64>,
        /// Whether this is its return.
        is_return: bool,
    }

    /// No bounds at all: one frontier from the beginning to the end.
    fn exact(history: &[Event]) -> Answer {
        let mut frontier = Frontier::new(0, Limits::EXACT);
        for (at, event) in history.iter().enumerate() {
            let step = match (event.is_return, event.returns) {
                (true, _) => Step::Return(event.id),
                (false, Some(deadline)) => Step::Call(event.id, event.op, deadline),
                (false, None) => Step::Crash(event.op),
            };
            apply(&mut frontier, step, &mut Register, &Unlimited).unwrap();
            if frontier.is_dead() {
                return Answer::Invalid { at: at as u64 };
            }
        }
        Answer::Valid
    }

    fn bounded(history: &[Event], plan: Plan) -> Answer {
        let mut search = Search::with_plan(Register, 0, plan);
        for (at, event) in history.iter().enumerate() {
            let Event { id, op, .. } = *event;
            let result = match event.is_return {
                true => search.complete(id, at as u64, &Unlimited),
                false => search.call(id, op, event.returns, at as u64, &Unlimited),
            };
            result.unwrap();
        }
        search.answer(&Unlimited)
    }

    /// Calls and returns in order. Each choice ends the open operation of its number, or begins one.
    fn history(choices: Vec<(u8, RegisterOp, bool)>) -> Vec<Event> {
        let mut open: [Option<Event>; 5] = [None; 5];
        let mut history = Vec::new();
        for (process, op, crashes) in choices {
            let process = usize::from(process);
            if let Some(call) = open[process].take() {
                history.push(call);
                continue;
            }
            let call = Event {
                id: history.len() as OpId,
                op,
                returns: None,
                is_return: false,
            };
            history.push(call);
            if !crashes {
                open[process] = Some(Event {
                    is_return: true,
                    ..call
                });
            }
        }
        history.extend(open.into_iter().flatten());
        let ends: BTreeMap<OpId, u64> = (0..)
            .zip(&history)
            .filter(|(_, event)| event.is_return)
            .map(|(at, event)| (event.id, at))
            .collect();
        for event in &mut history {
            event.returns = ends.get(&event.id).copied();
        }
        history
    }

    fn any_op() -> impl Strategy<Value = RegisterOp> {
        prop_oneof![
            3 => (0..3u32).prop_map(RegisterOp::Read),
            1 => (0..3u32).prop_map(RegisterOp::Differs),
            3 => (0..3u32).prop_map(RegisterOp::Write),
            3 => (0..3u32, 0..3u32).prop_map(|(from, to)| RegisterOp::cas(from, to)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn bounds_never_change_the_verdict(
            choices in prop::collection::vec((0..5u8, any_op(), prop::bool::weighted(0.3)), 0..40)
        ) {
            let history = history(choices);
            let expected = exact(&history);
            let narrow = bounded(&history, NARROW);
            let usual = bounded(&history, PLAN);
            let is_valid = |answer| answer == Answer::Valid;
            prop_assert_eq!(is_valid(narrow), is_valid(expected), "{:?} {:?}", narrow, expected);
            prop_assert_eq!(is_valid(usual), is_valid(expected), "{:?} {:?}", usual, expected);
            if let (Answer::Invalid { at: found }, Answer::Invalid { at: first }) =
                (narrow, expected)
            {
                prop_assert!(found >= first, "found at {} what begins at {}", found, first);
            }
        }
    }
}
