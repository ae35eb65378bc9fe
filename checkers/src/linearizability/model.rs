//! What the search needs to know of a sequential object.

use std::hash::Hash;

use super::trace::Move;

/// A state that stands for all that no operation names. No real state has this number.
pub(super) const ANY_OTHER: u32 = u32::MAX;

/// A sequential object: what its operations, their results known, do to its states.
///
/// States are numbers. A machine whose states are not numbers by nature keeps a table of them, and
/// is therefore handed in wherever states are changed, so that frontiers stay cheap to clone.
///
/// The two questions are what makes the search fast: an operation that only observes never
/// branches, and one that overwrites everything hides whatever was placed just before it.
pub(super) trait Machine {
    /// An operation with its result.
    type Op: Copy + Eq + Hash;

    /// The state after the operation, or `None` if it cannot happen with this result in `state`.
    fn apply(&mut self, state: u32, op: Self::Op) -> Option<u32>;

    /// Whether it can happen in `state`.
    fn accepts(&mut self, state: u32, op: Self::Op) -> bool {
        self.apply(state, op).is_some()
    }

    /// Whether it never changes the state.
    fn is_observation(&self, op: Self::Op) -> bool;

    /// Whether it is possible in every state and always leaves the same state.
    fn is_overwrite(&self, op: Self::Op) -> bool;

    /// Whether any number of times leads to few states. Others are counted even where an
    /// over-approximation would do without.
    fn is_repeatable(&self, _op: Self::Op) -> bool {
        true
    }

    /// For how many states it is worth remembering what they accept.
    fn places(&self) -> usize {
        1 << 10
    }

    /// States such that any other acts like one of them on the operations given, [`ANY_OTHER`]
    /// among them; `None` if it would take too many.
    fn states_told_apart(&self, _ops: &[Self::Op]) -> Option<Vec<u32>> {
        None
    }

    /// About how many bytes the table of states takes.
    fn bytes(&self) -> usize {
        0
    }

    /// What an operation is for a register whose values are the states, if the object is one.
    fn as_register(&self, _op: Self::Op) -> Option<RegisterOp> {
        None
    }

    /// Whether the table of states has grown so much that [`retain`](Machine::retain) is worth
    /// its while.
    fn is_crowded(&self) -> bool {
        false
    }

    /// All other states than these will never be asked for again. Their numbers may be given to
    /// new states; those of `live` must keep their meaning.
    fn retain(&mut self, _live: &[u32]) {}

    /// A configuration that came to be as `trace` says makes a move: what says both. Only a machine that
    /// [traces](super::trace::Tracing) keeps that; it began with 0.
    #[inline]
    fn note(&mut self, trace: u32, _made: Move) -> u32 {
        trace
    }

    /// Whether it notes anything.
    #[inline]
    fn takes_notes(&self) -> bool {
        false
    }

    /// Whether so much was noted that [`sweep`](Machine::sweep) is worth its while.
    #[inline]
    fn is_littered(&self) -> bool {
        false
    }

    /// No other traces than these, and what they came from, will ever be asked for or gone on from.
    fn sweep(&mut self, _live: &[u32]) {}
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

    /// What the register holds after the operation, or `None` if it cannot happen with this result
    /// while the register holds `state`.
    #[inline]
    pub(super) fn apply(self, state: u32) -> Option<u32> {
        match self {
            RegisterOp::Read(value) => (state == value).then_some(state),
            RegisterOp::Differs(value) => (state != value).then_some(state),
            RegisterOp::Write(value) => Some(value),
            RegisterOp::Cas(from, to) => (state == from).then_some(to),
        }
    }

    /// Whether it never changes the register.
    #[inline]
    pub(super) fn is_observation(self) -> bool {
        matches!(self, RegisterOp::Read(_) | RegisterOp::Differs(_))
    }

    /// Whether it is possible whatever the register holds.
    #[inline]
    pub(super) fn is_overwrite(self) -> bool {
        matches!(self, RegisterOp::Write(_))
    }

    /// The values that it names.
    pub(super) fn values(self) -> [Option<u32>; 2] {
        match self {
            RegisterOp::Read(value) | RegisterOp::Differs(value) | RegisterOp::Write(value) => {
                [Some(value), None]
            }
            RegisterOp::Cas(from, to) => [Some(from), Some(to)],
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

/// A register with compare-and-set. Its states are the values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Register;

impl Machine for Register {
    type Op = RegisterOp;

    #[inline]
    fn apply(&mut self, state: u32, op: RegisterOp) -> Option<u32> {
        op.apply(state)
    }

    #[inline]
    fn is_observation(&self, op: RegisterOp) -> bool {
        op.is_observation()
    }

    #[inline]
    fn is_overwrite(&self, op: RegisterOp) -> bool {
        op.is_overwrite()
    }

    fn as_register(&self, op: RegisterOp) -> Option<RegisterOp> {
        Some(op)
    }

    fn states_told_apart(&self, ops: &[RegisterOp]) -> Option<Vec<u32>> {
        let named = ops.iter().filter_map(|op| match op {
            RegisterOp::Read(value) | RegisterOp::Differs(value) => Some(*value),
            RegisterOp::Cas(from, _) => Some(*from),
            RegisterOp::Write(_) => None,
        });
        let mut states: Vec<u32> = named.chain([ANY_OTHER]).collect();
        states.sort_unstable();
        states.dedup();
        (states.len() <= 1 << 8).then_some(states)
    }
}
