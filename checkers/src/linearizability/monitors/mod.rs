//! Linearizability in polynomial time, where theory gives it.
//!
//! Deciding linearizability is NP-complete in general (Gibbons and Korach 1997), but not for histories in
//! which every value is put into the object by one operation only. Then an observation says *which*
//! operation it observed, and what remains is arithmetic on intervals: each file here decides one type of
//! object in time n or n log n, whatever the number of clients.
//!
//! A monitor is a pure function from an array of [`Operation`]s to an [`Outcome`]:
//!
//! - [`Outcome::Linearizable`] and [`Outcome::Violation`] are proofs. The reason of a violation names a
//!   few operations that are impossible on their own; [`verify`] proves it again from the operations,
//!   with nothing taken from the monitor.
//! - [`Outcome::NotApplicable`] says that the algorithm's proof does not cover the history (a value that
//!   is put in twice, mostly). The general search must decide then.
//!
//! | module | object | what it wants | time |
//! | --- | --- | --- | --- |
//! | [`register`] | read, write, compare-and-set | every value is written once | n |
//! | [`collection`] | queue, stack, priority queue, bag | every value is inserted once | n, n log n (stack) |
//! | [`set`] | add, remove, contains | every value is added once | n |
//! | [`counter`] | add, read | all amounts are equal | n log n |
//! | [`grow_set`] | add, read of the whole set | nothing | n + what was read |
//!
//! Registers also have a [`register::witness`], and queues and stacks [`placing`]: the order itself.
//!
//! # Time
//!
//! An operation takes effect at one moment between the positions of its invocation and its completion in
//! the history. *Moments* lie between positions; `a` precedes `b` if `a` completes before `b` is invoked.
//! Positions are all different, so between two of them there is always room for any number of moments.
//!
//! # Operations of which nobody knows what became
//!
//! They have no completion ([`NEVER`]), and may have happened at any moment after their invocation, or
//! not at all. What they would have returned is not known, so an observation among them says nothing and
//! is ignored. One that puts in a value which is never observed can be left out: each module says why.
//! One whose value *is* observed happened; its interval is only open to the right, and the observation
//! closes it.

pub mod collection;
pub mod counter;
mod cover;
pub mod grow_set;
mod history;
mod lives;
pub mod placing;
mod priority;
mod queue;
pub mod register;
mod register_failures;
mod register_proof;
mod removals;
pub mod set;
mod stack;
mod trees;
pub mod verify;

pub use history::Kind;

use history::Stop;
use thiserror::Error;

use crate::budget::Exhausted;

/// The completion of an operation of which nobody knows what became.
pub const NEVER: u32 = u32::MAX;

/// An operation of one object. Operations are named by their index in the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<K> {
    /// What it did.
    pub kind: K,
    /// The number of the value that it put in or saw; 0 where there is none.
    pub value: u32,
    /// The position of its invocation.
    pub invoke: u32,
    /// The position of its completion, or [`NEVER`].
    pub complete: u32,
}

/// Why a history is not linearizable, by a few of its operations.
pub trait Reason {
    /// The operations that are impossible together, ascending.
    fn operations(&self) -> Vec<u32>;

    /// Where it is enough to look at a few elements of a set: those that are not put in by [`Reason::operations`].
    fn elements(&self) -> Option<Vec<u32>> {
        None
    }
}

/// What a monitor found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// There is an order that the object allows.
    Linearizable,
    /// There is none.
    Violation(R),
    /// The monitor cannot tell.
    NotApplicable(NotApplicable),
}

/// Why a monitor cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotApplicable {
    /// Operations must come in the order of their invocations and end after they began.
    #[error("operation {operation} is out of order")]
    Disordered {
        /// The one that is not later than the one before it, or ends before it begins.
        operation: u32,
    },
    /// A value is put in more than once.
    #[error("operations {first} and {second} put in the same value")]
    NotUnique {
        /// The first that puts it in. The same as `second` if the object held it from the beginning.
        first: u32,
        /// Another one.
        second: u32,
    },
    /// Which values the removals without an answer took cannot be told in polynomial time.
    #[error("it matters what {removals} removals without an answer took")]
    UnknownRemovals {
        /// How many there are.
        removals: u32,
    },
    /// Failed compare-and-sets for which no place was found.
    #[error("no place was found for the failed compare-and-set {operation}")]
    Differs {
        /// One of them.
        operation: u32,
    },
    /// The amounts that are added differ.
    #[error("operations {first} and {second} add different amounts")]
    Amounts {
        /// An addition.
        first: u32,
        /// One of another amount.
        second: u32,
    },
    /// The history is impossible, but no few operations prove it on their own.
    #[error("no small proof was found")]
    NoProof,
}

/// The outcome of a monitor that stops at the first thing to say.
fn conclude<R>(result: Result<(), Stop<R>>) -> Result<Outcome<R>, Exhausted> {
    match result {
        Ok(()) => Ok(Outcome::Linearizable),
        Err(Stop::Violation(reason)) => Ok(Outcome::Violation(reason)),
        Err(Stop::NotApplicable(why)) => Ok(Outcome::NotApplicable(why)),
        Err(Stop::Exhausted(exhausted)) => Err(exhausted),
    }
}
