//! A counter: does each read find as much as was added, and no more?
//!
//! | `op.f` | `op.value` | an `ok` returns |
//! | --- | --- | --- |
//! | `add` | a whole number, negative with `--decrements` | the same |
//! | `read` | `null` | the number; `null` where nothing was added yet |
//! | `final-read` | `null` | the same, when all is healed |
//!
//! Clients add, and one operation in four reads. An addition that was acknowledged must be in every read that begins later (or in
//! the final reads, where reads may be behind), and must be there once. A client that reads, adds and writes back on condition
//! makes this a test of lost updates. What an addition of unknown outcome makes uncertain stays uncertain to the end: keep them
//! small (`--max-amount`).

use checkers::counter_bounds::{self, CounterBounds};
use checkers::{FINAL_READ, Keyed};
use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::Value;

use crate::load::{self, Limits, Streams, Turns, whole};
use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "counter";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary:
            "Adds to a counter and reads it; finds additions that are lost, or were done twice"
                .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    let options = [
        load::rate(),
        whole(
            "max-amount",
            1,
            1_000_000_000,
            Some("5"),
            "The most that is added at once",
        ),
        OptionSpec::flag(
            "decrements",
            "Half of the additions are of negative numbers",
        ),
    ];
    options::of(NAME, options)
}

/// What judges a history. Reads of the main phase may be behind.
pub fn checkers() -> Vec<NamedChecker> {
    checkers_with(counter_bounds::Options::default())
}

/// What judges a history of a counter that is said to be linearizable: stale reads are violations.
pub fn linearizable_checkers() -> Vec<NamedChecker> {
    checkers_with(counter_bounds::Options {
        linearizable: true,
        ..counter_bounds::Options::default()
    })
}

fn checkers_with(options: counter_bounds::Options) -> Vec<NamedChecker> {
    vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(move || {
            let checker: Keyed<CounterBounds> = counter_bounds::new(options);
            Box::new(checker)
        }),
    }]
}

/// The operations of the main phase.
///
/// # Errors
///
/// None today.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    let options = request.options;
    let seed = request.seed.named(NAME);
    let (most, decrements) = (options.integer("max-amount"), options.flag("decrements"));
    let draw = move |_thread, rng: &mut Rng| {
        if rng.random_range(0..4) == 0 {
            return Op::new("read", Value::Null);
        }
        let amount = rng.random_range(1..=most);
        let down = decrements && rng.random();
        Op::new("add", if down { -amount } else { amount }.into())
    };
    let streams = Streams::new(seed.named("operations"), Turns::new(Limits::NONE), draw);
    Ok(load::paced(options, seed, streams))
}

/// The operations when all is healed: reads by each client, as many as it takes to have enough of them.
pub fn final_generator(request: &BuildRequest<'_>) -> BoxGenerator {
    load::read_until_ok(request, FINAL_READ)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::load::testing::Asked;

    #[test]
    fn a_quarter_reads_and_the_rest_adds_small_numbers() {
        for (given, expected) in [
            (vec![("max-amount", "3")], vec![1, 2, 3]),
            (
                vec![("max-amount", "2"), ("decrements", "true")],
                vec![-2, -1, 1, 2],
            ),
        ] {
            let steps = Asked::of(&options(), &given).invocations(10, generator);
            let adds = steps.iter().filter(|step| &*step.op.f == "add");
            let amounts: Vec<i64> = adds.map(|add| add.op.value.as_i64().unwrap()).collect();
            assert!((70..=80).contains(&(100 * amounts.len() / steps.len())));
            let different: BTreeSet<i64> = amounts.into_iter().collect();
            assert!(different.into_iter().eq(expected));
        }
    }
}
