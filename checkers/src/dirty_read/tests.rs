//! Dirty reads by hand, and by chance against the definitions.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};
use store::{Event, EventType};

use super::*;
use crate::budget::Unlimited;
use crate::check;
use crate::set_full::tests::violates;
use crate::testing::{Asked, Line, Play, Served, history, operations, plays};

fn judge(lines: &[Line<'_>]) -> CheckResult {
    let mut checker = DirtyRead::new(Options::default());
    check(&mut checker, &history(lines), &Unlimited)
}

fn strong(process: u64, shown: Value) -> [Line<'static>; 2] {
    [
        (process, "invoke", "strong-read", Value::Null, Value::Null),
        (process, "ok", "strong-read", Value::Null, shown),
    ]
}

/// 1 is written and acknowledged; 2 is under way when it is read.
const SEEN: [&str; 3] = ["ok", "fail", "info"];

fn seen(ending: &'static str) -> Vec<Line<'static>> {
    let line = |process, kind, f, value| (process, kind, f, Value::Null, value);
    vec![
        line(0, "invoke", "write", json!(1)),
        line(0, "ok", "write", json!(1)),
        line(0, "invoke", "write", json!(2)),
        line(1, "invoke", "read", json!(2)),
        line(1, "ok", "read", json!(2)),
        line(0, ending, "write", json!(2)),
    ]
}

#[test]
fn what_was_read_and_is_not_there_in_the_end_was_read_dirty() {
    for ending in SEEN {
        let lines = [seen(ending), strong(2, json!([1])).to_vec()].concat();
        let result = judge(&lines);
        assert_eq!(result.valid, Valid::False, "{ending}");
        assert_eq!(result.details["dirty-count"], 1, "{ending}");
        assert!(
            result.reason.starts_with("1 elements were read dirty; "),
            "{}",
            result.reason
        );
        let (text, events) = operations(&result)[0];
        assert!(text.starts_with("Element 2 is lost."), "{text}");
        assert!(events.contains(&4) && events.contains(&7), "{events:?}");
    }
}

#[test]
fn what_is_there_in_the_end_was_committed() {
    for (ending, expected) in SEEN
        .into_iter()
        .zip([Valid::True, Valid::False, Valid::True])
    {
        let lines = [seen(ending), strong(2, json!([2, 1])).to_vec()].concat();
        let result = judge(&lines);
        assert_eq!(result.valid, expected, "{ending}: {}", result.reason);
        let dirty = u64::from(expected == Valid::False);
        assert_eq!(result.details["dirty-count"], dirty);
    }
}

#[test]
fn reads_that_find_nothing_prove_nothing() {
    let mut lines = seen("info");
    lines[4].4 = Value::Null;
    let behind: [Line<'_>; 2] = [
        (1, "invoke", "read", Value::Null, json!(1)),
        (1, "ok", "read", Value::Null, Value::Null),
    ];
    lines.extend(behind);
    let result = judge(&[lines.clone(), strong(2, json!([1])).to_vec()].concat());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    // A write that nobody knows of may happen between two reads.
    let late = [strong(2, json!([1])), strong(3, json!([1, 2]))].concat();
    let result = judge(&[lines.clone(), late].concat());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    // But it does not go away again.
    let gone = [strong(2, json!([1, 2])), strong(3, json!([1]))].concat();
    let result = judge(&[lines, gone].concat());
    assert_eq!(result.valid, Valid::False);
}

#[test]
fn nodes_that_differ_are_found() {
    let ends = [strong(2, json!([1, 2])), strong(3, json!([2]))].concat();
    let mut ends = [seen("ok"), ends].concat();
    // They overlap, so that neither came first.
    ends.swap(7, 8);
    let result = judge(&ends);
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    assert_eq!(result.details["divergent-count"], 1);
    assert_eq!(result.details["dirty-count"], 0);
}

#[test]
fn what_is_no_such_history_is_unknown() {
    let mut odd = seen("ok");
    odd[4].4 = json!(7);
    let result = judge(&[odd, strong(2, json!([1, 2])).to_vec()].concat());
    assert_eq!(result.valid, Valid::Unknown);
    assert!(
        result
            .reason
            .contains("a read of one element returns it or null, not 7"),
        "{}",
        result.reason
    );
    let result = judge(&[(0, "invoke", "add", Value::Null, json!(1))]);
    assert!(
        result
            .reason
            .contains("write, read and strong-read, not add"),
        "{}",
        result.reason
    );
}

fn served(plays: &[Play]) -> Vec<Event> {
    let mut next = 0;
    let mut ask = |play: &Play| -> Asked {
        let asked = match play.what {
            0..120 => {
                next += 1;
                ("write", json!(next))
            }
            120..240 => ("read", json!((next + i64::from(play.what % 2)).max(1))),
            _ => ("strong-read", Value::Null),
        };
        (asked.0, None, asked.1)
    };
    let served = Served {
        state: Vec::<i64>::new(),
        is_read: |f| f != "write",
        ask: &mut ask,
        run: &|state, (f, _, value)| match *f {
            "write" => {
                state.push(value.as_i64().unwrap());
                value.clone()
            }
            "read" if state.contains(&value.as_i64().unwrap()) => value.clone(),
            "read" => Value::Null,
            _ => json!(state),
        },
    };
    served.play(plays, &[("strong-read", None, Value::Null)])
}

proptest! {
    #[test]
    fn a_set_that_shows_what_is_there_is_never_flagged(plays in plays(), linearizable: bool) {
        let mut checker = DirtyRead::new(Options { linearizable });
        let result = check(&mut checker, &served(&plays), &Unlimited);
        prop_assert_ne!(result.valid, Valid::False, "{}", result.reason);
    }

    #[test]
    fn whatever_reads_show_is_judged_by_the_definitions(
        plays in plays(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..20_i64, any::<bool>()), 0..4),
    ) {
        let mut events = served(&plays);
        let invoked: Vec<Value> = events.iter().map(|event| event.value.clone()).collect();
        let reads: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok && &*events[*at].f != "write")
            .collect();
        for (read, element, adds) in changes {
            let at = *read.get(&reads);
            let begun = (0..at).rev().find(|begun| events[*begun].process == events[at].process).unwrap();
            match &mut events[at].value {
                Value::Array(shown) if adds => shown.push(element.into()),
                Value::Array(shown) => shown.retain(|one| *one != element),
                one if adds => *one = invoked[begun].clone(),
                one => *one = Value::Null,
            }
        }
        let mut checker = DirtyRead::new(Options::default());
        let result = check(&mut checker, &events, &Unlimited);
        let expected = violates(&events, false, WORDS);
        prop_assert_eq!(result.valid == Valid::False, expected, "{}", result.reason);
        prop_assert_eq!(expected, !result.evidence.is_empty());
    }
}
