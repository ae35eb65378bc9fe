//! The fault `disk`: what disks do to the programs that use them.
//!
//! A rule in the file system between the system and its data strikes operations by kind, path and chance. Programs of
//! databases are full of code for it that has never run.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, DiskEffect, DiskRule, Environment, ProcessState};
use harness::options::{OptionKind, OptionSpec, unknown};
use harness::time::SharedClock;
use harness::{Name, Value};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::action::{
    Action, Looks, Proof, Struck, Undone, disks, fields, read, seed_of, start_again,
};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::schedule::weighted;
use crate::spec::FaultSpec;

pub(crate) const NAME: &str = "disk";
const ON: &str = "on";
const PATH: &str = "path";
const PROBABILITY: &str = "probability";
const ERRNO: &str = "errno";
const DELAY: &str = "delay";
const JITTER: &str = "jitter";

/// How long to wait for an operation to be struck. Where none is, the end tells.
const EFFECT_LIMIT: Duration = Duration::from_millis(300);
/// The first pause between two looks; each further one is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// The kinds of operations.
const KINDS: [&str; 14] = [
    "read",
    "write",
    "sync",
    "truncate",
    "allocate",
    "open",
    "create",
    "mkdir",
    "link",
    "rename",
    "unlink",
    "stat",
    "readdir",
    "attributes",
];

/// Errors, by their names on Linux.
const ERRORS: [(&str, i32); 4] = [("EIO", 5), ("ENOSPC", 28), ("EROFS", 30), ("EDQUOT", 122)];

/// A kind of misbehaviour.
struct Variant {
    name: &'static str,
    summary: &'static str,
    /// The operations that it strikes where the user does not say.
    on: &'static [&'static str],
    /// Each so probably, where the user does not say.
    probability: f64,
    /// How often it is drawn where the user chose none.
    weight: u32,
}

const VARIANTS: [Variant; 7] = [
    Variant {
        name: "errors",
        summary: "Operations fail with `errno`, and nothing is done.",
        on: &["read", "write", "sync"],
        probability: 0.1,
        weight: 2,
    },
    Variant {
        name: "slow",
        summary: "Operations take longer, by `delay` and up to `jitter` more.",
        on: &["read", "write", "sync"],
        probability: 1.0,
        weight: 3,
    },
    Variant {
        name: "stall",
        summary: "Operations are done only when the fault ends.",
        on: &["read", "write", "sync"],
        probability: 1.0,
        weight: 2,
    },
    Variant {
        name: "full",
        summary: "The disk is full: what needs more room fails with ENOSPC; what is there can be overwritten.",
        on: &[
            "write",
            "truncate",
            "allocate",
            "create",
            "mkdir",
            "link",
            "attributes",
        ],
        probability: 1.0,
        weight: 1,
    },
    Variant {
        name: "short-writes",
        summary: "Writes write half of what they should, and say so.",
        on: &["write"],
        probability: 0.3,
        weight: 1,
    },
    Variant {
        name: "failing-fsync",
        summary: "A sync fails with EIO, and what it was for is not written, as on Linux: a later sync that succeeds does not make it \
                  durable.",
        on: &["sync"],
        probability: 0.3,
        weight: 1,
    },
    Variant {
        name: "lying-fsync",
        summary: "A sync says that all is durable, and nothing is: as with a disk that ignores flushes. A power cut loses it. \
                  Never drawn: no system survives it.",
        on: &["sync"],
        probability: 1.0,
        weight: 0,
    },
];

fn variant(name: &str) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.name == name)
}

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let on = format!(
        "Which operations, joined by `+`: {}. By default as the variant has it (`read`, `write` and `sync` mostly). Reads that the page \
         cache answers are not seen.",
        KINDS.join(", ")
    );
    let path = "Only on files whose path in the data folder, or whose name, matches this pattern (`*`, `?`).";
    let probability = "How probably each of them is struck, from 0 to 1. By default 0.1 for errors, 0.3 for short writes and \
                       failing syncs, else 1.";
    let range = OptionKind::Number { min: 0.0, max: 1.0 };
    let errors = ERRORS.map(|(name, _)| name.to_owned()).to_vec();
    let delay = "How much longer slow operations take, at least.";
    let jitter = "How much longer they take beyond that, at most.";
    FaultInfo {
        name: NAME,
        summary: "Lets the disk under the system's data fail, hesitate, fill up or lie.",
        variants: VARIANTS
            .iter()
            .map(|variant| VariantInfo {
                name: variant.name,
                summary: variant.summary,
            })
            .collect(),
        options: with_common(vec![
            target_option(),
            OptionSpec::new(ON, OptionKind::Text, None, &on),
            OptionSpec::new(PATH, OptionKind::Text, None, path),
            OptionSpec::new(PROBABILITY, range, None, probability),
            OptionSpec::new(
                ERRNO,
                OptionKind::OneOf(errors),
                Some("EIO"),
                "The error that operations fail with.",
            ),
            OptionSpec::new(DELAY, OptionKind::Duration, Some("20ms"), delay),
            OptionSpec::new(JITTER, OptionKind::Duration, Some("30ms"), jitter),
        ]),
        evidence: "Operations of the system that were struck are counted by the file system that struck them.",
        undo: "The rules are taken away, and seen to be; a system that ended for what it met is started again.",
        synthetic: false,
        make: made,
    }
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct What {
    variant: String,
    rule: DiskRule,
    /// Of the chance in it.
    seed: u64,
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let options = spec.options.clone();
    let kinds = options.text_if(ON).map(kinds).transpose()?;
    let chosen = spec.variant.as_deref().and_then(variant);
    let errno = options.text(ERRNO).to_owned();
    let errno = ERRORS.iter().find(|(name, _)| *name == errno);
    let errno = errno.map_or(5, |(_, number)| *number);
    let millis = |name: &str| options.duration(name).as_millis() as u64;
    let (ms, jitter_ms) = (millis(DELAY), millis(JITTER));
    let (glob, probability) = (
        options.text_if(PATH).map(str::to_owned),
        options.number_if(PROBABILITY),
    );
    let what = move |_, rng: &mut harness::seed::Rng| {
        let weights: Vec<(&Variant, u32)> = VARIANTS.iter().map(|it| (it, it.weight)).collect();
        let drawn = *weighted(&weights, |variant| variant.weight > 0, rng);
        let variant = chosen.unwrap_or(drawn);
        let effect = match variant.name {
            "errors" => DiskEffect::Fail { errno },
            "slow" => DiskEffect::Delay { ms, jitter_ms },
            "stall" => DiskEffect::Stall,
            "full" => DiskEffect::Full,
            "short-writes" => DiskEffect::Short,
            "failing-fsync" => DiskEffect::LoseSync,
            _ => DiskEffect::Lie,
        };
        let own = || variant.on.iter().map(|kind| (*kind).to_owned()).collect();
        let what = What {
            variant: variant.name.to_owned(),
            rule: DiskRule {
                kinds: kinds.clone().unwrap_or_else(own),
                glob: glob.clone(),
                probability: probability.unwrap_or(variant.probability),
                effect,
            },
            seed: rng.next_u64() >> 12,
        };
        fields(&what)
    };
    let action = BadDisk {
        clock: ctx.clock.clone(),
    };
    make(action, spec, ctx, Box::new(what))
}

fn kinds(text: &str) -> Result<Vec<String>, String> {
    let known = |word: &str| match KINDS.contains(&word) {
        true => Ok(word.to_owned()),
        false => Err(format!("no operation `{word}`{}", unknown(word, KINDS))),
    };
    text.split('+').map(known).collect()
}

/// Puts rules in force.
struct BadDisk {
    clock: SharedClock,
}

#[async_trait]
impl Action for BadDisk {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        disks(env)?.probe().await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let disks = disks(env).map_err(CapabilityError::NotDone)?;
        let what: What = read(what)?;
        let seed = seed_of(what.seed, node);
        let mut status = disks.rule(node, &[what.rule], seed).await?;
        let mut looks = Looks::new(&*self.clock, FIRST_LOOK, EFFECT_LIMIT);
        while status.struck == 0 && looks.again().await {
            // It is in force: not seeing the effect leaves it open.
            status = disks
                .status(node)
                .await
                .map_err(|error| CapabilityError::Indeterminate(message(error)))?;
        }
        Ok(Struck {
            effective: match status.struck {
                0 => Proof::AtEnd,
                _ => Proof::Seen,
            },
            seen: json!({"struck": status.struck}),
            free: false,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        let status = disks(env)?.calm(node).await.map_err(message)?;
        let mut seen = json!({"struck": status.struck});
        if let Some(processes) = env.processes.as_deref()
            && processes.state(node).await.map_err(message)? == ProcessState::Absent
        {
            seen["restarted"] = start_again(env, node, holder).await?;
        }
        Ok(Undone {
            seen,
            effective: Some(status.struck > 0),
        })
    }

    fn takes_down(&self) -> bool {
        true
    }

    fn evidence(&self) -> &'static str {
        "operations"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_agent_knows_these_kinds() {
        let known: Vec<&str> = agent::disk::control::Kind::ALL
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(known, KINDS);
        for variant in VARIANTS {
            assert!(variant.on.iter().all(|kind| KINDS.contains(kind)));
        }
    }

    #[test]
    fn unknown_operations_are_refused() {
        assert_eq!(kinds("write+sync").map(|kinds| kinds.len()), Ok(2));
        let error = kinds("write+fsync").unwrap_err();
        assert!(error.contains("did you mean `sync`"), "{error}");
    }
}
