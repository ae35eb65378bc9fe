//! The life of a run, from a specification to a verdict and its report.
//!
//! [`execute`] makes the run folder and asks the suite for its world. [`nodes`] sets a system up on real
//! nodes and leaves them as they were; [`simulated`] does without. Both hand over to [`drive`](drive::drive),
//! which makes the history. [`judge`] has it checked, and writes results and report.

mod drive;
mod found;
mod inventory;
pub(crate) mod log;
mod nodes;
mod online;
pub(crate) mod power;
mod recovery;
pub(crate) mod signals;
mod simulated;
pub(crate) mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::capability::Environment;
use harness::interpreter::{Stage, Stop};
use harness::node::undo::{Healed, Healing};
use harness::seed::Seed;
use harness::time::{SharedClock, VirtualRuntime};
use nemeses::Package;
use store::RunFolder;
use workloads::{Suite, World, WorldRequest};

use crate::check::{self, Results, RunFacts};
use crate::cli::{Output, Verbosity};
use crate::compare::{Comparison, Earlier};
use crate::exit::Exit;
use crate::report;
use crate::spec::TestSpec;
use crate::summary::Summary;
use crate::words::describe;

use drive::Driven;
pub(crate) use inventory::{
    Inventory, LocalRequest, describe_missing, local_nodes, prepare, ssh_nodes, up,
};
use online::Online;
pub(crate) use recovery::RecoveryReport;

/// What a run is made from.
pub(crate) struct RunRequest<'a> {
    pub(crate) suite: &'a dyn Suite,
    pub(crate) spec: TestSpec,
    pub(crate) inventory: &'a Inventory,
    pub(crate) store: &'a Path,
    pub(crate) labels: &'a [String],
    /// The earlier run that it is compared with.
    pub(crate) earlier: Option<&'a Earlier>,
    pub(crate) output: Output,
    pub(crate) stop: Stop,
    pub(crate) force_unlock: bool,
}

/// A run that has its verdict.
pub(crate) struct Finished {
    pub(crate) folder: RunFolder,
    pub(crate) results: Results,
    pub(crate) exit: Exit,
}

/// Performs a run. An error means that there is no history to judge.
pub(crate) fn execute(mut request: RunRequest<'_>) -> Result<Finished> {
    request.spec.started = jiff::Timestamp::now().to_string();
    request.spec.controller = Some(harness::node::facts::here());
    let test = format!("{}-{}", request.spec.suite, request.spec.workload);
    let folder = RunFolder::create(request.store, &test, &request.spec)?;
    // Where the file system knows no locks, others cannot tell this run from a dead one; that is no reason not to run.
    let _held = folder.hold().ok();
    if !request.labels.is_empty() {
        folder.write_labels(request.labels)?;
    }
    log::redirect(Some(&folder.log_path())).context("cannot write the run's log")?;
    request
        .output
        .say(&format!("run     {}", folder.path().display()));
    request
        .output
        .say(&format!("seed    {}", request.spec.seed));
    let finished = perform(&request, &folder);
    if let Err(error) = &finished {
        let why = describe(error);
        tracing::error!("{why}");
        if let Err(error) = folder.write_failure(&why) {
            tracing::warn!("{error}");
        }
    }
    // A log that cannot be closed has been written as far as it could be.
    let _ = log::redirect(None);
    finished
}

fn perform(request: &RunRequest<'_>, folder: &RunFolder) -> Result<Finished> {
    let spec = &request.spec;
    let names = spec.nodes.names();
    let world = request.suite.world(&WorldRequest {
        options: &spec.options,
        node_names: &names,
        seed: Seed::new(spec.seed).named("world"),
    })?;
    let driven = match &world {
        World::Simulated { .. } => simulated::run(request, folder, &world),
        World::Nodes(db) => nodes::run(request, folder, &world, db.clone()),
    };
    let mut facts = match driven {
        Ok(driven) => facts(driven),
        // What was recorded before the failure is judged all the same.
        Err(error)
            if folder
                .history_path()
                .metadata()
                .is_ok_and(|file| file.len() > 0) =>
        {
            RunFacts {
                failure: Some(describe(&error)),
                ..RunFacts::default()
            }
        }
        Err(error) => return Err(error),
    };
    let unchecked = || Interrupted::Unchecked(folder.path().to_owned());
    if request.stop.stage() == Stage::Abandon {
        bail!(unchecked());
    }
    facts.notes.extend(synthetic(spec));
    let (suite, output) = (request.suite, &request.output);
    let judged = judge(
        suite,
        spec,
        folder,
        &facts,
        request.earlier,
        output,
        Some(&request.stop),
    );
    if request.stop.stage() == Stage::Abandon {
        bail!(unchecked());
    }
    judged
}

/// What is to be known of a verdict whose faults no machine has.
fn synthetic(spec: &TestSpec) -> Option<String> {
    let faults = nemeses::parse(&spec.nemesis).unwrap_or_default();
    let faults = faults.iter().filter(|fault| nemeses::is_synthetic(fault));
    let names: Vec<&str> = faults.map(|fault| &*fault.text).collect();
    (!names.is_empty()).then(|| {
        format!(
            "synthetic faults, which no real machine has, were asked for: {}",
            names.join(", ")
        )
    })
}

/// A run was interrupted before there was a verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    /// While the nodes were being set up.
    #[error("interrupted before anything was recorded; there is nothing to check")]
    Unrecorded,
    /// By a second Ctrl-C.
    #[error("interrupted before the history was checked; `gainsay analyze {}` checks it", .0.display())]
    Unchecked(PathBuf),
}

fn facts(driven: Driven) -> RunFacts {
    let Driven {
        summary,
        mut failures,
        recovered,
        recovery,
        stopped,
        notes,
        timing,
    } = driven;
    tracing::info!(?summary, ?timing, "recorded");
    failures.extend(summary.lost_observers);
    for failure in &failures {
        tracing::error!("{failure}");
    }
    RunFacts {
        failure: failures.into_iter().next(),
        not_recovered: recovered.err(),
        recovery,
        stopped,
        notes,
        overloaded: timing.filter(|timing| timing.is_overloaded()).map(|timing| {
            format!(
                "the controller took {:?} to stamp completions at the 99th percentile, more than the \
                 median latency of {:?}",
                timing.stamping.p99, timing.latency.p50
            )
        }),
    }
}

/// The checkers that may end a run early, if it was asked for.
fn online(request: &RunRequest<'_>, folder: &RunFolder) -> Result<Option<Online>> {
    let checkers = || check::OnlineChecker::of_run(request.suite, &request.spec, folder);
    let wanted = request.spec.stop_on_violation;
    wanted.then(|| Ok(Online::new(checkers()?))).transpose()
}

/// What acts on the system and looks at it, besides its clients.
struct Nemeses {
    /// The faults of the specification, with their schedules.
    faults: Vec<Package>,
    /// The leader watch, where there are leaders.
    watch: Option<Package>,
}

impl Nemeses {
    fn new(
        request: &RunRequest<'_>,
        environment: &Environment,
        election_timeout: Duration,
        clock: SharedClock,
    ) -> Result<Nemeses> {
        let spec = &request.spec;
        let context = nemeses::BuildContext {
            election_timeout,
            leaders: request.suite.has_leaders() && environment.primaries.is_some(),
            nodes: environment.nodes.clone(),
            ..build_context(spec, clock)
        };
        Ok(Nemeses {
            faults: nemeses::build(&nemeses::parse(&spec.nemesis)?, &context)?,
            watch: context.leaders.then(|| nemeses::leader_watch(&context)),
        })
    }
}

/// What faults are built for, as far as the specification says.
fn build_context(spec: &TestSpec, clock: SharedClock) -> nemeses::BuildContext {
    nemeses::BuildContext {
        seed: Seed::new(spec.seed).named("nemesis"),
        time_limit: spec.time_limit,
        election_timeout: Duration::from_secs(1),
        leaders: false,
        nodes: spec.nodes.names(),
        zones: spec.zones.clone(),
        clock,
        composition: spec.composition.clone(),
    }
}

/// Refuses what a fault cannot do here.
async fn probe(faults: &mut [Package], environment: &Environment) -> Result<()> {
    for package in faults {
        if let Err(why) = package.fault.probe(environment).await {
            bail!("the fault {} cannot act here: {why}", package.name);
        }
    }
    Ok(())
}

/// Tells what the faults will do: to the log, and to whoever wants to know more.
fn show_schedule(packages: &[Package], output: &Output) {
    for package in packages {
        let planned = package.planned.len();
        output.say(&format!(
            "fault   {}: {planned} activities planned",
            package.name
        ));
        for activity in &package.planned {
            tracing::info!("planned {}: {activity}", package.name);
            if output.verbosity >= Verbosity::Verbose {
                output.say(&format!("        {activity}"));
            }
        }
    }
}

/// What became of a fault that stood on a node, for a person.
pub(crate) fn describe_healed(healed: &Healed) -> String {
    let how = match &healed.healing {
        Healing::Undone => "undone".to_owned(),
        Healing::Rebooted => "gone with a reboot of the node".to_owned(),
        Healing::ProcessGone => "gone with its process".to_owned(),
        Healing::Stands { message, undo } => {
            format!("STILL STANDS: {message}\n  undo it by hand: {undo}")
        }
        Healing::Unreadable { contents } => format!("UNREADABLE, kept: {contents}"),
    };
    format!("{} of run {}: {how}", healed.fault, healed.run)
}

/// Whether the faults asked for exist, and can be built for these nodes: told before anything is set up.
pub(crate) fn check_faults(spec: &TestSpec) -> Result<(), String> {
    let faults = nemeses::parse(&spec.nemesis).map_err(|error| error.to_string())?;
    // These are not used: nobody looks at their clock.
    let clock = VirtualRuntime::new().clock();
    let built = nemeses::build(&faults, &build_context(spec, Arc::new(clock)));
    built.map(drop).map_err(|error| error.to_string())
}

fn keep(folder: &RunFolder, results: &mut Results, earlier: Option<&Earlier>) -> Result<()> {
    // The verdict first: what comes next needs memory for the whole history.
    folder.write_results(results)?;
    // As it is now: what was found on the nodes came later than the run's beginning.
    let spec: TestSpec = folder.read_test()?;
    let loaded = store::load_history(&folder.history_path())?;
    let series = report::Series::new(&loaded.history, &spec.nodes.names(), spec.workers);
    results.summary = Some(Summary::of(&series));
    results.comparison = earlier.map(|earlier| Comparison::with(earlier, &spec, results));
    folder.write_results(results)?;
    report::write(folder, &spec, results, &loaded.history, &series)
}

/// Checks the history in a run folder, writes `results.json` and `report.html`. Checkers end early when
/// `stop` says to abandon; what they say is then worth nothing.
pub(crate) fn judge(
    suite: &dyn Suite,
    spec: &TestSpec,
    folder: &RunFolder,
    facts: &RunFacts,
    earlier: Option<&Earlier>,
    output: &Output,
    stop: Option<&Stop>,
) -> Result<Finished> {
    output.say("checking");
    let mut results = check::judge(suite, spec, folder, facts, stop)?;
    // A verdict is told even where there is no room to keep it.
    if let Err(error) = keep(folder, &mut results, earlier) {
        let why = format!(
            "the results cannot be kept: {}\n  hint: see df -h {}; then gainsay analyze {}",
            describe(&error),
            folder.path().display(),
            folder.path().display()
        );
        tracing::error!("{why}");
        results.harness_failure.get_or_insert(why);
    }
    let failed = results.harness_failure.is_some();
    let exit = Exit::from(results.valid).and(if failed { Exit::Failure } else { Exit::Valid });
    Ok(Finished {
        folder: folder.clone(),
        results,
        exit,
    })
}
