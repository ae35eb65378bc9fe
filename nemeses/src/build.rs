//! From what the user asked for to what the run needs: faults with their schedules.

use std::sync::Arc;
use std::time::Duration;

use harness::Name;
use harness::client::Op;
use harness::fault::Fault;
use harness::generator::BoxGenerator;
use harness::seed::Seed;
use harness::time::{SharedClock, nanos};
use thiserror::Error;

use crate::catalogue::{self, ALONE, DURATION, INTERVAL, Made, WEIGHT};
use crate::composition::{Composition, Order};
use crate::down::Down;
use crate::holds::Holds;
use crate::schedule::{Activity, Entry, Row, Rules, STOP, Schedule, Script, Timing, Turns};
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
    /// How the faults go together.
    pub composition: Composition,
}

/// What one fault is made for.
#[derive(Clone)]
pub(crate) struct MakeContext {
    /// All nodes, in the order given by the user.
    pub(crate) nodes: Vec<Name>,
    /// Where they are.
    pub(crate) zones: Zones,
    /// About how long an election of the system takes.
    pub(crate) election_timeout: Duration,
    /// The clock of the run.
    pub(crate) clock: SharedClock,
    /// What may be down at once.
    pub(crate) down: Down,
    /// Who keeps which node's system from running.
    pub(crate) holds: Holds,
    /// Whether it does exactly as it is told, as when a run is repeated: nothing is owed that was not asked for.
    pub(crate) exact: bool,
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
#[error("{spec}: {message}")]
pub struct BuildError {
    /// Where the user wrote it.
    pub spec: String,
    /// What is wrong with it.
    pub message: String,
}

/// Builds all faults of a run, in their order. Those of a script are its own, and must be the same.
pub fn build(specs: &[FaultSpec], ctx: &BuildContext) -> Result<Vec<Package>, BuildError> {
    let make = MakeContext {
        nodes: ctx.nodes.clone(),
        zones: ctx.zones.clone(),
        election_timeout: ctx.election_timeout,
        clock: ctx.clock.clone(),
        down: Down::at_most(ctx.composition.max_down),
        holds: Holds::default(),
        exact: false,
    };
    let alone: Arc<[Name]> = specs
        .iter()
        .filter(|spec| spec.options.flag(ALONE) || ctx.composition.order == Order::Alternating)
        .map(|spec| spec.label.as_str().into())
        .collect();
    let rules = Rules {
        alone,
        quiet: ctx.composition.quiet,
    };
    let builder = Builder { ctx, make, rules };
    match &ctx.composition.order {
        Order::Overlapping => builder.overlapping(specs),
        Order::Alternating => builder.alternating(specs),
        Order::Scripted(script) => builder.scripted(script),
    }
}

/// Builds faults.
struct Builder<'a> {
    ctx: &'a BuildContext,
    make: MakeContext,
    rules: Rules,
}

impl Builder<'_> {
    fn overlapping(&self, specs: &[FaultSpec]) -> Result<Vec<Package>, BuildError> {
        let package = |(index, spec): (usize, &FaultSpec)| {
            let made = make(spec, &self.make)?;
            let timing = self.timing(spec, index, specs.len());
            let name: Name = spec.label.as_str().into();
            let seed = self.ctx.seed;
            let schedule = Schedule::new(name, seed, timing, made.draw, self.rules.clone());
            Ok(packed(spec, made.fault, schedule))
        };
        specs.iter().enumerate().map(package).collect()
    }

    /// One at a time: they share one row of activities.
    fn alternating(&self, specs: &[FaultSpec]) -> Result<Vec<Package>, BuildError> {
        let Some(first) = specs.first() else {
            return Ok(Vec::new());
        };
        let weights: Vec<f64> = specs
            .iter()
            .map(|spec| spec.options.number(WEIGHT))
            .collect();
        // Interval and duration are of the row; the first that names them decides.
        let times = specs.iter().find(|spec| {
            let given = [INTERVAL, DURATION].map(|name| spec.options.duration_if(name));
            given.iter().any(Option::is_some)
        });
        let timing = self.timing(times.unwrap_or(first), 0, 1);
        let seed = self.ctx.seed;
        let turns = Turns::new(seed, timing, &weights).map_err(|why| wrong(first, why))?;
        let package = |(index, spec): (usize, &FaultSpec)| {
            let made = make(spec, &self.make)?;
            let name: Name = spec.label.as_str().into();
            let seed = seed.named(&name);
            let row = || -> Row { Box::new(turns.clone().of(index, seed, made.draw.clone())) };
            let (deadline, rest) = (timing.deadline(), timing.rest());
            let schedule = Schedule::of(name, row, deadline, rest, self.rules.clone());
            Ok(packed(spec, made.fault, schedule))
        };
        specs.iter().enumerate().map(package).collect()
    }

    fn scripted(&self, script: &Script) -> Result<Vec<Package>, BuildError> {
        let in_script = |message: String| BuildError {
            spec: "the script".to_owned(),
            message,
        };
        let limit = self.ctx.time_limit;
        let package = |(spec, entries): (FaultSpec, Vec<&Entry>)| {
            if let Some(late) = entries.iter().find(|entry| entry.at >= limit) {
                let message = format!(
                    "{} at {:?} begins after the time limit of {limit:?}",
                    late.nemesis, late.at
                );
                return Err(in_script(message));
            }
            let context = MakeContext {
                exact: entries.iter().any(|entry| entry.value.is_some()),
                ..self.make.clone()
            };
            let fault = make(&spec, &context)?.fault;
            let name: Name = spec.label.as_str().into();
            let activity = |(number, entry): (u64, &&Entry)| {
                let own = entry.spec().map_err(|error| in_script(error.to_string()))?;
                let draw = make(&own, &context)?.draw;
                Ok(entry.activity(number, &name, &draw, self.ctx.seed))
            };
            let activities = (0..).zip(&entries).map(activity);
            let activities = activities.collect::<Result<Vec<Activity>, BuildError>>()?;
            let row = || -> Row { Box::new(activities.clone().into_iter()) };
            let schedule = Schedule::of(name, row, nanos(limit), 0, self.rules.clone());
            Ok(packed(&spec, fault, schedule))
        };
        let faults = script.by_fault().map_err(in_script)?;
        faults.into_iter().map(package).collect()
    }

    fn timing(&self, spec: &FaultSpec, index: usize, faults: usize) -> Timing {
        Timing {
            time_limit: self.ctx.time_limit,
            election_timeout: self.ctx.election_timeout,
            index,
            faults,
            leaders: self.ctx.leaders,
            interval: spec.options.duration_if(INTERVAL),
            duration: spec.options.duration_if(DURATION),
        }
    }
}

fn wrong(spec: &FaultSpec, message: String) -> BuildError {
    BuildError {
        spec: format!("--nemesis {spec}"),
        message,
    }
}

fn make(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, BuildError> {
    let info = catalogue::find(&spec.name);
    let made = info.ok_or("no such fault".to_owned());
    made.and_then(|info| (info.make)(spec, ctx))
        .map_err(|message| wrong(spec, message))
}

fn packed(
    spec: &FaultSpec,
    fault: Box<dyn Fault>,
    (schedule, planned): (Schedule, Vec<Activity>),
) -> Package {
    Package {
        name: spec.label.as_str().into(),
        fault,
        schedule: Box::new(schedule),
        planned,
        final_ops: vec![Op::new(STOP, serde_json::Value::Null)],
    }
}
