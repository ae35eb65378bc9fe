//! What a person reads of a violation.

use checkers::budget::Unlimited;
use checkers::linearizability::{Linearizable, Options, verify};
use checkers::{CheckResult, check};
use serde_json::json;
use store::Event;

use crate::support::{dead_end, history, judge};

/// The sentences, and the operations of the minimal sub-history.
fn explain(text: &str) -> String {
    let mut events = history(text);
    for event in &mut events {
        event.key = Some(json!(3));
    }
    tell(&judge(&events, &Options::default()))
}

fn tell(result: &CheckResult) -> String {
    let dead_end = dead_end(result);
    format!(
        "{}\n\n{}\n\nsub-history: {:?}",
        result.reason,
        dead_end.explanation.join("\n"),
        dead_end.sub_history
    )
}

const STALE: &str = "0 invoke write 2
    0 ok write 2
    7 invoke read null
    7 ok read 2
    2 invoke cas [2,5]
    2 fail cas [2,5] refused
    1 invoke write 4
    1 ok write 4
    5 invoke write 9
    7 invoke read null
    7 ok read 2";

#[test]
fn a_stale_read() {
    insta::assert_snapshot!(explain(STALE));
}

#[test]
fn a_value_that_nobody_wrote() {
    insta::assert_snapshot!(explain(
        "0 invoke write 2
        1 invoke write 3
        0 ok write 2
        1 ok write 3
        2 invoke read null
        2 ok read 7"
    ));
}

#[test]
fn two_compare_and_sets_from_the_same_value() {
    insta::assert_snapshot!(explain(
        "0 invoke write 0
        0 ok write 0
        1 invoke cas [0,1]
        2 invoke cas [0,2]
        1 ok cas [0,1]
        2 ok cas [0,2]"
    ));
}

#[test]
fn an_observation_that_contradicts() {
    insta::assert_snapshot!(explain(
        "0 invoke write 1
        0 info write 1 timeout
        1 invoke write 0
        1 ok write 0
        1 invoke cas [0,5]
        1 fail cas [0,5] precondition
        1 invoke read null
        1 ok read 0"
    ));
}

/// What the crashed compare-and-set found would take all that happened since to tell.
#[test]
fn a_compare_and_set_that_crashed_long_ago() {
    insta::assert_snapshot!(explain(
        "1 invoke write 0
        1 ok write 0
        0 invoke cas [0,1]
        0 info cas [0,1] timeout
        1 invoke write 2
        2 invoke write 0
        2 ok write 0
        1 ok write 2
        1 invoke write 0
        1 ok write 0
        1 invoke cas [0,5]
        1 fail cas [0,5] precondition
        1 invoke read null
        1 ok read 0"
    ));
}

const LOST_ELEMENT: &str = "0 invoke add 1
    0 ok add 1
    1 invoke add 2
    2 invoke add 3
    1 ok add 2
    2 ok add 3
    3 invoke add 4
    0 invoke read null
    0 ok read [1,3,2]
    1 invoke read null
    1 ok read [3,1,4]
    3 ok add 4";

fn judge_set(events: &[Event]) -> CheckResult {
    let mut checker = Linearizable::named("set", &Options::default()).unwrap();
    check(&mut checker, events, &Unlimited)
}

/// However large a set is, one element that is missing is a matter of a few operations.
#[test]
fn an_element_that_was_lost() {
    insta::assert_snapshot!(tell(&judge_set(&history(LOST_ELEMENT))));
}

#[test]
fn an_element_that_was_there_cannot_be_made_to_be_missing() {
    let events = history(LOST_ELEMENT);
    let honest = judge_set(&events);
    let refuted = |elements: &[u64], sub_history: &[u64]| {
        let mut changed = dead_end(&honest).clone();
        changed.elements = elements.iter().map(|element| json!(element)).collect();
        changed.sub_history = sub_history.to_vec();
        let error = verify(&changed, &events, &Options::default()).unwrap_err();
        error.to_string()
    };
    verify(dead_end(&honest), &events, &Options::default()).unwrap();
    let whole = dead_end(&honest).sub_history.clone();
    // What was lost was 2, and who looks away does not see it.
    assert!(refuted(&[1], &whole).contains("could have seen it"));
    assert!(refuted(&[], &whole).contains("could have seen it"));
    let mut changed = dead_end(&honest).clone();
    changed.model = "queue".to_owned();
    let error = verify(&changed, &events, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("looked at alone"), "{error}");
}

/// A counter is everything that ever happened to it, which is added up.
#[test]
fn a_counter_that_lost_an_increment() {
    let events = history(
        "0 invoke add 5
        1 invoke add 20
        0 ok add 5
        2 invoke decrement null
        1 ok add 20
        3 invoke increment null
        0 invoke read null
        4 invoke add 100
        2 info decrement null timeout
        0 ok read 6
        3 ok increment 1",
    );
    let mut checker = Linearizable::named("counter", &Options::default()).unwrap();
    let result = check(&mut checker, &events, &Unlimited);
    insta::assert_snapshot!(tell(&result));
    verify(dead_end(&result), &events, &Options::default()).unwrap();
    let mut possible = events.clone();
    possible[9].value = json!(26);
    let error = verify(dead_end(&result), &possible, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
    let mut changed = dead_end(&result).clone();
    changed.operations[0].result = json!(26);
    let error = verify(&changed, &possible, &Options::default()).unwrap_err();
    assert!(!error.to_string().contains("does not fit"), "{error}");
}

#[test]
fn evidence_survives_being_stored() {
    let result = judge(&history(STALE), &Options::default());
    let stored = serde_json::to_string(&result).unwrap();
    let read: CheckResult = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, result);
    insta::assert_snapshot!(serde_json::to_string_pretty(&result.evidence).unwrap());
}

#[test]
fn evidence_that_was_tampered_with_is_refuted() {
    let events = history(STALE);
    let result = judge(&events, &Options::default());
    let honest = dead_end(&result).clone();
    let refuted = |change: &dyn Fn(&mut checkers::linearizability::DeadEnd)| {
        let mut changed = honest.clone();
        change(&mut changed);
        verify(&changed, &events, &Options::default()).unwrap_err()
    };
    // Without the write that overwrote, the earlier write could have been seen.
    let error = refuted(&|it| it.sub_history.retain(|index| *index != 6 && *index != 7));
    assert!(error.to_string().contains("could have seen it"), "{error}");
    let error = refuted(&|it| it.operations[0].value = json!(1));
    assert!(error.to_string().contains("does not fit"), "{error}");
    let error = refuted(&|it| it.initial = json!(2));
    assert!(error.to_string().contains("does not fit"), "{error}");
    // With the read alone gone, nothing is impossible.
    let error = refuted(&|it| {
        let operation = it.operation;
        it.sub_history.retain(|index| *index < operation);
    });
    assert!(error.to_string().contains("possible after all"), "{error}");
}
