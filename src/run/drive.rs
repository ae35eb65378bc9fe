//! The phases of a run that make history: operations and faults, healing, recovery, final reads.
//!
//! The same for real nodes on real time and for a simulated system on virtual time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::capability::Environment;
use harness::fault::Fault;
use harness::generator::{BoxGenerator, GeneratorExt, Roster, any, concat, op};
use harness::interpreter::{self, Interpreter, Stage, Stop, Timing};
use harness::seed::Seed;
use harness::time::SharedClock;
use nemeses::Package;
use store::Recorder;
use store::recorder::Summary;
use workloads::Plan;

use super::status::Status;
use crate::cli::Output;
use crate::spec::TestSpec;

/// How long a fault may take to begin or to end.
const FAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to connect.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until the healed system has recovered; the error says what has not.
pub(super) type Recovery<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// What drives a run.
pub(super) struct Drive<'a> {
    pub(super) spec: &'a TestSpec,
    pub(super) output: Output,
    pub(super) clock: SharedClock,
    pub(super) environment: Environment,
    pub(super) plan: Plan,
    pub(super) packages: Vec<Package>,
    pub(super) recorder: Recorder,
    pub(super) status: Status,
    pub(super) stop: Stop,
    pub(super) recovery: Recovery<'a>,
}

/// How it went.
pub(super) struct Driven {
    /// What was recorded.
    pub(super) summary: Summary,
    /// What went wrong with the test itself, first things first.
    pub(super) failures: Vec<String>,
    /// Whether the healed system recovered; the error says what did not.
    pub(super) recovered: Result<(), String>,
    /// How late the controller was in the main phase.
    pub(super) timing: Option<Timing>,
}

/// Runs all phases. Faults are healed whatever happens.
pub(super) async fn drive(mut drive: Drive<'_>) -> Result<Driven> {
    let mut faults: Vec<Box<dyn Fault>> = Vec::new();
    let mut generators: Vec<BoxGenerator> = vec![drive.plan.generator.clients().boxed()];
    let mut endings: Vec<BoxGenerator> = Vec::new();
    for package in drive.packages {
        for last in package.final_ops {
            endings.push(op(last).nemesis(package.name.clone()).boxed());
        }
        generators.push(package.schedule);
        faults.push(package.fault);
    }
    let roster = Arc::new(Roster {
        workers: drive.spec.workers,
        nodes: drive.environment.nodes.clone(),
        nemeses: faults.iter().map(|fault| fault.name().into()).collect(),
    });
    let mut interpreter = Interpreter::new(interpreter::Config {
        clock: drive.clock.clone(),
        roster,
        connect: drive.plan.connect,
        faults,
        environment: drive.environment,
        recorder: drive.recorder.clone(),
        op_timeout: drive.spec.op_timeout,
        open_timeout: OPEN_TIMEOUT,
        fault_timeout: FAULT_TIMEOUT,
        stop: drive.stop.clone(),
    });
    let mut failures = Vec::new();
    let seed = Seed::new(drive.spec.seed).named("main");
    let main = any(seed, generators).time_limit(drive.spec.time_limit);
    if !drive.clock.is_virtual() {
        drive.status.show(drive.output, drive.spec.time_limit);
    }
    let timing = match interpreter.run(Box::new(main)).await {
        Ok(phase) => Some(phase.timing),
        Err(error) => {
            failures.push(error.to_string());
            None
        }
    };
    drive.status.end();
    if let Err(error) = interpreter.run_final(Box::new(concat(endings))).await {
        failures.push(error.to_string());
    }
    for (fault, healed) in interpreter.heal().await {
        if let Err(error) = healed {
            failures.push(format!("{fault} was not healed: {error}"));
        }
    }
    let mut recovered = Ok(());
    if drive.stop.stage() < Stage::Abandon {
        recovered = tokio::select! {
            recovered = drive.recovery => recovered,
            () = drive.stop.reached(Stage::Abandon) => Err("interrupted".to_owned()),
        };
        if let (Ok(()), Some(last)) = (&recovered, drive.plan.final_generator)
            && let Err(error) = interpreter.run_final(Box::new(last.clients())).await
        {
            failures.push(error.to_string());
        }
    }
    interpreter.close().await;
    let summary = drive
        .recorder
        .finish()
        .context("the history is incomplete")?;
    Ok(Driven {
        summary,
        failures,
        recovered,
        timing,
    })
}
