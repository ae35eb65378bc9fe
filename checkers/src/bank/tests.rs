//! Small histories by hand, and a bank that works or is broken on purpose.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::budget::{Steps, Unlimited};
use crate::{Evidence, check};

fn event(index: u64, process: u64, kind: EventType, f: &str, value: Value) -> Event {
    Event {
        index,
        time: index,
        process: Process::Client(process),
        kind,
        f: f.into(),
        key: None,
        value,
        error: None,
        node: None,
    }
}

/// One transfer, then these reads.
fn history(reads: &[Value]) -> Vec<Event> {
    let transfer = json!({"from": 0, "to": 1, "amount": 5});
    let mut events = vec![
        event(0, 0, EventType::Invoke, "transfer", transfer.clone()),
        event(1, 0, EventType::Ok, "transfer", transfer),
    ];
    for read in reads {
        let index = events.len() as u64;
        events.push(event(index, 0, EventType::Invoke, "read", Value::Null));
        events.push(event(index + 1, 0, EventType::Ok, "read", read.clone()));
    }
    events
}

fn known() -> Options {
    Options {
        accounts: Some([("0".to_owned(), 10), ("1".to_owned(), 10)].into()),
        negative_balances: false,
    }
}

fn judge(options: Options, reads: &[Value]) -> CheckResult {
    check(&mut Bank::new(options), &history(reads), &Unlimited)
}

fn told(result: &CheckResult) -> Vec<(&str, &[u64])> {
    let operations = result.evidence.iter().map(|evidence| match evidence {
        Evidence::Operations(operations) => {
            (operations.explanation.as_str(), &operations.events[..])
        }
        other => panic!("{other:?}"),
    });
    operations.collect()
}

#[test]
fn money_that_is_all_there_is_valid() {
    let result = judge(
        known(),
        &[json!({"0": 5, "1": 15}), json!({"1": 20, "0": 0})],
    );
    assert_eq!(result.valid, Valid::True);
    assert_eq!(
        result.reason,
        "all 2 reads find 20 in all accounts together"
    );
}

#[test]
fn wrong_totals_are_all_counted_and_the_first_and_worst_told() {
    let reads = [
        json!({"0": 5, "1": 10}),
        json!({"0": 5, "1": 15}),
        json!({"0": 0, "1": 100}),
        json!({"0": 10, "1": 15}),
    ];
    let result = judge(known(), &reads);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(
        result.reason,
        "3 of 4 reads are wrong: 3 wrong-total (15 to 100)"
    );
    let told = told(&result);
    assert_eq!(told[0].1, [2, 3]);
    assert_eq!(told[1].1, [6, 7]);
    assert_eq!(
        told[0].0,
        "The read that ended at event 3 finds 15 in all accounts together, and there are always 20: {\"0\":5,\"1\":10}. \
         There are 3 such reads."
    );
    let errors = &result.details["errors"]["wrong-total"];
    assert_eq!(errors["count"], 3);
    assert_eq!(
        (&errors["lowest"], &errors["highest"]),
        (&json!(15), &json!(100))
    );
    assert_eq!(errors["last"]["event"], 9);
}

#[test]
fn each_kind_of_wrong_read_is_found() {
    let kinds = |read: Value| {
        let result = judge(known(), &[read]);
        assert_eq!(result.valid, Valid::False);
        let errors = result.details["errors"].as_object().unwrap();
        errors.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(kinds(json!({"0": -5, "1": 25})), ["negative-balance"]);
    assert_eq!(kinds(json!({"0": 20})), ["missing-account"]);
    assert_eq!(kinds(json!({})), ["missing-account"]);
    assert_eq!(kinds(json!({"0": 20, "1": null})), ["nil-balance"]);
    assert_eq!(
        kinds(json!({"0": 10, "1": 10, "2": 0})),
        ["unexpected-account"]
    );
    assert_eq!(
        kinds(json!({"0": 10, "1": 10, "2": 5})),
        ["unexpected-account", "wrong-total"]
    );
    assert_eq!(
        kinds(json!({"0": -1, "1": 0})),
        ["negative-balance", "wrong-total"]
    );
    let negative = Options {
        negative_balances: true,
        ..known()
    };
    assert_eq!(
        judge(negative, &[json!({"0": -5, "1": 25})]).valid,
        Valid::True
    );
}

#[test]
fn reads_that_disagree_prove_each_other_wrong() {
    let result = judge(
        Options::default(),
        &[json!({"a": 5, "b": 10}), json!({"a": 10, "b": 5})],
    );
    assert_eq!(result.valid, Valid::True);
    let result = judge(
        Options::default(),
        &[json!({"a": 5, "b": 10}), json!({"a": 10, "b": 10})],
    );
    assert_eq!(result.valid, Valid::False);
    let told = told(&result);
    assert_eq!(told[0].1, [2, 3, 4, 5]);
    assert!(
        told[0]
            .0
            .contains("as the read that ended at event 3 found")
    );
}

#[test]
fn what_says_nothing_is_unknown() {
    let unknown = |events: &[Event]| {
        let result = check(&mut Bank::new(known()), events, &Unlimited);
        assert_eq!(result.valid, Valid::Unknown);
        result.reason
    };
    assert!(unknown(&[]).starts_with("no read ended ok"));
    assert!(unknown(&history(&[])).starts_with("no read ended ok"));
    let fine = json!({"0": 10, "1": 10});
    assert!(
        unknown(&history(std::slice::from_ref(&fine))[2..]).starts_with("no transfer ended ok")
    );
    assert!(unknown(&history(&[json!([10, 10])])).contains("event 3 is not of a bank"));
    assert!(unknown(&history(&[json!({"0": "x", "1": 10})])).contains("no whole number"));
    assert!(
        unknown(&[event(0, 0, EventType::Invoke, "deposit", Value::Null)]).contains("not deposit")
    );
    // A read that failed says nothing, whatever it carries.
    let mut failed = history(&[fine, json!({"0": 99, "1": 0})]);
    failed[5].kind = EventType::Fail;
    assert_eq!(
        check(&mut Bank::new(known()), &failed, &Unlimited).valid,
        Valid::True
    );
}

#[test]
fn a_wrong_read_stops_a_run_and_budgets_are_kept() {
    let events = history(&[json!({"0": 10, "1": 10}), json!({"0": 9, "1": 10})]);
    let mut bank = Bank::new(known());
    assert_eq!(bank.feed(&events[..4], &Unlimited), Feed::Continue);
    assert_eq!(bank.feed(&events[4..], &Unlimited), Feed::Violation);
    let result = check(&mut Bank::new(known()), &events, &Steps::new(0, 0));
    assert_eq!(
        (result.valid, &*result.reason),
        (Valid::Unknown, "time limit reached")
    );
}

/// A bank of three accounts that executes transfers in their order, and shows some reads the middle of one.
fn serve(transfers: &[(usize, usize, i64)], torn: Option<usize>) -> Vec<Event> {
    let mut balances = [10_i64; 3];
    let mut events = Vec::new();
    let mut push =
        |kind, f: &str, value| events.push(event(events.len() as u64, 0, kind, f, value));
    let show = |balances: &[i64; 3]| json!({"0": balances[0], "1": balances[1], "2": balances[2]});
    for (at, (from, to, amount)) in transfers.iter().enumerate() {
        let transfer = json!({"from": from, "to": to, "amount": amount});
        let enough = balances[*from] >= *amount;
        let kind = if enough {
            EventType::Ok
        } else {
            EventType::Fail
        };
        push(EventType::Invoke, "transfer", transfer.clone());
        if enough {
            balances[*from] -= amount;
        }
        let middle = show(&balances);
        if enough {
            balances[*to] += amount;
        }
        push(kind, "transfer", transfer);
        push(EventType::Invoke, "read", Value::Null);
        let shown = if torn == Some(at) {
            middle
        } else {
            show(&balances)
        };
        push(EventType::Ok, "read", shown);
    }
    events
}

fn transfers() -> impl Strategy<Value = Vec<(usize, usize, i64)>> {
    let one = (0..3_usize, 1..3_usize, 1..8_i64);
    prop::collection::vec(
        one.prop_map(|(from, by, amount)| (from, (from + by) % 3, amount)),
        1..40,
    )
}

proptest! {
    #[test]
    fn a_serial_bank_is_never_flagged(transfers in transfers(), known: bool) {
        let accounts = (0..3).map(|account| (account.to_string(), 10)).collect();
        let options = Options { accounts: known.then_some(accounts), negative_balances: false };
        let result = check(&mut Bank::new(options), &serve(&transfers, None), &Unlimited);
        prop_assert_ne!(result.valid, Valid::False, "{}", result.reason);
    }

    #[test]
    fn half_a_transfer_is_found(transfers in transfers(), at in any::<prop::sample::Index>()) {
        let torn = at.index(transfers.len());
        let events = serve(&transfers, Some(torn));
        // One that was refused has no half.
        let happened = events[4 * torn + 1].kind == EventType::Ok;
        let accounts = (0..3).map(|account| (account.to_string(), 10)).collect();
        let options = Options { accounts: Some(accounts), negative_balances: false };
        let result = check(&mut Bank::new(options), &events, &Unlimited);
        prop_assert_eq!(result.valid == Valid::False, happened);
        if happened {
            prop_assert_eq!(&result.details["error-count"], &json!(1));
            prop_assert_eq!(&result.details["errors"]["wrong-total"]["first"]["event"], &json!(4 * torn + 3));
        }
    }
}
