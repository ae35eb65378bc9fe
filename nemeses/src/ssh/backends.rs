//! Rules for links, by whichever means a node has for them.
//!
//! Cuts are made by the firewall, or where a kernel's can keep none for IP, by [filters](super::filters), as far as these can.
//! Bad lines are made by [netem](super::netem) where the kernels have it and it can do what a rule says, and prove it; all else, and
//! all where they lack it, by the firewall and the agent's queue ([`AgentNetwork`]). The user may also insist on one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use harness::capability::{CapabilityError, Network};
use harness::links::{Backend, LinkCount, LinkNeeds, LinkRule, LinkRules, Treatment};
use harness::{Name, Value};
use serde_json::json;
use tokio::sync::OnceCell;

use super::filters::{self, FILTERS};
use super::journaled::Journaled;
use super::netem::{self, NETEM};
use super::network::AgentNetwork;
use super::tc::Tc;

/// The links of nodes, by all means.
pub struct NodeNetwork {
    nodes: Vec<Journaled>,
    queue: AgentNetwork,
    netem: Tc,
    filters: Tc,
    /// Why the nodes' firewalls cannot keep rules, if so. Asked once.
    no_firewall: OnceCell<Option<String>>,
    /// Why nodes have no netem, each that has none. Asked once, by a fault that makes lines bad.
    without: OnceCell<BTreeMap<Name, String>>,
}

impl NodeNetwork {
    /// The links between these nodes, and with clients.
    pub fn new(nodes: &[Journaled]) -> NodeNetwork {
        NodeNetwork {
            nodes: nodes.to_vec(),
            queue: AgentNetwork::new(nodes),
            netem: Tc::new(&NETEM, nodes),
            filters: Tc::new(&FILTERS, nodes),
            no_firewall: OnceCell::new(),
            without: OnceCell::new(),
        }
    }

    async fn no_firewall(&self) -> Option<&str> {
        let ask = || async {
            let why = self.queue.probe(&LinkNeeds::default()).await.err();
            if let Some(why) = &why {
                tracing::info!("links are cut by tc filters, for want of a firewall: {why}");
            }
            why
        };
        self.no_firewall.get_or_init(ask).await.as_deref()
    }

    /// Whether filters will do instead of the firewall, of which it is said why it will not.
    async fn probe_filters(&self, needs: &LinkNeeds, why: &str) -> Result<(), String> {
        let probe = async {
            if let Some(lack) = filters::lacks(needs) {
                return Err(lack.to_owned());
            }
            let addresses = self.queue.addresses_for(needs).await?;
            let probes = self
                .nodes
                .iter()
                .map(|at| self.filters.probe(at, addresses));
            try_join_all(probes).await.map(drop)
        };
        let probed: Result<(), String> = probe.await;
        probed.map_err(|other| {
            format!("{why}\n  hint: tc filters would be the other means, but: {other}")
        })
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

/// Installed rules, by node: the addresses that they are about, and where netem or filters have them, that.
fn told(means: &str, by_means: BTreeMap<Name, Vec<IpAddr>>, by_queue: Value) -> Value {
    let mut all = match by_queue {
        Value::Object(all) => all,
        _ => serde_json::Map::new(),
    };
    for (node, peers) in by_means.into_iter().filter(|(_, peers)| !peers.is_empty()) {
        let own = json!({ means: peers });
        let both = match all.remove(&*node) {
            None => own,
            Some(queue) => json!({means: peers, "queue": queue}),
        };
        all.insert(node.to_string(), both);
    }
    Value::Object(all)
}

#[async_trait]
impl Network for NodeNetwork {
    async fn probe(&self, needs: &LinkNeeds) -> Result<(), String> {
        if !needs.quality || needs.backend == Backend::Queue {
            return match self.no_firewall().await {
                None => self.queue.probe(needs).await,
                Some(why) => self.probe_filters(needs, why).await,
            };
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
        // Those that have nothing to do forget what they did for this fault before.
        let netem = self.netem.set(layer, &by_netem, addresses).await?;
        let cuts = !by_queue.rules.is_empty() && filters::can_keep(&by_queue);
        if cuts && self.no_firewall().await.is_some() {
            let filters = self.filters.set(layer, &by_queue, addresses).await?;
            return Ok(told("filters", filters, Value::Null));
        }
        match self.queue.set(layer, &by_queue).await {
            Ok(queue) => Ok(told("netem", netem, queue)),
            Err(CapabilityError::NotDone(why)) if !netem.is_empty() => {
                match self.netem.heal(layer, addresses).await {
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
        let mut counts = self.queue.heal(layer).await;
        // All, whatever becomes of the others. Where addresses are not known, nothing was done by these.
        if let Ok(addresses) = self.queue.addresses().await {
            for means in [&self.netem, &self.filters] {
                let healed = means.heal(layer, addresses).await;
                counts = match (counts, healed) {
                    (Ok(mut counts), Ok(healed)) => {
                        counts.extend(healed);
                        Ok(counts)
                    }
                    (Err(error), _) | (_, Err(error)) => Err(error),
                };
            }
        }
        counts
    }

    async fn counts(&self, layer: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        let addresses = self
            .queue
            .addresses()
            .await
            .map_err(CapabilityError::NotDone)?;
        let mut counts = self.queue.counts(layer).await?;
        for means in [&self.netem, &self.filters] {
            counts.extend(means.counts(layer, addresses).await?);
        }
        Ok(counts)
    }
}
