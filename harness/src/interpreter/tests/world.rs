//! A small world for these tests: clients and faults that do as their operation says, generators from
//! lists, and histories as lines of text.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use store::recorder::Options;
use store::{Event, EventType, History, Name, OpError, Recorder, Value, json};

use crate::capability::Environment;
use crate::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use crate::fault::{Fault, FaultOutcome};
use crate::generator::{BoxGenerator, Context, Generator, Peek, Planned, Roster, Thread, Update};
use crate::interpreter::{Config, Interpreter, Stop};
use crate::time::{Nanos, SharedClock, VirtualRuntime, sleep};

pub(super) const MS: Nanos = 1_000_000;

/// What an operation's function and value mean to the clients and faults here: after `value`
/// milliseconds (0 if it is no number) it ends as `f` says.
async fn act(clock: &SharedClock, op: &Op) {
    let wait = op.value.as_u64().unwrap_or(0);
    if wait > 0 {
        sleep(&**clock, Duration::from_millis(wait)).await;
    }
    match &*op.f {
        "hang" => std::future::pending().await,
        "panic" => panic!("as told"),
        _ => {}
    }
}

/// What became of the clients that were opened.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// The next so many attempts to open a client are refused.
    pub(super) refuse: AtomicU64,
    /// Opening takes this many milliseconds.
    pub(super) slow: AtomicU64,
    /// Opening panics.
    pub(super) panics: AtomicU64,
}

impl Tally {
    pub(super) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::SeqCst)
    }

    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) struct Clients {
    pub(super) clock: SharedClock,
    pub(super) tally: Arc<Tally>,
}

struct Actor {
    clock: SharedClock,
    tally: Arc<Tally>,
    node: Name,
    panics_when_dropped: bool,
}

#[async_trait]
impl Connect for Clients {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let slow = Tally::get(&self.tally.slow);
        sleep(&*self.clock, Duration::from_millis(slow)).await;
        assert_eq!(Tally::get(&self.tally.panics), 0, "cannot open");
        let refuse = &self.tally.refuse;
        let refused = refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if refused.is_ok() {
            return Err(OpError::new("refused", "nobody listens"));
        }
        Tally::add(&self.tally.opened);
        Ok(Box::new(Actor {
            clock: self.clock.clone(),
            tally: self.tally.clone(),
            node: info.node.clone(),
            panics_when_dropped: false,
        }))
    }
}

#[async_trait]
impl Client for Actor {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let op = &invocation.op;
        act(&self.clock, op).await;
        let value = op.value.clone();
        let error = OpError::new(op.f.to_string(), "as told");
        match &*op.f {
            "fail" => Completion::fail(value, error).from_node(self.node.clone()),
            "refuse" => Completion::fail(value, error),
            "precondition" => Completion::fail(value, OpError::new(OpError::PRECONDITION, "")),
            "info" => Completion::info(value, error),
            "invoke" => Completion {
                kind: EventType::Invoke,
                ..Completion::ok(value)
            },
            "bomb" => {
                self.panics_when_dropped = true;
                Completion::info(value, error)
            }
            _ => Completion::ok(value).from_node(self.node.clone()),
        }
    }

    async fn close(&mut self) {
        sleep(&*self.clock, Duration::from_millis(1)).await;
        Tally::add(&self.tally.closed);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        Tally::add(&self.tally.dropped);
        assert!(!self.panics_when_dropped, "dropped");
    }
}

/// A fault that does as its operation says; healing takes a millisecond.
pub(super) struct Actions {
    pub(super) name: &'static str,
    pub(super) clock: SharedClock,
    pub(super) heal: Result<(), OpError>,
}

#[async_trait]
impl Fault for Actions {
    fn name(&self) -> &str {
        self.name
    }

    async fn probe(&mut self, _: &Environment) -> Result<(), String> {
        Ok(())
    }

    async fn invoke(&mut self, _: &Environment, op: &Op) -> FaultOutcome {
        act(&self.clock, op).await;
        let error = || OpError::new("told", "as told");
        match &*op.f {
            "skip" => FaultOutcome::Skipped(error()),
            "maybe" => FaultOutcome::Indeterminate(error()),
            _ => FaultOutcome::Installed(json!("evidence")),
        }
    }

    async fn heal(&mut self, _: &Environment) -> Result<(), OpError> {
        sleep(&*self.clock, Duration::from_millis(1)).await;
        self.heal.clone()
    }
}

/// An operation of a list: when at the earliest, on which thread (or any free client), and what.
pub(super) struct Step {
    pub(super) at: Nanos,
    pub(super) thread: Option<Thread>,
    pub(super) op: Op,
}

/// A step as soon as a client is free.
pub(super) fn any(f: &str, value: impl Into<Value>) -> Step {
    on_any_at(0, f, value)
}

/// A step on a thread as soon as it is free.
pub(super) fn on(thread: Thread, f: &str, value: impl Into<Value>) -> Step {
    Step {
        thread: Some(thread),
        ..any(f, value)
    }
}

/// A step on any client at a time in milliseconds.
pub(super) fn on_any_at(ms: u64, f: &str, value: impl Into<Value>) -> Step {
    Step {
        at: ms * MS,
        thread: None,
        op: Op::new(f, value.into()),
    }
}

/// A step on a thread at a time in milliseconds.
pub(super) fn on_at(thread: Thread, ms: u64, f: &str, value: impl Into<Value>) -> Step {
    Step {
        thread: Some(thread),
        ..on_any_at(ms, f, value)
    }
}

/// What a generator was told, as lines of text.
pub(super) type Told = Arc<Mutex<Vec<String>>>;

/// The steps of a list, in order.
pub(super) struct Steps {
    steps: VecDeque<Step>,
    told: Told,
}

/// A generator of steps.
pub(super) fn steps(steps: impl IntoIterator<Item = Step>) -> BoxGenerator {
    told_steps(steps, Told::default())
}

/// A generator of steps that notes what it is told.
pub(super) fn told_steps(steps: impl IntoIterator<Item = Step>, told: Told) -> BoxGenerator {
    let steps = steps.into_iter().collect();
    Box::new(Steps { steps, told })
}

impl Generator for Steps {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let Some(step) = self.steps.front() else {
            return Peek::Done;
        };
        let turn = ctx.turn().filter(|turn| *turn < ctx.roster.workers);
        let clients = || turn.or_else(|| ctx.free.iter().find(|t| *t < ctx.roster.workers));
        let thread = match step.thread {
            Some(thread) => Some(thread).filter(|thread| ctx.free.contains(*thread)),
            None => clients(),
        };
        let time = match step.at {
            0 => ctx.time,
            at => at,
        };
        let op = step.op.clone();
        thread.map_or(Peek::Pending, |thread| {
            Peek::Op(Planned { time, thread, op })
        })
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {
        self.steps.pop_front();
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        let Update { thread, op, .. } = update;
        let kind = update.kind.as_str();
        let process = ctx.processes.get(*thread).copied();
        let free = ctx.free.contains(*thread);
        let line = format!("{} {thread} {kind} {process:?} {free}", op.f);
        self.told.lock().unwrap().push(line);
    }
}

/// A run on virtual time, and what there is to be seen of it.
pub(super) struct World {
    pub(super) workers: usize,
    pub(super) faults: Vec<(&'static str, Result<(), OpError>)>,
    pub(super) stop: Stop,
    pub(super) tally: Arc<Tally>,
    pub(super) runtime: VirtualRuntime,
}

impl World {
    pub(super) fn new(workers: usize) -> World {
        World {
            workers,
            faults: Vec::new(),
            stop: Stop::new(),
            tally: Arc::default(),
            runtime: VirtualRuntime::new(),
        }
    }

    pub(super) fn clock(&self) -> SharedClock {
        Arc::new(self.runtime.clock())
    }

    /// A configuration with time limits of a second for operations, half a second for opening and ten
    /// for faults.
    pub(super) fn config(&self, clock: &SharedClock, recorder: Recorder) -> Config {
        let clients = Clients {
            clock: clock.clone(),
            tally: self.tally.clone(),
        };
        let faults = self.faults.iter().map(|(name, heal)| {
            let (name, heal, clock) = (*name, heal.clone(), clock.clone());
            Box::new(Actions { name, clock, heal }) as Box<dyn Fault>
        });
        Config {
            clock: clock.clone(),
            roster: Arc::new(Roster {
                workers: self.workers,
                nodes: ["n1", "n2"].map(Name::from).to_vec(),
                nemeses: self.faults.iter().map(|(name, _)| (*name).into()).collect(),
            }),
            connect: Arc::new(clients),
            faults: faults.collect(),
            environment: Environment::default(),
            recorder,
            op_timeout: Duration::from_secs(1),
            open_timeout: Duration::from_millis(500),
            fault_timeout: Duration::from_secs(10),
            stop: self.stop.clone(),
        }
    }

    /// What `body` does with an interpreter, and the history as lines.
    pub(super) fn run<T, F: Future<Output = T>>(
        &self,
        body: impl FnOnce(Interpreter) -> F,
    ) -> (T, Vec<String>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let observer = {
            let seen = seen.clone();
            move |events: &[Event]| seen.lock().unwrap().extend_from_slice(events)
        };
        let recorder = Recorder::in_memory(Options {
            observers: vec![Box::new(observer)],
            ..Options::default()
        })
        .unwrap();
        let interpreter = Interpreter::new(self.config(&self.clock(), recorder.clone()));
        let result = self.runtime.block_on(body(interpreter)).unwrap();
        recorder.finish().unwrap();
        let events = std::mem::take(&mut *seen.lock().unwrap());
        let lines = events.iter().map(line).collect();
        History::new(events).unwrap();
        (result, lines)
    }

    /// The history of a single phase.
    pub(super) fn history(&self, generator: BoxGenerator) -> Vec<String> {
        let (result, lines) = self.run(async |mut interpreter| {
            let result = interpreter.run(generator).await;
            interpreter.close().await;
            result
        });
        result.unwrap();
        lines
    }
}

/// An event as `MILLISECONDS PROCESS TYPE F [VALUE] [ERROR CLASS]`.
fn line(event: &Event) -> String {
    let Event {
        process, kind, f, ..
    } = event;
    let ms = event.time / MS;
    let mut line = format!("{ms} {process} {} {f}", kind.as_str());
    if !event.value.is_null() {
        line += &format!(" {}", event.value);
    }
    if let Some(class) = event.error_class() {
        line += &format!(" {class}");
    }
    line
}
