//! How many operations a second the interpreter performs, and what an operation costs in memory.
//!
//! A register workload (reads, writes, compare-and-sets on independent keys, each worked on by ten
//! threads) through clients that do nothing, time limits armed, the history written to disk. See
//! `README.md` beside this file.
//!
//! `cargo bench -p gainsay-harness --bench interpreter [-- OPERATIONS [WORKERS MODE]]`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use harness::capability::Environment;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use harness::generator::{BoxGenerator, GeneratorExt, Roster, from_fn, independent};
use harness::interpreter::{Config, Interpreter, Phase, Stop};
use harness::seed::Seed;
use harness::time::{RealClock, SharedClock, VirtualRuntime, sleep};
use harness::{Name, OpError, Value, json};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use rand::RngExt;
use store::Recorder;
use store::recorder::Options;

const WORKERS: [usize; 3] = [10, 100, 1_000];
const OPERATIONS: u64 = 2_000_000;
const RUNS: usize = 3;
/// Operations a second of the paced mode.
const PACE: u64 = 5_000;
const PER_KEY: u64 = 1_000;

/// What clients do, and on which time.
const MODES: [&str; 5] = [
    "ready",   // answer at once
    "yields",  // give way to other tasks once
    "sleeps",  // wait for a millisecond
    "paced",   // answer at once, to a schedule
    "virtual", // wait for a millisecond of virtual time
];

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let number = |at: usize| arguments[at].parse::<u64>().expect("a number");
    match arguments.len() {
        0 => all(OPERATIONS),
        1 => all(number(0)),
        _ => run(number(0), number(1) as usize, &arguments[2]),
    }
}

/// Each measurement is a process of its own, so that none inherits another's memory.
fn all(operations: u64) {
    let program = std::env::current_exe().expect("this program");
    println!(
        "mode    workers      ops/s  CPU/op  B/op   p50 latency  p99 stamping  p99 dispatch  p50 lateness"
    );
    for mode in MODES {
        for workers in WORKERS {
            let operations = match mode {
                // Bounded by the number of workers: an operation takes a millisecond.
                "sleeps" => operations.min(workers as u64 * 2_000),
                "paced" => operations.min(PACE * 5),
                _ => operations,
            };
            for _ in 0..RUNS {
                let arguments = [operations.to_string(), workers.to_string(), mode.into()];
                let status = Command::new(&program).args(arguments).status();
                assert!(status.is_ok_and(|status| status.success()));
            }
        }
    }
}

fn run(operations: u64, workers: usize, mode: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let before = memory("VmRSS:");
    let (began, busy) = (Instant::now(), processor_time());
    let phase = if mode == "virtual" {
        let runtime = VirtualRuntime::new();
        let clock = Arc::new(runtime.clock());
        let run = perform(operations, workers, mode, clock, path.clone());
        runtime.block_on(run).expect("no stall")
    } else {
        on_tokio(operations, workers, mode, path.clone())
    };
    let seconds = began.elapsed().as_secs_f64();
    let busy = processor_time() - busy;
    let grown = memory("VmHWM:").saturating_sub(before);
    assert_eq!(phase.operations.ok, operations);
    check_lines(&path, 2 * operations);
    let timing = phase.timing;
    println!(
        "{mode:<7} {workers:>7} {:>10.0} {:>7.1?} {:>5.1} {:>13.1?} {:>13.1?} {:>13.1?} {:>13.1?}",
        operations as f64 / seconds,
        busy.div_f64(operations as f64),
        grown as f64 / operations as f64,
        timing.latency.p50,
        timing.stamping.p99,
        timing.dispatch.p99,
        timing.lateness.p50,
    );
}

fn on_tokio(operations: u64, workers: usize, mode: &str, path: PathBuf) -> Phase {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mode = mode.to_owned();
    let task = runtime.spawn(async move {
        let clock = Arc::new(RealClock::start());
        perform(operations, workers, &mode, clock, path).await
    });
    runtime.block_on(task).expect("no panic")
}

async fn perform(
    operations: u64,
    workers: usize,
    mode: &str,
    clock: SharedClock,
    path: PathBuf,
) -> Phase {
    let recorder = Recorder::create(path, Options::default()).expect("a recorder");
    let mut interpreter = Interpreter::new(Config {
        roster: Arc::new(Roster {
            workers,
            nodes: ["n1", "n2", "n3", "n4", "n5"].map(Name::from).to_vec(),
            nemeses: Vec::new(),
        }),
        connect: Arc::new(Nothing {
            clock: Arc::clone(&clock),
            pause: match mode {
                "yields" => Pause::Yield,
                "sleeps" | "virtual" => Pause::Millisecond,
                _ => Pause::None,
            },
        }),
        clock,
        faults: Vec::new(),
        environment: Environment::default(),
        recorder: recorder.clone(),
        op_timeout: Duration::from_secs(5),
        open_timeout: Duration::from_secs(5),
        fault_timeout: Duration::from_secs(5),
        stop: Stop::new(),
    });
    let mut generator = register().limit(operations).boxed();
    if mode == "paced" {
        let gap = Duration::from_secs(1) / PACE as u32;
        generator = generator.stagger(Seed::new(8), gap).boxed();
    }
    let phase = interpreter.run(generator).await.expect("a phase");
    interpreter.close().await;
    recorder.finish().expect("a history");
    phase
}

/// Reads, writes and compare-and-sets on one key after another.
fn register() -> BoxGenerator {
    let functions = ["read", "write", "cas"].map(Name::from);
    independent::concurrent(Seed::new(7), 10, 0_u64.., move |seed, _, _| {
        let [read, write, cas] = functions.clone();
        let operations = from_fn(seed, move |rng, _| {
            let mut value = || rng.random_range(0..5_u64);
            Some(match value() {
                0 | 1 => Op::new(read.clone(), Value::Null),
                2 | 3 => Op::new(write.clone(), value().into()),
                _ => Op::new(cas.clone(), json!([value(), value()])),
            })
        });
        operations.limit(PER_KEY).boxed()
    })
    .clients()
    .boxed()
}

/// Clients that do nothing.
struct Nothing {
    clock: SharedClock,
    pause: Pause,
}

#[derive(Clone, Copy)]
enum Pause {
    None,
    Yield,
    Millisecond,
}

struct Idle {
    clock: SharedClock,
    pause: Pause,
    node: Name,
}

#[async_trait]
impl Connect for Nothing {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        Ok(Box::new(Idle {
            clock: Arc::clone(&self.clock),
            pause: self.pause,
            node: info.node.clone(),
        }))
    }
}

#[async_trait]
impl Client for Idle {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        match self.pause {
            Pause::None => {}
            Pause::Yield => tokio::task::yield_now().await,
            Pause::Millisecond => sleep(&*self.clock, Duration::from_millis(1)).await,
        }
        Completion::ok(invocation.op.value.clone()).from_node(self.node.clone())
    }
}

/// What all threads of this process had of the processors, the kernel's work for them included. Unlike
/// the rate it hardly depends on what else the machine does.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a usage");
    let micros = |time: TimeVal| time.num_microseconds() as u64;
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
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
