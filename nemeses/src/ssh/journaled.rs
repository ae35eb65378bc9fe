//! Nodes with their undo journals and their agents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::Note;
use agent::modules::NOTE;
use futures::future::try_join_all;
use harness::capability::CapabilityError;
use harness::db::Db;
use harness::node::STATE_FOLDER;
use harness::node::undo::{Journal, JournalError, Undo};
use harness::remote::{Command, Node, Output, RemoteError};
use harness::{Name, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::agent::{Agent, Errand};
use crate::outcome::message;

/// How long the agent may take to write something down.
const NOTING: Duration = Duration::from_secs(10);

/// A node, the undo journal that a run keeps on it, and the agent that acts there.
#[derive(Clone)]
pub struct Journaled {
    /// The node.
    pub node: Node,
    /// The journal.
    pub journal: Arc<Journal>,
    /// The agent.
    pub agent: Arc<Agent>,
    /// Where its records are, on the node.
    pub(super) folder: String,
}

impl Journaled {
    /// A node with the journal of a run.
    pub fn new(node: &Node, run: &str) -> Journaled {
        Journaled::new_in(node, run, STATE_FOLDER)
    }

    /// Like [`Journaled::new`], with the node's records in another folder.
    pub fn new_in(node: &Node, run: &str, folder: &str) -> Journaled {
        Journaled {
            node: node.clone(),
            journal: Arc::new(Journal::new_in(node.remote.clone(), run, folder)),
            agent: Arc::new(Agent::new_in(node, folder)),
            folder: folder.to_owned(),
        }
    }
}

/// What a fault has written into the journals and not taken back: entries by node.
///
/// A node is in it from before its entry is written, so that an action of which nobody knows how it
/// ended can still be undone.
#[derive(Default)]
pub(super) struct Standing(Mutex<BTreeMap<Name, Vec<String>>>);

impl Standing {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something stands on a node, or may.
    pub(super) fn has(&self, node: &Name) -> bool {
        self.entries().contains_key(node)
    }

    /// Takes off entries that are gone from a node. What was written down meanwhile stands.
    fn forget(&self, node: &Name, ids: &[String]) {
        let mut entries = self.entries();
        if let Some(left) = entries.get_mut(node) {
            left.retain(|id| !ids.contains(id));
            if left.is_empty() {
                entries.remove(node);
            }
        }
    }

    /// Writes down how to undo something, and does it, in one round trip.
    pub(super) async fn act(
        &self,
        at: &Journaled,
        undo: &Undo,
        command: Command,
    ) -> Result<Output, CapabilityError> {
        let name = &at.node.name;
        let before = self.has(name);
        self.entries().entry(name.clone()).or_default();
        match at.journal.write_and_run(undo, command).await {
            Ok((id, output)) => {
                self.entries().entry(name.clone()).or_default().push(id);
                Ok(output)
            }
            Err(error) => {
                let error = uncertain(error);
                if matches!(error, CapabilityError::NotDone(_)) && !before {
                    self.forget(name, &[]);
                }
                Err(error)
            }
        }
    }

    /// Has the agent write down how to undo what somebody else is about to do. So the agent undoes it, too, when the controller is gone.
    pub(super) async fn note(&self, at: &Journaled, undo: &Undo) -> Result<(), CapabilityError> {
        self.ask(at, undo, NOTE, &(), NOTING).await
    }

    /// Has the agent write down how to undo something, and do it.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        at: &Journaled,
        undo: &Undo,
        module: &str,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<A, CapabilityError> {
        let name = &at.node.name;
        let (id, entry) = at.journal.note(undo);
        let noted = id.clone();
        self.entries().entry(name.clone()).or_default().push(noted);
        let errand = Errand {
            notes: vec![Note {
                id: id.clone(),
                entry,
            }],
            forget: Vec::new(),
        };
        let answer = at.agent.ask(module, request, errand, patience).await;
        if matches!(answer, Err(CapabilityError::NotDone(_))) {
            self.forget(name, &[id]);
        }
        answer
    }

    /// Has the agent undo what stands on a node, and takes the entries back if it succeeds.
    pub(super) async fn take_back<A: DeserializeOwned>(
        &self,
        at: &Journaled,
        module: &str,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<A, CapabilityError> {
        let name = &at.node.name;
        let ids = self.entries().get(name).cloned().unwrap_or_default();
        let errand = Errand {
            notes: Vec::new(),
            forget: ids.clone(),
        };
        let answer = at.agent.ask(module, request, errand, patience).await?;
        self.forget(name, &ids);
        Ok(answer)
    }

    /// Undoes with a command what stands on a node, and takes the entries back if it succeeds, in one
    /// round trip.
    pub(super) async fn undo(
        &self,
        at: &Journaled,
        command: Command,
    ) -> Result<Output, CapabilityError> {
        let name = &at.node.name;
        let ids = self.entries().get(name).cloned().unwrap_or_default();
        let output = at
            .journal
            .undo_with(&ids, command)
            .await
            .map_err(no_answer)?;
        if output.status == 0 {
            self.forget(name, &ids);
        }
        Ok(output)
    }

    /// Takes back what was written down on a node, where nothing stands any more.
    pub(super) async fn settle(&self, at: &Journaled) -> Result<(), CapabilityError> {
        match self.has(&at.node.name) {
            true => self.undo(at, Command::new(":")).await.map(drop),
            false => Ok(()),
        }
    }
}

/// Whether a command succeeded that did something on a node; the error has what it said.
pub(super) fn succeeded(at: &Journaled, output: &Output) -> Result<(), CapabilityError> {
    match output.status {
        0 => Ok(()),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let (name, said) = (&at.node.name, said.trim());
            Err(CapabilityError::Indeterminate(format!("{name}: {said}")))
        }
    }
}

/// Sees that the agents are on nodes, so that what a fault writes down later is not kept waiting.
pub(super) async fn started(nodes: &[Journaled]) -> Result<(), String> {
    let started = nodes.iter().map(|at| at.agent.start());
    try_join_all(started).await.map(drop).map_err(message)
}

/// The node of a name.
pub(super) fn find<'a>(
    nodes: &'a [Journaled],
    name: &Name,
) -> Result<&'a Journaled, CapabilityError> {
    let at = nodes.iter().find(|at| at.node.name == *name);
    at.ok_or_else(|| CapabilityError::NotDone(format!("no node {name}")))
}

/// The script that prints the system's processes on a node.
pub(super) fn pids(db: &dyn Db, at: &Journaled) -> Result<String, CapabilityError> {
    db.pids_script(&at.node).ok_or_else(|| {
        let why = "this system does not say which its processes are";
        CapabilityError::NotDone(format!("{}: {why}", at.node.name))
    })
}

/// What names something of a fault's on a kernel that nodes may share: letters, digits and dashes.
pub(super) fn named(at: &Journaled, fault: &str) -> String {
    plain(&format!("{}-{}-{fault}", at.journal.run(), at.node.name))
}

/// A text in letters, digits and dashes.
pub(super) fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().map(plain).collect()
}

/// The same, in the terms of the other side.
pub(super) fn translated<A: DeserializeOwned>(value: Value) -> Result<A, CapabilityError> {
    serde_json::from_value(value).map_err(|error| CapabilityError::NotDone(error.to_string()))
}

fn uncertain(error: JournalError) -> CapabilityError {
    match error {
        JournalError::Remote(error) => no_answer(error),
        JournalError::NotWritten { .. } => CapabilityError::NotDone(error.to_string()),
        JournalError::Stands { .. } => CapabilityError::Indeterminate(error.to_string()),
    }
}

/// What is known of a command that gave no answer.
pub(super) fn no_answer(error: RemoteError) -> CapabilityError {
    match error.not_run() {
        true => CapabilityError::NotDone(error.to_string()),
        false => CapabilityError::Indeterminate(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use async_trait::async_trait;
    use harness::remote::Remote;
    use tokio::net::UnixStream;
    use tokio::sync::Notify;

    use super::*;

    /// A node on which each command ends when it may.
    #[derive(Default)]
    struct Slow {
        begun: Notify,
        may_end: Notify,
    }

    #[async_trait]
    impl Remote for Slow {
        fn node(&self) -> &Name {
            unreachable!("it has none")
        }

        async fn run(&self, _: Command) -> Result<Output, RemoteError> {
            self.begun.notify_one();
            self.may_end.notified().await;
            Ok(Output {
                status: 0,
                stdout: Vec::new(),
                stderr: Vec::new(),
            })
        }

        async fn write(&self, _: &str, _: Vec<u8>, _: u32) -> Result<(), RemoteError> {
            unreachable!("nothing is written")
        }

        async fn upload(&self, _: &Path, _: &str, _: u32) -> Result<(), RemoteError> {
            unreachable!("nothing is brought up")
        }

        async fn talk(&self, _: Command) -> Result<UnixStream, RemoteError> {
            unreachable!("nobody is talked to")
        }

        async fn download(&self, _: &str, _: &Path) -> Result<(), RemoteError> {
            unreachable!("nothing is brought down")
        }
    }

    #[tokio::test]
    async fn what_is_written_down_while_something_is_undone_stands() {
        let slow = Arc::new(Slow::default());
        let node = Node {
            name: "n1".into(),
            address: "127.0.0.1".into(),
            remote: slow.clone(),
        };
        let at = Journaled::new(&node, "test");
        let standing = Standing::default();
        let note = |id: &str| {
            let mut entries = standing.entries();
            entries
                .entry(node.name.clone())
                .or_default()
                .push(id.to_owned());
        };
        note("first");
        let meanwhile = async {
            slow.begun.notified().await;
            note("second");
            slow.may_end.notify_one();
        };
        let (settled, ()) = tokio::join!(standing.settle(&at), meanwhile);
        settled.unwrap();
        assert_eq!(standing.entries()[&node.name], ["second"]);
        slow.may_end.notify_one();
        standing.settle(&at).await.unwrap();
        assert!(!standing.has(&node.name));
    }
}
