//! The fault `system`: what the system under test offers by itself to those who run it, such as that its leader steps down.
//!
//! Which there are is the system's: `gainsay list systems` has them. Several may be in one run.

use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, Environment, SystemFaults};
use harness::options::{OptionKind, OptionSpec, Options};
use serde_json::{Map, Value};

use crate::action::{Action, Proof, Struck, Undone};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, with_common};
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::spec::FaultSpec;

const NAME: &str = "system";
const FAULT: &str = "fault";

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let which =
        "Which of the system's own faults; `gainsay list systems` has them under each system.";
    FaultInfo {
        name: NAME,
        summary: "Does what only this system knows, and offers to those who run it: its leader steps down, a member is held back.",
        variants: Vec::new(),
        options: with_common(vec![
            OptionSpec::new(FAULT, OptionKind::Text, None, which),
            target_option(),
        ]),
        evidence: "What the system's nodes themselves say: as the description of each says.",
        undo: "The system is asked to take it back, and its nodes say that it is.",
        synthetic: false,
        make: made,
    }
}

/// The name in the history of one of a system's own faults: several may be in one run.
pub fn system_label(fault: &str) -> String {
    format!("{NAME}-{fault}")
}

/// The name in the history, where these are options of such a fault.
pub(crate) fn label(options: &Options) -> Option<String> {
    options.text_if(FAULT).map(system_label)
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let fault = spec.options.text_if(FAULT);
    let fault =
        fault.ok_or("which one? Write system:fault=NAME; `gainsay list systems` has them")?;
    let action = OfSystem {
        label: spec.label.clone(),
        fault: fault.to_owned(),
    };
    make(action, spec, ctx, Box::new(|_, _| Map::new()))
}

/// Does one of the system's own faults.
struct OfSystem {
    label: String,
    fault: String,
}

fn of_system(env: &Environment) -> Result<&dyn SystemFaults, String> {
    let missing = "this system has no faults of its own here";
    env.system_faults
        .as_deref()
        .ok_or_else(|| missing.to_owned())
}

#[async_trait]
impl Action for OfSystem {
    fn name(&self) -> &str {
        &self.label
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        of_system(env)?.probe(&self.fault).await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        _: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let of_system = of_system(env).map_err(CapabilityError::NotDone)?;
        let struck = of_system.strike(&self.fault, node).await?;
        Ok(Struck {
            seen: struck.seen,
            effective: struck.effective.map_or(Proof::AtEnd, Proof::from),
            free: false,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        _: Option<&Name>,
    ) -> Result<Undone, String> {
        let undone = of_system(env)?.undo(&self.fault, node).await;
        let undone = undone.map_err(message)?;
        Ok(Undone {
            seen: undone.seen,
            effective: undone.effective,
        })
    }

    fn takes_down(&self) -> bool {
        false
    }

    fn evidence(&self) -> &'static str {
        "seen"
    }
}
