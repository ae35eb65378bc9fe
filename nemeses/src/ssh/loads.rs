//! Loading nodes through the agent.

use std::sync::Arc;
use std::time::Duration;

use agent::modules::load::{self, NAME, Request, Task};
use async_trait::async_trait;
use futures::future::try_join_all;
use harness::capability::{CapabilityError, Load, LoadSeen, Loads};
use harness::db::Db;
use harness::node::undo::Undo;
use harness::remote::quote;
use harness::{Name, json};

use super::agent::Errand;
use super::journaled::{Journaled, Standing, find, named, translated};
use crate::outcome::message;

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Loads nodes.
pub struct NodeLoads {
    nodes: Vec<Journaled>,
    db: Arc<dyn Db>,
    /// Where one is, or may be.
    standing: Standing,
}

impl NodeLoads {
    /// Loads on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> NodeLoads {
        NodeLoads {
            nodes: nodes.to_vec(),
            db,
            standing: Standing::default(),
        }
    }

    fn task(&self, load: &Load) -> Result<Task, CapabilityError> {
        let mut task = json!(load);
        task["folders"] = json!(self.db.data_folders());
        translated(task)
    }

    async fn probe_at(&self, at: &Journaled, task: Task) -> Result<(), CapabilityError> {
        let request = Request::Probe(task);
        let asked = at.agent.ask(NAME, &request, Errand::default(), PATIENCE);
        asked.await.map(|_: load::Seen| ())
    }
}

/// The same, in the harness's terms.
fn seen(seen: load::Seen) -> Result<LoadSeen, CapabilityError> {
    translated(json!(seen))
}

#[async_trait]
impl Loads for NodeLoads {
    async fn probe(&self, load: &Load) -> Result<(), String> {
        let task = self.task(load).map_err(message)?;
        let probes = self.nodes.iter().map(|at| self.probe_at(at, task.clone()));
        try_join_all(probes).await.map(drop).map_err(message)
    }

    async fn begin(&self, node: &Name, load: &Load) -> Result<LoadSeen, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let name = named(at, NAME);
        let call = |verb: &str| {
            let (program, folder) = (at.agent.program(), &at.folder);
            format!("{} {verb} {} {name}", quote(&program), quote(folder))
        };
        let undo = Undo {
            fault: NAME.to_owned(),
            undo: call("end-load"),
            verify: call("load-ended"),
            survives_reboot: false,
            process: None,
        };
        let request = Request::Begin {
            name: name.clone(),
            task: self.task(load)?,
        };
        let asked = self.standing.ask(at, &undo, NAME, &request, PATIENCE);
        asked.await.and_then(seen)
    }

    async fn look(&self, node: &Name) -> Result<LoadSeen, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let request = Request::Look {
            name: named(at, NAME),
        };
        let asked = at.agent.ask(NAME, &request, Errand::default(), PATIENCE);
        asked.await.and_then(seen)
    }

    async fn end(&self, node: &Name) -> Result<LoadSeen, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let request = Request::End {
            name: named(at, NAME),
        };
        let asked = self.standing.take_back(at, NAME, &request, PATIENCE);
        asked.await.and_then(seen)
    }
}
