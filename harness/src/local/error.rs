//! What can go wrong with a local cluster, and what to do about it.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::tools::Missing;

/// Why a local cluster could not be built, started, found or removed.
#[derive(Debug, Error)]
pub enum LocalError {
    /// Namespaces, mounts and bridges are root's.
    #[error(
        "a local cluster needs root\n  hint: run as root (sudo), or give real nodes with --nodes"
    )]
    NotRoot,
    /// The number of nodes is out of range.
    #[error("a local cluster has 1 to {max} nodes, not {asked}")]
    NodeCount {
        /// What was asked for.
        asked: usize,
        /// How many fit into the cluster's network.
        max: usize,
    },
    /// This machine lacks programs that build the nodes' base system.
    #[error("{}", missing(.0))]
    MissingTools(Vec<Missing>),
    /// This machine's package sources cannot serve a base system.
    #[error("no package sources for the nodes' base system: {0}")]
    Sources(String),
    /// A package's name is not one.
    #[error("not a Debian package name: {0:?}")]
    PackageName(String),
    /// A program that builds the base system or a package layer failed.
    #[error("{doing}: {program} ended with {status}\n{tail}\n  hint: {hint}")]
    Program {
        /// What was being done.
        doing: String,
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines it wrote.
        tail: String,
        /// What to check.
        hint: String,
    },
    /// A program did not end in time, and was killed.
    #[error("{doing}: {program} did not end within {limit:?} and was killed\n{tail}")]
    TooLong {
        /// What was being done.
        doing: String,
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
        /// The last lines it wrote.
        tail: String,
    },
    /// The nodes did not come up; what there was of them has been removed.
    #[error("the local cluster did not start: {0}")]
    Start(String),
    /// No cluster of that name is registered.
    #[error("no local cluster {0:?}\n  hint: `gainsay nodes list` shows those that exist")]
    Unknown(String),
    /// The cluster is still starting, or its processes have ended.
    #[error("local cluster {0} is not up\n  hint: `gainsay nodes down {0}` removes it")]
    NotUp(String),
    /// Processes of a cluster outlived their kill.
    #[error("local cluster {id}: process {pid} did not end within {limit:?} of being killed")]
    Unkillable {
        /// The cluster.
        id: String,
        /// The process.
        pid: i32,
        /// How long was waited.
        limit: Duration,
    },
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What it said.
        source: io::Error,
    },
}

fn missing(tools: &[Missing]) -> String {
    let mut text = String::from("this machine lacks what a local cluster needs:");
    for tool in tools {
        text.push_str(&format!(
            "\n  {} (package {}): {}",
            tool.tool, tool.package, tool.why
        ));
    }
    let packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    text.push_str("\n  hint: pass --setup to have it installed, or run: apt-get install ");
    text.push_str(&packages.join(" "));
    text
}

/// Names the activity that an error interrupted.
pub(super) trait Doing<T> {
    /// Adds what was being done.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, LocalError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, LocalError> {
        self.map_err(|source| LocalError::Io {
            doing: what().into(),
            source,
        })
    }
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, LocalError> {
        self.map_err(io::Error::from).doing(what)
    }
}
