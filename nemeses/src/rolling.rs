//! The fault `rolling`: nodes are restarted in good order, one after another, as operators do it; with another version too.
//!
//! It is no accident, and yet most of what goes wrong in production goes wrong then: leaders move, logs are replayed,
//! and versions talk to each other that were never tested together.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Rolling};
use harness::options::{OptionKind, OptionSpec};
use harness::time::{SharedClock, nanos, sleep};
use harness::{Name, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::{Mutex as Plain, PoisonError};
use tokio::sync::Mutex;

use crate::action::{Action, Proof, Struck, Undone, fields, read};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::down::Down;
use crate::holds::{Hold, Holds};
use crate::node_fault::{TARGET, make};
use crate::outcome::message;
use crate::spec::FaultSpec;

const NAME: &str = "rolling";
const RESTART: &str = "restart";
const UPGRADE: &str = "upgrade";
const TO: &str = "to";
const BACK: &str = "back";

/// How long a node waits for its turn: what is to be done must be done within an operation.
const TURN_LIMIT: Duration = Duration::from_secs(18);
/// Between two looks at whether a node may be taken down.
const LOOK: Duration = Duration::from_millis(50);

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let target = "Which nodes, one after another: `all`, or as for other faults; a `mix` of them.";
    let to = "The version that nodes are upgraded to (or down), as the system's own option `version` takes it.";
    let back = "Whether nodes go back to the version before at the end. With a target that is not `all`, versions are \
                mixed as long as it is in force.";
    FaultInfo {
        name: NAME,
        summary: "Restarts nodes in good order, one after another, each when the one before is healthy again; with another version \
                  where one is given.",
        variants: vec![
            VariantInfo {
                name: RESTART,
                summary: "The same version is started again.",
            },
            VariantInfo {
                name: UPGRADE,
                summary: "The version `to` is started with the data of the one before.",
            },
        ],
        options: with_common(vec![
            OptionSpec::new(TARGET, OptionKind::Text, Some("all"), target),
            OptionSpec::new(TO, OptionKind::Text, None, to),
            OptionSpec::new(BACK, OptionKind::Flag, Some("false"), back),
        ]),
        evidence: "The system was seen to end on the node, and to be a healthy member again, in the version that it says.",
        undo: "Nothing is left to be undone; with `back`, nodes are restarted with the version before.",
        synthetic: false,
        make: made,
    }
}

/// The version that nodes are to be given.
pub(crate) fn version(spec: &FaultSpec) -> Option<&str> {
    let ours = (spec.name == NAME).then_some(spec);
    ours?.options.text_if(TO)
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct What {
    /// The version, for an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let to = spec.options.text_if(TO).map(str::to_owned);
    match (spec.variant.as_deref(), &to) {
        (Some(UPGRADE), None) => {
            return Err(format!(
                "give the version to upgrade to: {NAME}:{UPGRADE}:{TO}=VERSION"
            ));
        }
        (Some(RESTART), Some(to)) => {
            return Err(format!(
                "a restart changes no version: {NAME}:{UPGRADE}:{TO}={to}"
            ));
        }
        _ => {}
    }
    let back = spec.options.flag(BACK);
    if back && to.is_none() {
        return Err(format!("only an upgrade can go {BACK}"));
    }
    let action = Restarting {
        clock: ctx.clock.clone(),
        down: ctx.down.clone(),
        holds: ctx.holds.clone(),
        to: to.clone(),
        back,
        turn: Mutex::new(()),
        before: Plain::default(),
    };
    let what = fields(&What { to });
    make(action, spec, ctx, Box::new(move |_, _| what.clone()))
}

/// Restarts nodes one after another.
struct Restarting {
    clock: SharedClock,
    down: Down,
    holds: Holds,
    /// The version that is brought to the nodes before the run.
    to: Option<String>,
    back: bool,
    /// One node at a time.
    turn: Mutex<()>,
    /// The version that nodes had before, where they go back.
    before: Plain<BTreeMap<Name, String>>,
}

fn rolling(env: &Environment) -> Result<&dyn Rolling, String> {
    let missing = "nodes cannot be restarted in good order here";
    env.rolling.as_deref().ok_or_else(|| missing.to_owned())
}

impl Restarting {
    /// Restarts a node as soon as it may be down.
    async fn restart(
        &self,
        env: &Environment,
        node: &Name,
        version: Option<&str>,
    ) -> Result<Value, CapabilityError> {
        let rolling = rolling(env).map_err(CapabilityError::NotDone)?;
        let deadline = self.clock.now().saturating_add(nanos(TURN_LIMIT));
        let _turn = self.turn.lock().await;
        while self.down.claim(NAME, std::slice::from_ref(node)).is_empty() {
            if self.clock.now() >= deadline {
                return Err(CapabilityError::NotDone(self.down.refusal()));
            }
            sleep(&*self.clock, LOOK).await;
        }
        let taken = self.holds.take(NAME, node, Hold::Alone);
        let restarted = match (taken, self.clock.now() < deadline) {
            // What another fault holds down is not started.
            (Err(why), _) => Err(CapabilityError::NotDone(why)),
            (Ok(()), true) => rolling.restart(node, version).await,
            (Ok(()), false) => {
                let message = format!("{node}: those before it took longer than {TURN_LIMIT:?}");
                Err(CapabilityError::NotDone(message))
            }
        };
        self.holds.let_go(NAME, node);
        self.down.keep(NAME, []);
        restarted.map(|restarted| json!(restarted))
    }
}

#[async_trait]
impl Action for Restarting {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        rolling(env)?.probe(self.to.as_deref()).await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let What { to } = read(what)?;
        if let Some(to) = &to {
            let versions = rolling(env).map_err(CapabilityError::NotDone)?.versions();
            let before = versions.get(node).filter(|before| *before != to);
            let before = before.ok_or_else(|| {
                CapabilityError::NotDone(format!("{node} is started with {to} already"))
            })?;
            let mut all = self.before.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(node.clone(), before.clone());
        }
        Ok(Struck {
            seen: self.restart(env, node, to.as_deref()).await?,
            effective: Proof::Seen,
            free: true,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        _: Option<&Name>,
    ) -> Result<Undone, String> {
        let before = {
            let mut all = self.before.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(node).filter(|_| self.back)
        };
        match before {
            None => Ok(json!({}).into()),
            Some(before) => {
                let restarted = self.restart(env, node, Some(&before)).await;
                if restarted.is_err() {
                    let mut all = self.before.lock().unwrap_or_else(PoisonError::into_inner);
                    all.insert(node.clone(), before);
                }
                Ok(restarted.map_err(message)?.into())
            }
        }
    }

    /// One after another: what is down is claimed node by node.
    fn takes_down(&self) -> bool {
        false
    }

    fn evidence(&self) -> &'static str {
        "restarted"
    }
}
