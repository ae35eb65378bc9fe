//! Records by hand, and by chance against all orders of what may have happened.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::budget::{Steps, Unlimited};
use crate::testing::{Asked, Line, Play, Served, history, operations, plays};
use crate::{Valid, check};

fn judge(events: &[Event]) -> CheckResult {
    check(&mut Divergence::new(), events, &Unlimited)
}

fn write(process: u64, value: i64, kind: &'static str) -> [Line<'static>; 2] {
    [
        (process, "invoke", "write", json!("x"), json!(value)),
        (process, kind, "write", json!("x"), json!(value)),
    ]
}

fn last(process: u64, found: Value) -> [Line<'static>; 2] {
    [
        (process, "invoke", FINAL_READ, json!("x"), Value::Null),
        (process, "ok", FINAL_READ, json!("x"), found),
    ]
}

fn versioned(value: i64, version: i64) -> Value {
    json!({"value": value, "version": version})
}

#[test]
fn nodes_that_agree_are_valid_and_those_that_do_not_are_told_apart() {
    let begun = [write(0, 1, "ok"), write(1, 2, "ok")].concat();
    let same = [&begun[..], &last(2, json!(2)), &last(3, json!(2))].concat();
    let result = judge(&history(&same));
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(
        result.reason,
        "all nodes agree on all 1 records, in 2 reads"
    );
    let differ = [&begun[..], &last(2, json!(2)), &last(3, json!(1))].concat();
    let mut events = history(&differ);
    events[5].node = Some("n1".into());
    events[7].node = Some("n2".into());
    let result = judge(&events);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(
        result.reason,
        "1 of 1 records are different on different nodes at the end"
    );
    let (text, named) = operations(&result)[0];
    assert_eq!(named, [4, 5, 6, 7]);
    assert!(
        text.contains("on n1, the read that began at event 4 and ended at event 5 finds 2; on n2"),
        "{text}"
    );
    // The last read of a node is what counts.
    events[7].node = Some("n1".into());
    let result = judge(&events);
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    assert!(
        result
            .reason
            .starts_with("of 1 records that were written, 1 were not read by two nodes")
    );
}

#[test]
fn a_write_that_nobody_knows_of_explains_a_change_but_none_back() {
    let begun = [write(0, 1, "ok"), write(1, 2, "info")].concat();
    let late = [&begun[..], &last(2, json!(1)), &last(3, json!(2))].concat();
    let result = judge(&history(&late));
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    assert!(
        result
            .reason
            .starts_with("1 records were read differently at the end"),
        "{}",
        result.reason
    );
    let back = [&begun[..], &last(2, json!(2)), &last(3, json!(1))].concat();
    let result = judge(&history(&back));
    assert_eq!(result.valid, Valid::False);
    assert!(
        operations(&result)[0]
            .0
            .ends_with("it cannot have come after the former.")
    );
    // Side by side, either may have come first.
    let mut beside = back;
    beside.swap(5, 6);
    assert_eq!(judge(&history(&beside)).valid, Valid::Unknown);
}

#[test]
fn one_version_has_one_value() {
    let begun = [write(0, 1, "ok"), write(1, 2, "ok")].concat();
    let mut lines = [
        &begun[..],
        &last(2, versioned(1, 5)),
        &last(3, versioned(2, 5)),
    ]
    .concat();
    lines[4].2 = "read";
    lines[5].2 = "read";
    let result = judge(&history(&lines));
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    assert_eq!(
        operations(&result)[0].0,
        "Version 5 of record \"x\" has two values: 1, by the operation that ended at event 5, and 2, by the one that ended at event 7."
    );
    let mut checker = Divergence::new();
    assert_eq!(checker.feed(&history(&lines), &Unlimited), Feed::Violation);
    // Two versions of one value in the end: a write was counted twice, or not everywhere.
    let lines = [
        &begun[..],
        &last(2, versioned(2, 2)),
        &last(3, versioned(2, 1)),
    ]
    .concat();
    assert_eq!(judge(&history(&lines)).valid, Valid::False);
    // Who does not say the version says nothing of it.
    let lines = [&begun[..], &last(2, versioned(2, 2)), &last(3, json!(2))].concat();
    assert_eq!(judge(&history(&lines)).valid, Valid::True);
    // A write may say which version it made.
    let mut lines = [
        &begun[..],
        &last(2, versioned(1, 2)),
        &last(3, versioned(1, 2)),
    ]
    .concat();
    lines[3].4 = versioned(2, 2);
    let result = judge(&history(&lines));
    assert_eq!(
        result.details["version-divergent-count"], 2,
        "{}",
        result.reason
    );
}

#[test]
fn what_was_never_there_and_what_is_gone_are_found() {
    let begun = [write(0, 1, "ok"), write(1, 2, "fail")].concat();
    let end = |value: Value| [last(2, value.clone()), last(3, value)].concat();
    for (found, why) in [
        (json!(1), ""),
        (json!(2), "1 values were read although their writes failed"),
        (json!(3), "1 values were read that nobody had written"),
        (Value::Null, "1 records are not there at the end"),
    ] {
        let result = judge(&history(&[&begun[..], &end(found)].concat()));
        assert_eq!(
            result.valid == Valid::False,
            !why.is_empty(),
            "{}",
            result.reason
        );
        assert!(
            result.reason.starts_with(why) || why.is_empty(),
            "{}",
            result.reason
        );
        assert_eq!(result.evidence.len(), usize::from(!why.is_empty()));
    }
}

#[test]
fn what_is_no_such_history_is_unknown() {
    let lines: [Line<'_>; 1] = [(0, "invoke", "delete", json!("x"), Value::Null)];
    let result = judge(&history(&lines));
    assert!(
        result
            .reason
            .contains("a record has write, read and final-read, not delete"),
        "{}",
        result.reason
    );
    let lines = [write(0, 1, "info"), last(0, json!(1)), last(1, json!(1))].concat();
    let result = judge(&history(&lines));
    assert!(
        result.reason.starts_with("no write was acknowledged"),
        "{}",
        result.reason
    );
    let result = check(
        &mut Divergence::new(),
        &history(&lines),
        &Steps::new(100, 10),
    );
    assert_eq!(result.reason, "memory limit reached");
}

/// Two records, versions of which are told now and then.
fn served(plays: &[Play], versions: bool) -> Vec<Event> {
    let mut next = 0;
    let mut ask = |play: &Play| -> Asked {
        let key = Some(i64::from(play.what % 2));
        match play.what < 140 {
            true => {
                next += 1;
                // Some values are written twice.
                ("write", key, json!(next - next / 4))
            }
            false => ("read", key, Value::Null),
        }
    };
    let state: [(Value, i64); 2] = [(Value::Null, 0), (Value::Null, 0)];
    let served = Served {
        state,
        is_read: |f| f != "write",
        ask: &mut ask,
        run: &|state, (f, key, value)| {
            let record = &mut state[key.unwrap() as usize];
            match *f {
                "write" => {
                    *record = (value.clone(), record.1 + 1);
                    value.clone()
                }
                _ if versions && record.1 > 0 => json!({"value": record.0, "version": record.1}),
                _ => record.0.clone(),
            }
        },
    };
    let last = [
        (FINAL_READ, Some(0), Value::Null),
        (FINAL_READ, Some(1), Value::Null),
    ];
    served.play(plays, &last)
}

/// What there is to know of a record: writes with their outcomes, and the last reads of nodes.
struct Story {
    writes: Vec<(i64, u64, Option<EventType>)>,
    ended: u64,
    finals: Vec<(u64, u64, Option<i64>)>,
    shown: Vec<(u64, i64)>,
}

fn story(events: &[Event], key: i64) -> Story {
    let mine: Vec<&Event> = events
        .iter()
        .filter(|event| event.key == Some(json!(key)))
        .collect();
    let end = |begun: &Event| {
        let mut later = mine.iter().filter(|event| event.index > begun.index);
        later.find(|event| event.process == begun.process).copied()
    };
    let mut story = Story {
        writes: Vec::new(),
        ended: 0,
        finals: Vec::new(),
        shown: Vec::new(),
    };
    let mut by_node: BTreeMap<Option<Name>, (u64, u64, Option<i64>)> = BTreeMap::new();
    for begun in mine.iter().filter(|event| event.kind == EventType::Invoke) {
        let ended = end(begun);
        if &*begun.f == "write" {
            let kind = ended.map(|event| event.kind);
            story
                .writes
                .push((begun.value.as_i64().unwrap(), begun.index, kind));
            story.ended = story.ended.max(ended.map_or(0, |event| event.index));
        }
    }
    for begun in mine.iter().filter(|event| event.kind == EventType::Invoke) {
        let Some(ended) =
            end(begun).filter(|event| event.kind == EventType::Ok && &*begun.f != "write")
        else {
            continue;
        };
        story
            .shown
            .extend(ended.value.as_i64().map(|value| (ended.index, value)));
        if &*begun.f == FINAL_READ && begun.index > story.ended {
            by_node.insert(
                ended.node.clone(),
                (begun.index, ended.index, ended.value.as_i64()),
            );
        }
    }
    story.finals = by_node.into_values().collect();
    story
}

/// Whether the record can have held what the final reads found, one after another in some order: it held anything at first, and each
/// write of unknown outcome may have happened at any time.
fn is_possible(story: &Story) -> bool {
    let unknown = story
        .writes
        .iter()
        .filter(|(_, _, kind)| !matches!(kind, Some(EventType::Ok | EventType::Fail)));
    let unknown: BTreeSet<i64> = unknown.map(|(value, ..)| *value).collect();
    // With few reads, all their orders.
    fn orders(left: &[(u64, u64, Option<i64>)]) -> Vec<Vec<(u64, u64, Option<i64>)>> {
        if left.is_empty() {
            return vec![Vec::new()];
        }
        let firsts = left
            .iter()
            .filter(|one| !left.iter().any(|other| other.1 < one.0));
        firsts
            .flat_map(|first| {
                let rest: Vec<_> = left.iter().filter(|one| *one != first).copied().collect();
                orders(&rest).into_iter().map(move |mut order| {
                    order.insert(0, *first);
                    order
                })
            })
            .collect()
    }
    orders(&story.finals).iter().any(|order| {
        order.windows(2).all(|pair| {
            pair[0].2 == pair[1].2 || pair[1].2.is_some_and(|value| unknown.contains(&value))
        })
    })
}

proptest! {
    #[test]
    fn records_that_are_the_same_everywhere_are_never_flagged(plays in plays(), versions: bool) {
        let result = judge(&served(&plays, versions));
        prop_assert_ne!(result.valid, Valid::False, "{}", result.reason);
    }

    #[test]
    fn whatever_reads_find_is_judged_by_what_may_have_happened(
        plays in plays(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), -1..20_i64), 0..4),
        overlap: bool,
    ) {
        let mut events = served(&plays, false);
        let reads: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok && &*events[*at].f != "write")
            .collect();
        for (read, value) in changes {
            events[*read.get(&reads)].value = if value < 0 { Value::Null } else { value.into() };
        }
        if overlap {
            // The two final reads of the first record go on at once.
            let last = events.split_off(events.len() - 8);
            events.extend([0, 4, 1, 5, 2, 3, 6, 7].map(|at: usize| last[at].clone()));
            (0..).zip(&mut events).for_each(|(index, event)| event.index = index);
        }
        let result = judge(&events);
        let stories = [0, 1].map(|key| story(&events, key));
        let divergent = stories.iter().filter(|story| !is_possible(story)).count();
        prop_assert_eq!(result.details["divergent-count"].as_u64(), Some(divergent as u64), "{}", result.reason);
        let else_wrong = stories.iter().any(|story| {
            let acknowledged = story.writes.iter().any(|write| write.2 == Some(EventType::Ok));
            let lost = acknowledged && story.finals.iter().any(|last| last.2.is_none());
            let odd = story.shown.iter().any(|(at, value)| {
                let mut writes = story.writes.iter().filter(|write| write.0 == *value);
                let first = story.shown.iter().filter(|shown| shown.1 == *value).map(|shown| shown.0).min();
                let begun = writes.clone().any(|write| Some(write.1) < first);
                !begun && Some(*at) == first || writes.all(|write| write.2 == Some(EventType::Fail))
            });
            lost || odd
        });
        prop_assert_eq!(result.valid == Valid::False, divergent > 0 || else_wrong, "{}", result.reason);
        prop_assert_eq!(result.valid == Valid::False, !result.evidence.is_empty());
    }

    #[test]
    fn a_version_that_is_another_value_somewhere_is_found(plays in plays(), which in any::<prop::sample::Index>()) {
        let mut events = served(&plays, true);
        let reads: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok && events[*at].value.is_object())
            .collect();
        prop_assume!(!reads.is_empty());
        let at = *which.get(&reads);
        let (key, version) = (events[at].key.clone(), events[at].value["version"].clone());
        let others = reads.iter().filter(|other| {
            **other != at && events[**other].key == key && events[**other].value["version"] == version
        });
        let is_seen = others.count() > 0;
        events[at].value["value"] = json!(-1);
        let result = judge(&events);
        prop_assert_eq!(result.details["version-divergent-count"].as_u64() > Some(0), is_seen);
    }
}
