//! A document with its version: how often it was written.

use store::{Value, json};

/// A document. One that was never written has the version 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    version: i64,
    value: Value,
}

impl Document {
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    pub(super) fn replace(&mut self, value: &Value) {
        self.version += 1;
        self.value = value.clone();
    }

    /// As it stands in a history.
    pub(super) fn shown(&self) -> Value {
        json!({"value": self.value, "version": self.version})
    }
}
