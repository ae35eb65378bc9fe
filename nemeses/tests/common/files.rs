//! A system that is nothing but files, for tests of what is done to its data and beside it.

use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{ProcessState, Signal};
use harness::db::{Db, DbError};
use harness::remote::Node;

/// A system without processes but those that a test starts.
pub(crate) struct Files {
    pub(crate) data: String,
    pub(crate) pid_file: String,
}

#[async_trait]
impl Db for Files {
    fn data_folders(&self) -> Vec<String> {
        vec![self.data.clone()]
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(format!("cat {} 2>/dev/null", self.pid_file))
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

    async fn start(&self, _: &Node, _: &[Node]) -> Result<(), DbError> {
        unreachable!("no test starts it")
    }

    async fn healthy(&self, _: &Node) -> Result<(), DbError> {
        unreachable!("no fault does that")
    }

    async fn signal(&self, _: &Node, _: Signal) -> Result<ProcessState, DbError> {
        unreachable!("the agent does that")
    }

    async fn state(&self, _: &Node) -> Result<ProcessState, DbError> {
        unreachable!("no test asks")
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

    async fn version(&self, _: &Node) -> Result<String, DbError> {
        unreachable!("no fault does that")
    }
}
