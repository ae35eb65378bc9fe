//! A scout: a single configuration that goes ahead of the search, depth first.
//!
//! Of most histories an order is found by always taking the nearest way, and going back a little where that leads nowhere (Wing and
//! Gong 1993; Lowe 2017), at a fraction of what it takes to know all configurations. While the scout lives, there is an order of
//! everything so far, and nothing else needs to be searched. Where it finds no way, a frontier that begins at one of its last camps mostly
//! does, and the scout goes on from there. If that does not either, it means nothing: the search proper follows over all the steps.
//!
//! What is known of configurations from [`frontier`](super::frontier) holds here: operations take effect just in time, observations as
//! soon as they can, and an overwrite may be hidden before a later one. Crashed operations take effect where nothing else will do, one at
//! a time.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::FxHashSet;

use crate::budget::{Budget, Exhausted};

use super::beam::Rung;
use super::frontier::{Frontier, OpId};
use super::model::Machine;
use super::plan::Plan;
use super::situation::{Open, Situation};
use super::steps::{Step, apply};

/// So many ways for an operation to return are kept, and so many configurations are looked at for them.
const WAYS: usize = 8;
const LOOKS: usize = 60;
/// What a crashed operation costs, in other operations.
const CRASHED_COST: u32 = 4;
/// It looks through so many kinds of crashed operations at most.
const CLASSES: usize = 64;
/// How many steps it may make again to get past one.
const PATIENCE: usize = 1024;
/// How many steps it goes back at most.
const BACK: usize = 1024;
/// How many camps are kept.
const CAMPS: usize = 7;
/// It is rescued a few times at first, and once more for so many steps.
const RESCUES: usize = 2;
const STEPS_PER_RESCUE: usize = 512;
/// Where more are open at once there are too many ways, and a frontier does better: it leaves out what others make superfluous.
const OPEN: u32 = 12;
/// How many steps are kept together.
const PIECE: usize = 1024;

/// A configuration. Open operations are slots of one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Config {
    state: u32,
    /// Those that have taken effect.
    done: u64,
    /// Overwrites that may have happened, hidden by a later one.
    optional: u64,
}

/// A way for an operation to return.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Way {
    /// The configuration that it leads to.
    to: Config,
    /// The class of the crashed operation that takes effect.
    crashed: Option<u32>,
}

/// An open operation.
#[derive(Clone, Copy)]
struct Slot<T> {
    id: OpId,
    op: T,
    deadline: u64,
    is_observation: bool,
    is_overwrite: bool,
}

impl<T: Copy> Slot<T> {
    fn of(id: OpId, op: T, deadline: u64, machine: &impl Machine<Op = T>) -> Slot<T> {
        Slot {
            id,
            op,
            deadline,
            is_observation: machine.is_observation(op),
            is_overwrite: machine.is_overwrite(op),
        }
    }
}

/// What undoes a step.
#[derive(Clone, Copy)]
enum Undo<T> {
    Call(u32),
    /// Of the class, if it was more than an observation.
    Crash(Option<u32>),
    /// Of the slot and what was there, and the class of the crashed operation that took effect.
    Return(u32, Slot<T>, Option<u32>),
}

/// A configuration ahead of the search, and the steps that led to it.
pub(super) struct Scout<T> {
    config: Config,
    /// By slot. What is not open is left over.
    slots: Vec<Slot<T>>,
    open: u64,
    observations: u64,
    overwrites: u64,
    /// Crashed operations that do the same, and how many of them have not taken effect.
    classes: Vec<(T, u32)>,
    /// All steps, each with its event, in pieces, so that none of them moves as they become more; and how many of them are made.
    steps: Vec<Vec<(Step<T>, u64)>>,
    made: usize,
    /// What undoes the last of them.
    undo: Vec<Undo<T>>,
    /// Ways that were not taken: at which step. The nearest last.
    choices: Vec<(usize, Way)>,
    /// Choices that lead nowhere, while it goes back.
    dead: FxHashSet<(usize, Way)>,
    /// While it looks for ways: what was looked at, and what was found, each with its cost.
    looked: Vec<(u32, Way)>,
    ways: Vec<(u32, Way)>,
    /// Where it was, after so many steps, the latest last.
    camps: VecDeque<(usize, Situation<T>)>,
    /// How often it was rescued.
    rescues: usize,
}

impl<T: Copy + Eq + Hash> Scout<T> {
    pub(super) fn new(state: u32) -> Scout<T> {
        Scout {
            config: Config {
                state,
                done: 0,
                optional: 0,
            },
            slots: Vec::new(),
            open: 0,
            observations: 0,
            overwrites: 0,
            classes: Vec::new(),
            steps: Vec::new(),
            made: 0,
            undo: Vec::new(),
            choices: Vec::new(),
            dead: FxHashSet::default(),
            looked: Vec::new(),
            ways: Vec::new(),
            camps: VecDeque::new(),
            rescues: 0,
        }
    }

    /// How many steps there are.
    pub(super) fn len(&self) -> usize {
        let full = self.steps.len().saturating_sub(1) * PIECE;
        self.steps.last().map_or(0, |last| full + last.len())
    }

    /// All of them, each with its event.
    pub(super) fn steps(&self) -> impl Iterator<Item = &(Step<T>, u64)> {
        self.steps.iter().flatten()
    }

    /// The same, of a scout that is of no more use.
    pub(super) fn into_steps(self) -> impl Iterator<Item = (Step<T>, u64)> {
        self.steps.into_iter().flatten()
    }

    /// The step that is made after so many others, if there is one.
    fn step(&self, at: usize) -> Option<Step<T>> {
        let (step, _) = self.steps.get(at / PIECE)?.get(at % PIECE)?;
        Some(*step)
    }

    fn push(&mut self, step: (Step<T>, u64)) {
        match self.steps.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(step),
            None => {
                // Most histories of an object are short. One that is not will fill its next piece, too.
                let room = if self.steps.is_empty() { 0 } else { PIECE };
                let mut piece = Vec::with_capacity(room);
                piece.push(step);
                self.steps.push(piece);
            }
        }
    }

    /// How many operations are open.
    pub(super) fn open(&self) -> usize {
        self.open.count_ones() as usize
    }

    /// About how many bytes it takes beside the steps.
    pub(super) fn bytes(&self) -> usize {
        self.undo.len() * size_of::<Undo<T>>() + self.choices.len() * size_of::<(usize, Way)>()
    }

    /// Adds the states that it may go on from.
    pub(super) fn live_states(&self, into: &mut Vec<u32>) {
        into.push(self.config.state);
        into.extend(self.choices.iter().map(|(_, way)| way.to.state));
        into.extend(self.camps.iter().map(|(_, camp)| camp.state));
    }

    /// Makes a step. `false` if it finds no way, or there is too much to keep in mind: then it is of no more use.
    ///
    /// # Errors
    /// If the budget ran out, after which it is of no more use either.
    pub(super) fn advance(
        &mut self,
        step: Step<T>,
        index: u64,
        plan: &Plan,
        machine: &mut impl Machine<Op = T>,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        if self.made.is_multiple_of(plan.camp_steps) {
            self.camp();
        }
        self.push((step, index));
        let gets_on = self.make(step, machine)
            || self.try_others(machine)
            || self.is_rescued(plan.rescue, machine, budget)?;
        Ok(gets_on)
    }

    /// Remembers where it is, and forgets what is long ago.
    fn camp(&mut self) {
        if self.undo.len() >= BACK * 2 {
            self.undo.drain(..BACK);
            let oldest = self.made - self.undo.len();
            self.choices.retain(|(at, _)| *at >= oldest);
        }
        let mut camp = match self.camps.len() {
            // With the room that it has.
            CAMPS => self.camps.pop_front().map(|(_, oldest)| oldest),
            _ => None,
        }
        .unwrap_or_default();
        self.write_down(&mut camp);
        self.camps.push_back((self.made, camp));
    }

    fn write_down(&self, situation: &mut Situation<T>) {
        let Config {
            state,
            done,
            optional,
        } = self.config;
        let open = slots(self.open).map(|slot| {
            let Slot {
                id, op, deadline, ..
            } = self.slots[slot as usize];
            Open {
                id,
                op,
                deadline,
                is_done: done >> slot & 1 == 1,
                is_optional: optional >> slot & 1 == 1,
            }
        });
        situation.state = state;
        situation.open.clear();
        situation.open.extend(open);
        let left = self.classes.iter().filter(|(_, left)| *left > 0);
        situation.crashed.clear();
        situation.crashed.extend(left);
    }

    /// Sends a frontier from a camp over the steps since, and goes on from where that gets.
    fn is_rescued(
        &mut self,
        rescue: &[Rung],
        machine: &mut impl Machine<Op = T>,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        let end = self.len();
        self.rescues += 1;
        if self.rescues > RESCUES + end / STEPS_PER_RESCUE {
            return Ok(false);
        }
        for Rung { limits, back, work } in rescue {
            let camp = self.camps.iter().rev().find(|(at, _)| end - at >= *back);
            let Some((at, camp)) = camp.or(self.camps.front()) else {
                return Ok(false);
            };
            let at = *at;
            let mut frontier = Frontier::of(camp, *limits, machine);
            for step in (at..end).filter_map(|at| self.step(at)) {
                apply(&mut frontier, step, machine, budget)?;
                if frontier.is_dead() || frontier.work() > *work {
                    break;
                }
            }
            let caught_up = frontier.work() <= *work;
            let Some(found) = frontier.situation().filter(|_| caught_up) else {
                continue;
            };
            if found.open.len() > OPEN as usize || found.crashed.len() > CLASSES {
                return Ok(false);
            }
            // Later camps were on the way that led nowhere.
            self.camps.retain(|(camp, _)| *camp <= at);
            self.go_on_from(&found, machine);
            return Ok(true);
        }
        Ok(false)
    }

    /// All steps are made.
    fn go_on_from(&mut self, situation: &Situation<T>, machine: &impl Machine<Op = T>) {
        (self.open, self.observations, self.overwrites) = (0, 0, 0);
        self.config = Config {
            state: situation.state,
            done: 0,
            optional: 0,
        };
        self.slots.clear();
        for (slot, open) in (0u32..).zip(&situation.open) {
            self.slots
                .push(Slot::of(open.id, open.op, open.deadline, machine));
            self.open_slot(slot);
            self.config.done |= u64::from(open.is_done) << slot;
            self.config.optional |= u64::from(open.is_optional) << slot;
        }
        self.classes.clone_from(&situation.crashed);
        self.made = self.len();
        self.undo.clear();
        self.choices.clear();
        self.camp();
    }

    /// Takes the way that was not taken last, and all steps since, until there is none.
    fn try_others(&mut self, machine: &mut impl Machine<Op = T>) -> bool {
        self.dead.clear();
        let mut patience = PATIENCE;
        while let Some((at, way)) = self.choices.pop() {
            while self.made > at {
                self.take_back();
            }
            let Some(Step::Return(id)) = self.step(at) else {
                return false;
            };
            if !self.dead.insert((at, way)) {
                continue;
            }
            self.close(self.slot_of(id), way);
            loop {
                let Some(step) = self.step(self.made) else {
                    return true;
                };
                if patience == 0 {
                    return false;
                }
                patience -= 1;
                if !self.make(step, machine) {
                    break;
                }
            }
        }
        false
    }

    fn make(&mut self, step: Step<T>, machine: &mut impl Machine<Op = T>) -> bool {
        match step {
            Step::Call(id, op, deadline) => self.call(Slot::of(id, op, deadline, machine), machine),
            Step::Crash(op) => self.crash(op, machine),
            Step::Return(id) => self.complete(self.slot_of(id), machine),
        }
    }

    fn call(&mut self, called: Slot<T>, machine: &mut impl Machine<Op = T>) -> bool {
        let slot = self.open.trailing_ones();
        if slot == OPEN {
            return false;
        }
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = called,
            None => self.slots.push(called),
        }
        self.open_slot(slot);
        if called.is_observation && machine.accepts(self.config.state, called.op) {
            self.config.done |= 1 << slot;
        }
        self.note(Undo::Call(slot));
        true
    }

    fn crash(&mut self, op: T, machine: &impl Machine<Op = T>) -> bool {
        if machine.is_observation(op) {
            self.note(Undo::Crash(None));
            return true;
        }
        let known = self.classes.iter().position(|(of, _)| *of == op);
        let class = known.unwrap_or(self.classes.len());
        if known.is_none() {
            self.classes.push((op, 0));
        }
        self.classes[class].1 += 1;
        self.note(Undo::Crash(Some(class as u32)));
        self.classes.len() <= CLASSES
    }

    fn complete(&mut self, slot: u32, machine: &mut impl Machine<Op = T>) -> bool {
        let stay = Way {
            to: self.config,
            crashed: None,
        };
        if self.config.done >> slot & 1 == 1 {
            self.close(slot, stay);
            return true;
        }
        self.look_for_ways(slot, machine);
        let Some(((_, nearest), others)) = self.ways.split_first() else {
            return false;
        };
        let (at, nearest) = (self.made, *nearest);
        let others = others.iter().rev().map(|(_, way)| (at, *way));
        self.choices.extend(others);
        self.close(slot, nearest);
        true
    }

    /// Takes back the last step that was made. The configuration is left as it is.
    fn take_back(&mut self) {
        self.made -= 1;
        match self.undo.pop() {
            Some(Undo::Call(slot)) => self.close_slot(slot),
            Some(Undo::Return(slot, closed, crashed)) => {
                self.slots[slot as usize] = closed;
                self.open_slot(slot);
                if let Some(class) = crashed {
                    self.classes[class as usize].1 += 1;
                }
            }
            Some(Undo::Crash(Some(class))) => self.classes[class as usize].1 -= 1,
            Some(Undo::Crash(None)) | None => {}
        }
    }

    fn note(&mut self, undo: Undo<T>) {
        self.undo.push(undo);
        self.made += 1;
    }

    /// The operation of a slot returns in a way.
    fn close(&mut self, slot: u32, way: Way) {
        let bit = 1 << slot;
        self.config = way.to;
        self.config.done &= !bit;
        self.config.optional &= !bit;
        if let Some(class) = way.crashed {
            self.classes[class as usize].1 -= 1;
        }
        self.close_slot(slot);
        self.note(Undo::Return(slot, self.slots[slot as usize], way.crashed));
    }

    fn open_slot(&mut self, slot: u32) {
        let bit = 1 << slot;
        let Slot {
            is_observation,
            is_overwrite,
            ..
        } = self.slots[slot as usize];
        self.open |= bit;
        self.observations |= u64::from(is_observation) << slot;
        self.overwrites |= u64::from(is_overwrite) << slot;
    }

    fn close_slot(&mut self, slot: u32) {
        let others = !(1 << slot);
        self.open &= others;
        self.observations &= others;
        self.overwrites &= others;
    }

    /// The slot of an open operation.
    fn slot_of(&self, id: OpId) -> u32 {
        let mut open = slots(self.open);
        open.find(|slot| self.slots[*slot as usize].id == id)
            .expect("an operation that returns is open")
    }

    /// Finds ways for the operation of a slot to return, the nearest first.
    fn look_for_ways(&mut self, slot: u32, machine: &mut impl Machine<Op = T>) {
        self.ways.clear();
        self.looked.clear();
        let stay = Way {
            to: self.config,
            crashed: None,
        };
        if self.config.optional >> slot & 1 == 1 {
            self.ways.push((0, stay));
        }
        self.looked.push((0, stay));
        self.look_around(slot, 0, machine);
        if self.ways.is_empty() && !self.classes.is_empty() {
            let end = self.looked.len();
            for at in 0..end {
                self.dig(slot, at, machine);
            }
            self.look_around(slot, end, machine);
        }
        if self.ways.len() > 1 {
            self.ways.sort_by_key(|(cost, _)| *cost);
        }
    }

    /// Lets open operations take effect, one after another, from what was looked at from a position on.
    fn look_around(&mut self, slot: u32, from: usize, machine: &mut impl Machine<Op = T>) {
        let mut at = from;
        while at < self.looked.len() && self.ways.len() < WAYS && at < from + LOOKS {
            let (cost, Way { to, crashed }) = self.looked[at];
            at += 1;
            for open in slots(self.open & !self.observations & !to.done) {
                let Slot {
                    op, is_overwrite, ..
                } = self.slots[open as usize];
                if let Some(mut next) = self.next(to, op, is_overwrite, machine) {
                    next.done |= 1 << open;
                    next.optional &= !(1 << open);
                    // One that nothing sees had better stay hidden.
                    let is_of_use = open == slot || !is_overwrite;
                    if is_of_use || self.is_seen(to, next, machine) {
                        self.arrive(slot, cost + 1, Way { to: next, crashed });
                    }
                }
            }
        }
    }

    /// Lets a crashed operation take effect.
    fn dig(&mut self, slot: u32, at: usize, machine: &mut impl Machine<Op = T>) {
        let (cost, Way { to, .. }) = self.looked[at];
        for class in 0..self.classes.len() {
            let (op, left) = self.classes[class];
            if left == 0 {
                continue;
            }
            let is_overwrite = machine.is_overwrite(op);
            if let Some(next) = self.next(to, op, is_overwrite, machine)
                && next.state != to.state
                && self.is_seen(to, next, machine)
            {
                let way = Way {
                    to: next,
                    crashed: Some(class as u32),
                };
                self.arrive(slot, cost + CRASHED_COST, way);
            }
        }
    }

    /// The configuration after an operation takes effect, with the observations that do so at once.
    fn next(
        &self,
        from: Config,
        op: T,
        is_overwrite: bool,
        machine: &mut impl Machine<Op = T>,
    ) -> Option<Config> {
        let state = machine.apply(from.state, op)?;
        let mut next = Config { state, ..from };
        for seeing in slots(self.observations & !from.done) {
            if machine.accepts(state, self.slots[seeing as usize].op) {
                next.done |= 1 << seeing;
            }
        }
        if is_overwrite {
            next.optional |= self.overwrites & !from.done;
        }
        Some(next)
    }

    /// Whether an observation, or an update that can take effect now, sees the state that is reached.
    fn is_seen(&self, from: Config, next: Config, machine: &mut impl Machine<Op = T>) -> bool {
        let updates = self.open & !self.observations & !self.overwrites & !next.done;
        (next.done & !from.done & self.observations) != 0
            || slots(updates).any(|slot| machine.accepts(next.state, self.slots[slot as usize].op))
    }

    fn arrive(&mut self, slot: u32, cost: u32, way: Way) {
        let list = match way.to.done >> slot & 1 {
            1 => &mut self.ways,
            _ => &mut self.looked,
        };
        if list.iter().all(|(_, known)| *known != way) {
            list.push((cost, way));
        }
    }
}

/// The slots of a word, lowest first.
fn slots(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let slot = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (slot < u64::BITS).then_some(slot)
    })
}
