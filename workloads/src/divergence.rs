//! Divergence: when all is healed, does every node hold the same?
//!
//! | `op.f` | `op.key` | `op.value` | an `ok` returns |
//! | --- | --- | --- | --- |
//! | `write` | a record | a whole number, never twice | the number; or `{"value": …, "version": …}` |
//! | `read` | a record | `null` | what the node that was asked holds, `null` where there is none; or `{"value": …, "version": …}` |
//! | `final-read` | a record | `null` | the same, when all is healed |
//!
//! Reads are answered by the node that was asked, from what it has itself, and say which that was. Say the version where the
//! system has one (`_version`, a sequence number with its term, `xmin`): two values of one version are found while the run goes
//! on, wherever they were read. When all is healed, each record is read on every node, and all must agree.

use checkers::divergence::Divergence;

use crate::load::{self, Generators, whole};
use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "divergence";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Writes records, and reads each on every node when all is healed; finds nodes that differ for good, and versions with two \
                  values"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    let options = [
        load::rate(),
        whole(
            "records",
            1,
            10_000,
            Some("8"),
            "How many records are in use at a time",
        ),
        whole(
            "writes-per-record",
            1,
            1_000_000,
            Some("200"),
            "Writes to a record before it is left for a fresh one",
        ),
    ];
    options::of(NAME, options)
}

/// What judges a history.
pub fn checkers() -> Vec<NamedChecker> {
    vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(|| Box::new(Divergence::new())),
    }]
}

/// The operations. Half of those of the main phase read.
///
/// # Errors
///
/// None today.
pub fn generators(request: &BuildRequest<'_>) -> Result<Generators, BuildError> {
    let options = request.options;
    let slots = (
        options.integer("records"),
        options.integer("writes-per-record"),
    );
    Ok(load::on_keys(request, NAME, slots, ("write", 2)))
}
