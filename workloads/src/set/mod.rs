//! A set that only grows: are acknowledged elements still there at the end?
//!
//! | `op.f` | `op.value` | an `ok` returns |
//! | --- | --- | --- |
//! | `add` | a whole number, never twice | the number |
//! | `read` | `null` | all elements, as a list in any order |
//! | `final-read` | `null` | the same, up to date, when all is healed |
//!
//! Clients add as fast as they may while faults strike. When all is healed and every node has recovered, each client reads
//! the whole set. What was acknowledged and is not there is lost, whatever consistency is claimed; so this needs next to nothing of a
//! system, and checking it is cheap.
//!
//! With `--reads`, clients also read in the main phase. Then stale reads are seen; that something is gone, only a final read shows. A read returns everything, so
//! let there be few where there are many elements.

use checkers::FINAL_READ;
use checkers::set_full::{self, SetFull};
use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::Value;

use crate::load::{self, Filled, Limits, Streams, Turns};
use crate::options::{self, OptionKind, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "set";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Adds elements to a set under faults, and reads it on every node when all is healed; finds \
                  acknowledged elements that are lost, and replicas that differ for good"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    let options = [
        load::rate(),
        OptionSpec::new(
            "reads",
            OptionKind::Number { min: 0.0, max: 1.0 },
            Some("0"),
            "The share of operations in the main phase that read the whole set",
        ),
    ];
    options::of(NAME, options)
}

/// What judges a history. Stale reads in the main phase are counted, and are no violation.
pub fn checkers() -> Vec<NamedChecker> {
    checkers_with(set_full::Options::default())
}

/// What judges a history of a set that is said to be linearizable: stale reads are violations.
pub fn linearizable_checkers() -> Vec<NamedChecker> {
    checkers_with(set_full::Options { linearizable: true })
}

fn checkers_with(options: set_full::Options) -> Vec<NamedChecker> {
    vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(move || Box::new(SetFull::new(options))),
    }]
}

/// The operations of the main phase.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    let seed = request.seed.named(NAME);
    let reads = request.options.number("reads");
    let turns = Turns::new(Limits::NONE);
    let draw = move |_thread, rng: &mut Rng| match rng.random_bool(reads) {
        true => Op::new("read", Value::Null),
        false => Op::new("add", Value::Null),
    };
    let streams = Streams::new(seed.named("operations"), turns, draw);
    let numbered = Filled::new(streams, 0, |next: &mut u64, op: &mut Op| {
        if &*op.f == "add" {
            op.value = (*next).into();
            *next += 1;
        }
    });
    Ok(load::paced(request.options, seed, numbered))
}

/// The operations when all is healed: reads by each client, as many as it takes to have enough of them.
pub fn final_generator(request: &BuildRequest<'_>) -> BoxGenerator {
    load::read_until_ok(request, FINAL_READ)
}

#[cfg(test)]
mod tests;
