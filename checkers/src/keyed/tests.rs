//! Many keys: what one says of all.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::budget::{Steps, Unlimited};
use crate::lost_update;
use crate::set_full::Options;
use crate::testing::{Line, history, operations};
use crate::{FINAL_READ, check};

fn judge(lines: &[Line<'_>]) -> CheckResult {
    let mut checker = lost_update::new(Options::default());
    check(&mut checker, &history(lines), &Unlimited)
}

/// An element that is added to a document, and a final read of it.
fn document(key: &str, added: i64, shown: Value) -> Vec<Line<'static>> {
    vec![
        (0, "invoke", "add", json!(key), json!(added)),
        (0, "ok", "add", json!(key), json!(added)),
        (0, "invoke", FINAL_READ, json!(key), Value::Null),
        (0, "ok", FINAL_READ, json!(key), shown),
    ]
}

#[test]
fn all_are_right_if_each_is() {
    let one = document("a", 1, json!([1]));
    let result = judge(&one);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(
        result.reason,
        "all 1 acknowledged elements are there, in 1 reads"
    );
    let both = [one, document("b", 2, json!([2]))].concat();
    let result = judge(&both);
    assert_eq!(result.valid, Valid::True);
    assert_eq!(
        result.reason,
        "2 of 2 keys, the first of them \"a\": all 1 acknowledged elements are there, in 1 reads"
    );
    assert_eq!(result.details["key-count"], 2);
    assert_eq!(result.details["acknowledged-count"], 2);
}

#[test]
fn what_is_wrong_with_one_is_wrong() {
    let both = [document("a", 1, json!([1])), document("b", 2, json!([]))].concat();
    let result = judge(&both);
    assert_eq!(result.valid, Valid::False);
    assert!(
        result
            .reason
            .starts_with("1 of 2 keys, the first of them \"b\": 1 of 1"),
        "{}",
        result.reason
    );
    let told = operations(&result);
    assert!(
        told[0].0.starts_with("On key \"b\": Element 2 is lost."),
        "{}",
        told[0].0
    );
    assert_eq!(told[0].1, [4, 5, 6, 7]);
    assert_eq!(result.details["invalid-key-count"], 1);
    assert_eq!(result.details["lost-count"], 1);
}

#[test]
fn a_key_on_which_nothing_happened_proves_nothing_and_does_no_harm() {
    let mut refused = document("b", 2, json!([]));
    refused[1].1 = "fail";
    let result = judge(&[document("a", 1, json!([1])), refused.clone()].concat());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    let result = judge(&refused);
    assert_eq!(result.valid, Valid::Unknown);
    assert_eq!(
        result.reason,
        "no add was acknowledged, so there was nothing to lose"
    );
    assert_eq!(judge(&[]).valid, Valid::Unknown);
}

#[test]
fn a_key_that_nobody_understands_or_reads_leaves_it_open() {
    let a = document("a", 1, json!([1]));
    let mut odd = document("b", 2, json!([]));
    odd[0].2 = "remove";
    odd[1] = (0, "fail", "remove", json!("b"), json!(2));
    let result = judge(&[a.clone(), odd].concat());
    assert_eq!(result.valid, Valid::Unknown);
    assert!(
        result
            .reason
            .contains("a document has add, read and final-read, not remove"),
        "{}",
        result.reason
    );
    let unread = &document("b", 2, json!([2]))[..2];
    let result = judge(&[&a[..], unread].concat());
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    assert!(
        result.reason.contains("no final-read ended ok"),
        "{}",
        result.reason
    );
}

#[test]
fn budgets_are_kept() {
    let lines = history(&document("a", 1, json!([1])));
    let mut checker = lost_update::new(Options::default());
    let result = check(&mut checker, &lines, &Steps::new(1_000, 10));
    assert_eq!(
        (result.valid, &*result.reason),
        (Valid::Unknown, "memory limit reached")
    );
}
