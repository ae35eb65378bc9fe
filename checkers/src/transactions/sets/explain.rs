//! Sentences about sets.

use serde_json::Value;

use super::super::evidence::{AnomalyEvidence, Cycle, Relation, Step};
use super::super::explain::in_time;

/// Why one transaction comes before another.
pub(in super::super) fn because(step: &Step, cycle: &Cycle) -> String {
    let Step { from, to, .. } = step;
    let show = |value: &Option<Value>| value.as_ref().map_or_else(String::new, Value::to_string);
    let (key, value, next) = (show(&step.key), show(&step.value), show(&step.next));
    match step.relation {
        Relation::Wr => format!("{to} observed {from}'s add of {value} to key {key}"),
        Relation::Rw => format!("{from} read key {key} without {to}'s add of {next}"),
        Relation::Process | Relation::Realtime => in_time(step, &cycle.transactions),
        _ => String::new(),
    }
}

/// Why an anomaly that is no cycle is impossible.
pub(in super::super) fn anomaly(evidence: &AnomalyEvidence) -> String {
    let name = |at: usize| {
        let one = evidence.transactions.get(at);
        one.map_or("", |one| one.name.as_str())
    };
    let (one, two, key) = (name(0), name(1), &evidence.key);
    let element = evidence.elements.first().unwrap_or(&Value::Null);
    match evidence.anomaly.as_str() {
        "G1a" => format!(
            "{one} read {element} from key {key}, which {two} added; but {two} failed, so nobody can have seen it."
        ),
        "G1b" => format!(
            "{one} read {element} from key {key}, which {two} added, without all else that {two} added to it: it saw an unfinished transaction."
        ),
        "garbage-read" => {
            format!("{one} read {element} from key {key}, which no transaction added.")
        }
        "future-read" => {
            format!("{one} read {element} from key {key}, which it added only afterwards.")
        }
        "internal" => {
            format!("{one} read key {key} other than its own earlier reads and adds left it.")
        }
        other => format!("{other} of key {key}"),
    }
}
