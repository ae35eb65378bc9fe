//! Ending a real process that ends in its own time, or never, through a system's `Db`, with the undo journal.
#![allow(clippy::unwrap_used)]

#[path = "common/part.rs"]
mod part;
#[path = "common/shell.rs"]
mod shell;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{ProcessState, Processes, Signal};
use harness::db::DbError;
use harness::node::undo::{Healing, heal_node_in};
use harness::remote::{Command, Node};
use nemeses::ssh::{DbProcesses, Journaled};

use part::{Part, System};
use shell::Shell;

/// Where what a run knows is kept, in the test's folder.
const STATE: &str = "state";

/// A system that is one process, which hears neither TERM nor HUP.
struct Stubborn {
    /// Where its number is.
    file: PathBuf,
}

impl Stubborn {
    fn pids(&self) -> String {
        let file = self.file.display();
        format!(
            "p=$(cat {file} 2>/dev/null); grep -q '^State:.[^Z]' /proc/$p/status 2>/dev/null && echo $p; :"
        )
    }

    fn number(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        if let Ok(pid) = self.number().trim().parse() {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[async_trait]
impl Part for Stubborn {
    async fn start(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        let script = self.revive_script(node, nodes).unwrap();
        node.remote.exec(Command::new(script)).await.unwrap();
        Ok(())
    }

    async fn state(&self, node: &Node) -> Result<ProcessState, DbError> {
        let said = node.remote.exec(Command::new(self.pids())).await.unwrap();
        Ok(match said.text().is_empty() {
            true => ProcessState::Absent,
            false => ProcessState::Running,
        })
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(self.pids())
    }

    /// Starts nothing where it runs.
    fn revive_script(&self, _: &Node, _: &[Node]) -> Option<String> {
        Some(format!(
            "[ -n \"$({})\" ] || {{ (trap '' TERM HUP; exec setsid sleep 600 </dev/null >/dev/null 2>&1) & echo $! >{}; }}",
            self.pids(),
            self.file.display()
        ))
    }
}

/// A folder, a node that is this machine, and a system that runs there.
async fn running() -> (tempfile::TempDir, Journaled, Arc<System<Stubborn>>) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node {
        name: "n1".into(),
        address: "127.0.0.1".into(),
        remote: Arc::new(Shell::new("n1".into(), &[])),
    };
    let state = folder.path().join(STATE).display().to_string();
    let at = Journaled::new_in(&node, "test", &state);
    let file = folder.path().join("pid");
    let db = Arc::new(System(Stubborn { file }));
    db.start(&node, &[]).await.unwrap();
    assert_eq!(db.state(&node).await.unwrap(), ProcessState::Running);
    (folder, at, db)
}

#[tokio::test]
async fn what_did_not_end_when_it_was_told_to_is_killed_before_it_is_started_again() {
    let (_folder, at, db) = running().await;
    let processes = DbProcesses::new(std::slice::from_ref(&at), db.clone());
    let (name, first) = (Name::from("n1"), db.number());
    // One that need not end is left alone.
    for signal in [Signal::HUP, Signal::TERM] {
        let seen = processes.signal(&name, signal).await.unwrap();
        assert_eq!(seen, ProcessState::Running, "{signal}");
        let started = processes.start(&name).await.unwrap();
        assert_eq!(started, ProcessState::Running);
        assert_eq!(db.number() == first, signal == Signal::HUP, "{signal}");
        assert_eq!(at.journal.list().await.unwrap(), []);
    }
    // It has a new process now, which nobody has told anything.
    let second = db.number();
    processes.start(&name).await.unwrap();
    assert_eq!(db.number(), second);
}

#[tokio::test]
async fn so_it_is_when_the_controller_is_gone() {
    let (folder, at, db) = running().await;
    let state = folder.path().join(STATE).display().to_string();
    for signal in [Signal::HUP, Signal::TERM] {
        let before = db.number();
        let processes = DbProcesses::new(std::slice::from_ref(&at), db.clone());
        processes.signal(&"n1".into(), signal).await.unwrap();
        drop(processes);
        let healed = heal_node_in(&*at.node.remote, &state).await.unwrap();
        assert_eq!(healed.len(), 1, "{healed:?}");
        assert_eq!(healed[0].healing, Healing::Undone);
        let seen = db.state(&at.node).await.unwrap();
        assert_eq!(seen, ProcessState::Running);
        assert_eq!(db.number() == before, signal == Signal::HUP, "{signal}");
    }
}
