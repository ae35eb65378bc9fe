//! Sentences about rows.

use serde_json::Value;

use super::super::evidence::{AnomalyEvidence, Cycle, Relation, Step};
use super::super::explain::in_time;

/// Why one transaction comes before another.
pub(in super::super) fn because(step: &Step, cycle: &Cycle) -> String {
    let Step { from, to, .. } = step;
    let key = step.key.as_ref().map_or_else(String::new, Value::to_string);
    match step.relation {
        Relation::Ww => format!("{to} wrote key {key}, which {from} had made"),
        Relation::Wr => format!("{to} read key {key} as {from} left it"),
        Relation::Wrp => format!(
            "{to} read by a predicate that does not match key {key} as {from} left it, but as it was before; and it did not see the row"
        ),
        Relation::Rw => format!("{from} read key {key} as it was before {to} wrote it"),
        Relation::Rwp => format!(
            "{from} read by a predicate that matches key {key} as {to} left it, but not as it was before; and it did not see the row"
        ),
        Relation::Process | Relation::Realtime => in_time(step, &cycle.transactions),
        Relation::Overwritten | Relation::Initial | Relation::Grew => String::new(),
    }
}

/// Why an anomaly that is no cycle is impossible.
pub(in super::super) fn anomaly(evidence: &AnomalyEvidence) -> String {
    let name = |at: usize| {
        let one = evidence.transactions.get(at);
        one.map_or("", |one| one.name.as_str())
    };
    let (one, two, key) = (name(0), name(1), &evidence.key);
    match evidence.anomaly.as_str() {
        "G1a" => format!("{one} read what {two} wrote to key {key}; but {two} failed."),
        "G1b" => {
            format!("{one} read what {two} wrote to key {key}; but {two} wrote it again later.")
        }
        "garbage-read" => format!("{one} read key {key} as nobody wrote it."),
        "predicate-read-miss" => {
            format!(
                "Whatever key {key} ever was, the predicate of a read of {one} matches it; but it was not shown."
            )
        }
        "internal" => {
            format!("{one} read key {key} other than its own reads, writes or predicate allow.")
        }
        other => format!("{other} of key {key}"),
    }
}
