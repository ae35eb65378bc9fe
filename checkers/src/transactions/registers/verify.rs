//! Proves evidence of registers again, from itself alone.

use serde_json::Value;
use store::EventType;

use super::super::evidence::{AnomalyEvidence, Cycle, Follows, Relation, Step, TransactionView};
use super::super::verify::{Cast, NotProved, before, micro};

/// The first place where a transaction writes a value to a key.
fn written_at(view: &TransactionView, key: &Value, value: &Value) -> Option<usize> {
    micro(view).position(|(f, of, what)| f == "w" && of == key && what == value)
}

fn writes(view: &TransactionView, key: &Value, value: &Value) -> bool {
    written_at(view, key, value).is_some()
}

/// The places where a transaction certainly read a value of a key, and not after a write of its own.
fn read_at(
    view: &TransactionView,
    key: &Value,
    value: &Value,
) -> impl DoubleEndedIterator<Item = usize> {
    let ok = view.outcome == EventType::Ok;
    let own = micro(view).position(|(f, of, _)| f == "w" && of == key);
    let first = own.unwrap_or(usize::MAX);
    let all = micro(view).enumerate().take(first);
    let same = all.filter(|(_, micro)| ok && *micro == ("r", key, value));
    same.map(|(at, _)| at).collect::<Vec<usize>>().into_iter()
}

fn reads(view: &TransactionView, key: &Value, value: &Value) -> bool {
    read_at(view, key, value).next().is_some()
}

/// The versions that the database gave a value of a key, as a transaction has it.
pub(super) fn said<'a>(
    view: &'a TransactionView,
    key: &'a Value,
    value: &'a Value,
) -> impl Iterator<Item = i64> + 'a {
    let ok = view.outcome == EventType::Ok;
    let all = view.value.as_array().map_or(&[][..], Vec::as_slice).iter();
    let mine = all.filter(move |one| one.get(1) == Some(key) && one.get(2) == Some(value));
    let certain = mine.filter(move |one| ok || one.get(0).is_some_and(|f| f == "w"));
    certain.filter_map(|one| one.get(3)?.as_i64())
}

/// Whether micro-operations of a transaction have the versions that are there.
pub(in super::super) fn same_versions(view: &TransactionView, there: &[Value]) -> bool {
    let here = view.value.as_array().map_or(&[][..], Vec::as_slice).iter();
    let certain =
        |one: &Value| view.outcome == EventType::Ok || one.get(0).is_some_and(|f| f == "w");
    let version = |one: &Value| one.get(3).filter(|version| !version.is_null()).cloned();
    here.zip(there)
        .all(|(one, other)| !certain(one) || version(one) == version(other))
}

/// The version of a key that a transaction had first, and the one that it had last.
fn touched<'a>(view: &'a TransactionView, key: &Value) -> Option<(&'a Value, &'a Value)> {
    let mut of_key = micro(view).filter(|(_, of, _)| *of == key);
    let (f, _, first) = of_key.next()?;
    let mut writes = micro(view).filter(|(f, of, _)| *f == "w" && *of == key);
    let last = writes.next_back().map(|(_, _, what)| what);
    if view.outcome != EventType::Ok {
        return None;
    }
    let first = if f == "w" { last? } else { first };
    Some((first, last.unwrap_or(first)))
}

/// Whether a transaction took effect, as the others show.
fn took_effect(view: &TransactionView, all: &[TransactionView]) -> bool {
    let observed = || {
        micro(view)
            .filter(|(f, ..)| *f == "w")
            .any(|(_, key, value)| {
                all.iter()
                    .any(|other| other.name != view.name && reads(other, key, value))
            })
    };
    view.outcome == EventType::Ok || view.outcome == EventType::Info && observed()
}

/// Whether one version of a key follows another, of which the writer is one of the transactions.
fn is_after(
    cast: &Cast,
    key: &Value,
    (value, next): (&Value, &Value),
    writer: &TransactionView,
    follows: &Follows,
) -> Result<bool, NotProved> {
    let had = |first: &str, second: &str| {
        let (first, second) = (cast.get(first)?, cast.get(second)?);
        let had = touched(first, key).is_some_and(|(_, last)| last == value);
        let has = touched(second, key).is_some_and(|(first, _)| first == next);
        Ok((had && has && before(first, second)).then_some((first, second)))
    };
    let proved = match follows {
        Follows::Initial => value.is_null(),
        Follows::Read => touched(writer, key) == Some((value, next)),
        Follows::Sequential { first, second } => {
            had(first, second)?.is_some_and(|(first, second)| first.process == second.process)
        }
        Follows::Linearizable { first, second } => {
            had(first, second)?.is_some_and(|(_, second)| second.invoke.is_some())
        }
        Follows::Given {
            lower,
            higher,
            first,
            second,
        } => {
            let has = |name: &str, value: &Value, version: &i64| {
                Ok(said(cast.get(name)?, key, value).any(|one| one == *version))
            };
            lower < higher && has(first, value, lower)? && has(second, next, higher)?
        }
    };
    Ok(proved && value != next)
}

/// Whether a step follows.
pub(in super::super) fn follows(cast: &Cast, step: &Step) -> Result<bool, NotProved> {
    if step.from == Cycle::INITIAL {
        return Ok(step.relation == Relation::Initial && step.to != Cycle::INITIAL);
    }
    let from = cast.get(&step.from)?;
    if step.relation == Relation::Overwritten {
        return overwritten(cast, step, from);
    }
    let to = cast.get(&step.to)?;
    let different = from.name != to.name;
    let effective = took_effect(from, cast.0) && took_effect(to, cast.0);
    let proved = match (
        step.relation,
        &step.key,
        &step.value,
        &step.next,
        &step.follows,
    ) {
        (Relation::Wr, Some(key), Some(value), ..) => {
            writes(from, key, value) && reads(to, key, value)
        }
        (Relation::Rw, Some(key), Some(value), Some(next), Some(follows)) => {
            reads(from, key, value)
                && writes(to, key, next)
                && is_after(cast, key, (value, next), to, follows)?
        }
        (Relation::Ww, Some(key), Some(value), Some(next), Some(follows)) => {
            writes(from, key, value)
                && writes(to, key, next)
                && *follows != Follows::Initial
                && is_after(cast, key, (value, next), to, follows)?
        }
        (Relation::Process, ..) => from.process == to.process && before(from, to),
        (Relation::Realtime, ..) => to.invoke.is_some() && before(from, to),
        _ => false,
    };
    Ok(different && effective && proved)
}

fn overwritten(cast: &Cast, step: &Step, from: &TransactionView) -> Result<bool, NotProved> {
    let (Some(key), Some(value), Some(next), Some(witness)) =
        (&step.key, &step.value, &step.next, &step.witness)
    else {
        return Ok(false);
    };
    let witness = cast.get(witness)?;
    let other = match step.to.as_str() {
        Cycle::INITIAL => next.is_null(),
        to => {
            let to = cast.get(to)?;
            to.name != from.name && to.name != witness.name && writes(to, key, next)
        }
    };
    let mut at = from.name.as_str();
    for step in &step.seen {
        let goes_on = step.from == at && matches!(step.relation, Relation::Wr | Relation::Process);
        if !goes_on || !follows(cast, step)? {
            return Ok(false);
        }
        at = &step.to;
    }
    let seen = at == witness.name && !step.seen.is_empty();
    Ok(other && seen && value != next && writes(from, key, value) && reads(witness, key, next))
}

/// What a contradiction with conclusions is called. `None` if there are no conclusions.
pub(in super::super) fn name_of(cycle: &Cycle) -> Option<String> {
    let cast = Cast(&cycle.transactions);
    let conclusions = cycle
        .steps
        .iter()
        .filter(|step| step.relation == Relation::Overwritten);
    let how = conclusions.map(|step| match earlier(&cast, step) {
        true => 0,
        false if step.seen.len() == 1 => 1,
        false => 2,
    });
    let name = ["OTV", "fractured-read", "causality-violation"][how.max()?];
    let mut all = cycle
        .steps
        .iter()
        .flat_map(|step| step.seen.iter().chain([step]));
    let base = match all.any(|step| step.relation == Relation::Process) {
        true => "-process",
        false => "",
    };
    Some(format!("{name}{base}"))
}

/// Whether the witness of a conclusion had read a write of `from` before it read the key.
fn earlier(cast: &Cast, step: &Step) -> bool {
    let place = |key: &Option<Value>, value: &Option<Value>, last: bool| {
        let witness = cast.get(step.witness.as_deref()?).ok()?;
        let mut all = read_at(witness, key.as_ref()?, value.as_ref()?);
        if last { all.next_back() } else { all.next() }
    };
    match &step.seen[..] {
        [seen] if seen.relation == Relation::Wr => {
            let read = place(&step.key, &step.next, true);
            place(&seen.key, &seen.value, false).is_some_and(|at| Some(at) < read)
        }
        _ => false,
    }
}

/// Whether evidence shows what it is called. `None` if there is no such anomaly of registers.
pub(in super::super) fn shows(evidence: &AnomalyEvidence) -> Option<bool> {
    let key = &evidence.key;
    let view = |at: usize| evidence.transactions.get(at);
    let one = view(0)?;
    let ok = |view: &TransactionView| view.outcome == EventType::Ok;
    // A read may also come after a write of its own transaction.
    let saw = |view: &TransactionView, what: &Value| {
        ok(view) && micro(view).any(|(f, of, value)| (f, of, value) == ("r", key, what))
    };
    let element = evidence.elements.first();
    Some(match evidence.anomaly.as_str() {
        "G1a" => {
            view(1)?.outcome == EventType::Fail
                && writes(view(1)?, key, element?)
                && saw(one, element?)
        }
        "G1b" => {
            let writer = view(1)?;
            let last = micro(writer).rfind(|(f, of, _)| *f == "w" && *of == key);
            writer.outcome != EventType::Fail
                && writer.name != one.name
                && writes(writer, key, element?)
                && last.is_some_and(|(_, _, last)| Some(last) != element)
                && saw(one, element?)
        }
        "garbage-read" => {
            saw(one, element?)
                && !element?.is_null()
                && !evidence
                    .transactions
                    .iter()
                    .any(|view| writes(view, key, element.unwrap_or(key)))
        }
        "future-read" => {
            let written = written_at(one, key, element?)?;
            let mut early = micro(one).take(written);
            ok(one)
                && early.any(|(f, of, value)| (f, of, value) == ("r", key, element.unwrap_or(key)))
        }
        "internal" => ok(one) && at_odds(one, key, false),
        "unseen-own-write" => ok(one) && at_odds(one, key, true),
        "lost-update" => {
            let both = view(1)?;
            let read = |view: &TransactionView| {
                let (f, _, value) = micro(view).find(|(_, of, _)| *of == key)?;
                let writes = micro(view).any(|(f, of, _)| f == "w" && of == key);
                (f == "r" && writes && ok(view)).then(|| value.clone())
            };
            one.name != both.name && read(one)? == read(both)?
        }
        "cyclic-versions" => circle(evidence),
        "incompatible-versions" => incompatible(evidence),
        _ => return None,
    })
}

/// Whether a value has two versions, or two values of different transactions have the same.
fn incompatible(evidence: &AnomalyEvidence) -> bool {
    let (key, all) = (&evidence.key, &evidence.transactions);
    // Of what was written twice nobody knows which is which.
    let once = |value: &Value| {
        let all = all.iter().flat_map(micro);
        let writes = all.filter(|(f, of, what)| *f == "w" && *of == key && *what == value);
        !value.is_null() && writes.count() == 1
    };
    let numbers = |value: &Value| -> Vec<i64> {
        let numbers = all.iter().flat_map(|view| said(view, key, value));
        numbers.collect()
    };
    let writer = |value: &Value| all.iter().position(|view| writes(view, key, value));
    match &evidence.elements[..] {
        [value] => {
            let numbers = numbers(value);
            once(value) && numbers.iter().any(|one| *one != numbers[0])
        }
        [one, other] => {
            let others = numbers(other);
            once(one)
                && once(other)
                && writer(one) != writer(other)
                && numbers(one).iter().any(|number| others.contains(number))
        }
        _ => false,
    }
}

/// Whether each of some versions follows the one before, and the first the last.
fn circle(evidence: &AnomalyEvidence) -> bool {
    let key = &evidence.key;
    let all = &evidence.transactions;
    let next = evidence.elements.iter().cycle().skip(1);
    let in_time = |first: &TransactionView, second: &TransactionView, value, next| {
        touched(first, key).is_some_and(|(_, last)| last == value)
            && touched(second, key).is_some_and(|(first, _)| first == next)
            && before(first, second)
    };
    evidence.elements.len() > 1
        && evidence.elements.iter().zip(next).all(|(value, next)| {
            value.is_null()
                || given(all, key, value, next)
                || all
                    .iter()
                    .any(|one| touched(one, key) == Some((value, next)))
                || all
                    .iter()
                    .any(|one| all.iter().any(|other| in_time(one, other, value, next)))
        })
}

/// Whether a value has a lower version than another, as some transactions have them.
fn given(all: &[TransactionView], key: &Value, value: &Value, next: &Value) -> bool {
    let numbers = |value| all.iter().flat_map(move |view| said(view, key, value));
    numbers(value).any(|lower| numbers(next).any(|higher| lower < higher))
}

/// Whether a transaction read a key otherwise than it had left it: with its own writes, or also with its reads.
fn at_odds(view: &TransactionView, key: &Value, with_writes_alone: bool) -> bool {
    let mut known: Option<(&str, &Value)> = None;
    for (f, _, what) in micro(view).filter(|(_, of, _)| *of == key) {
        if f == "w" {
            known = Some((f, what));
            continue;
        }
        let (by, expected) = *known.get_or_insert((f, what));
        if expected != what && (by == "w" || !with_writes_alone) {
            return true;
        }
    }
    false
}
