//! Faults that only the system under test knows.

use async_trait::async_trait;
use store::{Name, Value};

use super::CapabilityError;

/// What was seen of a fault of the system's own.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemSeen {
    /// What the system says.
    pub seen: Value,
    /// Whether that proves that the fault took effect. `None` where only its end can tell.
    pub effective: Option<bool>,
}

/// Doing to nodes what the system itself offers: a leader steps down, a member is held back.
#[async_trait]
pub trait SystemFaults: Send + Sync {
    /// Whether the system has such a fault. The error says which there are.
    async fn probe(&self, fault: &str) -> Result<(), String>;
    /// Does it to a node.
    async fn strike(&self, fault: &str, node: &Name) -> Result<SystemSeen, CapabilityError>;
    /// Undoes it on a node, and sees that it is undone. Whether it is proved now that it took effect, where only its end can tell.
    async fn undo(&self, fault: &str, node: &Name) -> Result<SystemSeen, CapabilityError>;
}
