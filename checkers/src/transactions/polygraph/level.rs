//! The levels that can be decided.

use serde::{Deserialize, Serialize};

/// What a transaction sees, and who excludes whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Each takes place at one moment.
    Serializable,
    /// Each reads at its begin and writes at its commit, and of two that write a key, one commits before the other begins.
    SnapshotIsolation,
    /// As snapshot isolation, but those that write a key may overlap.
    Prefix,
}

/// What the order of moments must respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Respects {
    /// Nothing but what was read.
    Nothing,
    /// The order of each session.
    Sessions,
    /// The order of each session, and what ended before another began.
    RealTime,
}

/// A level of isolation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Level {
    /// What a transaction sees, and who excludes whom.
    pub model: Model,
    /// What the order of moments must respect.
    pub respects: Respects,
}
