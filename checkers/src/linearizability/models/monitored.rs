//! What a model tells the [monitors](super::super::monitors) of its operations.

use super::super::monitors::collection::{CollectionKind, Order};
use super::super::monitors::counter::CounterKind;
use super::super::monitors::register::RegisterKind;
use super::super::monitors::set::SetKind;

/// The monitor that knows the objects of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitored {
    /// A register that is never appended to.
    Register,
    /// A collection that is empty at first.
    Collection(Order),
    /// A set, or a multiset, that is empty at first.
    Set,
    /// A counter.
    Counter,
}

/// What an operation is to its monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// On the value of a register. The value that it holds first is 0.
    Register(RegisterKind, u32),
    /// On an element of a collection: its number, or what it is sorted by. 0 where it is not known.
    Collection(CollectionKind, i64),
    /// On an element of a set. An addition adds an element that was absent, given that nobody else adds it.
    Set(SetKind, u32),
    /// Removed the element of a set if it was there, and nobody saw whether.
    Discarded(u32),
    /// Saw that these are all elements of a set, each once.
    SawAll(Box<[u32]>),
    /// Added to a counter, or read how much had been added.
    Counter(CounterKind, u32),
}
