//! Sentences about counters.

use serde_json::Value;

use super::super::evidence::{AnomalyEvidence, Cycle, Relation, Step};
use super::super::explain::in_time;

/// Why one transaction comes before another.
pub(in super::super) fn because(step: &Step, cycle: &Cycle) -> String {
    let Step { from, to, .. } = step;
    let show = |value: &Option<Value>| value.as_ref().map_or_else(String::new, Value::to_string);
    let (key, value, next) = (show(&step.key), show(&step.value), show(&step.next));
    match step.relation {
        Relation::Wr => format!(
            "{to} read {value} from key {key}, which is more than there can have been without {from}'s increment: all others but \
             {to} added {next} at most, {from} included"
        ),
        Relation::Rw => format!(
            "{from} read {value} from key {key}, which is less than there was with {to}'s increment ({next} at least)"
        ),
        Relation::Grew => format!(
            "{from} read {value} from key {key} and {to} read {next}, and counters only grow: so {to} saw an increment that {from} did not"
        ),
        Relation::Process | Relation::Realtime => in_time(step, &cycle.transactions),
        _ => String::new(),
    }
}

/// Why an anomaly that is no cycle of known transactions is impossible.
pub(in super::super) fn anomaly(evidence: &AnomalyEvidence) -> String {
    let name = |at: usize| {
        let one = evidence.transactions.get(at);
        one.map_or("", |one| one.name.as_str())
    };
    let (one, two, key) = (name(0), name(1), &evidence.key);
    let reader = evidence.transactions.first();
    let process = reader.map_or(0, |view| view.process);
    let began = reader.and_then(|view| view.invoke).unwrap_or_default();
    let ended = reader.and_then(|view| view.complete).unwrap_or_default();
    let values: Vec<String> = evidence.elements.iter().map(Value::to_string).collect();
    match (evidence.anomaly.as_str(), &values[..]) {
        ("garbage-read", [sum, _, unit]) => format!(
            "{one} read {sum} from key {key}; but all that was added to it comes in multiples of {unit}, so no increments make this sum."
        ),
        ("garbage-read", [sum, others]) => format!(
            "{one} read {sum} from key {key}; but all others that did not fail added {others} to it at most."
        ),
        ("garbage-read", [what]) => {
            format!("{one} read {what} from key {key}, which no counter can be.")
        }
        ("G1c-realtime", [sum, most]) => format!(
            "{one} read {sum} from key {key}; but of what others added to it, no more than {most} had begun when {one} ended \
             (event {ended}). So it saw an increment from the future."
        ),
        ("G-single-item-realtime", [sum, least]) => format!(
            "{one} read {sum} from key {key}; but {least} had been added by transactions that ended before {one} began (event \
             {began}). So it missed one of these."
        ),
        ("G-single-item-process", [sum, least]) => format!(
            "{one} read {sum} from key {key}; but its own process, {process}, had added {least} to it before {one} began (event \
             {began}). So it missed an increment of its own process."
        ),
        ("lost-update", [sum]) => format!(
            "{one} and {two} both read {sum} from key {key}, and both added to it: one of them did not see what the other did."
        ),
        ("internal", _) => {
            format!("{one} read key {key} other than its own earlier reads and increments left it.")
        }
        ("unseen-own-write", _) => {
            format!("{one} read less from key {key} than it had itself added to it.")
        }
        (other, _) => format!("{other} of key {key}"),
    }
}
