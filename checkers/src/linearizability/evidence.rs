//! What proves that a history is not linearizable: a [`DeadEnd`].

use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::EventType;

/// An operation, with all that is needed to draw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OperationView {
    /// The event that began it. This is also what other fields name the operation by.
    pub invoke: u64,
    /// The event that ended it, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<u64>,
    /// When it began, in nanoseconds since the run began.
    pub invoke_time: u64,
    /// When it ended, in nanoseconds since the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_time: Option<u64>,
    /// The client process.
    pub process: u64,
    /// The function: `read`, `write`, `dequeue` …
    pub f: String,
    /// What was asked: the value to write, or `[from, to]`; `null` for a read of a register.
    pub value: Value,
    /// What a read of a register returned, and `null` for everything else on one; of other objects what
    /// an `ok` came with.
    #[serde(default)]
    pub result: Value,
    /// `ok`, `fail` (it was refused, like a compare-and-set that saw another value) or `info` (nobody knows, or it had
    /// not ended when the history did).
    pub outcome: EventType,
}

/// An operation that could explain what was seen, had it not been overwritten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// The invocation of the operation that wrote the value.
    pub operation: u64,
    /// The invocation of an operation that certainly overwrote it in time, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwritten_by: Option<u64>,
}

/// A beginning of an order: operations as they can have taken effect, one after the other, before nothing that must be next can be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Prefix {
    /// The operations, by their invocations.
    pub order: Vec<u64>,
    /// The state after them.
    pub state: Value,
}

/// A history of one key that cannot be put in any order that its model allows.
///
/// Operations are named by the index of their invocation, and are found in `operations`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeadEnd {
    /// The model that allows no order, by its name.
    #[serde(default = "register")]
    pub model: String,
    /// The key, where the workload has keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// What the object held first, as the options say it. `null` is absent, or nothing.
    pub initial: Value,
    /// The operation that has no place in any order, by its invocation.
    pub operation: u64,
    /// The states that the object could have had until that operation ended.
    pub states: Vec<Value>,
    /// Of a counter, instead of `states`: the least and the most that it could have been, all operations being added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[Value; 2]>,
    /// Whether `states` is what was possible in the whole history; otherwise it is what was
    /// possible in the sub-history.
    pub states_of_whole: bool,
    /// Operations still open when the impossible one ended, by their invocations: those that could
    /// have written the value first (of registers), then the latest.
    pub pending: Vec<u64>,
    /// How many more were open. Most are operations of which nobody knows how they ended.
    pub pending_omitted: u64,
    /// Of registers, the last operations that could have written what was seen, latest first.
    pub sources: Vec<Source>,
    /// The events of a few operations that are impossible on their own, ascending. Every
    /// operation that could have made a difference to one of them is among them, so that the others
    /// cannot help.
    pub sub_history: Vec<u64>,
    /// Whether no operation of the sub-history can be left out.
    pub minimal: bool,
    /// The longest beginnings of an order of the sub-history, each with another state: how far it can be explained. None where
    /// the sub-history is long, or it is not the order that shows the violation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<Prefix>,
    /// Of a set, the only elements that are looked at, and of what was read, too: whatever elements are looked at, a set
    /// that is possible stays so. None: all are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<Value>,
    /// All operations that the other fields mention, in order of invocation.
    pub operations: Vec<OperationView>,
    /// Why it is impossible, in sentences.
    pub explanation: Vec<String>,
}

fn register() -> String {
    super::verify::REGISTER.to_owned()
}

impl DeadEnd {
    /// The operation that an event began.
    pub fn get(&self, invoke: u64) -> Option<&OperationView> {
        let at = self
            .operations
            .binary_search_by_key(&invoke, |operation| operation.invoke)
            .ok()?;
        Some(&self.operations[at])
    }

    /// The operations of the sub-history, in order of invocation.
    pub fn sub_operations(&self) -> impl Iterator<Item = &OperationView> {
        let member = |view: &&OperationView| self.sub_history.binary_search(&view.invoke).is_ok();
        self.operations.iter().filter(member)
    }

    /// The event at which everything became impossible: the end of the impossible operation.
    pub fn end(&self) -> Option<u64> {
        self.get(self.operation)?.complete
    }
}
