//! Verdicts, and what proves them. This is what `results.json` holds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::linearizability::DeadEnd;
use crate::transactions::{AnomalyEvidence, Cycle, Impossible};

/// A verdict. Serialised as `true`, `false` or `"unknown"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Valid {
    /// The whole history was checked, and the claim holds for it.
    True,
    /// The claim is disproved by the evidence.
    False,
    /// Neither; the reason says why.
    Unknown,
}

impl Valid {
    /// Combines verdicts: any `False` wins, then any `Unknown`, then `True`.
    pub fn and(self, other: Valid) -> Valid {
        match (self, other) {
            (Valid::False, _) | (_, Valid::False) => Valid::False,
            (Valid::Unknown, _) | (_, Valid::Unknown) => Valid::Unknown,
            (Valid::True, Valid::True) => Valid::True,
        }
    }
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Valid::True => "valid",
            Valid::False => "invalid",
            Valid::Unknown => "unknown",
        })
    }
}

impl Serialize for Valid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Valid::True => serializer.serialize_bool(true),
            Valid::False => serializer.serialize_bool(false),
            Valid::Unknown => serializer.serialize_str("unknown"),
        }
    }
}

impl<'de> Deserialize<'de> for Valid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(true) => Ok(Valid::True),
            Value::Bool(false) => Ok(Valid::False),
            Value::String(text) if text == "unknown" => Ok(Valid::Unknown),
            other => Err(serde::de::Error::custom(format!(
                "a verdict is true, false or \"unknown\", not {other}"
            ))),
        }
    }
}

/// What one checker says of one history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The verdict.
    pub valid: Valid,
    /// One sentence for a person: what was found, or why nothing could be.
    pub reason: String,
    /// What proves a `false`. Empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Counts and other findings, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

impl CheckResult {
    /// A verdict with its reason and nothing else.
    pub fn new(valid: Valid, reason: impl Into<String>) -> CheckResult {
        CheckResult {
            valid,
            reason: reason.into(),
            evidence: Vec::new(),
            details: Map::new(),
        }
    }
}

/// What proves a violation, with indexes into the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Evidence {
    /// A few operations that cannot all be true.
    Operations(OperationsEvidence),
    /// A key's operations have no order that a register allows.
    DeadEnd(Box<DeadEnd>),
    /// Transactions that cannot be put in any order.
    Cycle(Box<Cycle>),
    /// Something that no order of transactions could explain.
    Anomaly(Box<AnomalyEvidence>),
    /// Transactions that no order of versions makes possible.
    Impossible(Box<Impossible>),
}

/// A few operations that cannot all be true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationsEvidence {
    /// What is wrong, in a sentence or a few.
    pub explanation: String,
    /// Indexes of the events that show it, ascending.
    pub events: Vec<u64>,
}
