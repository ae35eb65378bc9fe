//! The verdict on records, in words and numbers.

use serde_json::{Map, Value};

use crate::{CheckResult, Evidence, OperationsEvidence, Valid};

use super::findings::Findings;
use super::{Divergence, Last, Span, State};

/// Violations of each kind that are proved one by one.
const PROVED: usize = 3;

/// The verdict.
pub(super) fn report(all: &Divergence, found: &Findings) -> CheckResult {
    let violations = violations(all, found);
    let mut result = match (violations.is_empty(), why_unknown(all, found)) {
        (false, _) => CheckResult::new(Valid::False, violations.join("; ")),
        (true, Some(why)) => CheckResult::new(Valid::Unknown, why),
        (true, None) => CheckResult::new(
            Valid::True,
            format!(
                "all nodes agree on all {} records, in {} reads",
                found.written, all.reads
            ),
        ),
    };
    result.evidence = evidence(all, found);
    result.details = details(all, found);
    result
}

fn violations(all: &Divergence, found: &Findings) -> Vec<String> {
    let records = all.records.len();
    let told = [
        (
            found.divergent.len() as u64,
            format!("of {records} records are different on different nodes at the end"),
        ),
        (
            all.split_count,
            "reads show a version with another value than an earlier one did".to_owned(),
        ),
        (
            found.lost.len() as u64,
            "records are not there at the end, though writes to them were acknowledged".to_owned(),
        ),
        (
            found.aborted.len() as u64,
            "values were read although their writes failed".to_owned(),
        ),
        (
            found.unexpected.len() as u64,
            "values were read that nobody had written".to_owned(),
        ),
    ];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| format!("{count} {what}"))
        .collect()
}

fn why_unknown(all: &Divergence, found: &Findings) -> Option<String> {
    if let Some((event, why)) = &all.malformed {
        return Some(format!("event {event} is not of records: {why}"));
    }
    if found.explained > 0 {
        return Some(format!(
            "{} records were read differently at the end, which writes of unknown outcome may explain that took effect in between",
            found.explained
        ));
    }
    if found.written == 0 {
        return Some("no write was acknowledged, so there was nothing to disagree on".to_owned());
    }
    (found.unchecked > 0).then(|| {
        format!(
            "of {} records that were written, {} were not read by two nodes when all writes had ended",
            found.written, found.unchecked
        )
    })
}

fn evidence(all: &Divergence, found: &Findings) -> Vec<Evidence> {
    let divergent = found.divergent.iter().take(PROVED);
    let divergent = divergent.map(|(record, [one, other])| {
        let explanation = format!(
            "Record {} is different on different nodes when all writes to it had ended: {}; {}. {}",
            all.keys.value(*record),
            seen(all, one),
            seen(all, other),
            why(all, *record, one, other),
        );
        operations(explanation, [one.read, other.read])
    });
    let splits = all.splits.iter().take(PROVED);
    let splits = splits.map(|split| {
        let [one, other] = split.values.map(|value| all.values.value(value));
        let explanation = format!(
            "Version {} of record {} has two values: {one}, by the operation that ended at event {}, and {other}, by the one that ended \
             at event {}.",
            all.values.value(split.version),
            all.keys.value(split.record),
            split.seen[0].ended,
            split.seen[1].ended,
        );
        operations(explanation, split.seen)
    });
    let lost = found.lost.iter().take(PROVED).filter_map(|(record, last)| {
        let write = all.records[*record as usize].acknowledged?;
        let explanation = format!(
            "Record {} is lost. A write to it was acknowledged at event {}, and nothing is ever deleted, but {}.",
            all.keys.value(*record),
            write.ended,
            seen(all, last),
        );
        Some(operations(explanation, [write, last.read]))
    });
    let aborted = found.aborted.iter().take(PROVED);
    let aborted = aborted.filter_map(|(record, value)| {
        let written = all.records[*record as usize].values.get(value)?;
        let (read, failed) = (written.shown?, written.failed?);
        let explanation = format!(
            "The read of record {} that ended at event {} finds {}, but its write failed, at event {}: it did not happen.",
            all.keys.value(*record),
            read.ended,
            all.values.value(*value),
            failed.ended,
        );
        Some(operations(explanation, [read, failed]))
    });
    let unexpected = found.unexpected.iter().take(PROVED);
    let unexpected = unexpected.filter_map(|(record, value)| {
        let read = all.records[*record as usize].values.get(value)?.shown?;
        let explanation = format!(
            "The read of record {} that ended at event {} finds {}, which nobody had begun to write there.",
            all.keys.value(*record),
            read.ended,
            all.values.value(*value),
        );
        Some(operations(explanation, [read]))
    });
    let told = divergent.chain(splits).chain(lost);
    told.chain(aborted).chain(unexpected).collect()
}

/// Who saw what.
fn seen(all: &Divergence, last: &Last) -> String {
    let who = match &last.node {
        Some(node) => format!("on {node}, "),
        None => String::new(),
    };
    let State { value, version } = last.state;
    let version = match version {
        Some(version) => format!(" (version {})", all.values.value(version)),
        None => String::new(),
    };
    format!(
        "{who}the read that began at event {} and ended at event {} finds {}{version}",
        last.read.begun,
        last.read.ended,
        all.values.value(value)
    )
}

/// Why two final reads cannot both be of one record.
fn why(all: &Divergence, record: u32, one: &Last, other: &Last) -> String {
    let is_settled = |last: &Last| {
        let written = all.records[record as usize].values.get(&last.state.value);
        written.is_none_or(|written| written.unsettled == 0)
    };
    match is_settled(one) && is_settled(other) {
        true => "No write of either is of unknown outcome, so that neither can have come after the other.".to_owned(),
        false => "No write of the latter is of unknown outcome, so that it cannot have come after the former.".to_owned(),
    }
}

fn operations<const N: usize>(explanation: String, spans: [Span; N]) -> Evidence {
    let mut events: Vec<u64> = spans
        .iter()
        .flat_map(|span| [span.begun, span.ended])
        .collect();
    events.sort_unstable();
    events.dedup();
    Evidence::Operations(OperationsEvidence {
        explanation,
        events,
    })
}

fn details(all: &Divergence, found: &Findings) -> Map<String, Value> {
    let counts = [
        ("record-count", all.records.len() as u64),
        ("attempt-count", all.attempts),
        ("acknowledged-count", all.acknowledgements),
        ("read-count", all.reads),
        ("divergent-count", found.divergent.len() as u64),
        ("version-divergent-count", all.split_count),
        ("lost-count", found.lost.len() as u64),
        ("aborted-count", found.aborted.len() as u64),
        ("unexpected-count", found.unexpected.len() as u64),
        ("explained-count", found.explained),
        ("unchecked-count", found.unchecked),
    ];
    let counts = counts.into_iter();
    counts
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect()
}
