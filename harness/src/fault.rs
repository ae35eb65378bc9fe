//! The trait that faults implement.

use async_trait::async_trait;
use store::{OpError, Value};

use crate::capability::Environment;
use crate::client::Op;

/// What became of a fault's activity.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultOutcome {
    /// In force (or undone, for a `stop`), with evidence that it took effect. Recorded as `ok`.
    Installed(Value),
    /// Not done, for certain, and why. Recorded as `fail`.
    Skipped(OpError),
    /// May be in force, in part or whole. Recorded as `info`, which does *not* retire the fault's
    /// process: its `stop` still undoes whatever stands.
    Indeterminate(OpError),
}

/// A fault. It has one activity open at a time; several faults run side by side.
#[async_trait]
pub trait Fault: Send {
    /// Its name: the process `nemesis/<name>` in the history.
    fn name(&self) -> &str;

    /// Whether this fault can act here, asked before the run. The error says why not and what would
    /// help.
    async fn probe(&mut self, env: &Environment) -> Result<(), String>;

    /// Performs an operation of its schedule: usually `start` with what to do, or `stop`.
    async fn invoke(&mut self, env: &Environment, op: &Op) -> FaultOutcome;

    /// Undoes whatever stands, exactly. Called after the run, also after failures; may be called
    /// when nothing stands.
    async fn heal(&mut self, env: &Environment) -> Result<(), OpError>;
}
