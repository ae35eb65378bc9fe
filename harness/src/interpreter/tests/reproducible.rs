//! A seed gives a byte-identical history on virtual time.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use rand::{Rng as _, RngExt};
use std::sync::{Arc, Mutex};
use store::recorder::Options;
use store::{OpError, Recorder, Value, json};

use super::world::World;
use crate::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use crate::generator::{Context, Generator, Peek, Planned, Update};
use crate::interpreter::{Interpreter, Phase};
use crate::seed::{Rng, Seed};
use crate::time::{SharedClock, sleep};

/// Random operations for whichever thread's turn it is, some of them for later.
struct Chaos {
    rng: Rng,
    left: u32,
    planned: Option<(u64, Op)>,
    updates: Arc<Mutex<u64>>,
}

impl Generator for Chaos {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.left == 0 {
            return Peek::Done;
        }
        let Some(thread) = ctx.turn() else {
            return Peek::Pending;
        };
        if self.planned.is_none() {
            let delay = if self.rng.random_bool(0.1) {
                self.rng.random_range(0..50_000_000)
            } else {
                0
            };
            let f = if thread < ctx.roster.workers {
                "write"
            } else {
                ["start", "hang", "panic", "maybe"][self.rng.random_range(0..4)]
            };
            let op = Op::new(f, json!(self.rng.random_range(0..30)));
            self.planned = Some((ctx.time + delay, op));
        }
        let (time, op) = self.planned.clone().unwrap();
        Peek::Op(Planned { time, thread, op })
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {
        self.planned = None;
        self.left -= 1;
    }

    fn update(&mut self, _: &Context<'_>, _: &Update<'_>) {
        *self.updates.lock().unwrap() += 1;
    }
}

/// Clients with random latencies and outcomes, by seed.
struct Dice {
    clock: SharedClock,
    seed: Seed,
}

struct Die {
    clock: SharedClock,
    rng: Rng,
}

#[async_trait]
impl Connect for Dice {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let mut rng = self.seed.child(info.process).rng();
        let nap = Duration::from_micros(rng.next_u64() % 900_000);
        if rng.random_bool(0.2) {
            sleep(&*self.clock, nap).await;
        }
        if rng.random_bool(0.1) {
            return Err(OpError::new("refused", "today"));
        }
        let clock = self.clock.clone();
        Ok(Box::new(Die { clock, rng }))
    }
}

#[async_trait]
impl Client for Die {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let value = invocation.op.value.clone();
        let nap = Duration::from_micros(self.rng.next_u64() % 20_000);
        sleep(&*self.clock, nap).await;
        let error = OpError::new("die", "rolled");
        match self.rng.random_range(0..100) {
            0 => std::future::pending().await,
            1 => panic!("rolled"),
            2..5 => Completion::info(value, error),
            5..20 => Completion::fail(value, error),
            _ => Completion::ok(Value::Null),
        }
    }
}

/// A run of `operations`, its history in a file.
fn run(seed: u64, workers: usize, operations: u32, path: &Path) -> (Phase, u64) {
    let world = World {
        faults: vec![("cut", Ok(())), ("kill", Ok(()))],
        ..World::new(workers)
    };
    let recorder = Recorder::create(path, Options::default()).unwrap();
    let clock = world.clock();
    let mut config = world.config(&clock, recorder.clone());
    config.connect = Arc::new(Dice {
        clock: clock.clone(),
        seed: Seed::new(seed).named("clients"),
    });
    let updates = Arc::default();
    let generator = Chaos {
        rng: Seed::new(seed).named("generator").rng(),
        left: operations,
        planned: None,
        updates: Arc::clone(&updates),
    };
    let phase = world.runtime.block_on(async {
        let mut interpreter = Interpreter::new(config);
        let phase = interpreter.run(Box::new(generator)).await;
        interpreter.heal().await;
        interpreter.close().await;
        phase
    });
    recorder.finish().unwrap();
    let updates = *updates.lock().unwrap();
    (phase.unwrap().unwrap(), updates)
}

fn history(seed: u64, workers: usize, operations: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    run(seed, workers, operations, &path);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_seed_is_a_history() {
    let first = history(1, 20, 5_000);
    assert!(first.lines().count() > 10_000);
    for word in ["timeout", "panic", "no-client", "nemesis/kill"] {
        assert!(first.contains(word), "no {word}");
    }
    assert!(first == history(1, 20, 5_000), "the same seed");
    assert!(first != history(2, 20, 5_000), "another seed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever happens, each accepted operation stands in the history once, whole, with its update.
    #[test]
    fn nothing_is_lost(seed: u64, workers in 1..9_usize, operations in 1..300_u32) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let (_, updates) = run(seed, workers, operations, &path);
        prop_assert_eq!(updates, u64::from(operations));
        let text = std::fs::read_to_string(path).unwrap();
        let events: Vec<store::Event> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut last = None;
        for (at, event) in events.iter().enumerate() {
            prop_assert_eq!(event.index, at as u64);
            prop_assert!(last < Some(event.time));
            last = Some(event.time);
        }
        let history = store::History::new(events).unwrap();
        let count = history.operations().count();
        prop_assert_eq!(count, operations as usize + 2, "and two heals");
        let mut retired = std::collections::BTreeSet::new();
        for operation in history.operations() {
            let process = &operation.invoke.process;
            prop_assert!(!retired.contains(process), "{} was retired", process);
            let Some(end) = operation.complete else {
                return Err(TestCaseError::fail("an operation without an end"));
            };
            if end.kind == store::EventType::Info && process.is_client() {
                retired.insert(process.clone());
            }
        }
    }
}
