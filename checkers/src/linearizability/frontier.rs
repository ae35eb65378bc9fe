//! The engine: a set of configurations, moved forward by the events of a history in order.
//!
//! A *configuration* is one way in which everything so far may have happened: the state of the
//! object, which of the operations that are open now have taken effect, and which crashed ones have.
//! The frontier holds all configurations that matter. Its size follows the number of operations
//! that are open at once, never the length of the history.
//!
//! - **Just in time** (Lowe 2017): an operation is made to take effect only when it, or another one
//!   that needs it, returns. A return that no configuration survives is the violation.
//! - **Observations never branch.** One that a state satisfies takes effect at once: it changes
//!   nothing, so nothing is lost.
//! - **Writes hide.** An overwrite may have happened just before another one, unseen. Open
//!   overwrites become *optional* when another takes effect, and need to be tried openly only where
//!   something can see them.
//! - **Dominance.** A configuration that can do all that another can makes the other superfluous.
//! - **Crashed operations** may take effect at any later time or never. Those that do the same are
//!   one class with a count.
//!
//! With [`Crashed::Unlimited`] each crashed operation may take effect any number of times: more
//! is possible than can be, so an empty frontier is a proof. With a limited width configurations
//! are dropped: less is possible than can be, so a frontier that survives is a proof.

use std::collections::BinaryHeap;
use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::budget::{Budget, Exhausted};

use super::board::{Board, Slot};
use super::closure::Pending;
use super::config::{Antichain, Config, Used, intersection, subtract};
use super::mask::{Mask, WideMask, for_each_slot};
use super::model::Machine;
use super::situation::{Open, Situation};

/// How often a crashed operation may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crashed {
    /// At most once, as it is.
    Once,
    /// Any number of times: an over-approximation that needs no counting.
    Unlimited,
}

/// What is kept. Whatever exceeds it is dropped, and the frontier is then [lossy](Frontier::lossy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// How often a crashed operation may take effect.
    pub(super) crashed: Crashed,
    /// Configurations kept after an event.
    pub(super) width: usize,
    /// Crashed operations that may take effect between two events.
    pub(super) depth: usize,
    /// Configurations looked at within one event.
    pub(super) closure: usize,
    /// Ways for an operation to take effect, the cheapest first, after which no more are looked for.
    pub(super) ways: usize,
    /// Whether crashed operations take effect only where nothing else will do.
    pub(super) thrifty: bool,
}

impl Limits {
    /// No limits: the frontier is exact.
    pub(super) const EXACT: Limits = Limits {
        crashed: Crashed::Once,
        width: usize::MAX,
        depth: usize::MAX,
        closure: usize::MAX,
        ways: usize::MAX,
        thrifty: false,
    };
}

impl Limits {
    /// With how many others a configuration is compared. Where much is dropped anyway, comparing
    /// all with all is not worth it.
    pub(super) fn compared(&self) -> usize {
        const SOME: usize = 48;
        match self.ways {
            usize::MAX => usize::MAX,
            _ => SOME,
        }
    }
}

/// An operation as the caller numbers it.
pub(super) type OpId = u32;

/// A frontier over masks of one kind.
pub(super) struct Masked<T, M> {
    pub(super) configs: Vec<Config<M>>,
    pub(super) board: Board<T, M>,
    pub(super) limits: Limits,
    pub(super) lossy: bool,
    /// Configurations looked at so far.
    pub(super) work: usize,
    /// The states that could be reached when the frontier became empty.
    last_states: Vec<u32>,
    pub(super) seen: Antichain<M>,
    pub(super) next: Antichain<M>,
    /// Empty between events.
    pub(super) pending: BinaryHeap<Pending>,
}

impl<T: Copy + Eq + Hash, M: Mask> Clone for Masked<T, M> {
    fn clone(&self) -> Self {
        Masked {
            configs: self.configs.clone(),
            board: self.board.clone(),
            limits: self.limits,
            lossy: self.lossy,
            work: self.work,
            last_states: self.last_states.clone(),
            seen: Antichain::new(),
            next: Antichain::new(),
            pending: BinaryHeap::new(),
        }
    }
}

impl<T: Copy + Eq + Hash, M: Mask> Masked<T, M> {
    fn new(initial: u32, limits: Limits) -> Self {
        Masked {
            configs: vec![Config {
                state: initial,
                trace: 0,
                done: M::empty(),
                optional: M::empty(),
                used: Used::new(),
            }],
            board: Board::new(),
            limits,
            lossy: false,
            work: 0,
            last_states: Vec::new(),
            seen: Antichain::new(),
            next: Antichain::new(),
            pending: BinaryHeap::new(),
        }
    }

    /// An operation begins that will return. `false` if there is no slot for it.
    fn call(&mut self, id: OpId, op: T, deadline: u64, machine: &mut impl Machine<Op = T>) -> bool {
        let Some(slot) = self.board.call(id, op, deadline, machine) else {
            return false;
        };
        if self.board.kinds.observations.contains(slot) {
            for config in &mut self.configs {
                if machine.apply(config.state, op).is_some() {
                    config.done.insert(slot);
                }
            }
        }
        true
    }

    /// An operation returns: only configurations in which it has taken effect survive.
    fn complete(
        &mut self,
        id: OpId,
        machine: &mut impl Machine<Op = T>,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let slot = self.board.slot_of(id);
        if self.configs.iter().all(|config| config.done.contains(slot)) {
            for config in &mut self.configs {
                config.done.remove(slot);
            }
            self.board.close(slot);
            return Ok(());
        }
        let result = self.take_effect(slot, machine, budget);
        self.board.close(slot);
        result?;
        if self.configs.is_empty() {
            self.last_states = self.reachable_states(machine);
        }
        self.seen.clear();
        self.forget_common_uses();
        self.narrow();
        Ok(())
    }

    /// The same operations open and crashed, and no configuration.
    fn emptied(&self) -> Self {
        Masked {
            configs: Vec::new(),
            board: self.board.clone(),
            limits: self.limits,
            lossy: false,
            work: 0,
            last_states: Vec::new(),
            seen: Antichain::new(),
            next: Antichain::new(),
            pending: BinaryHeap::new(),
        }
    }

    /// Allows all that can have come before: any of `states`, and what is open may have taken
    /// effect or not, and may do so later or not.
    fn allow_everything(&mut self, states: &[u32], machine: &mut impl Machine<Op = T>) {
        let kinds = &self.board.kinds;
        let mut done = kinds.observations.clone();
        done.add(&kinds.updates);
        let optional = kinds.overwrites.clone();
        let mut updates = Vec::new();
        for_each_slot(kinds.updates.words().iter().copied(), |slot| {
            updates.extend(self.board.slots[slot].map(|slot| slot.op));
        });
        for op in updates {
            self.board.crash(op, machine);
        }
        self.configs = states
            .iter()
            .map(|state| Config {
                state: *state,
                trace: 0,
                done: done.clone(),
                optional: optional.clone(),
                used: Used::new(),
            })
            .collect();
    }

    /// Crashed operations that every configuration has used are gone for good: not counting them
    /// any more keeps configurations small however long the history.
    fn forget_common_uses(&mut self) {
        let Some(first) = self.configs.first().filter(|it| !it.used.is_empty()) else {
            return;
        };
        let mut common = first.used.clone();
        for config in &self.configs[1..] {
            if common.is_empty() {
                return;
            }
            common = intersection(&common, &config.used);
        }
        for config in &mut self.configs {
            subtract(&mut config.used, &common);
        }
        for class in common {
            self.board.classes[class as usize].count -= 1;
        }
    }

    /// Keeps as many configurations as the limits allow: those that used fewest crashed operations,
    /// then those that have fewest writes still to place.
    fn narrow(&mut self) {
        if self.configs.len() <= self.limits.width {
            return;
        }
        self.lossy = true;
        let overwrites = &self.board.kinds.overwrites;
        self.configs.sort_by_cached_key(|config| {
            let unplaced: u32 = overwrites
                .without(&config.done)
                .zip(config.optional.words())
                .map(|(word, optional)| (word & !optional).count_ones())
                .sum();
            (config.used.len(), unplaced)
        });
        // The best of each state first: what looks worse may be what is needed.
        let mut ranks: FxHashMap<u32, usize> = FxHashMap::default();
        let mut ranked: Vec<(usize, Config<M>)> = Vec::with_capacity(self.configs.len());
        for config in self.configs.drain(..) {
            let rank = ranks.entry(config.state).or_default();
            ranked.push((*rank, config));
            *rank += 1;
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.truncate(self.limits.width);
        self.configs
            .extend(ranked.into_iter().map(|(_, config)| config));
    }

    /// The configuration that has used fewest crashed operations.
    fn situation(&self) -> Option<Situation<T>> {
        let config = self.configs.iter().min_by_key(|config| config.used.len())?;
        let open = self
            .board
            .slots
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| {
                let Slot { id, op, deadline } = (*slot)?;
                Some(Open {
                    id,
                    op,
                    deadline,
                    is_done: config.done.contains(at),
                    is_optional: config.optional.contains(at),
                })
            });
        let crashed = (0u32..).zip(&self.board.classes).map(|(number, class)| {
            let used = config.used.iter().filter(|used| **used == number);
            (class.op, class.count - used.count() as u32)
        });
        Some(Situation {
            state: config.state,
            open: open.collect(),
            crashed: crashed.filter(|(_, left)| *left > 0).collect(),
        })
    }

    /// The same frontier with room for twice as many open operations.
    fn widened(&self) -> Masked<T, WideMask> {
        let slots = self.board.slots.len() * 2;
        let configs = self.configs.iter().map(|config| Config {
            state: config.state,
            trace: config.trace,
            done: WideMask::widened(&config.done, slots),
            optional: WideMask::widened(&config.optional, slots),
            used: config.used.clone(),
        });
        Masked {
            configs: configs.collect(),
            board: self.board.widened(),
            limits: self.limits,
            lossy: self.lossy,
            work: self.work,
            last_states: self.last_states.clone(),
            seen: Antichain::new(),
            next: Antichain::new(),
            pending: BinaryHeap::new(),
        }
    }
}

/// A frontier over one word while at most 64 operations are open, over more from then on.
#[derive(Clone)]
pub(super) enum Frontier<T: Copy + Eq + Hash> {
    Narrow(Masked<T, u64>),
    Wide(Masked<T, WideMask>),
}

/// The same expression for both kinds of frontier.
macro_rules! each {
    ($frontier:expr, $masked:ident => $body:expr) => {
        match $frontier {
            Frontier::Narrow($masked) => $body,
            Frontier::Wide($masked) => $body,
        }
    };
}

impl<T: Copy + Eq + Hash> Frontier<T> {
    /// The object in its first state, and nothing open.
    pub(super) fn new(initial: u32, limits: Limits) -> Frontier<T> {
        Frontier::Narrow(Masked::new(initial, limits))
    }

    /// One configuration alone.
    pub(super) fn of(
        situation: &Situation<T>,
        limits: Limits,
        machine: &mut impl Machine<Op = T>,
    ) -> Frontier<T> {
        let mut frontier = Frontier::new(situation.state, limits);
        for (op, count) in &situation.crashed {
            for _ in 0..*count {
                frontier.crash(*op, machine);
            }
        }
        for Open {
            id, op, deadline, ..
        } in &situation.open
        {
            frontier.call(*id, *op, *deadline, machine);
        }
        each!(&mut frontier, masked => {
            for config in &mut masked.configs {
                for open in &situation.open {
                    let slot = masked.board.slot_of(open.id);
                    if open.is_done {
                        config.done.insert(slot);
                    }
                    if open.is_optional {
                        config.optional.insert(slot);
                    }
                }
            }
        });
        frontier
    }

    /// Its best configuration, if one is left.
    pub(super) fn situation(&self) -> Option<Situation<T>> {
        each!(self, masked => masked.situation())
    }

    /// An operation begins that will return, with the event `deadline`.
    pub(super) fn call(
        &mut self,
        id: OpId,
        op: T,
        deadline: u64,
        machine: &mut impl Machine<Op = T>,
    ) {
        if each!(self, masked => masked.call(id, op, deadline, machine)) {
            return;
        }
        let mut wide = each!(&mut *self, masked => masked.widened());
        let called = wide.call(id, op, deadline, machine);
        debug_assert!(called, "a widened frontier has free slots");
        *self = Frontier::Wide(wide);
    }

    /// An operation begins that never returns, but may take effect at any time.
    pub(super) fn crash(&mut self, op: T, machine: &mut impl Machine<Op = T>) {
        each!(self, masked => masked.board.crash(op, machine));
    }

    /// An operation returns: only configurations in which it has taken effect survive.
    ///
    /// After an error the frontier means nothing any more.
    pub(super) fn complete(
        &mut self,
        id: OpId,
        machine: &mut impl Machine<Op = T>,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        each!(self, masked => masked.complete(id, machine, budget))
    }

    /// The same operations open and crashed, and no configuration.
    pub(super) fn emptied(&self) -> Self {
        match self {
            Frontier::Narrow(masked) => Frontier::Narrow(masked.emptied()),
            Frontier::Wide(masked) => Frontier::Wide(masked.emptied()),
        }
    }

    /// Allows all that can have come before: any of `states`, and what is open may have taken
    /// effect or not, and may do so later or not. Only good with [`Crashed::Unlimited`].
    pub(super) fn allow_everything(&mut self, states: &[u32], machine: &mut impl Machine<Op = T>) {
        each!(self, masked => masked.allow_everything(states, machine));
    }

    /// The operations that are open, and one of each class of crashed ones.
    pub(super) fn known_ops(&self) -> Vec<T> {
        each!(self, masked => {
            let open = masked.board.slots.iter().flatten().map(|slot| slot.op);
            open.chain(masked.board.classes.iter().map(|class| class.op)).collect()
        })
    }

    /// Everything that may take effect yet, with the event with which it returns if it does.
    pub(super) fn pending(&self) -> Vec<(T, Option<u64>)> {
        each!(self, masked => masked.board.pending())
    }

    /// Changes what is kept from now on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        each!(self, masked => masked.limits = limits);
    }

    /// How many configurations were looked at so far.
    pub(super) fn work(&self) -> usize {
        each!(self, masked => masked.work)
    }

    /// Whether anything was dropped because of the limits.
    pub(super) fn lossy(&self) -> bool {
        each!(self, masked => masked.lossy)
    }

    /// Whether no configuration is left.
    pub(super) fn is_dead(&self) -> bool {
        each!(self, masked => masked.configs.is_empty())
    }

    /// How many configurations there are.
    pub(super) fn width(&self) -> usize {
        each!(self, masked => masked.configs.len())
    }

    /// How many operations are open that will return.
    pub(super) fn open(&self) -> usize {
        each!(self, masked => masked.board.open.len() as usize)
    }

    /// Adds the states that what follows may still begin from, and forgets about all others.
    pub(super) fn live_states(&mut self, into: &mut Vec<u32>) {
        each!(self, masked => {
            masked.board.forget_places();
            into.extend(masked.configs.iter().map(|config| config.state));
        });
    }

    /// How its configurations came to be, the best first, as the machine [noted](Machine::note) it.
    pub(super) fn traces(&self) -> Vec<u32> {
        each!(self, masked => masked.configs.iter().map(|config| config.trace).collect())
    }

    /// The states that could be reached when the last configuration died, ascending.
    pub(super) fn last_states(&self) -> &[u32] {
        each!(self, masked => &masked.last_states)
    }
}
