//! The fault `power`: the power of nodes is cut, and what was not synced is lost.
//!
//! A process that is killed loses nothing that it wrote: the kernel has it. A machine whose power is cut loses what was not
//! synced, entries of directories included; and one that syncs before it acknowledges loses nothing that it
//! acknowledged. This fault tells the two apart. It needs the file system between the system and its data
//! (LazyFS is the incumbent), which stands there from before the system starts.

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Survival};
use harness::options::{OptionKind, OptionSpec};
use harness::{Name, Value};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::action::{
    Action, Proof, Struck, Undone, disks, fields, present, processes, read, seed_of, start_again,
};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, with_common};
use crate::holds::Hold;
use crate::node_fault::{make, target_option};
use crate::process::{Restart, restart_option};
use crate::spec::FaultSpec;

pub(crate) const NAME: &str = "power";
const LOSE: &str = "lose";

/// What is lost, by the words for it.
const LOSSES: [(&str, Survival); 3] = [
    ("all", Survival::Nothing),
    ("some", Survival::Some),
    ("torn", Survival::Torn),
];

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let words = LOSSES.map(|(word, _)| word.to_owned()).to_vec();
    let lose = "What is lost of what was not synced: `all` of it; `some` pages, ends of what was appended, and the last operations \
                on entries; or the same by sectors of 512 bytes, so that writes are `torn`.";
    let lose = OptionSpec::new(LOSE, OptionKind::OneOf(words), Some("all"), lose);
    FaultInfo {
        name: NAME,
        summary: "Cuts the power: kills the system's processes, and loses what they did not sync, entries of directories \
                  included; starts them again at the end.",
        variants: Vec::new(),
        options: with_common(vec![target_option(), lose, restart_option()]),
        evidence: "The processes were there and are seen to be gone; how many bytes, files and operations on entries were lost \
                   is counted.",
        undo: "The system is started again, with the data it has.",
        synthetic: false,
        make: made,
    }
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct What {
    /// What remains of what was not synced.
    survives: Survival,
    /// When the system is started again.
    #[serde(default, skip_serializing_if = "Restart::is_end")]
    restart: Restart,
    /// Of the chance in it.
    seed: u64,
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let word = spec.options.text(LOSE);
    let survives = LOSSES.iter().find(|(name, _)| *name == word);
    let survives = survives.map_or(Survival::Nothing, |(_, survives)| *survives);
    let restart = Restart::of(spec);
    let what = move |_, rng: &mut harness::seed::Rng| {
        fields(&What {
            survives,
            restart,
            seed: rng.next_u64() >> 12,
        })
    };
    make(PowerCut, spec, ctx, Box::new(what))
}

/// Cuts the power.
struct PowerCut;

#[async_trait]
impl Action for PowerCut {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        processes(env)?.probe().await?;
        disks(env)?.probe().await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let disks = disks(env).map_err(CapabilityError::NotDone)?;
        let processes = processes(env).map_err(CapabilityError::NotDone)?;
        let what: What = read(what)?;
        present(processes, node).await?;
        let lost = disks
            .cut_power(node, what.survives, seed_of(what.seed, node))
            .await?;
        let at_once = what.restart == Restart::Once;
        if at_once {
            // That it does not come up again is told when it is to be undone.
            let _ = processes.start(node).await;
        }
        Ok(Struck {
            seen: json!(lost),
            effective: Proof::Seen,
            free: at_once,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        start_again(env, node, holder).await.map(Undone::from)
    }

    fn hold(&self, _: &Map<String, Value>) -> Hold {
        Hold::Stopped
    }

    fn takes_down(&self) -> bool {
        true
    }

    fn evidence(&self) -> &'static str {
        "lost"
    }
}
