//! Systems of which faults ask only a part.

use std::ops::Deref;
use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{ProcessState, Signal};
use harness::db::{Db, DbError, DbFaults};
use harness::node::daemon::Daemon;
use harness::remote::Node;

/// What there is of a system. All else must not be asked for.
#[async_trait]
pub(crate) trait Part: Send + Sync {
    async fn start(&self, _: &Node, _: &[Node]) -> Result<(), DbError> {
        unreachable!("nobody starts it here")
    }

    async fn healthy(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("nobody asks for its health here")
    }

    async fn signal(&self, _: &Node, _: Signal) -> Result<ProcessState, DbError> {
        unreachable!("the agent does that, where it can know the processes")
    }

    async fn state(&self, _: &Node) -> Result<ProcessState, DbError> {
        unreachable!("nobody looks at it here")
    }

    async fn version(&self, _: &Node) -> Result<String, DbError> {
        unreachable!("nobody asks for its version here")
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        None
    }

    fn revive_script(&self, _: &Node, _: &[Node]) -> Option<String> {
        None
    }

    fn data_folders(&self) -> Vec<String> {
        Vec::new()
    }

    fn faults(&self) -> Option<&dyn DbFaults> {
        None
    }
}

/// A part, as a system.
pub(crate) struct System<P>(pub(crate) P);

impl<P> Deref for System<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

#[async_trait]
impl<P: Part> Db for System<P> {
    async fn start(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.0.start(node, nodes).await
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        self.0.healthy(node).await
    }

    fn process(&self) -> Daemon {
        unreachable!("a part says itself what is seen of its processes")
    }

    async fn signal(&self, node: &Node, signal: Signal) -> Result<ProcessState, DbError> {
        self.0.signal(node, signal).await
    }

    async fn state(&self, node: &Node) -> Result<ProcessState, DbError> {
        self.0.state(node).await
    }

    async fn version(&self, node: &Node) -> Result<String, DbError> {
        self.0.version(node).await
    }

    fn pids_script(&self, node: &Node) -> Option<String> {
        self.0.pids_script(node)
    }

    fn revive_script(&self, node: &Node, nodes: &[Node]) -> Option<String> {
        self.0.revive_script(node, nodes)
    }

    fn data_folders(&self) -> Vec<String> {
        self.0.data_folders()
    }

    fn faults(&self) -> Option<&dyn DbFaults> {
        self.0.faults()
    }

    async fn install(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("no fault does that")
    }

    async fn wipe(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("no fault does that")
    }

    async fn start_fresh(&self, _: &Node, _: &[Node]) -> Result<(), DbError> {
        unreachable!("no fault does that")
    }

    async fn teardown(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("no fault does that")
    }

    async fn primaries(&self, _: &[Node]) -> Vec<Name> {
        Vec::new()
    }

    fn log_files(&self) -> Vec<String> {
        Vec::new()
    }

    fn election_timeout(&self) -> Duration {
        Duration::from_secs(1)
    }
}
