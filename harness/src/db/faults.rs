//! The trait of systems that have faults of their own.

use async_trait::async_trait;

use crate::capability::{CapabilityError, SystemSeen};
use crate::remote::Node;

/// A fault of a system's own, described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbFault {
    /// Its name, as `--nemesis system:fault=NAME` takes it.
    pub name: &'static str,
    /// What it does, what proves that, and how it is undone, in a sentence or two.
    pub summary: &'static str,
    /// Whether it is by its nature for nodes that do not lead.
    pub spares_leaders: bool,
}

/// How a fault is undone on a node by whoever comes, without us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbUndo {
    /// A shell script that takes it back; doing so twice is doing so once, and where the system does not run, nothing.
    pub undo: String,
    /// A shell script that succeeds when it is gone.
    pub verify: String,
}

/// A system that has faults of its own: what it offers to its administrators, and does not happen to it by itself.
#[async_trait]
pub trait DbFaults: Send + Sync {
    /// Which there are.
    fn known(&self) -> &'static [DbFault];

    /// How one is undone on a node by whoever comes. Written down there before it is done.
    fn undo_script(&self, fault: &str, node: &Node, nodes: &[Node]) -> DbUndo;

    /// Does it to a node, and sees what became of it.
    async fn strike(
        &self,
        fault: &str,
        node: &Node,
        nodes: &[Node],
    ) -> Result<SystemSeen, CapabilityError>;

    /// Undoes it on a node, and sees that it is undone; where the system does not run there, it is.
    async fn undo(
        &self,
        fault: &str,
        node: &Node,
        nodes: &[Node],
    ) -> Result<SystemSeen, CapabilityError>;
}
