//! Nodes with their undo journals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harness::Name;
use harness::capability::CapabilityError;
use harness::node::undo::{Journal, JournalError, Undo};
use harness::remote::{Command, Node, Output, RemoteError};

/// A node, and the undo journal that a run keeps on it.
#[derive(Clone)]
pub struct Journaled {
    /// The node.
    pub node: Node,
    /// The journal.
    pub journal: Arc<Journal>,
}

impl Journaled {
    /// A node with the journal of a run.
    pub fn new(node: &Node, run: &str) -> Journaled {
        Journaled {
            node: node.clone(),
            journal: Arc::new(Journal::new(node.remote.clone(), run)),
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
                    self.entries().remove(name);
                }
                Err(error)
            }
        }
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
            self.entries().remove(name);
        }
        Ok(output)
    }
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
