//! Acting on a system's processes through its [`Db`].
//!
//! A pause is written down in the node's undo journal before it is done. A kill is not: it cannot be taken
//! back, and ends when the system is started again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, Primaries, ProcessState, Processes, Signal};
use harness::db::{Db, DbError};
use harness::node::undo::Undo;
use harness::remote::{Command, Node};

use super::journaled::{Journaled, Standing, no_answer};
use super::pause;

/// How long to wait for the nodes' answers about primaries.
const PRIMARIES_LIMIT: Duration = Duration::from_secs(1);

/// The processes of a system on nodes.
pub struct DbProcesses {
    nodes: Vec<Journaled>,
    plain: Vec<Node>,
    db: Arc<dyn Db>,
    /// Nodes whose processes are paused, or may be.
    paused: Standing,
}

impl DbProcesses {
    /// The system's processes on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> DbProcesses {
        DbProcesses {
            nodes: nodes.to_vec(),
            plain: nodes.iter().map(|at| at.node.clone()).collect(),
            db,
            paused: Standing::default(),
        }
    }

    fn at(&self, name: &Name) -> Result<&Journaled, CapabilityError> {
        let at = self.nodes.iter().find(|at| at.node.name == *name);
        at.ok_or_else(|| CapabilityError::NotDone(format!("no node {name}")))
    }

    /// The script that prints the system's processes on a node.
    fn pids(&self, at: &Journaled) -> Result<String, CapabilityError> {
        self.db.pids_script(&at.node).ok_or_else(|| {
            let message = "this system does not say which its processes are, so a pause could not be \
                           undone without us";
            CapabilityError::NotDone(format!("{}: {message}", at.node.name))
        })
    }

    /// Writes down how to let the processes go on, and stops them.
    async fn stop(&self, at: &Journaled) -> Result<ProcessState, CapabilityError> {
        let pids = self.pids(at)?;
        let undo = Undo {
            fault: "pause".to_owned(),
            undo: pause::undo(&pids),
            verify: pause::verify(&pids),
            survives_reboot: false,
            process: None,
        };
        self.paused
            .act(at, &undo, Command::new(":").quick())
            .await?;
        let stopped = self.db.signal(&at.node, Signal::Stop).await;
        stopped.map_err(uncertain)
    }

    /// Lets the processes go on, and takes the journal's entries back once none is stopped.
    async fn go_on(&self, at: &Journaled) -> Result<ProcessState, CapabilityError> {
        let state = self
            .db
            .signal(&at.node, Signal::Cont)
            .await
            .map_err(uncertain)?;
        if self.paused.has(&at.node.name) {
            let verify = Command::new(pause::verify(&self.pids(at)?));
            let output = self.paused.undo(at, verify.quick().idempotent()).await?;
            if output.status != 0 {
                let message = format!("{}: a process is still stopped", at.node.name);
                return Err(CapabilityError::Indeterminate(message));
            }
        }
        Ok(state)
    }
}

#[async_trait]
impl Processes for DbProcesses {
    async fn signal(&self, node: &Name, signal: Signal) -> Result<ProcessState, CapabilityError> {
        let at = self.at(node)?;
        match signal {
            Signal::Stop => self.stop(at).await,
            Signal::Cont => self.go_on(at).await,
            _ => self.db.signal(&at.node, signal).await.map_err(uncertain),
        }
    }

    async fn start(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        let node = &self.at(node)?.node;
        self.db.start(node, &self.plain).await.map_err(uncertain)?;
        self.db.state(node).await.map_err(uncertain)
    }

    async fn state(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.db.state(&self.at(node)?.node).await.map_err(uncertain)
    }
}

fn uncertain(error: DbError) -> CapabilityError {
    match error {
        DbError::Remote(error) => no_answer(error),
        DbError::System { .. } => CapabilityError::Indeterminate(error.to_string()),
    }
}

/// The primaries of a system on nodes.
pub struct DbPrimaries {
    nodes: Vec<Node>,
    db: Arc<dyn Db>,
}

impl DbPrimaries {
    /// The system's primaries among these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> DbPrimaries {
        DbPrimaries {
            nodes: nodes.iter().map(|at| at.node.clone()).collect(),
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
