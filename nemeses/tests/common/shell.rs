//! A session that runs scripts on this machine.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use harness::Name;
use harness::remote::{Command, Output, Remote, RemoteError};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

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

    async fn talk(&self, command: Command) -> Result<UnixStream, RemoteError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let end = || Stdio::from(OwnedFd::from(theirs.try_clone().expect("descriptors")));
        // Not killed when dropped, as it would not be over SSH either: its input ends.
        let mut child = std::process::Command::new(&self.words[0])
            .args(&self.words[1..])
            .arg(&command.script)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("it can be run");
        drop(theirs);
        std::thread::spawn(move || child.wait());
        ours.set_nonblocking(true).expect("a socket");
        Ok(UnixStream::from_std(ours).expect("a reactor"))
    }

    async fn write(&self, path: &str, contents: Vec<u8>, mode: u32) -> Result<(), RemoteError> {
        // By another process: what this one has open for writing, children that tests begin meanwhile have too, and it
        // cannot be run.
        let script =
            format!("cat >'{path}.new' && chmod {mode:o} '{path}.new' && mv '{path}.new' '{path}'");
        let written = self.run(Command::new(script).stdin(contents)).await?;
        assert_eq!(written.status, 0, "{written:?}");
        Ok(())
    }

    async fn upload(&self, _: &Path, _: &str, _: u32) -> Result<(), RemoteError> {
        unimplemented!("no test uploads")
    }

    async fn download(&self, _: &str, _: &Path) -> Result<(), RemoteError> {
        unimplemented!("no test downloads")
    }
}
