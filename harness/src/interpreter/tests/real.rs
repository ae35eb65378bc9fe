//! The same on real time, with real threads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use store::recorder::Options;
use store::{Event, History, OpError, Recorder, Value};

use super::world::*;
use crate::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use crate::generator::{Context, Generator, Peek, Planned, Update};
use crate::interpreter::{Interpreter, InterpreterError, PhaseEnd};
use crate::time::{RealClock, SharedClock};

fn recorder() -> (Recorder, Arc<Mutex<Vec<Event>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let seen = seen.clone();
        move |events: &[Event]| seen.lock().unwrap().extend_from_slice(events)
    };
    let options = Options {
        observers: vec![Box::new(observer)],
        ..Options::default()
    };
    (Recorder::in_memory(options).unwrap(), seen)
}

/// Numbered operations of mixed kinds; notes the order in which it is told of them.
struct Numbered {
    left: u64,
    told: Arc<Mutex<Vec<u64>>>,
}

impl Generator for Numbered {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        let turn = ctx.turn();
        match turn {
            _ if self.left == 0 => Peek::Done,
            None => Peek::Pending,
            Some(thread) => Peek::Op(Planned {
                time: ctx.time,
                thread,
                op: Op::new("write", self.left.into()),
            }),
        }
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {
        self.left -= 1;
    }

    fn update(&mut self, _: &Context<'_>, update: &Update<'_>) {
        self.told
            .lock()
            .unwrap()
            .push(update.op.value.as_u64().unwrap());
    }
}

/// Answers at once, after a yield or a sleep, with any outcome, by the operation's number.
struct Mixed;

#[async_trait]
impl Connect for Mixed {
    async fn open(&self, _: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        Ok(Box::new(Mixed))
    }
}

#[async_trait]
impl Client for Mixed {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let value = invocation.op.value.clone();
        let number = value.as_u64().unwrap();
        match number % 5 {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(number % 700)).await,
        }
        match number % 17 {
            0 => Completion::info(value, OpError::new("lost", "")),
            1 => Completion::fail(value, OpError::new(OpError::PRECONDITION, "")),
            _ => Completion::ok(value),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_lose_and_reorder_nothing() {
    const OPERATIONS: u64 = 20_000;
    let world = World::new(50);
    let (recorder, seen) = recorder();
    let clock: SharedClock = Arc::new(RealClock::start());
    let mut config = world.config(&clock, recorder.clone());
    config.connect = Arc::new(Mixed);
    let mut interpreter = Interpreter::new(config);
    let told = Arc::default();
    let generator = Numbered {
        left: OPERATIONS,
        told: Arc::clone(&told),
    };
    // Spawned, as it is meant to be: this also asks that the future is `Send`.
    let run = tokio::spawn(async move {
        let phase = interpreter.run(Box::new(generator)).await;
        interpreter.close().await;
        phase
    });
    let phase = run.await.unwrap().unwrap();
    recorder.finish().unwrap();
    assert_eq!(phase.end, PhaseEnd::Exhausted);
    assert_eq!(phase.operations.total(), OPERATIONS);
    assert_eq!(phase.operations.info, OPERATIONS / 17);
    let events = std::mem::take(&mut *seen.lock().unwrap());
    let completions: Vec<u64> = events
        .iter()
        .filter(|event| !event.is_invoke())
        .map(|event| event.value.as_u64().unwrap())
        .collect();
    assert_eq!(*told.lock().unwrap(), completions, "told in order");
    let history = History::new(events).unwrap();
    assert_eq!(history.operations().count() as u64, OPERATIONS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_outside_ends_a_run_that_waits() {
    let world = World::new(2);
    let (recorder, seen) = recorder();
    let clock: SharedClock = Arc::new(RealClock::start());
    let mut config = world.config(&clock, recorder.clone());
    config.op_timeout = Duration::from_secs(3600);
    let mut interpreter = Interpreter::new(config);
    let run = tokio::spawn(async move {
        interpreter
            .run(steps([any("hang", Value::Null), any("hang", Value::Null)]))
            .await
    });
    while recorder.recorded() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stop = world.stop.clone();
    std::thread::spawn(move || stop.abandon()).join().unwrap();
    let phase = run.await.unwrap().unwrap();
    assert_eq!(phase.operations.info, 2);
    recorder.finish().unwrap();
    let seen = seen.lock().unwrap();
    let ends = seen.iter().filter(|event| !event.is_invoke());
    assert!(
        ends.map(|event| event.error_class())
            .all(|class| class == Some("interrupted"))
    );
}

#[tokio::test]
async fn dropping_an_interpreter_ends_its_workers() {
    let world = World::new(3);
    let (recorder, _) = recorder();
    let clock: SharedClock = Arc::new(RealClock::start());
    let mut interpreter = Interpreter::new(world.config(&clock, recorder));
    interpreter
        .run(steps((0..9).map(|_| any("ok", 1))))
        .await
        .unwrap();
    drop(interpreter);
    while Tally::get(&world.tally.closed) < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Blocks its thread until it is let go.
struct Blocks(Arc<std::sync::Barrier>);

#[async_trait]
impl Connect for Blocks {
    async fn open(&self, _: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        Ok(Box::new(Blocks(self.0.clone())))
    }
}

#[async_trait]
impl Client for Blocks {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        if &*invocation.op.f == "block" {
            self.0.wait();
        }
        Completion::ok(Value::Null)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_client_that_blocks_is_named_and_left_behind() {
    let world = World::new(2);
    let (recorder, seen) = recorder();
    let clock: SharedClock = Arc::new(RealClock::start());
    let mut config = world.config(&clock, recorder.clone());
    let barrier = Arc::new(std::sync::Barrier::new(2));
    config.connect = Arc::new(Blocks(barrier.clone()));
    (config.op_timeout, config.open_timeout) = (Duration::from_millis(5), Duration::from_millis(5));
    let mut interpreter = Interpreter::new(config);
    let result = interpreter.run(steps([on(1, "block", Value::Null)])).await;
    let Err(InterpreterError::Unresponsive(threads)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(threads, [1]);
    // The others go on, and so does the history, in which the late answer has its place.
    interpreter
        .run(steps([any("ok", Value::Null)]))
        .await
        .unwrap();
    barrier.wait();
    while recorder.recorded() < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    interpreter
        .run(steps([any("ok", Value::Null)]))
        .await
        .unwrap();
    interpreter.close().await;
    recorder.finish().unwrap();
    let events = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(events.len(), 6);
    History::new(events).unwrap();
}
