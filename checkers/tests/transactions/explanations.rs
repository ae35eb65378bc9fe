//! What a person reads of each anomaly.

use checkers::transactions::{Anomaly, Base, View};
use checkers::{CheckResult, Evidence};

use crate::support::{history, judge};

fn sentences(evidence: &Evidence) -> (&str, &[String]) {
    match evidence {
        Evidence::Cycle(cycle) => (&cycle.anomaly, &cycle.explanation),
        Evidence::Anomaly(anomaly) => (&anomaly.anomaly, &anomaly.explanation),
        Evidence::Impossible(impossible) => (&impossible.anomaly, &impossible.explanation),
        other => panic!("{other:?}"),
    }
}

fn explain(result: &CheckResult, wanted: &str) -> String {
    let mut all = result.evidence.iter().map(sentences);
    let (_, explanation) = all
        .find(|(name, _)| *name == wanted)
        .unwrap_or_else(|| panic!("no {wanted}: {}", result.reason));
    format!("{}\n\n{}", result.reason, explanation.join("\n"))
}

/// An example of every anomaly.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "G0",
        "0 invoke x+1 y+1\n1 invoke x+2 y+2\n0 ok x+1 y+1\n1 ok x+2 y+2\n2 invoke x? y?\n2 ok x=1,2 y=2,1",
    ),
    (
        "G0-process",
        "0 invoke x+1\n0 ok x+1\n0 invoke x+2\n0 ok x+2\n1 invoke x?\n1 ok x=2,1",
    ),
    (
        "G0-realtime",
        "0 invoke x+1\n0 ok x+1\n1 invoke x+2\n1 ok x+2\n2 invoke x?\n2 ok x=2,1",
    ),
    (
        "G1c",
        "0 invoke x+1 y?\n1 invoke y+1 x?\n0 ok x+1 y=1\n1 ok y+1 x=1",
    ),
    (
        "G1c-process",
        "1 invoke x+1 z?\n0 invoke x?\n0 ok x=1\n0 invoke z+1\n0 ok z+1\n1 ok x+1 z=1",
    ),
    (
        "G1c-realtime",
        "0 invoke x?\n0 ok x=1\n1 invoke x+1\n1 ok x+1",
    ),
    (
        "G-single-item",
        "0 invoke x+1 y+1\n1 invoke x? y?\n0 ok x+1 y+1\n1 ok x= y=1",
    ),
    (
        "G-single-item-process",
        "0 invoke x+1\n0 ok x+1\n0 invoke x?\n0 ok x=\n1 invoke x?\n1 ok x=1",
    ),
    (
        "G-single-item-realtime",
        "0 invoke x+1\n0 ok x+1\n1 invoke x?\n1 ok x=\n2 invoke x?\n2 ok x=1",
    ),
    (
        "G-nonadjacent-item",
        "0 invoke x+1\n1 invoke y+1\n2 invoke x? y?\n3 invoke x? y?\n0 ok x+1\n1 ok y+1\n2 ok x=1 y=\n3 ok x= y=1",
    ),
    (
        "G-nonadjacent-item-process",
        "0 invoke x? z?\n1 invoke x+1\n2 invoke z+1\n1 ok x+1\n1 invoke z?\n0 ok x= z=1\n1 ok z=\n2 ok z+1",
    ),
    (
        "G-nonadjacent-item-realtime",
        "0 invoke x? z?\n1 invoke x+1\n2 invoke z+1\n1 ok x+1\n3 invoke z?\n0 ok x= z=1\n3 ok z=\n2 ok z+1",
    ),
    (
        "G2-item",
        "0 invoke x? y+1\n1 invoke y? x+1\n0 ok x= y+1\n1 ok y= x+1",
    ),
    (
        "G2-item-process",
        "1 invoke y? x+1\n0 invoke y+1\n0 ok y+1\n0 invoke x?\n0 ok x=\n1 ok y= x+1",
    ),
    (
        "G2-item-realtime",
        "1 invoke y? x+1\n0 invoke y+1\n0 ok y+1\n2 invoke x?\n2 ok x=\n1 ok y= x+1",
    ),
    (
        "OTV",
        "0 invoke x+1 y+1\n1 invoke x? y?\n0 ok x+1 y+1\n1 ok x=1 y=",
    ),
    (
        "fractured-read",
        "0 invoke x+1 y+1\n1 invoke x? y?\n0 ok x+1 y+1\n1 ok x= y=1",
    ),
    (
        "fractured-read-process",
        "0 invoke x+1\n0 ok x+1\n0 invoke x?\n0 ok x=\n1 invoke x?\n1 ok x=1",
    ),
    (
        "causality-violation",
        "0 invoke x+1\n1 invoke x? y+1\n2 invoke x? y?\n0 ok x+1\n1 ok x=1 y+1\n2 ok x= y=1",
    ),
    (
        "causality-violation-process",
        "0 invoke x+1\n0 ok x+1\n0 invoke y+1\n0 ok y+1\n1 invoke x? y?\n1 ok x= y=1",
    ),
    (
        "G-cursor",
        "0 invoke x+1\n1 invoke x? x+2\n0 ok x+1\n1 ok x= x+2\n2 invoke x?\n2 ok x=1,2",
    ),
    (
        "G-monotonic",
        "0 invoke x+1 z+1\n1 invoke x+2 y+1\n2 invoke y? z?\n0 ok x+1 z+1\n1 ok x+2 y+1\n2 ok y=1 z=\n3 invoke x?\n3 ok x=1,2",
    ),
    (
        "fractured-update",
        "0 invoke x+1 y+1\n1 invoke y? x+2\n0 ok x+1 y+1\n1 ok y= x+2\n2 invoke x?\n2 ok x=1,2",
    ),
    (
        "prefix-violation",
        "0 invoke x+1\n1 invoke y+1\n2 invoke x? y?\n3 invoke x? y?\n0 ok x+1\n1 ok y+1\n2 ok x=1 y=\n3 ok x= y=1",
    ),
    (
        "G-update",
        "0 invoke x? y+1\n1 invoke y? x+1\n0 ok x= y+1\n1 ok y= x+1",
    ),
    (
        "unseen-own-write",
        "0 invoke x+1 x?\n0 ok x+1 x=\n1 invoke x?\n1 ok x=1",
    ),
    ("G1a", "0 invoke x+1\n1 invoke x?\n0 fail x+1\n1 ok x=1"),
    (
        "G1b",
        "0 invoke x+1 x+2\n1 invoke x?\n0 ok x+1 x+2\n1 ok x=1",
    ),
    (
        "dirty-update",
        "0 invoke x+1\n1 invoke x+2\n0 fail x+1\n1 ok x+2\n2 invoke x?\n2 ok x=1,2",
    ),
    (
        "garbage-read",
        "0 invoke x+1\n0 ok x+1\n1 invoke x?\n1 ok x=1,77",
    ),
    (
        "duplicate-elements",
        "0 invoke x+1\n0 ok x+1\n1 invoke x?\n1 ok x=1,1",
    ),
    ("future-read", "0 invoke x? x+1\n0 ok x=1 x+1"),
    (
        "incompatible-order",
        "0 invoke x+1\n1 invoke x+2\n0 ok x+1\n1 ok x+2\n2 invoke x?\n3 invoke x?\n2 ok x=1,2\n3 ok x=2",
    ),
    (
        "cyclic-versions",
        "0 invoke x+1\n1 invoke x+2\n0 ok x+1\n1 ok x+2\n2 invoke x?\n3 invoke x?\n2 ok x=1,2\n3 ok x=2",
    ),
    (
        "internal",
        "0 invoke x? x+1 x?\n1 invoke x+2\n0 ok x= x+1 x=2\n1 ok x+2",
    ),
    (
        "lost-update",
        "0 invoke x? x+1\n1 invoke x? x+2\n0 ok x= x+1\n1 ok x= x+2\n2 invoke x?\n2 ok x=1,2",
    ),
    (
        "no-snapshots",
        "0 invoke x? y+1\n1 invoke x? y+2\n2 invoke x+1\n2 ok x+1\n3 invoke x? y?\n3 ok x=1 y=\n0 ok x= y+1\n1 ok x= y+2",
    ),
    (
        "no-snapshots-process",
        "1 invoke x+1\n0 invoke x? y+1 z+1\n1 ok x+1\n1 invoke y? z+2\n1 ok y= z+2\n0 ok x= y+1 z+1",
    ),
    (
        "no-snapshots-realtime",
        "1 invoke x+1\n0 invoke x? y+1 z+1\n1 ok x+1\n2 invoke y? z+2\n2 ok y= z+2\n0 ok x= y+1 z+1",
    ),
    (
        "lost-append",
        "0 invoke x+1\n0 ok x+1\n1 invoke x+2\n1 ok x+2\n2 invoke x?\n2 ok x=2",
    ),
];

#[test]
fn every_anomaly_is_explained() {
    let mut text = String::new();
    for (anomaly, example) in EXAMPLES {
        let result = judge(&history(example), "strict-serializable");
        text += &format!("== {anomaly}\n\n{}\n\n", explain(&result, anomaly));
    }
    insta::assert_snapshot!(text);
    let of_lists = |anomaly: &Anomaly| {
        !matches!(
            anomaly,
            Anomaly::IncompatibleVersions
                | Anomaly::View(View::Monotonic, Base::Process)
                | Anomaly::View(_, Base::Realtime)
                | Anomaly::Predicate(..)
                | Anomaly::PredicateReadMiss
                | Anomaly::NoSerialOrder(_)
                | Anomaly::NoPrefixes
        )
    };
    for anomaly in Anomaly::all().filter(of_lists) {
        let known = EXAMPLES.iter().any(|(name, _)| *name == anomaly.name());
        assert!(known, "{anomaly}");
    }
}

#[test]
fn long_lists_are_cut() {
    let mut lines = Vec::new();
    let all: Vec<String> = (1..=100).map(|element| element.to_string()).collect();
    for element in &all {
        lines.push(format!("0 invoke x+{element}\n0 ok x+{element}"));
    }
    lines.push(format!(
        "1 invoke x?\n1 ok x={}\n2 invoke x?\n2 ok x={}",
        all.join(","),
        all[..99].join(",")
    ));
    let result = judge(&history(&lines.join("\n")), "strict-serializable");
    insta::assert_snapshot!(explain(&result, "G-single-item-realtime"));
}
