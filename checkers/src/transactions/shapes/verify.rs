//! Proves shapes again, from evidence alone.

use std::iter::zip;

use serde_json::Value;
use store::EventType;

use super::super::evidence::{Cycle, Objects, Relation, Step, TransactionView};
use super::super::verify::micro;

use Relation::{Process, Rw, Wr, Ww};

/// Whether a cycle, each step of which follows, has the shape that it is called by. `None` if it is called by its class.
pub(in super::super) fn shows(cycle: &Cycle) -> Option<bool> {
    let steps = &cycle.steps[..];
    let relations: Vec<Relation> = steps.iter().map(|step| step.relation).collect();
    let only = |allowed: &[Relation]| relations.iter().all(|one| allowed.contains(one));
    // After what was missed at first, nothing else is.
    let missed_then = |allowed: &[Relation]| {
        relations.first() == Some(&Rw) && relations[1..].iter().all(|one| allowed.contains(one))
    };
    let has = |relation| relations.contains(&relation);
    Some(match cycle.anomaly.as_str() {
        "OTV" => relations == [Rw, Wr] && is_earlier(cycle, &steps[1], &steps[0], false),
        "fractured-read" => relations == [Rw, Wr],
        "fractured-read-process" => relations == [Rw, Process],
        "causality-violation" => missed_then(&[Wr]),
        "causality-violation-process" => missed_then(&[Wr, Process]) && has(Process),
        "G-cursor" => {
            relations == [Rw, Ww] && steps[0].key == steps[1].key
                || came_first(cycle, &|view, _, key| writes_key(view, key))
        }
        "fractured-update" => {
            relations == [Rw, Ww]
                || came_first(cycle, &|view, other, _| {
                    let mut writes = micro(view).filter(|(f, ..)| is_write(f));
                    writes.any(|(_, key, _)| writes_key(other, key))
                })
        }
        "G-monotonic" => {
            let last = steps.last()?;
            missed_then(&[Wr, Ww]) && is_earlier(cycle, last, &steps[0], true)
        }
        "prefix-violation" => {
            let before = relations.iter().rev().take(1).chain(&relations);
            only(&[Ww, Wr, Rw])
                && has(Rw)
                && zip(before, &relations).all(|(before, one)| *one != Rw || *before == Wr)
        }
        "G-update" => only(&[Ww, Wr, Rw]) && has(Rw) && queries(cycle) <= 1,
        _ => return None,
    })
}

/// Whether a function writes, to a list or to a register.
fn is_write(f: &str) -> bool {
    matches!(f, "append" | "w")
}

fn writes_key(view: &TransactionView, key: &Value) -> bool {
    micro(view).any(|(f, of, _)| is_write(f) && of == key)
}

/// Whether a cycle has only dependencies, and transactions that missed something of others, with whom they are `in_conflict` by the
/// key of which they missed it.
fn came_first(
    cycle: &Cycle,
    in_conflict: &dyn Fn(&TransactionView, &TransactionView, &Value) -> bool,
) -> bool {
    let view = |name: &str| cycle.transactions.iter().find(|view| view.name == name);
    let is_so = |step: &Step| match (step.relation, view(&step.from), view(&step.to), &step.key) {
        (Ww | Wr, ..) => true,
        (Rw, Some(from), Some(to), Some(key)) => in_conflict(from, to, key),
        _ => false,
    };
    cycle.steps.iter().any(|step| step.relation == Rw) && cycle.steps.iter().all(is_so)
}

/// How many transactions of a cycle only read.
fn queries(cycle: &Cycle) -> usize {
    let only_reads = |view: &&TransactionView| micro(view).all(|(f, ..)| !is_write(f));
    let mut names: Vec<&str> = cycle
        .transactions
        .iter()
        .filter(|view| cycle.steps.iter().any(|step| step.from == view.name))
        .filter(only_reads)
        .map(|view| view.name.as_str())
        .collect();
    names.dedup();
    names.len()
}

/// Whether the transaction of both steps came, by the one, to something before a read that missed, by the other, an element; or, if
/// so, by this read itself.
fn is_earlier(cycle: &Cycle, into: &Step, missed: &Step, or_itself: bool) -> bool {
    let mut views = cycle.transactions.iter();
    let Some(view) = views.find(|view| view.name == missed.from && view.name == into.to) else {
        return false;
    };
    let is = |of: &Value, key: &Option<Value>| Some(of) == key.as_ref();
    let is_register = cycle.objects == Objects::Registers;
    let has = |list: &Value, element: &Option<Value>| {
        if is_register {
            return Some(list) == element.as_ref();
        }
        let list = list.as_array().map_or(&[][..], Vec::as_slice);
        list.iter().any(|one| Some(one) == element.as_ref())
    };
    let reached = micro(view).position(|(f, of, what)| match into.relation {
        Wr => f == "r" && is(of, &into.key) && has(what, &into.value),
        _ => is_write(f) && is(of, &into.key) && Some(what) == into.next.as_ref(),
    });
    let left = micro(view)
        .enumerate()
        .filter(|(_, (f, of, what))| {
            let missed = match is_register {
                true => Some(*what) == missed.value.as_ref() && is(of, &missed.key),
                false => is(of, &missed.key) && what.is_array() && !has(what, &missed.next),
            };
            *f == "r" && missed
        })
        .map(|(at, _)| at)
        .last();
    match (reached, left) {
        (Some(reached), Some(left)) => {
            view.outcome == EventType::Ok && (reached < left || or_itself && reached == left)
        }
        _ => false,
    }
}
