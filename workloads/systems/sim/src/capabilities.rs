//! What faults can do to the simulated store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use harness::capability::{
    CapabilityError, Environment, Network, Primaries, ProcessState, Processes, Signal,
};
use harness::links::{LinkCount, LinkCounts, LinkNeeds, LinkRules, Party};
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
    async fn probe(&self, needs: &LinkNeeds) -> Result<(), String> {
        match *needs == LinkNeeds::default() {
            true => Ok(()),
            false => Err(ONLY_CUTS.to_owned()),
        }
    }

    async fn set(&self, _layer: &str, rules: &LinkRules) -> Result<Value, CapabilityError> {
        let grudge = rules.cuts();
        let cut: usize = grudge.0.values().map(BTreeSet::len).sum();
        if cut != rules.rules.len() || rules.flap.is_some() {
            return Err(CapabilityError::NotDone(ONLY_CUTS.to_owned()));
        }
        let names = grudge
            .0
            .iter()
            .flat_map(|(to, from)| from.iter().chain([to]));
        for name in names {
            self.on_node(name, |_, _| ())?;
        }
        self.0.with(|cluster| cluster.cut(&grudge));
        Ok(json!(grudge))
    }

    async fn heal(&self, _layer: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        Ok(counts(self.0.with(Cluster::heal)))
    }

    async fn counts(&self, _layer: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        Ok(counts(self.0.with(|cluster| cluster.dropped())))
    }
}

/// What the simulated network does not do.
const ONLY_CUTS: &str = "the simulated network can only drop all packets between nodes";

/// The store knows what each node dropped, not from whom.
fn counts(dropped: BTreeMap<Name, u64>) -> Vec<LinkCount> {
    let count = |(to, matched): (Name, u64)| LinkCount {
        from: Party::Node(to.clone()),
        to: Party::Node(to),
        counts: LinkCounts {
            matched,
            ..LinkCounts::default()
        },
    };
    dropped.into_iter().map(count).collect()
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
