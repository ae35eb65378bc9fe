//! Documents by hand, and by chance against the definitions of sets.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use store::{Event, EventType};

use super::*;
use crate::budget::Unlimited;
use crate::set_full::tests::violates;
use crate::testing::{Asked, Line, Play, Served, history, operations, plays};
use crate::{Valid, check};

/// Two that read the same version, and both wrote.
#[test]
fn an_element_that_another_one_overwrote_is_lost() {
    let lines: [Line<'_>; 8] = [
        (0, "invoke", "add", json!(7), json!(1)),
        (1, "invoke", "add", json!(7), json!(2)),
        (0, "ok", "add", json!(7), json!(1)),
        (1, "ok", "add", json!(7), json!(2)),
        (0, "invoke", "read", json!(7), Value::Null),
        (0, "ok", "read", json!(7), json!([1])),
        (1, "invoke", FINAL_READ, json!(7), Value::Null),
        (1, "ok", FINAL_READ, json!(7), json!([2])),
    ];
    let judge = |lines: &[Line<'_>], linearizable| {
        let mut checker = new(Options { linearizable });
        check(&mut checker, &history(lines), &Unlimited)
    };
    let result = judge(&lines, false);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(result.details["lost-count"], 1);
    assert_eq!(result.details["vanished-count"], 1);
    assert_eq!(operations(&result)[0].1, [0, 2, 4, 5, 6, 7]);
    // A read before the end may be behind, if that is allowed.
    let result = judge(&lines[..6], false);
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    assert_eq!(judge(&lines[..6], true).valid, Valid::False);
}

/// Three documents; all elements are different.
fn served(plays: &[Play]) -> Vec<Event> {
    let mut next = 0;
    let mut ask = |play: &Play| -> Asked {
        let key = Some(i64::from(play.what % 3));
        match play.what < 150 {
            true => {
                next += 1;
                ("add", key, json!(next))
            }
            false => ("read", key, Value::Null),
        }
    };
    let served = Served {
        state: BTreeMap::<i64, Vec<i64>>::new(),
        is_read: |f| f != "add",
        ask: &mut ask,
        run: &|state, (f, key, value)| {
            let document = state.entry(key.unwrap()).or_default();
            match *f {
                "add" => {
                    document.push(value.as_i64().unwrap());
                    value.clone()
                }
                _ => json!(document),
            }
        },
    };
    let last = (0..3).map(|key| (FINAL_READ, Some(key), Value::Null));
    served.play(plays, &last.collect::<Vec<_>>())
}

fn judge(events: &[Event], linearizable: bool) -> crate::CheckResult {
    check(&mut new(Options { linearizable }), events, &Unlimited)
}

proptest! {
    #[test]
    fn documents_that_are_linearizable_are_never_flagged(plays in plays()) {
        let result = judge(&served(&plays), true);
        prop_assert_ne!(result.valid, Valid::False, "{}", result.reason);
    }

    #[test]
    fn whatever_reads_show_is_judged_key_by_key(
        plays in plays(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..20_i64, any::<bool>()), 0..4),
        linearizable: bool,
    ) {
        let mut events = served(&plays);
        let reads: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok && events[*at].value.is_array())
            .collect();
        for (read, element, adds) in changes {
            let shown = events[*read.get(&reads)].value.as_array_mut().unwrap();
            match adds {
                true => shown.push(element.into()),
                false => shown.retain(|one| *one != element),
            }
        }
        let expected = (0..3).any(|key| {
            let mine = events.iter().filter(|event| event.key == Some(json!(key)));
            violates(&mine.cloned().collect::<Vec<_>>(), linearizable, WORDS)
        });
        let result = judge(&events, linearizable);
        prop_assert_eq!(result.valid == Valid::False, expected, "{}", result.reason);
    }
}
