//! Decides one key: a frontier while that is enough, bounds from both sides where it is not.
//!
//! A [scout](super::scout) goes ahead. As long as it finds a way, there is an order, and nothing else is asked; all of the following begins
//! when it does not.
//!
//! As long as nothing crashed and few configurations matter, one frontier is exact. After that there
//! is a *lower* bound, a [beam](super::beam) that keeps only the best configurations: while it
//! lives, the history so far is valid, and nothing else needs to be asked. When it dies, *upper*
//! bounds are asked whether there is no order: a short [window](super::window) at the end first,
//! then everything since the checkpoint with crashed operations that take effect any number of times.
//! Beams and bounds take turns, from cheap to dear. When all fail, only the exact search can tell,
//! and that is left for the end.

use std::hash::Hash;

use crate::budget::{Budget, Exhausted, Unlimited};

use super::beam::{Beam, Rung};
use super::frontier::{Crashed, Frontier, Limits, OpId};
use super::model::{ANY_OTHER, Machine, RegisterOp};
use super::plan::{PLAN, Plan};
use super::scout::Scout;
use super::shortage::{self, Shortage};
use super::steps::{Replay, Step, Trail, apply, sweep};
use super::window;

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
    /// A monitor found that there is none, and the search that there is: one of the two is wrong.
    Disputed,
}

/// What the lower bound is.
enum Lower<T: Copy + Eq + Hash> {
    /// A frontier that has dropped nothing: an upper bound as well.
    Exact(Frontier<T>),
    Beam(Beam<T>),
    /// It died, and nobody knows whether it should have.
    Lost,
}

/// The search for an order of one key's operations.
pub(super) struct Search<A: Machine> {
    /// The sequential object, with the states that it has met.
    pub(super) machine: A,
    plan: Plan,
    /// What goes ahead; of the steps that it has made, nothing below knows yet.
    scout: Option<Box<Scout<A::Op>>>,
    /// Where searching again begins; `None` once what it needs has been forgotten.
    trail: Option<Trail<A::Op>>,
    lower: Lower<A::Op>,
    /// Once the lower bound is lost.
    upper: Option<Frontier<A::Op>>,
    invalid_at: Option<u64>,
    /// What proved that, if it was counting.
    shortage: Option<Shortage>,
    /// The states that were possible then.
    last_states: Vec<u32>,
    /// The last event up to which there certainly is an order.
    proved: Option<u64>,
    /// The step at which a dear beam was asked for last, and how often it was shortly before.
    died_at: usize,
    deaths: usize,
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

    pub(super) fn with_plan(machine: A, initial: u32, plan: Plan) -> Self {
        let frontier = Frontier::new(initial, plan.calm);
        // It could not say how it got where it is.
        let goes_ahead = !machine.takes_notes() && plan.ahead > 0;
        Search {
            scout: goes_ahead.then(|| Box::new(Scout::new(initial))),
            machine,
            plan,
            trail: Some(Trail::new(frontier.clone())),
            lower: Lower::Exact(frontier),
            upper: None,
            invalid_at: None,
            shortage: None,
            last_states: Vec::new(),
            proved: None,
            died_at: 0,
            deaths: 0,
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
    /// number. Possibly too many, never too few; none at all if they are not known.
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

    /// The state of the object, where there is one only, nothing is open and nothing crashed.
    pub(super) fn settled(&mut self) -> Option<u32> {
        if self.crashed > 0 || self.is_invalid() {
            return None;
        }
        if let Some(scout) = &self.scout {
            // There may be other states than the one that it found.
            if scout.open() > 0 || self.follow(&Unlimited).is_err() {
                return None;
            }
        }
        match &mut self.lower {
            Lower::Exact(frontier) if frontier.open() == 0 && frontier.width() == 1 => {
                let mut states = Vec::new();
                frontier.live_states(&mut states);
                states.first().copied().filter(|_| !frontier.lossy())
            }
            _ => None,
        }
    }

    /// How many steps are kept for searching again.
    pub(super) fn steps(&self) -> usize {
        let ahead = self.scout.as_ref().map_or(0, |scout| scout.len());
        self.trail.as_ref().map_or(0, |trail| trail.steps.len()) + ahead
    }

    /// About how many bytes are kept that grow with the history.
    pub(super) fn bytes(&self) -> usize {
        let ahead = self.scout.as_ref().map_or(0, |scout| scout.bytes());
        self.steps() * size_of::<(Step<A::Op>, u64)>() + ahead
    }

    /// Gives up the chance to search again, but for the last steps, where a beam can do with these.
    ///
    /// # Errors
    /// If the budget ran out, after which it means nothing any more.
    pub(super) fn forget(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        self.follow(budget)?;
        let last = match &mut self.lower {
            Lower::Beam(beam) => beam.forget(),
            Lower::Exact(_) | Lower::Lost => None,
        };
        match (&mut self.trail, last) {
            (Some(trail), Some((steps, start))) => {
                trail.forget(steps, start);
                self.died_at = self.died_at.saturating_sub(steps);
            }
            _ => self.trail = None,
        }
        Ok(())
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
        self.tidy();
        Ok(())
    }

    fn tidy(&mut self) {
        if self.machine.is_crowded() {
            let live = self.live_states();
            self.machine.retain(&live);
        }
        if self.machine.is_littered() {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let start = self.trail.iter().map(|trail| &trail.start);
        match &self.lower {
            Lower::Exact(frontier) => sweep(start.chain([frontier]), &mut self.machine),
            Lower::Beam(beam) => sweep(start.chain(beam.frontiers()), &mut self.machine),
            Lower::Lost => sweep(start, &mut self.machine),
        }
    }

    /// The operations that may still take effect, here or when it is searched again.
    pub(super) fn ops(&self) -> Vec<A::Op> {
        let ahead = self.scout.iter().flat_map(|scout| scout.steps());
        let steps = self.trail.iter().flat_map(|trail| &trail.steps);
        let mut ops: Vec<A::Op> = steps
            .chain(ahead)
            .filter_map(|(step, _)| match step {
                Step::Call(_, op, _) | Step::Crash(op) => Some(*op),
                Step::Return(_) => None,
            })
            .collect();
        let start = self.trail.iter().map(|trail| &trail.start);
        for frontier in start.chain(&self.upper) {
            ops.extend(frontier.known_ops());
        }
        match &self.lower {
            Lower::Exact(frontier) => ops.extend(frontier.known_ops()),
            Lower::Beam(beam) => beam.frontiers().for_each(|it| ops.extend(it.known_ops())),
            Lower::Lost => {}
        }
        ops
    }

    /// The states that anything may still begin from, ascending.
    pub(super) fn live_states(&mut self) -> Vec<u32> {
        let mut live = self.last_states.clone();
        if let Some(scout) = &self.scout {
            scout.live_states(&mut live);
        }
        let trail = self.trail.iter_mut().map(|trail| &mut trail.start);
        for frontier in trail.chain(&mut self.upper) {
            frontier.live_states(&mut live);
        }
        match &mut self.lower {
            Lower::Exact(frontier) => frontier.live_states(&mut live),
            Lower::Beam(beam) => beam.live_states(&mut live),
            Lower::Lost => {}
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
        let Some(scout) = &mut self.scout else {
            return self.search(step, index, budget);
        };
        let lives = scout.advance(step, index, &self.plan, &mut self.machine, budget)?;
        if !lives || scout.len() >= self.plan.ahead {
            return self.follow(budget);
        }
        self.most_open = self.most_open.max(scout.open());
        self.proved = Some(index);
        Ok(())
    }

    /// Searches all the steps that the scout has made, which goes ahead no longer.
    fn follow(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        let steps = self.scout.take().map(|scout| scout.into_steps());
        for (at, (step, index)) in steps.into_iter().flatten().enumerate() {
            if at.is_multiple_of(1 << 12) {
                budget.check()?;
            }
            self.search(step, index, budget)?;
            // The machine knows the states of steps that were made; none of those that are still to be made.
            self.tidy();
        }
        Ok(())
    }

    fn search(
        &mut self,
        step: Step<A::Op>,
        index: u64,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        if self.is_invalid() {
            return Ok(());
        }
        if matches!(step, Step::Crash(_))
            && let Lower::Exact(frontier) = &self.lower
        {
            // Nothing was dropped so far: a good place to begin again from.
            let frontier = frontier.clone();
            self.begin_beam(frontier);
        }
        if let Some(trail) = &mut self.trail {
            trail.steps.push((step, index));
        }
        self.advance_upper(step, index, budget)?;
        self.advance_lower(step, index, budget)
    }

    /// Goes on with a beam, from a frontier that has dropped nothing.
    fn begin_beam(&mut self, frontier: Frontier<A::Op>) {
        self.died_at = 0;
        self.trail = Some(Trail::new(frontier.clone()));
        self.lower = Lower::Beam(Beam::new(frontier, self.plan.ladder, 0));
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
            let states = upper.last_states().to_vec();
            self.refuted(index, states);
        }
        Ok(())
    }

    fn refuted(&mut self, at: u64, states: Vec<u32>) {
        self.invalid_at = Some(at);
        self.last_states = states;
        if self.last_states.contains(&ANY_OTHER) {
            // That stands for many, and nobody knows for which.
            self.last_states.clear();
        }
    }

    fn advance_lower(
        &mut self,
        step: Step<A::Op>,
        index: u64,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let at = self.steps();
        let frontier = match &mut self.lower {
            Lower::Lost => {
                if at.is_multiple_of(self.plan.count_steps) {
                    self.count();
                }
                return Ok(());
            }
            Lower::Exact(frontier) => {
                apply(frontier, step, &mut self.machine, budget)?;
                frontier
            }
            Lower::Beam(beam) => {
                beam.advance(step, at, self.plan.ladder, &mut self.machine, budget)?;
                &mut beam.frontier
            }
        };
        if let Step::Call(..) = step {
            // Nothing is decided before something returns.
            self.most_open = self.most_open.max(frontier.open());
            self.proved = Some(index);
            return Ok(());
        }
        self.widest = self.widest.max(frontier.width());
        let (dead, lossy) = (frontier.is_dead(), frontier.lossy());
        if dead && !lossy {
            let states = frontier.last_states().to_vec();
            self.refuted(index, states);
            return Ok(());
        }
        if !dead {
            self.proved = Some(index);
        }
        if !lossy && at >= self.plan.checkpoint_steps {
            match &mut self.lower {
                Lower::Exact(frontier) => {
                    if let Some(trail) = &mut self.trail {
                        trail.restart(frontier.clone());
                    }
                }
                Lower::Beam(beam) => {
                    let frontier = beam.frontier.clone();
                    self.begin_beam(frontier);
                }
                Lower::Lost => {}
            }
        } else if let (true, Lower::Exact(frontier)) = (lossy, &self.lower) {
            let frontier = frontier.clone();
            self.lower = Lower::Beam(Beam::new(frontier, self.plan.ladder, at));
        }
        if dead {
            return self.climb(index, budget);
        }
        Ok(())
    }

    /// The lower bound died. Either a wider one survives, or an upper one dies too, or both give up.
    fn climb(&mut self, index: u64, budget: &dyn Budget) -> Result<(), Exhausted> {
        let (Lower::Beam(beam), Some(trail)) = (&mut self.lower, &self.trail) else {
            self.lower = Lower::Lost;
            return Ok(());
        };
        let plan = &self.plan;
        let machine = &mut self.machine;
        let width = beam.width();
        let end = trail.steps.len();
        // One that lets crashed operations take effect one after another is worth its while even if it is narrow.
        let wider = |rung: &&Rung| rung.limits.width > width || rung.limits.depth > 1;
        let (cheap, dear) = plan.ladder.split_at(plan.cheap);
        let mut windows = plan.windows.iter();
        // Beams and windows take turns, from the cheapest on.
        for rung in cheap.iter().filter(wider).map(Some).chain([None]) {
            if let Some(rung) = rung {
                if beam.go_back(*rung, trail, end, machine, budget)? {
                    self.upper = None;
                    return Ok(());
                }
                if beam.frontier.is_dead() && !beam.frontier.lossy() {
                    let states = beam.frontier.last_states().to_vec();
                    self.refuted(index, states);
                    return Ok(());
                }
            }
            let turn = rung.map_or(plan.windows.len(), |_| 1);
            for length in windows.by_ref().take(turn) {
                let near = beam.snapshot_before(end.saturating_sub(*length));
                let near = near.unwrap_or((&trail.start, 0));
                self.upper = window::send(trail, *length, near, plan.window, machine, budget)?;
                if let Some(upper) = &self.upper
                    && upper.is_dead()
                {
                    let states = upper.last_states().to_vec();
                    self.refuted(index, states);
                    return Ok(());
                }
            }
        }
        if let Some(found) = count(trail, machine) {
            self.refuted(found.at, Vec::new());
            self.shortage = Some(found);
            return Ok(());
        }
        self.deaths = match end - self.died_at.min(end) < plan.pause {
            true => self.deaths + 1,
            false => 1,
        };
        self.died_at = end;
        // Where that helps for a moment only, again and again, counting will tell why later.
        let helps = self.deaths <= plan.deaths;
        for rung in dear.iter().filter(wider).filter(|_| helps) {
            if beam.go_back(*rung, trail, end, machine, budget)? {
                self.upper = None;
                return Ok(());
            }
        }
        self.lower = Lower::Lost;
        // Where windows can be had and did not do, all of it will not either, and is dear.
        if self.machine.states_told_apart(&[]).is_none()
            && let Some(replay) = self.replay(self.plan.upper, budget)?
            && !replay.frontier.lossy()
        {
            self.note(&replay);
            self.upper = Some(replay.frontier);
        }
        Ok(())
    }

    /// Sends a frontier over the whole trail, if there still is one.
    fn replay(
        &mut self,
        limits: Limits,
        budget: &dyn Budget,
    ) -> Result<Option<Replay<A::Op>>, Exhausted> {
        let Some(trail) = self.trail.as_ref().filter(|trail| trail.is_exact) else {
            return Ok(None);
        };
        let start = trail.start.clone();
        let replay = trail.replay(start, 0, limits, &mut self.machine, budget)?;
        if limits.crashed == Crashed::Once {
            self.proved = self.proved.max(replay.survived);
        }
        Ok(Some(replay))
    }

    /// Takes over where a frontier that dropped nothing died, if it did.
    fn note(&mut self, replay: &Replay<A::Op>) {
        self.invalid_at = replay.died_at;
        self.last_states = replay.frontier.last_states().to_vec();
    }

    /// Asks whether counting proves that there is no order.
    fn count(&mut self) {
        let trail = self.trail.as_ref();
        if let Some(found) = trail.and_then(|trail| count(trail, &self.machine)) {
            self.refuted(found.at, Vec::new());
            self.shortage = Some(found);
        }
    }

    /// What there were too few of, if counting proved that there is no order.
    pub(super) fn shortage(&self) -> Option<&Shortage> {
        self.shortage.as_ref()
    }

    /// The answer on everything so far.
    pub(super) fn answer(&mut self, budget: &dyn Budget) -> Answer {
        self.survivor(budget).err().unwrap_or(Answer::Valid)
    }

    /// How a configuration came to be that survived everything so far, as the machine [noted](Machine::note) it. If
    /// there is none, or none is known, the answer says why.
    pub(super) fn survivor(&mut self, budget: &dyn Budget) -> Result<u32, Answer> {
        if let Some(at) = self.invalid_at {
            return Err(Answer::Invalid { at });
        }
        if self.scout.is_some() {
            return Ok(0);
        }
        match &self.lower {
            Lower::Exact(frontier) => return Ok(trace(frontier)),
            Lower::Beam(beam) => return Ok(trace(&beam.frontier)),
            Lower::Lost => {}
        }
        self.count();
        if let Some(at) = self.invalid_at {
            return Err(Answer::Invalid { at });
        }
        let ladders = self.plan.second_ladders.iter();
        for ladder in ladders.filter(|_| self.crashed > 0) {
            let Some(trail) = &self.trail else {
                return Err(Answer::Forgotten);
            };
            match Beam::survivors(trail, ladder, &mut self.machine, budget) {
                Ok(Some(frontier)) => return Ok(trace(&frontier)),
                Ok(None) => {}
                Err(exhausted) => return Err(Answer::Exhausted(exhausted)),
            }
        }
        match self.replay(Limits::EXACT, budget) {
            Err(exhausted) => Err(Answer::Exhausted(exhausted)),
            Ok(None) => Err(Answer::Forgotten),
            Ok(Some(replay)) => {
                self.note(&replay);
                match replay.died_at {
                    Some(at) => Err(Answer::Invalid { at }),
                    None => Ok(trace(&replay.frontier)),
                }
            }
        }
    }
}

/// That of its best configuration.
fn trace<T: Copy + Eq + Hash>(frontier: &Frontier<T>) -> u32 {
    frontier.traces().first().copied().unwrap_or_default()
}

/// Counts, value by value, where the machine is a register and all that may have written is known.
fn count<A: Machine>(trail: &Trail<A::Op>, machine: &A) -> Option<Shortage> {
    if !trail.is_exact {
        return None;
    }
    let steps = trail.steps.iter().map(|(step, index)| {
        let step = match *step {
            Step::Call(id, op, end) => Step::Call(id, machine.as_register(op)?, end),
            Step::Crash(op) => Step::Crash(machine.as_register(op)?),
            Step::Return(id) => Step::Return(id),
        };
        Some((step, *index))
    });
    let steps: Vec<(Step<RegisterOp>, u64)> = steps.collect::<Option<_>>()?;
    let pending = trail.start.pending().into_iter();
    let earlier = pending.map(|(op, end)| Some((machine.as_register(op)?, end)));
    shortage::find(&earlier.collect::<Option<Vec<_>>>()?, &steps)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::frontier::Limits;
    use super::super::log::{Ending, LoggedOp};
    use super::super::meter::Meter;
    use super::super::model::{Register, RegisterOp};
    use super::super::plan::rung;
    use super::super::trace::{Tracing, follow};
    use super::super::unfold::unfold;
    use super::*;

    /// Bounds so narrow that small histories make use of all of them.
    const NARROW: Plan = Plan {
        ahead: 9,
        camp_steps: 4,
        rescue: &[rung(2, 1, 3), rung(3, 1, 7)],
        calm: Limits {
            width: 2,
            depth: 0,
            closure: 6,
            ..Limits::EXACT
        },
        upper: Limits {
            crashed: Crashed::Unlimited,
            width: 3,
            closure: 20,
            ..Limits::EXACT
        },
        window: Limits {
            crashed: Crashed::Unlimited,
            width: 8,
            closure: 40,
            ..Limits::EXACT
        },
        windows: &[2, 5],
        ladder: &[rung(1, 1, 0), rung(2, 1, 3), rung(3, 2, 8)],
        second_ladders: &[&[rung(1, 2, 0), rung(3, 2, 5)]],
        cheap: 2,
        pause: 6,
        deaths: 2,
        count_steps: 3,
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
        feed(&mut search, history);
        search.answer(&Unlimited)
    }

    /// Whether the search knows of an order, which is proved.
    fn has_order(history: &[Event], plan: Plan) -> bool {
        let calls = history.iter().filter(|event| !event.is_return);
        let logged = calls.map(|event| LoggedOp {
            op: event.op,
            told: (),
            process: 0,
            ending: event.returns.map_or(Ending::Info, |_| Ending::Ok),
            invoke: u64::from(event.id),
            invoke_time: 0,
            complete: event.returns.map(|at| (at, 0)),
        });
        let logged: Vec<LoggedOp<RegisterOp, ()>> = logged.collect();
        let ops: Vec<_> = logged.iter().collect();
        // Swept again and again.
        let mut search = Search::with_plan(Tracing::with_room(Register, 4), 0, plan);
        let moves = follow(&mut search, &ops, &mut Meter::default(), &Unlimited).unwrap();
        let Some(moves) = moves else {
            return false;
        };
        let order = unfold(&ops, &moves, (Register, 0)).unwrap();
        let (mut state, mut latest) = (0, 0);
        for at in &order {
            let op = ops[*at as usize];
            assert!(op.returned().is_none_or(|end| end > latest));
            latest = latest.max(op.invoke);
            state = op.op.apply(state).unwrap();
        }
        for (op, at) in ops.iter().zip(0..) {
            let count = order.iter().filter(|placed| **placed == at).count();
            assert!(count == 1 || count == 0 && op.returned().is_none());
        }
        true
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

    /// What several clients do to a register for a while, and what they see.
    fn lived(clients: u32, steps: u32) -> Vec<Event> {
        let mut random = 7u32;
        let mut draw = move |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) % below
        };
        let mut state = 0;
        // Each is idle, has begun and not taken effect, or has.
        let mut doing: Vec<Option<(usize, RegisterOp, bool)>> = vec![None; clients as usize];
        let mut history: Vec<Event> = Vec::new();
        for _ in 0..steps {
            let client = draw(clients) as usize;
            match doing[client] {
                None => {
                    let op = match draw(3) {
                        0 => RegisterOp::Read(0),
                        1 => RegisterOp::Write(draw(5)),
                        _ => RegisterOp::Cas(draw(5), 5),
                    };
                    let call = Event {
                        id: history.len() as OpId,
                        op,
                        returns: None,
                        is_return: false,
                    };
                    doing[client] = Some((history.len(), op, false));
                    history.push(call);
                }
                Some((call, op, false)) => {
                    let saw = match op {
                        RegisterOp::Write(_) => op,
                        RegisterOp::Cas(from, _) if state != from => RegisterOp::Differs(from),
                        RegisterOp::Cas(..) => op,
                        _ => RegisterOp::Read(state),
                    };
                    state = saw.apply(state).unwrap();
                    history[call].op = saw;
                    doing[client] = Some((call, saw, true));
                }
                Some((call, _, true)) => {
                    let returned = Event {
                        is_return: true,
                        ..history[call]
                    };
                    history[call].returns = Some(history.len() as u64);
                    history.push(returned);
                    doing[client] = None;
                }
            }
        }
        history
    }

    /// What is still open at the end has no return, and is crashed then. Nothing more is searched while the scout finds its way.
    #[test]
    fn the_scout_finds_its_way_and_the_search_follows_where_there_is_none() {
        for clients in [1, 3, 6, 10] {
            let mut history = lived(clients, 6_000);
            let mut search = Search::with_plan(Register, 0, PLAN);
            feed(&mut search, &history);
            assert!(search.scout.is_some(), "{clients} clients");
            assert_eq!(search.trail.as_ref().unwrap().steps.len(), 0);
            assert_eq!(search.answer(&Unlimited), Answer::Valid);
            // Nobody wrote what is read late.
            let late = history.len() - 100;
            let read = (late..).find(|at| history[*at].returns.is_some()).unwrap();
            history[read].op = RegisterOp::Read(9);
            let mut search = Search::with_plan(Register, 0, PLAN);
            feed(&mut search, &history);
            let at = history[read].returns.unwrap();
            assert_eq!(search.answer(&Unlimited), Answer::Invalid { at });
        }
    }

    fn feed(search: &mut Search<Register>, history: &[Event]) {
        for (at, event) in history.iter().enumerate() {
            let Event { id, op, .. } = *event;
            let result = match event.is_return {
                true => search.complete(id, at as u64, &Unlimited),
                false => search.call(id, op, event.returns, at as u64, &Unlimited),
            };
            result.unwrap();
        }
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
        fn while_a_scout_lives_there_is_an_order(
            choices in prop::collection::vec((0..5u8, any_op(), prop::bool::weighted(0.3)), 0..40)
        ) {
            let history = history(choices);
            for plan in [NARROW, PLAN] {
                let mut scout = Scout::new(0);
                let mut lives = true;
                for (at, event) in history.iter().enumerate() {
                    let step = match (event.is_return, event.returns) {
                        (true, _) => Step::Return(event.id),
                        (false, Some(deadline)) => Step::Call(event.id, event.op, deadline),
                        (false, None) => Step::Crash(event.op),
                    };
                    lives = scout.advance(step, at as u64, &plan, &mut Register, &Unlimited).unwrap();
                    if !lives {
                        break;
                    }
                }
                prop_assert!(!lives || exact(&history) == Answer::Valid);
            }
        }

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
            for plan in [NARROW, PLAN] {
                prop_assert_eq!(has_order(&history, plan), is_valid(expected));
            }
            if let (Answer::Invalid { at: found }, Answer::Invalid { at: first }) =
                (narrow, expected)
            {
                prop_assert!(found >= first, "found at {} what begins at {}", found, first);
            }
        }
    }
}
