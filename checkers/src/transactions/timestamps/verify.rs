//! Proves evidence of timestamps again, from itself alone.

use serde_json::Value;
use store::EventType;

use super::super::evidence::{AnomalyEvidence, Objects, TransactionView};
use super::super::verify::before;
use super::read::{micro, stamps};

/// Whether evidence shows what it is called. `None` if it is none of timestamps.
pub(in super::super) fn shows(evidence: &AnomalyEvidence) -> Option<bool> {
    let views = &evidence.transactions;
    let key = &evidence.key;
    let (one, two) = (views.first()?, views.get(1));
    let stamp = |view: &TransactionView| {
        let ok = view.outcome == EventType::Ok;
        stamps(&view.value).filter(|_| ok)
    };
    let ordered = |apart: &dyn Fn((i64, i64), (i64, i64)) -> bool| {
        two.and_then(|two| Some(apart(stamp(one)?, stamp(two)?)))
            .unwrap_or(false)
    };
    Some(match evidence.anomaly.as_str() {
        "EXT" => external(evidence, stamp(one)?.0 + 1),
        "EXT-commit" => external(evidence, stamp(one)?.1),
        "NOCONFLICT" => {
            let both = writes(one, key) && two.is_some_and(|two| writes(two, key));
            both && ordered(&|first, second| second.0 < first.1 && first.1 < second.1)
        }
        "SESSION" => {
            let two = two?;
            let in_order = one.process == two.process && before(one, two);
            in_order && ordered(&|first, second| second.0 < first.1)
        }
        "REALTIME" => {
            let two = two?;
            two.invoke.is_some() && before(one, two) && ordered(&|first, second| second.0 < first.1)
        }
        "INT" => one.outcome == EventType::Ok && at_odds(one, key, evidence.objects),
        _ => return None,
    })
}

fn writes(view: &TransactionView, key: &Value) -> bool {
    micro(&view.value).any(|(f, of, _)| f != "r" && of == key)
}

/// What a transaction leaves of a register, or, of a list, whether it appends an element.
fn leaves(view: &TransactionView, key: &Value, value: &Value, objects: Objects) -> bool {
    let mut all = micro(&view.value).filter(|(f, of, _)| *f != "r" && *of == key);
    match objects {
        Objects::Lists => all.any(|(_, _, what)| what == value),
        _ => all.next_back().is_some_and(|(_, _, what)| what == value),
    }
}

/// Whether a read is not of all that was committed before some time.
fn external(evidence: &AnomalyEvidence, until: i64) -> bool {
    let key = &evidence.key;
    let views = &evidence.transactions;
    let objects = evidence.objects;
    let (Some(reader), Some(writer), Some(element)) =
        (views.first(), views.get(1), evidence.elements.first())
    else {
        return false;
    };
    let commit = |view: &TransactionView| {
        let ok = view.outcome == EventType::Ok;
        stamps(&view.value).filter(|_| ok).map(|(_, commit)| commit)
    };
    let Some(committed) = commit(writer) else {
        return false;
    };
    if writer.name == reader.name || !leaves(writer, key, element, objects) {
        return false;
    }
    let seen = committed < until;
    let mut own = false;
    micro(&reader.value).any(|(f, of, what)| {
        own |= f != "r" && of == key;
        if f != "r" || of != key {
            return false;
        }
        if objects == Objects::Lists {
            let list = what.as_array().map_or(&[][..], Vec::as_slice);
            let at = |element: &Value| list.iter().position(|one| one == element);
            return match (at(element), evidence.elements.get(1), views.get(2)) {
                (None, ..) => seen,
                (Some(_), None, _) => !seen,
                (Some(first), Some(next), Some(other)) => {
                    let later = commit(other).is_some_and(|other| committed >= other);
                    // An element that is there twice is in no order.
                    let twice =
                        element == next && list.iter().filter(|one| *one == element).count() > 1;
                    let follows = list.get(first + 1) == Some(next) && later;
                    (twice || follows && element != next) && leaves(other, key, next, objects)
                }
                _ => false,
            };
        }
        match (evidence.elements.get(1), views.get(2)) {
            // It read what had been overwritten.
            (Some(old), Some(other)) => {
                let earlier = commit(other).is_some_and(|other| other < committed);
                !own && what == old && leaves(other, key, old, objects) && earlier && seen
            }
            // It read nothing, or something later.
            _ => !own && (what.is_null() && seen || what == element && !seen),
        }
    })
}

/// Whether a transaction read a key other than its own writes left it, or what it had yet to write.
fn at_odds(view: &TransactionView, key: &Value, objects: Objects) -> bool {
    let mut own: Vec<&Value> = Vec::new();
    let all: Vec<(&str, &Value, &Value)> =
        micro(&view.value).filter(|(_, of, _)| *of == key).collect();
    all.iter().any(|(f, _, what)| {
        if *f != "r" {
            own.push(what);
            return false;
        }
        if objects == Objects::Lists {
            let list = what.as_array().map_or(&[][..], Vec::as_slice);
            let from = list.len().saturating_sub(own.len());
            return !(list.len() >= own.len() && list[from..].iter().eq(own.iter().copied()));
        }
        match own.last() {
            Some(last) => last != what,
            None => all.iter().any(|(f, _, later)| *f != "r" && later == what),
        }
    })
}
