//! The agent as a program: what it leaves behind when it is left alone.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agent::{Hello, Note, Outcome, Reply, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// An agent, with a folder of its own and a copy of the program in it.
struct Agent {
    folder: TempDir,
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Agent {
    fn start(lease: &str) -> Agent {
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

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    fn ask(&mut self, request: &Request) -> Outcome {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(&line).unwrap();
        let reply: Reply = serde_json::from_str(&self.line()).unwrap();
        assert_eq!(reply.id, request.id);
        reply.outcome
    }

    /// Waits until it has ended by itself.
    fn ended(&mut self) -> bool {
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

/// A look at a process that there is not, with an entry whose undoing leaves a mark.
fn request(mark: &Path) -> Request {
    let entry = json!({"id": "1", "undo": format!("touch {}", mark.display()), "verify": "true", "survives_reboot": false});
    Request {
        id: 7,
        module: "processes".to_owned(),
        request: json!({"pids": "true", "signal": null, "patience_ms": 10}),
        notes: vec![Note {
            id: "1".to_owned(),
            entry: entry.as_object().unwrap().clone(),
        }],
        forget: Vec::new(),
    }
}

#[test]
fn when_its_input_ends_it_undoes_all_and_is_gone() {
    let mut agent = Agent::start("600");
    let mark = agent.folder.path().join("undone");
    let outcome = agent.ask(&request(&mark));
    assert_eq!(
        outcome,
        Outcome::Done(json!({"state": "absent", "pids": []}))
    );
    assert!(agent.state().join("undo/1.json").exists() && !mark.exists());
    agent.child.stdin.take();
    assert!(agent.ended());
    assert!(mark.exists() && !agent.state().exists());
}

#[test]
fn when_nobody_speaks_to_it_any_more_it_does_the_same() {
    let mut agent = Agent::start("1");
    let mark = agent.folder.path().join("undone");
    agent.ask(&request(&mark));
    // A sign of life now and then renews the lease.
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(400));
        let alive = Request {
            module: agent::ALIVE.to_owned(),
            request: Value::Null,
            notes: Vec::new(),
            ..request(&mark)
        };
        assert_eq!(agent.ask(&alive), Outcome::Done(Value::Null));
    }
    assert!(!mark.exists());
    assert!(agent.ended());
    assert!(mark.exists() && !agent.state().exists());
}

#[test]
fn what_was_taken_back_is_not_undone_again() {
    let mut agent = Agent::start("600");
    let mark = agent.folder.path().join("undone");
    agent.ask(&request(&mark));
    let back = Request {
        notes: Vec::new(),
        forget: vec!["1".to_owned()],
        ..request(&mark)
    };
    agent.ask(&back);
    assert!(!agent.state().join("undo/1.json").exists());
    agent.child.stdin.take();
    assert!(agent.ended());
    assert!(!mark.exists());
}

#[test]
fn what_cannot_be_written_down_or_is_not_known_is_not_done() {
    let mut agent = Agent::start("600");
    let mark = agent.folder.path().join("undone");
    let unknown = Request {
        module: "magic".to_owned(),
        ..request(&mark)
    };
    assert!(matches!(agent.ask(&unknown), Outcome::NotDone(why) if why.contains("magic")));
    let refused = Request {
        request: json!({"pids": 1}),
        ..request(&mark)
    };
    assert!(matches!(agent.ask(&refused), Outcome::NotDone(_)));
    assert!(!agent.state().join("undo/1.json").exists());
    fs::write(agent.state().join("undo"), "in the way").ok();
    let _ = fs::remove_dir_all(agent.state().join("undo"));
    fs::write(agent.state().join("undo"), "in the way").unwrap();
    assert!(matches!(agent.ask(&request(&mark)), Outcome::NotWritten(_)));
}
