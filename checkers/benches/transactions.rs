//! Times the checkers of transactions on histories in any format:
//!
//! ```text
//! cargo bench -p gainsay-checkers --bench transactions -- [--model rw-register] [--consistency LEVEL] [--online] FILE...
//! ```
//!
//! Prints a line a file: milliseconds of processor time to read and take in the history, and to judge it, with how long each
//! took; the peak of resident memory, both together (what the kernel can tell); and the verdict.
#![allow(clippy::unwrap_used)]

#[path = "common/measure.rs"]
mod measure;

use std::time::Instant;

use checkers::budget::Unlimited;
use checkers::transactions::models::{DEFAULT, find};
use checkers::transactions::{Assumptions, ListAppend, Options, RwRegister};
use checkers::{Checker, Feed};
use measure::{forget_peak, peak_mb, processor_ms};
use store::Flow;
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
    let online = arguments.next_if(|one| one == "--online").is_some();
    if arguments.peek().is_none() {
        println!("no histories given: see the top of this file");
    }
    for file in arguments {
        forget_peak();
        let (begin, started) = (processor_ms(), Instant::now());
        let options = Options {
            consistency: find(&level).unwrap(),
        };
        let mut checker: Box<dyn Checker> = match model.as_str() {
            "rw-register" => Box::new(RwRegister::new(options, Assumptions::default())),
            _ => Box::new(ListAppend::new(options)),
        };
        if online {
            checker.hurry();
        }
        let path = file.as_ref();
        let (mut fed, mut noticed) = (0, None);
        read_each(path, None, ImportOptions::default(), &mut |batch| {
            let fed_before = fed;
            fed += batch.events.len();
            if checker.feed(batch.events, &Unlimited) == Feed::Violation {
                noticed.get_or_insert((fed_before, fed));
            }
            Flow::Continue(())
        })
        .unwrap();
        if let Some((from, to)) = noticed {
            println!("{file}: a violation after {from} to {to} of {fed} events");
        }
        let (read, taken_in) = (processor_ms(), Instant::now());
        let result = checker.finish(&Unlimited);
        println!(
            "{file}: {:.0} ms read (in {:.0}), {:.0} ms judged (in {:.0}), {} MB peak: {}: {}",
            read - begin,
            (taken_in - started).as_secs_f64() * 1e3,
            processor_ms() - read,
            taken_in.elapsed().as_secs_f64() * 1e3,
            peak_mb(),
            result.valid,
            result.reason
        );
    }
}
