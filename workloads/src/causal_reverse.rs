//! Causal reverse: a reader sees a write, and not one that had been acknowledged before it began.
//!
//! The operations are those of [`long_fork`](crate::long_fork): writes of single keys, each once, and reads of whole groups. What
//! is asked is more: the order of transactions is that in which they really happened. Systems that are serializable, and take
//! their order from clocks that disagree, break it though no reader sees a fork (CockroachDB documents it by this name).

use harness::generator::BoxGenerator;

use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo, long_fork, rw_register};

/// The workload's name.
pub const NAME: &str = "causal-reverse";

/// The level of isolation that it is about.
pub const LEVEL: &str = "strict-serializable";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Writes of single keys, and reads of whole groups of them; finds a write that is seen without one that was \
                  acknowledged before it began"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    options::of(NAME, long_fork::options())
}

/// What judges a history: strict serializability.
///
/// # Errors
///
/// None today: the level is known.
pub fn checkers() -> Result<Vec<NamedChecker>, BuildError> {
    rw_register::checkers_named(NAME, LEVEL)
}

/// The operations of the main phase.
///
/// # Errors
///
/// None today.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    long_fork::generator_named(request, NAME)
}
