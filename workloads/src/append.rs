//! Transactions that append to lists and read them: the strongest evidence of isolation that there is.
//!
//! An operation is `txn`; its value is a list of micro-operations, `["append", key, element]` and `["r", key, null]`. An `ok` returns the
//! same list, with each `null` replaced by the whole list that was read, such as `[1, 2, 3]`; `[]` or `null` where
//! nothing was appended yet. All
//! of a transaction happens or nothing, at the isolation that is claimed.
//!
//! Each element is appended to its key once, so a list that was read shows all appends before it, in their order. See
//! [`checkers::transactions`] for what follows from it, and the module `transactions` here for which keys are used.

use checkers::ListAppend;
use checkers::transactions::{self, Level};
use harness::generator::BoxGenerator;

use crate::options::{self, OptionSpec};
use crate::transactions as load;
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "append";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Transactions that append to lists and read them; finds whatever the claimed isolation rules out: \
                  write cycles, aborted and intermediate reads, lost updates, read and write skew, stale reads"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    options::of(NAME, load::options())
}

/// What judges a history by a level such as `strict-serializable`, `serializable`, `snapshot-isolation` or `read-committed`.
///
/// # Errors
///
/// There is no such level.
pub fn checkers(consistency: &str) -> Result<Vec<NamedChecker>, BuildError> {
    let consistency = level(consistency)?;
    Ok(vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(move || Box::new(ListAppend::new(transactions::Options { consistency }))),
    }])
}

/// The level of a name.
pub(crate) fn level(name: &str) -> Result<&'static Level, BuildError> {
    let unknown = || BuildError(format!("there is no level of isolation {name:?}"));
    transactions::models::find(name).ok_or_else(unknown)
}

/// The operations of the main phase.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    load::generator(request, NAME, "append")
}
