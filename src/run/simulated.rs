//! A run of a simulated system: everything in this thread, on virtual time.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use harness::capability::Environment;
use harness::seed::Seed;
use store::RunFolder;
use store::recorder::{self, Recorder};
use workloads::{BuildRequest, World};

use super::drive::{Drive, Driven, drive};
use super::status::Status;
use super::{Nemeses, RunRequest};

/// Runs it to the end.
pub(super) fn run(request: &RunRequest<'_>, folder: &RunFolder, world: &World) -> Result<Driven> {
    let World::Simulated {
        runtime,
        environment,
        election_timeout,
        ..
    } = world
    else {
        bail!("{} is not simulated", request.suite.name());
    };
    let spec = &request.spec;
    let clock = Arc::new(runtime.clock());
    let seed = Seed::new(spec.seed);
    let plan = request.suite.plan(
        world,
        &BuildRequest {
            workload: &spec.workload,
            options: &spec.options,
            nodes: &[],
            node_names: &environment.nodes,
            workers: spec.workers,
            time_limit: spec.time_limit,
            op_timeout: spec.op_timeout,
            seed: seed.named("workload"),
            run: spec.seed,
            clock: clock.clone(),
        },
    )?;
    let mut nemeses = Nemeses::new(request, environment, *election_timeout, clock.clone())?;
    runtime
        .block_on(super::probe(&mut nemeses.faults, environment))
        .context("the simulation stalled; this is a defect of the suite")??;
    super::show_schedule(&nemeses.faults, &request.output);
    let recorder = Recorder::create(folder.history_path(), recorder::Options::default())
        .with_context(|| format!("cannot create {}", folder.history_path().display()))?;
    let online = super::online(request, folder)?;
    runtime
        .block_on(async {
            drive(Drive {
                spec,
                output: request.output,
                clock,
                environment: (**environment).clone(),
                plan,
                nemeses,
                recorder,
                status: Status::new(),
                stop: request.stop.clone(),
                online,
                election_timeout: *election_timeout,
                restart: Box::pin(restart(environment)),
            })
            .await
        })
        .context("the simulation stalled; this is a defect of the suite")?
}

/// Starts every node that does not run.
async fn restart(environment: &Environment) -> Result<(), String> {
    if let Some(processes) = &environment.processes {
        for node in &environment.nodes {
            let started = processes.start(node).await;
            started.map_err(|error| format!("{node}: {error}"))?;
        }
    }
    Ok(())
}
