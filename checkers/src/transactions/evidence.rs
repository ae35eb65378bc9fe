//! What proves an anomaly, complete enough to be proved again from itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::EventType;

/// A transaction, as its operation stands in the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TransactionView {
    /// What the other fields of the evidence call it: `T1`, `T2` …
    pub name: String,
    /// The event that began it, if the history has that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoke: Option<u64>,
    /// The event that ended it, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<u64>,
    /// The client process.
    pub process: u64,
    /// `ok`, `fail` or `info` (nobody knows, or it had not ended when the history did).
    pub outcome: EventType,
    /// Its micro-operations, `["append", key, element]` and `["r", key, list]`. What a transaction read that is not `ok`
    /// is `null`.
    pub value: Value,
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Both append to the key, and the second one's element comes later (a write dependency).
    Ww,
    /// The second read the first one's element (a read dependency).
    Wr,
    /// The first read the key without the second one's element (an anti-dependency).
    Rw,
    /// One process executed the first, then the second.
    Process,
    /// The first ended before the second began.
    Realtime,
}

/// One step of a cycle: `from` comes before `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// The earlier transaction, by name.
    pub from: String,
    /// The later transaction, by name.
    pub to: String,
    /// Why.
    pub relation: Relation,
    /// The key, of dependencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// The element that `from` appended, of `ww` and `wr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The element that `to` appended, of `ww` and `rw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Value>,
    /// Whose read shows the order of the elements of `ww`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
}

/// The elements of a key, in the order that reads show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionOrder {
    /// The key.
    pub key: Value,
    /// Its elements, first to last.
    pub elements: Value,
}

/// Transactions that cannot be put in any order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cycle {
    /// What it is called: `G0`, `G1c`, `G-single-item-realtime` …
    pub anomaly: String,
    /// Why each transaction comes before the next, and the last before the first.
    pub steps: Vec<Step>,
    /// Whether no cycle of this name is shorter among the transactions that form cycles with these.
    pub shortest: bool,
    /// Those of the cycle, in its order, and then those whose reads are needed to see it. They suffice for the proof.
    pub transactions: Vec<TransactionView>,
    /// The version orders of the keys of its steps.
    pub versions: Vec<VersionOrder>,
    /// Why it is impossible, in sentences.
    pub explanation: Vec<String>,
}

/// Something that no order of transactions could explain.
///
/// Who is who in `transactions`, and what `elements` are:
///
/// | anomaly | transactions | elements |
/// | --- | --- | --- |
/// | `G1a` | the reader, the writer that failed | what was read |
/// | `G1b` | the reader, the writer | what was read last |
/// | `dirty-update` | a reader, the writer that failed, the one that did not | their elements |
/// | `garbage-read`, `duplicate-elements`, `future-read` | the reader | the element |
/// | `incompatible-order` | the readers of two lists (one, if it read both) | |
/// | `cyclic-versions` | the readers of two lists, the writers of the elements | what the first reader has earlier, what the second has |
/// | `internal` | the transaction | |
/// | `lost-update` | both | |
/// | `lost-append` | the writer, a later one, a reader of the later one's element | their elements |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AnomalyEvidence {
    /// What it is called.
    pub anomaly: String,
    /// The key.
    pub key: Value,
    /// The elements that it is about.
    pub elements: Vec<Value>,
    /// The transactions that show it.
    pub transactions: Vec<TransactionView>,
    /// Why it is impossible, in sentences.
    pub explanation: Vec<String>,
}

/// The events of transactions, ascending.
fn events(transactions: &[TransactionView]) -> Vec<u64> {
    let mut events: Vec<u64> = transactions
        .iter()
        .flat_map(|one| [one.invoke, one.complete])
        .flatten()
        .collect();
    events.sort_unstable();
    events
}

impl Cycle {
    /// The events that show it, by index, ascending.
    pub fn events(&self) -> Vec<u64> {
        events(&self.transactions)
    }
}

impl AnomalyEvidence {
    /// The events that show it, by index, ascending.
    pub fn events(&self) -> Vec<u64> {
        events(&self.transactions)
    }
}
