//! Monotonic reads: does each read of a growing set show what its session had read before?
//!
//! The operations are those of [`lost_update`](crate::lost_update): `add` of a whole number to a set, which is `key`; `read` of a
//! set; and `final-read` when all is healed. How an element is added makes no difference here: a row or a document of its own, or
//! an addition to a list. Half of the operations read.
//!
//! What is asked is less than linearizability: a read may be behind, but not further behind than the last one of its process,
//! which is a session. That is what reads at MongoDB's read concern `majority` promise as long as they are on one node, and what
//! reads that show what is rolled back later break. At the end, nothing that was acknowledged or read may be missing.

use checkers::Keyed;
use checkers::monotonic_reads::{self, MonotonicReads};

use crate::load::Generators;
use crate::lost_update;
use crate::options::{self, OptionSpec};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "monotonic-reads";

/// One of so many operations reads.
const READS: u32 = 2;

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Adds elements to sets, and reads them in sessions; finds reads that do not show what the session had read before, \
                  and elements that are lost in the end"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    options::of(NAME, lost_update::options())
}

/// What judges a history: that no session goes back, and that nothing is lost in the end.
pub fn checkers() -> Vec<NamedChecker> {
    let mut checkers = vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(|| {
            let checker: Keyed<MonotonicReads> = monotonic_reads::new();
            Box::new(checker)
        }),
    }];
    checkers.extend(lost_update::checkers());
    checkers
}

/// The operations.
///
/// # Errors
///
/// None today.
pub fn generators(request: &BuildRequest<'_>) -> Result<Generators, BuildError> {
    Ok(lost_update::growing(request, NAME, READS))
}
