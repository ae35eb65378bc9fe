//! Proves evidence of counters again: what follows from itself alone, and, from the history, the sums that it takes for granted.

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType, Process};

use super::super::evidence::{AnomalyEvidence, Cycle, Relation, Step, TransactionView};
use super::super::verify::{Cast, NotProved, before, micro};
use crate::Evidence;

/// A sum that was read.
fn number(what: &Value) -> Option<u64> {
    let whole = |one: &f64| *one >= 0.0 && *one < 9e15 && *one == one.trunc();
    match what {
        Value::Null => Some(0),
        other => other
            .as_u64()
            .or_else(|| other.as_f64().filter(whole).map(|one| one as u64)),
    }
}

/// What micro-operations add to a key.
fn added<'a>(all: impl Iterator<Item = (&'a str, &'a Value, &'a Value)>, key: &Value) -> u64 {
    all.filter(|(f, of, _)| *f == "inc" && *of == key)
        .filter_map(|(_, _, n)| n.as_u64())
        .sum()
}

/// What a transaction certainly read of a key before it added anything to it.
fn reads<'a>(view: &'a TransactionView, key: &'a Value) -> impl Iterator<Item = &'a Value> {
    let ok = view.outcome == EventType::Ok;
    let of_key = micro(view).filter(move |(_, of, _)| ok && *of == key);
    of_key
        .take_while(|(f, ..)| *f == "r")
        .map(|(_, _, what)| what)
}

fn has_read(view: &TransactionView, key: &Value, sum: u64) -> bool {
    reads(view, key).any(|what| number(what) == Some(sum))
}

/// Whether a step follows.
pub(in super::super) fn follows(
    cast: &Cast,
    step: &Step,
    cycle: &Cycle,
) -> Result<bool, NotProved> {
    let (from, to) = (cast.get(&step.from)?, cast.get(&step.to)?);
    // One of unknown outcome happened if another saw it.
    let took_effect = |view: &TransactionView| {
        let seen = |step: &Step| step.relation == Relation::Wr && step.from == view.name;
        view.outcome == EventType::Ok
            || view.outcome == EventType::Info && cycle.steps.iter().any(seen)
    };
    let sum = |value: &Option<Value>| value.as_ref().and_then(Value::as_u64);
    let proved = match (step.relation, &step.key, sum(&step.value), sum(&step.next)) {
        (Relation::Wr, Some(key), Some(read), Some(others)) => {
            let without = others.checked_sub(added(micro(from), key));
            has_read(to, key, read) && without.is_some_and(|without| without < read)
        }
        (Relation::Rw, Some(key), Some(read), Some(_)) => {
            let total = added(micro(to), key);
            let base = reads(to, key).filter_map(number).max().unwrap_or(0);
            has_read(from, key, read) && total > 0 && read < base.saturating_add(total)
        }
        (Relation::Grew, Some(key), Some(less), Some(more)) => {
            has_read(from, key, less) && has_read(to, key, more) && less < more
        }
        (Relation::Process, ..) => from.process == to.process && before(from, to),
        (Relation::Realtime, ..) => to.invoke.is_some() && before(from, to),
        _ => false,
    };
    let different = from.name != to.name || step.relation == Relation::Grew;
    Ok(different && took_effect(from) && took_effect(to) && proved)
}

/// Whether evidence shows what it is called.
pub(in super::super) fn shows(evidence: &AnomalyEvidence) -> Option<bool> {
    let key = &evidence.key;
    let one = evidence.transactions.first()?;
    let what = evidence.elements.first();
    let bound = evidence.elements.get(1).and_then(Value::as_u64);
    let sum = || what.and_then(Value::as_u64);
    let saw = || sum().is_some_and(|sum| has_read(one, key, sum));
    Some(match evidence.anomaly.as_str() {
        "garbage-read" => match evidence.elements.get(2).and_then(Value::as_u64) {
            Some(unit) => saw() && !sum()?.is_multiple_of(unit),
            None if bound.is_some() => saw() && sum()? > bound?,
            None => {
                let mut all = micro(one).filter(|(f, of, _)| *f == "r" && *of == key);
                let ok = one.outcome == EventType::Ok;
                ok && number(what?).is_none() && all.any(|(_, _, one)| Some(one) == what)
            }
        },
        "G1c-realtime" => saw() && one.complete.is_some() && sum()? > bound?,
        "G-single-item-process" | "G-single-item-realtime" => {
            saw() && one.invoke.is_some() && sum()? < bound?
        }
        "lost-update" => {
            let two = evidence.transactions.get(1)?;
            let both = [one, two].map(|view| {
                let read = sum().is_some_and(|sum| has_read(view, key, sum));
                read && added(micro(view), key) > 0
            });
            one.name != two.name && both == [true; 2]
        }
        "internal" => one.outcome == EventType::Ok && at_odds(one, key, true),
        "unseen-own-write" => one.outcome == EventType::Ok && at_odds(one, key, false),
        _ => return None,
    })
}

/// Whether a transaction read less than it had itself added, or, if that counts, something else than its earlier reads and increments left.
fn at_odds(view: &TransactionView, key: &Value, earlier: bool) -> bool {
    let (mut own, mut known) = (0u64, None::<u64>);
    for (f, _, what) in micro(view).filter(|(_, of, _)| *of == key) {
        if f == "inc" {
            let n = what.as_u64().unwrap_or(0);
            own = own.saturating_add(n);
            known = known.map(|known| known.saturating_add(n));
        } else if let Some(sum) = number(what) {
            if sum < own || earlier && known.is_some_and(|known| known != sum) {
                return true;
            }
            known = Some(sum);
        }
    }
    false
}

/// A transaction as it stands in the events.
struct Recorded<'a> {
    process: u64,
    invoke: Option<u64>,
    complete: Option<u64>,
    kind: EventType,
    value: &'a Value,
}

fn recorded(events: &[Event]) -> Vec<Recorded<'_>> {
    let mut all: Vec<Recorded> = Vec::new();
    let mut open: FxHashMap<u64, usize> = FxHashMap::default();
    for event in events {
        let Process::Client(process) = event.process else {
            continue;
        };
        let begun = open.remove(&process).filter(|_| !event.is_invoke());
        let at = begun.unwrap_or(all.len());
        if begun.is_none() {
            all.push(Recorded {
                process,
                invoke: event.is_invoke().then_some(event.index),
                complete: None,
                kind: EventType::Info,
                value: &event.value,
            });
        }
        if event.is_invoke() {
            open.insert(process, at);
            continue;
        }
        all[at].complete = Some(event.index);
        all[at].kind = event.kind;
        if event.kind == EventType::Ok {
            all[at].value = &event.value;
        }
    }
    all
}

impl Recorded<'_> {
    fn is(&self, view: &TransactionView) -> bool {
        let same = (self.process, self.invoke, self.complete);
        same == (view.process, view.invoke, view.complete)
    }

    fn added(&self, key: &Value) -> u64 {
        let all = self.value.as_array().map_or(&[][..], Vec::as_slice).iter();
        let all = all.filter_map(|one| Some((one.get(0)?.as_str()?, one.get(1)?, one.get(2)?)));
        added(all, key)
    }
}

/// Whether what evidence says of sums is so in a history.
pub(in super::super) fn verify_sums_in(
    evidence: &Evidence,
    events: &[Event],
) -> Result<(), NotProved> {
    let all = recorded(events);
    let sum = |key: &Value, which: &dyn Fn(&Recorded) -> bool| -> u64 {
        let all = all.iter().filter(|one| which(one));
        all.map(|one| one.added(key)).sum()
    };
    let other = |of: &TransactionView, one: &Recorded| one.kind != EventType::Fail && !one.is(of);
    let check = |key: &Value, said: Option<&Value>, found: u64| match said.and_then(Value::as_u64) {
        Some(said) if said == found => Ok(()),
        _ => Err(NotProved::Sum(key.to_string())),
    };
    match evidence {
        Evidence::Cycle(cycle) => {
            let cast = Cast(&cycle.transactions);
            let seen = cycle
                .steps
                .iter()
                .filter(|step| step.relation == Relation::Wr);
            for (step, key) in seen.filter_map(|step| Some((step, step.key.as_ref()?))) {
                let of = cast.get(&step.to)?;
                check(key, step.next.as_ref(), sum(key, &|one| other(of, one)))?;
            }
            Ok(())
        }
        Evidence::Anomaly(one) => {
            let key = &one.key;
            let view = one.transactions.first();
            let view = view.ok_or_else(|| NotProved::Nobody("T1".to_owned()))?;
            let bound = one.elements.get(1);
            let others = |one: &Recorded| other(view, one);
            let done = |other: &Recorded| {
                let ended = other.complete.zip(view.invoke);
                other.kind == EventType::Ok && ended.is_some_and(|(end, begin)| end < begin)
            };
            match one.anomaly.as_str() {
                "garbage-read" if bound.is_some() => {
                    check(key, bound, sum(key, &others))?;
                    let Some(unit) = one.elements.get(2).and_then(Value::as_u64) else {
                        return Ok(());
                    };
                    let mut all = all.iter().filter(|one| one.kind != EventType::Fail);
                    match all.all(|one| one.added(key).is_multiple_of(unit)) {
                        true => Ok(()),
                        false => Err(NotProved::Sum(key.to_string())),
                    }
                }
                "G1c-realtime" => {
                    let begun = |other: &Recorded| {
                        others(other)
                            && other.invoke.is_none_or(|begin| Some(begin) < view.complete)
                    };
                    check(key, bound, sum(key, &begun))
                }
                "G-single-item-process" => check(
                    key,
                    bound,
                    sum(key, &|other| done(other) && other.process == view.process),
                ),
                "G-single-item-realtime" => check(key, bound, sum(key, &done)),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
