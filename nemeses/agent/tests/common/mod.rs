//! An agent for tests, each of which uses a part of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agent::{Hello, Outcome, Reply, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// An agent, with a folder of its own and a copy of the program in it.
pub(crate) struct Agent {
    folder: TempDir,
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Agent {
    pub(crate) fn start(lease: &str) -> Agent {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let program = state.join("agent-test");
        // By another process: what this one has open for writing, children that tests begin meanwhile have too, and it cannot be run.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_gainsay-agent"))
            .arg(&program)
            .status();
        assert!(copied.unwrap().success());
        let mut child = Command::new(&program)
            .arg("serve")
            .args([state.as_os_str(), lease.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut agent = Agent {
            folder,
            child,
            lines,
        };
        let hello: Hello = serde_json::from_str(&agent.line()).unwrap();
        assert_eq!(hello.pid, agent.child.id());
        agent
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Outcome {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(&line).unwrap();
        let reply: Reply = serde_json::from_str(&self.line()).unwrap();
        assert_eq!(reply.id, request.id);
        reply.outcome
    }

    /// Asks a module for something, and nothing else.
    pub(crate) fn ask_module(&mut self, module: &str, request: &impl Serialize) -> Outcome {
        self.ask(&Request {
            id: 1,
            module: module.to_owned(),
            request: serde_json::to_value(request).unwrap(),
            notes: Vec::new(),
            forget: Vec::new(),
        })
    }

    /// The folder in which its folder of records is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends its input.
    pub(crate) fn hang_up(&mut self) {
        self.child.stdin.take();
    }

    /// Ends it without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a module answered that did what it was asked for.
pub(crate) fn done<A: DeserializeOwned>(outcome: Outcome) -> A {
    match outcome {
        Outcome::Done(value) => serde_json::from_value(value).unwrap(),
        other => panic!("{other:?}"),
    }
}
