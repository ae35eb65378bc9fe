//! The fault `load`: something else on the node is busy.
//!
//! A neighbour uses up the node's CPU time, its memory or its disk, and the system must make do with the rest. Where `stress`
//! takes from the system's processes what they could have (control groups limit them from outside), a load leaves them alone and
//! competes with them, and with everything else on the node: its kernel's caches, its SSH server. It is a process of the agent's
//! own; no `stress-ng` is needed.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{
    CapabilityError, Environment, Load, LoadKind, LoadSeen, Loads, MemoryAmount, ProcessState,
};
use harness::options::{OptionKind, OptionSpec};
use harness::seed::Rng;
use harness::time::SharedClock;
use harness::{Name, Value};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::action::{Action, Looks, Proof, Struck, Undone, fields, read, start_again};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::spec::FaultSpec;

const NAME: &str = "load";
const WORKERS: &str = "workers";
const SHARE: &str = "share";
const AMOUNT: &str = "amount";
const PRIORITY: &str = "priority";
const OOM: &str = "oom";

/// How long to wait until it shows: memory is taken at about a gigabyte a second.
const EFFECT_LIMIT: Duration = Duration::from_secs(5);
/// The first pause between two looks; each further one is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// Memory that is drawn where the user says nothing: enough to be felt, and less than any node can spare.
const DRAWN_MIB: (u64, u64) = (128, 1024);
/// How long files are where the user says nothing.
const USUAL_FILE: u64 = 64 << 20;

/// What is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cpu,
    Memory,
    Io,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Cpu, Kind::Memory, Kind::Io];

    fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Memory => "memory",
            Kind::Io => "io",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Kind::Cpu => "Threads are busy (`workers`, each for its `share` of the time).",
            Kind::Memory => {
                "Memory (`amount`) is taken, filled with noise and used again and again."
            }
            Kind::Io => {
                "Threads (`workers`) write blocks to files beside the data (`amount` each), sync each one, and read others from the disk."
            }
        }
    }

    /// The options that it has.
    fn options(self) -> &'static [&'static str] {
        match self {
            Kind::Cpu => &[WORKERS, SHARE],
            Kind::Memory => &[AMOUNT, OOM],
            Kind::Io => &[WORKERS, AMOUNT],
        }
    }
}

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let variant = |kind: Kind| VariantInfo {
        name: kind.name(),
        summary: kind.summary(),
    };
    let words =
        |words: &[&str]| OptionKind::OneOf(words.iter().map(|it| (*it).to_owned()).collect());
    let whole = |min, max| OptionKind::Integer { min, max };
    let workers = "How many threads, for `cpu` and `io`. By default as many as the node has processors, or one for `io`.";
    let share = "How much of the time each is busy, in percent, for `cpu`; 100 by default.";
    let amount = "How much, for `memory` and `io`: `512MiB`, `2GiB`, or, of memory, `50%` of what is available when it begins. By \
                  default 128 to 1024 MiB of memory, drawn, and files of 64 MiB. A tenth of the node's memory and a twentieth of its \
                  disk are left at least; what others turn out to need of that tenth is given back.";
    let priority = "`equal`: each of its threads counts as much as any process of the system. `low`: everybody else goes first (nice \
                    19, idle disk class, the least weight).";
    let oom = "`yes`: memory is taken whatever is left, and the kernel, when it is short of it, kills the others first. Refused where a \
               node has its memory together with others, as on the local cluster.";
    FaultInfo {
        name: NAME,
        summary: "Loads the whole node: something else uses up its CPU time, memory or disk. (`stress` limits the system's own \
                  processes instead.)",
        variants: Kind::ALL.map(variant).to_vec(),
        options: with_common(vec![
            target_option(),
            OptionSpec::new(WORKERS, whole(1, 1024), None, workers),
            OptionSpec::new(SHARE, whole(1, 100), None, share),
            OptionSpec::new(AMOUNT, OptionKind::Text, None, amount),
            OptionSpec::new(PRIORITY, words(&["equal", "low"]), Some("equal"), priority),
            OptionSpec::new(OOM, words(&["no", "yes"]), None, oom),
        ]),
        evidence: "What the load has used, measured on the node: CPU time, bytes that are resident, bytes that were written and synced; \
                   with how much of the time anybody there waited for what, before and since (`/proc/pressure`).",
        undo: "Its process is ended, with all that it has: files that have no names, memory, its control group. It dies with the agent.",
        synthetic: false,
        make: made,
    }
}

/// An amount, as the user writes it.
fn amount(text: &str) -> Result<MemoryAmount, String> {
    let wrong =
        || format!("option `{AMOUNT}`: such as `512MiB`, `2GiB` or `50%` expected, found `{text}`");
    let number =
        |suffix: &str| -> Option<u64> { text.trim().strip_suffix(suffix)?.trim().parse().ok() };
    if let Some(percent) = number("%") {
        let whole = (1..=100).contains(&percent);
        return whole
            .then_some(MemoryAmount::Percent(percent as u32))
            .ok_or_else(wrong);
    }
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let found = units.iter().find_map(|(unit, shift)| {
        let number = number(unit)?;
        number
            .checked_mul(1 << shift)
            .filter(|bytes| (1..1 << 50).contains(bytes))
    });
    found.map(MemoryAmount::Bytes).ok_or_else(wrong)
}

/// What the user chose.
#[derive(Clone, Debug)]
struct Choice {
    kind: Option<Kind>,
    workers: Option<u32>,
    share: u32,
    amount: Option<MemoryAmount>,
    low: bool,
    oom: bool,
}

impl Choice {
    fn of(spec: &FaultSpec) -> Result<Choice, String> {
        let options = &spec.options;
        let variant = spec.variant.as_deref();
        let kind = Kind::ALL.into_iter().find(|it| Some(it.name()) == variant);
        for name in [WORKERS, SHARE, AMOUNT, OOM] {
            let fits = kind.is_some_and(|kind| kind.options().contains(&name));
            if options.get(name).is_some() && !fits {
                let of: Vec<String> = Kind::ALL
                    .iter()
                    .filter(|kind| kind.options().contains(&name))
                    .map(|kind| format!("{NAME}:{}", kind.name()))
                    .collect();
                return Err(format!(
                    "option `{name}`: it belongs to {}",
                    of.join(" and ")
                ));
            }
        }
        let amount = options.text_if(AMOUNT).map(amount).transpose()?;
        if kind == Some(Kind::Io) && matches!(amount, Some(MemoryAmount::Percent(_))) {
            return Err(format!(
                "option `{AMOUNT}`: the size of a file expected, such as `64MiB`"
            ));
        }
        Ok(Choice {
            kind,
            workers: options.integer_if(WORKERS).map(|it| it as u32),
            share: options.integer_if(SHARE).unwrap_or(100) as u32,
            amount,
            low: options.text(PRIORITY) == "low",
            oom: options.text_if(OOM) == Some("yes"),
        })
    }

    fn load(&self, kind: Kind, drawn_mib: u64) -> Load {
        let load = match kind {
            Kind::Cpu => LoadKind::Cpu {
                workers: self.workers,
                share: self.share,
            },
            Kind::Memory => LoadKind::Memory {
                amount: self.amount.unwrap_or(MemoryAmount::Bytes(drawn_mib << 20)),
                oom: self.oom,
            },
            Kind::Io => LoadKind::Io {
                workers: self.workers.unwrap_or(1),
                bytes: match self.amount {
                    Some(MemoryAmount::Bytes(bytes)) => bytes,
                    _ => USUAL_FILE,
                },
            },
        };
        Load {
            load,
            low: self.low,
        }
    }

    fn kinds(&self) -> Vec<Kind> {
        self.kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind])
    }

    fn draw(&self, rng: &mut Rng) -> Load {
        let kinds = self.kinds();
        let kind = kinds[rng.random_range(0..kinds.len())];
        self.load(kind, rng.random_range(DRAWN_MIB.0..=DRAWN_MIB.1))
    }
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let choice = Choice::of(spec)?;
    let probed = choice.kinds().into_iter();
    let action = Loading {
        clock: ctx.clock.clone(),
        probed: probed.map(|kind| choice.load(kind, DRAWN_MIB.0)).collect(),
        kills: choice.oom,
    };
    let draw = move |_, rng: &mut Rng| {
        fields(&What {
            load: choice.draw(rng),
        })
    };
    make(action, spec, ctx, Box::new(draw))
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct What {
    load: Load,
}

/// Loads nodes.
struct Loading {
    clock: SharedClock,
    /// All that may be drawn, with the least that is.
    probed: Vec<Load>,
    /// Whether the kernel may kill the system for it.
    kills: bool,
}

fn loads(env: &Environment) -> Result<&dyn Loads, String> {
    let missing = "nodes cannot be loaded here";
    env.loads.as_deref().ok_or_else(|| missing.to_owned())
}

#[async_trait]
impl Action for Loading {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        for load in &self.probed {
            loads(env)?.probe(load).await?;
        }
        Ok(())
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let loads = loads(env).map_err(CapabilityError::NotDone)?;
        let What { load } = read(what)?;
        let mut seen = loads.begin(node, &load).await?;
        let mut looks = Looks::new(&*self.clock, FIRST_LOOK, EFFECT_LIMIT);
        while !seen.effective && looks.again().await {
            // It is in force: not seeing the effect leaves it open.
            seen = loads
                .look(node)
                .await
                .map_err(|error| CapabilityError::Indeterminate(message(error)))?;
        }
        Ok(Struck {
            effective: match seen.effective {
                true => Proof::Seen,
                false => Proof::AtEnd,
            },
            seen: json!(seen),
            free: false,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        let seen: LoadSeen = loads(env)?.end(node).await.map_err(message)?;
        let mut value = json!(seen);
        if let (true, Some(processes)) = (self.kills, env.processes.as_deref())
            && processes.state(node).await.map_err(message)? == ProcessState::Absent
        {
            value["restarted"] = start_again(env, node, holder).await?;
        }
        Ok(Undone {
            effective: Some(seen.effective),
            seen: value,
        })
    }

    fn takes_down(&self) -> bool {
        self.kills
    }

    fn evidence(&self) -> &'static str {
        "load"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use harness::seed::Seed;

    use super::*;
    use crate::spec::parse;

    fn choice(text: &str) -> Result<Choice, String> {
        Choice::of(&parse(text).unwrap()[0])
    }

    #[test]
    fn amounts_are_bytes_or_shares() {
        assert_eq!(amount("512MiB"), Ok(MemoryAmount::Bytes(512 << 20)));
        assert_eq!(amount("2 GiB"), Ok(MemoryAmount::Bytes(2 << 30)));
        assert_eq!(amount("50%"), Ok(MemoryAmount::Percent(50)));
        for wrong in [
            "512",
            "0%",
            "101%",
            "2GB",
            "0MiB",
            "-1MiB",
            "99999999999GiB",
            "MiB",
        ] {
            assert!(amount(wrong).unwrap_err().contains("512MiB"), "{wrong}");
        }
    }

    #[test]
    fn options_belong_to_kinds() {
        let error = choice("load:cpu:amount=1GiB").unwrap_err();
        assert_eq!(
            error,
            "option `amount`: it belongs to load:memory and load:io"
        );
        assert!(choice("load:share=50").unwrap_err().contains("load:cpu"));
        assert!(choice("load:io:amount=50%").is_err());
        assert!(choice("load:io:workers=4:amount=1GiB").is_ok());
        assert!(
            choice("load:memory:amount=80%:oom=yes:priority=low")
                .unwrap()
                .oom
        );
    }

    #[test]
    fn a_load_is_read_as_it_is_written() {
        let mut rng = Seed::new(1).rng();
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let what = What {
                load: choice("load").unwrap().draw(&mut rng),
            };
            let value = json!(what);
            kinds.insert(value["load"]["load"]["of"].to_string());
            assert_eq!(serde_json::from_value::<What>(value).unwrap(), what);
        }
        assert_eq!(kinds.len(), 3);
    }
}
