//! What proves an anomaly, complete enough to be proved again from itself.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use store::EventType;

use super::polygraph::Proof;

/// What the objects of a history are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objects {
    /// Lists, to which elements are appended.
    #[default]
    Lists,
    /// Registers, to which values are written.
    Registers,
    /// Rows, which are also read by predicates.
    Rows,
    /// Sets, to which elements are added.
    Sets,
    /// Counters, to which numbers are added.
    Counters,
}

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
    /// Its micro-operations, `["append", key, element]` and `["r", key, list]`; of registers `["w", key, value]` and
    /// `["r", key, value]`, with the version behind the value if the database gave one; of rows, sets and counters as they were recorded,
    /// and `["init", key, value]`. What a transaction read that is not `ok` is `null`.
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
    /// The second read by a predicate, and that this did not show the key says that it came after the first one's write. Of rows.
    Wrp,
    /// The first read by a predicate, and that this did not show the key says that it came before the second one's write. Of rows.
    Rwp,
    /// One process executed the first, then the second.
    Process,
    /// The first ended before the second began.
    Realtime,
    /// Both wrote the key, of the two some transaction (the witness) had seen the first, and yet it read the key as the second
    /// left it: so the second wrote later. Of registers.
    Overwritten,
    /// The first is the initial state, [`Cycle::INITIAL`].
    Initial,
    /// The first read less than the second: so it did not see an increment (an anti-dependency) that the second did. Whose that was is
    /// not known.
    /// Of counters.
    Grew,
}

/// How it is known that a version of a register follows another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Follows {
    /// The other is the initial version.
    Initial,
    /// Its writer had read the other.
    Read,
    /// A process had the other (it read it, or had written it), and then this; it is assumed that each key is sequentially
    /// consistent.
    Sequential {
        /// The process's transaction with the other version, by name.
        first: String,
        /// Its transaction with this version, by name.
        second: String,
    },
    /// One transaction had the other version, and ended before one began that had this; it is assumed that each key is
    /// linearizable.
    Linearizable {
        /// The transaction with the other version, by name.
        first: String,
        /// The transaction with this version, by name.
        second: String,
    },
    /// The database gave this a higher version than the other.
    Given {
        /// The version of the other.
        lower: i64,
        /// The version of this.
        higher: i64,
        /// A transaction with which the history has the version of the other, by name.
        first: String,
        /// A transaction with which the history has the version of this, by name.
        second: String,
    },
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
    /// The element that `from` appended or the value that it wrote, of `ww`, `wr` and `overwritten`; of `rw` of a register, the value
    /// that it read; of counters, what was read.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub value: Option<Value>,
    /// The element that `to` appended or the value that it wrote, of `ww`, `rw` and `overwritten`. Of counters: of `wr`, what all
    /// others than `to` may have added; of `rw`, the least that there is with what `to` added; of `grew`, what `to` read.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub next: Option<Value>,
    /// Whose read shows the order of the elements of `ww`, or of the writes of `overwritten`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    /// How it is known that `next` follows `value`, of `ww` and `rw` of a register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
    /// How the witness of `overwritten` had seen `from`: why that comes before the witness, step by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Step>,
}

/// A value that is there, which may be `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Step {
    /// A step of which nothing more is known.
    pub(super) fn new(from: String, to: String, relation: Relation) -> Step {
        Step {
            from,
            to,
            relation,
            key: None,
            value: None,
            next: None,
            witness: None,
            follows: None,
            seen: Vec::new(),
        }
    }
}

/// The elements of a list, or values of a register, in an order that is known.
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
    /// What the objects are.
    #[serde(default)]
    pub objects: Objects,
    /// Why each transaction comes before the next, and the last before the first.
    pub steps: Vec<Step>,
    /// Whether no cycle of this name is shorter among the transactions that form cycles with these, of cycles that go from each version
    /// to the next.
    pub shortest: bool,
    /// Whether none of the transactions can be left out: the others alone do not show it.
    #[serde(default)]
    pub minimal: bool,
    /// Those of the cycle, in its order, and then those whose reads are needed to see it. They suffice for the proof.
    pub transactions: Vec<TransactionView>,
    /// The version orders of the keys of its steps: of lists, all that was read; of registers, what the steps say.
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
/// | `cyclic-versions` of a register | those that show each version to follow the one before | the versions |
/// | `incompatible-versions` | those that have the versions, the writers | the value with two, or the two values with one |
/// | `internal` | the transaction | |
/// | `lost-update` | both | |
/// | `predicate-read-miss` | the reader, who made the universe, who writes the key | |
/// | `lost-append` | the writer, a later one, a reader of the later one's element | their elements |
/// | `garbage-read` of a counter | the reader | what it read, what others may have added, what divides all increments |
/// | `G1c-realtime` of a counter | the reader | what it read, what others had begun to add when it ended |
/// | `G-single-item-process`, `G-single-item-realtime` of a counter | the reader | what it read, what had been added when it began |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AnomalyEvidence {
    /// What it is called.
    pub anomaly: String,
    /// What the objects are.
    #[serde(default)]
    pub objects: Objects,
    /// The key.
    pub key: Value,
    /// The elements that it is about.
    pub elements: Vec<Value>,
    /// Whether none of the transactions can be left out: the others alone do not show it.
    #[serde(default)]
    pub minimal: bool,
    /// The transactions that show it.
    pub transactions: Vec<TransactionView>,
    /// Why it is impossible, in sentences.
    pub explanation: Vec<String>,
}

/// Transactions that no order of versions makes possible at a level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Impossible {
    /// What it is called: `no-serial-order`, `no-snapshots-realtime` …
    pub anomaly: String,
    /// What the objects are.
    #[serde(default = "registers")]
    pub objects: Objects,
    /// All that the argument is about, in the order of their ends. The argument calls each by its place, from 0, and keys by the order
    /// in which they appear here.
    pub transactions: Vec<TransactionView>,
    /// Reads from which nothing is concluded, as others than these may have written the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// What the argument takes from the history: why some of the transactions come before others, as in a [`Cycle`].
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The argument.
    pub proof: Proof,
    /// The argument, in sentences.
    pub explanation: Vec<String>,
}

/// What they were before lists had such evidence.
fn registers() -> Objects {
    Objects::Registers
}

/// A read from which nothing is concluded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassedOver {
    /// The reader, by name.
    pub transaction: String,
    /// The key.
    pub key: Value,
    /// What it read.
    pub value: Value,
}

impl Impossible {
    /// The events that show it, by index, ascending.
    pub fn events(&self) -> Vec<u64> {
        events(&self.transactions)
    }
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
    /// The name of the initial state, where it stands for a transaction.
    pub const INITIAL: &str = "T0";

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
