//! How the faults of a run go together: beside each other, by turns, or as written down.

use serde::{Deserialize, Serialize};

use crate::schedule::{Quiet, Script};

/// How the faults of a run go together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Composition {
    /// Which comes when.
    #[serde(default)]
    pub order: Order,
    /// Periods without any fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// How many nodes may be down at once: killed, paused, or cut off from the majority. No limit, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_down: Option<usize>,
}

/// Which fault comes when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Each has a schedule of its own, and they overlap.
    #[default]
    Overlapping,
    /// One at a time, drawn by their weights.
    Alternating,
    /// As it is written there.
    Scripted(Script),
}

/// How many nodes may be down, as the user writes it: a number, or `minority`.
pub fn parse_max_down(text: &str, nodes: usize) -> Result<usize, String> {
    match text {
        "minority" => Ok(crate::grudge::minority(nodes)),
        _ => text
            .parse()
            .map_err(|_| format!("a number of nodes or `minority` expected, found `{text}`")),
    }
}
