//! Transactions that read and write registers.
//!
//! An operation is `txn`; its value is a list of micro-operations, `["w", key, value]` and `["r", key, null]`. An `ok`
//! returns the same list,
//! with each `null` replaced by the value that was read; it stays `null` where nothing was written yet. All of a transaction happens or
//! nothing, at the isolation that is claimed.
//!
//! Each value is written to its key once, so a read shows who wrote what it saw. The order of writes it does not
//! show: take [`append`](crate::append) where the system can keep lists, for it finds more.

use checkers::transactions::{self, Assumptions, RwRegister};
use harness::generator::BoxGenerator;

use crate::append::level;
use crate::options::OptionSpec;
use crate::transactions as load;
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "rw-register";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Transactions that read and write registers; finds what the claimed isolation rules out, \
                  as far as single values show it"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    load::options()
}

/// What judges a history by a level such as `strict-serializable`, `serializable`, `snapshot-isolation` or `read-committed`.
///
/// # Errors
///
/// There is no such level.
pub fn checkers(consistency: &str) -> Result<Vec<NamedChecker>, BuildError> {
    checkers_named(NAME, consistency)
}

/// The same, for a workload of another name.
pub(crate) fn checkers_named(
    name: &str,
    consistency: &str,
) -> Result<Vec<NamedChecker>, BuildError> {
    let consistency = level(consistency)?;
    Ok(vec![NamedChecker {
        name: name.into(),
        make: Box::new(move || {
            let options = transactions::Options { consistency };
            Box::new(RwRegister::new(options, Assumptions::default()))
        }),
    }])
}

/// The operations of the main phase.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    load::generator(request, NAME, "w")
}
