//! An agent as a program, in a folder of its own.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agent::{Hello, Outcome, Reply, Request};
use tempfile::TempDir;

/// An agent, with a folder of its own and a copy of the program in it.
pub(crate) struct Agent {
    pub(crate) folder: TempDir,
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
}

impl Agent {
    pub(crate) fn start(lease: &str) -> Agent {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let program = state.join("agent-test");
        fs::copy(env!("CARGO_BIN_EXE_gainsay-agent"), &program).unwrap();
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

    pub(crate) fn state(&self) -> std::path::PathBuf {
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
