//! Acting on a system's processes through its [`Db`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, Primaries, ProcessState, Processes, Signal};
use harness::db::{Db, DbError};
use harness::remote::Node;

/// How long to wait for the nodes' answers about primaries.
const PRIMARIES_LIMIT: Duration = Duration::from_secs(1);

/// The processes of a system on nodes.
pub struct DbProcesses {
    nodes: Vec<Node>,
    db: Arc<dyn Db>,
}

impl DbProcesses {
    /// The system's processes on these nodes.
    pub fn new(nodes: &[Node], db: Arc<dyn Db>) -> DbProcesses {
        DbProcesses {
            nodes: nodes.to_vec(),
            db,
        }
    }

    fn node(&self, name: &Name) -> Result<&Node, CapabilityError> {
        let node = self.nodes.iter().find(|node| node.name == *name);
        node.ok_or_else(|| CapabilityError::NotDone(format!("no node {name}")))
    }
}

#[async_trait]
impl Processes for DbProcesses {
    async fn signal(&self, node: &Name, signal: Signal) -> Result<ProcessState, CapabilityError> {
        let node = self.node(node)?;
        self.db.signal(node, signal).await.map_err(uncertain)
    }

    async fn start(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        let node = self.node(node)?;
        self.db.start(node, &self.nodes).await.map_err(uncertain)?;
        self.db.state(node).await.map_err(uncertain)
    }

    async fn state(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.db.state(self.node(node)?).await.map_err(uncertain)
    }
}

fn uncertain(error: DbError) -> CapabilityError {
    match &error {
        DbError::Remote(remote) if remote.not_run() => CapabilityError::NotDone(error.to_string()),
        DbError::Remote(_) | DbError::System { .. } => {
            CapabilityError::Indeterminate(error.to_string())
        }
    }
}

/// The primaries of a system on nodes.
pub struct DbPrimaries {
    nodes: Vec<Node>,
    db: Arc<dyn Db>,
}

impl DbPrimaries {
    /// The system's primaries among these nodes.
    pub fn new(nodes: &[Node], db: Arc<dyn Db>) -> DbPrimaries {
        DbPrimaries {
            nodes: nodes.to_vec(),
            db,
        }
    }
}

#[async_trait]
impl Primaries for DbPrimaries {
    async fn primaries(&self) -> Vec<Name> {
        let asked = self.db.primaries(&self.nodes);
        let answer = tokio::time::timeout(PRIMARIES_LIMIT, asked).await;
        answer.unwrap_or_default()
    }
}
