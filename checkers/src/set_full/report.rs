//! The verdict on a set, in words and numbers.

use serde_json::{Map, Value, json};

use crate::keyed::{ACKNOWLEDGED, MALFORMED};
use crate::{CheckResult, Evidence, OperationsEvidence, Valid};

use super::SetFull;
use super::findings::{Findings, Kind};
use super::timeline::{Span, Timeline};

/// Elements of each kind that are proved one by one.
const PROVED: usize = 3;
/// Elements, or ranges of them, that are named.
const NAMED: usize = 100;
/// Shares of elements whose latencies are told, in hundredths.
const SHARES: [usize; 5] = [0, 50, 95, 99, 100];

/// The verdict.
pub(super) fn report(set: &SetFull, found: &Findings) -> CheckResult {
    let wrong = |kind: &Kind| *kind != Kind::Stale || set.options.linearizable;
    let violations: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| wrong(kind) && !found.of(*kind).is_empty())
        .collect();
    let mut result = match (violations.is_empty(), why_unknown(set, found)) {
        (false, _) => CheckResult::new(Valid::False, violation(set, found, &violations)),
        (true, Some(why)) => CheckResult::new(Valid::Unknown, why),
        (true, None) => CheckResult::new(Valid::True, praise(set, found)),
    };
    for kind in violations {
        let few = found.of(kind).iter().take(PROVED);
        result.evidence.extend(few.filter_map(|number| {
            let element = &set.elements[*number as usize];
            let (explanation, reads) = told(set, found, kind, *number)?;
            Some(Evidence::Operations(OperationsEvidence {
                explanation,
                events: events(element, reads),
            }))
        }));
    }
    result.details = details(set, found);
    result
}

fn violation(set: &SetFull, found: &Findings, kinds: &[Kind]) -> String {
    let told = kinds.iter().map(|kind| {
        let count = found.of(*kind).len();
        match kind {
            Kind::Lost => format!(
                "{count} of {} acknowledged or read elements are lost ({}){}",
                found.acknowledged + found.recovered,
                ranges(set, found.of(*kind), 5),
                match found.vanished {
                    0 => String::new(),
                    some => format!(", {some} of them after they had been read"),
                }
            ),
            Kind::Divergent => {
                format!("{count} elements are missing in the last read of a process, though others show them")
            }
            Kind::Unexpected => format!("{count} elements were read that nobody had added"),
            Kind::Aborted => format!("{count} elements were read although their adds failed"),
            Kind::Duplicated => format!("{count} elements were read twice by one read"),
            Kind::Stale => format!("{count} elements were not shown by reads that began after they were known"),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

fn why_unknown(set: &SetFull, found: &Findings) -> Option<String> {
    if let Some((event, why)) = &set.malformed {
        return Some(format!("event {event} is not of a set: {why}"));
    }
    if set.last_reads == 0 {
        let read = set.words.all;
        return Some(format!(
            "no {read} ended ok, so nobody knows what is in the set"
        ));
    }
    if found.acknowledged == 0 {
        return Some("no add was acknowledged, so there was nothing to lose".to_owned());
    }
    if found.undecided > 0 {
        return Some(format!(
            "{} elements were missing in the last reads, which were not final: those may have been stale; read once more when nothing \
             is added",
            found.undecided
        ));
    }
    (found.never_read > 0).then(|| {
        format!(
            "of {} acknowledged elements, {} were never read after that",
            found.acknowledged, found.never_read
        )
    })
}

fn praise(set: &SetFull, found: &Findings) -> String {
    let stale = match found.of(Kind::Stale).len() {
        0 => String::new(),
        some => format!(
            "; {some} were not shown by some reads before, at most {}",
            milliseconds(worst(found))
        ),
    };
    format!(
        "all {} acknowledged elements are there, in {} reads{stale}",
        found.acknowledged, set.reads
    )
}

/// Why an element is one of a kind, and the reads that show it.
fn told(set: &SetFull, found: &Findings, kind: Kind, number: u32) -> Option<(String, Vec<Span>)> {
    let element = &set.elements[number as usize];
    let name = set.numbers.value(number);
    Some(match kind {
        Kind::Lost => {
            let read = element.lost()?;
            let before = match element.last_shown {
                Some(shown) => format!(
                    " The last read that shows it ended at event {}.",
                    shown.ended.index
                ),
                None => String::new(),
            };
            let text = format!(
                "Element {name} is lost. {}{before} The read that began at event {} and ended at event {} does not show it, nor \
                 does any that ended later.",
                how_known(element)?,
                read.begun.index,
                read.ended.index
            );
            (
                text,
                [element.last_shown, Some(read)]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        }
        Kind::Divergent => {
            let read = *found.divergent.get(&number)?;
            let shown = element.last_shown?;
            let text = format!(
                "Element {name} is not everywhere. {} All adds had ended when the read that began at event {} did; it is the last of its \
                 process, and does not show it. The read that ended at event {} still does.",
                how_known(element)?,
                read.begun.index,
                shown.ended.index
            );
            (text, vec![read, shown])
        }
        Kind::Unexpected => {
            let read = element.unexpected?;
            let text = match element.added {
                Some(added) => format!(
                    "Element {name} was shown by the read that ended at event {}, but the first add of it began at event {} only.",
                    read.ended.index, added.index
                ),
                None => format!(
                    "Element {name} was shown by the read that ended at event {}, and nobody ever added it.",
                    read.ended.index
                ),
            };
            (text, vec![read])
        }
        Kind::Aborted => {
            let (read, failed) = (element.first_shown?, element.failed?);
            let text = format!(
                "Element {name} was shown by the read that ended at event {}, but its add failed, at event {}: it did not happen.",
                read.ended.index, failed.ended.index
            );
            (text, vec![read])
        }
        Kind::Duplicated => {
            let read = element.duplicated?;
            let text = format!(
                "Element {name} is more than once in the read that ended at event {}.",
                read.ended.index
            );
            (text, vec![read])
        }
        Kind::Stale => {
            let read = element.last_missed?;
            let since = match element.lost() {
                Some(_) => "nor does any that ended later".to_owned(),
                None => format!(
                    "the read that ended at event {} does",
                    element.last_shown?.ended.index
                ),
            };
            let text = format!(
                "Element {name} was read stale. {} The read that began at event {} and ended at event {} does not show it, \
                 {} later; {since}.",
                how_known(element)?,
                read.begun.index,
                read.ended.index,
                milliseconds(element.stale_for()),
            );
            (
                text,
                [Some(read), element.last_shown]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        }
    })
}

fn how_known(element: &Timeline) -> Option<String> {
    let known = element.known?;
    Some(match element.acknowledged {
        Some(add) if add.ended == known => {
            format!("Its add was acknowledged at event {}.", known.index)
        }
        _ => format!("A read that ended at event {} shows it.", known.index),
    })
}

/// The events of an element, and of reads of it, ascending.
fn events(element: &Timeline, reads: Vec<Span>) -> Vec<u64> {
    // What it is known by, if not by its add.
    let by_add = element.acknowledged.map(|add| add.ended) == element.known;
    let seen = (!by_add).then_some(element.first_shown);
    let spans = [element.acknowledged, element.failed, seen.flatten()];
    let spans = spans.into_iter().flatten().chain(reads);
    let mut events: Vec<u64> = spans
        .flat_map(|span| [span.begun.index, span.ended.index])
        .collect();
    events.extend(element.added.map(|moment| moment.index));
    events.sort_unstable();
    events.dedup();
    events
}

fn details(set: &SetFull, found: &Findings) -> Map<String, Value> {
    let mut details = Map::new();
    let mut put = |name: &str, value: Value| details.insert(name.to_owned(), value);
    put("attempt-count", found.attempted.into());
    put(ACKNOWLEDGED, found.acknowledged.into());
    put("read-count", set.reads.into());
    put("stable-count", found.stable.into());
    put("recovered-count", found.recovered.into());
    put("never-read-count", found.never_read.into());
    put("vanished-count", found.vanished.into());
    if let Some((event, _)) = set.malformed {
        put(MALFORMED, event.into());
    }
    if set.words.one.is_some() {
        put("dirty-count", found.dirty.into());
    }
    for kind in Kind::ALL {
        let elements = found.of(kind);
        put(&format!("{}-count", kind.name()), elements.len().into());
        if !elements.is_empty() {
            put(kind.name(), ranges(set, elements, NAMED).into());
        }
    }
    if !found.of(Kind::Stale).is_empty() {
        put("worst-stale", worst_stale(set, found));
    }
    if let Some(last) = found.latencies.len().checked_sub(1) {
        let shares = SHARES.map(|share| {
            let at = last * share / 100;
            (share.to_string(), json!(found.latencies[at] / 1_000_000))
        });
        put(
            "stable-latencies-ms",
            Value::Object(shares.into_iter().collect()),
        );
    }
    details
}

/// The elements that reads did not show for longest.
fn worst_stale(set: &SetFull, found: &Findings) -> Value {
    let mut stale: Vec<(u64, u32)> = found
        .of(Kind::Stale)
        .iter()
        .map(|number| (set.elements[*number as usize].stale_for(), *number))
        .collect();
    stale.sort_unstable_by_key(|(time, number)| (std::cmp::Reverse(*time), *number));
    let worst = stale.into_iter().take(PROVED).map(|(time, number)| {
        let missed = set.elements[number as usize].last_missed;
        json!({
            "element": set.numbers.value(number),
            "ms": time / 1_000_000,
            "read": missed.map(|read| read.begun.index),
        })
    });
    worst.collect()
}

fn worst(found: &Findings) -> u64 {
    found.latencies.last().copied().unwrap_or_default()
}

fn milliseconds(nanos: u64) -> String {
    format!("{} ms", nanos / 1_000_000)
}

/// Elements, those that follow each other as ranges: `1..5, 7`.
fn ranges(set: &SetFull, elements: &[u32], most: usize) -> String {
    let values = elements.iter().map(|number| set.numbers.value(*number));
    let (mut integers, mut others) = (Vec::new(), Vec::new());
    for value in values {
        match value.as_i64() {
            Some(integer) => integers.push(integer),
            None => others.push(value.to_string()),
        }
    }
    integers.sort_unstable();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for integer in integers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(integer) => *last = integer,
            _ => runs.push((integer, integer)),
        }
    }
    let runs = runs.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}..{last}"),
    });
    let all: Vec<String> = runs.chain(others).collect();
    let more = match all.len().saturating_sub(most) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let few: Vec<&str> = all.iter().take(most).map(String::as_str).collect();
    format!("{}{more}", few.join(", "))
}
