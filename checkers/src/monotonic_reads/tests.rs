//! Sessions by hand, and by chance against all pairs of their reads.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use store::Process;

use super::*;
use crate::budget::{Steps, Unlimited};
use crate::check;
use crate::testing::{Asked, Line, Play, Served, history, operations, plays};

fn read(process: u64, shown: &[i64]) -> [Line<'static>; 2] {
    [
        (process, "invoke", "read", Value::Null, Value::Null),
        (process, "ok", "read", Value::Null, json!(shown)),
    ]
}

fn judge(lines: &[Line<'_>]) -> CheckResult {
    check(&mut new(), &history(lines), &Unlimited)
}

#[test]
fn reads_that_go_on_are_valid() {
    let lines = [
        read(0, &[]),
        read(0, &[2, 1]),
        read(1, &[1]),
        read(0, &[1, 2, 3]),
    ]
    .concat();
    let result = judge(&lines);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(
        result.reason,
        "each of 1 reads shows all that the one before in its session showed"
    );
}

#[test]
fn a_read_that_goes_back_is_told_with_the_one_before() {
    let lines = [read(0, &[1, 2, 3]), read(1, &[]), read(0, &[2, 4])].concat();
    let result = judge(&lines);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(
        operations(&result),
        [(
            "The reads of process 0 went back. The one that ended at event 1 shows 1, 3; its next one, which began at event 4 and ended at \
             event 5, does not, and nothing is ever taken away.",
            &[0, 1, 4, 5][..]
        )]
    );
    let mut checker = new();
    assert_eq!(checker.feed(&history(&lines), &Unlimited), Feed::Violation);
}

#[test]
fn sessions_are_each_their_own_and_failed_reads_say_nothing() {
    let lines = [read(0, &[1, 2]), read(1, &[1]), read(2, &[])].concat();
    let result = judge(&lines);
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    assert!(
        result.reason.starts_with("no session read something"),
        "{}",
        result.reason
    );
    let mut failed = read(0, &[]);
    failed[1].1 = "fail";
    let lines = [read(0, &[1, 2]), failed, read(0, &[1, 2])].concat();
    assert_eq!(judge(&lines).valid, Valid::True);
}

#[test]
fn what_is_no_set_is_unknown() {
    let pop: Line<'_> = (0, "invoke", "pop", Value::Null, Value::Null);
    let lines = [&[pop][..], &read(0, &[1]), &read(0, &[1])].concat();
    let result = judge(&lines);
    assert!(
        result.reason.contains("event 0 is not of a set"),
        "{}",
        result.reason
    );
    let lines = history(&[read(0, &[1]), read(0, &[1])].concat());
    let result = check(&mut new(), &lines, &Steps::new(0, 1_000_000));
    assert_eq!(result.reason, "time limit reached");
}

fn served(plays: &[Play]) -> Vec<Event> {
    let mut next = 0;
    let mut ask = |play: &Play| -> Asked {
        let key = Some(i64::from(play.what % 2));
        match play.what < 100 {
            true => {
                next += 1;
                ("add", key, json!(next))
            }
            false => ("read", key, Value::Null),
        }
    };
    let served = Served {
        state: [const { Vec::<i64>::new() }; 2],
        is_read: |f| f != "add",
        ask: &mut ask,
        run: &|state, (f, key, value)| {
            let set = &mut state[key.unwrap() as usize];
            match *f {
                "add" => {
                    set.push(value.as_i64().unwrap());
                    value.clone()
                }
                _ => json!(set),
            }
        },
    };
    let last = [
        (FINAL_READ, Some(0), Value::Null),
        (FINAL_READ, Some(1), Value::Null),
    ];
    served.play(plays, &last)
}

/// All pairs of reads of one process on one key.
fn goes_back(events: &[Event]) -> bool {
    let reads = events
        .iter()
        .filter(|event| event.kind == EventType::Ok && event.value.is_array());
    let reads: Vec<&Event> = reads.collect();
    let pairs = reads
        .iter()
        .flat_map(|one| reads.iter().map(move |other| (one, other)));
    let mut same = pairs.filter(|(one, other)| {
        one.process == other.process && one.key == other.key && one.index < other.index
    });
    same.any(|(one, other)| {
        let later = other.value.as_array().unwrap();
        let mut shown = one.value.as_array().unwrap().iter();
        shown.any(|element| !later.contains(element))
    })
}

proptest! {
    #[test]
    fn whatever_reads_show_is_judged_pair_by_pair(
        plays in plays(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..20_i64), 0..3),
    ) {
        let mut events = served(&plays);
        let result = check(&mut new(), &events, &Unlimited);
        prop_assert_ne!(result.valid, Valid::False, "{}", result.reason);
        let reads: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].kind == EventType::Ok && events[*at].value.is_array())
            .collect();
        for (read, element) in changes {
            let shown = events[*read.get(&reads)].value.as_array_mut().unwrap();
            shown.retain(|one| *one != element);
        }
        let result = check(&mut new(), &events, &Unlimited);
        prop_assert_eq!(result.valid == Valid::False, goes_back(&events), "{}", result.reason);
        for (_, named) in operations(&result) {
            let few: Vec<Event> = named.iter().map(|index| events[*index as usize].clone()).collect();
            prop_assert!(goes_back(&few), "{:?}", few);
            prop_assert!(few.iter().all(|event| event.process == few[0].process));
            prop_assert!(matches!(few[0].process, Process::Client(_)));
        }
    }
}
