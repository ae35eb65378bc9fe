//! Sentences for people, in the manner of Elle's.

use serde_json::Value;

use super::anomaly::Anomaly;
use super::counters::explain as counters;
use super::evidence::{AnomalyEvidence, Cycle, Objects, Relation, Step, TransactionView};
use super::predicates::explain as rows;
use super::registers::explain as registers;
use super::sets::explain as sets;

/// The most characters of a list that a sentence shows.
const LIST_MAX: usize = 60;

/// The most elements of an order that a sentence shows with those between the ones that it is about.
const WHOLE_MAX: usize = 12;

/// Why a cycle is impossible.
pub(super) fn cycle(cycle: &Cycle) -> Vec<String> {
    let mut sentences = lines(&cycle.transactions);
    sentences.extend(orders(cycle));
    let last = cycle.steps.len().saturating_sub(1);
    for (at, step) in cycle.steps.iter().enumerate() {
        let because = match cycle.objects {
            Objects::Lists => because(step, &cycle.transactions),
            Objects::Registers => registers::because(step, cycle),
            Objects::Rows => rows::because(step, cycle),
            Objects::Sets => sets::because(step, cycle),
            Objects::Counters => counters::because(step, cycle),
        };
        let however = if at == last { "However, " } else { "" };
        let end = if at == last {
            ": a contradiction."
        } else {
            "."
        };
        sentences.push(format!(
            "{however}{} < {}, because {because}{end}",
            step.from, step.to
        ));
    }
    let is_told = match cycle.objects {
        Objects::Lists => true,
        Objects::Registers => Anomaly::SHAPES
            .iter()
            .any(|shape| shape.name() == cycle.anomaly),
        Objects::Rows | Objects::Sets | Objects::Counters => false,
    };
    if let Some(first) = cycle.steps.first().filter(|_| is_told) {
        let whichever =
            cycle.steps.len() > 2 || cycle.steps.iter().any(|step| step.relation == Relation::Wr);
        sentences.extend(shape(&cycle.anomaly, whichever, &first.from, &first.to));
    }
    sentences.extend(none_too_many(cycle.minimal, &cycle.transactions));
    sentences
}

/// What a cycle of some shape says, of the transaction that missed something of another.
fn shape(anomaly: &str, whichever: bool, one: &str, other: &str) -> Option<String> {
    Some(match anomaly {
        "OTV" => format!("What {one} had read of {other} was gone when it read on."),
        "fractured-read" => format!("So {one} saw one part of {other}, and not the other."),
        "fractured-read-process" => {
            format!("So {one} missed what its own process had done before.")
        }
        "causality-violation" | "causality-violation-process" => {
            format!("So {one} saw what came of {other}, and not {other} itself.")
        }
        "G-cursor" | "fractured-update" if whichever => format!(
            "Whoever missed an append here wrote the same key as its transaction: if later, it wrote without having seen what it wrote \
             after; if earlier, {one} < {other} as above."
        ),
        "G-cursor" => format!("So {one} overwrote what {other} did, without having seen it: an update is lost."),
        "fractured-update" => {
            format!("So {one} wrote after {other}, without having seen all of it.")
        }
        "G-monotonic" => {
            format!("{one} came after {other} before it read on, and then read what was there before {other}.")
        }
        "prefix-violation" => {
            "Whoever missed something here had read something later: these are no prefixes of one order.".to_owned()
        }
        "G-update" => "All of these, but one at most, write something.".to_owned(),
        _ => return None,
    })
}

/// That none of some transactions can be left out. Of two that goes without saying.
pub(super) fn none_too_many(minimal: bool, transactions: &[TransactionView]) -> Option<String> {
    let several = transactions.iter().any(|one| one.name == "T3");
    (minimal && several).then(|| {
        "None of these transactions can be left out: the others alone do not show it.".to_owned()
    })
}

/// The orders of lists, where the cycle is about several of their elements.
fn orders(cycle: &Cycle) -> Vec<String> {
    let mut sentences = Vec::new();
    let lists = cycle
        .versions
        .iter()
        .filter(|_| cycle.objects == Objects::Lists);
    for order in lists {
        let steps = cycle
            .steps
            .iter()
            .filter(|step| step.key.as_ref() == Some(&order.key));
        let mut named: Vec<&Value> = Vec::new();
        for element in steps.flat_map(|step| [&step.value, &step.next]).flatten() {
            if !named.contains(&element) {
                named.push(element);
            }
        }
        let all = order.elements.as_array().map_or(&[][..], Vec::as_slice);
        if let (true, Some(shown)) = (named.len() > 1, stretch(all, &named)) {
            sentences.push(format!(
                "Lists of key {} show this order: {shown}.",
                order.key
            ));
        }
    }
    sentences
}

/// Elements in their order, and how much is left out between them. `None` if they are not there.
fn stretch(all: &[Value], named: &[&Value]) -> Option<String> {
    let is_named = |at: usize| named.contains(&&all[at]);
    let whole = all.len() <= WHOLE_MAX;
    let (mut shown, mut left_out) = (Vec::new(), false);
    for (at, element) in all.iter().enumerate() {
        if whole || is_named(at) {
            shown.push(element.to_string());
            left_out = false;
        } else if !left_out {
            shown.push("…".to_owned());
            left_out = true;
        }
    }
    (0..all.len())
        .any(is_named)
        .then(|| format!("[{}]", shown.join(", ")))
}

/// Which transaction is which.
pub(super) fn lines(transactions: &[TransactionView]) -> Vec<String> {
    transactions
        .iter()
        .map(|one| {
            let span = match (one.invoke, one.complete) {
                (Some(invoke), Some(complete)) => format!("events {invoke} to {complete}"),
                (Some(event), None) => format!("event {event}, never ended"),
                (None, Some(event)) => format!("event {event}"),
                (None, None) => "no event".to_owned(),
            };
            format!(
                "Let {} be {} by process {} ({span}, {}).",
                one.name,
                micro(&one.value),
                one.process,
                one.outcome.as_str()
            )
        })
        .collect()
}

/// Micro-operations, with long lists cut.
fn micro(value: &Value) -> String {
    let each = value.as_array().map_or(&[][..], Vec::as_slice).iter();
    let texts: Vec<String> = each
        .map(|one| {
            let f = one[0].as_str().unwrap_or_default();
            match (one.get(2), one.get(3)) {
                (Some(what), Some(version)) => {
                    format!("{f}({}, {what}, version {version})", one[1])
                }
                (Some(what), None) => format!("{f}({}, {})", one[1], list(what)),
                (None, _) => format!("{f}({})", one[1]),
            }
        })
        .collect();
    format!("[{}]", texts.join(", "))
}

/// A list; of a long one, the end.
fn list(value: &Value) -> String {
    let text = value.to_string();
    let Some(elements) = value.as_array().filter(|_| text.len() > LIST_MAX) else {
        return text;
    };
    let mut shown = Vec::new();
    let mut length = 0;
    for element in elements.iter().rev() {
        let text = element.to_string();
        length += text.len() + 1;
        if length > LIST_MAX && !shown.is_empty() {
            break;
        }
        shown.push(text);
    }
    shown.reverse();
    format!(
        "[… {} more …,{}]",
        elements.len() - shown.len(),
        shown.join(",")
    )
}

/// What a transaction read of a key, without an element.
pub(super) fn read_without(view: &TransactionView, key: &Value, element: &Value) -> String {
    let reads = view.value.as_array().map_or(&[][..], Vec::as_slice).iter();
    let mut lists = reads
        .filter(|one| one[0] == "r" && one[1] == *key)
        .map(|one| &one[2]);
    let without = |value: &&Value| value.as_array().is_some_and(|list| !list.contains(element));
    match lists.find(without) {
        Some(Value::Array(empty)) if empty.is_empty() => {
            format!("the initial, empty state of key {key}")
        }
        Some(value) => format!("key {key} as {}", list(value)),
        None => format!("key {key}"),
    }
}

fn because(step: &Step, transactions: &[TransactionView]) -> String {
    let Step { from, to, .. } = step;
    let show = |value: &Option<Value>| value.as_ref().map_or_else(String::new, Value::to_string);
    let (key, value, next) = (show(&step.key), show(&step.value), show(&step.next));
    let view = |name: &str| transactions.iter().find(|one| one.name == name);
    match step.relation {
        Relation::Ww => {
            let witness = step.witness.as_deref().unwrap_or_default();
            let shows = view(witness).is_some_and(|reader| {
                let reads = reader
                    .value
                    .as_array()
                    .map_or(&[][..], Vec::as_slice)
                    .iter();
                let mut lists =
                    reads.filter(|one| one[0] == "r" && Some(&one[1]) == step.key.as_ref());
                lists.any(|one| {
                    one[2]
                        .as_array()
                        .is_some_and(|list| list.iter().any(|one| Some(one) == step.next.as_ref()))
                })
            });
            let how = match shows {
                true => format!("{witness} read both in this order"),
                false => format!("{witness} read the first without the second"),
            };
            format!("{to} appended {next} to key {key} after {from} appended {value} ({how})")
        }
        Relation::Wr => format!("{to} observed {from}'s append of {value} to key {key}"),
        Relation::Rw => {
            let (of, element) = (
                step.key.clone().unwrap_or_default(),
                step.next.clone().unwrap_or_default(),
            );
            let read =
                view(from).map_or_else(String::new, |view| read_without(view, &of, &element));
            format!("{from} read {read}, without {to}'s append of {next}")
        }
        Relation::Process | Relation::Realtime => in_time(step, transactions),
        Relation::Overwritten
        | Relation::Initial
        | Relation::Wrp
        | Relation::Rwp
        | Relation::Grew => String::new(),
    }
}

/// Why one transaction comes before another by the clock.
pub(super) fn in_time(step: &Step, transactions: &[TransactionView]) -> String {
    let Step { from, to, .. } = step;
    let view = |name: &str| transactions.iter().find(|one| one.name == name);
    if step.relation == Relation::Process {
        let process = view(from).map_or(0, |view| view.process);
        return format!("process {process} executed {from} before {to}");
    }
    let ended = view(from).and_then(|view| view.complete);
    let began = view(to).and_then(|view| view.invoke);
    events_of(from, ended, to, began)
}

/// That one transaction ended before another began.
pub(super) fn events_of(from: &str, ended: Option<u64>, to: &str, began: Option<u64>) -> String {
    let (ended, began) = (ended.unwrap_or_default(), began.unwrap_or_default());
    format!("{from} ended (event {ended}) before {to} began (event {began})")
}

/// Why an anomaly that is no cycle is impossible.
pub(super) fn anomaly(evidence: &AnomalyEvidence) -> Vec<String> {
    let mut sentences = lines(&evidence.transactions);
    sentences.push(match evidence.objects {
        Objects::Lists => of_list(evidence),
        Objects::Registers => registers::anomaly(evidence),
        Objects::Rows => rows::anomaly(evidence),
        Objects::Sets => sets::anomaly(evidence),
        Objects::Counters => counters::anomaly(evidence),
    });
    sentences.extend(none_too_many(evidence.minimal, &evidence.transactions));
    sentences
}

fn of_list(evidence: &AnomalyEvidence) -> String {
    let name = |at: usize| {
        evidence
            .transactions
            .get(at)
            .map_or("", |one| one.name.as_str())
    };
    let element = |at: usize| {
        evidence
            .elements
            .get(at)
            .map_or_else(String::new, Value::to_string)
    };
    let key = &evidence.key;
    let (one, two, three) = (name(0), name(1), name(2));
    let (first, second) = (element(0), element(1));
    match evidence.anomaly.as_str() {
        "G1a" => format!(
            "{one} read {first} from key {key}, which {two} appended; but {two} failed, so nobody can have seen it."
        ),
        "G1b" => format!(
            "{one} read key {key} as it was after {two} appended {first}; but {two} appended more to it, so {one} saw an unfinished transaction."
        ),
        "dirty-update" => format!(
            "{one} read key {key}, where {three}'s append of {second} follows {two}'s of {first}; but {two} failed, so {three} built on what never was."
        ),
        "garbage-read" => {
            format!("{one} read {first} from key {key}, which no transaction appended.")
        }
        "duplicate-elements" => {
            format!("{one} read {first} twice in one list of key {key}, but it was appended once.")
        }
        "future-read" => {
            format!("{one} read {first} from key {key}, which it appended only afterwards.")
        }
        "incompatible-order" if two.is_empty() => {
            format!("{one} read two lists of key {key} of which neither continues the other.")
        }
        "incompatible-order" => {
            format!("{one} and {two} read lists of key {key} of which neither continues the other.")
        }
        "cyclic-versions" => format!(
            "{one} read a list of key {key} with {first} before {second}, or without {second}; {two} read one with {second} before \
             {first}, or without {first}. Both were appended for good, so one comes after the other."
        ),
        "unseen-own-write" => {
            format!("{one} read key {key} without what it had itself appended to it.")
        }
        "internal" => format!(
            "{one}'s reads of key {key} do not agree with each other or with its own appends, though nobody else can have changed the key \
             for it."
        ),
        "lost-update" => format!(
            "{one} and {two} both read the same version of key {key}, and both appended to it: one of them did not see what the other did."
        ),
        "lost-append" => format!(
            "{one}'s append of {first} to key {key} was acknowledged before {two} began, which appended {second}. {three} read \
             {second} without {first}, and nobody ever read {first}."
        ),
        other => format!("{other} of key {key}"),
    }
}
