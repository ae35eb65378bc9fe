//! Rules for links, by whichever means a node has for them.
//!
//! Bad lines are made by [netem](super::netem) where the kernels have it and it can do what a rule says, and prove it; all else, and all where
//! they lack it, by the firewall and the agent's queue ([`AgentNetwork`]). The user may also insist on one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::{CapabilityError, Network};
use harness::links::{Backend, LinkCount, LinkNeeds, LinkRule, LinkRules, Treatment};
use harness::{Name, Value};
use serde_json::json;
use tokio::sync::OnceCell;

use super::journaled::Journaled;
use super::netem::{self, Netem};
use super::network::AgentNetwork;

/// The links of nodes, by both means.
pub struct NodeNetwork {
    nodes: Vec<Journaled>,
    queue: AgentNetwork,
    netem: Netem,
    /// Why nodes have no netem, each that has none. Asked once, by a fault that makes lines bad.
    without: OnceCell<BTreeMap<Name, String>>,
}

impl NodeNetwork {
    /// The links between these nodes, and with clients.
    pub fn new(nodes: &[Journaled]) -> NodeNetwork {
        NodeNetwork {
            nodes: nodes.to_vec(),
            queue: AgentNetwork::new(nodes),
            netem: Netem::new(nodes),
            without: OnceCell::new(),
        }
    }

    async fn without_netem(&self) -> Result<&BTreeMap<Name, String>, String> {
        let ask = || async {
            let addresses = self.queue.addresses().await?;
            let asked = self.nodes.iter().map(|at| async {
                let why = self.netem.probe(at, addresses).await.err();
                why.map(|why| (at.node.name.clone(), why))
            });
            let without: BTreeMap<Name, String> =
                join_all(asked).await.into_iter().flatten().collect();
            match without.values().next() {
                None => tracing::info!("bad lines are made by tc netem, as far as it can"),
                Some(why) => {
                    tracing::info!("bad lines are made by queues, for want of tc netem: {why}")
                }
            }
            Ok(without)
        };
        self.without.get_or_try_init(ask).await
    }

    /// Whether netem is to make a rule; the error says why it cannot, where it must.
    fn by_netem(
        &self,
        layer: &str,
        rule: &LinkRule,
        backend: Backend,
        without: &BTreeMap<Name, String>,
    ) -> Result<bool, String> {
        if backend == Backend::Queue || !matches!(rule.treatment, Treatment::Quality(_)) {
            return Ok(false);
        }
        let sender = rule.from.node().and_then(|node| without.get(node));
        let busy = (!self.netem.is_free_for(layer)).then_some("another fault has it now");
        let why = netem::objection(rule)
            .or(busy)
            .or(sender.map(String::as_str));
        match why {
            None => Ok(true),
            Some(why) if backend == Backend::Netem => Err(format!(
                "netem cannot do that on the link from {} to {}: {why}",
                rule.from, rule.to
            )),
            Some(why) => {
                tracing::debug!(
                    "the link from {} to {} is made bad by a queue, not by netem: {why}",
                    rule.from,
                    rule.to
                );
                Ok(false)
            }
        }
    }
}

/// Installed rules, by node: the addresses that they are about, and where netem has them, that.
fn told(by_netem: BTreeMap<Name, Vec<IpAddr>>, by_queue: Value) -> Value {
    let mut all = match by_queue {
        Value::Object(all) => all,
        _ => serde_json::Map::new(),
    };
    for (node, peers) in by_netem.into_iter().filter(|(_, peers)| !peers.is_empty()) {
        let own = json!({ "netem": peers });
        let both = match all.remove(&*node) {
            None => own,
            Some(queue) => json!({"netem": peers, "queue": queue}),
        };
        all.insert(node.to_string(), both);
    }
    Value::Object(all)
}

#[async_trait]
impl Network for NodeNetwork {
    async fn probe(&self, needs: &LinkNeeds) -> Result<(), String> {
        if !needs.quality || needs.backend == Backend::Queue {
            return self.queue.probe(needs).await;
        }
        let without = self.without_netem().await?;
        let why = needs.beyond_netem.map(str::to_owned);
        let why = why.or_else(|| without.values().next().cloned());
        match (why, needs.backend) {
            (None, _) => Ok(()),
            (Some(why), Backend::Netem) => Err(format!("netem cannot make these lines bad: {why}")),
            (Some(netem), _) => {
                let queue = self.queue.probe(needs).await;
                queue.map_err(|queue| {
                    format!("{queue}\n  hint: tc netem would be the other means, but: {netem}")
                })
            }
        }
    }

    async fn set(&self, layer: &str, rules: &LinkRules) -> Result<Value, CapabilityError> {
        let quality = |rule: &LinkRule| matches!(rule.treatment, Treatment::Quality(_));
        let (mut by_netem, mut by_queue) = (rules.clone(), rules.clone());
        by_netem.rules.clear();
        if rules.backend != Backend::Queue
            && rules.flap.is_none()
            && rules.rules.iter().any(quality)
        {
            let without = self
                .without_netem()
                .await
                .map_err(CapabilityError::NotDone)?;
            by_queue.rules.clear();
            for rule in &rules.rules {
                let netem = self.by_netem(layer, rule, rules.backend, without);
                match netem.map_err(CapabilityError::NotDone)? {
                    true => by_netem.rules.push(rule.clone()),
                    false => by_queue.rules.push(rule.clone()),
                }
            }
        }
        let addresses = self
            .queue
            .addresses()
            .await
            .map_err(CapabilityError::NotDone)?;
        // The one that has nothing to do forgets what it did for this fault before.
        let netem = self.netem.set(layer, &by_netem, addresses).await?;
        match self.queue.set(layer, &by_queue).await {
            Ok(queue) => Ok(told(netem, queue)),
            Err(CapabilityError::NotDone(why)) if !netem.is_empty() => {
                match self.netem.heal(layer).await {
                    Ok(_) => Err(CapabilityError::NotDone(why)),
                    Err(left) => Err(CapabilityError::Indeterminate(format!(
                        "{why}; and then: {left}"
                    ))),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn heal(&self, layer: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        // Both, whatever becomes of the other.
        let (netem, queue) = (self.netem.heal(layer).await, self.queue.heal(layer).await);
        let (mut counts, queue) = (netem?, queue?);
        counts.extend(queue);
        Ok(counts)
    }

    async fn counts(&self, layer: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        let mut counts = self.netem.counts(layer).await?;
        counts.extend(self.queue.counts(layer).await?);
        Ok(counts)
    }
}
