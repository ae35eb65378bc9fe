//! Times the checkers of transactions on histories in any format:
//!
//! ```text
//! cargo bench -p gainsay-checkers --bench transactions -- [--model rw-register] [--consistency LEVEL] FILE...
//! ```
//!
//! Prints a line a file: milliseconds of processor time to read and take in the history, and to judge it; the peak of
//! resident memory, both together (what the kernel can tell); and the verdict.
#![allow(clippy::unwrap_used)]

use checkers::Checker;
use checkers::budget::Unlimited;
use checkers::transactions::models::{DEFAULT, find};
use checkers::transactions::{Assumptions, ListAppend, Options, RwRegister};
use store::import::{ImportOptions, read_each};

fn main() {
    // The first is from cargo.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|one| one != "--bench")
        .peekable();
    let mut take = |name: &str| match arguments.peek() {
        Some(one) if one == name => arguments.nth(1),
        _ => None,
    };
    let model = take("--model").unwrap_or("list-append".to_owned());
    let level = take("--consistency").unwrap_or(DEFAULT.to_owned());
    if arguments.peek().is_none() {
        println!("no histories given: see the top of this file");
    }
    for file in arguments {
        // Lets the kernel forget the peak so far.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let begin = processor_ms();
        let options = Options {
            consistency: find(&level).unwrap(),
        };
        let mut checker: Box<dyn Checker> = match model.as_str() {
            "rw-register" => Box::new(RwRegister::new(options, Assumptions::default())),
            _ => Box::new(ListAppend::new(options)),
        };
        let path = file.as_ref();
        read_each(path, None, ImportOptions::default(), &mut |events| {
            checker.feed(events, &Unlimited);
        })
        .unwrap();
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
