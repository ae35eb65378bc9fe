//! A session that runs scripts on this machine.

use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use harness::Name;
use harness::remote::{Command, Output, Remote, RemoteError};
use tokio::io::AsyncWriteExt;

/// Runs scripts with `sh`, itself run by other words if there are some.
pub(crate) struct Shell {
    node: Name,
    words: Vec<String>,
}

impl Shell {
    pub(crate) fn new(node: Name, words: &[String]) -> Shell {
        let words = words.iter().cloned();
        let words = words.chain(["sh", "-c"].map(str::to_owned)).collect();
        Shell { node, words }
    }
}

#[async_trait]
impl Remote for Shell {
    fn node(&self) -> &Name {
        &self.node
    }

    async fn run(&self, command: Command) -> Result<Output, RemoteError> {
        let mut child = tokio::process::Command::new(&self.words[0])
            .args(&self.words[1..])
            .arg(&command.script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it can be run");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(&command.stdin).await.expect("stdin");
        drop(stdin);
        let output = child.wait_with_output().await.expect("output");
        Ok(Output {
            status: output.status.code().unwrap_or(255),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    async fn write(&self, _: &str, _: Vec<u8>, _: u32) -> Result<(), RemoteError> {
        unimplemented!("no test writes files")
    }

    async fn upload(&self, _: &Path, _: &str, _: u32) -> Result<(), RemoteError> {
        unimplemented!("no test uploads")
    }

    async fn download(&self, _: &str, _: &Path) -> Result<(), RemoteError> {
        unimplemented!("no test downloads")
    }
}
