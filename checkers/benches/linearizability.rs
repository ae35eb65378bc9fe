//! Times the linearizability checker on histories in JSON lines, as `gen_lin.py` writes them:
//!
//! ```text
//! cargo bench -p gainsay-checkers --bench linearizability -- [--limit SECONDS] [--model NAME] FILE...
//! ```
//!
//! Prints a line a file: verdict, milliseconds of processor time to parse and to check, and by how much
//! resident memory grew at most while checking, beyond the parsed history. The limit is of real time.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use checkers::budget::{Budget, Exhausted};
use checkers::linearizability::{FailedCas, Linearizable, Options};
use checkers::{Checker, check};
use store::Event;

struct Deadline(Instant);

impl Budget for Deadline {
    fn check(&self) -> Result<(), Exhausted> {
        if Instant::now() < self.0 {
            Ok(())
        } else {
            Err(Exhausted::Time)
        }
    }

    fn charge(&self, _bytes: usize) -> Result<(), Exhausted> {
        Ok(())
    }

    fn release(&self, _bytes: usize) {}
}

fn main() {
    let mut limit = Duration::from_secs(60);
    let mut model = "register".to_owned();
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--limit" => limit = Duration::from_secs(arguments.next().unwrap().parse().unwrap()),
            "--model" => model = arguments.next().unwrap(),
            // From cargo.
            "--bench" => {}
            file => files.push(file.to_owned()),
        }
    }
    if files.is_empty() {
        println!("no histories given: see the top of this file");
    }
    for file in files {
        measure(&file, &model, limit);
    }
}

fn measure(file: &str, model: &str, limit: Duration) {
    let begin = processor_ms();
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines();
    let events: Vec<Event> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let parsed = processor_ms();
    // From here on the kernel counts the peak anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let resident = peak_kb();
    let options = Options {
        failed_cas: FailedCas::Observes,
        ..Options::default()
    };
    let mut checker = Linearizable::named(model, &options).unwrap();
    let budget = Deadline(Instant::now() + limit);
    let result = check(&mut checker as &mut dyn Checker, &events, &budget);
    println!(
        "{file} {}: parse {:.0} ms, check {:.1} ms, {} MB: {}",
        result.valid,
        parsed - begin,
        processor_ms() - parsed,
        (peak_kb() - resident) / 1024,
        result.reason
    );
}

/// Processor time of this thread, in milliseconds. This machine's kernel must tell it.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: u64 = stat.split_whitespace().next().unwrap().parse().unwrap();
    nanoseconds as f64 / 1e6
}

/// The peak of resident memory of this process, where the kernel tells it.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or(0)
}
