//! What is open at the moment, the same for all configurations: operations by slot, classes of
//! crashed operations, and what each state makes of them.

use std::hash::Hash;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::config::{Config, Kinds};
use super::frontier::OpId;
use super::mask::{Mask, WideMask, for_each_slot};
use super::model::Machine;

/// An open operation.
#[derive(Clone, Copy)]
pub(super) struct Slot<T> {
    pub(super) id: OpId,
    pub(super) op: T,
    /// The event with which it returns.
    pub(super) deadline: u64,
}

/// Crashed operations that do the same.
#[derive(Clone, Copy)]
pub(super) struct Class<T> {
    pub(super) op: T,
    /// How many of them there are that not every configuration has used.
    pub(super) count: u32,
    pub(super) is_overwrite: bool,
    pub(super) is_repeatable: bool,
}

/// What is possible in one state.
#[derive(Clone)]
pub(super) struct Place<M> {
    /// Open observations that it satisfies.
    pub(super) satisfied: M,
    /// Open updates that can take effect.
    pub(super) enabled: M,
    /// Classes of crashed updates that can take effect.
    pub(super) crashed: SmallVec<[u32; 8]>,
}

/// What is possible in states that were asked about of late.
///
/// Each event must be noted in all of them, so only those are kept that are asked about again and again.
#[derive(Clone)]
struct Places<M> {
    states: Vec<u32>,
    /// By position in `states`.
    places: Vec<Place<M>>,
    /// When it was asked about last, in operations that had returned.
    asked: Vec<u64>,
    /// Where more than a few are kept.
    positions: FxHashMap<u32, usize>,
    /// How many are kept at present.
    most: usize,
    /// How many operations have returned.
    now: u64,
}

/// Among so many, looking at one after the other is faster.
const FEW: usize = 16;

impl<M> Places<M> {
    fn new() -> Self {
        Places {
            states: Vec::new(),
            places: Vec::new(),
            asked: Vec::new(),
            positions: FxHashMap::default(),
            most: FEW,
            now: 0,
        }
    }

    fn position(&mut self, state: u32) -> Option<usize> {
        let at = match self.states.len() {
            ..=FEW => self.states.iter().position(|it| *it == state),
            _ => self.positions.get(&state).copied(),
        }?;
        self.asked[at] = self.now;
        Some(at)
    }

    fn insert(&mut self, state: u32, place: Place<M>) -> usize {
        let at = self.states.len();
        self.states.push(state);
        self.places.push(place);
        self.asked.push(self.now);
        if at == FEW {
            self.positions = self.states.iter().copied().zip(0..).collect();
        } else if at > FEW {
            self.positions.insert(state, at);
        }
        at
    }

    /// Makes room for one more, of `limit` at the most: drops those that were not asked about since the last return.
    fn make_room(&mut self, limit: usize) {
        if self.states.len() < self.most {
            return;
        }
        let mut kept = 0;
        for at in 0..self.states.len() {
            if self.asked[at] == self.now {
                self.asked.swap(kept, at);
                self.states.swap(kept, at);
                self.places.swap(kept, at);
                kept += 1;
            }
        }
        if kept * 2 > self.most {
            self.most = limit.min(self.most * 2);
        } else if kept * 4 < self.most {
            self.most = FEW.max(self.most / 2);
        }
        if kept >= self.most {
            kept = 0;
        }
        self.states.truncate(kept);
        self.places.truncate(kept);
        self.asked.truncate(kept);
        self.positions.clear();
        if kept > FEW {
            self.positions.extend(self.states.iter().copied().zip(0..));
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (&u32, &mut Place<M>)> {
        self.states.iter().zip(&mut self.places)
    }

    fn clear(&mut self) {
        self.states.clear();
        self.places.clear();
        self.asked.clear();
        self.positions.clear();
    }
}

#[derive(Clone)]
pub(super) struct Board<T, M> {
    /// By slot; `None` where nothing is open.
    pub(super) slots: Vec<Option<Slot<T>>>,
    pub(super) open: M,
    pub(super) kinds: Kinds<M>,
    /// By slot: open operations that do the same and return earlier.
    earlier: Vec<M>,
    pub(super) classes: Vec<Class<T>>,
    class_of: FxHashMap<T, u32>,
    /// By class: open operations that do the same.
    twins: Vec<M>,
    /// What states make of all that.
    places: Places<M>,
}

impl<T: Copy + Eq + Hash, M: Mask> Board<T, M> {
    pub(super) fn new() -> Self {
        let empty = M::empty();
        Board {
            slots: vec![None; 64],
            open: empty.clone(),
            kinds: Kinds {
                observations: empty.clone(),
                overwrites: empty.clone(),
                updates: empty.clone(),
            },
            earlier: vec![empty; 64],
            classes: Vec::new(),
            class_of: FxHashMap::default(),
            twins: Vec::new(),
            places: Places::new(),
        }
    }

    /// Takes in an operation that returns with the event `deadline`. `None` if there is no slot.
    pub(super) fn call(
        &mut self,
        id: OpId,
        op: T,
        deadline: u64,
        machine: &mut impl Machine<Op = T>,
    ) -> Option<usize> {
        let slot = self.open.first_absent()?;
        self.slots[slot] = Some(Slot { id, op, deadline });
        self.open.insert(slot);
        if machine.is_observation(op) {
            self.kinds.observations.insert(slot);
            for (state, place) in self.places.iter_mut() {
                if machine.accepts(*state, op) {
                    place.satisfied.insert(slot);
                }
            }
            return Some(slot);
        }
        if machine.is_overwrite(op) {
            self.kinds.overwrites.insert(slot);
        } else {
            self.kinds.updates.insert(slot);
            for (state, place) in self.places.iter_mut() {
                if machine.accepts(*state, op) {
                    place.enabled.insert(slot);
                }
            }
        }
        self.note_twins(slot, op, deadline);
        Some(slot)
    }

    /// Puts a slot in order among those that do the same.
    fn note_twins(&mut self, slot: usize, op: T, deadline: u64) {
        let mut earlier = M::empty_like(&self.open);
        let (slots, all_earlier) = (&self.slots, &mut self.earlier);
        for_each_slot(self.kinds.changing(), |other| {
            let Some(twin) = slots[other].filter(|twin| twin.op == op) else {
                return;
            };
            if twin.deadline < deadline {
                earlier.insert(other);
            } else if other != slot {
                all_earlier[other].insert(slot);
            }
        });
        self.earlier[slot] = earlier;
        if let Some(class) = self.class_of.get(&op) {
            self.twins[*class as usize].insert(slot);
        }
    }

    /// The slot of an open operation.
    pub(super) fn slot_of(&self, id: OpId) -> usize {
        self.slots
            .iter()
            .position(|slot| slot.is_some_and(|slot| slot.id == id))
            .expect("an operation that returns is open")
    }

    /// An operation has returned.
    pub(super) fn close(&mut self, slot: usize) {
        let Some(closed) = self.slots[slot].take() else {
            return;
        };
        self.open.remove(slot);
        self.places.now += 1;
        let kinds = &mut self.kinds;
        if kinds.observations.contains(slot) {
            for (_, place) in self.places.iter_mut() {
                place.satisfied.remove(slot);
            }
        } else {
            for (_, place) in self.places.iter_mut() {
                place.enabled.remove(slot);
            }
            if let Some(class) = self.class_of.get(&closed.op) {
                self.twins[*class as usize].remove(slot);
            }
            let earlier = &mut self.earlier;
            for_each_slot(kinds.changing(), |other| earlier[other].remove(slot));
        }
        for mask in [
            &mut kinds.observations,
            &mut kinds.overwrites,
            &mut kinds.updates,
        ] {
            mask.remove(slot);
        }
    }

    /// Takes in an operation that never returns.
    pub(super) fn crash(&mut self, op: T, machine: &mut impl Machine<Op = T>) {
        if machine.is_observation(op) {
            return;
        }
        let fresh = self.classes.len() as u32;
        let class = *self.class_of.entry(op).or_insert(fresh);
        if class == fresh {
            let is_overwrite = machine.is_overwrite(op);
            self.classes.push(Class {
                op,
                count: 0,
                is_overwrite,
                is_repeatable: machine.is_repeatable(op),
            });
            let mut twins = M::empty_like(&self.open);
            let slots = &self.slots;
            for_each_slot(self.kinds.changing(), |slot| {
                if slots[slot].is_some_and(|twin| twin.op == op) {
                    twins.insert(slot);
                }
            });
            self.twins.push(twins);
            if !is_overwrite {
                for (state, place) in self.places.iter_mut() {
                    if machine.accepts(*state, op) {
                        place.crashed.push(class);
                    }
                }
            }
        }
        self.classes[class as usize].count += 1;
    }

    /// What is possible in a state.
    pub(super) fn place(&mut self, state: u32, machine: &mut impl Machine<Op = T>) -> &Place<M> {
        let known = self.places.position(state);
        let at = known.unwrap_or_else(|| {
            self.places.make_room(machine.places());
            let place = self.look(state, machine);
            self.places.insert(state, place)
        });
        &self.places.places[at]
    }

    fn look(&self, state: u32, machine: &mut impl Machine<Op = T>) -> Place<M> {
        let mut place = Place {
            satisfied: M::empty_like(&self.open),
            enabled: M::empty_like(&self.open),
            crashed: SmallVec::new(),
        };
        for_each_slot(self.open.words().iter().copied(), |slot| {
            let Some(Slot { op, .. }) = self.slots[slot] else {
                return;
            };
            if self.kinds.overwrites.contains(slot) || !machine.accepts(state, op) {
                return;
            }
            match self.kinds.updates.contains(slot) {
                true => place.enabled.insert(slot),
                false => place.satisfied.insert(slot),
            }
        });
        for (class, at) in self.classes.iter().zip(0..) {
            if !class.is_overwrite && machine.accepts(state, class.op) {
                place.crashed.push(at);
            }
        }
        place
    }

    /// Forgets what is known of states, which may come to mean something else.
    pub(super) fn forget_places(&mut self) {
        self.places.clear();
    }

    /// Whether an operation that does the same and returns earlier has not taken effect: then that
    /// one had better take effect now.
    pub(super) fn has_better_twin(&self, slot: usize, config: &Config<M>) -> bool {
        self.earlier[slot]
            .without(&config.done)
            .any(|word| word != 0)
    }

    /// Whether an open operation that does what the class does has not taken effect.
    pub(super) fn has_open_twin(&self, class: u32, config: &Config<M>) -> bool {
        self.twins[class as usize]
            .without(&config.done)
            .any(|word| word != 0)
    }

    /// The words of the slots of operations that change something and have not taken effect.
    pub(super) fn movable<'a>(&'a self, config: &'a Config<M>) -> impl Iterator<Item = u64> + 'a {
        let changing = self.kinds.changing();
        changing
            .zip(config.done.words())
            .map(|(word, done)| word & !done)
    }

    /// The configuration after an operation takes effect, with everything that follows at once.
    ///
    /// None if it cannot, or if it should be of use and is not: if nothing can take effect that needs the state that
    /// is reached, an overwrite had better stay hidden before the next one, and a crashed operation had better not
    /// have happened.
    pub(super) fn step(
        &mut self,
        config: &Config<M>,
        op: T,
        is_overwrite: bool,
        needs_use: bool,
        machine: &mut impl Machine<Op = T>,
    ) -> Option<Config<M>> {
        let state = machine.apply(config.state, op)?;
        let place = self.place(state, machine);
        let is_used = || {
            let mut satisfied = place.satisfied.without(&config.done);
            let mut enabled = place.enabled.without(&config.done);
            !place.crashed.is_empty()
                || satisfied.any(|word| word != 0)
                || enabled.any(|word| word != 0)
        };
        if needs_use && !is_used() {
            return None;
        }
        let mut after = config.clone();
        after.state = state;
        after.done.add(&place.satisfied);
        if is_overwrite {
            let words = after.optional.words_mut().iter_mut();
            for (word, more) in words.zip(self.kinds.overwrites.without(&config.done)) {
                *word |= more;
            }
        }
        Some(after)
    }

    /// Everything open and crashed, with the event with which it returns if it does.
    pub(super) fn pending(&self) -> Vec<(T, Option<u64>)> {
        let open = self.slots.iter().flatten();
        let crashed = self.classes.iter().flat_map(|class| {
            let each = (class.op, None);
            std::iter::repeat_n(each, class.count as usize)
        });
        open.map(|slot| (slot.op, Some(slot.deadline)))
            .chain(crashed)
            .collect()
    }

    /// The same with room for twice as many open operations.
    pub(super) fn widened(&self) -> Board<T, WideMask> {
        let slots = self.slots.len() * 2;
        let wide = |mask: &M| WideMask::widened(mask, slots);
        let mut more = self.slots.clone();
        more.resize(slots, None);
        let mut earlier: Vec<WideMask> = self.earlier.iter().map(wide).collect();
        earlier.resize(slots, wide(&M::empty_like(&self.open)));
        Board {
            slots: more,
            open: wide(&self.open),
            kinds: Kinds {
                observations: wide(&self.kinds.observations),
                overwrites: wide(&self.kinds.overwrites),
                updates: wide(&self.kinds.updates),
            },
            earlier,
            classes: self.classes.clone(),
            class_of: self.class_of.clone(),
            twins: self.twins.iter().map(wide).collect(),
            places: Places::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Register, RegisterOp};
    use super::*;

    /// However many states are asked about, and in whatever order, each is as if it were looked at anew.
    #[test]
    fn what_is_remembered_of_states_is_what_they_allow() {
        let mut board: Board<RegisterOp, u64> = Board::new();
        let mut open: Vec<OpId> = Vec::new();
        let mut random = 1u32;
        for id in 0..3_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = random >> 24;
            let op = match random >> 8 & 3 {
                0 => RegisterOp::Read(value),
                1 => RegisterOp::Differs(value),
                2 => RegisterOp::Write(value),
                _ => RegisterOp::cas(value, value ^ 1),
            };
            board.call(id, op, u64::from(id) + 20, &mut Register);
            open.push(id);
            if open.len() > 12 {
                let id = open.remove(random as usize % open.len());
                board.close(board.slot_of(id));
            }
            // By turns few states again and again, and many at once.
            let some = if id / 100 % 2 == 0 { 8 } else { 90 };
            for state in (0..some).map(|state| state * 7 % 256) {
                let anew = board.look(state, &mut Register);
                let known = board.place(state, &mut Register);
                assert_eq!(
                    (known.satisfied, known.enabled),
                    (anew.satisfied, anew.enabled)
                );
            }
        }
    }
}
