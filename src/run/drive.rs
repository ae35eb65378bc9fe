//! The phases of a run that make history: operations and faults, healing, recovery, final reads.
//!
//! The same for real nodes on real time and for a simulated system on virtual time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::{Either, select};
use harness::capability::Environment;
use harness::fault::Fault;
use harness::generator::{BoxGenerator, GeneratorExt, Roster, any, concat, op, shortest_any};
use harness::interpreter::{self, Interpreter, Stage, Stop, Timing};
use harness::recovery::Pace;
use harness::seed::Seed;
use harness::time::SharedClock;
use store::Recorder;
use store::recorder::Summary;
use workloads::Plan;

use super::Nemeses;
use super::online::Online;
use super::recovery::{Recovery, RecoveryReport, Restart};
use super::status::Status;
use crate::check::StoppedEarly;
use crate::cli::Output;
use crate::spec::TestSpec;

/// How long a fault may take to begin or to end.
const FAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to connect.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What drives a run.
pub(super) struct Drive<'a> {
    pub(super) spec: &'a TestSpec,
    pub(super) output: Output,
    pub(super) clock: SharedClock,
    pub(super) environment: Environment,
    pub(super) plan: Plan,
    pub(super) nemeses: Nemeses,
    pub(super) recorder: Recorder,
    pub(super) status: Status,
    pub(super) stop: Stop,
    /// What may end the main phase before its time.
    pub(super) online: Option<Online>,
    /// How long an election takes.
    pub(super) election_timeout: Duration,
    /// Brings every node back after the faults.
    pub(super) restart: Restart<'a>,
}

/// How it went.
pub(super) struct Driven {
    /// What was recorded.
    pub(super) summary: Summary,
    /// What went wrong with the test itself, first things first.
    pub(super) failures: Vec<String>,
    /// Whether the healed system recovered; the error says what did not.
    pub(super) recovered: Result<(), String>,
    /// Who recovered when, unless the run was abandoned before.
    pub(super) recovery: Option<RecoveryReport>,
    /// Why the main phase was ended before its time, if an online checker did that.
    pub(super) stopped: Option<StoppedEarly>,
    /// What else a person should know.
    pub(super) notes: Vec<String>,
    /// How late the controller was in the main phase.
    pub(super) timing: Option<Timing>,
}

/// Runs all phases. Faults are healed whatever happens.
pub(super) async fn drive(mut drive: Drive<'_>) -> Result<Driven> {
    let mut faults: Vec<Box<dyn Fault>> = Vec::new();
    let mut generators: Vec<BoxGenerator> = vec![drive.plan.generator.clients().boxed()];
    let mut endings: Vec<BoxGenerator> = Vec::new();
    for package in drive.nemeses.faults {
        for last in package.final_ops {
            endings.push(op(last).nemesis(package.name.clone()).boxed());
        }
        generators.push(package.schedule);
        faults.push(package.fault);
    }
    let seed = Seed::new(drive.spec.seed).named("main");
    let mut main = any(seed, generators).boxed();
    if let Some(watch) = drive.nemeses.watch {
        // It watches as long as there is anything else to do.
        main = shortest_any(seed.named("watch"), [main, watch.schedule]).boxed();
        faults.push(watch.fault);
    }
    let main = main.time_limit(drive.spec.time_limit);
    let roster = Arc::new(Roster {
        workers: drive.spec.workers,
        nodes: drive.environment.nodes.clone(),
        nemeses: faults.iter().map(|fault| fault.name().into()).collect(),
    });
    let recovery = Recovery {
        nodes: drive.environment.nodes.clone(),
        restart: drive.restart,
        probe: drive.plan.connect.recovery_probe(),
        limit: drive.spec.recovery_limit,
        pace: Pace {
            call: drive.spec.op_timeout,
            confirm: drive.election_timeout,
        },
    };
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
    if !drive.clock.is_virtual() {
        drive.status.show(drive.output, drive.spec.time_limit);
    }
    let phase = interpreter.run(Box::new(main));
    let (phase, stopped, notes) = match drive.online {
        None => (phase.await, None, Vec::new()),
        Some(mut online) => {
            let phase = {
                let watch = pin!(online.watch(&*drive.clock, &drive.recorder, &drive.stop));
                // A phase is not given up: when there is nothing more to watch for, it is waited for alone.
                match select(pin!(phase), watch).await {
                    Either::Left((phase, _)) => phase,
                    Either::Right(((), phase)) => phase.await,
                }
            };
            let (stopped, notes) = online.end();
            (phase, stopped, notes)
        }
    };
    let timing = match phase {
        Ok(phase) => Some(phase.timing),
        Err(error) => {
            failures.push(error.to_string());
            None
        }
    };
    drive.status.end();
    notes
        .iter()
        .for_each(|note| drive.output.say(&format!("note    {note}")));
    if let Some(StoppedEarly { by, reason, at }) = &stopped {
        drive.output.say(&format!(
            "stopped after {at:.3} s, for {by} has proved a violation: {reason}\n        healing, then checking \
             the whole history"
        ));
    }
    if let Err(error) = interpreter.run_final(Box::new(concat(endings))).await {
        failures.push(error.to_string());
    }
    for (fault, healed) in interpreter.heal().await {
        if let Err(error) = healed {
            failures.push(format!("{fault} was not healed: {error}"));
        }
    }
    let (mut report, mut recovered) = (None, Ok(()));
    if drive.stop.stage() < Stage::Abandon {
        tokio::select! {
            (known, ended) = recovery.wait(&*drive.clock) => (report, recovered) = (Some(known), ended),
            () = drive.stop.reached(Stage::Abandon) => recovered = Err("interrupted".to_owned()),
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
        recovery: report,
        stopped,
        notes,
        timing,
    })
}
