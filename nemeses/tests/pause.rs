//! Pausing a real process through a system's `Db`, with the undo journal.
#![allow(clippy::unwrap_used)]

#[path = "common/part.rs"]
mod part;
#[path = "common/shell.rs"]
mod shell;

use std::process::{Child, Command as Process};
use std::sync::Arc;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, ProcessState, Processes, Signal};
use harness::db::DbError;
use harness::node::undo::{Healing, heal_node_in};
use harness::remote::{Node, Remote};
use nemeses::ssh::{DbProcesses, Journaled};

use part::{Part, System};
use shell::Shell;

/// A system that is one `sleep`.
struct Sleep {
    child: Child,
    says_pids: bool,
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sleep {
    fn new(says_pids: bool) -> Arc<System<Sleep>> {
        let child = Process::new("sleep").arg("600").spawn().unwrap();
        Arc::new(System(Sleep { child, says_pids }))
    }

    fn now(&self) -> ProcessState {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        match stat.rsplit(") ").next().unwrap().starts_with('T') {
            true => ProcessState::Stopped,
            false => ProcessState::Running,
        }
    }
}

#[async_trait]
impl Part for Sleep {
    async fn state(&self, _: &Node) -> Result<ProcessState, DbError> {
        Ok(self.now())
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        self.says_pids.then(|| format!("echo {}", self.child.id()))
    }
}

fn node(folder: &str) -> Journaled {
    let node = Node {
        name: "n1".into(),
        address: "127.0.0.1".into(),
        remote: Arc::new(Shell::new("n1".into(), &[])),
    };
    Journaled::new_in(&node, "test", folder)
}

#[tokio::test]
async fn a_pause_is_written_down_and_the_entry_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = node(folder.path().to_str().unwrap());
    let db = Sleep::new(true);
    let processes = DbProcesses::new(std::slice::from_ref(&at), db.clone());
    let name = Name::from("n1");
    let paused = processes.signal(&name, Signal::STOP).await.unwrap();
    assert_eq!(
        (paused, db.now()),
        (ProcessState::Stopped, ProcessState::Stopped)
    );
    assert_eq!(at.journal.list().await.unwrap().len(), 1);
    let resumed = processes.signal(&name, Signal::CONT).await.unwrap();
    assert_eq!(
        (resumed, db.now()),
        (ProcessState::Running, ProcessState::Running)
    );
    assert_eq!(at.journal.list().await.unwrap(), []);
}

#[tokio::test]
async fn the_journal_resumes_what_a_dead_controller_paused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let at = node(folder);
    let db = Sleep::new(true);
    let processes = DbProcesses::new(std::slice::from_ref(&at), db.clone());
    processes.signal(&"n1".into(), Signal::STOP).await.unwrap();
    drop(processes);
    let remote: &dyn Remote = &*at.node.remote;
    let healed = heal_node_in(remote, folder).await.unwrap();
    assert_eq!(healed.len(), 1);
    assert_eq!(
        (&*healed[0].fault, &healed[0].healing),
        ("pause", &Healing::Undone)
    );
    assert_eq!(db.now(), ProcessState::Running);
}

#[tokio::test]
async fn what_could_not_be_undone_without_us_is_not_paused() {
    let folder = tempfile::tempdir().unwrap();
    let at = node(folder.path().to_str().unwrap());
    let db = Sleep::new(false);
    let processes = DbProcesses::new(std::slice::from_ref(&at), db.clone());
    let refused = processes
        .signal(&"n1".into(), Signal::STOP)
        .await
        .unwrap_err();
    assert!(matches!(refused, CapabilityError::NotDone(_)), "{refused}");
    assert_eq!(db.now(), ProcessState::Running);
}

#[tokio::test]
async fn a_pause_ends_when_the_controller_is_gone_and_so_does_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let at = node(state.to_str().unwrap());
    let db = Sleep::new(true);
    let processes = DbProcesses::new(std::slice::from_ref(&at), db.clone());
    processes.signal(&"n1".into(), Signal::STOP).await.unwrap();
    assert_eq!(db.now(), ProcessState::Stopped);
    at.agent.leave().await;
    assert_eq!(db.now(), ProcessState::Running);
    assert!(!state.exists());
    // It comes again when it is needed again.
    processes.signal(&"n1".into(), Signal::STOP).await.unwrap();
    assert_eq!(db.now(), ProcessState::Stopped);
    at.agent.leave().await;
    assert!(!state.exists());
}
