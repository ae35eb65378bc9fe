//! What is no history, and too little time or memory.

use checkers::budget::{Budget, Steps, Unlimited};
use checkers::transactions::{ListAppend, Options};
use checkers::{CheckResult, Checker, Feed, Valid, check};
use serde_json::{Value, json};
use store::EventType::{Invoke, Ok};
use store::{Event, Process};

use crate::support::{event, history, judge};

fn raw(events: &[Event]) -> CheckResult {
    check(&mut ListAppend::new(Options::default()), events, &Unlimited)
}

#[track_caller]
fn unknown(events: &[Event], why: &str) {
    let result = raw(events);
    assert_eq!(
        (result.valid, result.reason.as_str()),
        (Valid::Unknown, why)
    );
}

#[test]
fn what_is_malformed_is_named_with_its_event() {
    let with = |value: Value| vec![event(7, 0, Invoke, value)];
    unknown(
        &with(json!(5)),
        "event 7: a transaction is a list of micro-operations, not 5",
    );
    unknown(
        &with(json!([["r", 1, null], ["w", 1, 2]])),
        "event 7: micro-operation 1 is [\"w\",1,2]; one is [\"append\", key, element] or [\"r\", key, list]",
    );
    unknown(
        &with(json!([["append", 1]])),
        "event 7: micro-operation 0 is [\"append\",1]; one is [\"append\", key, element] or [\"r\", key, list]",
    );
    unknown(
        &[
            event(0, 0, Invoke, json!([["r", 1, null]])),
            event(1, 0, Ok, json!([["r", 1, 5]])),
        ],
        "event 1: the read of key 1 returned 5, which is no list",
    );
    unknown(
        &[
            event(3, 0, Invoke, json!([])),
            event(3, 1, Invoke, json!([])),
        ],
        "event 3: indexes of events must ascend, and the one before is 3",
    );
    let mut other = event(0, 0, Invoke, Value::Null);
    other.f = "read".into();
    unknown(
        &[other],
        "event 0: this function is \"read\"; a list-append history has \"txn\" alone",
    );
}

#[test]
fn an_element_that_was_appended_twice_is_the_clients_fault() {
    let text = "0 invoke x+1
         0 ok x+1
         1 invoke x+1
         1 ok x+1
         2 invoke x? y+1
         2 ok x=1,1 y+1
         3 invoke y?
         3 ok y=1";
    unknown(
        &history(text),
        "the element 1 was appended to key \"x\" twice, at events 0 and 2: each element of a key must be unique",
    );
    // Other keys tell what they tell.
    let stale = format!("{text}\n4 invoke y?\n4 ok y=");
    assert_eq!(
        judge(&history(&stale), "strict-serializable").valid,
        Valid::False
    );
}

#[test]
fn a_history_that_could_show_nothing_is_unknown() {
    unknown(
        &[],
        "not enough evidence: no transaction read what another wrote, or would write",
    );
    let lonely = history("0 invoke x+1\n0 ok x+1\n1 invoke y?\n1 ok y=");
    assert_eq!(raw(&lonely).valid, Valid::Unknown);
}

#[test]
fn a_model_that_no_check_decides_is_unknown_unless_a_stronger_one_holds() {
    let skew = history("0 invoke x? y+1\n1 invoke y? x+1\n0 ok x= y+1\n1 ok y= x+1");
    assert_eq!(judge(&skew, "prefix").valid, Valid::True);
    let result = judge(&skew, "monotonic-snapshot-read");
    assert_eq!(result.valid, Valid::True);
    let fork = history(
        "0 invoke x+1\n1 invoke y+1\n2 invoke x? y?\n3 invoke x? y?\n0 ok x+1\n1 ok y+1\n2 ok x=1 y=\n3 ok x= y=1",
    );
    let result = judge(&fork, "monotonic-snapshot-read");
    assert_eq!(result.valid, Valid::Unknown);
    assert!(
        result
            .reason
            .starts_with("no check is complete for monotonic-snapshot-read alone"),
        "{}",
        result.reason
    );
}

#[test]
fn other_processes_are_passed_over_and_open_transactions_may_have_happened() {
    let mut events = history("0 invoke x+1\n1 invoke x?\n1 ok x=1\n2 invoke x?\n2 ok x=1");
    let mut fault = event(5, 0, Invoke, json!("anything"));
    fault.process = Process::Nemesis("kill".into());
    events.push(fault);
    assert_eq!(judge(&events, "strict-serializable").valid, Valid::True);
    // A process that begins again has given up on its last transaction.
    let again = history("0 invoke x+1\n0 invoke y+1\n0 ok y+1\n1 invoke x? y?\n1 ok x=1 y=1");
    let result = judge(&again, "strict-serializable");
    assert_eq!(result.valid, Valid::True);
    assert_eq!(result.details["overlapping"]["count"], 1);
}

#[test]
fn ends_alone_tell_what_they_tell() {
    let events = history("0 ok x+1 y+1\n0 ok x+2 y+2\n0 ok x=1,2 y=2,1");
    assert_eq!(judge(&events, "read-uncommitted").valid, Valid::False);
}

#[test]
fn running_out_of_anything_is_unknown_and_never_a_panic() {
    let mut events = Vec::new();
    for at in 0..40_000_u64 {
        let value = json!([["append", at % 50, at], ["r", at % 7, null]]);
        let kind = if at % 2 == 0 { Invoke } else { Ok };
        let value = if kind == Ok {
            json!([["append", at % 50, at], ["r", at % 7, []]])
        } else {
            value
        };
        events.push(event(at, at / 2 % 5, kind, value));
    }
    let whole = raw(&events).valid;
    let mut decided = 0;
    for steps in [0, 1, 3, 8, 20, 1000] {
        let mut checker = ListAppend::new(Options::default());
        let budget = Steps::new(steps, u64::MAX);
        let fed = checker.feed(&events, &budget);
        let result = checker.finish(&budget);
        assert!(
            result.valid == whole || result.reason == "out of budget: time limit reached",
            "{}",
            result.reason
        );
        assert!(fed != Feed::Exhausted || result.valid == Valid::Unknown);
        decided += u64::from(result.valid == whole);
    }
    assert!(decided > 0 && decided < 6);
    for bytes in [0, 1 << 10, 1 << 16, 1 << 19] {
        let result = check(
            &mut ListAppend::new(Options::default()),
            &events,
            &Steps::new(u64::MAX, bytes),
        );
        assert_eq!(
            result.reason, "out of budget: memory limit reached",
            "{bytes}"
        );
    }
}

#[test]
fn all_that_was_charged_is_released() {
    let events = history("0 invoke x? y+1\n1 invoke y? x+1\n0 ok x= y+1\n1 ok y= x+1");
    let budget = Steps::new(u64::MAX, 1 << 20);
    for _ in 0..3 {
        let result = check(&mut ListAppend::new(Options::default()), &events, &budget);
        assert_eq!(result.valid, Valid::False, "{}", result.reason);
        budget.charge(1 << 20).unwrap();
        budget.release(1 << 20);
    }
}

#[test]
fn any_cut_of_the_feed_gives_the_same_verdict() {
    let events = history("0 invoke x? y+1\n1 invoke y? x+1\n0 ok x= y+1\n1 ok y= x+1");
    let whole = judge(&events, "serializable");
    for cut in 0..events.len() {
        let mut checker = ListAppend::new(Options {
            consistency: checkers::transactions::models::find("serializable").unwrap(),
        });
        checker.feed(&events[..cut], &Unlimited);
        checker.feed(&events[cut..], &Unlimited);
        assert_eq!(checker.finish(&Unlimited), whole);
    }
}
