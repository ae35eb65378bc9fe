//! How many operations a second the interpreter performs, and what an operation costs in memory.
//!
//! A register's operations (reads, writes, compare-and-sets on many keys) through clients that do
//! nothing, time limits armed, the history written to disk. See `README.md` beside this file.
//!
//! `cargo bench -p gainsay-harness --bench interpreter [-- OPERATIONS [WORKERS] [CLIENT]]`

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use harness::capability::Environment;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use harness::generator::{Context, Generator, Peek, Planned, Roster};
use harness::interpreter::{Config, Interpreter, Phase, Stop};
use harness::seed::Rng;
use harness::time::{Nanos, RealClock};
use harness::{Name, OpError, Value, json};
use rand::{RngExt, SeedableRng};
use store::Recorder;
use store::recorder::Options;

const WORKERS: [usize; 3] = [10, 100, 1_000];
/// `paced` is the client that is ready at once, under a schedule of [`PACE`] operations a second.
const CLIENTS: [&str; 4] = ["ready", "yields", "sleeps", "paced"];
const PACE: u64 = 5_000;
const OPERATIONS: u64 = 2_000_000;
const RUNS: usize = 3;

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let operations = arguments.first().map_or(OPERATIONS, |text| {
        text.parse().expect("a number of operations")
    });
    match &arguments[1.min(arguments.len())..] {
        [workers, client] => run(operations, workers.parse().expect("workers"), client),
        _ => all(operations),
    }
}

/// Each measurement is a process of its own, so that none inherits another's memory.
fn all(operations: u64) {
    let program = std::env::current_exe().expect("this program");
    println!(
        "client   workers      ops/s  B/op   p50 latency  p99 stamping  p99 dispatch  p50 lateness"
    );
    for client in CLIENTS {
        for workers in WORKERS {
            let operations = match client {
                // Bounded by the number of workers: an operation takes a millisecond and more.
                "sleeps" => operations.min(workers as u64 * 2_000),
                "paced" => operations.min(PACE * 5),
                _ => operations,
            };
            for _ in 0..RUNS {
                let arguments = [operations.to_string(), workers.to_string(), client.into()];
                let status = Command::new(&program).args(arguments).status();
                assert!(status.is_ok_and(|status| status.success()));
            }
        }
    }
}

fn run(operations: u64, workers: usize, client: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let before = memory("VmRSS:");
    let began = Instant::now();
    let client = client.to_owned();
    let task = runtime.spawn(perform(operations, workers, client.clone(), path.clone()));
    let phase = runtime.block_on(task).expect("no panic");
    let seconds = began.elapsed().as_secs_f64();
    let grown = memory("VmHWM:").saturating_sub(before);
    assert_eq!(phase.operations.ok, operations);
    check_lines(&path, 2 * operations);
    println!(
        "{client:<7} {workers:>8} {:>10.0} {:>5.1} {:>13.1?} {:>13.1?} {:>13.1?} {:>13.1?}",
        operations as f64 / seconds,
        grown as f64 / operations as f64,
        phase.timing.latency.p50,
        phase.timing.stamping.p99,
        phase.timing.dispatch.p99,
        phase.timing.lateness.p50,
    );
}

async fn perform(
    operations: u64,
    workers: usize,
    client: String,
    path: std::path::PathBuf,
) -> Phase {
    let recorder = Recorder::create(path, Options::default()).expect("a recorder");
    let mut interpreter = Interpreter::new(Config {
        clock: Arc::new(RealClock::start()),
        roster: Arc::new(Roster {
            workers,
            nodes: ["n1", "n2", "n3", "n4", "n5"].map(Name::from).to_vec(),
            nemeses: Vec::new(),
        }),
        connect: Arc::new(Nothing(client.clone())),
        faults: Vec::new(),
        environment: Environment::default(),
        recorder: recorder.clone(),
        op_timeout: Duration::from_secs(5),
        open_timeout: Duration::from_secs(5),
        fault_timeout: Duration::from_secs(5),
        stop: Stop::new(),
    });
    let generator = Register {
        gap: if client == "paced" {
            1_000_000_000 / PACE
        } else {
            0
        },
        due: 0,
        left: operations,
        functions: ["read", "write", "cas"].map(Name::from),
        rng: Rng::seed_from_u64(7),
        planned: None,
    };
    let phase = interpreter.run(Box::new(generator)).await.expect("a phase");
    interpreter.close().await;
    recorder.finish().expect("a history");
    phase
}

/// A register's operations, as fast as threads become free, or with a gap from one to the next.
struct Register {
    gap: Nanos,
    due: Nanos,
    left: u64,
    functions: [Name; 3],
    rng: Rng,
    planned: Option<Op>,
}

impl Register {
    fn op(&mut self) -> Op {
        let [read, write, cas] = &self.functions;
        let mut value = || self.rng.random_range(0..5_u64);
        let op = match value() {
            0 | 1 => Op::new(read.clone(), Value::Null),
            2 | 3 => Op::new(write.clone(), value().into()),
            _ => Op::new(cas.clone(), json!([value(), value()])),
        };
        op.on_key((self.left / 1_000).into())
    }
}

impl Generator for Register {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.left == 0 {
            return Peek::Done;
        }
        let Some(thread) = ctx.turn() else {
            return Peek::Pending;
        };
        let op = self.planned.take().unwrap_or_else(|| self.op());
        self.planned = Some(op.clone());
        let time = if self.gap == 0 { ctx.time } else { self.due };
        Peek::Op(Planned { time, thread, op })
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {
        self.planned = None;
        self.due += self.gap;
        self.left -= 1;
    }
}

/// Clients that do nothing, at once, after yielding, or after a sleep of a millisecond.
struct Nothing(String);

#[async_trait]
impl Connect for Nothing {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let node = info.node.clone();
        Ok(match &*self.0 {
            "ready" | "paced" => Box::new(Ready(node)),
            "yields" => Box::new(Yields(node)),
            _ => Box::new(Sleeps(node)),
        })
    }
}

struct Ready(Name);
struct Yields(Name);
struct Sleeps(Name);

#[async_trait]
impl Client for Ready {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        Completion::ok(invocation.op.value.clone()).from_node(self.0.clone())
    }
}

#[async_trait]
impl Client for Yields {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        tokio::task::yield_now().await;
        Completion::ok(invocation.op.value.clone()).from_node(self.0.clone())
    }
}

#[async_trait]
impl Client for Sleeps {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Completion::ok(invocation.op.value.clone()).from_node(self.0.clone())
    }
}

/// A line of `/proc/self/status`, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    1024 * kilobytes
        .and_then(|n| n.parse::<u64>().ok())
        .expect("a size")
}

/// The history is there, whole.
fn check_lines(path: &Path, expected: u64) {
    let history = std::fs::read(path).expect("the history");
    let lines = history.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(lines, expected);
}
