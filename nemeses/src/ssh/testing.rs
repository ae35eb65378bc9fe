//! A session for tests that must not use any.

use std::path::Path;

use async_trait::async_trait;
use harness::Name;
use harness::remote::{Command, Output, Remote, RemoteError};
use tokio::net::UnixStream;

/// Panics when it is used.
pub(super) struct NoRemote(pub(super) Name);

#[async_trait]
impl Remote for NoRemote {
    fn node(&self) -> &Name {
        &self.0
    }

    async fn run(&self, _: Command) -> Result<Output, RemoteError> {
        unreachable!("this test talks to no node")
    }

    async fn write(&self, _: &str, _: Vec<u8>, _: u32) -> Result<(), RemoteError> {
        unreachable!("this test talks to no node")
    }

    async fn upload(&self, _: &Path, _: &str, _: u32) -> Result<(), RemoteError> {
        unreachable!("this test talks to no node")
    }

    async fn talk(&self, _: Command) -> Result<UnixStream, RemoteError> {
        unreachable!("this test talks to no node")
    }

    async fn download(&self, _: &str, _: &Path) -> Result<(), RemoteError> {
        unreachable!("this test talks to no node")
    }
}
