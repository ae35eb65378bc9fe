//! Faults that are in force from a `start` to a `stop`: what all of them do with their operations.

use async_trait::async_trait;
use harness::OpError;
use harness::capability::Environment;
use harness::client::Op;
use harness::fault::{Fault, FaultOutcome};

use crate::outcome::unknown_op;
use crate::schedule::{START, STOP};

/// A fault that is begun and ended.
#[async_trait]
pub(crate) trait StartStop: Send {
    /// The fault's name in the history.
    fn name(&self) -> &str;

    /// Whether it may be told to strike primaries.
    fn needs_primaries(&self) -> bool;

    /// Whether it can be done here, asked before the run. The error says why not.
    async fn probe(&mut self, env: &Environment) -> Result<(), String>;

    /// Puts it in force, as the operation says.
    async fn start(&mut self, env: &Environment, op: &Op) -> FaultOutcome;

    /// Undoes what is in force.
    async fn stop(&mut self, env: &Environment) -> FaultOutcome;
}

/// One of them, as a fault.
pub(crate) struct Begun<T>(pub(crate) T);

#[async_trait]
impl<T: StartStop> Fault for Begun<T> {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn probe(&mut self, env: &Environment) -> Result<(), String> {
        if self.0.needs_primaries() && env.primaries.is_none() {
            return Err("this system has no primaries to target".to_owned());
        }
        self.0.probe(env).await
    }

    async fn invoke(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        match &*op.f {
            START => self.0.start(env, op).await,
            STOP => self.0.stop(env).await,
            other => unknown_op(other),
        }
    }

    async fn heal(&mut self, env: &Environment) -> Result<(), OpError> {
        match self.0.stop(env).await {
            FaultOutcome::Indeterminate(error) => Err(error),
            FaultOutcome::Installed(_) | FaultOutcome::Skipped(_) => Ok(()),
        }
    }
}
