//! The fault `reboot`: a whole machine ends, and is there again.
//!
//! More ends with a machine than with a process: the kernel's memory of the disk and its connections, leases and clocks. What the system
//! did not sync is lost if the kernel had no time to write it. What other faults had set up there ends too, and is not set up
//! again: their ends find nothing left to undo.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Ending, Environment, Machines};
use harness::seed::Rng;
use harness::{Name, Value};
use serde_json::{Map, json};

use crate::action::{Action, Proof, Struck, Undone, processes, start_again};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::holds::Hold;
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::schedule::weighted;
use crate::spec::FaultSpec;

pub(crate) const NAME: &str = "reboot";
const ENDING: &str = "ending";

/// How long to wait at a time for a machine to be back: less than an activity may take. One that is not back then is waited for again.
const PATIENCE: Duration = Duration::from_secs(22);

/// The variants, with their weights where one is drawn. Power is cut only if that is asked for: not everybody can give it back.
const ENDINGS: [(Ending, u32); 3] = [(Ending::Orderly, 1), (Ending::Hard, 2), (Ending::Off, 0)];

fn variant(ending: Ending) -> VariantInfo {
    let (name, summary) = match ending {
        Ending::Orderly => (
            "orderly",
            "It ends its services, writes its disks, and boots anew.",
        ),
        Ending::Hard => (
            "hard",
            "Its kernel boots anew at once: what was not written to its disks is lost.",
        ),
        Ending::Off => (
            "off",
            "Its power is cut, and given back at the end. Needs a switch: local nodes with --kernel own have one, or --power-command.",
        ),
    };
    VariantInfo { name, summary }
}

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    FaultInfo {
        name: NAME,
        summary: "Reboots machines, in order or at once, or cuts their power; starts the system again when they are back, at the end.",
        variants: ENDINGS.iter().map(|(ending, _)| variant(*ending)).collect(),
        options: with_common(vec![target_option()]),
        evidence: "The boot id of the machine is another than before (/proc/sys/kernel/random/boot_id), or whoever has its power says that \
                   it has none.",
        undo: "The machine is given power if it has none and waited for, and the system is started again, with the data it has. What other \
               faults had set up there ended with the machine. Where the controller is gone, `gainsay heal` does so (with --power-command, \
               for machines of your own).",
        synthetic: false,
        make: made,
    }
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let of = |name: &String| {
        let endings = ENDINGS.iter().map(|(ending, _)| *ending);
        endings.into_iter().find(|it| variant(*it).name == name)
    };
    let chosen = spec.variant.as_ref().and_then(of);
    let what = move |_, rng: &mut Rng| {
        let drawn = *weighted(&ENDINGS, |_| true, rng);
        Map::from_iter([(ENDING.to_owned(), json!(chosen.unwrap_or(drawn)))])
    };
    make(Rebooting { chosen }, spec, ctx, Box::new(what))
}

/// Ends machines.
struct Rebooting {
    /// None for whichever is drawn.
    chosen: Option<Ending>,
}

fn machines(env: &Environment) -> Result<&dyn Machines, String> {
    let missing = "there are no machines here that could be rebooted";
    env.machines.as_deref().ok_or_else(|| missing.to_owned())
}

#[async_trait]
impl Action for Rebooting {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        processes(env)?;
        let machines = machines(env)?;
        match self.chosen {
            Some(ending) => machines.probe(ending).await,
            None => {
                machines.probe(Ending::Orderly).await?;
                machines.probe(Ending::Hard).await
            }
        }
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let machines = machines(env).map_err(CapabilityError::NotDone)?;
        let ending = what.get(ENDING).cloned().unwrap_or_default();
        let ending: Ending = serde_json::from_value(ending)
            .map_err(|error| CapabilityError::NotDone(error.to_string()))?;
        let ended = machines.end(node, ending).await?;
        Ok(Struck {
            effective: match ended.certain {
                true => Proof::Seen,
                false => Proof::AtEnd,
            },
            seen: json!(ended),
            free: false,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        let machines = machines(env)?;
        let returned = machines.back(node, PATIENCE).await.map_err(message)?;
        if let Some(disks) = &env.disks {
            disks.interpose_again(node).await.map_err(message)?;
        }
        let started = start_again(env, node, holder).await;
        started.map_err(|why| format!("the machine is back, and {why}"))?;
        machines.settle(node).await.map_err(message)?;
        Ok(Undone {
            effective: Some(returned.boot != returned.before),
            seen: json!(returned),
        })
    }

    fn hold(&self, _: &Map<String, Value>) -> Hold {
        Hold::Stopped
    }

    fn takes_down(&self) -> bool {
        true
    }

    fn evidence(&self) -> &'static str {
        "boots"
    }
}
