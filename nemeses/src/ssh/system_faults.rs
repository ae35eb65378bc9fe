//! Faults of a system's own, through its [`Db`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, SystemFaults, SystemSeen};
use harness::db::{Db, DbFaults as OfDb, DbUndo};
use harness::node::undo::Undo;
use harness::remote::Node;

use super::journaled::{Journaled, Standing, find, started};

/// Faults of a system on nodes.
pub struct NodeSystemFaults {
    nodes: Vec<Journaled>,
    plain: Vec<Node>,
    db: Arc<dyn Db>,
    /// Where each fault is in force, or may be.
    standing: BTreeMap<&'static str, Standing>,
}

impl NodeSystemFaults {
    /// The faults of a system on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> NodeSystemFaults {
        let known = db.faults().map_or(&[][..], |of_db| of_db.known());
        let standing = known.iter().map(|fault| (fault.name, Standing::default()));
        NodeSystemFaults {
            standing: standing.collect(),
            nodes: nodes.to_vec(),
            plain: nodes.iter().map(|at| at.node.clone()).collect(),
            db,
        }
    }

    /// How the system does it, and where it stands.
    fn of_db(&self, fault: &str) -> Result<(&dyn OfDb, &Standing), String> {
        let known: Vec<&str> = self.standing.keys().copied().collect();
        match self.db.faults().zip(self.standing.get(fault)) {
            Some(found) => Ok(found),
            None if known.is_empty() => Err("this system has no faults of its own".to_owned()),
            None => Err(format!(
                "this system has no fault `{fault}`; it has {}",
                known.join(", ")
            )),
        }
    }
}

#[async_trait]
impl SystemFaults for NodeSystemFaults {
    async fn probe(&self, fault: &str) -> Result<(), String> {
        self.of_db(fault)?;
        started(&self.nodes).await
    }

    async fn strike(&self, fault: &str, node: &Name) -> Result<SystemSeen, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let (of_db, standing) = self.of_db(fault).map_err(CapabilityError::NotDone)?;
        let before = standing.has(node);
        let DbUndo { undo, verify } = of_db.undo_script(fault, &at.node, &self.plain);
        let undo = Undo {
            fault: fault.to_owned(),
            undo,
            verify,
            survives_reboot: true,
            process: None,
        };
        standing.note(at, &undo).await?;
        let struck = of_db.strike(fault, &at.node, &self.plain).await;
        if !before && matches!(struck, Err(CapabilityError::NotDone(_))) {
            standing.settle(at).await?;
        }
        struck
    }

    async fn undo(&self, fault: &str, node: &Name) -> Result<SystemSeen, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let (of_db, standing) = self.of_db(fault).map_err(CapabilityError::NotDone)?;
        let undone = of_db.undo(fault, &at.node, &self.plain).await?;
        standing.settle(at).await?;
        Ok(undone)
    }
}
