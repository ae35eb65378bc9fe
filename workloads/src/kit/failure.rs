//! How a request of a client failed, and whether it may have been executed all the same.

use harness::client::Completion;
use harness::{OpError, Value};

use super::http::HttpError;

/// Whether something that failed may have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Certainly not, now or later.
    NotExecuted,
    /// Perhaps.
    Unknown,
}

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Whether it may have been executed.
    pub outcome: Outcome,
    /// What went wrong, for the history.
    pub error: OpError,
}

impl Failure {
    /// One that certainly had no effect.
    pub fn refused(class: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            outcome: Outcome::NotExecuted,
            error: OpError::new(class, message.into()),
        }
    }

    /// One that may have had an effect.
    pub fn unknown(class: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            outcome: Outcome::Unknown,
            error: OpError::new(class, message.into()),
        }
    }

    /// The same of a request that only reads, and so has no effect, however it failed.
    pub fn of_read(self) -> Failure {
        Failure {
            outcome: Outcome::NotExecuted,
            ..self
        }
    }

    /// How the operation ended that this was all of.
    pub fn completion(self, value: &Value) -> Completion {
        match self.outcome {
            Outcome::NotExecuted => Completion::fail(value.clone(), self.error),
            Outcome::Unknown => Completion::info(value.clone(), self.error),
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Failure {
        match &error {
            HttpError::Connect { .. } => Failure::refused("connect", error.to_string()),
            HttpError::Broken { .. } => Failure::unknown("connection-lost", error.to_string()),
        }
    }
}
