//! What a person reads where the database says the order of versions, and what is no contradiction.

use checkers::transactions::verify::{NotProved, verify_cycle, verify_in};
use checkers::transactions::{Assumptions, Follows};
use checkers::{Evidence, Valid};
use serde_json::json;

use super::support::{GIVEN, LINEARIZABLE, history, judge_with, raw};
use crate::support::{anomalies, explained, standing};

/// An example of anomalies that are different if the order is given.
const EXAMPLES: [(&str, &str); 16] = [
    (
        "incompatible-versions",
        "0 invoke x:1\n0 ok x:1@5\n1 invoke x?\n1 ok x=1@7",
    ),
    (
        "incompatible-versions",
        "0 invoke x:1\n1 invoke x:2\n0 ok x:1@5\n1 ok x:2@5",
    ),
    (
        "G0",
        "0 invoke x:1 y:1\n1 invoke x:2 y:2\n0 ok x:1@1 y:1@2\n1 ok x:2@2 y:2@1",
    ),
    (
        "G0-process",
        "0 invoke x:1\n0 ok x:1@7\n0 invoke x:2\n0 ok x:2@5",
    ),
    (
        "G0-realtime",
        "0 invoke x:1\n0 ok x:1@7\n1 invoke x:2\n1 ok x:2@5",
    ),
    (
        "G1c",
        "0 invoke x:1 y?\n1 invoke x:2 y:1\n0 ok x:1@2 y=1@1\n1 ok x:2@9 y:1@1",
    ),
    // Of a write of unknown outcome, the version is what a client asked for.
    (
        "G1c",
        "0 invoke x:1@3 y:1\n1 invoke y? x:2\n0 info x:1@3 y:1\n1 ok y=1@4 x:2@2",
    ),
    (
        "G-single-item",
        "0 invoke x:1\n0 ok x:1@1\n1 invoke x:2 y:1\n2 invoke x:3\n3 invoke x? y?\n1 ok x:2@5 y:1@1\n2 ok x:3@3\n3 ok x=1@1 y=1@1",
    ),
    // Only reads show versions.
    (
        "G-single-item-realtime",
        "0 invoke x:1\n0 ok x:1\n0 invoke x:2\n0 ok x:2\n1 invoke x?\n1 ok x=2@9\n2 invoke x?\n2 ok x=1@4",
    ),
    (
        "G2-item",
        "0 invoke x:1 y:1\n0 ok x:1@1 y:1@1\n1 invoke x? y:2\n2 invoke y? x:2\n1 ok x=1@1 y:2@2\n2 ok y=1@1 x:2@2",
    ),
    (
        "fractured-read",
        "0 invoke x:1\n0 ok x:1@1\n1 invoke x:2 y:1\n2 invoke x? y?\n1 ok x:2@2 y:1@1\n2 ok x=1@1 y=1@1",
    ),
    (
        "G-cursor",
        "0 invoke x:1\n0 ok x:1@1\n1 invoke x? x:3\n2 invoke x:2\n2 ok x:2@2\n1 ok x=1@1 x:3@3",
    ),
    (
        "fractured-update",
        "0 invoke y:1\n0 ok y:1@1\n1 invoke x:1 y:2\n2 invoke y? x:2\n1 ok x:1@1 y:2@2\n2 ok y=1@1 x:2@2",
    ),
    (
        "G-monotonic",
        "0 invoke y:1\n0 ok y:1@1\n1 invoke x:1 y:2\n2 invoke x:2 y?\n1 ok x:1@1 y:2@2\n2 ok x:2@2 y=1@1",
    ),
    (
        "prefix-violation",
        "0 invoke x:1\n1 invoke y:1\n2 invoke x? y?\n3 invoke x? y?\n0 ok x:1@1\n1 ok y:1@1\n2 ok x=1@1 y=\n3 ok x= y=1@1",
    ),
    (
        "G-update",
        "0 invoke x:1 y:1\n0 ok x:1@1 y:1@1\n1 invoke x? y:2\n2 invoke y? x:2\n1 ok x=1@1 y:2@2\n2 ok y=1@1 x:2@2",
    ),
];

#[test]
fn every_anomaly_is_explained_by_the_versions() {
    let mut text = String::new();
    for (anomaly, example) in EXAMPLES {
        let result = judge_with(&history(example), "strict-serializable", GIVEN);
        text += &explained(&result, anomaly);
    }
    let both = Assumptions {
        linearizable_keys: true,
        ..GIVEN
    };
    let stale = "0 invoke x:1\n0 ok x:1@7\n1 invoke x:2\n1 ok x:2@5";
    text += &explained(
        &judge_with(&history(stale), "strict-serializable", both),
        "cyclic-versions",
    );
    insta::assert_snapshot!(text);
}

#[test]
fn versions_are_not_passed_over_unless_somebody_says_what_they_are() {
    let events = history("0 invoke x:1\n0 ok x:1@5\n1 invoke x?\n1 ok x=1");
    for assume in [Assumptions::default(), LINEARIZABLE] {
        let result = raw(&events, "read-uncommitted", assume);
        assert_eq!(result.valid, Valid::Unknown);
        assert!(
            result.reason.contains("--given-versions"),
            "{}",
            result.reason
        );
    }
    assert_eq!(
        raw(&events, "strict-serializable", GIVEN).valid,
        Valid::True
    );
    let mut events = history("0 invoke x:1\n0 ok x:1\n1 invoke x?\n1 ok x=1");
    events[1].value = json!([["w", "x", 1, null]]);
    assert_eq!(
        raw(&events, "strict-serializable", GIVEN).valid,
        Valid::True
    );
    for wrong in [json!("5"), json!(5.5), json!(u64::MAX), json!([5])] {
        events[1].value = json!([["w", "x", 1, wrong]]);
        let result = raw(&events, "strict-serializable", GIVEN);
        assert_eq!(result.valid, Valid::Unknown);
        assert!(
            result.reason.contains("micro-operation 0"),
            "{}",
            result.reason
        );
    }
}

#[test]
fn what_is_no_version_of_the_database_contradicts_nothing() {
    let harmless = [
        // All that a transaction writes has the version of its commit.
        "0 invoke x:1 x:2\n0 ok x:1@5 x:2@5\n1 invoke x?\n1 ok x=2@5",
        // What failed has none, nor has what nobody saw.
        "0 invoke x:1@5\n0 fail x:1@5\n1 invoke x:2\n1 ok x:2@5\n2 invoke x:3@5\n3 invoke x?\n3 ok x=2@5",
        // There is something before everything.
        "0 invoke x?\n1 invoke x:1\n0 ok x=@9\n1 ok x:1@3\n2 invoke x?\n2 ok x=1@3",
        // Keys have nothing to do with each other.
        "0 invoke x:1 y:2\n0 ok x:1@5 y:2@5\n1 invoke x? y?\n1 ok x=1@5 y=2@5",
        // What a transaction reads of its own is not there yet.
        "0 invoke x:1 x?\n0 ok x:1@5 x=1@4\n1 invoke x?\n1 ok x=1@5",
    ];
    for text in harmless {
        let result = judge_with(&history(text), "strict-serializable", GIVEN);
        assert_eq!(result.valid, Valid::True, "{text}: {}", result.reason);
    }
    // Of a value that was written twice nobody knows which is which.
    let twice = "0 invoke x:1\n0 ok x:1@5\n1 invoke x:1\n1 ok x:1@7\n2 invoke x?\n2 ok x=1@7";
    let result = raw(&history(twice), "strict-serializable", GIVEN);
    assert!(anomalies(&result).is_empty(), "{}", result.reason);
    // So nothing holds, as it might not in the order of these.
    let twice = "0 invoke x:1 y:2\n0 ok x:1@7 y:2@1\n1 invoke x:1\n1 ok x:1@5\n2 invoke x:2\n2 ok x:2@6\n3 invoke y?\n3 ok y=2@1";
    let result = judge_with(&history(twice), "read-uncommitted", GIVEN);
    assert_eq!(result.valid, Valid::Unknown);
    assert!(result.reason.starts_with("event 0: "), "{}", result.reason);
}

#[test]
fn a_contradiction_rules_out_every_level() {
    let (_, text) = EXAMPLES[0];
    let result = judge_with(&history(text), "read-uncommitted", GIVEN);
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
}

#[test]
fn what_depends_on_versions_that_are_not_given_is_unknown() {
    let text = "0 invoke x:1\n1 invoke x:2\n0 ok x:1@5\n1 ok x:2\n2 invoke x? y:1\n2 ok x=1@5 y:1@5\n3 invoke y?\n3 ok y=1@5";
    let result = judge_with(&history(text), "serializable", GIVEN);
    assert_eq!(result.valid, Valid::Unknown);
    assert!(result.reason.starts_with("event 1: "), "{}", result.reason);
    assert_eq!(standing(&result, "causal"), Valid::True);
}

/// The evidence against an example, and the events.
fn cycle_of(text: &str) -> (Box<checkers::transactions::Cycle>, Vec<store::Event>) {
    let events = history(text);
    let result = judge_with(&events, "strict-serializable", GIVEN);
    let mut cycles = result.evidence.into_iter().filter_map(|one| match one {
        Evidence::Cycle(cycle) => Some(cycle),
        _ => None,
    });
    (cycles.next().unwrap(), events)
}

#[test]
fn tampered_versions_prove_nothing() {
    for (_, text) in &EXAMPLES[2..10] {
        let (cycle, events) = cycle_of(text);
        verify_cycle(&cycle).unwrap();
        // A number that no transaction has.
        let mut tampered = cycle.clone();
        let mut follows = tampered
            .steps
            .iter_mut()
            .filter_map(|step| step.follows.as_mut());
        let given = follows.find_map(|follows| match follows {
            Follows::Given { lower, .. } => Some(lower),
            _ => None,
        });
        *given.unwrap() -= 1;
        assert!(
            matches!(verify_cycle(&tampered), Err(NotProved::Step { .. })),
            "{text}"
        );
        // A transaction that has another number than in the history.
        let mut tampered = cycle.clone();
        let mut changed = false;
        for view in &mut tampered.transactions {
            for micro in view.value.as_array_mut().unwrap() {
                if let Some(version) = micro.get_mut(3) {
                    *version = json!(version.as_i64().unwrap() + 100);
                    changed = true;
                }
            }
        }
        assert!(changed);
        assert!(verify_cycle(&tampered).is_err(), "{text}");
        assert!(
            verify_in(&tampered.transactions, &events, None, &[]).is_err(),
            "{text}"
        );
    }
}

/// That sessions contradict the order does not hide what contradicts it without them.
#[test]
fn who_saw_what_is_asked_also_where_sessions_contradict_the_order() {
    let text = "0 invoke x:1 y:1\n0 ok x:1@18 y:1@1\n0 invoke x:2\n0 ok x:2@15\n1 invoke y? x?\n1 ok y=1@1 x=2@15";
    let result = judge_with(&history(text), "monotonic-atomic-view", GIVEN);
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    assert!(anomalies(&result).contains("OTV"), "{}", result.reason);
    assert!(
        anomalies(&result).contains("G0-process"),
        "{}",
        result.reason
    );
}
