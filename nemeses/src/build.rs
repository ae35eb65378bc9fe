//! From what the user asked for to what the run needs: faults with their schedules.

use std::time::Duration;

use harness::Name;
use harness::client::Op;
use harness::fault::Fault;
use harness::generator::BoxGenerator;
use harness::seed::Seed;
use harness::time::SharedClock;
use thiserror::Error;

use crate::catalogue::{self, DURATION, INTERVAL};
use crate::schedule::{Activity, STOP, Schedule, Timing};
use crate::spec::FaultSpec;
use crate::zones::Zones;

/// What faults are built for.
#[derive(Clone)]
pub struct BuildContext {
    /// The root of the faults' random streams.
    pub seed: Seed,
    /// How long the main phase lasts.
    pub time_limit: Duration,
    /// About how long an election of the system takes: the scale of durations.
    pub election_timeout: Duration,
    /// Whether the run has a [leader watch](crate::leader_watch), so that activities can follow elections.
    pub leaders: bool,
    /// All nodes, in the order given by the user.
    pub nodes: Vec<Name>,
    /// Where they are, as far as the user said.
    pub zones: Zones,
    /// The clock of the run.
    pub clock: SharedClock,
}

/// A fault with its schedule.
pub struct Package {
    /// Its name: the process `nemesis/<name>` in the history.
    pub name: Name,
    /// The fault.
    pub fault: Box<dyn Fault>,
    /// Its operations in the main phase, for the thread that the roster has under its name. Its context must
    /// have the threads of all faults and of the leader watch, for it begins some activities when another
    /// fault is healed or a leader is elected: put the schedules of all faults together with
    /// [`any`](harness::generator::any).
    pub schedule: BoxGenerator,
    /// The activities that the schedule plans (the first thousand), to be shown before the run.
    pub planned: Vec<Activity>,
    /// What ends the fault after the main phase: one `stop`, skipped by the fault if nothing stands.
    pub final_ops: Vec<Op>,
}

/// A fault that cannot be built as asked: a message for the user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--nemesis {spec}: {message}")]
pub struct BuildError {
    /// What the user wrote.
    pub spec: String,
    /// What is wrong with it.
    pub message: String,
}

/// Builds all faults of a run, in their order.
pub fn build(specs: &[FaultSpec], ctx: &BuildContext) -> Result<Vec<Package>, BuildError> {
    let package = |(index, spec)| {
        package(spec, index, specs.len(), ctx).map_err(|message| BuildError {
            spec: FaultSpec::to_string(spec),
            message,
        })
    };
    specs.iter().enumerate().map(package).collect()
}

fn package(
    spec: &FaultSpec,
    index: usize,
    faults: usize,
    ctx: &BuildContext,
) -> Result<Package, String> {
    let info = catalogue::find(&spec.name).ok_or("no such fault")?;
    let made = (info.make)(spec, ctx)?;
    let timing = Timing {
        time_limit: ctx.time_limit,
        election_timeout: ctx.election_timeout,
        index,
        faults,
        leaders: ctx.leaders,
        interval: spec.options.duration_if(INTERVAL),
        duration: spec.options.duration_if(DURATION),
    };
    let (schedule, planned) = Schedule::new(info.name, ctx.seed, timing, made.draw);
    Ok(Package {
        name: info.name.into(),
        fault: made.fault,
        schedule: Box::new(schedule),
        planned,
        final_ops: vec![Op::new(STOP, serde_json::Value::Null)],
    })
}
