//! The fault `corrupt`: data is damaged where it lies.
//!
//! A system that replicates its data is to notice that a copy is bad, and to mend it from the others, which must then be good: so by
//! default no more nodes are damaged in a run than a minority, or, in a *helix*, every node, but each part of each file on
//! one of them only (Alagappan et al., Protocol-Aware Recovery, FAST 2018). What is damaged stays so, until the data is wiped.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use harness::capability::{CapabilityError, Corruption, Damage, Disks, Environment};
use harness::options::{OptionKind, OptionSpec};
use harness::{Name, Value};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::grudge::minority;
use crate::node_fault::{Action, Struck, Undone, make};
use crate::power::seed_of;
use crate::schedule::weighted;
use crate::spec::FaultSpec;

pub(crate) const NAME: &str = "corrupt";
const TARGET: &str = "target";
const PATH: &str = "path";
const FILES: &str = "files";
const FROM: &str = "from";
const TO: &str = "to";
const CHUNK: &str = "chunk";
const AGE: &str = "age";
const PROBABILITY: &str = "probability";
const BYTES: &str = "bytes";
const MOST: &str = "nodes";
const HELIX: &str = "helix";

/// Variants with their weights, where they are drawn.
const VARIANTS: [(&str, u32, &str); 6] = [
    (
        "bitflip",
        3,
        "Bits are turned over, each with `probability`, one at least.",
    ),
    ("zero", 2, "A chunk is zeros."),
    (
        "copy",
        2,
        "A chunk is also where another should be: a misdirected write.",
    ),
    (
        "rollback",
        2,
        "Chunks are again what they were two seconds before: lost writes.",
    ),
    (
        "truncate",
        1,
        "Files lose up to `bytes` bytes at their ends.",
    ),
    ("delete", 1, "Files are gone."),
];

/// How long before a rollback goes back to.
const ROLLBACK_MS: u64 = 2000;

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let target = "Which nodes: `one`, `minority`, `minority-third`, `majority`, `all`, `primary`, `primaries`, or names joined by \
                  `+`; at most as many as `nodes` says.";
    let path =
        "Only files whose path in the data folder, or whose name, matches this pattern (`*`, `?`).";
    let whole = |max| OptionKind::Integer { min: 0, max };
    let most =
        "How many nodes may be damaged in the whole run. By default a minority, or all in a helix.";
    let helix = "Whether all nodes may be damaged, but each chunk of a file on one of them only.";
    let probability = OptionKind::Number { min: 0.0, max: 1.0 };
    let all = 1 << 40;
    let own = vec![
        OptionSpec::new(TARGET, OptionKind::Text, Some("one"), target),
        OptionSpec::new(PATH, OptionKind::Text, Some("*"), path),
        OptionSpec::new(
            FILES,
            whole(1000),
            Some("1"),
            "How many files are damaged at most, each time.",
        ),
        OptionSpec::new(
            FROM,
            whole(all),
            Some("0"),
            "The byte from which on files are damaged.",
        ),
        OptionSpec::new(
            TO,
            whole(all),
            None,
            "The byte up to which files are damaged; their ends if not given.",
        ),
        OptionSpec::new(
            CHUNK,
            OptionKind::Integer {
                min: 1,
                max: 1 << 30,
            },
            Some("4096"),
            "The size of chunks, in bytes.",
        ),
        OptionSpec::new(
            AGE,
            OptionKind::Duration,
            Some("0s"),
            "Only files that nobody wrote to for so long.",
        ),
        OptionSpec::new(
            PROBABILITY,
            probability,
            Some("0.00001"),
            "How probably each bit is turned over.",
        ),
        OptionSpec::new(
            BYTES,
            whole(all),
            Some("4096"),
            "How many bytes files lose at their ends, at most.",
        ),
        OptionSpec::new(MOST, OptionKind::Integer { min: 0, max: 1000 }, None, most),
        OptionSpec::flag(HELIX, helix),
    ];
    FaultInfo {
        name: NAME,
        summary: "Damages files of the system where they lie.",
        variants: VARIANTS
            .iter()
            .map(|(name, _, summary)| VariantInfo { name, summary })
            .collect(),
        options: with_common(own),
        evidence: "Bytes that are different, read back: where, what was there and what is.",
        undo: "Cannot be taken back: data stays damaged until it is wiped, at the end of the run at the latest.",
        synthetic: false,
        make: made,
    }
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let options = spec.options.clone();
    let number = |name: &str| options.integer(name).max(0) as u64;
    let helix = options.flag(HELIX);
    let (chosen, bytes) = (spec.variant.clone(), number(BYTES));
    let probability = options.number(PROBABILITY);
    let template = Corruption {
        damage: Damage::Zero,
        glob: options.text(PATH).to_owned(),
        files: number(FILES),
        from: number(FROM),
        to: options.integer_if(TO).map(|to| to.max(0) as u64),
        chunk: number(CHUNK),
        every: (0, 1),
        older_ms: options.duration(AGE).as_millis() as u64,
        seed: 0,
    };
    let what = move |_, rng: &mut harness::seed::Rng| {
        let weights = VARIANTS.map(|(name, weight, _)| (name, weight));
        let drawn = *weighted(&weights, |_| true, rng);
        let damage = match chosen.as_deref().unwrap_or(drawn) {
            "bitflip" => Damage::Bitflip { probability },
            "zero" => Damage::Zero,
            "copy" => Damage::Copy,
            "rollback" => Damage::Rollback { ms: ROLLBACK_MS },
            "truncate" => Damage::Truncate { bytes },
            _ => Damage::Delete,
        };
        let corruption = Corruption {
            damage,
            seed: rng.next_u64() >> 12,
            ..template.clone()
        };
        match json!(What { corruption, helix }) {
            Value::Object(what) => what,
            _ => Map::new(),
        }
    };
    let all = ctx.nodes.len();
    let most = match options.integer_if(MOST) {
        Some(most) => most.max(0) as usize,
        None if helix => all,
        None => minority(all),
    };
    let action = Corrupting {
        nodes: ctx.nodes.clone(),
        most,
        damaged: Mutex::default(),
    };
    make(action, spec, ctx, Box::new(what))
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct What {
    helix: bool,
    corruption: Corruption,
}

/// Damages files.
struct Corrupting {
    nodes: Vec<Name>,
    most: usize,
    /// Nodes with damaged data, or perhaps.
    damaged: Mutex<BTreeSet<Name>>,
}

impl Corrupting {
    /// Whether a node may be damaged; it is counted then.
    fn claim(&self, node: &Name) -> bool {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let may = damaged.contains(node) || damaged.len() < self.most;
        if may {
            damaged.insert(node.clone());
        }
        may
    }
}

fn disks(env: &Environment) -> Result<&dyn Disks, String> {
    let missing = "there is no data here that could be damaged";
    env.disks.as_deref().ok_or_else(|| missing.to_owned())
}

#[async_trait]
impl Action for Corrupting {
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
        let What {
            helix,
            mut corruption,
        } = serde_json::from_value(Value::Object(what.clone()))
            .map_err(|error| CapabilityError::NotDone(error.to_string()))?;
        if !self.claim(node) {
            let message = format!(
                "{node}: data of {} nodes is damaged already, which is as many as may be",
                self.most
            );
            return Err(CapabilityError::NotDone(message));
        }
        if helix {
            let rest = self.nodes.iter().position(|it| it == node).unwrap_or(0);
            corruption.every = (rest as u64, self.nodes.len() as u64);
        }
        corruption.seed = seed_of(corruption.seed, node);
        let different = disks.corrupt(node, &corruption).await?;
        Ok(Struck {
            effective: different["bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes > 0)
                .into(),
            seen: different,
        })
    }

    async fn undo(&self, _: &Environment, _: &Name) -> Result<Undone, String> {
        Ok(json!("stays").into())
    }

    fn takes_down(&self) -> bool {
        false
    }

    fn evidence(&self) -> &'static str {
        "different"
    }
}
