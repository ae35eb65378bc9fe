//! Limits on a checker's time and memory, without a clock in the checker.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use store::{Event, Process};
use thiserror::Error;

/// Why a checker had to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Exhausted {
    /// The time limit was reached.
    #[error("time limit reached")]
    Time,
    /// The memory limit was reached.
    #[error("memory limit reached")]
    Memory,
    /// Someone asked for the check to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Asked "may I go on?", and charged for bytes.
///
/// A checker asks at least every few milliseconds of work, and charges for structures that grow
/// with the history before it grows them.
pub trait Budget: Sync {
    /// Whether the check may go on.
    fn check(&self) -> Result<(), Exhausted>;

    /// Takes bytes from the budget.
    fn charge(&self, bytes: usize) -> Result<(), Exhausted>;

    /// Gives bytes back.
    fn release(&self, bytes: usize);
}

/// Hands clients' events to `take` with their processes, as long as the budget lasts. Says what was used up, now or `before`.
pub(crate) fn feed_clients(
    before: Option<Exhausted>,
    events: &[Event],
    mut take: impl FnMut(&Event, u64) -> Result<(), Exhausted>,
) -> Option<Exhausted> {
    if before.is_some() {
        return before;
    }
    let clients = events.iter().filter_map(|event| match event.process {
        Process::Client(process) => Some((event, process)),
        _ => None,
    });
    for (event, process) in clients {
        if let Err(why) = take(event, process) {
            return Some(why);
        }
    }
    None
}

/// A part of a check: what it charged and did not release is released when it ends.
pub(crate) struct Scope<'a> {
    budget: &'a dyn Budget,
    held: AtomicUsize,
}

impl<'a> Scope<'a> {
    /// A part that charges a budget.
    pub(crate) fn of(budget: &'a dyn Budget) -> Scope<'a> {
        Scope {
            budget,
            held: AtomicUsize::new(0),
        }
    }
}

impl Budget for Scope<'_> {
    fn check(&self) -> Result<(), Exhausted> {
        self.budget.check()
    }

    fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        self.budget.charge(bytes)?;
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.budget.release(bytes);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        self.budget.release(*self.held.get_mut());
    }
}

/// No limits. For tests and for embedding where the caller limits otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn check(&self) -> Result<(), Exhausted> {
        Ok(())
    }

    fn charge(&self, _bytes: usize) -> Result<(), Exhausted> {
        Ok(())
    }

    fn release(&self, _bytes: usize) {}
}

/// A deterministic budget: so many questions, so many bytes.
#[derive(Debug)]
pub struct Steps {
    steps: AtomicU64,
    bytes: AtomicU64,
}

impl Steps {
    /// Allows `steps` calls of [`Budget::check`] and `bytes` bytes held at once.
    pub fn new(steps: u64, bytes: u64) -> Steps {
        Steps {
            steps: AtomicU64::new(steps),
            bytes: AtomicU64::new(bytes),
        }
    }
}

impl Budget for Steps {
    fn check(&self) -> Result<(), Exhausted> {
        let left = self
            .steps
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        left.map(|_| ()).map_err(|_| Exhausted::Time)
    }

    fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        let bytes = bytes as u64;
        let left = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                n.checked_sub(bytes)
            });
        left.map(|_| ()).map_err(|_| Exhausted::Memory)
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
