//! What all kinds of evidence have in common, for whoever shows it.

use checkers::Evidence;

/// Why something is impossible, sentence by sentence.
pub(crate) fn sentences(evidence: &Evidence) -> Vec<String> {
    match evidence {
        Evidence::Operations(operations) => vec![operations.explanation.clone()],
        Evidence::DeadEnd(dead_end) => dead_end.explanation.clone(),
        Evidence::Cycle(cycle) => cycle.explanation.clone(),
        Evidence::Anomaly(anomaly) => anomaly.explanation.clone(),
        Evidence::Impossible(impossible) => impossible.explanation.clone(),
        _ => vec!["This version of the report does not know this kind of evidence.".to_owned()],
    }
}

/// What it is called, where it has a name.
pub(super) fn name(evidence: &Evidence) -> Option<&str> {
    match evidence {
        Evidence::Cycle(cycle) => Some(&cycle.anomaly),
        Evidence::Anomaly(anomaly) => Some(&anomaly.anomaly),
        Evidence::Impossible(impossible) => Some(&impossible.anomaly),
        _ => None,
    }
}

/// The events that show it, by their indexes, ascending.
pub(super) fn events(evidence: &Evidence) -> Vec<u64> {
    match evidence {
        Evidence::Operations(operations) => operations.events.clone(),
        Evidence::DeadEnd(dead_end) => {
            // What could have been the source belongs in the picture, though the proof needs it not.
            let sources = dead_end.sources.iter();
            let named = sources.flat_map(|source| [Some(source.operation), source.overwritten_by]);
            let mut events: Vec<u64> = named.flatten().collect();
            events.extend(&dead_end.sub_history);
            events.sort_unstable();
            events.dedup();
            events
        }
        Evidence::Cycle(cycle) => cycle.events(),
        Evidence::Anomaly(anomaly) => anomaly.events(),
        Evidence::Impossible(impossible) => impossible.events(),
        _ => Vec::new(),
    }
}

/// The invocation of the operation that cannot be explained, where there is one such.
pub(super) fn culprit(evidence: &Evidence) -> Option<u64> {
    match evidence {
        Evidence::DeadEnd(dead_end) => Some(dead_end.operation),
        _ => None,
    }
}
