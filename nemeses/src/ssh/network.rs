//! Rules for the links of nodes that are reached over SSH.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent::modules::network::{Answer, Counts, NAME, Request, Rule, RuleSet, Way};
use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::{CapabilityError, Network};
use harness::links::{LinkCount, LinkCounts, LinkNeeds, LinkRule, LinkRules, Party};
use harness::node::undo::Undo;
use harness::remote::{Command, Node};
use harness::{Name, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;

use super::addresses::{Addresses, resolve};
use super::agent::Errand;
use super::journaled::{Journaled, Standing};
use super::nft;
use crate::outcome::message;

/// How long a node may take to change its rules.
const LIMIT: Duration = Duration::from_secs(10);

/// Rules for links, kept by the agent on the node that receives the packets (or sends them to clients): one
/// request a node, all nodes at once.
///
/// Only packets from the other nodes' addresses, and of clients, are ever touched, and never those of a node's SSH
/// server with the controller, so our own session to a node stays whole; a setting where it would not (a controller
/// or a jump host among the nodes) is refused.
pub struct AgentNetwork {
    nodes: Vec<Journaled>,
    addresses: OnceCell<Addresses>,
    layers: Mutex<BTreeMap<String, Arc<Layer>>>,
}

/// The rules of a fault.
#[derive(Default)]
struct Layer {
    standing: Standing,
    /// By node, the links that its rules are about, in their order.
    links: Mutex<BTreeMap<Name, Vec<Link>>>,
}

/// From whom, and to whom.
type Link = (Party, Party);

impl Layer {
    /// What is known of a node's links, from the counts of its rules.
    fn counted(&self, node: &Name, counts: Option<Vec<Counts>>) -> Vec<LinkCount> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let links = links.get(node).into_iter().flatten();
        let counts = counts.into_iter().flatten();
        let count = |((from, to), counts): (&Link, Counts)| LinkCount {
            from: from.clone(),
            to: to.clone(),
            counts: link_counts(counts),
        };
        links.zip(counts).map(count).collect()
    }
}

fn link_counts(counts: Counts) -> LinkCounts {
    LinkCounts {
        matched: counts.matched,
        held: counts.held,
        delayed: counts.delayed,
        delay_us: counts.delay_us,
        lost: counts.lost,
        corrupted: counts.corrupted,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
    }
}

impl AgentNetwork {
    /// The links between these nodes, and with clients.
    pub fn new(nodes: &[Journaled]) -> AgentNetwork {
        AgentNetwork {
            nodes: nodes.to_vec(),
            addresses: OnceCell::new(),
            layers: Mutex::default(),
        }
    }

    /// What nodes know each other by, asked once.
    pub(super) async fn addresses(&self) -> Result<&Addresses, String> {
        let nodes = || self.nodes.iter().map(|at| at.node.clone());
        let resolve = || async { resolve(&nodes().collect::<Vec<Node>>()).await };
        self.addresses.get_or_try_init(resolve).await
    }

    /// The same, if they will do for what a fault needs.
    pub(super) async fn addresses_for(&self, needs: &LinkNeeds) -> Result<&Addresses, String> {
        let addresses = self.addresses().await?;
        let mut unknown = addresses.iter().filter(|(_, at)| at.clients.is_empty());
        match unknown.next() {
            Some((node, _)) if needs.clients => Err(format!(
                "{node}: it is not known from which address clients come there\n  hint: give nodes by an address that is \
                 not this machine's own"
            )),
            _ => Ok(addresses),
        }
    }

    fn layer(&self, name: &str) -> Arc<Layer> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(layers.entry(name.to_owned()).or_default())
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

    async fn check(&self, at: &Journaled, needs: &LinkNeeds) -> Result<(), String> {
        // By the way that undoing takes, if it has to do without the agent.
        let check = Command::new(nft::CHECK).idempotent().quick();
        let output = at.node.remote.run(check).await;
        if output.map_err(|error| error.to_string())?.status != 0 {
            return Err(format!(
                "{}: nft is not installed\n  hint: apt-get install nftables",
                at.node.name
            ));
        }
        let request = Request::Probe {
            shaping: needs.holding,
        };
        let asked = at
            .agent
            .ask::<Answer>(NAME, &request, Errand::default(), LIMIT);
        asked.await.map(drop).map_err(message)
    }

    /// Makes these the rules of a layer on one node. Returns whom they are about.
    async fn set_at(
        &self,
        layer: &Layer,
        at: &Journaled,
        rules: &RuleSet,
        links: &[Link],
    ) -> Result<Value, CapabilityError> {
        let request = Request::Set(rules.clone());
        let undo = undo(&rules.layer);
        let asked = layer
            .standing
            .ask::<Answer>(at, &undo, NAME, &request, LIMIT);
        let asked = asked.await;
        if !matches!(asked, Err(CapabilityError::NotDone(_))) {
            let mut all = layer.links.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(at.node.name.clone(), links.to_vec());
        }
        // That the kernel has them, the agent has seen.
        asked?;
        let peers = rules.rules.iter().flat_map(|rule| &rule.peer);
        Ok(json!(peers.collect::<BTreeSet<&IpAddr>>()))
    }

    /// Deletes the rules of one node and sees that they are gone.
    async fn heal_at(
        &self,
        name: &str,
        layer: &Layer,
        at: &Journaled,
    ) -> Result<Vec<LinkCount>, CapabilityError> {
        let request = Request::Heal {
            layer: name.to_owned(),
        };
        let healed = layer
            .standing
            .take_back::<Answer>(at, NAME, &request, LIMIT);
        Ok(layer.counted(&at.node.name, healed.await?.counts))
    }

    /// What each node is to do, and which links that is about.
    async fn plan(
        &self,
        layer: &str,
        rules: &LinkRules,
    ) -> Result<BTreeMap<Name, (RuleSet, Vec<Link>)>, String> {
        let addresses = self.addresses().await?;
        let mut plan: BTreeMap<Name, (RuleSet, Vec<Link>)> = BTreeMap::new();
        let flap_ms = rules.flap.map(|period| period.as_millis() as u64);
        for rule in &rules.rules {
            let (node, agents) = translate(rule, addresses)?;
            if agents.peer.is_empty() {
                continue;
            }
            let place = self.nodes.iter().position(|at| at.node.name == node);
            let (set, links) = plan.entry(node).or_insert_with(|| {
                let set = RuleSet {
                    layer: layer.to_owned(),
                    rules: Vec::new(),
                    seed: rules.seed ^ place.unwrap_or_default() as u64,
                    flap_ms,
                };
                (set, Vec::new())
            });
            set.rules.push(agents);
            links.push((rule.from.clone(), rule.to.clone()));
        }
        Ok(plan)
    }
}

/// A rule as the agent of the node that it is kept on has it.
fn translate(rule: &LinkRule, addresses: &Addresses) -> Result<(Name, Rule), String> {
    let known = |node: &Name| addresses.get(node).ok_or(format!("no node {node}"));
    let (node, way, peer, spare) = match (&rule.from, &rule.to) {
        (Party::Node(from), Party::Node(to)) => {
            let peers = &known(to)?.peers;
            let peer = peers.get(from).ok_or(format!("no node {from}"))?;
            (to, Way::In, peer, None)
        }
        (Party::Clients, Party::Node(node)) | (Party::Node(node), Party::Clients) => {
            let at = known(node)?;
            let way = match rule.to {
                Party::Clients => Way::Out,
                Party::Node(_) => Way::In,
            };
            (node, way, &at.clients, Some(at.ssh_port))
        }
        (Party::Clients, Party::Clients) => {
            return Err("clients have no links among each other".to_owned());
        }
    };
    let rule = Rule {
        peer: peer.iter().copied().collect(),
        way,
        traffic: same(&rule.traffic)?,
        spare,
        treatment: same(&rule.treatment)?,
    };
    Ok((node.clone(), rule))
}

/// What is written the same in the capability's terms and in the agent's.
fn same<A: DeserializeOwned>(value: &impl Serialize) -> Result<A, String> {
    let value = serde_json::to_value(value).and_then(serde_json::from_value);
    value.map_err(|error| error.to_string())
}

#[async_trait]
impl Network for AgentNetwork {
    async fn probe(&self, needs: &LinkNeeds) -> Result<(), String> {
        let checks = self.on(|_| true, |at| self.check(at, needs)).await;
        checks.into_iter().try_for_each(|(_, check)| check)?;
        self.addresses_for(needs).await.map(drop)
    }

    async fn set(&self, name: &str, rules: &LinkRules) -> Result<Value, CapabilityError> {
        let plan = self.plan(name, rules).await;
        let plan = &plan.map_err(CapabilityError::NotDone)?;
        let layer = &self.layer(name);
        let concerned = |node: &Name| plan.contains_key(node) || layer.standing.has(node);
        let results = self.on(concerned, |at| async move {
            match plan.get(&at.node.name) {
                Some((rules, links)) => self.set_at(layer, at, rules, links).await.map(Some),
                None => self.heal_at(name, layer, at).await.map(|_| None),
            }
        });
        let results = results.await;
        let installed = all(results)?.into_iter();
        let installed = installed.filter_map(|(node, rules)| Some((node, rules?)));
        Ok(json!(installed.collect::<BTreeMap<Name, Value>>()))
    }

    async fn heal(&self, name: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        let layer = &self.layer(name);
        let standing = |node: &Name| layer.standing.has(node);
        let results = self.on(standing, |at| self.heal_at(name, layer, at)).await;
        Ok(counted(all(results)?))
    }

    async fn counts(&self, name: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        let layer = &self.layer(name);
        let standing = |node: &Name| layer.standing.has(node);
        let request = &Request::Count {
            layer: name.to_owned(),
        };
        let results = self.on(standing, |at| async move {
            let asked = at
                .agent
                .ask::<Answer>(NAME, request, Errand::default(), LIMIT);
            asked
                .await
                .map(|it| layer.counted(&at.node.name, it.counts))
        });
        Ok(counted(all(results.await)?))
    }
}

/// How the table of a layer is deleted when we are gone. A reboot deletes it too.
fn undo(layer: &str) -> Undo {
    Undo {
        fault: layer.to_owned(),
        undo: nft::UNDO.to_owned(),
        verify: nft::VERIFY.to_owned(),
        survives_reboot: false,
        process: None,
    }
}

fn counted(results: Vec<(Name, Vec<LinkCount>)>) -> Vec<LinkCount> {
    let counts = results.into_iter();
    counts.flat_map(|(_, counts)| counts).collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use harness::links::{
        Chance, Delay, Distribution, Loss, Protocol, Quality, Reorder, Traffic, Treatment,
    };

    use super::*;

    #[test]
    fn the_agent_understands_all_that_can_be_asked_of_a_link() {
        let chance = Chance {
            share: 0.25,
            correlation: 0.5,
        };
        let quality = Quality {
            delay: Some(Delay {
                mean_us: 1,
                jitter_us: 2,
                distribution: Distribution::Pareto,
                correlation: 0.5,
            }),
            loss: Some(Loss::GilbertElliott {
                p: 0.1,
                r: 0.2,
                bad: 0.3,
                good: 0.4,
            }),
            corrupt: Some(chance),
            duplicate: Some(chance),
            reorder: Some(Reorder { chance, gap: 3 }),
            rate: Some(1000),
        };
        let losses = [Loss::Bernoulli(chance), Loss::Nth(3)].map(|loss| Quality {
            loss: Some(loss),
            ..Quality::default()
        });
        let mut treatments = vec![Treatment::Drop, Treatment::Reject, Treatment::Jam];
        treatments.push(Treatment::Quality(quality));
        treatments.extend(losses.map(Treatment::Quality));
        for treatment in treatments {
            let agents: agent::modules::network::Treatment = same(&treatment).unwrap();
            assert_eq!(same::<Treatment>(&agents).unwrap(), treatment);
        }
        let traffic = Traffic {
            protocol: Some(Protocol::Icmp),
            ports: vec![1, 2],
        };
        let agents: agent::modules::network::Traffic = same(&traffic).unwrap();
        assert_eq!(same::<Traffic>(&agents).unwrap(), traffic);
    }
}
