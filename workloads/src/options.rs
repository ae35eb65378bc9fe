//! Options as data: a suite says which it has, and the controller turns them into flags.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an option takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionKind {
    /// Nothing: it is there or not.
    Flag,
    /// A whole number in a range, both ends included.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number in a range, both ends included.
    Number {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// A duration such as `500ms` or `30s`.
    Duration,
    /// One of some words.
    OneOf(Vec<String>),
    /// Any text.
    Text,
}

/// An option of a suite, a workload or a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionSpec {
    /// The long flag, without dashes.
    pub name: String,
    /// What it takes.
    pub kind: OptionKind,
    /// Its value where the user says nothing. `None` for flags and for "not given".
    pub default: Option<String>,
    /// What it means, in a sentence, with units.
    pub help: String,
}

/// A value of an option, parsed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptionValue {
    /// A flag that was given.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A duration.
    Duration(Duration),
    /// A word or text.
    Text(String),
}

/// The options of a run, by name, defaults filled in. Accessors panic on a name that was never
/// specified: that is a defect of the suite, not of the user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Options(pub BTreeMap<String, OptionValue>);
