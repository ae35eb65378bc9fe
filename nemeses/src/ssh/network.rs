//! Cutting links on nodes that are reached over SSH.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::{CapabilityError, Grudge, Network};
use harness::remote::{Command, Node, Output, RemoteError};
use harness::{Name, Value};
use serde_json::json;
use tokio::sync::OnceCell;

use super::addresses::{Addresses, resolve};
use super::nft;

/// How long a node may take to change its rules.
const LIMIT: Duration = Duration::from_secs(10);

/// Cuts links with `nft`, on the node that is to drop the packets: one short command a node, all nodes
/// at once.
///
/// Only packets from the other nodes' addresses are ever dropped, so our own session to a node stays
/// whole; a setting where it would not (a controller or a jump host among the nodes) is refused.
pub struct NftNetwork {
    nodes: Vec<Node>,
    addresses: OnceCell<Addresses>,
    /// Nodes that have our table, or may.
    touched: Mutex<BTreeSet<Name>>,
}

impl NftNetwork {
    /// The links between these nodes.
    pub fn new(nodes: &[Node]) -> NftNetwork {
        NftNetwork {
            nodes: nodes.to_vec(),
            addresses: OnceCell::new(),
            touched: Mutex::default(),
        }
    }

    /// What nodes know each other by, asked once.
    async fn addresses(&self) -> Result<&Addresses, String> {
        self.addresses
            .get_or_try_init(|| resolve(&self.nodes))
            .await
    }

    fn touched(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something on all nodes that have our table, at once.
    async fn on_touched<'a, F: Future>(
        &'a self,
        act: impl Fn(&'a Node) -> F,
    ) -> Vec<(Name, F::Output)> {
        let touched = self.touched().clone();
        let nodes: Vec<&Node> = self
            .nodes
            .iter()
            .filter(|node| touched.contains(&node.name))
            .collect();
        let results = join_all(nodes.iter().map(|node| act(node))).await;
        nodes
            .iter()
            .map(|node| node.name.clone())
            .zip(results)
            .collect()
    }

    /// Installs the rules of one node and reads them back.
    async fn cut_at(&self, node: &Node, sources: &[IpAddr]) -> Result<Value, CapabilityError> {
        let output = run(node, nft::cut(sources)).await.map_err(uncertain)?;
        if output.status == nft::NOT_LISTED {
            return Err(CapabilityError::Indeterminate(complaint(node, &output)));
        }
        if output.status != 0 {
            return Err(CapabilityError::NotDone(complaint(node, &output)));
        }
        let listed = nft::listed(&output.text());
        if listed != sources.iter().copied().collect() {
            let message = format!(
                "{}: rules for {sources:?} installed, but the table has {listed:?}",
                node.name
            );
            return Err(CapabilityError::Indeterminate(message));
        }
        Ok(json!(listed))
    }

    /// Deletes the rules of one node and sees that they are gone. Returns what they dropped, unless
    /// somebody else deleted them before.
    async fn heal_at(&self, node: &Node) -> Result<Option<u64>, CapabilityError> {
        let output = run(node, nft::heal()).await.map_err(uncertain)?;
        if output.status != 0 {
            return Err(CapabilityError::Indeterminate(complaint(node, &output)));
        }
        self.touched().remove(&node.name);
        Ok(nft::packets(&output.text()))
    }

    /// Makes one node drop packets from the addresses it has here, or none. Returns the rules installed.
    async fn change_at(
        &self,
        node: &Node,
        sources: &BTreeMap<Name, Vec<IpAddr>>,
    ) -> Result<Option<Value>, CapabilityError> {
        match sources.get(&node.name) {
            Some(sources) => self.cut_at(node, sources).await.map(Some),
            None => self.heal_at(node).await.map(|_| None),
        }
    }

    /// The addresses that each node of a grudge is to drop packets from.
    async fn sources(&self, grudge: &Grudge) -> Result<BTreeMap<Name, Vec<IpAddr>>, String> {
        let addresses = self.addresses().await?;
        let mut sources = BTreeMap::new();
        for (node, peers) in &grudge.0 {
            let known = addresses.get(node).ok_or(format!("no node {node}"))?;
            let mut all = BTreeSet::new();
            for peer in peers {
                let peer = known.get(peer).ok_or(format!("no node {peer}"))?;
                all.extend(peer.iter().copied());
            }
            if !all.is_empty() {
                sources.insert(node.clone(), all.into_iter().collect());
            }
        }
        Ok(sources)
    }
}

#[async_trait]
impl Network for NftNetwork {
    async fn probe(&self) -> Result<(), String> {
        let checks = self.nodes.iter().map(check);
        join_all(checks)
            .await
            .into_iter()
            .collect::<Result<(), String>>()?;
        self.addresses().await.map(|_| ())
    }

    async fn cut(&self, grudge: &Grudge) -> Result<Value, CapabilityError> {
        let sources = self
            .sources(grudge)
            .await
            .map_err(CapabilityError::NotDone)?;
        let sources = &sources;
        // Before acting, so that a cut that is dropped half-way can still be healed.
        let before = self.touched().clone();
        self.touched().extend(sources.keys().cloned());
        let change = |node| self.change_at(node, sources);
        let results = self.on_touched(change).await;
        for (node, result) in &results {
            if matches!(result, Err(CapabilityError::NotDone(_))) && !before.contains(node) {
                self.touched().remove(node);
            }
        }
        let installed = all(results)?;
        let installed = installed
            .into_iter()
            .filter_map(|(node, rules)| Some((node, rules?)));
        Ok(json!(installed.collect::<BTreeMap<Name, Value>>()))
    }

    async fn heal(&self) -> Result<BTreeMap<Name, u64>, CapabilityError> {
        let results = self
            .on_touched(async |node: &Node| self.heal_at(node).await)
            .await;
        let healed = all(results)?;
        let counted = healed
            .into_iter()
            .filter_map(|(node, count)| Some((node, count?)));
        Ok(counted.collect())
    }

    async fn dropped(&self) -> Result<BTreeMap<Name, u64>, CapabilityError> {
        let results = self.on_touched(count_at).await;
        let counted = all(results)?;
        let counted = counted
            .into_iter()
            .filter_map(|(node, count)| Some((node, count?)));
        Ok(counted.collect())
    }
}

/// Whether a node can do it.
async fn check(node: &Node) -> Result<(), String> {
    let command = Command::new(nft::check()).idempotent();
    let output = node
        .remote
        .run(command)
        .await
        .map_err(|error| error.to_string())?;
    match output.status {
        0 => Ok(()),
        127 => Err(format!(
            "{}: nft is not installed\n  hint: apt-get install nftables",
            node.name
        )),
        _ => Err(format!(
            "{}\n  hint: the login user must be root or have sudo, and the kernel must have nf_tables",
            complaint(node, &output)
        )),
    }
}

/// What one node has dropped so far.
async fn count_at(node: &Node) -> Result<Option<u64>, CapabilityError> {
    let output = run(node, nft::count()).await.map_err(uncertain)?;
    Ok(nft::packets(&output.text()))
}

/// Every script here may be run twice: each says how the table shall be, not how it shall change.
async fn run(node: &Node, script: String) -> Result<Output, RemoteError> {
    let command = Command::new(script).timeout(LIMIT).idempotent().quick();
    node.remote.run(command).await
}

fn uncertain(error: RemoteError) -> CapabilityError {
    match error.not_run() {
        true => CapabilityError::NotDone(error.to_string()),
        false => CapabilityError::Indeterminate(error.to_string()),
    }
}

fn complaint(node: &Node, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    format!(
        "{}: nft failed with exit code {status}: {}",
        node.name,
        stderr.trim()
    )
}

/// All results, or what is known of the whole: it was not done only if it was done nowhere.
fn all<T>(
    results: Vec<(Name, Result<T, CapabilityError>)>,
) -> Result<Vec<(Name, T)>, CapabilityError> {
    let (mut done, mut errors, mut certain) = (Vec::new(), Vec::new(), true);
    for (node, result) in results {
        match result {
            Ok(result) => done.push((node, result)),
            Err(CapabilityError::NotDone(message)) => errors.push(message),
            Err(CapabilityError::Indeterminate(message)) => {
                certain = false;
                errors.push(message);
            }
        }
    }
    match (errors.is_empty(), certain && done.is_empty()) {
        (true, _) => Ok(done),
        (false, true) => Err(CapabilityError::NotDone(errors.join("; "))),
        (false, false) => Err(CapabilityError::Indeterminate(errors.join("; "))),
    }
}
