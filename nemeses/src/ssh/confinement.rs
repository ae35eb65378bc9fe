//! Confining a system's processes through the agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::modules::confine::{self, Answer, NAME, Request};
use async_trait::async_trait;
use futures::future::try_join_all;
use harness::Name;
use harness::capability::{Bounds, CapabilityError, Confinement, Counters};
use harness::db::Db;
use harness::node::undo::Undo;
use harness::remote::{Node, quote};

use super::agent::Errand;
use super::journaled::{Journaled, Standing, find, named, pids};
use super::revival;
use crate::outcome::message;

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Confines the processes of a system on nodes.
pub struct NodeConfinement {
    nodes: Vec<Journaled>,
    db: Arc<dyn Db>,
    /// By fault.
    standing: Mutex<BTreeMap<String, Arc<Standing>>>,
}

impl NodeConfinement {
    /// The system's processes on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> NodeConfinement {
        NodeConfinement {
            nodes: nodes.to_vec(),
            db,
            standing: Mutex::default(),
        }
    }

    fn standing(&self, fault: &str) -> Arc<Standing> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(standing.entry(fault.to_owned()).or_default())
    }

    async fn probe_at(&self, at: &Journaled, bounds: confine::Bounds) -> Result<(), String> {
        pids(&*self.db, at).map_err(message)?;
        let request = Request::Probe(bounds);
        let probed = at
            .agent
            .ask::<Answer>(NAME, &request, Errand::default(), PATIENCE);
        probed.await.map(drop).map_err(message)
    }
}

fn theirs(bounds: &Bounds) -> confine::Bounds {
    confine::Bounds {
        freeze: bounds.freeze,
        cpu_percent: bounds.cpu_percent,
        more_memory: bounds.more_memory,
        more_processes: bounds.more_processes,
        more_files: bounds.more_files,
        disk_requests: bounds.disk_requests,
    }
}

#[async_trait]
impl Confinement for NodeConfinement {
    async fn probe(&self, bounds: &Bounds) -> Result<(), String> {
        let bounds = theirs(bounds);
        let probes = self.nodes.iter().map(|at| self.probe_at(at, bounds));
        try_join_all(probes).await.map(drop)
    }

    async fn confine(
        &self,
        fault: &str,
        node: &Name,
        bounds: &Bounds,
    ) -> Result<Counters, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let pids = pids(&*self.db, at)?;
        let name = named(at, fault);
        let call = |verb: &str| {
            let (program, folder) = (at.agent.program(), &at.folder);
            format!("{} {verb} {} {name}", quote(&program), quote(folder))
        };
        let nodes: Vec<Node> = self.nodes.iter().map(|at| at.node.clone()).collect();
        // The kernel may have killed what had no memory left.
        let revive = revival::revive(&*self.db, &at.node, &nodes).unwrap_or_default();
        let undo = Undo {
            fault: fault.to_owned(),
            undo: format!("{} && {{\n{revive}\n:; }}", call("release")),
            verify: call("released"),
            survives_reboot: false,
            process: None,
        };
        let request = Request::Confine {
            name: name.clone(),
            pids,
            bounds: theirs(bounds),
        };
        let standing = self.standing(fault);
        let asked = standing.ask::<Answer>(at, &undo, NAME, &request, PATIENCE);
        Ok(asked.await?.counters)
    }

    async fn release(&self, fault: &str, node: &Name) -> Result<Counters, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let request = Request::Release {
            name: named(at, fault),
        };
        let standing = self.standing(fault);
        let asked = standing.take_back::<Answer>(at, NAME, &request, PATIENCE);
        Ok(asked.await?.counters)
    }
}
