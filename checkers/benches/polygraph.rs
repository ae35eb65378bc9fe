//! Times the decision of serializability and snapshot isolation of registers, on plume text (`r|w(key,value,session,transaction)`,
//! initial value 0) or JSON lines:
//!
//! ```text
//! cargo bench -p gainsay-checkers --bench polygraph -- [--level ser|si|prefix[-plain|-session|-strong]] FILE...
//! ```
//!
//! Prints a line a file and level: transactions, milliseconds of processor time to decide, the peak of resident memory, reading
//! included, and the decision.
#![allow(clippy::unwrap_used)]

#[path = "common/measure.rs"]
mod measure;

#[path = "../tests/common/registers.rs"]
mod registers;

use checkers::budget::Unlimited;
use checkers::transactions::polygraph::{Decision, Level, Model, Respects, decide};
use measure::{forget_peak, peak_mb, processor_ms};

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|one| one != "--bench")
        .peekable();
    let mut name = "ser-session".to_owned();
    if arguments.peek().is_some_and(|one| one == "--level") {
        name = arguments.nth(1).unwrap();
    }
    if arguments.peek().is_none() {
        println!("no histories given: see the top of this file");
    }
    let level = Level {
        model: match name.split('-').next() {
            Some("si") => Model::SnapshotIsolation,
            Some("prefix") => Model::Prefix,
            _ => Model::Serializable,
        },
        respects: match name.split('-').nth(1) {
            Some("plain") => Respects::Nothing,
            Some("strong") => Respects::RealTime,
            _ => Respects::Sessions,
        },
    };
    for file in arguments {
        forget_peak();
        let seen = match registers::read(file.as_ref()) {
            Ok(seen) => seen,
            Err(why) => {
                println!("{file}: {name}: not for this decision: {why}");
                continue;
            }
        };
        let begin = processor_ms();
        let decision = decide(&seen, level, &Unlimited);
        let what = match decision {
            Decision::Holds(_) => "holds".to_owned(),
            Decision::Violated(proof) => {
                format!("violated by {} transactions", proof.transactions.len())
            }
            Decision::Unknown(why) => format!("unknown: {why}"),
        };
        println!(
            "{file}: {name}: {} transactions, {:.0} ms, {} MB peak: {what}",
            seen.len(),
            processor_ms() - begin,
            peak_mb(),
        );
    }
}
