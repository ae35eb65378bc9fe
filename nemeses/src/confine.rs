//! The faults `freeze` and `stress`: the system's processes do not run, or are short of what they need.

use async_trait::async_trait;
use harness::capability::{Bounds, CapabilityError, Confinement, Environment, ProcessState};
use harness::options::{OptionKind, OptionSpec};
use harness::seed::Rng;
use harness::{Name, Value};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::action::{Action, Proof, Struck, Undone, fields, read, start_again};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::spec::FaultSpec;

const FREEZE: &str = "freeze";
const STRESS: &str = "stress";
const AMOUNT: &str = "amount";

/// What is counted where processes were held up or refused something. What else is told is only measured.
const HELD_UP: [&str; 6] = [
    "throttled",
    "memory-refused",
    "memory-held-up",
    "oom-killed",
    "processes-refused",
    "disk-requests-held-up",
];

/// What processes can be short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortage {
    Cpu,
    Memory,
    Processes,
    Files,
    Io,
}

impl Shortage {
    const ALL: [Shortage; 5] = [
        Shortage::Cpu,
        Shortage::Memory,
        Shortage::Processes,
        Shortage::Files,
        Shortage::Io,
    ];

    fn name(self) -> &'static str {
        match self {
            Shortage::Cpu => "cpu",
            Shortage::Memory => "memory",
            Shortage::Processes => "processes",
            Shortage::Files => "files",
            Shortage::Io => "io",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Shortage::Cpu => "Together they get so many percent of one CPU (5 to 50).",
            Shortage::Memory => {
                "Together they may take so many more MiB of memory (4 to 64) before they are held up, then refused, then killed."
            }
            Shortage::Processes => "So many more processes and threads may be begun (0 to 8).",
            Shortage::Files => "So many more files may be open in each process (0 to 16).",
            Shortage::Io => {
                "So many requests a second may pass to each disk together to write, and as many to read (1 to 8): a sync is one or a few. \
                 With `disk` or `power` in the same run, the limit is for their file system, which makes the requests."
            }
        }
    }

    /// The least and the most that is drawn.
    fn range(self) -> (u32, u32) {
        match self {
            Shortage::Cpu => (5, 50),
            Shortage::Memory => (4, 64),
            Shortage::Processes => (0, 8),
            Shortage::Files => (0, 16),
            Shortage::Io => (1, 8),
        }
    }

    fn bounds(self, amount: u32) -> Bounds {
        let mut bounds = Bounds::default();
        match self {
            Shortage::Cpu => bounds.cpu_percent = Some(amount.max(1)),
            Shortage::Memory => bounds.more_memory = Some(u64::from(amount) << 20),
            Shortage::Processes => bounds.more_processes = Some(amount),
            Shortage::Files => bounds.more_files = Some(amount.into()),
            Shortage::Io => bounds.disk_requests = Some(amount.max(1)),
        }
        bounds
    }
}

/// The fault `freeze`, described.
pub(crate) fn freeze_info() -> FaultInfo {
    FaultInfo {
        name: FREEZE,
        summary: "Freezes the system's processes with a control group: unlike a pause, no signal is involved, and children that \
                  they begin are frozen with them.",
        variants: Vec::new(),
        options: with_common(vec![target_option()]),
        evidence: "The kernel says that the group is frozen.",
        undo: "The group is thawed, the processes moved back to where each came from, the group removed.",
        synthetic: false,
        make: |spec, ctx| {
            let bounds = Bounds {
                freeze: true,
                ..Bounds::default()
            };
            let action = Confining {
                fault: FREEZE,
                probed: vec![bounds],
            };
            make(
                action,
                spec,
                ctx,
                Box::new(move |_, _| fields(&What { bounds })),
            )
        },
    }
}

/// The fault `stress`, described.
pub(crate) fn stress_info() -> FaultInfo {
    let variant = |shortage: Shortage| VariantInfo {
        name: shortage.name(),
        summary: shortage.summary(),
    };
    let amount = "How much they are left: percent of a CPU, MiB, processes, files, or requests a second, as the variant says. By default drawn.";
    let range = OptionKind::Integer {
        min: 0,
        max: 1_000_000,
    };
    FaultInfo {
        name: STRESS,
        summary: "The system's own processes are limited, and so short of CPU time, memory, processes, open files or their disks. \
                  (`load` keeps the whole node busy instead.)",
        variants: Shortage::ALL.map(variant).to_vec(),
        options: with_common(vec![
            OptionSpec::new(AMOUNT, range, None, amount),
            target_option(),
        ]),
        evidence: "The kernel has counted how often the processes were held up or refused something; for open files, the limit that is in \
                   force; for disks, that they asked for something, and that a write of ours in their group took more than twice as long \
                   as the slowest of five that were made just before it joined.",
        undo: "The processes are moved back to where each came from, their limits are what they were, the group is removed. A system \
               whose processes the kernel killed for want of memory is started again.",
        synthetic: false,
        make: made,
    }
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let chosen = Shortage::ALL
        .into_iter()
        .find(|it| Some(it.name()) == spec.variant.as_deref());
    let amount = spec.options.integer_if(AMOUNT);
    if amount.is_some() && chosen.is_none() {
        return Err("an `amount` needs a variant: of what?".to_owned());
    }
    let possible = chosen.map_or(Shortage::ALL.to_vec(), |chosen| vec![chosen]);
    let probed = possible.iter().map(|shortage| shortage.bounds(1)).collect();
    let action = Confining {
        fault: STRESS,
        probed,
    };
    let draw = move |_, rng: &mut Rng| {
        let shortage = possible[rng.random_range(0..possible.len())];
        let (least, most) = shortage.range();
        let drawn = rng.random_range(least..=most);
        let amount = amount.map_or(drawn, |amount| amount as u32);
        fields(&What {
            bounds: shortage.bounds(amount),
        })
    };
    make(action, spec, ctx, Box::new(draw))
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct What {
    bounds: Bounds,
}

/// Confines the system's processes.
struct Confining {
    fault: &'static str,
    /// All that may be drawn.
    probed: Vec<Bounds>,
}

fn confinement(env: &Environment) -> Result<&dyn Confinement, String> {
    let missing = "processes cannot be confined here";
    env.confinement.as_deref().ok_or_else(|| missing.to_owned())
}

#[async_trait]
impl Action for Confining {
    fn name(&self) -> &str {
        self.fault
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        for bounds in &self.probed {
            confinement(env)?.probe(bounds).await?;
        }
        Ok(())
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let confinement = confinement(env).map_err(CapabilityError::NotDone)?;
        let What { bounds } = read(what)?;
        let told = confinement.confine(self.fault, node, &bounds).await?;
        Ok(Struck {
            effective: match bounds.freeze || bounds.more_files.is_some() {
                true => Proof::Seen,
                // Being short of something shows only once it is asked for.
                false => Proof::AtEnd,
            },
            seen: json!(told),
            free: false,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        let confinement = confinement(env)?;
        let counted = confinement
            .release(self.fault, node)
            .await
            .map_err(message)?;
        let held_up = HELD_UP.iter().filter_map(|name| counted.get(*name));
        let held_up = held_up.sum::<u64>() > 0;
        let mut seen = json!(counted);
        // The kernel kills who has no memory left, and a system may end for whatever else it was refused.
        if let (STRESS, Some(processes)) = (self.fault, env.processes.as_deref())
            && processes.state(node).await.map_err(message)? == ProcessState::Absent
        {
            seen["restarted"] = start_again(env, node, holder).await?;
        }
        Ok(Undone {
            effective: (self.fault == STRESS && !counted.is_empty()).then_some(held_up),
            seen,
        })
    }

    fn takes_down(&self) -> bool {
        self.fault == FREEZE
    }

    fn evidence(&self) -> &'static str {
        "counted"
    }
}
