//! Ending a run from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures::task::AtomicWaker;
use tokio::sync::Notify;

/// How far a run has been told to end. Only ever goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Go on.
    Run,
    /// Ask the main generator for nothing more; operations under way finish.
    Stop,
    /// Abandon operations under way at once; they are recorded as `info`.
    Abandon,
}

/// A handle that ends a run: of a signal handler, an online checker, a time limit.
///
/// Works from any thread, wakes the interpreter at once, and never blocks. Clones are handles to the
/// same run. A handle serves one interpreter at a time.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stage: AtomicU8,
    interpreter: AtomicWaker,
    others: Notify,
}

impl Stop {
    /// A handle of a run that goes on.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Ends the main phase: no more operations of its generator, and those under way finish.
    /// Phases that come after it (final reads) still run.
    pub fn stop(&self) {
        self.raise(Stage::Stop);
    }

    /// Ends every phase, now: operations under way are abandoned. Healing still runs.
    pub fn abandon(&self) {
        self.raise(Stage::Abandon);
    }

    /// What each Ctrl-C does: first stops, then abandons. Returns the stage reached.
    pub fn escalate(&self) -> Stage {
        match self.stage() {
            Stage::Run => self.stop(),
            Stage::Stop | Stage::Abandon => self.abandon(),
        }
        self.stage()
    }

    /// The stage reached.
    pub fn stage(&self) -> Stage {
        match self.state.stage.load(Ordering::Acquire) {
            0 => Stage::Run,
            1 => Stage::Stop,
            _ => Stage::Abandon,
        }
    }

    fn raise(&self, stage: Stage) {
        self.state.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.state.interpreter.wake();
        self.state.others.notify_waiters();
    }

    /// Waits until a stage is reached: for what goes on outside the interpreter, on any runtime.
    pub async fn reached(&self, stage: Stage) {
        loop {
            let mut raised = std::pin::pin!(self.state.others.notified());
            // First register, then look.
            raised.as_mut().enable();
            if self.stage() >= stage {
                return;
            }
            raised.await;
        }
    }

    /// Has the next call from outside wake a task.
    pub(super) fn wakes(&self, waker: &std::task::Waker) {
        self.state.interpreter.register(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_stage_hears_of_it_and_of_later_ones() {
        let stop = Stop::new();
        let waiting = |stage| {
            let stop = stop.clone();
            tokio::spawn(async move { stop.reached(stage).await })
        };
        let (first, second) = (waiting(Stage::Stop), waiting(Stage::Abandon));
        tokio::task::yield_now().await;
        stop.stop();
        first.await.expect("it does not panic");
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        stop.abandon();
        second.await.expect("it does not panic");
        stop.reached(Stage::Stop).await;
    }
}
