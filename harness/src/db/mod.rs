//! The trait that a system under test implements: how it comes to a node, runs there and leaves.

use std::time::Duration;

use async_trait::async_trait;
use store::Name;
use thiserror::Error;

mod faults;
pub mod steps;

pub use faults::{DbFault, DbFaults, DbUndo};

use crate::capability::{CapabilityError, ProcessState, Signal};
use crate::node::daemon::Daemon;
use crate::remote::{Node, RemoteError};

/// What went wrong with the system on a node.
#[derive(Debug, Error)]
pub enum DbError {
    /// Between here and the node.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// On the node; the message says which, and what to do.
    #[error("{node}: {message}\n  hint: {hint}")]
    System {
        /// The node.
        node: Name,
        /// What failed.
        message: String,
        /// What to do next.
        hint: String,
    },
}

/// What was found on a node after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is and what it means, in a sentence, for the verdict.
    pub text: String,
    /// The files that it is, as absolute paths. They are brought down.
    pub files: Vec<String>,
}

/// A system whose nodes can be taken out and brought in while it runs.
#[async_trait]
pub trait DbMembership: Send + Sync {
    /// The nodes, among these, that belong to the system as one of them sees it. `None` if it does not answer within a
    /// second or so.
    async fn members(&self, at: &Node, nodes: &[Node]) -> Option<Vec<Name>>;

    /// Asks others to take a node out of the system. What runs on it and what data it has does not matter here.
    async fn remove(&self, node: &Node, others: &[Node]) -> Result<(), CapabilityError>;

    /// A shell script that brings a node in again that was taken out, or has lost its data, if it does not run; it may take a minute.
    /// Written down on the node before, so that it is brought in also when we are gone. Without it, it is not.
    fn rejoin_script(&self, _node: &Node, _others: &[Node]) -> Option<String> {
        None
    }

    /// Asks others to take a node in, and starts it, without data, on a node where nothing runs.
    async fn add(&self, node: &Node, others: &[Node]) -> Result<(), CapabilityError>;
}

/// A system of which several versions can run on a node, one after another.
#[async_trait]
pub trait DbVersions: Send + Sync {
    /// Brings the software of a version to the node, which may run another one meanwhile. The error says what is wrong with a
    /// version that is none.
    async fn bring(&self, node: &Node, version: &str) -> Result<(), DbError>;

    /// Which version the node is started with from now on.
    fn choose(&self, node: &Node, version: &str);

    /// Which version the node is started with.
    fn chosen(&self, node: &Node) -> String;
}

/// A system under test. Every method is called for all nodes in parallel, by phase, with a time
/// limit around it.
#[async_trait]
pub trait Db: Send + Sync {
    /// Brings the software to the node. Does nothing where it is already there.
    async fn install(&self, node: &Node) -> Result<(), DbError>;

    /// Removes data and processes of *earlier runs of ours*, so that the next start is fresh. Data
    /// that is not ours is never wiped: an error says so, and names the flag that allows it.
    async fn wipe(&self, node: &Node) -> Result<(), DbError>;

    /// Configures and starts the system on a node that was wiped. `nodes` is the whole cluster.
    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError>;

    /// Starts the system again with the data it has, if it does not run. Idempotent.
    async fn start(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError>;

    /// Starts the system on a node that has lost its data, and that the others still know.
    async fn start_empty(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.start(node, nodes).await
    }

    /// Waits until the node answers as a healthy member. The caller bounds it. Whether it takes and shows writes is
    /// proved with [`recovery_probe`](crate::client::Connect::recovery_probe), where there is one.
    async fn healthy(&self, node: &Node) -> Result<(), DbError>;

    /// The system's process on any node, as it is found again: its pid file, its log, its user. What starts it need not be told.
    fn process(&self) -> Daemon;

    /// Sends a signal to the system's processes and says what is seen of them afterwards; a `KILL`
    /// returns only when they are gone.
    async fn signal(&self, node: &Node, signal: Signal) -> Result<ProcessState, DbError> {
        Ok(self.process().signal(&*node.remote, signal).await?)
    }

    /// What is seen of the system's processes.
    async fn state(&self, node: &Node) -> Result<ProcessState, DbError> {
        Ok(self.process().state(&*node.remote).await?)
    }

    /// A shell script that prints the process ids of the system's processes on a node, one a line, and
    /// none where it does not run. Written down on the node before a pause, so that the processes can be
    /// let go on again also when we are gone. Without it, the system is never paused.
    fn pids_script(&self, _node: &Node) -> Option<String> {
        Some(self.process().pids_script())
    }

    /// A shell script that starts the system again, with the data it has, where it was started, was not stopped since, and does
    /// not run. Written down on a node before what may end the system there, so that it is started again also when we are gone.
    /// Without it, it is not. `nodes` is the whole cluster.
    fn revive_script(&self, _node: &Node, _nodes: &[Node]) -> Option<String> {
        None
    }

    /// The folders that hold the system's data on every node, as absolute paths. Faults of disks strike what is in them. A file system may
    /// be put over each before the system starts, and while it stands they can be emptied, but not removed, as
    /// [`files::remove`](crate::node::files::remove) does it; it is gone before
    /// `teardown`. Those that are not there are made, and belong to root.
    fn data_folders(&self) -> Vec<String> {
        Vec::new()
    }

    /// How nodes are taken out and brought in, for systems that can do that.
    fn membership(&self) -> Option<&dyn DbMembership> {
        None
    }

    /// How nodes are given other versions, for systems that can do that.
    fn versions(&self) -> Option<&dyn DbVersions> {
        None
    }

    /// The faults that only this system knows, if it has some.
    fn faults(&self) -> Option<&dyn DbFaults> {
        None
    }

    /// What is found on a node after a run that says something of it by being there, such as what the system set aside as undone. Asked
    /// before `teardown`.
    async fn findings(&self, _node: &Node) -> Result<Option<Finding>, DbError> {
        Ok(None)
    }

    /// Stops the system and removes its data and ours (never the package).
    async fn teardown(&self, node: &Node) -> Result<(), DbError>;

    /// The nodes that believe to be primary, among these, in the same order. Must answer within a second or so. Asked a
    /// few times in each election time-out, for as long as a run lasts: of the servers, not through the nodes' shells.
    async fn primaries(&self, nodes: &[Node]) -> Vec<Name>;

    /// Log files on a node, as absolute paths.
    fn log_files(&self) -> Vec<String>;

    /// About how long an election takes: the scale of fault durations.
    fn election_timeout(&self) -> Duration;

    /// The version that runs on a node, for the report.
    async fn version(&self, node: &Node) -> Result<String, DbError>;
}
