//! A violation is noticed at the event that shows it, and never otherwise.

use checkers::budget::Unlimited;
use checkers::transactions::models::find;
use checkers::transactions::{Assumptions, ListAppend, Options, RwRegister};
use checkers::{CheckResult, Checker, Feed, Valid, check};
use serde_json::json;
use store::Event;
use store::EventType::{Invoke, Ok};

use crate::dice::Dice;
use crate::oracle::{Manners, cases, events, simulate, sloppy};
use crate::stores::serial;
use crate::support::{event, history, judge, proved};

const LEVELS: [&str; 9] = [
    "strict-serializable",
    "strong-session-serializable",
    "serializable",
    "strong-snapshot-isolation",
    "snapshot-isolation",
    "repeatable-read",
    "consistent-view",
    "read-committed",
    "strong-read-uncommitted",
];

fn lists(level: &str) -> ListAppend {
    ListAppend::new(Options {
        consistency: find(level).unwrap(),
    })
}

/// After how many events a checker that is in a hurry notices a violation, with its verdict, which is proved again from these events; or
/// `None`, with the verdict at the end.
fn follow(mut checker: impl Checker, history: &[Event]) -> (Option<usize>, CheckResult) {
    checker.hurry();
    let mut noticed = None;
    for (at, event) in (1..).zip(history) {
        match checker.feed(std::slice::from_ref(event), &Unlimited) {
            Feed::Continue => {}
            Feed::Violation => {
                noticed = Some(at);
                break;
            }
            Feed::Exhausted => panic!("there is no limit"),
        }
    }
    let result = checker.finish(&Unlimited);
    proved(&result, &history[..noticed.unwrap_or(history.len())]);
    assert!(noticed.is_none() || result.valid == Valid::False);
    (noticed, result)
}

/// After how many events a violation is noticed, if it is before the end.
fn online(checker: impl Checker, history: &[Event]) -> Option<(usize, CheckResult)> {
    let (noticed, result) = follow(checker, history);
    noticed.map(|at| (at, result))
}

/// How many events are a violation for the first time.
fn first_invalid(events: &[Event], level: &str) -> Option<usize> {
    let is_invalid = |count: usize| {
        let result = check(&mut lists(level), &events[..count], &Unlimited);
        result.valid == Valid::False
    };
    // What is invalid remains so.
    let (mut valid, mut invalid) = (0, events.len());
    if !is_invalid(invalid) {
        return None;
    }
    while valid + 1 < invalid {
        let middle = valid.midpoint(invalid);
        match is_invalid(middle) {
            true => invalid = middle,
            false => valid = middle,
        }
    }
    Some(invalid)
}

/// Whether a violation was noticed later than it could have been, or only at the end: at snapshot isolation and consistent view, where
/// it hangs on the order of appends that nobody had read.
fn is_late(noticed: Option<usize>, first: Option<usize>, level: &str) -> bool {
    (level.ends_with("snapshot-isolation") || level == "consistent-view")
        && first.is_some_and(|first| noticed.is_none_or(|at| at > first))
}

#[test]
fn a_violation_is_noticed_at_the_event_that_shows_it() {
    let (mut found, mut late) = (0, 0);
    for seed in 1..=cases(900) {
        let events = events(&sloppy(&mut Dice::new(seed), 8));
        let level = LEVELS[seed as usize % LEVELS.len()];
        let noticed = online(lists(level), &events).map(|(at, _)| at);
        found += u64::from(noticed.is_some());
        let first = first_invalid(&events, level);
        if is_late(noticed, first, level) {
            late += 1;
            continue;
        }
        assert_eq!(noticed, first, "seed {seed}, {level}");
    }
    assert!(found * 10 > cases(900), "{found}");
    assert!(late * 20 < found, "{late} of {found}");
}

#[test]
fn a_violation_that_is_a_shape_is_noticed_when_it_is_there_and_at_the_end_at_the_latest() {
    let levels = [
        "parallel-snapshot-isolation",
        "prefix",
        "update-serializable",
        "update-atomic",
        "causal",
        "read-atomic",
        "strong-session-monotonic-atomic-view",
        "monotonic-view",
        "cursor-stability",
    ];
    let [mut at_once, mut later, mut at_the_end] = [0; 3];
    for seed in 1..=cases(900) {
        let manners = Manners {
            present: 40,
            steady: 85,
            ok: 95,
            late: 6,
        };
        let events = events(&simulate(&mut Dice::new(seed), 8, manners));
        let level = levels[seed as usize % levels.len()];
        let (noticed, result) = follow(lists(level), &events);
        let first = first_invalid(&events, level);
        match (noticed, first) {
            (Some(noticed), Some(first)) if noticed == first => at_once += 1,
            (Some(noticed), Some(first)) if noticed > first => later += 1,
            (None, Some(_)) => at_the_end += 1,
            (None, None) => {}
            _ => panic!("seed {seed}, {level}: {noticed:?} {first:?}"),
        }
        let whole = check(&mut lists(level), &events, &Unlimited);
        assert!(noticed.is_some() || result.valid == whole.valid, "{seed}");
    }
    eprintln!("noticed at once {at_once}, later {later}, at the end {at_the_end}");
    assert!(
        at_once > 5 * (later + at_the_end),
        "{at_once} {later} {at_the_end}"
    );
}

#[test]
fn late_reads_of_a_larger_store_are_noticed_at_once() {
    let (mut found, mut later) = (0, 0);
    for seed in 1..=30 {
        let mut dice = Dice::new(seed);
        let (clients, keys) = (1 + dice.below(10), 1 + dice.below(8));
        let late = [0, 1, 5][seed as usize % 3];
        let events = serial(&mut dice, 400, clients, keys, late);
        for level in ["strict-serializable", "serializable", "snapshot-isolation"] {
            let noticed = online(lists(level), &events).map(|(at, _)| at);
            found += u64::from(noticed.is_some());
            assert!(late > 0 || noticed.is_none());
            let first = first_invalid(&events, level);
            if is_late(noticed, first, level) {
                later += 1;
                continue;
            }
            assert_eq!(noticed, first, "seed {seed}, {level}");
        }
    }
    assert!(found > 15, "{found}");
    assert!(later < 5, "{later} of {found}");
}

#[test]
fn what_nobody_wrote_might_still_be_written() {
    let events = history("0 invoke x?\n0 ok x=7\n1 invoke y+1\n1 ok y+1\n0 invoke y?\n0 ok y=1");
    assert_eq!(judge(&events, "read-committed").valid, Valid::False);
    assert!(online(lists("read-committed"), &events).is_none());
    // Something else is wrong too.
    let more = [
        &events[..],
        &history("0 invoke z?\n1 invoke z+1\n1 fail z+1\n0 ok z=1"),
    ]
    .concat();
    let more: Vec<Event> = (0..)
        .zip(more)
        .map(|(index, event)| Event { index, ..event })
        .collect();
    assert_eq!(online(lists("read-committed"), &more).unwrap().0, 10);
}

/// Transactions of two processes in turn, each of which writes a key and reads another; one reads what is long gone.
pub(crate) fn registers(count: u64, late: u64) -> Vec<Event> {
    let mut held = [serde_json::Value::Null, serde_json::Value::Null];
    let mut events = Vec::new();
    for at in 0..count {
        let (writes, reads) = (at as usize % 2, (at as usize + 1) % 2);
        held[writes] = at.into();
        let read = if at == late {
            &json!(late - 9)
        } else {
            &held[reads]
        };
        let asked = json!([["w", writes, at], ["r", reads, null]]);
        events.push(event(2 * at, at % 2, Invoke, asked));
        let told = json!([["w", writes, at], ["r", reads, read]]);
        events.push(event(2 * at + 1, at % 2, Ok, told));
    }
    events
}

#[test]
fn of_registers_a_violation_is_noticed_when_the_history_has_grown_by_a_half() {
    let checker = |level: &str| {
        let consistency = find(level).unwrap();
        RwRegister::new(Options { consistency }, Assumptions::default())
    };
    let level = "strong-session-causal-cerone";
    assert!(online(checker(level), &registers(3000, u64::MAX)).is_none());
    for late in [20, 1500, 2500] {
        let (at, _) = online(checker(level), &registers(4000, late)).unwrap();
        let begun = 2 * late as usize;
        assert!(at > begun && at <= 2049.max(begun * 3 / 2), "{late} {at}");
    }
}
