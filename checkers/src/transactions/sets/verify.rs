//! Proves evidence of sets again, from itself alone.

use serde_json::Value;
use store::EventType;

use super::super::evidence::{AnomalyEvidence, Relation, Step, TransactionView};
use super::super::verify::{Cast, NotProved, before, micro};

fn adds(view: &TransactionView, key: &Value, element: &Value) -> bool {
    micro(view).any(|(f, of, what)| f == "add" && of == key && what == element)
}

/// What a transaction certainly read of a key, each time.
fn reads<'a>(view: &'a TransactionView, key: &'a Value) -> impl Iterator<Item = &'a Vec<Value>> {
    let ok = view.outcome == EventType::Ok;
    let all = micro(view).filter(move |(f, of, _)| ok && *f == "r" && *of == key);
    all.filter_map(|(_, _, what)| what.as_array())
}

fn took_effect(view: &TransactionView, all: &[TransactionView]) -> bool {
    let seen = || {
        let mut mine = micro(view).filter(|(f, ..)| *f == "add");
        mine.any(|(_, key, element)| {
            let mut others = all.iter().filter(|other| other.name != view.name);
            others.any(|other| reads(other, key).any(|set| set.contains(element)))
        })
    };
    view.outcome == EventType::Ok || view.outcome == EventType::Info && seen()
}

/// Whether a step follows.
pub(in super::super) fn follows(cast: &Cast, step: &Step) -> Result<bool, NotProved> {
    let (from, to) = (cast.get(&step.from)?, cast.get(&step.to)?);
    let effective = took_effect(from, cast.0) && took_effect(to, cast.0);
    let proved = match (step.relation, &step.key, &step.value, &step.next) {
        (Relation::Wr, Some(key), Some(element), _) => {
            adds(from, key, element) && reads(to, key).any(|set| set.contains(element))
        }
        (Relation::Rw, Some(key), _, Some(element)) => {
            adds(to, key, element) && reads(from, key).any(|set| !set.contains(element))
        }
        (Relation::Process, ..) => from.process == to.process && before(from, to),
        (Relation::Realtime, ..) => to.invoke.is_some() && before(from, to),
        _ => false,
    };
    Ok(from.name != to.name && effective && proved)
}

/// Whether evidence shows what it is called.
pub(in super::super) fn shows(evidence: &AnomalyEvidence) -> Option<bool> {
    let key = &evidence.key;
    let one = evidence.transactions.first()?;
    let two = evidence.transactions.get(1);
    let element = evidence.elements.first();
    let saw = |element: &Value| reads(one, key).any(|set| set.contains(element));
    Some(match evidence.anomaly.as_str() {
        "G1a" => two?.outcome == EventType::Fail && adds(two?, key, element?) && saw(element?),
        "G1b" => {
            let two = two?;
            let mine = || micro(two).filter(|(f, of, _)| *f == "add" && *of == key);
            let unfinished = |set: &Vec<Value>| {
                set.contains(element.unwrap_or(key))
                    && mine().any(|(_, _, what)| !set.contains(what))
            };
            two.name != one.name && adds(two, key, element?) && reads(one, key).any(unfinished)
        }
        "garbage-read" => {
            saw(element?)
                && !evidence
                    .transactions
                    .iter()
                    .any(|view| adds(view, key, element.unwrap_or(key)))
        }
        "future-read" => {
            let early = micro(one)
                .take_while(|(f, of, what)| !(*f == "add" && *of == key && Some(*what) == element));
            let mut sets = early.filter(|(f, of, _)| *f == "r" && *of == key);
            let seen = sets.any(|(_, _, what)| {
                what.as_array()
                    .is_some_and(|set| element.is_some_and(|one| set.contains(one)))
            });
            one.outcome == EventType::Ok && seen && adds(one, key, element?)
        }
        "internal" => one.outcome == EventType::Ok && at_odds(one, key),
        _ => return None,
    })
}

/// Whether a transaction read a set other than its own reads and adds left it.
fn at_odds(view: &TransactionView, key: &Value) -> bool {
    let mut own: Vec<&Value> = Vec::new();
    let mut known: Option<Vec<&Value>> = None;
    let same = |one: &[&Value], other: &[&Value]| {
        one.iter().all(|what| other.contains(what)) && other.iter().all(|what| one.contains(what))
    };
    for (f, _, what) in micro(view).filter(|(_, of, _)| *of == key) {
        if f == "add" {
            own.push(what);
            known.iter_mut().for_each(|known| known.push(what));
            continue;
        }
        let set: Vec<&Value> = what.as_array().into_iter().flatten().collect();
        let lacks = own.iter().any(|one| !set.contains(one));
        if lacks || known.is_some_and(|known| !same(&known, &set)) {
            return true;
        }
        known = Some(set);
    }
    false
}
