//! What the load of all workloads has in common: how fast it comes, whose turn it is, and what each thread draws.

use std::time::Duration;

use harness::generator::{BoxGenerator, Generator, GeneratorExt};
use harness::seed::Seed;

use crate::options::{OptionKind, OptionSpec, Options};

mod filled;
mod last;
mod on_keys;
mod slots;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
mod turns;

pub(crate) use filled::Filled;
#[cfg(test)]
pub(crate) use last::FINAL_TRIES;
pub(crate) use last::{read_keys_until_ok, read_until_ok};
pub use on_keys::Generators;
pub(crate) use on_keys::on_keys;
pub(crate) use slots::{Slots, Used};
pub(crate) use stream::Streams;
pub(crate) use turns::{Limits, Turns};

/// The option of how fast operations come.
pub(crate) fn rate() -> OptionSpec {
    OptionSpec::new(
        "rate",
        OptionKind::Number { min: 0.0, max: 1e9 },
        Some("1000"),
        "Operations a second that clients begin, all together; 0 for as many as they can",
    )
}

/// An option that is a whole number.
pub(crate) fn whole(
    name: &str,
    min: i64,
    max: i64,
    default: Option<&str>,
    help: &str,
) -> OptionSpec {
    OptionSpec::new(name, OptionKind::Integer { min, max }, default, help)
}

/// Operations at the [`rate`] that was asked for.
pub(crate) fn paced(
    options: &Options,
    seed: Seed,
    operations: impl Generator + 'static,
) -> BoxGenerator {
    let rate = options.number("rate");
    match rate > 0.0 {
        true => operations
            .stagger(seed.named("stagger"), Duration::from_secs_f64(1.0 / rate))
            .boxed(),
        false => operations.boxed(),
    }
}
