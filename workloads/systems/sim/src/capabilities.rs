//! What faults can do to the simulated store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use harness::capability::{
    CapabilityError, Environment, Grudge, Network, Primaries, ProcessState, Processes, Signal,
};
use store::{Name, Value, json};

use crate::cluster::Cluster;
use crate::handle::Handle;
use crate::message::NodeId;

/// The world of the store, as faults see it. Everything takes effect at once.
pub(crate) fn environment(nodes: &[Name], handle: &Handle) -> Environment {
    let capabilities = Arc::new(Capabilities(handle.clone()));
    Environment {
        nodes: nodes.to_vec(),
        network: Some(capabilities.clone()),
        processes: Some(capabilities.clone()),
        primaries: Some(capabilities),
        ..Environment::default()
    }
}

struct Capabilities(Handle);

impl Capabilities {
    fn on_node<R>(
        &self,
        name: &Name,
        act: impl FnOnce(&mut Cluster, NodeId) -> R,
    ) -> Result<R, CapabilityError> {
        self.0.with(|cluster| match cluster.node(name) {
            Some(node) => Ok(act(cluster, node)),
            None => Err(CapabilityError::NotDone(format!("there is no node {name}"))),
        })
    }
}

#[async_trait]
impl Network for Capabilities {
    async fn cut(&self, grudge: &Grudge) -> Result<Value, CapabilityError> {
        let names = grudge
            .0
            .iter()
            .flat_map(|(to, from)| from.iter().chain([to]));
        for name in names {
            self.on_node(name, |_, _| ())?;
        }
        self.0.with(|cluster| cluster.cut(grudge));
        Ok(json!(grudge))
    }

    async fn heal(&self) -> Result<BTreeMap<Name, u64>, CapabilityError> {
        Ok(self.0.with(Cluster::heal))
    }

    async fn dropped(&self) -> Result<BTreeMap<Name, u64>, CapabilityError> {
        Ok(self.0.with(|cluster| cluster.dropped()))
    }
}

#[async_trait]
impl Processes for Capabilities {
    async fn signal(&self, node: &Name, signal: Signal) -> Result<ProcessState, CapabilityError> {
        self.on_node(node, |cluster, node| cluster.signal(node, signal))
    }

    async fn start(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.on_node(node, Cluster::start)
    }

    async fn state(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.on_node(node, |cluster, node| cluster.state(node))
    }
}

#[async_trait]
impl Primaries for Capabilities {
    async fn primaries(&self) -> Vec<Name> {
        self.0.with(|cluster| cluster.primaries())
    }
}
