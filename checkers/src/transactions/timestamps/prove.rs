//! Evidence of timestamps, and sentences.

use serde_json::Value;

use super::super::evidence::{AnomalyEvidence, Objects, TransactionView};
use super::super::explain::lines;
use super::read::{Told, stamps};

/// What was found.
pub(super) struct Finding {
    pub(super) anomaly: &'static str,
    pub(super) key: Value,
    pub(super) elements: Vec<Value>,
    pub(super) who: Vec<usize>,
}

pub(super) fn evidence(told: &Told, finding: &Finding, objects: Objects) -> AnomalyEvidence {
    let views = finding.who.iter().zip(1..).map(|(at, number)| {
        let one = &told.transactions[*at];
        TransactionView {
            name: format!("T{number}"),
            invoke: one.invoke,
            complete: one.complete,
            process: one.process,
            outcome: one.outcome,
            value: one.value.clone(),
        }
    });
    let mut evidence = AnomalyEvidence {
        anomaly: finding.anomaly.to_owned(),
        objects,
        minimal: false,
        key: finding.key.clone(),
        elements: finding.elements.clone(),
        transactions: views.collect(),
        explanation: Vec::new(),
    };
    evidence.explanation = lines(&evidence.transactions);
    let sentence = sentence(&evidence);
    evidence.explanation.push(sentence);
    evidence
}

fn sentence(evidence: &AnomalyEvidence) -> String {
    let name = |at: usize| {
        let one = evidence.transactions.get(at);
        one.map_or("", |one| one.name.as_str())
    };
    let stamp = |at: usize| {
        let one = evidence.transactions.get(at);
        one.and_then(|one| stamps(&one.value)).unwrap_or_default()
    };
    let (one, two, three, key) = (name(0), name(1), name(2), &evidence.key);
    let element = evidence.elements.first().unwrap_or(&Value::Null);
    let serial = evidence.anomaly == "EXT-commit";
    let (point, what) = match serial {
        true => (stamp(0).1, "commit"),
        false => (stamp(0).0, "start"),
    };
    let then = stamp(1).1;
    match evidence.anomaly.as_str() {
        "EXT" | "EXT-commit"
            if evidence.elements.len() > 1 && evidence.objects == Objects::Lists =>
        {
            format!(
                "{one} read {element} before {} in key {key}; but {two} committed at {then} and {three} at {}.",
                evidence.elements[1],
                stamp(2).1
            )
        }
        "EXT" | "EXT-commit" if evidence.elements.len() > 1 => format!(
            "{one} (its {what} is {point}) read key {key} as {three} left it at {}; but {two} wrote {element} at {then}.",
            stamp(2).1
        ),
        "EXT" | "EXT-commit" if then > point || serial && then == point => format!(
            "{one} (its {what} is {point}) read {element} from key {key}, which {two} committed only at {then}."
        ),
        "EXT" | "EXT-commit" => format!(
            "{one} (its {what} is {point}) read key {key} without {element}, which {two} had committed at {then}."
        ),
        "NOCONFLICT" => format!(
            "{one} and {two} both wrote key {key}; but {two} started at {}, before {one} committed at {}, and committed after it.",
            stamp(1).0,
            stamp(0).1
        ),
        "SESSION" => format!(
            "{one} came before {two} in their process; but it committed at {}, and {two} started at {} and committed at {then}.",
            stamp(0).1,
            stamp(1).0
        ),
        "REALTIME" => format!(
            "{one} ended before {two} began; but it committed at {}, and {two} started at {} and committed at {then}.",
            stamp(0).1,
            stamp(1).0
        ),
        "INT" => format!("{one} read key {key} other than its own writes left it."),
        "garbage-read" => format!("{one} read {element} from key {key}, which nobody wrote."),
        "G1a" => {
            format!("{one} read {element} from key {key}, which {two} wrote; but {two} failed.")
        }
        "G1b" => format!("{one} read {element} from key {key}, which {two} overwrote itself."),
        other => other.to_owned(),
    }
}
