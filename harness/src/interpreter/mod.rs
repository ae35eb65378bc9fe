//! The interpreter: asks a generator for operations, has workers perform them, and records what
//! happens.
//!
//! # Who does what
//!
//! There is a worker for each client thread and one for each fault, a task each on the run's
//! [`Clock`](crate::time::Clock), so that several faults act at once and none waits for a client.
//! The interpreter itself is one more task, which alone touches the generator: it peeks, accepts,
//! puts the operation on the worker's desk, and takes completed operations from a common outbox.
//!
//! # When events are stamped
//!
//! Workers stamp, not the interpreter: the `invoke` directly before the client is called (but after it
//! was opened) and the completion directly after it returned, so that no queue of ours stretches an
//! operation. A completion is stamped and put in the outbox under one lock; generators are told in
//! the order of the history. What delay remains is measured: [`Timing`].
//!
//! # How operations end
//!
//! | what happens | recorded as | process | client |
//! | --- | --- | --- | --- |
//! | the client says `ok` or `fail` | that | stays | stays |
//! | no client could be opened | `fail`, `no-client` | stays | |
//! | the client says `info` | that | retired | dropped |
//! | time limit | `info`, `timeout` | retired | dropped |
//! | the client panics | `info`, `panic` | retired | dropped |
//! | the run is abandoned | `info`, `interrupted` | retired | dropped |
//!
//! A retired process is never used again; its worker goes on as process + workers, with a client of
//! its own. A fault's process `nemesis/<name>` is never retired.
//!
//! An operation that no server answered (a `fail` without a node, other than a failed precondition)
//! makes its worker rest before the next: 1 ms from the beginning of the first in a row, then 2, 4,
//! up to 100. Its generator is told at once, but sees the thread busy until then.
//!
//! # Blocking
//!
//! A client or fault that blocks its thread instead of awaiting cannot be interrupted by anybody. It
//! keeps a thread of the runtime, makes the stamps of others late (which shows in [`Timing`]), and
//! at the end of the phase is reported as [`InterpreterError::Unresponsive`].

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use store::recorder::RecordError;
use store::{Name, OpError, Recorder};
use thiserror::Error;

use crate::capability::Environment;
use crate::client::SharedConnect;
use crate::fault::Fault;
use crate::generator::{BoxGenerator, Occupancy, Roster, Thread, ThreadSet};
use crate::time::{Nanos, SharedClock, Task, nanos};

mod attempt;
mod backoff;
mod desk;
mod drive;
mod nemesis;
mod outbox;
mod source;
mod stop;
#[cfg(test)]
mod tests;
mod timing;
mod worker;

use attempt::Attempts;
use backoff::Backoff;
use desk::{Desk, Job};
use drive::Abandoning;
use nemesis::FaultWorker;
use outbox::{Completed, Outbox};
use source::Source;
use timing::Meter;
use worker::ClientWorker;

pub use stop::{Stage, Stop};
pub use timing::{Counts, Quantiles, Timing};

/// The class of an operation that was under way when the run was abandoned.
pub const INTERRUPTED: &str = "interrupted";
/// The class of an operation whose client or fault panicked.
pub const PANIC: &str = "panic";
/// The function under which [`Interpreter::heal`] is recorded.
pub const HEAL: &str = "heal";

/// How long past all time limits a worker may be silent before it counts as unresponsive.
const GRACE: Duration = Duration::from_secs(2);

/// What an interpreter needs.
pub struct Config {
    /// Time and tasks.
    pub clock: SharedClock,
    /// The threads: client workers, with the nodes that they are pinned to, and faults.
    pub roster: Arc<Roster>,
    /// Opens clients.
    pub connect: SharedConnect,
    /// The faults, in the roster's order.
    pub faults: Vec<Box<dyn Fault>>,
    /// The world, as faults see it.
    pub environment: Environment,
    /// Where the history goes.
    pub recorder: Recorder,
    /// How long an operation may take.
    pub op_timeout: Duration,
    /// How long opening a client may take, or closing one.
    pub open_timeout: Duration,
    /// How long an activity of a fault, or healing it, may take.
    pub fault_timeout: Duration,
    /// Ends the run from outside.
    pub stop: Stop,
}

/// Why a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseEnd {
    /// The generator had nothing more.
    Exhausted,
    /// It was stopped before; all operations ended by themselves.
    Stopped,
    /// It was abandoned: before the generator had nothing more, or with operations under way.
    Abandoned,
}

/// What a phase amounted to.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// When it began, in nanoseconds since the run began.
    pub began: Nanos,
    /// When the last of its operations had ended.
    pub ended: Nanos,
    /// Why.
    pub end: PhaseEnd,
    /// Clients' operations.
    pub operations: Counts,
    /// How late the controller was.
    pub timing: Timing,
}

/// What ends a phase early. Operations under way have ended, and the history is as good as ever,
/// unless it says otherwise. Faults can still be healed.
#[derive(Debug, Error)]
pub enum InterpreterError {
    /// A defect of the generator or of a combinator.
    #[error("the generator waits, but all threads are free and nothing can change that")]
    Stuck,
    /// A defect of the generator.
    #[error("the generator gave a wrong answer: {0}")]
    WrongAnswer(&'static str),
    /// A defect of the generator.
    #[error("the generator panicked: {0}")]
    GeneratorPanicked(String),
    /// The history cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Operations of these threads did not end, though their time was over: their clients or faults
    /// block instead of waiting. They stay open in the history.
    #[error("threads {0:?} do not answer: their clients or faults block their thread")]
    Unresponsive(Vec<Thread>),
}

/// Drives generators, phase after phase. Workers, their clients and processes live from the first
/// phase to [`close`](Interpreter::close).
///
/// On a multi-threaded runtime it is fastest when [`run`](Interpreter::run) is called from a
/// spawned task.
pub struct Interpreter {
    clock: SharedClock,
    roster: Arc<Roster>,
    stop: Stop,
    /// The longest that an operation may take, all told.
    limit: Duration,
    close_limit: Duration,
    outbox: Arc<Outbox>,
    desks: Vec<Arc<Desk>>,
    /// Completed operations that are being told of. Kept to be filled again.
    batch: Vec<Completed>,
    occupancy: Occupancy,
    /// Threads with an operation under way.
    busy: ThreadSet,
    outstanding: usize,
    /// Since when each thread is free.
    free_since: Vec<Nanos>,
    backoff: Backoff,
    /// The time of the contexts that generators see. Never runs backwards.
    time: Nanos,
    recorder_check: Nanos,
    meter: Meter,
    counts: Counts,
    /// The timer last waited for: generators often name the same time again and again.
    timer: Option<(Nanos, Task)>,
}

impl Interpreter {
    /// Starts the workers. Clients are opened when they are first needed.
    ///
    /// # Panics
    /// When there are workers but no nodes, or when the roster's nemeses are not the faults.
    pub fn new(config: Config) -> Interpreter {
        let Config { clock, roster, .. } = &config;
        assert!(
            roster.workers == 0 || !roster.nodes.is_empty(),
            "workers need nodes"
        );
        let names = config.faults.iter().map(|fault| fault.name());
        assert!(
            names.eq(roster.nemeses.iter().map(|name| &**name)),
            "the roster's nemeses are the faults"
        );
        let threads = roster.threads();
        let mut limit = config.open_timeout.saturating_add(config.op_timeout);
        if !roster.nemeses.is_empty() {
            limit = limit.max(config.fault_timeout);
        }
        Interpreter {
            clock: Arc::clone(clock),
            roster: Arc::clone(roster),
            stop: config.stop.clone(),
            limit,
            close_limit: config.open_timeout,
            batch: Vec::new(),
            occupancy: Occupancy::new(Roster::clone(roster)),
            busy: ThreadSet::default(),
            outstanding: 0,
            free_since: vec![0; threads],
            backoff: Backoff::new(roster.workers),
            time: clock.now(),
            recorder_check: 0,
            meter: Meter::new(),
            counts: Counts::default(),
            timer: None,
            outbox: Arc::new(Outbox::new(Arc::clone(clock), config.recorder.clone())),
            desks: (0..threads).map(|_| Desk::new(Arc::clone(clock))).collect(),
        }
        .staffed(config)
    }

    /// With a worker at each desk.
    fn staffed(self, config: Config) -> Interpreter {
        let attempts =
            |desk: &Arc<Desk>| Attempts::new(Arc::clone(desk), Arc::clone(&config.clock));
        let (clients, faults) = self.desks.split_at(self.roster.workers);
        for (thread, desk) in clients.iter().enumerate() {
            let worker = ClientWorker {
                thread,
                node: self.roster.nodes[thread % self.roster.nodes.len()].clone(),
                process: thread as u64,
                process_step: self.roster.workers as u64,
                connect: Arc::clone(&config.connect),
                client: None,
                op_timeout: config.op_timeout,
                open_timeout: config.open_timeout,
                attempts: attempts(desk),
                desk: Arc::clone(desk),
                outbox: Arc::clone(&self.outbox),
            };
            self.clock.spawn(Box::pin(worker.work()));
        }
        for ((index, fault), desk) in config.faults.into_iter().enumerate().zip(faults) {
            let worker = FaultWorker {
                thread: self.roster.workers + index,
                name: self.roster.nemeses[index].clone(),
                fault,
                environment: config.environment.clone(),
                timeout: config.fault_timeout,
                attempts: attempts(desk),
                desk: Arc::clone(desk),
                outbox: Arc::clone(&self.outbox),
            };
            self.clock.spawn(Box::pin(worker.work()));
        }
        self
    }

    /// Runs a phase: until the generator has nothing more, or [`Stop`] says so, and then until all
    /// operations under way have ended. Returns at once when the run was already stopped.
    ///
    /// Not to be cancelled by dropping the future, which would leave operations under way to the next
    /// phase: that is what [`Stop`] is for.
    ///
    /// # Errors
    /// See [`InterpreterError`].
    pub async fn run(&mut self, generator: BoxGenerator) -> Result<Phase, InterpreterError> {
        self.phase(generator, Stage::Stop).await
    }

    /// Runs a phase that belongs to the end of a run, such as its final reads: only
    /// [`Stop::abandon`] ends it early.
    ///
    /// # Errors
    /// See [`InterpreterError`].
    pub async fn run_final(&mut self, generator: BoxGenerator) -> Result<Phase, InterpreterError> {
        self.phase(generator, Stage::Abandon).await
    }

    async fn phase(
        &mut self,
        generator: BoxGenerator,
        ends_at: Stage,
    ) -> Result<Phase, InterpreterError> {
        let began = self.tick();
        self.meter = Meter::new();
        self.counts = Counts::default();
        let mut source = Source::new(generator);
        let driven = self.drive(&mut source, ends_at).await;
        let settled = self
            .settle(Abandoning::Allowed, &mut |ctx, completed| {
                source.update(ctx, completed);
            })
            .await;
        self.timer = None;
        let exhausted = driven?;
        let abandoned = settled?;
        source.check()?;
        self.check_recorder()?;
        let end = match self.stop.stage() {
            Stage::Abandon if abandoned || !exhausted => PhaseEnd::Abandoned,
            Stage::Stop if !exhausted => PhaseEnd::Stopped,
            _ => PhaseEnd::Exhausted,
        };
        Ok(Phase {
            began,
            ended: self.tick(),
            end,
            operations: self.counts,
            timing: self.meter.timing(),
        })
    }

    /// Undoes whatever faults stand, all at once, and says how that went for each fault. Recorded in
    /// the history as operations `heal` of the faults' processes: `ok`, or `info` if something may
    /// still stand. Never cut short, not by [`Stop::abandon`] either.
    pub async fn heal(&mut self) -> Vec<(Name, Result<(), OpError>)> {
        let silent = || Err(OpError::new(OpError::TIMEOUT, "the fault does not answer"));
        let faults = self.roster.workers..self.desks.len();
        let mut outcomes: Vec<_> = faults.clone().map(|_| silent()).collect();
        for thread in faults.clone() {
            if self.occupancy.free().contains(thread) {
                self.put(thread, Job::Heal);
            }
        }
        let settled = self
            .settle(Abandoning::Refused, &mut |_, completed| {
                if let Some(index) = completed.thread.checked_sub(faults.start) {
                    outcomes[index] = completed.error.clone().map_or(Ok(()), Err);
                }
            })
            .await;
        self.timer = None;
        if let Err(error) = settled {
            tracing::error!("healing: {error}");
        }
        self.roster.nemeses.iter().cloned().zip(outcomes).collect()
    }

    /// Closes all clients and ends the workers. Bounded by the time limit of opening a client.
    pub async fn close(mut self) {
        self.dismiss();
        let present = self.occupancy.threads().len();
        let deadline = self
            .tick()
            .saturating_add(nanos(self.close_limit.saturating_add(GRACE)));
        let mut timer = self.clock.sleep_until(deadline);
        poll_fn(|cx| {
            self.outbox.wakes(cx.waker());
            if self.outbox.gone() >= present {
                return Poll::Ready(());
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }

    fn dismiss(&self) {
        self.desks.iter().for_each(|desk| desk.put(Job::Quit));
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.dismiss();
    }
}
