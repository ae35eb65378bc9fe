//! Times the monitors of single types on histories in JSON lines, as `gen_lin.py` writes them:
//!
//! ```text
//! cargo bench -p gainsay-checkers --bench monitors -- [--failures] FILE...
//! ```
//!
//! Prints a line a file: milliseconds of processor time to check, the memory that was charged to the budget, and the
//! peak of resident memory while checking, operations included (what the kernel can tell). Of registers,
//! failed compare-and-sets are dropped, or with `--failures` taken as observations.
#![allow(clippy::unwrap_used)]

#[path = "common/measure.rs"]
mod measure;

use std::io::BufRead;
use std::sync::atomic::{AtomicUsize, Ordering};

use checkers::budget::{Budget, Exhausted};
use measure::{forget_peak, peak_mb, processor_ms};

#[path = "../tests/linearizability/monitors/lower.rs"]
mod lower;

use lower::{Lowered, Lowering};

/// No limits; remembers the most that was held.
#[derive(Default)]
struct Watch {
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Budget for Watch {
    fn check(&self) -> Result<(), Exhausted> {
        Ok(())
    }

    fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn main() {
    // The first is from cargo.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|one| one != "--bench")
        .collect();
    let failures = arguments.iter().any(|argument| argument == "--failures");
    let files: Vec<&String> = arguments
        .iter()
        .filter(|one| !one.starts_with("--"))
        .collect();
    if files.is_empty() {
        println!("no histories given: see the top of this file");
    }
    for file in files {
        let lowered = read(file, failures);
        forget_peak();
        let watch = Watch::default();
        let begin = processor_ms();
        let said = lowered.check(&watch).unwrap();
        println!(
            "{file}: {:.0} ms, {} MB charged, {} MB peak: {said:?}",
            processor_ms() - begin,
            watch.most.into_inner() >> 20,
            peak_mb(),
        );
    }
}

fn read(file: &str, failures: bool) -> Lowered {
    let mut lowering = Lowering::new(failures);
    for line in std::io::BufReader::new(std::fs::File::open(file).unwrap()).lines() {
        lowering.take(&serde_json::from_str(&line.unwrap()).unwrap());
    }
    lowering.finish()
}
