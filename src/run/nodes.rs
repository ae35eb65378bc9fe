//! A run on real nodes: sessions, locks, the system's life, and leaving nothing behind.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::future::join_all;
use harness::capability::Environment;
use harness::client::Connect;
use harness::db::{Db, DbError, Finding};
use harness::interpreter::{Stage, Stop};
use harness::node::lock::Lock;
use harness::node::undo::{self, Healing};
use harness::remote::{Node, RemoteError};
use harness::seed::Seed;
use harness::time::{Clock, RealClock};
use nemeses::ssh::Journaled;
use store::RunFolder;
use store::recorder::{self, Recorder};
use workloads::{BuildRequest, World};

use super::drive::{Drive, Driven, drive};
use super::status::Status;
use super::{Interrupted, Nemeses, RunRequest, found};

/// How long each phase of setting up may take on a node.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const START_LIMIT: Duration = Duration::from_secs(120);
const HEALTHY_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to make what clients need.
const PREPARE_LIMIT: Duration = Duration::from_secs(60);
/// Between two tries to make it.
const PREPARE_PAUSE: Duration = Duration::from_millis(500);
/// How long stopping, removing and fetching logs may take.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(60);
/// The largest log file that is brought down.
const LOG_BYTES_MAX: u64 = 256 << 20;

/// Runs it to the end, on a runtime of its own.
pub(super) fn run(
    request: &RunRequest<'_>,
    folder: &RunFolder,
    world: &World,
    db: Arc<dyn Db>,
) -> Result<Driven> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let driven = runtime.block_on(on_nodes(request, folder, world, db));
    // Threads that a node has left hanging are not waited for.
    runtime.shutdown_timeout(Duration::from_secs(2));
    driven
}

async fn on_nodes(
    request: &RunRequest<'_>,
    folder: &RunFolder,
    world: &World,
    db: Arc<dyn Db>,
) -> Result<Driven> {
    let nodes = unless(
        Stage::Stop,
        &request.stop,
        request.inventory.connect(&request.output),
    )
    .await?;
    let run_id = folder.name();
    let locks = lock(&nodes, &run_id, request.force_unlock).await?;
    let journaled = nemeses::ssh::journaled(&nodes, &run_id);
    let site = Site {
        request,
        folder,
        environment: nemeses::ssh::ssh_environment(
            &journaled,
            db.clone(),
            request.inventory.power(),
        ),
        db,
        journaled,
        nodes,
    };
    let driven = site.run(world).await;
    let left = site.leave().await;
    let released = join_all(locks.into_iter().map(Lock::release)).await;
    for (node, released) in site.nodes.iter().zip(released) {
        if let Err(error) = released {
            tracing::warn!("{}: the lock was not released: {error}", node.name);
        }
    }
    if driven.is_err() {
        for failure in left.lost.iter().chain(&left.failures) {
            tracing::error!("{failure}");
        }
    }
    let mut driven = driven?;
    driven.notes.extend(left.findings);
    // That a node was lost explains what else went wrong.
    driven.failures.splice(0..0, left.lost);
    driven.failures.extend(left.failures);
    Ok(driven)
}

/// Does something until it is done, or a stage of stopping is reached.
async fn unless<T>(
    stage: Stage,
    stop: &Stop,
    action: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = stop.reached(stage) => bail!(Interrupted::Unrecorded),
        done = action => done,
    }
}

/// Does something on all nodes at once, each within a time limit. An error tells what went wrong on
/// each.
async fn on_all<'a, F, T>(
    what: &str,
    nodes: &'a [Node],
    limit: Duration,
    action: impl Fn(&'a Node) -> F,
) -> Result<Vec<T>>
where
    F: Future<Output = Result<T, DbError>> + 'a,
{
    let started = std::time::Instant::now();
    let bounded = nodes.iter().map(|node| {
        let action = tokio::time::timeout(limit, action(node));
        async move {
            match action.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("{}: not done within {limit:?}", node.name)),
            }
        }
    });
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for ended in join_all(bounded).await {
        match ended {
            Ok(value) => done.push(value),
            Err(error) => errors.push(error),
        }
    }
    tracing::info!("{what}: {:?}", started.elapsed());
    if errors.is_empty() {
        Ok(done)
    } else {
        Err(anyhow!("cannot {what}: {}", errors.join("\n")))
    }
}

/// Has made what clients need, while all nodes are well.
async fn prepare(connect: &dyn Connect) -> Result<()> {
    let mut said = None;
    let made = async {
        while let Err(why) = connect.prepare().await {
            said = Some(why);
            tokio::time::sleep(PREPARE_PAUSE).await;
        }
    };
    match tokio::time::timeout(PREPARE_LIMIT, made).await {
        Ok(()) => Ok(()),
        Err(_) => bail!(
            "what clients need could not be made within {PREPARE_LIMIT:?}: {}",
            said.as_deref().unwrap_or("no answer")
        ),
    }
}

async fn lock(nodes: &[Node], run_id: &str, force: bool) -> Result<Vec<Lock>> {
    let taken = join_all(
        nodes
            .iter()
            .map(|node| Lock::acquire(node.remote.clone(), run_id, force)),
    );
    let mut locks = Vec::new();
    let mut refused = None;
    for lock in taken.await {
        match lock {
            Ok(lock) => locks.push(lock),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let Some(error) = refused else {
        return Ok(locks);
    };
    // All or none: a run does not hold nodes that it cannot use.
    join_all(locks.into_iter().map(Lock::release)).await;
    Err(error.into())
}

/// What went wrong while the nodes were left.
#[derive(Default)]
struct Left {
    /// Nodes that do not answer any more.
    lost: Vec<String>,
    /// What else did.
    failures: Vec<String>,
    /// What was found on them that says something of the run, a sentence each.
    findings: Vec<String>,
}

/// The nodes of a run, locked.
struct Site<'a> {
    request: &'a RunRequest<'a>,
    folder: &'a RunFolder,
    db: Arc<dyn Db>,
    nodes: Vec<Node>,
    /// The same, with what the run keeps on them.
    journaled: Vec<Journaled>,
    /// What faults can act on.
    environment: Environment,
}

impl Site<'_> {
    async fn run(&self, world: &World) -> Result<Driven> {
        let (spec, output) = (&self.request.spec, &self.request.output);
        let stop = &self.request.stop;
        unless(Stage::Stop, stop, self.heal_leftovers()).await?;
        let mut found = found::ask(&self.nodes, output).await;
        found::record(self.folder, spec, &found)?;
        output.say(&format!(
            "set up  {} on {} nodes",
            spec.suite,
            self.nodes.len()
        ));
        // A package manager that is killed in mid-work leaves the node to be repaired by hand.
        unless(Stage::Abandon, stop, self.install()).await?;
        let versions = unless(Stage::Stop, stop, self.start()).await?;
        for (found, version) in found.iter_mut().zip(versions) {
            found.system = Some(version);
        }
        found::record(self.folder, spec, &found)?;
        let clock: Arc<dyn Clock> = Arc::new(RealClock::start());
        let environment = self.environment.clone();
        let election_timeout = self.db.election_timeout();
        let mut nemeses =
            Nemeses::new(self.request, &environment, election_timeout, clock.clone())?;
        super::probe(&mut nemeses.faults, &environment).await?;
        if stop.stage() != Stage::Run {
            bail!(Interrupted::Unrecorded);
        }
        super::show_schedule(&nemeses.faults, output);
        let plan = self.request.suite.plan(
            world,
            &BuildRequest {
                workload: &spec.workload,
                options: &spec.options,
                nodes: &self.nodes,
                node_names: &environment.nodes,
                workers: spec.workers,
                time_limit: spec.time_limit,
                op_timeout: spec.op_timeout,
                seed: Seed::new(spec.seed).named("workload"),
                run: run_nonce(),
                clock: clock.clone(),
            },
        )?;
        unless(Stage::Stop, stop, prepare(&*plan.connect)).await?;
        let status = Status::new();
        let options = recorder::Options {
            observers: vec![status.observer()],
            ..recorder::Options::default()
        };
        let recorder = Recorder::create(self.folder.history_path(), options)
            .with_context(|| format!("cannot create {}", self.folder.history_path().display()))?;
        // The clock began before the faults were probed and all was prepared, so the first event's time is not zero.
        drive(Drive {
            spec,
            output: *output,
            clock,
            environment,
            plan,
            nemeses,
            recorder,
            status,
            stop: self.request.stop.clone(),
            online: super::online(self.request, self.folder)?,
            election_timeout,
            restart: Box::pin(self.recover()),
        })
        .await
    }

    /// Undoes what an earlier run that was killed may have left standing.
    async fn heal_leftovers(&self) -> Result<()> {
        for healed in join_all(self.nodes.iter().map(|node| undo::heal_node(&*node.remote))).await {
            for healed in healed? {
                let what = super::describe_healed(&healed);
                // A fault of somebody else's in force would be blamed on this run.
                if matches!(
                    healed.healing,
                    Healing::Stands { .. } | Healing::Unreadable { .. }
                ) {
                    bail!("an earlier run has left a fault that cannot be undone: {what}");
                }
                self.request
                    .output
                    .say(&format!("healed  what an earlier run had left: {what}"));
            }
        }
        Ok(())
    }

    async fn install(&self) -> Result<()> {
        let install = |node| self.db.install(node);
        on_all("install the system", &self.nodes, INSTALL_LIMIT, install).await?;
        Ok(())
    }

    /// Returns the version that runs on each node.
    async fn start(&self) -> Result<Vec<String>> {
        let (nodes, db) = (&self.nodes, &self.db);
        on_all("wipe the system", nodes, START_LIMIT, |node| db.wipe(node)).await?;
        let faults = nemeses::parse(&self.request.spec.nemesis)?;
        let prepared = nemeses::prepare(&faults, &self.environment).await;
        prepared.map_err(|why| anyhow!(why))?;
        on_all("start the system", nodes, START_LIMIT, |node| {
            db.start_fresh(node, nodes)
        })
        .await?;
        on_all("see the system healthy", nodes, HEALTHY_LIMIT, |node| {
            db.healthy(node)
        })
        .await?;
        let versions = on_all("ask for the version", nodes, START_LIMIT, |node| {
            db.version(node)
        })
        .await?;
        let mut different = versions.clone();
        different.sort_unstable();
        different.dedup();
        self.request
            .output
            .say(&format!("healthy {}", different.join(", ")));
        Ok(versions)
    }

    /// After all faults are healed: every node runs and is a healthy member again.
    async fn recover(&self) -> Result<(), String> {
        let (nodes, db) = (&self.nodes, &self.db);
        let limit = self.request.spec.recovery_limit;
        let recover = |node| async move {
            db.start(node, nodes).await?;
            db.healthy(node).await
        };
        let recovered = on_all("see the system recovered", nodes, limit, recover).await;
        recovered
            .map(|_| ())
            .map_err(|error| crate::words::describe(&error))
    }

    /// Brings the logs down and leaves the nodes as they were. Returns what went wrong.
    async fn leave(&self) -> Left {
        let mut left = Left::default();
        let mut present = Vec::new();
        if let Err(error) = nemeses::dismantle(&self.environment).await {
            left.failures.push(error);
        }
        nemeses::ssh::leave(&self.journaled).await;
        let healed = join_all(self.nodes.iter().map(|node| undo::heal_node(&*node.remote))).await;
        for (node, healed) in self.nodes.iter().zip(healed) {
            match healed {
                Ok(healed) => {
                    let healed = healed.iter().map(super::describe_healed);
                    left.failures.extend(healed);
                    present.push(node.clone());
                }
                Err(error @ RemoteError::Failed { .. }) => {
                    left.failures.push(error.to_string());
                    present.push(node.clone());
                }
                Err(error) => left.lost.push(format!(
                    "{} was lost during the run, and what stands on it was not undone; once it is back, \
                     `gainsay heal` does\n{error}",
                    node.name
                )),
            }
        }
        let failures = &mut left.failures;
        let logs = join_all(present.iter().map(|node| self.fetch_logs(node))).await;
        for problem in logs.into_iter().flatten() {
            tracing::warn!("{problem}");
        }
        for finding in join_all(present.iter().map(|node| self.fetch_finding(node))).await {
            match finding {
                Ok(finding) => left.findings.extend(finding),
                Err(problem) => tracing::warn!("{problem:#}"),
            }
        }
        if self.request.spec.leave_db_running {
            return left;
        }
        let torn = on_all("remove the system", &present, TEARDOWN_LIMIT, |node| {
            self.db.teardown(node)
        });
        failures.extend(torn.await.err().map(|error| crate::words::describe(&error)));
        left
    }

    async fn fetch_logs(&self, node: &Node) -> Vec<String> {
        let mut problems = Vec::new();
        for path in self.db.log_files() {
            let name = path.rsplit('/').next().unwrap_or("log");
            if let Err(error) = self.fetch(node, &path, name).await {
                problems.push(format!("{}: log {path}: {error:#}", node.name));
            }
        }
        problems
    }

    /// Brings down what is found on a node that says something of the run.
    async fn fetch_finding(&self, node: &Node) -> Result<Option<String>> {
        let asked = tokio::time::timeout(TEARDOWN_LIMIT, self.db.findings(node)).await;
        let found = asked.with_context(|| format!("{}: findings", node.name))?;
        let Some(Finding { text, files }) = found? else {
            return Ok(None);
        };
        for path in files {
            // The last parts of the path: two collections may have files of one name.
            let parts: Vec<&str> = path.rsplitn(4, '/').take(3).collect();
            let name: Vec<&str> = parts.into_iter().rev().collect();
            self.fetch(node, &path, &name.join("-")).await?;
        }
        Ok(Some(text))
    }

    async fn fetch(&self, node: &Node, path: &str, name: &str) -> Result<()> {
        let folder = self.folder.node_folder(&node.name)?;
        let size = harness::node::files::size(&*node.remote, path).await?;
        match size {
            None => Ok(()),
            Some(size) if size > LOG_BYTES_MAX => {
                bail!("{size} bytes are more than is brought down")
            }
            Some(_) => Ok(node.remote.download(path, &folder.join(name)).await?),
        }
    }
}

/// A number that no other run has.
fn run_nonce() -> u64 {
    use rand::Rng;
    rand::rng().next_u64()
}
