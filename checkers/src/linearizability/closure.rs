//! What happens within one event: everything that may take effect before an operation returns.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::hash::Hash;

use smallvec::SmallVec;

use crate::budget::{Budget, Exhausted};

use super::board::Slot;
use super::config::Config;
use super::frontier::{Crashed, Masked};
use super::mask::{Mask, for_each_slot};
use super::meter::Meter;
use super::model::Machine;
use super::trace::Move;

/// A configuration that waits to be expanded within an event. The cheapest comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pending {
    cost: Reverse<u32>,
    at: u32,
    /// Crashed operations that took effect within this event.
    depth: u32,
}

/// The event: the slot that returns, and what waits to be expanded.
struct Event {
    slot: usize,
    pending: BinaryHeap<Pending>,
    /// Whether crashed operations may take effect.
    digs: bool,
}

/// Where a step came from.
#[derive(Clone, Copy)]
struct Origin {
    cost: u32,
    depth: u32,
}

/// What a crashed operation costs, in other operations.
const CRASHED_COST: u32 = 4;

impl<T: Copy + Eq + Hash, M: Mask> Masked<T, M> {
    /// Replaces the configurations by those in which the operation of `slot` has taken effect.
    pub(super) fn take_effect(
        &mut self,
        slot: usize,
        machine: &mut impl Machine<Op = T>,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let mut event = Event {
            slot,
            pending: std::mem::take(&mut self.pending),
            digs: !self.limits.thrifty,
        };
        self.seen.begin(self.limits.compared());
        self.next.begin(self.limits.compared());
        let fewest = self.configs.iter().map(|config| config.used.len()).min();
        let mut configs = std::mem::take(&mut self.configs);
        for config in configs.drain(..) {
            if config.done.contains(slot) {
                self.emit(config, slot);
                continue;
            }
            if config.optional.contains(slot) {
                // Hidden. It may still take effect openly instead, but not later than now.
                self.emit(config.clone(), slot);
            }
            let more = config.used.len() - fewest.unwrap_or(0);
            let origin = Origin {
                cost: more as u32 * CRASHED_COST,
                depth: 0,
            };
            self.visit(config, origin, &mut event);
        }
        self.configs = configs;
        let mut meter = Meter::default();
        let mut steps = 0usize;
        let mut result = Ok(());
        loop {
            let Some(pending) = event.pending.pop() else {
                if event.digs || self.board.classes.is_empty() {
                    break;
                }
                if self.next.len() > 0 {
                    self.lossy = true;
                    break;
                }
                self.dig(&mut event, machine);
                continue;
            };
            steps += 1;
            if steps > self.limits.closure || self.next.len() >= self.limits.ways {
                self.lossy = true;
                break;
            }
            if steps.is_multiple_of(128) {
                let held = self.seen.len() + self.next.len();
                result = meter.hold::<Config<M>>(held, machine.bytes(), budget);
                if result.is_err() {
                    break;
                }
            }
            self.expand(&pending, &mut event, machine);
        }
        meter.release(budget);
        event.pending.clear();
        self.pending = event.pending;
        self.work += steps;
        self.next.drain_into(&mut self.configs);
        result
    }

    /// Lets every open and every crashed operation that can take effect do so.
    fn expand(&mut self, pending: &Pending, event: &mut Event, machine: &mut impl Machine<Op = T>) {
        let at = pending.at;
        let origin = Origin {
            cost: pending.cost.0 + 1,
            depth: pending.depth,
        };
        let config = self.seen.get(at);
        let mut ready = self.board.place(config.state, machine).enabled.clone();
        ready.add(&self.board.kinds.overwrites);
        ready.subtract(&config.done);
        while let Some(open) = ready.pop_first() {
            let config = self.seen.get(at);
            if self.board.has_better_twin(open, config) {
                continue;
            }
            let Some(Slot { id, op, .. }) = self.board.slots[open] else {
                continue;
            };
            let is_overwrite = self.board.kinds.overwrites.contains(open);
            let needs_use = open != event.slot && is_overwrite;
            let step = self
                .board
                .step(config, op, is_overwrite, needs_use, machine);
            let Some(mut after) = step else {
                continue;
            };
            after.trace = machine.note(after.trace, Move::Open(id));
            after.done.insert(open);
            after.optional.remove(open);
            self.arrive(after, origin, event);
        }
        if event.digs && !self.board.classes.is_empty() {
            self.expand_crashed(at, origin, event, machine);
        }
    }

    /// Nothing else did: lets crashed operations take effect wherever they can.
    fn dig(&mut self, event: &mut Event, machine: &mut impl Machine<Op = T>) {
        event.digs = true;
        let origin = Origin { cost: 0, depth: 0 };
        for at in 0..self.seen.len() as u32 {
            self.expand_crashed(at, origin, event, machine);
        }
    }

    fn expand_crashed(
        &mut self,
        at: u32,
        origin: Origin,
        event: &mut Event,
        machine: &mut impl Machine<Op = T>,
    ) {
        let state = self.seen.get(at).state;
        let enabled = self.board.place(state, machine).crashed.clone();
        let overwrites = (0..self.board.classes.len() as u32)
            .filter(|class| self.board.classes[*class as usize].is_overwrite);
        let ready: SmallVec<[u32; 32]> = enabled.into_iter().chain(overwrites).collect();
        for class in ready {
            let known = self.board.classes[class as usize];
            let config = self.seen.get(at);
            if self.board.has_open_twin(class, config) || !self.has_left(class, config) {
                continue;
            }
            let step = (self.board).step(config, known.op, known.is_overwrite, true, machine);
            let Some(mut after) = step else {
                continue;
            };
            // One that changes nothing now is better kept for later. Hiding others is a change.
            if after.state == config.state && after.optional == config.optional {
                continue;
            }
            if origin.depth as usize >= self.limits.depth {
                self.lossy = true;
                return;
            }
            after.trace = machine.note(after.trace, Move::Crashed(class));
            if self.is_counted(class) {
                let at = after.used.partition_point(|used| *used <= class);
                after.used.insert(at, class);
            }
            let origin = Origin {
                cost: origin.cost + CRASHED_COST,
                depth: origin.depth + 1,
            };
            self.arrive(after, origin, event);
        }
    }

    /// Whether it matters how many of a class have taken effect.
    fn is_counted(&self, class: u32) -> bool {
        self.limits.crashed == Crashed::Once || !self.board.classes[class as usize].is_repeatable
    }

    /// Whether an operation of a class is left to take effect.
    fn has_left(&self, class: u32, config: &Config<M>) -> bool {
        let count = self.board.classes[class as usize].count as usize;
        !self.is_counted(class) || config.used.iter().filter(|used| **used == class).count() < count
    }

    /// Keeps a configuration reached within an event, or goes on from there.
    fn arrive(&mut self, config: Config<M>, origin: Origin, event: &mut Event) {
        if config.done.contains(event.slot) {
            self.emit(config, event.slot);
        } else {
            self.visit(config, origin, event);
        }
    }

    fn visit(&mut self, config: Config<M>, origin: Origin, event: &mut Event) {
        if let Some(at) = self.seen.add(config, &self.board.kinds) {
            event.pending.push(Pending {
                cost: Reverse(origin.cost),
                at,
                depth: origin.depth,
            });
        }
    }

    /// Keeps a configuration in which the operation of `slot` has taken effect.
    fn emit(&mut self, mut config: Config<M>, slot: usize) {
        config.done.remove(slot);
        config.optional.remove(slot);
        self.next.add(config, &self.board.kinds);
    }

    /// The states of everything looked at within the last event, and of everything left out because
    /// nothing would have seen it, ascending.
    pub(super) fn reachable_states(&self, machine: &mut impl Machine<Op = T>) -> Vec<u32> {
        let mut states = BTreeSet::new();
        for config in self.seen.iter() {
            states.insert(config.state);
            for_each_slot(self.board.movable(config), |slot| {
                let op = self.board.slots[slot].map(|slot| slot.op);
                states.extend(op.and_then(|op| machine.apply(config.state, op)));
            });
            let crashed = self.board.classes.iter().filter(|class| class.count > 0);
            states.extend(crashed.filter_map(|class| machine.apply(config.state, class.op)));
        }
        states.into_iter().collect()
    }
}
