//! Small histories by hand, and many by chance against a judge that reads the definitions word by word.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use store::{Event, EventType, Process};

use super::*;
use crate::budget::{Steps, Unlimited};
use crate::{Evidence, check};

/// Events from lines such as `0 invoke add 7`, `1 ok read 1,2`, `1 info add 7`.
fn history(lines: &[&str]) -> Vec<Event> {
    (0..)
        .zip(lines)
        .map(|(index, line)| parse(index, line))
        .collect()
}

fn parse(index: u64, line: &str) -> Event {
    let words: Vec<&str> = line.split(' ').collect();
    let kind: EventType = serde_json::from_value(words[1].into()).unwrap();
    let value = match (words[2], words.get(3)) {
        ("read" | FINAL_READ, None) if kind == EventType::Ok => json!([]),
        ("read" | FINAL_READ, None) => Value::Null,
        ("read" | FINAL_READ, Some(all)) => all
            .split(',')
            .map(|one| one.parse::<i64>().unwrap())
            .collect(),
        (_, Some(one)) => one.parse::<i64>().unwrap().into(),
        _ => Value::Null,
    };
    Event {
        index,
        time: index * 1_000_000,
        process: Process::Client(words[0].parse().unwrap()),
        kind,
        f: words[2].into(),
        key: None,
        value,
        error: None,
        node: None,
    }
}

fn judge(lines: &[&str], linearizable: bool) -> CheckResult {
    check(
        &mut SetFull::of_any(Options { linearizable }),
        &history(lines),
        &Unlimited,
    )
}

fn evidence(result: &CheckResult) -> Vec<(&str, &[u64])> {
    let operations = result.evidence.iter().map(|evidence| match evidence {
        Evidence::Operations(operations) => {
            (operations.explanation.as_str(), &operations.events[..])
        }
        other => panic!("{other:?}"),
    });
    operations.collect()
}

const ADDED: [&str; 4] = [
    "0 invoke add 1",
    "0 ok add 1",
    "0 invoke add 2",
    "0 ok add 2",
];

fn after_added(more: &[&str], linearizable: bool) -> CheckResult {
    judge(&[&ADDED, more].concat(), linearizable)
}

#[test]
fn what_is_there_is_valid() {
    let result = after_added(&["0 invoke read", "0 ok read 2,1"], true);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(
        result.reason,
        "all 2 acknowledged elements are there, in 1 reads"
    );
    assert_eq!(result.details["stable-count"], 2);
    assert_eq!(result.details["stable-latencies-ms"]["100"], 0);
}

#[test]
fn what_is_not_there_is_lost_with_its_add_and_the_read() {
    let result = after_added(&["0 invoke read", "0 ok read 2"], false);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(
        result.reason,
        "1 of 2 acknowledged or read elements are lost (1)"
    );
    let told = evidence(&result);
    assert_eq!(told.len(), 1);
    assert!(
        told[0]
            .0
            .starts_with("Element 1 is lost. Its add was acknowledged at event 1."),
        "{}",
        told[0].0
    );
    assert_eq!(told[0].1, [0, 1, 4, 5]);
    assert_eq!(result.details["lost"], "1");
}

#[test]
fn what_is_missing_while_others_are_added_may_be_lost_or_not() {
    let more = [
        "1 invoke add 3",
        "0 invoke read",
        "0 ok read 2",
        "1 ok add 3",
    ];
    let result = after_added(&more, false);
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    assert!(
        result
            .reason
            .starts_with("1 elements were missing in the last reads"),
        "{}",
        result.reason
    );
    assert!(result.evidence.is_empty());

    let result = after_added(&more, true);
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    let told = evidence(&result);
    assert!(
        told[0].0.ends_with("nor does any that ended later."),
        "{}",
        told[0].0
    );
    assert_eq!(told[0].1, [0, 1, 5, 6]);
}

#[test]
fn what_was_read_and_vanished_is_lost_though_nobody_knows_whether_it_was_added() {
    let lines = [
        "1 invoke add 3",
        "1 info add 3",
        "0 invoke read",
        "0 ok read 1,2,3",
        "0 invoke read",
        "0 ok read 1,2",
    ];
    let result = after_added(&lines, false);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(result.details["vanished-count"], 1);
    assert_eq!(result.details["recovered-count"], 1);
    assert_eq!(evidence(&result)[0].1, [4, 6, 7, 8, 9]);
}

#[test]
fn unknown_adds_may_be_there_or_not() {
    for read in ["0 ok read 1,2,3", "0 ok read 1,2"] {
        let lines = ["1 invoke add 3", "1 info add 3", "0 invoke read", read];
        assert_eq!(after_added(&lines, true).valid, Valid::True);
    }
}

#[test]
fn reads_that_began_before_prove_no_absence() {
    let lines = [
        "0 invoke read",
        "1 invoke add 1",
        "1 ok add 1",
        "0 ok read",
        "1 invoke read",
        "1 ok read 1",
    ];
    let result = judge(&lines, true);
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    // And without the last read, nobody knows.
    let result = judge(&lines[..4], true);
    assert_eq!(result.valid, Valid::Unknown);
    assert_eq!(
        result.reason,
        "of 1 acknowledged elements, 1 were never read after that"
    );
}

#[test]
fn stale_reads_are_violations_only_of_what_is_linearizable() {
    let lines = [
        "0 invoke read",
        "0 ok read 1",
        "0 invoke read",
        "0 ok read 1,2",
    ];
    let result = after_added(&lines, false);
    assert_eq!(result.valid, Valid::True);
    assert_eq!(result.details["stale-count"], 1);
    assert_eq!(
        result.details["worst-stale"],
        json!([{"element": 2, "ms": 1, "read": 4}])
    );
    assert!(
        result
            .reason
            .ends_with("1 were not shown by some reads before, at most 1 ms"),
        "{}",
        result.reason
    );
    let result = after_added(&lines, true);
    assert_eq!(result.valid, Valid::False);
    assert!(
        evidence(&result)[0]
            .0
            .starts_with("Element 2 was read stale.")
    );
}

#[test]
fn overlapping_reads_lose_nothing_but_may_diverge() {
    let overlapping = [
        "0 invoke read",
        "1 invoke read",
        "0 ok read 1,2",
        "1 ok read 1",
    ];
    let result = after_added(&overlapping, false);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(result.details["divergent"], "2");
    assert_eq!(result.details["lost-count"], 0);
    // It was not its last word.
    let again = [&overlapping[..], &["1 invoke read", "1 ok read 1,2"]].concat();
    assert_eq!(after_added(&again, false).valid, Valid::True);
    // Others still add, so it was not final.
    let more = [
        &["2 invoke add 3"],
        &overlapping[..],
        &["2 ok add 3", "0 invoke read", "0 ok read 1,2,3"],
    ];
    assert_eq!(after_added(&more.concat(), false).valid, Valid::True);
}

#[test]
fn duplicates_and_strangers_are_violations() {
    let result = after_added(&["0 invoke read", "0 ok read 1,2,1"], false);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(result.details["duplicated"], "1");
    let result = after_added(&["0 invoke read", "0 ok read 1,2,9"], false);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(result.details["unexpected"], "9");
    let early = [
        "0 invoke read",
        "0 ok read 1,2,9",
        "0 invoke add 9",
        "0 ok add 9",
        "0 invoke read",
        "0 ok read 1,2,9",
    ];
    let result = after_added(&early, false);
    assert_eq!(result.valid, Valid::False);
    assert!(
        evidence(&result)[0]
            .0
            .ends_with("the first add of it began at event 6 only.")
    );
    let failed = [
        "1 invoke add 9",
        "1 fail add 9",
        "0 invoke read",
        "0 ok read 1,2,9",
    ];
    let result = after_added(&failed, false);
    assert_eq!(result.valid, Valid::False);
    assert_eq!(evidence(&result)[0].1, [4, 5, 6, 7]);
    // It was tried again, so it may be from that.
    let again = [
        &[
            "1 invoke add 9",
            "1 fail add 9",
            "1 invoke add 9",
            "1 info add 9",
        ],
        &failed[2..],
    ]
    .concat();
    assert_eq!(after_added(&again, false).valid, Valid::True);
}

#[test]
fn an_add_that_is_read_while_it_goes_on_is_no_stranger() {
    let lines = [
        "1 invoke add 3",
        "0 invoke read",
        "0 ok read 1,2,3",
        "1 ok add 3",
        "0 invoke read",
        "0 ok read 1,2,3",
    ];
    assert_eq!(after_added(&lines, true).valid, Valid::True);
}

#[test]
fn only_final_reads_show_that_something_is_gone() {
    let strict = |more: &[&str]| {
        let lines = [&ADDED, more].concat();
        check(
            &mut SetFull::new(Options::default()),
            &history(&lines),
            &Unlimited,
        )
    };
    // As when a run ends before its final reads: the replica may be behind.
    let behind = ["0 invoke read", "0 ok read 2"];
    let result = strict(&behind);
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
    assert_eq!(result.details["lost-count"], 0);
    // In a history from anywhere it may be the last word.
    assert_eq!(after_added(&behind, false).valid, Valid::False);

    let gone = ["1 invoke final-read", "1 ok final-read 2"];
    let there = ["1 invoke final-read", "1 ok final-read 1,2"];
    for (last, valid) in [(gone, Valid::False), (there, Valid::True)] {
        let more = [&behind[..], &last].concat();
        for result in [strict(&more), after_added(&more, false)] {
            assert_eq!(result.valid, valid, "{}", result.reason);
        }
    }
    // Where there are final reads, no other is one, nor does a process differ for good that has none.
    let fails = ["1 invoke final-read", "1 fail final-read"];
    let result = after_added(&[&behind[..], &fails].concat(), false);
    assert_eq!(result.valid, Valid::Unknown, "{}", result.reason);
}

#[test]
fn nothing_is_unknown() {
    let reason = |lines: &[&str]| {
        let result = judge(lines, false);
        assert_eq!(result.valid, Valid::Unknown);
        result.reason
    };
    assert!(reason(&[]).starts_with("no final-read ended ok"));
    assert!(reason(&ADDED).starts_with("no final-read ended ok"));
    assert!(reason(&["0 invoke read", "0 fail read"]).starts_with("no final-read ended ok"));
    assert!(reason(&["0 invoke read", "0 ok read"]).starts_with("no add was acknowledged"));
    assert!(reason(&["0 invoke remove 1", "0 ok remove 1"]).contains("event 0 is not of a set"));
}

#[test]
fn what_is_wrong_for_good_stops_a_run() {
    let mut set = SetFull::of_any(Options::default());
    let lines = [
        &ADDED[..],
        &[
            "0 invoke read",
            "0 ok read 2",
            "0 invoke read",
            "0 ok read 1,2,5",
        ],
    ]
    .concat();
    let events = history(&lines);
    // An element that is missing may come back.
    assert_eq!(set.feed(&events[..6], &Unlimited), Feed::Continue);
    assert_eq!(set.feed(&events[6..], &Unlimited), Feed::Violation);
}

#[test]
fn budgets_are_kept() {
    let lines = [&ADDED[..], &["0 invoke read", "0 ok read 1,2"]].concat();
    let result = check(
        &mut SetFull::new(Options::default()),
        &history(&lines),
        &Steps::new(1_000, 200),
    );
    assert_eq!(result.valid, Valid::Unknown);
    assert_eq!(result.reason, "memory limit reached");
    let result = check(
        &mut SetFull::new(Options::default()),
        &history(&lines),
        &Steps::new(1, 1 << 20),
    );
    assert_eq!(
        (result.valid, &*result.reason),
        (Valid::Unknown, "time limit reached")
    );
}

/// What each event of a made-up history does.
#[derive(Clone, Debug)]
struct Play {
    /// Which process goes on.
    process: u64,
    /// Whether an idle one adds.
    adds: bool,
    /// How an operation ends, and whether one of unknown outcome takes effect.
    dice: u8,
}

fn plays() -> impl Strategy<Value = Vec<Play>> {
    let play = (0..4_u64, any::<bool>(), any::<u8>());
    let play = play.prop_map(|(process, adds, dice)| Play {
        process,
        adds,
        dice,
    });
    prop::collection::vec(play, 0..80)
}

/// A store that executes operations one after another, at a moment between their begin and end.
fn serve(plays: &[Play]) -> Vec<String> {
    let mut store: Vec<i64> = Vec::new();
    let mut open: BTreeMap<u64, Option<i64>> = BTreeMap::new();
    let (mut next, mut lines) = (0, Vec::new());
    let name = |process: u64, renewed: u64| process + 4 * renewed;
    let mut renewed = [0; 4];
    for play in plays {
        let process = name(play.process, renewed[play.process as usize]);
        match open.remove(&process) {
            None if play.adds => {
                lines.push(format!("{process} invoke add {next}"));
                open.insert(process, Some(next));
                next += 1;
            }
            None => {
                lines.push(format!("{process} invoke read"));
                open.insert(process, None);
            }
            Some(Some(element)) => match play.dice {
                0..40 => lines.push(format!("{process} fail add {element}")),
                40..80 => {
                    if play.dice % 2 == 0 {
                        store.push(element);
                    }
                    lines.push(format!("{process} info add {element}"));
                    renewed[play.process as usize] += 1;
                }
                _ => {
                    store.push(element);
                    lines.push(format!("{process} ok add {element}"));
                }
            },
            Some(None) => {
                let all: Vec<String> = store.iter().map(i64::to_string).collect();
                lines.push(
                    format!("{process} ok read {}", all.join(","))
                        .trim_end()
                        .to_owned(),
                );
            }
        }
    }
    // All that is open ends unknown; then somebody reads.
    for (process, element) in open {
        match element {
            Some(element) => lines.push(format!("{process} info add {element}")),
            None => lines.push(format!("{process} fail read")),
        }
    }
    lines.push("99 invoke read".to_owned());
    let all: Vec<String> = store.iter().map(i64::to_string).collect();
    lines.push(
        format!("99 ok read {}", all.join(","))
            .trim_end()
            .to_owned(),
    );
    lines
}

/// Whether a history is a violation, by the definitions, each looked up in the whole history.
pub(crate) fn violates(events: &[Event], linearizable: bool, words: Words) -> bool {
    let mut begun: BTreeMap<u64, &Event> = BTreeMap::new();
    let (mut adds, mut reads, mut looks) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        let Process::Client(process) = event.process else {
            continue;
        };
        if event.kind == EventType::Invoke {
            begun.insert(process, event);
            continue;
        }
        let invoke = begun.remove(&process).unwrap();
        let all = || -> Vec<i64> {
            let all = event.value.as_array().unwrap().iter();
            all.map(|it| it.as_i64().unwrap()).collect()
        };
        let ok = event.kind == EventType::Ok;
        match &*event.f {
            f if f == words.add => adds.push((
                invoke.value.as_i64().unwrap(),
                invoke.index,
                event.index,
                event.kind,
            )),
            f if (f == words.all || Some(f) == words.early) && ok => {
                reads.push((event, invoke.index, event.index, all()));
            }
            f if Some(f) == words.one && ok => {
                let shown = event.value.as_i64();
                looks.push((event.index, shown.into_iter().collect()));
            }
            _ => {}
        }
    }
    // Adds that never ended.
    for invoke in begun.into_values().filter(|invoke| *invoke.f == *words.add) {
        adds.push((
            invoke.value.as_i64().unwrap(),
            invoke.index,
            invoke.index,
            EventType::Info,
        ));
    }
    let told_apart = words.told_apart || events.iter().any(|event| *event.f == *words.all);
    let is_last = |read: &Event| !told_apart || *read.f == *words.all;
    let others = reads.iter().filter(|read| !is_last(read.0));
    let others = adds
        .iter()
        .map(|add| add.2)
        .chain(others.map(|read| read.2));
    let others_ended = others.max();
    let ends = reads.iter().map(|read| (read.2, &read.3));
    let ends: Vec<(u64, &Vec<i64>)> = ends
        .chain(looks.iter().map(|(at, all)| (*at, all)))
        .collect();
    let elements: BTreeSet<i64> = adds
        .iter()
        .map(|add| add.0)
        .chain(ends.iter().flat_map(|(_, all)| all.iter().copied()))
        .collect();
    elements.into_iter().any(|element| {
        let mine: Vec<_> = adds.iter().filter(|add| add.0 == element).collect();
        let shows = ends.iter().filter(|(_, all)| all.contains(&element));
        let shows: Vec<u64> = shows.map(|(at, _)| *at).collect();
        let acknowledged = mine
            .iter()
            .filter(|add| add.3 == EventType::Ok)
            .map(|add| add.2);
        let known = acknowledged.chain(shows.iter().copied()).min();
        let missing: Vec<_> = (reads.iter())
            .filter(|read| !read.3.contains(&element) && known.is_some_and(|known| known < read.1))
            .collect();
        let mut finals = missing
            .iter()
            .filter(|read| is_last(read.0) && Some(read.1) > others_ended);
        let lost = finals
            .clone()
            .any(|read| shows.iter().all(|shown| *shown < read.1));
        let divergent = finals.any(|read| {
            let later =
                |event: &&Event| event.process == read.0.process && event.index > read.0.index;
            let reads = |event: &Event| *event.f == *words.all || Some(&*event.f) == words.early;
            !events.iter().filter(later).any(reads)
        });
        let stranger = shows
            .iter()
            .any(|shown| mine.iter().all(|add| add.1 > *shown));
        let aborted = !shows.is_empty() && mine.iter().all(|add| add.3 == EventType::Fail);
        let twice = ends
            .iter()
            .any(|(_, all)| all.iter().filter(|one| **one == element).count() > 1);
        lost || divergent || stranger || aborted || twice || (linearizable && !missing.is_empty())
    })
}

fn events(lines: &[String]) -> Vec<Event> {
    history(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn a_serial_store_is_never_flagged(plays in plays()) {
        let events = events(&serve(&plays));
        let result = check(&mut SetFull::of_any(Options { linearizable: true }), &events, &Unlimited);
        prop_assert_ne!(result.valid, Valid::False, "{}", result.reason);
    }

    #[test]
    fn a_store_that_loses_an_acknowledged_element_is_found(plays in plays(), which in any::<prop::sample::Index>()) {
        let mut lines = serve(&plays);
        let acknowledged: Vec<String> = (lines.iter())
            .filter_map(|line| line.split_once(" ok add ").map(|(_, element)| element.to_owned()))
            .collect();
        prop_assume!(!acknowledged.is_empty());
        let victim = which.get(&acknowledged);
        let last = lines.pop().unwrap();
        let shown = last.strip_prefix("99 ok read ").unwrap().split(',').filter(|one| one != victim);
        lines.push(format!("99 ok read {}", shown.collect::<Vec<_>>().join(",")).trim_end().to_owned());
        let result = check(&mut SetFull::of_any(Options::default()), &events(&lines), &Unlimited);
        prop_assert_eq!(result.valid, Valid::False);
        prop_assert_eq!(&result.details["lost"], &json!(victim));
    }

    #[test]
    fn whatever_reads_show_is_judged_by_the_definitions(
        plays in plays(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..12_i64, any::<bool>()), 0..4),
        linearizable: bool,
        last_read: bool,
        final_from in prop::option::of(any::<prop::sample::Index>()),
        told_apart: bool,
    ) {
        let mut events = events(&serve(&plays));
        if !last_read {
            // The run ended before.
            events.truncate(events.len() - 2);
        }
        let reads: Vec<usize> = (0..events.len())
            .filter(|at| &*events[*at].f == "read" && events[*at].kind == EventType::Ok)
            .collect();
        // From some moment on, reads that begin are final, also where others go on.
        if let Some(from) = final_from.filter(|_| !events.is_empty()) {
            let from = from.index(events.len());
            let mut finals = BTreeSet::new();
            for event in events.iter_mut().skip(from) {
                if &*event.f != "read" {
                    continue;
                }
                if event.kind == EventType::Invoke {
                    finals.insert(event.process.clone());
                }
                if finals.contains(&event.process) {
                    event.f = FINAL_READ.into();
                }
            }
        }
        let words = Words { told_apart, ..Words::SET };
        for (read, element, adds) in changes {
            if reads.is_empty() {
                continue;
            }
            let shown = events[*read.get(&reads)].value.as_array_mut().unwrap();
            match adds {
                true => shown.push(element.into()),
                false => shown.retain(|one| *one != element),
            }
        }
        let result = check(&mut SetFull::called(Options { linearizable }, words), &events, &Unlimited);
        prop_assert_eq!(result.valid == Valid::False, violates(&events, linearizable, words), "{}", result.reason);
        prop_assert_eq!(result.valid == Valid::False, !result.evidence.is_empty());
        let indexes = 0..events.len() as u64;
        for (_, named) in evidence(&result) {
            // What is shown is a violation by itself.
            let few: Vec<Event> = named.iter().map(|index| events[*index as usize].clone()).collect();
            prop_assert!(violates(&few, linearizable, words), "{:?}", few);
            prop_assert!(named.is_sorted() && named.iter().all(|index| indexes.contains(index)));
        }
    }
}
