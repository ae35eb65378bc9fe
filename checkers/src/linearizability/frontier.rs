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

use std::collections::BTreeSet;
use std::hash::Hash;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::budget::{Budget, Exhausted};

use super::config::{Antichain, Config, Kinds, Used, intersection, subtract};
use super::mask::{Mask, WideMask, for_each_slot};
use super::meter::Meter;
use super::model::Machine;

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
}

impl Limits {
    /// No limits: the frontier is exact.
    pub(super) const EXACT: Limits = Limits {
        crashed: Crashed::Once,
        width: usize::MAX,
        depth: usize::MAX,
        closure: usize::MAX,
    };
}

/// An operation as the caller numbers it.
pub(super) type OpId = u32;

#[derive(Clone, Copy)]
struct Slot<T> {
    id: OpId,
    op: T,
}

#[derive(Clone, Copy)]
struct Class<T> {
    op: T,
    /// How many crashed operations of the class there are that not every configuration has used.
    count: u32,
}

/// A frontier over masks of one kind.
pub(super) struct Masked<T, M> {
    configs: Vec<Config<M>>,
    /// By slot; what closed slots hold means nothing.
    slots: Vec<Option<Slot<T>>>,
    open: M,
    kinds: Kinds<M>,
    classes: Vec<Class<T>>,
    class_of: FxHashMap<T, u32>,
    limits: Limits,
    lossy: bool,
    /// The states that could be reached when the frontier became empty.
    last_states: Vec<u32>,
    seen: Antichain<M>,
    next: Antichain<M>,
}

impl<T: Copy, M: Mask> Clone for Masked<T, M> {
    fn clone(&self) -> Self {
        Masked {
            configs: self.configs.clone(),
            slots: self.slots.clone(),
            open: self.open.clone(),
            kinds: self.kinds.clone(),
            classes: self.classes.clone(),
            class_of: self.class_of.clone(),
            limits: self.limits,
            lossy: self.lossy,
            last_states: self.last_states.clone(),
            seen: Antichain::new(),
            next: Antichain::new(),
        }
    }
}

/// A configuration that waits to be expanded within an event.
struct Pending {
    at: u32,
    /// Crashed operations that took effect within this event.
    depth: usize,
}

impl<T: Copy + Eq + Hash, M: Mask> Masked<T, M> {
    fn new(initial: u32, limits: Limits) -> Self {
        let empty = M::empty();
        Masked {
            configs: vec![Config {
                state: initial,
                done: empty.clone(),
                optional: empty.clone(),
                used: Used::new(),
            }],
            slots: vec![None; 64],
            open: empty.clone(),
            kinds: Kinds {
                observations: empty.clone(),
                overwrites: empty.clone(),
                updates: empty,
            },
            classes: Vec::new(),
            class_of: FxHashMap::default(),
            limits,
            lossy: false,
            last_states: Vec::new(),
            seen: Antichain::new(),
            next: Antichain::new(),
        }
    }

    /// An operation begins that will return. `false` if there is no slot for it.
    fn call(&mut self, id: OpId, op: T, machine: &mut impl Machine<Op = T>) -> bool {
        let Some(slot) = self.open.first_absent() else {
            return false;
        };
        self.slots[slot] = Some(Slot { id, op });
        self.open.insert(slot);
        if machine.is_observation(op) {
            self.kinds.observations.insert(slot);
            for config in &mut self.configs {
                if machine.apply(config.state, op).is_some() {
                    config.done.insert(slot);
                }
            }
        } else if machine.is_overwrite(op) {
            self.kinds.overwrites.insert(slot);
        } else {
            self.kinds.updates.insert(slot);
        }
        true
    }

    /// An operation begins that never returns.
    fn crash(&mut self, op: T, machine: &mut impl Machine<Op = T>) {
        if machine.is_observation(op) {
            return;
        }
        let fresh = self.classes.len() as u32;
        let class = *self.class_of.entry(op).or_insert(fresh);
        if class == fresh {
            self.classes.push(Class { op, count: 0 });
        }
        self.classes[class as usize].count += 1;
    }

    /// An operation returns: only configurations in which it has taken effect survive.
    fn complete(
        &mut self,
        id: OpId,
        machine: &mut impl Machine<Op = T>,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let slot = self
            .slots
            .iter()
            .position(|slot| slot.is_some_and(|slot| slot.id == id))
            .expect("an operation that returns is open");
        if self.configs.iter().all(|config| config.done.contains(slot)) {
            for config in &mut self.configs {
                config.done.remove(slot);
            }
            self.close(slot);
            return Ok(());
        }
        let result = self.take_effect(slot, machine, budget);
        self.close(slot);
        result?;
        if self.configs.is_empty() {
            self.last_states = self.reachable_states(machine);
        }
        self.seen.clear();
        self.forget_common_uses();
        self.narrow();
        Ok(())
    }

    /// The states of everything looked at within the last event, and of everything left out because
    /// nothing would have seen it, ascending.
    fn reachable_states(&self, machine: &mut impl Machine<Op = T>) -> Vec<u32> {
        let mut states = BTreeSet::new();
        for config in self.seen.iter() {
            states.insert(config.state);
            for_each_slot(self.movable(config), |slot| {
                let op = self.slots[slot].map(|slot| slot.op);
                states.extend(op.and_then(|op| machine.apply(config.state, op)));
            });
            let crashed = self.classes.iter().filter(|class| class.count > 0);
            states.extend(crashed.filter_map(|class| machine.apply(config.state, class.op)));
        }
        states.into_iter().collect()
    }

    /// The words of the slots of operations that change something and have not taken effect.
    fn movable<'a>(&'a self, config: &'a Config<M>) -> impl Iterator<Item = u64> + 'a {
        self.kinds
            .overwrites
            .words()
            .iter()
            .zip(self.kinds.updates.words())
            .zip(config.done.words())
            .map(|((overwrites, updates), done)| (overwrites | updates) & !done)
    }

    fn close(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.open.remove(slot);
        self.kinds.observations.remove(slot);
        self.kinds.overwrites.remove(slot);
        self.kinds.updates.remove(slot);
    }

    /// Replaces the configurations by those in which the operation of `slot` has taken effect.
    fn take_effect(
        &mut self,
        slot: usize,
        machine: &mut impl Machine<Op = T>,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let mut stack = Vec::new();
        self.seen.clear();
        self.next.clear();
        for config in std::mem::take(&mut self.configs) {
            if config.done.contains(slot) {
                self.emit(config, slot);
                continue;
            }
            if config.optional.contains(slot) {
                // Hidden. It may still take effect openly instead, but not later than now.
                self.emit(config.clone(), slot);
            }
            self.visit(config, 0, &mut stack);
        }
        let mut meter = Meter::default();
        let mut steps = 0usize;
        let mut result = Ok(());
        while let Some(pending) = stack.pop() {
            steps += 1;
            if steps > self.limits.closure {
                self.lossy = true;
                break;
            }
            if steps.is_multiple_of(128) {
                let held = self.seen.len() + self.next.len();
                result = meter.hold::<Config<M>>(held, budget);
                if result.is_err() {
                    break;
                }
            }
            self.expand(pending, slot, &mut stack, machine);
        }
        meter.release(budget);
        self.next.drain_into(&mut self.configs);
        result
    }

    /// Lets every open and every crashed operation that can take effect do so.
    fn expand(
        &mut self,
        pending: Pending,
        slot: usize,
        stack: &mut Vec<Pending>,
        machine: &mut impl Machine<Op = T>,
    ) {
        let config = self.seen.get(pending.at).clone();
        let mut ready: SmallVec<[u32; 32]> = SmallVec::new();
        for_each_slot(self.movable(&config), |slot| ready.push(slot as u32));
        for open in ready {
            let open = open as usize;
            let Some(Slot { op, .. }) = self.slots[open] else {
                continue;
            };
            let Some(mut after) = self.step(&config, op, machine) else {
                continue;
            };
            if open != slot && machine.is_overwrite(op) && !self.is_seen(&config, &after, machine) {
                continue;
            }
            after.done.insert(open);
            after.optional.remove(open);
            self.arrive(after, pending.depth, slot, stack);
        }
        self.expand_crashed(&config, pending.depth, slot, stack, machine);
    }

    fn expand_crashed(
        &mut self,
        config: &Config<M>,
        depth: usize,
        slot: usize,
        stack: &mut Vec<Pending>,
        machine: &mut impl Machine<Op = T>,
    ) {
        for class in 0..self.classes.len() {
            let Class { op, count } = self.classes[class];
            let class = class as u32;
            let uses = config.used.iter().filter(|used| **used == class).count();
            if self.limits.crashed == Crashed::Once && uses as u32 >= count {
                continue;
            }
            let Some(mut after) = self.step(config, op, machine) else {
                continue;
            };
            // One that changes nothing now is better kept for later. Hiding others is a change.
            let changes = after.state != config.state || after.optional != config.optional;
            if !changes || !self.is_seen(config, &after, machine) {
                continue;
            }
            if depth >= self.limits.depth {
                self.lossy = true;
                return;
            }
            if self.limits.crashed == Crashed::Once {
                let at = after.used.partition_point(|used| *used <= class);
                after.used.insert(at, class);
            }
            self.arrive(after, depth + 1, slot, stack);
        }
    }

    /// Whether anything can take effect that needs the state just reached.
    ///
    /// If not, an overwrite that led there had better stay hidden before the next one, and a
    /// crashed operation had better not have happened.
    fn is_seen(
        &self,
        before: &Config<M>,
        after: &Config<M>,
        machine: &mut impl Machine<Op = T>,
    ) -> bool {
        if before.done != after.done {
            return true;
        }
        let mut seen = false;
        for_each_slot(self.kinds.updates.without(&after.done), |slot| {
            let op = self.slots[slot].map(|slot| slot.op);
            seen |= op.is_some_and(|op| machine.apply(after.state, op).is_some());
        });
        let classes = &self.classes;
        seen || classes.iter().any(|class| {
            !machine.is_overwrite(class.op) && machine.apply(after.state, class.op).is_some()
        })
    }

    /// The configuration after an operation takes effect, with everything that follows at once.
    fn step(
        &self,
        config: &Config<M>,
        op: T,
        machine: &mut impl Machine<Op = T>,
    ) -> Option<Config<M>> {
        let state = machine.apply(config.state, op)?;
        let mut after = config.clone();
        after.state = state;
        if machine.is_overwrite(op) {
            let words = after.optional.words_mut().iter_mut();
            for (word, more) in words.zip(self.kinds.overwrites.without(&config.done)) {
                *word |= more;
            }
        }
        let done = &mut after.done;
        for_each_slot(self.kinds.observations.without(&config.done), |slot| {
            if let Some(Slot { op, .. }) = self.slots[slot]
                && machine.apply(state, op).is_some()
            {
                done.insert(slot);
            }
        });
        Some(after)
    }

    /// Keeps a configuration reached within an event, or goes on from there.
    fn arrive(&mut self, config: Config<M>, depth: usize, slot: usize, stack: &mut Vec<Pending>) {
        if config.done.contains(slot) {
            self.emit(config, slot);
        } else {
            self.visit(config, depth, stack);
        }
    }

    fn visit(&mut self, config: Config<M>, depth: usize, stack: &mut Vec<Pending>) {
        if let Some(at) = self.seen.add(config, &self.kinds) {
            stack.push(Pending { at, depth });
        }
    }

    /// Keeps a configuration in which the operation of `slot` has taken effect.
    fn emit(&mut self, mut config: Config<M>, slot: usize) {
        config.done.remove(slot);
        config.optional.remove(slot);
        self.next.add(config, &self.kinds);
    }

    /// Crashed operations that every configuration has used are gone for good: not counting them
    /// any more keeps configurations small however long the history.
    fn forget_common_uses(&mut self) {
        let Some(first) = self.configs.first() else {
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
            self.classes[class as usize].count -= 1;
        }
    }

    /// Keeps as many configurations as the limits allow: those that used fewest crashed operations,
    /// then those that have fewest writes still to place.
    fn narrow(&mut self) {
        if self.configs.len() <= self.limits.width {
            return;
        }
        self.lossy = true;
        let overwrites = &self.kinds.overwrites;
        self.configs.sort_by_cached_key(|config| {
            let unplaced: u32 = overwrites
                .without(&config.done)
                .zip(config.optional.words())
                .map(|(word, optional)| (word & !optional).count_ones())
                .sum();
            (config.used.len(), unplaced)
        });
        self.configs.truncate(self.limits.width);
    }

    /// The same frontier with room for twice as many open operations.
    fn widened(&self) -> Masked<T, WideMask> {
        let slots = self.slots.len() * 2;
        let wide = |mask: &M| WideMask::widened(mask, slots);
        let mut more = self.slots.clone();
        more.resize(slots, None);
        Masked {
            configs: self
                .configs
                .iter()
                .map(|config| Config {
                    state: config.state,
                    done: wide(&config.done),
                    optional: wide(&config.optional),
                    used: config.used.clone(),
                })
                .collect(),
            slots: more,
            open: wide(&self.open),
            kinds: Kinds {
                observations: wide(&self.kinds.observations),
                overwrites: wide(&self.kinds.overwrites),
                updates: wide(&self.kinds.updates),
            },
            classes: self.classes.clone(),
            class_of: self.class_of.clone(),
            limits: self.limits,
            lossy: self.lossy,
            last_states: self.last_states.clone(),
            seen: Antichain::new(),
            next: Antichain::new(),
        }
    }
}

/// A frontier over one word while at most 64 operations are open, over more from then on.
#[derive(Clone)]
pub(super) enum Frontier<T: Copy> {
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

    /// An operation begins that will return.
    pub(super) fn call(&mut self, id: OpId, op: T, machine: &mut impl Machine<Op = T>) {
        if each!(self, masked => masked.call(id, op, machine)) {
            return;
        }
        let mut wide = each!(&mut *self, masked => masked.widened());
        let called = wide.call(id, op, machine);
        debug_assert!(called, "a widened frontier has free slots");
        *self = Frontier::Wide(wide);
    }

    /// An operation begins that never returns, but may take effect at any time.
    pub(super) fn crash(&mut self, op: T, machine: &mut impl Machine<Op = T>) {
        each!(self, masked => masked.crash(op, machine));
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

    /// Changes what is kept from now on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        each!(self, masked => masked.limits = limits);
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
        each!(self, masked => masked.open.len() as usize)
    }

    /// Adds the states that what follows may still begin from.
    pub(super) fn live_states(&self, into: &mut Vec<u32>) {
        each!(self, masked => into.extend(masked.configs.iter().map(|config| config.state)));
    }

    /// The states that could be reached when the last configuration died, ascending.
    pub(super) fn last_states(&self) -> &[u32] {
        each!(self, masked => &masked.last_states)
    }
}
