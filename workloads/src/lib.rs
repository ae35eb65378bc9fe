//! What is asked of a system: the trait [`Suite`], and workloads that are the same for every system.
//!
//! A suite is one system as Gainsay knows it. It says what there is to choose ([`OptionSpec`]s and
//! workloads, as data), where it runs (a [`World`]: nodes, or a simulation in this process), and for a
//! run of a workload who performs which operations (a [`Plan`]), what judges them ([`NamedChecker`]s)
//! and what the verdict is relative to (a [`Claim`]).
//!
//! A workload is no trait but a module with functions, such as [`register`], that suites call: its
//! options, its generator, its checkers. What differs between systems is the client, which the suite
//! brings.

pub mod append;
pub mod bank;
pub mod causal;
pub mod causal_reverse;
pub mod counter;
pub mod dirty_read;
pub mod divergence;
pub mod kit;
mod load;
pub mod long_fork;
pub mod lost_update;
pub mod monotonic_reads;
pub mod options;
pub mod register;
pub mod rw_register;
pub mod set;
mod suite;
mod transactions;
pub mod write_skew;

pub use load::Generators;
pub use options::{OptionKind, OptionSpec, OptionValue, Options};
pub use suite::{
    BuildError, BuildRequest, Claim, NamedChecker, Plan, Suite, VersionInfo, WorkloadInfo, World,
    WorldRequest,
};
