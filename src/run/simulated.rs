//! A run of a simulated system: everything in this thread, on virtual time.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use harness::seed::Seed;
use store::RunFolder;
use store::recorder::{self, Recorder};
use workloads::{BuildRequest, World};

use super::RunRequest;
use super::drive::{Drive, Driven, drive};
use super::status::Status;

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
    let packages = super::packages(spec, &environment.nodes, *election_timeout, clock.clone())?;
    let recorder = Recorder::create(folder.history_path(), recorder::Options::default())
        .with_context(|| format!("cannot create {}", folder.history_path().display()))?;
    runtime
        .block_on(async {
            drive(Drive {
                spec,
                output: request.output,
                clock,
                environment: environment.clone(),
                plan,
                packages,
                recorder,
                status: Status::new(),
                stop: request.stop.clone(),
                recovery: Box::pin(std::future::ready(Ok(()))),
            })
            .await
        })
        .context("the simulation stalled; this is a defect of the suite")?
}
