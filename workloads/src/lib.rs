//! What is asked of a system: the traits [`Suite`] and workloads that are the same for every system.

pub mod options;
pub mod register;
mod suite;

pub use options::{OptionKind, OptionSpec, OptionValue, Options};
pub use suite::{
    BuildError, BuildRequest, Claim, NamedChecker, Plan, Suite, WorkloadInfo, World, WorldRequest,
};
