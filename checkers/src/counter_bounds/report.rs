//! The verdict on a counter, in words and numbers.

use serde_json::{Map, Value};

use crate::keyed::{ACKNOWLEDGED, MALFORMED};
use crate::{CheckResult, Evidence, OperationsEvidence, Valid};

use super::{CounterBounds, Group, Read};

/// The verdict.
pub(super) fn report(counter: &CounterBounds) -> CheckResult {
    let ended = |read: &Read| counter.last_add.is_none_or(|last| last < read.begun);
    let (mut last, mut stale) = (Group::default(), counter.stale);
    for read in &counter.finals {
        match ended(read) {
            true => last.add(*read),
            false => stale.add(*read),
        }
    }
    let groups = [
        ("impossible", counter.impossible, true),
        ("final", last, true),
        ("stale", stale, counter.options.linearizable),
    ];
    let wrong: Vec<(&str, Group)> = (groups.iter())
        .filter(|(_, group, is_wrong)| *is_wrong && group.count > 0)
        .map(|(name, group, _)| (*name, *group))
        .collect();
    let mut result = match (wrong.is_empty(), why_unknown(counter)) {
        (false, _) => CheckResult::new(Valid::False, violation(counter, &wrong)),
        (true, Some(why)) => CheckResult::new(Valid::Unknown, why),
        (true, None) => CheckResult::new(Valid::True, praise(counter, &stale)),
    };
    for (name, group) in &wrong {
        let first = group.first.into_iter();
        let worst = group.worst.filter(|worst| {
            let first = group.first.map(|first| first.ended);
            first != Some(worst.ended)
        });
        let told = first
            .chain(worst)
            .map(|read| evidence(counter, name, &read));
        result.evidence.extend(told);
    }
    result.details = details(counter, &groups.map(|(name, group, _)| (name, group)));
    result
}

fn violation(counter: &CounterBounds, wrong: &[(&str, Group)]) -> String {
    let told = wrong.iter().map(|(name, group)| match *name {
        "impossible" => format!("{} reads find what no additions make", group.count),
        "final" => format!(
            "{} of {} final reads find what additions that had all ended do not make",
            group.count, counter.final_reads
        ),
        _ => format!(
            "{} reads are behind or ahead of what was acknowledged",
            group.count
        ),
    });
    let told: Vec<String> = told.collect();
    let worst = wrong.iter().filter_map(|(_, group)| group.worst);
    let worst = worst.max_by_key(|read| read.off(read.bounds()));
    match worst {
        Some(read) => format!("{} (by up to {})", told.join("; "), read.off(read.bounds())),
        None => told.join("; "),
    }
}

fn why_unknown(counter: &CounterBounds) -> Option<String> {
    if let Some((event, why)) = &counter.malformed {
        return Some(format!("event {event} is not of a counter: {why}"));
    }
    if counter.reads == 0 {
        return Some("no read ended ok, so nobody knows what the counter holds".to_owned());
    }
    let none = counter.acknowledgements == 0;
    none.then(|| "no addition was acknowledged, so there was nothing to lose".to_owned())
}

fn praise(counter: &CounterBounds, stale: &Group) -> String {
    let stale = match stale.count {
        0 => String::new(),
        some => format!("; {some} of them are behind what was acknowledged"),
    };
    format!(
        "all {} reads are within what {} acknowledged and {} unknown additions allow{stale}",
        counter.reads, counter.acknowledgements, counter.unknowns
    )
}

fn evidence(counter: &CounterBounds, kind: &str, read: &Read) -> Evidence {
    let initial = i128::from(counter.options.initial);
    let (least, most) = read.bounds();
    let begun = match initial {
        0 => String::new(),
        initial => format!(" The counter began at {initial}."),
    };
    let what = match kind {
        "impossible" => format!(
            "Of all additions that had begun by then and did not fail, those above zero make {} and those below {}, so that it is between {} \
             and {} whichever of them it counts.",
            read.begun_sums.up,
            read.begun_sums.down,
            initial + read.begun_sums.down,
            initial + read.begun_sums.up
        ),
        _ => format!(
            "Additions that had been acknowledged before it began make {}; with what was under way or unknown until it ended, it is between \
             {} and {}.",
            read.acknowledged.total(),
            initial + least,
            initial + most
        ),
    };
    let last = match kind {
        "final" => " All additions had ended when it began.",
        _ => "",
    };
    Evidence::Operations(OperationsEvidence {
        explanation: format!(
            "The read that began at event {} and ended at event {} finds {}.{begun} {what}{last}",
            read.begun,
            read.ended,
            initial + read.found
        ),
        events: vec![read.begun, read.ended],
    })
}

fn details(counter: &CounterBounds, groups: &[(&str, Group)]) -> Map<String, Value> {
    let mut details = Map::new();
    let mut put = |name: &str, count: u64| details.insert(name.to_owned(), count.into());
    if let Some((event, _)) = counter.malformed {
        put(MALFORMED, event);
    }
    put("attempt-count", counter.attempts);
    put(ACKNOWLEDGED, counter.acknowledgements);
    put("unknown-count", counter.unknowns);
    put("read-count", counter.reads);
    put("final-read-count", counter.final_reads);
    for (name, group) in groups {
        put(&format!("{name}-count"), group.count);
    }
    details
}
