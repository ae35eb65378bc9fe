//! The fault `corrupt`: data is damaged where it lies.
//!
//! A system that replicates its data is to notice that a copy is bad, and to mend it from the others, which must then be good: so by
//! default no more nodes are damaged in a run than a minority, or, in a *helix*, every node, but each part of each file on
//! one of them only (Alagappan et al., Protocol-Aware Recovery, FAST 2018). What is damaged stays so, until the data is wiped.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Corruption, Damage, Environment};
use harness::options::{OptionKind, OptionSpec};
use harness::time::SharedClock;
use harness::{Name, Value};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::action::{Action, Struck, Undone, disks, fields, read, seed_of};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::grudge::minority;
use crate::holds::Hold;
use crate::node_fault::make;
use crate::schedule::weighted;
use crate::setback::Setback;
use crate::spec::FaultSpec;
use crate::target::Aim;

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
const BACK: &str = "back";
/// The longest that a backup is old: it is all one activity, which has half a minute.
const BACK_MOST: Duration = Duration::from_secs(15);

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
    let target = format!(
        "Which nodes: `one`, `minority`, `minority-third`, `majority`, `all`, `primary`, `primaries`, names joined by `+`, or {}; \
         at most as many as `nodes` says.",
        Aim::PLACES
    );
    let path =
        "Only files whose path in the data folder, or whose name, matches this pattern (`*`, `?`).";
    let whole = |max| OptionKind::Integer { min: 0, max };
    let most =
        "How many nodes may be damaged in the whole run. By default a minority, or all in a helix.";
    let helix = "Whether all nodes may be damaged, but each chunk of a file on one of them only.";
    let probability = OptionKind::Number { min: 0.0, max: 1.0 };
    let all = 1 << 40;
    let own = vec![
        OptionSpec::new(TARGET, OptionKind::Text, Some("one"), &target),
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
        OptionSpec::new(
            BACK,
            OptionKind::Duration,
            Some("5s"),
            "How old the backup is that `restore` restores; 15s at most. The other options but `target` and `nodes` are not for `restore` and \
             `wipe`.",
        ),
    ];
    let variants = VARIANTS
        .iter()
        .map(|(name, _, summary)| VariantInfo { name, summary });
    let setbacks = Setback::ALL.map(|setback| VariantInfo {
        name: setback.name(),
        summary: setback.summary(),
    });
    FaultInfo {
        name: NAME,
        summary: "Damages files of the system where they lie, or takes its data back or away as a whole.",
        variants: variants.chain(setbacks).collect(),
        options: with_common(own),
        evidence: "Bytes that are different, read back: where, what was there and what is.",
        undo: "Cannot be taken back: data stays damaged until it is wiped, at the end of the run at the latest. A copy that `restore` made is \
               removed, and the system is started where it does not run.",
        synthetic: false,
        make: made,
    }
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let options = spec.options.clone();
    let number = |name: &str| options.integer(name).max(0) as u64;
    let helix = options.flag(HELIX);
    let setback = Setback::ALL
        .into_iter()
        .find(|it| Some(it.name()) == spec.variant.as_deref());
    let back = options.duration(BACK);
    if setback == Some(Setback::Restore) && !(Duration::from_millis(1)..=BACK_MOST).contains(&back)
    {
        return Err(format!(
            "option `{BACK}`: from 1ms to {BACK_MOST:?} expected"
        ));
    }
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
        match setback {
            Some(setback) => fields(&What::Whole {
                setback,
                back_ms: back.as_millis() as u64,
            }),
            None => fields(&What::Parts { helix, corruption }),
        }
    };
    let all = ctx.nodes.len();
    let most = match options.integer_if(MOST) {
        Some(most) => most.max(0) as usize,
        None if helix => all,
        None => minority(all),
    };
    let action = Corrupting {
        clock: ctx.clock.clone(),
        nodes: ctx.nodes.clone(),
        setback,
        most,
        damaged: Mutex::default(),
    };
    make(action, spec, ctx, Box::new(what))
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum What {
    /// Files are damaged.
    Parts { helix: bool, corruption: Corruption },
    /// All data is struck.
    #[serde(rename_all = "kebab-case")]
    Whole { setback: Setback, back_ms: u64 },
}

/// Damages files.
struct Corrupting {
    clock: SharedClock,
    /// The one that the user chose: none is drawn.
    setback: Option<Setback>,
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
        let what: What = read(what)?;
        if !self.claim(node) {
            let message = format!(
                "{node}: data of {} nodes is damaged already, which is as many as may be",
                self.most
            );
            return Err(CapabilityError::NotDone(message));
        }
        let different = match what {
            What::Whole { setback, back_ms } => {
                let back = Duration::from_millis(back_ms);
                setback.strike(env, &*self.clock, node, back).await?
            }
            What::Parts {
                helix,
                mut corruption,
            } => {
                if helix {
                    let rest = self.nodes.iter().position(|it| it == node).unwrap_or(0);
                    corruption.every = (rest as u64, self.nodes.len() as u64);
                }
                corruption.seed = seed_of(corruption.seed, node);
                disks.corrupt(node, &corruption).await?
            }
        };
        Ok(Struck {
            effective: different["bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes > 0)
                .into(),
            seen: different,
            // It runs again, with what it has now.
            free: true,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        if let Some(setback) = self.setback {
            setback.undo(env, node, holder).await?;
        }
        Ok(json!("stays").into())
    }

    fn hold(&self, what: &Map<String, Value>) -> Hold {
        match read(what) {
            Ok(What::Whole { .. }) => Hold::Alone,
            _ => Hold::Free,
        }
    }

    fn takes_down(&self) -> bool {
        self.setback.is_some()
    }

    fn evidence(&self) -> &'static str {
        "different"
    }
}
