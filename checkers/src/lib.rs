//! Was it right? Pure functions from a history to a verdict with evidence.
//!
//! Checkers do no I/O, read no clock and start no runtime, so that they can be used as a library,
//! fuzzed, and run anywhere. What they need of the world is handed to them as a [`Budget`].
//!
//! A checker that says `false` proves it: its [`Evidence`] names the operations, and a small
//! independent verifier re-proves it before anyone sees it. `true` means that the whole history was
//! checked. Everything else is `unknown`, with the reason.

pub mod bank;
pub mod budget;
pub mod counter_bounds;
pub mod coverage;
pub mod dirty_read;
pub mod divergence;
mod keyed;
pub mod linearizability;
pub mod lost_update;
pub mod monotonic_reads;
pub mod set_full;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod transactions;
pub mod unhandled;
mod verdict;

pub use budget::{Budget, Exhausted};
pub use coverage::Coverage;
pub use keyed::Keyed;
pub use linearizability::Linearizable;
pub use stats::Stats;
pub use transactions::ListAppend;
pub use unhandled::Unhandled;
pub use verdict::{CheckResult, Evidence, OperationsEvidence, Valid};

use store::Event;

/// The function of reads that are asked for when all faults are healed, where it makes a difference that they are: what was acknowledged
/// must be there, and nodes must agree.
pub const FINAL_READ: &str = "final-read";

/// What a checker knows after some events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Nothing final yet.
    Continue,
    /// A violation that no continuation can retract: a run may stop here.
    Violation,
    /// The budget is used up; [`Checker::finish`] will say `unknown` with the reason.
    Exhausted,
}

impl Feed {
    /// What a checker knows whose budget may be used up, and which may have found a violation.
    pub(crate) fn of(exhausted: Option<Exhausted>, violated: bool) -> Feed {
        match (exhausted, violated) {
            (Some(_), _) => Feed::Exhausted,
            (None, true) => Feed::Violation,
            (None, false) => Feed::Continue,
        }
    }
}

/// A checker, fed a history in order and asked for its verdict at the end.
///
/// A batch run is one feed of everything. A checker is fed *all* events of a history, nemesis
/// events included, and ignores those that are not its business.
pub trait Checker: Send {
    /// The history is still being made, and a violation should be noticed soon, even if looking for it often costs
    /// more. Called before the first feed, if at all.
    fn hurry(&mut self) {}

    /// Takes the next events. After anything but [`Feed::Continue`] further feeds do nothing.
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed;

    /// The verdict on everything fed. Called once.
    fn finish(&mut self, budget: &dyn Budget) -> CheckResult;
}

/// Feeds a whole history to a checker and returns its verdict.
pub fn check(checker: &mut dyn Checker, events: &[Event], budget: &dyn Budget) -> CheckResult {
    checker.feed(events, budget);
    checker.finish(budget)
}
