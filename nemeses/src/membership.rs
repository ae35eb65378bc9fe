//! The fault `membership`: nodes are taken out of the system and brought in again while it runs.
//!
//! Who belongs to the system is not what we asked for, but what its nodes say; and they need not agree. A change is seen to be
//! made when more than half of all nodes say so, or, of one whose outcome nobody knew, that it was made or was not: until then it is
//! *pending*, and no other is begun. Never are so many nodes taken out that fewer than three are left.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Membership};
use harness::seed::Rng;
use harness::time::{SharedClock, nanos, sleep};
use harness::{Name, Value};
use rand::RngExt;
use serde_json::{Map, json};
use tokio::sync::Mutex;

use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::node_fault::{Action, Struck, Undone, make, target_option};
use crate::outcome::message;
use crate::spec::FaultSpec;

const NAME: &str = "membership";

/// The fewest members that are left.
const FEWEST: usize = 3;
/// How long a change may take to be seen.
const SEEN: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What is done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It is taken out, and brought in again at the end.
    Shrink,
    /// It is taken out and brought in again at once, without its data.
    Replace,
}

impl Change {
    const ALL: [Change; 2] = [Change::Shrink, Change::Replace];

    fn name(self) -> &'static str {
        match self {
            Change::Shrink => "shrink",
            Change::Replace => "replace",
        }
    }
}

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let variant = |change: Change| VariantInfo {
        name: change.name(),
        summary: match change {
            Change::Shrink => {
                "A member is taken out, its data removed; at the end it is brought in again, as a new one."
            }
            Change::Replace => {
                "A member is taken out, and a new one without data is brought in on the same node at once."
            }
        },
    };
    FaultInfo {
        name: NAME,
        summary: "Takes nodes out of the system and brings them in again, while it runs. One at a time, and never so that fewer \
                  than three are left.",
        variants: Change::ALL.map(variant).to_vec(),
        options: with_common(vec![target_option()]),
        evidence: "More than half of the nodes say that the node does not belong to the system (any more, or until it came back).",
        undo: "The node is brought in again; more than half of the nodes say that it belongs to the system.",
        synthetic: false,
        make: made,
    }
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    if ctx.nodes.len() <= FEWEST {
        let there = ctx.nodes.len();
        return Err(format!(
            "more than {FEWEST} nodes needed, there are {there}"
        ));
    }
    let chosen = Change::ALL
        .into_iter()
        .find(|change| Some(change.name()) == spec.variant.as_deref());
    let action = Changing {
        clock: ctx.clock.clone(),
        turn: Mutex::new(()),
    };
    let draw = move |_, rng: &mut Rng| {
        let drawn = Change::ALL[rng.random_range(0..Change::ALL.len())];
        let change = chosen.unwrap_or(drawn).name();
        Map::from_iter([("change".to_owned(), Value::from(change))])
    };
    make(action, spec, ctx, Box::new(draw))
}

/// Changes who belongs to the system.
struct Changing {
    clock: SharedClock,
    /// One change at a time: what is pending may be all that the others can bear.
    turn: Mutex<()>,
}

fn membership(env: &Environment) -> Result<&dyn Membership, String> {
    let missing = "who belongs to the system cannot be changed here";
    env.membership.as_deref().ok_or_else(|| missing.to_owned())
}

/// How many nodes say that a node belongs to the system, and how many that it does not.
fn votes(views: &BTreeMap<Name, Vec<Name>>, node: &Name) -> (usize, usize) {
    let others = views.iter().filter(|(at, _)| *at != node);
    let (yes, no): (Vec<bool>, Vec<bool>) = others
        .map(|(_, view)| view.contains(node))
        .partition(|it| *it);
    (yes.len(), no.len())
}

impl Changing {
    /// Waits until more than half of all nodes say that a node belongs to the system, or that it does not.
    async fn see(
        &self,
        env: &Environment,
        membership: &dyn Membership,
        node: &Name,
        belongs: bool,
    ) -> Result<(), String> {
        let deadline = self.clock.now().saturating_add(nanos(SEEN));
        loop {
            let (yes, no) = votes(&membership.views().await, node);
            let agree = if belongs { yes } else { no };
            if agree > env.nodes.len() / 2 {
                return Ok(());
            }
            if self.clock.now() >= deadline {
                let what = if belongs {
                    "belongs"
                } else {
                    "does not belong"
                };
                return Err(format!(
                    "{agree} nodes say that {node} {what} to the system, more than half are needed"
                ));
            }
            sleep(&*self.clock, LOOK).await;
        }
    }

    /// Whether a member can be spared: enough are left without it, and answer.
    async fn spare(
        &self,
        env: &Environment,
        membership: &dyn Membership,
        node: &Name,
    ) -> Result<(), String> {
        let views = membership.views().await;
        let belongs = |name: &&Name| {
            let (yes, no) = votes(&views, name);
            yes > no
        };
        let members: Vec<&Name> = env.nodes.iter().filter(belongs).collect();
        if !members.contains(&node) {
            return Err(format!("{node} does not belong to the system now"));
        }
        let silent: Vec<&str> = members
            .iter()
            .filter(|name| !views.contains_key(**name) && **name != node)
            .map(|name| name.as_ref())
            .collect();
        if members.len() <= FEWEST || members.len() - 1 - silent.len() <= members.len() / 2 {
            return Err(format!(
                "{} nodes belong to the system, {} of the others do not answer: none can be spared",
                members.len(),
                silent.len()
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Action for Changing {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        membership(env)?.probe().await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let membership = membership(env).map_err(CapabilityError::NotDone)?;
        let change = what
            .get("change")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let _turn = self.turn.lock().await;
        self.spare(env, membership, node)
            .await
            .map_err(CapabilityError::NotDone)?;
        membership.remove(node).await?;
        let seen = self.see(env, membership, node, false).await;
        if change == Change::Replace.name() {
            // That it does not come back is told when it is to be undone.
            let _ = membership.add(node).await;
        }
        Ok(Struck {
            effective: seen.is_ok().into(),
            seen: json!({"change": change, "members": membership.views().await}),
        })
    }

    async fn undo(&self, env: &Environment, node: &Name) -> Result<Undone, String> {
        let membership = membership(env)?;
        let _turn = self.turn.lock().await;
        let (yes, no) = votes(&membership.views().await, node);
        // Where nobody knows what became of the removal, the others say it now.
        if no > yes {
            membership.add(node).await.map_err(message)?;
        }
        self.see(env, membership, node, true).await?;
        Ok(json!({"members": membership.views().await}).into())
    }

    fn takes_down(&self) -> bool {
        true
    }

    fn evidence(&self) -> &'static str {
        "changes"
    }
}
