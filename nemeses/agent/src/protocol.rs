//! What is said between the controller and an agent.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the line of a [`Hello`] begins, so that it can be told from what a login shell says before it.
pub const HELLO: &str = r#"{"gainsay-agent":"#;

/// The name of no module: a request to it does nothing but renew the lease and take notes back.
pub const ALIVE: &str = "alive";

/// The first thing an agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its version.
    #[serde(rename = "gainsay-agent")]
    pub version: String,
    /// Its process on the node.
    pub pid: u32,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Given back with the reply.
    pub id: u64,
    /// Which part of the agent is to do it.
    pub module: String,
    /// What to do, in the module's own terms.
    pub request: Value,
    /// What is to be in the undo journal before it is begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Entries of the journal that are to be gone once it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<String>,
}

/// An entry of the node's undo journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its name: that of its file, without the suffix.
    pub id: String,
    /// The entry: a JSON object that lacks only when it was written and the node's boot.
    pub entry: serde_json::Map<String, Value>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's.
    pub id: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done; what is to be known of it, in the module's own terms.
    Done(Value),
    /// It was not done, for certain. Its notes are gone again.
    NotDone(String),
    /// It may have been done, in part or whole. Its notes stand.
    Indeterminate(String),
    /// The notes could not be written, so it was not begun.
    NotWritten(String),
}
