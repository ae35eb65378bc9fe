//! Proves evidence of rows again, from itself alone.
//!
//! A row is as the universe made it (the transaction of `["init", key, value]`, and else it is not there), or as its one writer left it. So
//! a read came after the writer if what it shows fits what that left and not what was made, and before it the other way round.

use serde_json::Value;
use store::EventType;

use super::super::evidence::{AnomalyEvidence, Cycle, Relation, Step, TransactionView};
use super::super::verify::{Cast, NotProved, before};
use super::{Predicate, key_text};

/// Micro-operations, of whatever length.
fn micro(view: &TransactionView) -> impl DoubleEndedIterator<Item = (&str, &[Value])> {
    let all = view.value.as_array().map_or(&[][..], Vec::as_slice).iter();
    all.filter_map(|one| {
        let parts = one.as_array()?;
        Some((parts.first()?.as_str()?, &parts[1..]))
    })
}

fn is_of(parts: &[Value], key: &str) -> bool {
    parts.first().is_some_and(|of| key_text(of) == key)
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// What a micro-operation makes of a key, if it writes it.
fn written<'a>((f, parts): (&str, &'a [Value]), key: &str) -> Option<Option<&'a Value>> {
    match f {
        "insert" | "w" | "init" if is_of(parts, key) => Some(present(parts.get(1))),
        "delete" if is_of(parts, key) => Some(None),
        _ => None,
    }
}

/// What a transaction leaves of a key, if it writes it.
fn left<'a>(view: &'a TransactionView, key: &str) -> Option<Option<&'a Value>> {
    micro(view).rev().find_map(|one| written(one, key))
}

fn is_universe(view: &TransactionView) -> bool {
    micro(view).any(|(f, _)| f == "init")
}

/// What the universe made of a key.
fn made<'a>(views: &'a [TransactionView], key: &str) -> Option<&'a Value> {
    let universe = views.iter().find(|view| is_universe(view))?;
    left(universe, key).flatten()
}

/// Whether a read, item or predicate, can have seen a row in a state. `None` if it says nothing of the row.
fn fits(
    (f, parts): (&str, &[Value]),
    key: &str,
    state: Option<&Value>,
    by_predicate: bool,
) -> Option<bool> {
    match f {
        "r" if !by_predicate && is_of(parts, key) => Some(present(parts.get(1)) == state),
        "rp" => {
            let predicate = Predicate::of(parts.first()?)?;
            let shown = parts.get(1)?.as_object()?.get(key);
            // What is shown is read.
            if shown.is_none() != by_predicate {
                return None;
            }
            Some(shown == state.filter(|_| predicate.matches(state)))
        }
        _ => None,
    }
}

/// Whether some read of a transaction, before it writes the key itself, fits one state and not another.
fn saw(
    view: &TransactionView,
    key: &str,
    this: Option<&Value>,
    not: Option<&Value>,
    by_predicate: bool,
) -> bool {
    let mut reads = micro(view).take_while(|one| written(*one, key).is_none());
    view.outcome == EventType::Ok
        && reads.any(|one| {
            fits(one, key, this, by_predicate) == Some(true)
                && fits(one, key, not, by_predicate) == Some(false)
        })
}

fn took_effect(view: &TransactionView, all: &[TransactionView]) -> bool {
    let seen = || {
        let mut keys = micro(view).filter_map(|(_, parts)| parts.first().map(key_text));
        keys.any(|key| {
            let Some(state) = left(view, &key) else {
                return false;
            };
            let others = all.iter().filter(|other| other.name != view.name);
            others.into_iter().any(|other| {
                [false, true]
                    .iter()
                    .any(|by| saw(other, &key, state, made(all, &key), *by))
            })
        })
    };
    view.outcome == EventType::Ok || view.outcome == EventType::Info && seen()
}

/// Whether a step follows.
pub(in super::super) fn follows(cast: &Cast, step: &Step) -> Result<bool, NotProved> {
    let (from, to) = (cast.get(&step.from)?, cast.get(&step.to)?);
    let effective = took_effect(from, cast.0) && took_effect(to, cast.0);
    let key = step.key.as_ref().map(key_text).unwrap_or_default();
    let made = made(cast.0, &key);
    let by_predicate = matches!(step.relation, Relation::Wrp | Relation::Rwp);
    let proved = match step.relation {
        Relation::Ww => is_universe(from) && made.is_some() && left(to, &key).is_some(),
        Relation::Wr | Relation::Wrp if is_universe(from) => {
            // Who read what was made, rather than nothing or what a writer of it in the evidence left.
            let reads = |not| saw(to, &key, made, not, by_predicate);
            let others = cast.0.iter().filter(|view| !is_universe(view));
            made.is_some()
                && (reads(None)
                    || others
                        .into_iter()
                        .any(|view| left(view, &key).is_some_and(reads))
                    || micro(to).any(|one| fits(one, &key, made, by_predicate) == Some(true)))
        }
        Relation::Wr | Relation::Wrp => {
            left(from, &key).is_some_and(|left| saw(to, &key, left, made, by_predicate))
        }
        Relation::Rw if is_universe(to) => saw(from, &key, None, made, false),
        Relation::Rw | Relation::Rwp => {
            !is_universe(to)
                && left(to, &key).is_some_and(|left| saw(from, &key, made, left, by_predicate))
        }
        Relation::Process => from.process == to.process && before(from, to),
        Relation::Realtime => to.invoke.is_some() && before(from, to),
        Relation::Overwritten | Relation::Initial | Relation::Grew => false,
    };
    Ok(from.name != to.name && effective && proved)
}

/// The name of a cycle of rows whose name among items is this.
pub(in super::super) fn name_of(cycle: &Cycle, of_items: &str) -> String {
    let by_predicate = |step: &Step| step.relation == Relation::Rwp;
    match cycle.steps.iter().any(by_predicate) {
        true => of_items.replacen("-item", "", 1),
        false => of_items.to_owned(),
    }
}

/// Whether evidence shows what it is called.
pub(in super::super) fn shows(evidence: &AnomalyEvidence) -> Option<bool> {
    let key = key_text(&evidence.key);
    let views = &evidence.transactions;
    let one = views.first()?;
    let ok = one.outcome == EventType::Ok;
    let shown = |wanted: &dyn Fn(&Value) -> bool| {
        micro(one).any(|(f, parts)| {
            let value = match f {
                "r" if is_of(parts, &key) => parts.get(1),
                "rp" => parts.get(1).and_then(|rows| rows.get(&key)),
                _ => None,
            };
            present(value).is_some_and(wanted)
        })
    };
    let writes = |view: &TransactionView, value: &Value| {
        micro(view).any(|one| written(one, &key) == Some(Some(value)))
    };
    Some(match evidence.anomaly.as_str() {
        "G1a" => {
            ok && views.get(1)?.outcome == EventType::Fail
                && shown(&|value| writes(&views[1], value))
        }
        "G1b" => {
            let writer = views.get(1)?;
            let early =
                |value: &Value| writes(writer, value) && left(writer, &key) != Some(Some(value));
            ok && writer.outcome != EventType::Fail && writer.name != one.name && shown(&early)
        }
        "garbage-read" => ok && shown(&|value| !views.iter().any(|view| writes(view, value))),
        "predicate-read-miss" => {
            let mut states = vec![made(views, &key)];
            states.extend(views[1..].iter().filter_map(|view| left(view, &key)));
            let mut reads = micro(one).take_while(|one| written(*one, &key).is_none());
            ok && reads.any(|read| {
                states
                    .iter()
                    .all(|state| fits(read, &key, *state, true) == Some(false))
            })
        }
        "internal" => ok && at_odds(one, &key),
        _ => return None,
    })
}

/// Whether a transaction read a row other than its own reads and writes left it, or one that its predicate does not match.
fn at_odds(view: &TransactionView, key: &str) -> bool {
    let mut own: Option<Option<&Value>> = None;
    let mut seen: Option<Option<&Value>> = None;
    for one in micro(view) {
        if let Some(state) = written(one, key) {
            own = Some(state);
            continue;
        }
        let (f, parts) = one;
        if let ("rp", Some(shown)) = (f, parts.get(1).and_then(|rows| rows.get(key))) {
            let predicate = parts.first().and_then(Predicate::of);
            if predicate.is_some_and(|predicate| !predicate.matches(Some(shown))) {
                return true;
            }
        }
        if let Some(own) = own {
            if [false, true]
                .iter()
                .any(|by| fits(one, key, own, *by) == Some(false))
            {
                return true;
            }
        } else if f == "r" && is_of(parts, key) {
            let state = present(parts.get(1));
            if seen.is_some_and(|seen| seen != state) {
                return true;
            }
            seen = Some(state);
        }
    }
    false
}
