//! Cutting links on nodes that are reached over SSH.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::{CapabilityError, Grudge, Network};
use harness::node::undo::Undo;
use harness::remote::{Command, Node, Output};
use harness::{Name, Value};
use serde_json::json;
use tokio::sync::OnceCell;

use super::addresses::{Addresses, resolve};
use super::journaled::{Journaled, Standing, no_answer};
use super::nft;

/// How long a node may take to change its rules.
const LIMIT: Duration = Duration::from_secs(10);

/// Cuts links with `nft`, on the node that is to drop the packets: one short command a node, all nodes
/// at once.
///
/// Only packets from the other nodes' addresses are ever dropped, so our own session to a node stays
/// whole; a setting where it would not (a controller or a jump host among the nodes) is refused.
pub struct NftNetwork {
    nodes: Vec<Journaled>,
    addresses: OnceCell<Addresses>,
    standing: Standing,
}

impl NftNetwork {
    /// The links between these nodes.
    pub fn new(nodes: &[Journaled]) -> NftNetwork {
        NftNetwork {
            nodes: nodes.to_vec(),
            addresses: OnceCell::new(),
            standing: Standing::default(),
        }
    }

    /// What nodes know each other by, asked once.
    async fn addresses(&self) -> Result<&Addresses, String> {
        let nodes = || self.nodes.iter().map(|at| at.node.clone());
        let resolve = || async { resolve(&nodes().collect::<Vec<Node>>()).await };
        self.addresses.get_or_try_init(resolve).await
    }

    /// Does something on some of the nodes, at once.
    async fn on<'a, F: Future>(
        &'a self,
        chosen: impl Fn(&Name) -> bool,
        act: impl Fn(&'a Journaled) -> F,
    ) -> Vec<(Name, F::Output)> {
        let nodes = self.nodes.iter().filter(|at| chosen(&at.node.name));
        let nodes: Vec<&Journaled> = nodes.collect();
        let results = join_all(nodes.iter().map(|at| act(at))).await;
        let names = nodes.iter().map(|at| at.node.name.clone());
        names.zip(results).collect()
    }

    /// Installs the rules of one node, and sees that the kernel has them.
    async fn cut_at(&self, at: &Journaled, sources: &[IpAddr]) -> Result<Value, CapabilityError> {
        let output = self
            .standing
            .act(at, &undo(), command(nft::cut(sources)))
            .await?;
        if output.status != 0 {
            // Nothing was changed, but the entry was written. It is taken back, and with it whatever stood
            // before: better no cut than another than was asked for.
            self.heal_at(at).await?;
            return Err(CapabilityError::NotDone(complaint(at, &output)));
        }
        let installed = nft::sources(&output.text());
        if installed != sources.iter().copied().collect() {
            let name = &at.node.name;
            let message = format!("{name}: told to drop {sources:?}, but drops {installed:?}");
            return Err(CapabilityError::Indeterminate(message));
        }
        Ok(json!(installed))
    }

    /// Deletes the rules of one node and sees that they are gone. Returns what they dropped, unless
    /// somebody else deleted them before.
    async fn heal_at(&self, at: &Journaled) -> Result<Option<u64>, CapabilityError> {
        let output = self.standing.undo(at, command(nft::heal())).await?;
        match output.status {
            0 => Ok(nft::packets(&output.text())),
            _ => Err(CapabilityError::Indeterminate(complaint(at, &output))),
        }
    }

    /// Makes one node drop packets from the addresses it has here, or none. Returns the rules installed.
    async fn change_at(
        &self,
        at: &Journaled,
        sources: &BTreeMap<Name, Vec<IpAddr>>,
    ) -> Result<Option<Value>, CapabilityError> {
        match sources.get(&at.node.name) {
            Some(sources) => self.cut_at(at, sources).await.map(Some),
            None => self.heal_at(at).await.map(|_| None),
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
        let checks = self.on(|_| true, |at| check(&at.node)).await;
        checks.into_iter().try_for_each(|(_, check)| check)?;
        self.addresses().await.map(|_| ())
    }

    async fn cut(&self, grudge: &Grudge) -> Result<Value, CapabilityError> {
        let sources = self.sources(grudge).await;
        let sources = &sources.map_err(CapabilityError::NotDone)?;
        let concerned = |name: &Name| sources.contains_key(name) || self.standing.has(name);
        let results = self.on(concerned, |at| self.change_at(at, sources)).await;
        let installed = all(results)?.into_iter();
        let installed = installed.filter_map(|(node, rules)| Some((node, rules?)));
        Ok(json!(installed.collect::<BTreeMap<Name, Value>>()))
    }

    async fn heal(&self) -> Result<BTreeMap<Name, u64>, CapabilityError> {
        let standing = |name: &Name| self.standing.has(name);
        let results = self.on(standing, |at| self.heal_at(at)).await;
        Ok(counted(all(results)?))
    }

    async fn dropped(&self) -> Result<BTreeMap<Name, u64>, CapabilityError> {
        let standing = |name: &Name| self.standing.has(name);
        let results = self.on(standing, count_at).await;
        Ok(counted(all(results)?))
    }
}

/// How our table is deleted when we are gone. A reboot deletes it too.
fn undo() -> Undo {
    Undo {
        fault: "partition".to_owned(),
        undo: nft::undo(),
        verify: nft::verify(),
        survives_reboot: false,
        process: None,
    }
}

/// Whether a node can do it.
async fn check(node: &Node) -> Result<(), String> {
    // By the way that cuts take, which is open then: the first cut is as prompt as the others.
    let output = node.remote.run(command(nft::check())).await;
    let output = output.map_err(|error| error.to_string())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status {
        0 => Ok(()),
        127 => Err(format!(
            "{}: nft is not installed\n  hint: apt-get install nftables",
            node.name
        )),
        _ => Err(format!(
            "{}: nft: {}\n  hint: the login user must be root or have sudo, and the kernel must have \
             nf_tables",
            node.name,
            stderr.trim()
        )),
    }
}

/// What one node has dropped so far.
async fn count_at(at: &Journaled) -> Result<Option<u64>, CapabilityError> {
    let output = at.node.remote.run(command(nft::count())).await;
    Ok(nft::packets(&output.map_err(no_answer)?.text()))
}

/// Every script here may be run twice: each says how the table shall be, not how it shall change.
fn command(script: String) -> Command {
    Command::new(script).timeout(LIMIT).idempotent().quick()
}

/// The nodes that counted anything.
fn counted(results: Vec<(Name, Option<u64>)>) -> BTreeMap<Name, u64> {
    let counts = results.into_iter();
    counts
        .filter_map(|(node, count)| Some((node, count?)))
        .collect()
}

fn complaint(at: &Journaled, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    format!(
        "{}: nft failed with exit code {status}: {}",
        at.node.name,
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
