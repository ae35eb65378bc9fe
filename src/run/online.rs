//! Ending a run as soon as a violation is proved: `--stop-on-violation`.
//!
//! Checkers in processes of their own follow the history; nothing but its file connects them to the run.
//! Now and then they are asked what they have seen. On a real clock that happens beside the run, which
//! never waits for them. On a virtual clock the run stands still meanwhile, after all of its history is
//! written: so what they have seen by a moment depends on the history alone, and a run that is ended early
//! is so under its seed each time.

use std::mem;
use std::time::Duration;

use harness::interpreter::Stop;
use harness::time::{Clock, Nanos, sleep};
use store::Recorder;

use crate::check::{OnlineChecker, Seen, StoppedEarly};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(500);

/// The online checkers of a run.
pub(super) struct Online {
    checkers: Vec<OnlineChecker>,
    /// Ends a look that nobody waits for any more.
    over: Stop,
    /// Why the run was ended.
    stopped: Option<StoppedEarly>,
    /// Who gave up, and why.
    notes: Vec<String>,
}

impl Online {
    pub(super) fn new(checkers: Vec<OnlineChecker>) -> Online {
        Online {
            checkers,
            over: Stop::new(),
            stopped: None,
            notes: Vec::new(),
        }
    }

    /// Looks again and again, until there is a violation, which stops the run, or nobody is left to look.
    /// May be dropped at any time.
    pub(super) async fn watch(&mut self, clock: &dyn Clock, recorder: &Recorder, stop: &Stop) {
        while !self.checkers.is_empty() {
            sleep(clock, LOOK).await;
            for checker in mem::take(&mut self.checkers) {
                let name = checker.name.clone();
                let (checker, seen) = match clock.is_virtual() {
                    true => look_now(checker, recorder, stop),
                    false => look_beside(checker, self.over.clone()).await,
                };
                match seen {
                    Seen::Nothing => self.checkers.extend(checker),
                    Seen::Over { why } => self.gave_up(&name, &why),
                    Seen::Violation { reason } => {
                        self.found(name, reason, clock.now());
                        stop.stop();
                        return;
                    }
                }
            }
        }
    }

    fn gave_up(&mut self, name: &str, why: &str) {
        let note =
            format!("the online checker {name} gave up, and the run went on without it: {why}");
        tracing::warn!("{note}");
        self.notes.push(note);
    }

    fn found(&mut self, by: String, reason: String, now: Nanos) {
        let at = (now / 1_000_000) as f64 / 1e3;
        tracing::warn!(
            "stopped at {at:.3} s: the online checker {by} has proved a violation: {reason}"
        );
        self.stopped = Some(StoppedEarly { by, reason, at });
    }

    /// Ends it, and returns what came of it: why the run was ended, and who gave up.
    pub(super) fn end(mut self) -> (Option<StoppedEarly>, Vec<String>) {
        (self.stopped.take(), mem::take(&mut self.notes))
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        self.over.abandon();
    }
}

/// Looks while the run stands still.
fn look_now(
    mut checker: OnlineChecker,
    recorder: &Recorder,
    stop: &Stop,
) -> (Option<OnlineChecker>, Seen) {
    // A history that cannot be written ends the run in its own way.
    let _ = recorder.flush();
    let seen = checker.look(stop);
    (Some(checker), seen)
}

/// Looks while the run goes on.
async fn look_beside(mut checker: OnlineChecker, over: Stop) -> (Option<OnlineChecker>, Seen) {
    let looked = tokio::task::spawn_blocking(move || {
        let seen = checker.look(&over);
        (Some(checker), seen)
    });
    looked.await.unwrap_or_else(|error| {
        let why = error.to_string();
        (None, Seen::Over { why })
    })
}
