//! Restarting a system's nodes in good order, with the same or another version, through its [`Db`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use harness::Name;
use harness::capability::{CapabilityError, ProcessState, Processes, Restarted, Rolling, Signal};
use harness::db::{Db, DbVersions};
use harness::remote::Node;

use super::journaled::Journaled;
use super::processes::{DbProcesses, uncertain};
use crate::outcome::message;

/// How long a system that is asked to end may take, before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause between two looks at whether it has ended; each further one is twice as long.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take to be healthy again.
const HEALTHY: Duration = Duration::from_secs(15);

/// Restarts a system's nodes.
pub struct DbRolling {
    nodes: Vec<Node>,
    db: Arc<dyn Db>,
    processes: Arc<DbProcesses>,
}

impl DbRolling {
    /// Restarts the system on these nodes, by way of its processes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>, processes: Arc<DbProcesses>) -> DbRolling {
        DbRolling {
            nodes: nodes.iter().map(|at| at.node.clone()).collect(),
            db,
            processes,
        }
    }

    fn several(&self) -> Result<&dyn DbVersions, String> {
        let missing = "this system is not known in several versions";
        self.db.versions().ok_or_else(|| missing.to_owned())
    }

    /// Ends the system on a node: whether it did as it was asked to.
    async fn end(&self, node: &Name) -> Result<bool, CapabilityError> {
        let mut seen = self.processes.signal(node, Signal::TERM).await?;
        let end = tokio::time::Instant::now() + GRACE;
        let mut pause = LOOK;
        while seen != ProcessState::Absent && tokio::time::Instant::now() < end {
            tokio::time::sleep(pause).await;
            pause *= 2;
            seen = self.processes.state(node).await.map_err(begun)?;
        }
        if seen == ProcessState::Absent {
            return Ok(true);
        }
        let killed = self.processes.signal(node, Signal::KILL).await;
        killed.map_err(begun).map(|_| false)
    }
}

/// The same error of something that has been begun.
fn begun(error: CapabilityError) -> CapabilityError {
    CapabilityError::Indeterminate(message(error))
}

#[async_trait]
impl Rolling for DbRolling {
    async fn probe(&self, version: Option<&str>) -> Result<(), String> {
        self.processes.probe().await?;
        if let Some(version) = version {
            let several = self.several()?;
            let brought = self.nodes.iter().map(|node| several.bring(node, version));
            let brought = try_join_all(brought).await;
            brought.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn versions(&self) -> BTreeMap<Name, String> {
        let Some(several) = self.db.versions() else {
            return BTreeMap::new();
        };
        let chosen = self.nodes.iter();
        chosen
            .map(|node| (node.name.clone(), several.chosen(node)))
            .collect()
    }

    async fn restart(
        &self,
        name: &Name,
        version: Option<&str>,
    ) -> Result<Restarted, CapabilityError> {
        let missing = || CapabilityError::NotDone(format!("no node {name}"));
        let node = self.nodes.iter().find(|node| node.name == *name);
        let node = node.ok_or_else(missing)?;
        let before = self.processes.state(name).await;
        // Looking changes nothing.
        let before = before.map_err(|error| CapabilityError::NotDone(message(error)))?;
        if before != ProcessState::Running {
            let message = format!("{name}: the system does not run there");
            return Err(CapabilityError::NotDone(message));
        }
        let in_order = self.end(name).await?;
        let mut from = None;
        if let Some(version) = version {
            let several = self.several().map_err(CapabilityError::Indeterminate)?;
            from = Some(several.chosen(node));
            several.choose(node, version);
        }
        self.processes.start(name).await.map_err(begun)?;
        let healthy = tokio::time::timeout(HEALTHY, self.db.healthy(node)).await;
        match healthy {
            Ok(healthy) => healthy.map_err(|error| begun(uncertain(error)))?,
            Err(_) => {
                let message = format!("{name}: not healthy within {HEALTHY:?}");
                return Err(CapabilityError::Indeterminate(message));
            }
        }
        let runs = self.db.version(node).await;
        Ok(Restarted {
            from,
            runs: runs.map_err(|error| begun(uncertain(error)))?,
            in_order,
        })
    }
}
