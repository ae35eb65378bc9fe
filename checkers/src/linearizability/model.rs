//! What the search needs to know of a sequential object.

use std::hash::Hash;

/// An operation of a sequential object whose states are numbers, with its result known.
///
/// The two questions are what makes the search fast: an operation that only observes never
/// branches, and one that overwrites everything hides whatever was placed just before it.
pub(super) trait Transition: Copy + Eq + Hash {
    /// The state after the operation, or `None` if it cannot happen with this result in `state`.
    fn apply(self, state: u32) -> Option<u32>;

    /// Whether it never changes the state.
    fn is_observation(self) -> bool;

    /// Whether it is possible in every state and always leaves the same state.
    fn is_overwrite(self) -> bool;
}

/// An operation of a register with compare-and-set, its values interned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RegisterOp {
    /// A read that returned the value; also a compare-and-set of a value to itself.
    Read(u32),
    /// A compare-and-set that found something else than the value.
    Differs(u32),
    /// A write of the value.
    Write(u32),
    /// A compare-and-set from the first to the second value that succeeded. They differ.
    Cas(u32, u32),
}

impl RegisterOp {
    /// A compare-and-set that succeeded.
    pub(super) fn cas(from: u32, to: u32) -> RegisterOp {
        if from == to {
            RegisterOp::Read(from)
        } else {
            RegisterOp::Cas(from, to)
        }
    }

    /// What the register holds after the operation, if the operation changes that.
    pub(super) fn writes(self) -> Option<u32> {
        match self {
            RegisterOp::Write(value) | RegisterOp::Cas(_, value) => Some(value),
            RegisterOp::Read(_) | RegisterOp::Differs(_) => None,
        }
    }
}

impl Transition for RegisterOp {
    #[inline]
    fn apply(self, state: u32) -> Option<u32> {
        match self {
            RegisterOp::Read(value) => (state == value).then_some(state),
            RegisterOp::Differs(value) => (state != value).then_some(state),
            RegisterOp::Write(value) => Some(value),
            RegisterOp::Cas(from, to) => (state == from).then_some(to),
        }
    }

    #[inline]
    fn is_observation(self) -> bool {
        matches!(self, RegisterOp::Read(_) | RegisterOp::Differs(_))
    }

    #[inline]
    fn is_overwrite(self) -> bool {
        matches!(self, RegisterOp::Write(_))
    }
}
