//! Sentences about registers.

use serde_json::Value;

use super::super::evidence::{AnomalyEvidence, Cycle, Follows, Relation, Step};
use super::super::explain::in_time;
use super::verify::said;

/// Why one transaction comes before another.
pub(in super::super) fn because(step: &Step, cycle: &Cycle) -> String {
    let Step { from, to, .. } = step;
    let show = |value: &Option<Value>| value.as_ref().map_or_else(String::new, Value::to_string);
    let (key, value, next) = (show(&step.key), show(&step.value), show(&step.next));
    let initial = step.value.as_ref().is_some_and(Value::is_null);
    let follows = |step: &Step| follows(step, &value, &next);
    match step.relation {
        Relation::Wr => format!("{to} read {from}'s write of {value} to key {key}"),
        Relation::Rw if initial => {
            format!("{from} read the initial state of key {key}, to which {to} wrote {next}")
        }
        Relation::Rw => format!(
            "{from} read {value} from key {key}, which {to} overwrote with {next} ({})",
            follows(step)
        ),
        Relation::Ww => format!(
            "{from} wrote {value} to key {key}, which {to} overwrote with {next} ({})",
            follows(step)
        ),
        Relation::Overwritten => {
            let witness = step.witness.as_deref().unwrap_or_default();
            let how: Vec<String> = step.seen.iter().map(|step| seen(step, cycle)).collect();
            let read = match to.as_str() {
                Cycle::INITIAL => format!("key {key} in its initial state ({to})"),
                to => format!("{next} from key {key}, so {to} wrote that later"),
            };
            format!(
                "{witness} had seen {from} ({}), which wrote {value} to key {key}, and yet {witness} read {read}",
                how.join(", ")
            )
        }
        Relation::Initial => "nothing comes before the initial state".to_owned(),
        Relation::Process | Relation::Realtime => in_time(step, &cycle.transactions),
        Relation::Wrp | Relation::Rwp | Relation::Grew => String::new(),
    }
}

fn seen(step: &Step, cycle: &Cycle) -> String {
    match step.relation {
        Relation::Wr => {
            let (key, value) = (step.key.clone().unwrap_or_default(), step.value.clone());
            format!(
                "{} read {}'s write of {} to key {key}",
                step.to,
                step.from,
                value.unwrap_or_default()
            )
        }
        _ => in_time(step, &cycle.transactions),
    }
}

fn follows(step: &Step, value: &str, next: &str) -> String {
    let assumed = |first: &str, second: &str, what: &str| {
        format!("as {first} had {value}, then {second} had {next}, and keys are taken to be {what}")
    };
    match &step.follows {
        Some(Follows::Sequential { first, second }) => {
            assumed(first, second, "sequentially consistent")
        }
        Some(Follows::Linearizable { first, second }) => assumed(first, second, "linearizable"),
        Some(Follows::Given { lower, higher, .. }) => {
            format!("the database gave {value} version {lower}, and {next} version {higher}")
        }
        Some(Follows::Read) => format!("{} had read {value} before it wrote {next}", step.to),
        Some(Follows::Initial) | None => "the first is the initial state".to_owned(),
    }
}

/// Why an anomaly that is no cycle is impossible.
pub(in super::super) fn anomaly(evidence: &AnomalyEvidence) -> String {
    let name = |at: usize| {
        let one = evidence.transactions.get(at);
        one.map_or("", |one| one.name.as_str())
    };
    let key = &evidence.key;
    let (one, two) = (name(0), name(1));
    let first = evidence
        .elements
        .first()
        .map_or_else(String::new, Value::to_string);
    match evidence.anomaly.as_str() {
        "G1a" => format!(
            "{one} read {first} from key {key}, which {two} wrote; but {two} failed, so nobody can have seen it."
        ),
        "G1b" => format!(
            "{one} read {first} from key {key}, which {two} wrote; but {two} wrote key {key} again, so {one} saw an unfinished transaction."
        ),
        "garbage-read" => format!("{one} read {first} from key {key}, which no transaction wrote."),
        "future-read" => {
            format!("{one} read {first} from key {key}, which it wrote only afterwards.")
        }
        "internal" => {
            format!(
                "{one}'s reads of key {key} do not agree with each other or with its own writes, though nobody else can have changed the \
                 key for it."
            )
        }
        "unseen-own-write" => format!(
            "{one} wrote key {key}, and then read something else from it than it had written."
        ),
        "lost-update" => format!(
            "{one} and {two} both read the same version of key {key}, and both wrote it: one of them did not see what the other did."
        ),
        "cyclic-versions" => {
            let circle = evidence.elements.iter().chain(evidence.elements.first());
            let circle: Vec<String> = circle.map(Value::to_string).collect();
            format!(
                "The versions of key {key} follow each other in a circle, {}: whoever had one of them came before another had the \
                 next, and keys are taken to be in order.",
                circle.join(" < ")
            )
        }
        "incompatible-versions" => incompatible(evidence),
        other => format!("{other} of key {key}"),
    }
}

/// That what the database said of versions contradicts itself.
fn incompatible(evidence: &AnomalyEvidence) -> String {
    let key = &evidence.key;
    let numbers = |value: &Value| -> Vec<(i64, &str)> {
        let each = evidence.transactions.iter().flat_map(|view| {
            let numbers = said(view, key, value);
            numbers.map(|number| (number, view.name.as_str()))
        });
        each.collect()
    };
    match &evidence.elements[..] {
        [one, other] => {
            let others = numbers(other);
            let mut both = numbers(one).into_iter().map(|(number, _)| number);
            let both = both.find(|number| others.iter().any(|(other, _)| other == number));
            format!(
                "The database gave both {one} and {other} of key {key} version {}, though different transactions wrote them.",
                both.unwrap_or_default()
            )
        }
        elements => {
            let value = elements.first().unwrap_or(&Value::Null);
            let mut several = numbers(value);
            several.sort_unstable();
            several.dedup_by_key(|(number, _)| *number);
            let several = several
                .iter()
                .map(|(number, name)| format!("{number} (see {name})"));
            let several: Vec<String> = several.collect();
            format!(
                "{value} was written to key {key} once, and the database gave it the versions {}.",
                several.join(" and ")
            )
        }
    }
}
