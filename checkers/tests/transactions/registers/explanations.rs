//! What a person reads of each anomaly of registers.

use checkers::transactions::{Anomaly, Assumptions};
use checkers::{CheckResult, Evidence};

use super::support::{GIVEN, LINEARIZABLE, SEQUENTIAL, history, judge_with, raw};

fn explain(result: &CheckResult, wanted: &str) -> String {
    let sentences = |evidence: &Evidence| match evidence {
        Evidence::Cycle(cycle) => (cycle.anomaly.clone(), cycle.explanation.clone()),
        Evidence::Anomaly(anomaly) => (anomaly.anomaly.clone(), anomaly.explanation.clone()),
        Evidence::Impossible(one) => (one.anomaly.clone(), one.explanation.clone()),
        other => panic!("{other:?}"),
    };
    let mut all = result.evidence.iter().map(sentences);
    let (_, explanation) = all
        .find(|(name, _)| name == wanted)
        .unwrap_or_else(|| panic!("no {wanted}: {}", result.reason));
    format!("{}\n\n{}", result.reason, explanation.join("\n"))
}

/// An example of every anomaly, and what is assumed.
fn examples() -> Vec<(&'static str, Assumptions, &'static str)> {
    let plain = Assumptions::default();
    vec![
        (
            "G1a",
            plain,
            "0 invoke x:1\n1 invoke x?\n0 fail x:1\n1 ok x=1",
        ),
        (
            "G1b",
            plain,
            "0 invoke x:1 x:2\n1 invoke x?\n0 ok x:1 x:2\n1 ok x=1",
        ),
        (
            "garbage-read",
            plain,
            "0 invoke x:1\n0 ok x:1\n1 invoke x?\n1 ok x=77",
        ),
        ("future-read", plain, "0 invoke x? x:1\n0 ok x=1 x:1"),
        (
            "internal",
            plain,
            "0 invoke x:1\n0 ok x:1\n1 invoke x? x?\n1 ok x=1 x=",
        ),
        (
            "unseen-own-write",
            plain,
            "0 invoke x:1\n0 ok x:1\n1 invoke x:2 x?\n1 ok x:2 x=1",
        ),
        (
            "lost-update",
            plain,
            "0 invoke x? x:1\n1 invoke x? x:2\n0 ok x= x:1\n1 ok x= x:2",
        ),
        (
            "cyclic-versions",
            LINEARIZABLE,
            "0 invoke x:1\n0 ok x:1\n1 invoke x:2\n1 ok x:2\n2 invoke x?\n2 ok x=1",
        ),
        (
            "incompatible-versions",
            GIVEN,
            "0 invoke x:1\n0 ok x:1@5\n1 invoke x?\n1 ok x=1@7",
        ),
        (
            "G0",
            SEQUENTIAL,
            "0 invoke x:1 y:2\n1 invoke x:2 y:1\n0 ok x:1 y:2\n1 ok x:2 y:1\n0 invoke x?\n0 ok x=2\n1 invoke y?\n1 ok y=2",
        ),
        (
            "G0-process",
            SEQUENTIAL,
            "1 invoke x:2 y:2\n0 invoke x:1\n0 ok x:1\n0 invoke y:1\n0 ok y:1\n1 ok x:2 y:2\n2 invoke x?\n2 ok x=2\n2 invoke x?\n2 ok x=1\n3 invoke y?\n3 ok y=1\n3 invoke y?\n3 ok y=2",
        ),
        (
            "G0-realtime",
            SEQUENTIAL,
            "0 invoke x:1\n0 ok x:1\n1 invoke x:2\n1 ok x:2\n2 invoke x?\n2 ok x=2\n2 invoke x?\n2 ok x=1",
        ),
        (
            "G1c",
            plain,
            "0 invoke x:1 y?\n1 invoke y:1 x?\n0 ok x:1 y=1\n1 ok y:1 x=1",
        ),
        (
            "G1c-process",
            plain,
            "1 invoke x:1 z?\n0 invoke x?\n0 ok x=1\n0 invoke z:1\n0 ok z:1\n1 ok x:1 z=1",
        ),
        (
            "G1c-realtime",
            plain,
            "0 invoke x?\n0 ok x=1\n1 invoke x:1\n1 ok x:1",
        ),
        (
            "G-single-item",
            plain,
            "0 invoke x? x:1 y:1\n1 invoke x? y?\n2 invoke x:5\n2 ok x:5\n0 ok x=5 x:1 y:1\n1 ok x=5 y=1",
        ),
        (
            "G-single-item-process",
            plain,
            "0 invoke x:1\n0 ok x:1\n0 invoke x?\n0 ok x=\n1 invoke x?\n1 ok x=1",
        ),
        (
            "G-single-item-realtime",
            plain,
            "0 invoke x:1\n0 ok x:1\n1 invoke x?\n1 ok x=\n2 invoke x?\n2 ok x=1",
        ),
        (
            "G-nonadjacent-item",
            plain,
            "0 invoke x:1\n1 invoke y:1\n2 invoke x? y?\n3 invoke x? y?\n0 ok x:1\n1 ok y:1\n2 ok x=1 y=\n3 ok x= y=1",
        ),
        (
            "G-nonadjacent-item-process",
            plain,
            "0 invoke x? z?\n1 invoke x:1\n2 invoke z:1\n1 ok x:1\n1 invoke z?\n0 ok x= z=1\n1 ok z=\n2 ok z:1",
        ),
        (
            "G-nonadjacent-item-realtime",
            plain,
            "0 invoke x? z?\n1 invoke x:1\n2 invoke z:1\n1 ok x:1\n3 invoke z?\n0 ok x= z=1\n3 ok z=\n2 ok z:1",
        ),
        (
            "G2-item",
            plain,
            "0 invoke x? y:1\n1 invoke y? x:1\n0 ok x= y:1\n1 ok y= x:1",
        ),
        (
            "G2-item-process",
            plain,
            "1 invoke y? x:1\n0 invoke y:1\n0 ok y:1\n0 invoke x?\n0 ok x=\n1 ok y= x:1",
        ),
        (
            "G2-item-realtime",
            plain,
            "1 invoke y? x:1\n0 invoke y:1\n0 ok y:1\n2 invoke x?\n2 ok x=\n1 ok y= x:1",
        ),
        (
            "OTV",
            plain,
            "0 invoke x:1 y:1\n0 ok x:1 y:1\n1 invoke x? y:2 x:2\n2 invoke x? y?\n2 ok x=2 y=1\n1 ok x=1 y:2 x:2",
        ),
        (
            "OTV-process",
            plain,
            "0 invoke x:1 y:1\n0 ok x:1 y:1\n0 invoke x:2 y:2\n0 ok x:2 y:2\n1 invoke x? y?\n1 ok x=2 y=1",
        ),
        (
            "fractured-read",
            plain,
            "0 invoke x:1 y:1\n1 invoke y? x?\n0 ok x:1 y:1\n1 ok y= x=1",
        ),
        (
            "fractured-read-process",
            plain,
            "0 invoke x:1\n0 ok x:1\n0 invoke x? y:1\n0 ok x= y:1",
        ),
        (
            "causality-violation",
            plain,
            "0 invoke x:1\n0 ok x:1\n1 invoke x? y:1\n1 ok x=1 y:1\n2 invoke x? y?\n2 ok x= y=1",
        ),
        (
            "causality-violation-process",
            plain,
            "0 invoke x:1\n0 ok x:1\n0 invoke y:1\n0 ok y:1\n1 invoke x? y?\n1 ok x= y=1",
        ),
    ]
}

/// What violates a level though no cycle is found: the order of blind writes is not known, and none will do.
const IMPOSSIBLE: [(&str, &str, &str); 7] = [
    (
        "no-prefixes",
        "prefix",
        "0 invoke x:1\n1 invoke y:1\n2 invoke x? y?\n3 invoke x? y?\n0 ok x:1\n1 ok y:1\n2 ok x=1 y=\n3 ok x= y=1",
    ),
    (
        "no-snapshots",
        "snapshot-isolation",
        "0 invoke x? y:1 z:1\n1 invoke y? x:1 z:2\n0 ok x= y:1 z:1\n1 ok y= x:1 z:2",
    ),
    (
        "no-snapshots-process",
        "strong-session-snapshot-isolation",
        "1 invoke x:1\n0 invoke x? y:1 z:1\n1 ok x:1\n1 invoke y? z:2\n1 ok y= z:2\n0 ok x= y:1 z:1",
    ),
    (
        "no-serial-order-process",
        "strong-session-serializable",
        "0 invoke x:1 y?\n1 invoke x:2 z?\n2 invoke y:1 z:1\n3 invoke y? z?\n4 invoke x? y? z?\n0 ok x:1 y=\n1 ok x:2 z=\n2 ok y:1 z:1\n3 ok y=1 z=1\n3 invoke x?\n3 ok x=1\n4 ok x=2 y=1 z=1",
    ),
    (
        "no-serial-order",
        "serializable",
        "0 invoke x:1 y?\n1 invoke x:2 z?\n2 invoke y:1 z:1\n3 invoke x? y? z?\n4 invoke x? y? z?\n0 ok x:1 y=\n1 ok x:2 z=\n2 ok y:1 z:1\n3 ok x=1 y=1 z=1\n4 ok x=2 y=1 z=1\n5 invoke x? w:1\n5 ok x=1 w:1\n6 invoke x? w?\n6 ok x=2 w=\n7 invoke w? x?\n7 ok w=1 x=2",
    ),
    (
        "no-snapshots-realtime",
        "strong-snapshot-isolation",
        "0 invoke x:1\n1 invoke x:2\n0 ok x:1\n1 ok x:2\n2 invoke x?\n2 ok x=1\n3 invoke x?\n3 ok x=2\n4 invoke x?\n4 ok x=1",
    ),
    (
        "no-serial-order-realtime",
        "strict-serializable",
        "0 invoke x:1\n1 invoke x:2\n0 ok x:1\n1 ok x:2\n2 invoke x?\n2 ok x=1\n3 invoke x?\n3 ok x=2\n4 invoke x?\n4 ok x=1",
    ),
];

#[test]
fn that_no_order_is_possible_is_explained() {
    let mut text = String::new();
    for (anomaly, level, example) in IMPOSSIBLE {
        let result = judge_with(&history(example), level, Assumptions::default());
        text += &format!("== {anomaly}\n\n{}\n\n", explain(&result, anomaly));
    }
    insta::assert_snapshot!(text);
}

/// What can be counted, where several wrote what was read.
const COUNTED: [&str; 2] = [
    "0 invoke x:1\n1 invoke x:1\n2 invoke x? x:2\n3 invoke x? x:2\n4 invoke x? x:2\n0 ok x:1\n1 ok x:1\n2 ok x=1 x:2\n3 ok x=1 x:2\n4 ok x=1 x:2",
    "0 invoke x? x:2\n1 invoke x? x:2\n2 invoke x? x:1\n3 invoke x? x:1\n0 ok x=1 x:2\n1 ok x=1 x:2\n2 ok x=2 x:1\n3 ok x=2 x:1",
];

#[test]
fn that_there_is_too_little_of_what_was_read_is_explained() {
    let mut text = String::new();
    for example in COUNTED {
        let result = raw(&history(example), "serializable", Assumptions::default());
        text += &format!("{}\n\n", explain(&result, "no-serial-order"));
    }
    insta::assert_snapshot!(text);
}

/// Each has an example here, but those that only lists have.
#[test]
fn no_anomaly_is_without_an_example() {
    let of_others = |one: &Anomaly| {
        let of_lists_or_rows = matches!(
            one,
            Anomaly::DuplicateElements
                | Anomaly::DirtyUpdate
                | Anomaly::IncompatibleOrder
                | Anomaly::LostAppend
                | Anomaly::PredicateReadMiss
                | Anomaly::Predicate(..)
        );
        of_lists_or_rows || Anomaly::SHAPES.contains(one)
    };
    let examples = examples();
    let names = examples.iter().map(|(name, ..)| *name);
    let names: Vec<&str> = names
        .chain(IMPOSSIBLE.iter().map(|(name, ..)| *name))
        .collect();
    for anomaly in Anomaly::all().filter(|one| !of_others(one)) {
        assert!(names.contains(&anomaly.name()), "{anomaly}");
    }
}

#[test]
fn every_anomaly_is_explained() {
    let mut text = String::new();
    for (anomaly, assume, example) in examples() {
        let result = judge_with(&history(example), "strict-serializable", assume);
        text += &format!("== {anomaly}\n\n{}\n\n", explain(&result, anomaly));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn why_versions_follow_each_other_is_explained() {
    let mut text = String::new();
    let stale = "0 invoke x:1\n0 ok x:1\n0 invoke x:2\n0 ok x:2\n1 invoke x? y:1\n1 ok x=1 y:1\n0 invoke y?\n0 ok y=\n2 invoke y?\n2 ok y=";
    for assume in [SEQUENTIAL, LINEARIZABLE] {
        let result = judge_with(&history(stale), "strict-serializable", assume);
        text += &explain(
            &result,
            &result
                .evidence
                .iter()
                .map(|one| match one {
                    Evidence::Cycle(cycle) => cycle.anomaly.clone(),
                    Evidence::Anomaly(anomaly) => anomaly.anomaly.clone(),
                    other => panic!("{other:?}"),
                })
                .next()
                .unwrap(),
        );
        text += "\n\n";
    }
    insta::assert_snapshot!(text);
}
