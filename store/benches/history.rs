//! How fast histories are recorded, loaded and paired.
//!
//! `cargo bench -p gainsay-store --bench history [-- MILLION_OPERATIONS]`

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use store::export::{ExportFormat, exporter};
use store::import::{ImportOptions, read_each};
use store::jsonl::{Limits, read_events};
use store::recorder::Options;
use store::{Draft, EventType, Flow, History, Process, Recorder, Value, json};

/// Wall time and processor time: the second is what counts on a machine that others use too.
#[derive(Clone, Copy)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

struct Watch {
    start: Instant,
    cpu: Duration,
}

impl Watch {
    fn start() -> Watch {
        Watch {
            start: Instant::now(),
            cpu: cpu_time(),
        }
    }

    fn spent(&self) -> Spent {
        Spent {
            wall: self.start.elapsed(),
            cpu: cpu_time() - self.cpu,
        }
    }
}

/// This process's processor time, of all its threads, in steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = |n: usize| -> u64 {
        after_name
            .split_whitespace()
            .nth(n)
            .unwrap()
            .parse()
            .unwrap()
    };
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

const WORKERS: u64 = 100;
const ROUNDS: usize = 5;

fn main() {
    let mut millions = std::env::args().filter_map(|arg| arg.parse::<f64>().ok());
    let operations = (millions.next_back().unwrap_or(1.0) * 1e6) as u64;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");

    record_cost(4);
    record(&path, operations);
    load(&path);
    parse(&path, dir.path());
}

/// Reading a history piece by piece, as checkers of transactions and exports do, in every format that is written.
fn parse(jsonl: &Path, dir: &Path) {
    for format in [
        ExportFormat::JsonLines,
        ExportFormat::Edn,
        ExportFormat::Json,
    ] {
        let path = dir.join(format.name());
        let mut exporter = exporter(format, File::create(&path).unwrap()).unwrap();
        let options = ImportOptions::default();
        let watch = Watch::start();
        read_each(jsonl, None, options, &mut |batch| {
            exporter.write(batch).unwrap();
            Flow::Continue(())
        })
        .unwrap();
        exporter.finish().unwrap();
        let bytes = path.metadata().unwrap().len();
        speed(
            &format!("read and write {}", format.name()),
            bytes,
            watch.spent(),
        );
        let mut best: Option<Spent> = None;
        let mut events = 0;
        for _ in 0..ROUNDS {
            events = 0;
            let watch = Watch::start();
            read_each(&path, None, options, &mut |batch| {
                events += batch.events.len();
                Flow::Continue(())
            })
            .unwrap();
            let spent = watch.spent();
            if best.is_none_or(|before| spent.cpu < before.cpu) {
                best = Some(spent);
            }
        }
        assert!(events > 0);
        speed(&format!("read {}", format.name()), bytes, best.unwrap());
    }
}

fn speed(what: &str, bytes: u64, spent: Spent) {
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{what:<34} {:>9.1} MB  {:>9.0} ms of processor  {:>6.0} MB a second of it",
        megabytes,
        spent.cpu.as_secs_f64() * 1e3,
        megabytes / spent.cpu.as_secs_f64(),
    );
}

/// What recording costs those who record: threads that do nothing else, nothing written.
fn record_cost(threads: u64) {
    let each = 250_000;
    let options = Options {
        queue_max: usize::MAX,
        ..Options::default()
    };
    let recorder = Recorder::in_memory(options).unwrap();
    let (start, watch) = (Instant::now(), Watch::start());
    std::thread::scope(|scope| {
        for process in 0..threads {
            let recorder = recorder.clone();
            scope.spawn(move || {
                let f: store::Name = "read".into();
                for n in 0..each {
                    let kind = if n % 2 == 0 {
                        EventType::Invoke
                    } else {
                        EventType::Ok
                    };
                    let draft = Draft::new(Process::Client(process), kind, f.clone(), Value::Null);
                    recorder.record(|| start.elapsed().as_nanos() as u64, draft);
                }
            });
        }
    });
    let elapsed = watch.spent();
    rate(
        &format!("record, {threads} threads, no file"),
        threads * each,
        elapsed,
    );
    recorder.finish().unwrap();
}

/// A register history, recorded to a file as fast as one thread can, until it is durable.
fn record(path: &Path, operations: u64) {
    let recorder = Recorder::create(path, Options::default()).unwrap();
    let names = ["read", "write", "cas"].map(store::Name::from);
    let (start, watch) = (Instant::now(), Watch::start());
    for n in 0..operations {
        let f = (n % 3) as usize;
        let value = match f {
            0 => Value::Null,
            1 => json!(n % 5),
            _ => json!([n % 5, n % 7]),
        };
        for kind in [EventType::Invoke, EventType::Ok] {
            let mut draft = Draft::new(
                Process::Client(n % WORKERS),
                kind,
                names[f].clone(),
                value.clone(),
            );
            draft.key = Some(json!(n / 1000));
            recorder.record(|| start.elapsed().as_nanos() as u64, draft);
        }
    }
    let recorded = watch.spent();
    let summary = recorder.finish().unwrap();
    rate("record to a file", summary.events, recorded);
    rate("… until it is durable", summary.events, watch.spent());
    println!(
        "{:<34} {:>9} of {} events",
        "… longest queue", summary.queue_high_water, summary.events
    );
    println!(
        "{:<34} {:>9.1} bytes",
        "a line",
        summary.bytes as f64 / summary.events as f64
    );
}

fn load(path: &Path) {
    for threads_max in [1, Limits::default().threads_max] {
        let limits = Limits {
            threads_max,
            ..Limits::default()
        };
        let mut best: Option<(Spent, Spent)> = None;
        let mut count = 0;
        for _ in 0..ROUNDS {
            let watch = Watch::start();
            let events = read_events(path, limits).unwrap().events;
            count = events.len() as u64;
            let read = watch.spent();
            let history = History::new(events).unwrap();
            let paired = watch.spent();
            std::hint::black_box(&history);
            if best.is_none_or(|(_, before)| paired.wall < before.wall) {
                best = Some((read, paired));
            }
        }
        let (read, paired) = best.unwrap();
        rate(&format!("load, {threads_max} threads"), count, read);
        rate("load and pair", count, paired);
    }
}

fn rate(what: &str, events: u64, spent: Spent) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let per_second = events as f64 / spent.wall.as_secs_f64() / 1e6;
    println!(
        "{what:<34} {:>9.1} ms  {:>9.0} ms of processor  {per_second:>6.2} million events/s",
        ms(spent.wall),
        ms(spent.cpu),
    );
}
