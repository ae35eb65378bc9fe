//! Acting on a system's processes through its [`Db`].
//!
//! A pause is written down in the node's undo journal before it is done, and so is a kill where the system can be started
//! again without us.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::modules::processes::{Answer, NAME, Request, State};
use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, Primaries, ProcessState, Processes, Signal};
use harness::db::{Db, DbError};
use harness::node::undo::Undo;
use harness::remote::{Command, Node};

use super::agent::Errand;
use super::journaled::{Journaled, Standing, find, no_answer, pids, started};
use super::{pause, revival};

/// How long a signal may take to be seen to have worked.
const SEEN: Duration = Duration::from_secs(10);
/// How long the agent may take to say so.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait for the nodes' answers about primaries.
const PRIMARIES_LIMIT: Duration = Duration::from_secs(1);

/// The processes of a system on nodes.
pub struct DbProcesses {
    nodes: Vec<Journaled>,
    plain: Vec<Node>,
    db: Arc<dyn Db>,
    /// Nodes whose processes are paused, or may be.
    paused: Standing,
    /// Nodes whose processes were ended, or may be.
    ended: Standing,
    /// Those among them whose processes were told to end in their own time.
    told: Mutex<BTreeSet<Name>>,
}

impl DbProcesses {
    /// The system's processes on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> DbProcesses {
        DbProcesses {
            nodes: nodes.to_vec(),
            plain: nodes.iter().map(|at| at.node.clone()).collect(),
            db,
            paused: Standing::default(),
            ended: Standing::default(),
            told: Mutex::default(),
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills what was told to end and has not yet: it would be taken for a system that runs, and then end.
    async fn end_at_last(&self, at: &Journaled) -> Result<(), CapabilityError> {
        if !self.told().contains(&at.node.name) {
            return Ok(());
        }
        let kill = Command::new(revival::kill(&pids(&*self.db, at)?));
        at.node.remote.exec(kill).await.map_err(no_answer)?;
        self.told().remove(&at.node.name);
        Ok(())
    }

    /// Writes down how to let the processes go on, and stops them.
    async fn stop(&self, at: &Journaled) -> Result<ProcessState, CapabilityError> {
        let pids = pids(&*self.db, at)?;
        let undo = Undo {
            fault: "pause".to_owned(),
            undo: pause::undo(&pids),
            verify: pause::verify(&pids),
            survives_reboot: false,
            process: None,
        };
        let request = request(pids, Signal::STOP);
        let asked = self.paused.ask(at, &undo, NAME, &request, PATIENCE).await;
        asked.map(state)
    }

    /// Lets the processes go on, and takes the journal's entries back once none is stopped.
    async fn go_on(&self, at: &Journaled) -> Result<ProcessState, CapabilityError> {
        let request = request(pids(&*self.db, at)?, Signal::CONT);
        let asked = self.paused.take_back(at, NAME, &request, PATIENCE).await;
        asked.map(state)
    }

    /// What is seen of a system that was just started: what was written down lest it stays down is taken back.
    async fn started(
        &self,
        at: &Journaled,
        started: Result<(), DbError>,
    ) -> Result<ProcessState, CapabilityError> {
        started.map_err(uncertain)?;
        self.ended.settle(at).await?;
        self.db.state(&at.node).await.map_err(uncertain)
    }

    /// Any other signal, which may end the processes: through the agent where it can know them.
    async fn send(&self, at: &Journaled, signal: Signal) -> Result<ProcessState, CapabilityError> {
        let Some(pids) = self.db.pids_script(&at.node) else {
            return self.db.signal(&at.node, signal).await.map_err(uncertain);
        };
        let request = request(pids.clone(), signal);
        let takes_time = signal != Signal::KILL && !signal.need_not_end();
        if takes_time {
            self.told().insert(at.node.name.clone());
        }
        let asked = match revival::revive(&*self.db, &at.node, &self.plain) {
            Some(revive) => {
                let kill = takes_time.then(|| revival::kill(&pids));
                let undo = Undo {
                    fault: "kill".to_owned(),
                    undo: format!("{}\n{revive}", kill.unwrap_or_default()),
                    verify: ":".to_owned(),
                    survives_reboot: false,
                    process: None,
                };
                self.ended.ask(at, &undo, NAME, &request, PATIENCE).await
            }
            None => {
                let asked = at.agent.ask(NAME, &request, Errand::default(), PATIENCE);
                asked.await
            }
        };
        asked.map(state)
    }
}

fn request(pids: String, signal: Signal) -> Request {
    Request {
        pids,
        signal: Some(signal.number()),
        patience_ms: SEEN.as_millis() as u64,
    }
}

fn state(answer: Answer) -> ProcessState {
    match answer.state {
        State::Running => ProcessState::Running,
        State::Stopped => ProcessState::Stopped,
        State::Absent => ProcessState::Absent,
    }
}

#[async_trait]
impl Processes for DbProcesses {
    async fn probe(&self) -> Result<(), String> {
        started(&self.nodes).await
    }

    async fn signal(&self, node: &Name, signal: Signal) -> Result<ProcessState, CapabilityError> {
        let at = find(&self.nodes, node)?;
        match signal {
            Signal::STOP => self.stop(at).await,
            Signal::CONT => self.go_on(at).await,
            _ => self.send(at, signal).await,
        }
    }

    async fn start(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        let at = find(&self.nodes, node)?;
        self.end_at_last(at).await?;
        let started = self.db.start(&at.node, &self.plain).await;
        self.started(at, started).await
    }

    async fn start_empty(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        let at = find(&self.nodes, node)?;
        self.end_at_last(at).await?;
        let started = self.db.start_empty(&at.node, &self.plain).await;
        self.started(at, started).await
    }

    async fn state(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.db
            .state(&find(&self.nodes, node)?.node)
            .await
            .map_err(uncertain)
    }
}

pub(super) fn uncertain(error: DbError) -> CapabilityError {
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
