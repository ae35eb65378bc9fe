//! One configuration written out, so that it can be handed from one kind of search to another.

use super::frontier::OpId;

/// A configuration, with all that is open and all that crashed.
#[derive(Clone, Debug)]
pub(super) struct Situation<T> {
    pub(super) state: u32,
    pub(super) open: Vec<Open<T>>,
    /// Crashed operations that may still take effect, and how many there are that do the same.
    pub(super) crashed: Vec<(T, u32)>,
}

impl<T> Default for Situation<T> {
    fn default() -> Self {
        Situation {
            state: 0,
            open: Vec::new(),
            crashed: Vec::new(),
        }
    }
}

/// An open operation in a configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open<T> {
    pub(super) id: OpId,
    pub(super) op: T,
    /// The event with which it returns.
    pub(super) deadline: u64,
    /// Whether it has taken effect.
    pub(super) is_done: bool,
    /// Whether it may have taken effect, hidden by a later one.
    pub(super) is_optional: bool,
}
