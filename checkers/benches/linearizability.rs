//! Times the linearizability checker on histories in JSON lines, as `gen_lin.py` writes them:
//!
//! ```text
//! cargo bench -p gainsay-checkers --bench linearizability -- [--limit SECONDS] [--model NAME] [--ration N] [--order] FILE...
//! ```
//!
//! Prints a line a file: verdict, milliseconds of processor time to parse and to check, and the peak of
//! resident memory of the process while it does both by turns, a few thousand events at a time (what the kernel can
//! tell). With `--order`, an order comes with each valid verdict of a register, which both figures include, and is then proved
//! from the file. The limit is of real time. `--ration` is that of the search, or `none`: then no monitor is asked.
#![allow(clippy::unwrap_used)]

#[path = "common/measure.rs"]
mod measure;
#[path = "../tests/common/order.rs"]
mod order;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use checkers::budget::{Budget, Exhausted};
use checkers::linearizability::{FailedCas, Linearizable, Options};
use checkers::{Checker, Feed};
use measure::{forget_peak, peak_mb, processor_ms};
use order::prove_order;
use serde_json::Value;
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
    let mut options = Options {
        failed_cas: FailedCas::Observes,
        ..Options::default()
    };
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--limit" => limit = Duration::from_secs(arguments.next().unwrap().parse().unwrap()),
            "--model" => model = arguments.next().unwrap(),
            "--order" => options.witness = true,
            "--ration" => options.ration = arguments.next().unwrap().parse().ok(),
            // From cargo.
            "--bench" => {}
            file => files.push(file.to_owned()),
        }
    }
    if files.is_empty() {
        println!("no histories given: see the top of this file");
    }
    for file in files {
        measure(&file, &model, &options, limit);
    }
}

/// How many events are parsed before they are checked.
const EVENTS: usize = 4096;

fn measure(file: &str, model: &str, options: &Options, limit: Duration) {
    forget_peak();
    let mut lines = BufReader::new(File::open(file).unwrap()).lines();
    let mut checker = Linearizable::named(model, options).unwrap();
    let budget = Deadline(Instant::now() + limit);
    let (mut parse, mut check) = (0.0, 0.0);
    loop {
        let begin = processor_ms();
        let some = lines.by_ref().take(EVENTS);
        let events: Vec<Event> = some
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        let parsed = processor_ms();
        let feed = checker.feed(&events, &budget);
        parse += parsed - begin;
        check += processor_ms() - parsed;
        if events.is_empty() || feed != Feed::Continue {
            break;
        }
    }
    let begin = processor_ms();
    let result = checker.finish(&budget);
    check += processor_ms() - begin;
    let peak = peak_mb();
    let order = match result.details.get("orders") {
        Some(orders) => proved(file, orders, options),
        None => result
            .details
            .get("no-orders")
            .map_or(String::new(), |why| format!(", no order: {why}")),
    };
    println!(
        "{file} {}: parse {parse:.0} ms, check {check:.1} ms, peak {peak} MB: {}{order}",
        result.valid, result.reason
    );
}

/// What becomes of the order when it is proved.
fn proved(file: &str, orders: &Value, options: &Options) -> String {
    let lines = BufReader::new(File::open(file).unwrap()).lines();
    let events: Vec<Event> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    let orders: Vec<Vec<u64>> = serde_json::from_value(orders.clone()).unwrap();
    match prove_order(&events, &orders.concat(), options) {
        Ok(()) => ", in an order that was proved".to_owned(),
        Err(wrong) => format!(", and its order is WRONG: {wrong}"),
    }
}
