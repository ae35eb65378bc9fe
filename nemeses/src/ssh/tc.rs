//! Rules for links that a node's kernel keeps by itself, told to it by scripts in the words of `tc(8)`.
//!
//! What such rules are, a [`Means`] says: how they are made, what undoes them, what they counted. The rules of one fault at a time: a
//! means puts all that it has in the place of all that was there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::modules::script::{Answer, NAME, Request};
use futures::future::join_all;
use harness::Name;
use harness::capability::CapabilityError;
use harness::links::{LinkCount, LinkCounts, LinkRule, LinkRules};
use harness::node::undo::Undo;
use harness::remote::Command;

use super::addresses::{Addresses, Known};
use super::journaled::{Journaled, Standing, no_answer};

/// How long a node may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A means of keeping rules.
pub(super) struct Means {
    /// What it is called.
    pub(super) name: &'static str,
    /// A script that takes all rules away.
    pub(super) undo: &'static str,
    /// A script that succeeds if there are certainly none.
    pub(super) verify: &'static str,
    /// A script that says what they counted.
    pub(super) count: &'static str,
    /// A script that says why a node cannot have rules, and fails then. It disturbs nobody.
    pub(super) probe: fn(Option<&Known>) -> String,
    /// Which node keeps a rule.
    pub(super) keeper: fn(&LinkRule) -> Option<&Name>,
    /// A script that puts rules in the place of all that were there, and the addresses that they are about.
    pub(super) script: Script,
    /// What each of some rules did, in their order, by what the script said.
    pub(super) counts: fn(&Name, &[LinkRule], &Addresses, &str) -> Vec<LinkCounts>,
}

/// What makes rules on a node.
type Script = fn(&Name, &[LinkRule], &Addresses) -> Result<(String, Vec<IpAddr>), String>;

/// A means, on nodes.
pub(super) struct Tc {
    means: &'static Means,
    nodes: Vec<Journaled>,
    standing: Standing,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whose rules stand, if there are some.
    layer: Option<String>,
    /// By node.
    rules: BTreeMap<Name, Vec<LinkRule>>,
}

impl Tc {
    pub(super) fn new(means: &'static Means, nodes: &[Journaled]) -> Tc {
        Tc {
            means,
            nodes: nodes.to_vec(),
            standing: Standing::default(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a fault may have rules here now.
    pub(super) fn is_free_for(&self, layer: &str) -> bool {
        self.state().layer.as_deref().is_none_or(|it| it == layer)
    }

    /// Why a node cannot have rules.
    pub(super) async fn probe(&self, at: &Journaled, addresses: &Addresses) -> Result<(), String> {
        let script = (self.means.probe)(addresses.get(&at.node.name));
        let command = Command::new(script).idempotent().timeout(LIMIT);
        let output = at
            .node
            .remote
            .run(command)
            .await
            .map_err(|it| it.to_string())?;
        match output.status {
            0 => Ok(()),
            _ => Err(format!("{}: {}", at.node.name, output.text().trim())),
        }
    }

    /// Makes these the rules of a fault: all of those that it has. By node, the peers that they are about.
    pub(super) async fn set(
        &self,
        layer: &str,
        rules: &LinkRules,
        addresses: &Addresses,
    ) -> Result<BTreeMap<Name, Vec<IpAddr>>, CapabilityError> {
        if !self.is_free_for(layer) {
            return Ok(BTreeMap::new());
        }
        let mut plan: BTreeMap<Name, Vec<LinkRule>> = BTreeMap::new();
        for rule in &rules.rules {
            let keeper = (self.means.keeper)(rule).cloned();
            let keeper = keeper
                .ok_or_else(|| CapabilityError::NotDone("clients are no nodes".to_owned()))?;
            plan.entry(keeper).or_default().push(rule.clone());
        }
        if !plan.is_empty() {
            self.state().layer = Some(layer.to_owned());
        }
        let mine =
            |at: &&Journaled| plan.contains_key(&at.node.name) || self.standing.has(&at.node.name);
        let at = self.nodes.iter().filter(mine);
        let set = at.map(|at| async {
            match plan.get(&at.node.name) {
                Some(rules) => self.set_at(layer, at, rules, addresses).await,
                None => self.heal_at(at, addresses).await.map(|_| Vec::new()),
            }
            .map(|peers| (at.node.name.clone(), peers))
        });
        let (mut done, mut errors, mut certain) = (BTreeMap::new(), Vec::new(), true);
        for result in join_all(set).await {
            match result {
                Ok((node, peers)) => drop(done.insert(node, peers)),
                Err(CapabilityError::NotDone(why)) => errors.push(why),
                Err(CapabilityError::Indeterminate(why)) => {
                    certain = false;
                    errors.push(why);
                }
            }
        }
        self.release();
        match (errors.is_empty(), certain && done.is_empty()) {
            (true, _) => Ok(done),
            (false, true) => Err(CapabilityError::NotDone(errors.join("; "))),
            (false, false) => Err(CapabilityError::Indeterminate(errors.join("; "))),
        }
    }

    /// Lets another fault have it, once nothing stands.
    fn release(&self) {
        if self
            .nodes
            .iter()
            .all(|at| !self.standing.has(&at.node.name))
        {
            self.state().layer = None;
        }
    }

    async fn set_at(
        &self,
        layer: &str,
        at: &Journaled,
        rules: &[LinkRule],
        addresses: &Addresses,
    ) -> Result<Vec<IpAddr>, CapabilityError> {
        let name = &at.node.name;
        let (script, peers) =
            (self.means.script)(name, rules, addresses).map_err(CapabilityError::NotDone)?;
        let undo = Undo {
            fault: layer.to_owned(),
            undo: self.means.undo.to_owned(),
            verify: self.means.verify.to_owned(),
            survives_reboot: false,
            process: None,
        };
        self.state().rules.insert(name.clone(), rules.to_vec());
        let request = Request { script };
        let asked = self
            .standing
            .ask::<Answer>(at, &undo, NAME, &request, LIMIT);
        match asked.await {
            Ok(_) => Ok(peers),
            Err(CapabilityError::NotDone(why)) => Err(CapabilityError::NotDone(why)),
            // Half of it is worse than nothing.
            Err(CapabilityError::Indeterminate(why)) => match self.heal_at(at, addresses).await {
                Ok(_) => Err(CapabilityError::NotDone(format!(
                    "{} refuses the rules: {why}",
                    self.means.name
                ))),
                Err(left) => Err(CapabilityError::Indeterminate(format!(
                    "{why}; and then: {left}"
                ))),
            },
        }
    }

    /// Takes the rules of a node away, and says what they did.
    async fn heal_at(
        &self,
        at: &Journaled,
        addresses: &Addresses,
    ) -> Result<Vec<LinkCount>, CapabilityError> {
        let Means {
            undo,
            verify,
            count,
            ..
        } = self.means;
        let request = Request {
            script: format!("{count}({undo}) && {verify}"),
        };
        let healed = self.standing.take_back::<Answer>(at, NAME, &request, LIMIT);
        let counts = self.counted(&at.node.name, addresses, &healed.await?.said);
        self.state().rules.remove(&at.node.name);
        Ok(counts)
    }

    /// The nodes where rules stand, or may.
    fn standing_nodes(&self) -> impl Iterator<Item = &Journaled> {
        let nodes = self.nodes.iter();
        nodes.filter(|at| self.standing.has(&at.node.name))
    }

    /// Takes all rules of a fault away.
    pub(super) async fn heal(
        &self,
        layer: &str,
        addresses: &Addresses,
    ) -> Result<Vec<LinkCount>, CapabilityError> {
        if !self.is_free_for(layer) {
            return Ok(Vec::new());
        }
        let standing = self.standing_nodes();
        let healed = join_all(standing.map(|at| self.heal_at(at, addresses))).await;
        let healed: Result<Vec<_>, _> = healed.into_iter().collect();
        self.release();
        Ok(healed?.into_iter().flatten().collect())
    }

    /// What the rules of a fault did so far.
    pub(super) async fn counts(
        &self,
        layer: &str,
        addresses: &Addresses,
    ) -> Result<Vec<LinkCount>, CapabilityError> {
        if !self.is_free_for(layer) {
            return Ok(Vec::new());
        }
        let standing = self.standing_nodes();
        let count = |at: &'_ Journaled| {
            let remote = at.node.remote.clone();
            let name = at.node.name.clone();
            async move {
                let count = Command::new(self.means.count)
                    .quick()
                    .idempotent()
                    .timeout(LIMIT);
                let output = remote.exec(count).await.map_err(no_answer)?;
                Ok::<_, CapabilityError>(self.counted(&name, addresses, &output.text()))
            }
        };
        let counts: Result<Vec<_>, _> = join_all(standing.map(count)).await.into_iter().collect();
        Ok(counts?.into_iter().flatten().collect())
    }

    fn counted(&self, node: &Name, addresses: &Addresses, text: &str) -> Vec<LinkCount> {
        let state = self.state();
        let Some(rules) = state.rules.get(node) else {
            return Vec::new();
        };
        let counts = (self.means.counts)(node, rules, addresses, text);
        let count = |(rule, counts): (&LinkRule, LinkCounts)| LinkCount {
            from: rule.from.clone(),
            to: rule.to.clone(),
            counts,
        };
        rules.iter().zip(counts).map(count).collect()
    }
}
