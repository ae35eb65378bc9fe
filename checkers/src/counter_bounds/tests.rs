//! Counters by hand, and by chance against all choices of additions.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::budget::{Steps, Unlimited};
use crate::check;
use crate::testing::{Asked, Line, Play, Served, history, operations, plays};

const LINEARIZABLE: Options = Options {
    initial: 0,
    linearizable: true,
};

fn line(process: u64, kind: &'static str, f: &'static str, value: Value) -> Line<'static> {
    (process, kind, f, Value::Null, value)
}

/// An addition that ended somehow.
fn add(process: u64, amount: i64, kind: &'static str) -> [Line<'static>; 2] {
    [
        line(process, "invoke", "add", json!(amount)),
        line(process, kind, "add", json!(amount)),
    ]
}

fn read(f: &'static str, found: Value) -> [Line<'static>; 2] {
    [line(9, "invoke", f, Value::Null), line(9, "ok", f, found)]
}

fn judge(options: Options, lines: &[Line<'_>]) -> CheckResult {
    check(&mut new(options), &history(lines), &Unlimited)
}

#[test]
fn what_was_added_is_there() {
    let lines = [add(0, 3, "ok"), add(0, -1, "ok"), read("read", json!(2))].concat();
    let result = judge(LINEARIZABLE, &lines);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(
        result.reason,
        "all 1 reads are within what 2 acknowledged and 0 unknown additions allow"
    );
    let begun = Options {
        initial: 7,
        ..LINEARIZABLE
    };
    let result = judge(begun, &lines);
    assert_eq!(result.valid, Valid::False);
    let lines = [add(0, 3, "ok"), read("read", json!(10))].concat();
    assert_eq!(judge(begun, &lines).valid, Valid::True);
}

#[test]
fn unknown_additions_widen_the_bounds_of_all_later_reads() {
    let begun = [add(0, 3, "ok"), add(1, 2, "info"), add(2, -4, "info")].concat();
    for found in -2..7_i64 {
        for f in ["read", FINAL_READ] {
            let lines = [&begun[..], &read(f, json!(found))].concat();
            let expected = match (-1..=5).contains(&found) {
                true => Valid::True,
                false => Valid::False,
            };
            let result = judge(LINEARIZABLE, &lines);
            assert_eq!(result.valid, expected, "{found}: {}", result.reason);
        }
    }
}

#[test]
fn an_addition_that_failed_is_counted_by_no_read_though_it_was_under_way() {
    let lines = |kind| {
        let mut lines = [add(0, 1, "ok"), add(1, 2, kind)].concat();
        lines.extend(read("read", json!(3)));
        // The read comes while it goes on.
        let ended = lines.remove(3);
        lines.push(ended);
        lines
    };
    for kind in ["ok", "info"] {
        assert_eq!(judge(LINEARIZABLE, &lines(kind)).valid, Valid::True);
    }
    let result = judge(Options::default(), &lines("fail"));
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    let (text, events) = operations(&result)[0];
    assert_eq!(events, [3, 4]);
    assert!(
        text.starts_with("The read that began at event 3 and ended at event 4 finds 3."),
        "{text}"
    );
    assert!(text.contains("it is between 0 and 1 whichever"), "{text}");
}

#[test]
fn reads_may_be_behind_until_the_end_unless_it_is_linearizable() {
    let begun = add(0, 3, "ok");
    let late = [&begun[..], &read("read", json!(0))].concat();
    let result = judge(Options::default(), &late);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(result.details["stale-count"], 1);
    let result = judge(LINEARIZABLE, &late);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(
        result.reason,
        "1 reads are behind or ahead of what was acknowledged (by up to 3)"
    );
    let last = [&begun[..], &read(FINAL_READ, json!(0))].concat();
    let result = judge(Options::default(), &last);
    assert_eq!(result.valid, Valid::False);
    assert!(
        operations(&result)[0]
            .0
            .ends_with("All additions had ended when it began.")
    );
    // Not if others were still adding.
    let going_on = [&last[..], &add(0, 1, "ok")].concat();
    assert_eq!(judge(Options::default(), &going_on).valid, Valid::True);
}

/// The incumbent's sums are of 64 bits, and its amounts not negative.
#[test]
fn no_amount_is_too_large_or_too_small() {
    let large = i64::MAX;
    let begun = [add(0, large, "ok"), add(0, large, "ok"), add(0, 1, "ok")].concat();
    let right = [&begun[..], &read("read", json!(u64::MAX))].concat();
    assert_eq!(judge(LINEARIZABLE, &right).valid, Valid::True);
    let wrapped = [&begun[..], &read(FINAL_READ, json!(-1))].concat();
    let result = judge(Options::default(), &wrapped);
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    let down = [add(0, i64::MIN, "ok"), add(0, i64::MIN, "info")].concat();
    let down = [&down[..], &read("read", json!(i64::MIN))].concat();
    assert_eq!(judge(LINEARIZABLE, &down).valid, Valid::True);
}

#[test]
fn what_is_no_counter_is_unknown() {
    for (f, value, why) in [
        ("add", json!(1.5), "a whole number is added, not 1.5"),
        (
            "pop",
            Value::Null,
            "a counter has add, read and final-read, not pop",
        ),
    ] {
        let lines = [&[line(0, "invoke", f, value)][..], &read("read", json!(0))].concat();
        let result = judge(LINEARIZABLE, &lines);
        assert_eq!(result.valid, Valid::Unknown);
        assert!(result.reason.contains(why), "{}", result.reason);
    }
    let result = judge(LINEARIZABLE, &read("read", json!("x")));
    assert!(
        result.reason.contains("a read returns a whole number"),
        "{}",
        result.reason
    );
    let result = judge(LINEARIZABLE, &add(0, 1, "ok"));
    assert!(
        result.reason.starts_with("no read ended ok"),
        "{}",
        result.reason
    );
    let lines = history(&[add(0, 1, "ok"), read("read", json!(1))].concat());
    let result = check(&mut new(LINEARIZABLE), &lines, &Steps::new(1_000, 200));
    assert_eq!(result.reason, "memory limit reached");
}

fn served(plays: &[Play]) -> Vec<Event> {
    let mut ask = |play: &Play| -> Asked {
        match play.what {
            0..170 => ("add", None, json!(i64::from(play.what % 7) - 3)),
            _ => ("read", None, Value::Null),
        }
    };
    let served = Served {
        state: 0_i64,
        is_read: |f| f != "add",
        ask: &mut ask,
        run: &|state, (f, _, value)| match *f {
            "add" => {
                *state += value.as_i64().unwrap();
                value.clone()
            }
            _ => json!(*state),
        },
    };
    served.play(plays, &[(FINAL_READ, None, Value::Null)])
}

/// Whether a read finds less than the least choice of additions makes, or more than the greatest.
fn is_violation(events: &[Event], linearizable: bool) -> bool {
    let end = |at: usize| {
        let mut later = events[at + 1..].iter();
        later.find(|event| event.process == events[at].process)
    };
    let begun = (0..events.len()).filter(|at| events[*at].kind == EventType::Invoke);
    let (adds, reads): (Vec<usize>, Vec<usize>) = begun.partition(|at| &*events[*at].f == "add");
    let last_add = adds
        .iter()
        .filter_map(|at| end(*at))
        .map(|event| event.index)
        .max();
    reads.into_iter().any(|at| {
        let Some(ended) = end(at).filter(|event| event.kind == EventType::Ok) else {
            return false;
        };
        // What it must count, and what it may.
        let (mut must, mut may, mut all) = (0, Vec::new(), Vec::new());
        for add in &adds {
            let amount = events[*add].value.as_i64().unwrap();
            let kind = end(*add).map(|event| (event.kind, event.index));
            if matches!(kind, Some((EventType::Fail, _))) || events[*add].index > ended.index {
                continue;
            }
            all.push(amount);
            match kind {
                Some((EventType::Ok, index)) if index < events[at].index => must += amount,
                _ => may.push(amount),
            }
        }
        let out = |must: i64, may: &[i64]| {
            let mut sums = vec![must];
            for amount in may {
                let with: Vec<i64> = sums.iter().map(|sum| sum + amount).collect();
                sums.extend(with);
                sums.sort_unstable();
                sums.dedup();
            }
            let found = ended.value.as_i64().unwrap();
            found < sums[0] || found > sums[sums.len() - 1]
        };
        let is_final =
            &*ended.f == FINAL_READ && last_add.is_none_or(|last| last < events[at].index);
        out(0, &all) || (linearizable || is_final) && out(must, &may)
    })
}

proptest! {
    #[test]
    fn a_counter_that_counts_is_never_flagged(plays in plays()) {
        let result = check(&mut new(LINEARIZABLE), &served(&plays), &Unlimited);
        prop_assert_ne!(result.valid, Valid::False, "{}", result.reason);
    }

    #[test]
    fn whatever_reads_find_is_judged_by_all_choices(
        plays in plays(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), -9..10_i64), 0..4),
        linearizable: bool,
        last_reads in 0..3_usize,
    ) {
        let mut events = served(&plays);
        events.truncate(events.len() - 2 * last_reads);
        let reads: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok && &*events[*at].f != "add")
            .collect();
        for (read, by) in changes.into_iter().filter(|_| !reads.is_empty()) {
            let found = &mut events[*read.get(&reads)].value;
            *found = (found.as_i64().unwrap() + by).into();
        }
        let options = Options { initial: 0, linearizable };
        let result = check(&mut new(options), &events, &Unlimited);
        prop_assert_eq!(result.valid == Valid::False, is_violation(&events, linearizable), "{}", result.reason);
        prop_assert_eq!(result.valid == Valid::False, !result.evidence.is_empty());
        // The same event by event.
        let mut slow = new(options);
        for event in &events {
            slow.feed(std::slice::from_ref(event), &Unlimited);
        }
        prop_assert_eq!(slow.finish(&Unlimited), result);
    }
}
