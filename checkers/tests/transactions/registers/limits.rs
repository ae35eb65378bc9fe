//! What is no history of registers, and too little time or memory.

use checkers::budget::{Budget, Steps};
use checkers::transactions::{Assumptions, Options, RwRegister};
use checkers::{CheckResult, Valid, check};
use serde_json::{Value, json};
use store::Event;
use store::EventType::{Invoke, Ok};

use super::support::{history, judge, raw};
use crate::online::registers;
use crate::support::{event, listed};

#[track_caller]
fn unknown(events: &[Event], why: &str) {
    let result = raw(events, "strict-serializable", Assumptions::default());
    assert_eq!(
        (result.valid, result.reason.as_str()),
        (Valid::Unknown, why)
    );
}

#[test]
fn what_is_malformed_is_named_with_its_event() {
    unknown(
        &[event(
            7,
            0,
            Invoke,
            json!([["r", 1, null], ["append", 1, 2]]),
        )],
        "event 7: micro-operation 1 is [\"append\",1,2]; one is [\"w\", key, value] or [\"r\", key, value], or either \
         with a version, a whole number, behind the value",
    );
    let mut other = event(0, 0, Invoke, Value::Null);
    other.f = "read".into();
    unknown(
        &[other],
        "event 0: this function is \"read\"; a rw-register history has \"txn\" alone",
    );
}

#[test]
fn a_history_that_could_show_nothing_is_unknown() {
    let why = "not enough evidence: no transaction read what another wrote, or would write";
    unknown(&[], why);
    unknown(
        &history("0 invoke x:1\n0 ok x:1\n1 invoke y?\n1 ok y="),
        why,
    );
}

#[test]
fn a_read_without_a_value_says_nothing() {
    let events = history("0 invoke x:1\n0 ok x:1\n1 invoke x?\n1 ok x?\n2 invoke x?\n2 ok x=1");
    assert_eq!(judge(&events, "strict-serializable").valid, Valid::True);
}

/// Many readers of the initial version and many writers without a read, each before each.
#[test]
fn many_readers_and_many_writers_of_a_key() {
    let mut events = Vec::new();
    for at in 0..600_u64 {
        events.push(event(0, 2 * at, Invoke, json!([["r", "x", null]])));
        events.push(event(0, 2 * at + 1, Invoke, json!([["w", "x", at]])));
    }
    for at in 0..600_u64 {
        events.push(event(0, 2 * at, Ok, json!([["r", "x", null]])));
        events.push(event(0, 2 * at + 1, Ok, json!([["w", "x", at]])));
    }
    // One that writes and had read the initial value is before and after nobody by itself.
    events.push(event(0, 9999, Invoke, json!([["r", "x", null]])));
    let late = event(0, 9999, Ok, json!([["r", "x", 7]]));
    events.push(late);
    for (index, event) in (0..).zip(&mut events) {
        event.index = index;
    }
    assert_eq!(judge(&events, "causal").valid, Valid::True);
    let stale = event(
        events.len() as u64,
        10_000,
        Invoke,
        json!([["r", "x", null]]),
    );
    events.push(stale.clone());
    events.push(Event {
        index: stale.index + 1,
        kind: Ok,
        ..stale
    });
    let result = judge(&events, "strict-serializable");
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
}

#[test]
fn running_out_of_anything_is_unknown_and_never_a_panic() {
    let mut events = Vec::new();
    for at in 0..30_000_u64 {
        let kind = if at % 2 == 0 { Invoke } else { Ok };
        let value = json!([["w", at / 2 % 50, at / 2], ["r", (at / 2 + 25) % 50, null]]);
        events.push(event(at, at / 2 % 5, kind, value));
    }
    let run = |budget: &dyn Budget| -> CheckResult {
        check(
            &mut RwRegister::new(Options::default(), Assumptions::default()),
            &events,
            budget,
        )
    };
    let whole = run(&Steps::new(u64::MAX, u64::MAX)).valid;
    for steps in [0, 1, 3, 8, 20, 60] {
        let result = run(&Steps::new(steps, u64::MAX));
        assert!(
            result.valid == whole || result.reason == "out of budget: time limit reached",
            "{}",
            result.reason
        );
    }
    for bytes in [0, 1 << 10, 1 << 16, 1 << 19] {
        let result = run(&Steps::new(u64::MAX, bytes));
        assert_eq!(
            result.reason, "out of budget: memory limit reached",
            "{bytes}"
        );
    }
}

#[test]
fn all_that_was_charged_is_released() {
    let events = history("0 invoke x? y:1\n1 invoke y? x:1\n0 ok x= y:1\n1 ok y= x:1");
    let budget = Steps::new(u64::MAX, 1 << 20);
    for _ in 0..3 {
        let mut checker = RwRegister::new(Options::default(), Assumptions::default());
        let result = check(&mut checker, &events, &budget);
        assert_eq!(result.valid, Valid::False, "{}", result.reason);
        budget.charge(1 << 20).unwrap();
        budget.release(1 << 20);
    }
}

#[test]
fn of_a_large_history_only_what_is_asked_for_is_decided() {
    let (rather, more) = ("strong-session-read-atomic", "strong-session-causal-cerone");
    let names =
        |result: &CheckResult, field: &str| listed(result, field).contains(&more.to_owned());
    let small = registers(3000, 1500);
    let result = judge(&small, rather);
    assert!(result.valid == Valid::True && names(&result, "violated"));
    assert_eq!(judge(&small, more).valid, Valid::False);

    let large = registers(100_000, 50_000);
    let result = raw(&large, rather, Assumptions::default());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert!(!names(&result, "violated") && !names(&result, "holds"));
    let result = raw(&large, more, Assumptions::default());
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
}
