//! The trait that ties a system, its workloads and their checkers together, and what it makes.

use std::sync::Arc;
use std::time::Duration;

use checkers::Checker;
use harness::capability::Environment;
use harness::client::SharedConnect;
use harness::db::{Db, DbFault};
use harness::generator::BoxGenerator;
use harness::remote::Node;
use harness::seed::Seed;
use harness::time::{SharedClock, VirtualRuntime};
use store::Name;
use thiserror::Error;

use crate::options::{OptionSpec, Options};

/// What a system promises for a workload, and who says so. A verdict of `invalid` is relative to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The promise, such as "linearizable".
    pub model: String,
    /// Who promises it, for which version and settings, with a citation.
    pub source: String,
}

/// A checker of a plan, made anew for each check.
pub struct NamedChecker {
    /// Its name in the results.
    pub name: String,
    /// Makes one.
    pub make: Box<dyn Fn() -> Box<dyn Checker> + Send + Sync>,
}

/// Where a plan runs.
pub enum World {
    /// Real nodes, with a system to install on them. Faults' capabilities come from the nodes.
    Nodes(Arc<dyn Db>),
    /// In this process, on virtual time, with its own capabilities.
    Simulated {
        /// The executor that everything of the run runs on.
        runtime: VirtualRuntime,
        /// What faults can act on.
        environment: Box<Environment>,
        /// Opens clients of the simulated system, which understand every workload of the suite.
        connect: SharedConnect,
        /// About how long an election takes: the scale of fault durations.
        election_timeout: Duration,
    },
}

/// Everything that a run of a workload needs, besides its world.
pub struct Plan {
    /// Opens clients.
    pub connect: SharedConnect,
    /// Clients' operations: the main phase. Bounded in time by the controller.
    pub generator: BoxGenerator,
    /// Clients' operations after all faults are healed and recovery is proved, if any.
    pub final_generator: Option<BoxGenerator>,
}

/// What a plan is built from.
pub struct BuildRequest<'a> {
    /// The workload's name.
    pub workload: &'a str,
    /// The options, defaults filled in.
    pub options: &'a Options,
    /// The nodes with their sessions; empty in a simulated world.
    pub nodes: &'a [Node],
    /// The names of all nodes, also of simulated ones.
    pub node_names: &'a [Name],
    /// How many client workers there are.
    pub workers: usize,
    /// How long the main phase lasts.
    pub time_limit: Duration,
    /// How long an operation may take.
    pub op_timeout: Duration,
    /// The root of the workload's random streams.
    pub seed: Seed,
    /// Tells this run's data from other runs': different even under the same seed, but in a simulated
    /// world.
    pub run: u64,
    /// The clock of the run.
    pub clock: SharedClock,
}

/// Why a plan could not be built: a message for the user.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BuildError(pub String);

/// A workload of a suite, for listings.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadInfo {
    /// Its name, as `--workload` takes it.
    pub name: String,
    /// What it does and what it finds, in a sentence.
    pub summary: String,
}

/// A version of a system, for listings.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionInfo {
    /// As `--version` takes it, or which there are, in words.
    pub version: String,
    /// Where it comes from.
    pub source: String,
}

impl VersionInfo {
    /// A version and where it comes from.
    pub fn new(version: impl Into<String>, source: impl Into<String>) -> VersionInfo {
        VersionInfo {
            version: version.into(),
            source: source.into(),
        }
    }
}

/// A system with its workloads. Object-safe and with owned names, so that one can be built at run
/// time.
pub trait Suite: Send + Sync {
    /// Its name, as `gainsay test` takes it.
    fn name(&self) -> &str;

    /// What it tests, in a sentence.
    fn summary(&self) -> &str;

    /// Its workloads, the default one first.
    fn workloads(&self) -> Vec<WorkloadInfo>;

    /// Its versions that can be had, if it has a `--version`.
    fn versions(&self) -> Vec<VersionInfo> {
        Vec::new()
    }

    /// Faults that only this system knows, for listings: what its [`Db`] has.
    fn faults(&self) -> &'static [DbFault] {
        &[]
    }

    /// Its options, for all workloads.
    fn options(&self) -> Vec<OptionSpec>;

    /// Whether its nodes are simulated in this process, so that it needs none of the user's.
    fn is_simulated(&self) -> bool {
        false
    }

    /// Whether its nodes have leaders, so that a test worth the name strikes one.
    fn has_leaders(&self) -> bool {
        true
    }

    /// What the system promises for a workload with these options: what a verdict is relative to.
    fn claim(&self, workload: &str, options: &Options) -> Claim;

    /// Debian packages that nodes need for this suite, to be had when a local node image is built.
    fn packages(&self) -> Vec<String> {
        Vec::new()
    }

    /// The world that it runs in.
    fn world(&self, request: &WorldRequest<'_>) -> Result<World, BuildError>;

    /// The plan of a workload.
    fn plan(&self, world: &World, request: &BuildRequest<'_>) -> Result<Plan, BuildError>;

    /// What judges a workload's history, besides what judges every history.
    fn checkers(&self, workload: &str, options: &Options) -> Result<Vec<NamedChecker>, BuildError>;
}

/// What a world is made from.
pub struct WorldRequest<'a> {
    /// The options, defaults filled in.
    pub options: &'a Options,
    /// Names of the nodes.
    pub node_names: &'a [Name],
    /// The root of the world's random streams.
    pub seed: Seed,
}
