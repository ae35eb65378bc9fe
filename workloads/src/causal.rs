//! Causality: what a session has seen or done, it and all that follow from it go on seeing.
//!
//! An operation is `txn` with a list of one micro-operation, `["w", key, value]` or `["r", key, null]`, as in
//! [`rw_register`](crate::rw_register). A process is a session: its operations are in order. Causal consistency is what sessions
//! need so as not to be led astray:
//!
//! | guarantee | broken when |
//! | --- | --- |
//! | read your writes | a session writes, and then reads what was there before |
//! | monotonic reads | a session reads a value, and then one that was overwritten before that |
//! | monotonic writes | others see a session's second write, and then not its first |
//! | writes follow reads | others see an answer, and then not what it was an answer to |
//!
//! Each value is written to its key once, so a read shows whose write it saw. Causal order is then known completely, and the
//! level `causal` is decided, not only tested by examples, whichever keys and sessions it runs through (a fixed sequence of five
//! operations on one key, as in Jepsen's test of this name, sees the first three rows of a single session).

use harness::generator::BoxGenerator;

use crate::options::{self, OptionSpec};
use crate::transactions as load;
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo, rw_register};

/// The workload's name.
pub const NAME: &str = "causal";

/// The level of consistency that it is about.
pub const LEVEL: &str = "causal";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Sessions of single reads and writes on a few registers; finds reads that miss the session's own writes, go back \
                  in time, or show an answer without what it answers"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    options::of(NAME, load::key_options())
}

/// What judges a history: the level `causal`.
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
    load::generator_of(request, NAME, "w", (1, 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::load::testing::Asked;

    #[test]
    fn each_operation_is_one_read_or_write() {
        let steps = Asked::of(&options(), &[]).invocations(10, generator);
        assert!((9_600..=10_400).contains(&steps.len()), "{}", steps.len());
        let alone = steps.iter().map(|step| step.op.value.as_array().unwrap());
        let writes = alone.map(|micros| match &micros[..] {
            [one] => usize::from(one[0] == "w" && one[2].is_i64()),
            other => panic!("{other:?}"),
        });
        let writes: usize = writes.sum();
        assert!(
            (45..=55).contains(&(100 * writes / steps.len())),
            "{writes}"
        );
    }
}
