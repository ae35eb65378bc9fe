//! The verdict on a bank, in words and numbers.

use serde_json::{Map, Value, json};

use crate::{CheckResult, Evidence, OperationsEvidence, Valid};

use super::{Bank, Expected, Group, Kind, Wrong};

/// The verdict.
pub(super) fn report(bank: &Bank) -> CheckResult {
    let mut result = match (bank.groups.is_empty(), why_unknown(bank)) {
        (false, _) => CheckResult::new(Valid::False, violation(bank)),
        (true, Some(why)) => CheckResult::new(Valid::Unknown, why),
        (true, None) => CheckResult::new(Valid::True, praise(bank)),
    };
    if let Some(expected) = &bank.expected {
        for (kind, group) in &bank.groups {
            result
                .evidence
                .push(evidence(bank, expected, *kind, &group.first));
            if group.worst.ended != group.first.ended {
                result
                    .evidence
                    .push(evidence(bank, expected, *kind, &group.worst));
            }
        }
    }
    result.details = details(bank);
    result
}

fn violation(bank: &Bank) -> String {
    let kinds = bank.groups.iter().map(|(kind, group)| {
        let range = match group.range {
            Some((least, greatest)) if least == greatest => format!(" ({least})"),
            Some((least, greatest)) => format!(" ({least} to {greatest})"),
            None => String::new(),
        };
        format!("{} {}{range}", group.count, kind.name())
    });
    format!(
        "{} of {} reads are wrong: {}",
        bank.wrong_reads,
        bank.reads,
        kinds.collect::<Vec<_>>().join(", ")
    )
}

fn why_unknown(bank: &Bank) -> Option<String> {
    if let Some((event, why)) = &bank.malformed {
        return Some(format!("event {event} is not of a bank: {why}"));
    }
    if bank.reads == 0 {
        return Some("no read ended ok, so nobody knows what is in the accounts".to_owned());
    }
    (bank.transfers == 0).then(|| "no transfer ended ok, so nothing could go wrong".to_owned())
}

fn praise(bank: &Bank) -> String {
    let total = bank.expected.as_ref().map_or(0, |expected| expected.total);
    format!(
        "all {} reads find {total} in all accounts together",
        bank.reads
    )
}

fn evidence(bank: &Bank, expected: &Expected, kind: Kind, wrong: &Wrong) -> Evidence {
    let found = &wrong.found;
    let what = match kind {
        Kind::WrongTotal => format!(
            "finds {found} in all accounts together, and there are always {}{}",
            expected.total,
            match expected.from {
                Some((_, ended)) => format!(", as the read that ended at event {ended} found"),
                None => String::new(),
            }
        ),
        Kind::NegativeBalance => {
            format!("finds a balance of {found}, and no account may be below zero")
        }
        Kind::MissingAccount => format!("does not find accounts {found}"),
        Kind::NilBalance => format!("finds accounts {found} without a balance"),
        Kind::UnexpectedAccount => format!("finds accounts {found}, which nobody made"),
    };
    let balances = Value::Object(wrong.balances.clone());
    let count = match bank.groups.get(&kind).map_or(1, |group| group.count) {
        1 => String::new(),
        count => format!(" There are {count} such reads."),
    };
    let mut events = vec![wrong.begun, wrong.ended];
    events.extend(
        expected
            .from
            .into_iter()
            .flat_map(|(begun, ended)| [begun, ended]),
    );
    events.sort_unstable();
    events.dedup();
    Evidence::Operations(OperationsEvidence {
        explanation: format!(
            "The read that ended at event {} {what}: {balances}.{count}",
            wrong.ended
        ),
        events,
    })
}

fn details(bank: &Bank) -> Map<String, Value> {
    let errors = bank
        .groups
        .iter()
        .map(|(kind, group)| (kind.name().to_owned(), told(group)));
    let errors: Map<String, Value> = errors.collect();
    let mut details = Map::new();
    let mut put = |name: &str, value: Value| details.insert(name.to_owned(), value);
    put("read-count", bank.reads.into());
    put("transfer-count", bank.transfers.into());
    put("error-count", bank.wrong_reads.into());
    if !errors.is_empty() {
        put("errors", errors.into());
    }
    details
}

fn told(group: &Group) -> Value {
    let one = |wrong: &Wrong| json!({"event": wrong.ended, "found": wrong.found, "balances": wrong.balances});
    let mut told = json!({
        "count": group.count,
        "first": one(&group.first),
        "worst": one(&group.worst),
        "last": one(&group.last),
    });
    // Balances are whole numbers of 64 bits; a total of them that is not is told in words.
    let range = group.range.and_then(|(least, greatest)| {
        Some((i64::try_from(least).ok()?, i64::try_from(greatest).ok()?))
    });
    if let Some((least, greatest)) = range {
        told["lowest"] = least.into();
        told["highest"] = greatest.into();
    }
    told
}
