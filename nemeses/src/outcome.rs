//! How faults say what became of them.

use std::time::Duration;

use harness::OpError;
use harness::capability::CapabilityError;
use harness::fault::FaultOutcome;

/// How long a fault that is to strike a primary waits for one to be known: longer than any healthy
/// election takes.
pub(crate) fn patience(election_timeout: Duration) -> Duration {
    election_timeout.saturating_mul(3) + Duration::from_secs(1)
}

/// An action failed, and this is what is known of it.
pub(crate) fn failed(error: CapabilityError) -> FaultOutcome {
    match error {
        CapabilityError::NotDone(message) => {
            FaultOutcome::Skipped(OpError::new("not-done", message))
        }
        CapabilityError::Indeterminate(message) => {
            FaultOutcome::Indeterminate(OpError::new("indeterminate", message))
        }
    }
}

/// What an error says, without what is known of the action.
pub(crate) fn message(error: CapabilityError) -> String {
    match error {
        CapabilityError::NotDone(message) | CapabilityError::Indeterminate(message) => message,
    }
}

/// Undoing failed: what was in force still is, or may be. Never [`FaultOutcome::Skipped`], which would
/// say that there is nothing to worry about.
pub(crate) fn still_in_force(message: String) -> FaultOutcome {
    FaultOutcome::Indeterminate(OpError::new("not-undone", message))
}

/// The operation asks for something that makes no sense.
pub(crate) fn refused(message: impl Into<String>) -> FaultOutcome {
    FaultOutcome::Skipped(OpError::new("refused", message))
}

/// The environment cannot do it.
pub(crate) fn unavailable(message: impl Into<String>) -> FaultOutcome {
    FaultOutcome::Skipped(OpError::new("unavailable", message))
}

/// Too many nodes would be down.
pub(crate) fn over_budget(message: String) -> FaultOutcome {
    FaultOutcome::Skipped(OpError::new("over-budget", message))
}

/// Nothing to undo.
pub(crate) fn not_in_force() -> FaultOutcome {
    FaultOutcome::Skipped(OpError::new("not-in-force", "nothing to undo"))
}

/// The fault knows no such operation.
pub(crate) fn unknown_op(f: &str) -> FaultOutcome {
    refused(format!("no operation `{f}`; there are: start, stop"))
}
