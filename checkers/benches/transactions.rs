//! Times the checker of transactions on list-append histories in JSON lines, as `gen_txn.py` writes them:
//!
//! ```text
//! cargo bench -p gainsay-checkers --bench transactions -- [--consistency LEVEL] FILE...
//! ```
//!
//! Prints a line a file: milliseconds of processor time to read and take in the history, and to judge it; the peak of
//! resident memory, both together (what the kernel can tell); and the verdict.
#![allow(clippy::unwrap_used)]

use checkers::Checker;
use checkers::budget::Unlimited;
use checkers::transactions::models::{DEFAULT, find};
use checkers::transactions::{ListAppend, Options};
use store::jsonl::{Limits, Tail};

fn main() {
    // The first is from cargo.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|one| one != "--bench")
        .peekable();
    let mut level = DEFAULT.to_owned();
    if arguments.peek().is_some_and(|one| one == "--consistency") {
        level = arguments.nth(1).unwrap();
    }
    if arguments.peek().is_none() {
        println!("no histories given: see the top of this file");
    }
    for file in arguments {
        // Lets the kernel forget the peak so far.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let begin = processor_ms();
        let mut checker = ListAppend::new(Options {
            consistency: find(&level).unwrap(),
        });
        let mut tail = Tail::open(file.as_ref(), Limits::default()).unwrap();
        let mut events = Vec::new();
        while tail.read(&mut events).unwrap() {
            checker.feed(&events, &Unlimited);
            events.clear();
        }
        let read = processor_ms();
        let result = checker.finish(&Unlimited);
        println!(
            "{file}: {:.0} ms read, {:.0} ms judged, {} MB peak: {}: {}",
            read - begin,
            processor_ms() - read,
            peak_mb(),
            result.valid,
            result.reason
        );
    }
}

/// Processor time of this thread, in milliseconds. This machine's kernel must tell it.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: u64 = stat.split_whitespace().next().unwrap().parse().unwrap();
    nanoseconds as f64 / 1e6
}

/// The peak of resident memory of this process, where the kernel tells it.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}
