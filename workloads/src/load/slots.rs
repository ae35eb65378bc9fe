//! The keys in use: which one is in which place, until it had its share of writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A key in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) key: i64,
    /// How often it was written, the last time included.
    pub(crate) writes: i64,
}

/// All keys in use, by place. Keys are numbered from 0.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    /// The next key that was never used.
    fresh: i64,
    most: i64,
}

impl Slots {
    /// So many places, and so many writes on each key at most.
    pub(crate) fn new(places: i64, most: i64) -> Slots {
        let slot = |key| Slot { key, writes: 0 };
        Slots {
            slots: (0..places).map(slot).collect(),
            fresh: places,
            most,
        }
    }

    /// The key in a place.
    pub(crate) fn key(&self, place: usize) -> Option<i64> {
        self.slots.get(place).map(|slot| slot.key)
    }

    /// The key in a place, written once more: a fresh one if the one that is there had its share.
    pub(crate) fn write(&mut self, place: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(place)?;
        if slot.writes >= self.most {
            *slot = Slot {
                key: self.fresh,
                writes: 0,
            };
            self.fresh += 1;
        }
        slot.writes += 1;
        Some(*slot)
    }

    /// How many keys were in use until now.
    pub(crate) fn used(&self) -> i64 {
        self.fresh
    }
}

/// How many keys a run has used, for whoever reads all of them when it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used(Arc<AtomicI64>);

impl Used {
    pub(crate) fn note(&self, slots: &Slots) {
        self.0.store(slots.used(), Ordering::Relaxed);
    }

    pub(crate) fn keys(&self) -> std::ops::Range<i64> {
        0..self.0.load(Ordering::Relaxed)
    }
}
