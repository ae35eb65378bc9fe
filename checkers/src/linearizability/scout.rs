//! A scout: a single configuration that goes ahead of the search, depth first.
//!
//! Of most histories a single order is found by always taking the nearest way, and going back a little where that leads nowhere (Wing and
//! Gong 1993; Lowe 2017), at a fraction of what it takes to know all configurations. While the scout lives, there is an order of
//! everything so far, and nothing else needs to be searched. When it finds no way any more, that means nothing: the search proper follows
//! over all the steps that it has made.
//!
//! What is known of configurations from [`frontier`](super::frontier) holds here: operations take effect just in time, observations as
//! soon as they can, and an overwrite may be hidden before a later one. Crashed operations take effect where nothing else will do, one at
//! a time.

use rustc_hash::FxHashSet;

use super::frontier::OpId;
use super::model::Machine;
use super::steps::Step;

/// So many ways for an operation to return are kept, and so many configurations are looked at for them.
const WAYS: usize = 4;
const LOOKS: usize = 60;
/// What a crashed operation costs, in other operations.
const CRASHED_COST: u32 = 4;
/// It looks through so many kinds of crashed operations at most.
const CLASSES: usize = 64;
/// How many steps it may make again before it gives up.
const PATIENCE: usize = 4096;
/// How many steps it goes back at most.
const BACK: usize = 2048;

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
    is_observation: bool,
    is_overwrite: bool,
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
    /// All steps, each with its event, and how many of them are made.
    steps: Vec<(Step<T>, u64)>,
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
}

impl<T: Copy + Eq> Scout<T> {
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
        }
    }

    /// All steps so far, each with its event.
    pub(super) fn steps(&self) -> &[(Step<T>, u64)] {
        &self.steps
    }

    /// The same, of a scout that is of no more use.
    pub(super) fn into_steps(self) -> Vec<(Step<T>, u64)> {
        self.steps
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
    }

    /// Makes a step. `false` if it finds no way, or there is too much to keep in mind: then it is of no more use.
    pub(super) fn advance(
        &mut self,
        step: Step<T>,
        index: u64,
        machine: &mut impl Machine<Op = T>,
    ) -> bool {
        if self.undo.len() >= BACK * 2 {
            self.undo.drain(..BACK);
            let oldest = self.made - self.undo.len();
            self.choices.retain(|(at, _)| *at >= oldest);
        }
        self.steps.push((step, index));
        self.make(step, machine) || self.try_others(machine)
    }

    /// Takes the way that was not taken last, and all steps since, until there is none.
    fn try_others(&mut self, machine: &mut impl Machine<Op = T>) -> bool {
        self.dead.clear();
        let mut patience = PATIENCE;
        while let Some((at, way)) = self.choices.pop() {
            while self.made > at {
                self.take_back();
            }
            let Step::Return(id) = self.steps[at].0 else {
                return false;
            };
            if !self.dead.insert((at, way)) {
                continue;
            }
            self.close(self.slot_of(id), way);
            loop {
                let Some((step, _)) = self.steps.get(self.made) else {
                    return true;
                };
                if patience == 0 {
                    return false;
                }
                patience -= 1;
                if !self.make(*step, machine) {
                    break;
                }
            }
        }
        false
    }

    fn make(&mut self, step: Step<T>, machine: &mut impl Machine<Op = T>) -> bool {
        match step {
            Step::Call(id, op, _) => {
                let called = Slot {
                    id,
                    op,
                    is_observation: machine.is_observation(op),
                    is_overwrite: machine.is_overwrite(op),
                };
                self.call(called, machine)
            }
            Step::Crash(op) => self.crash(op, machine),
            Step::Return(id) => self.complete(self.slot_of(id), machine),
        }
    }

    fn call(&mut self, called: Slot<T>, machine: &mut impl Machine<Op = T>) -> bool {
        let slot = self.open.trailing_ones();
        if slot == u64::BITS {
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
