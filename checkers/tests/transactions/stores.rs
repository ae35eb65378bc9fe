//! Many clients on one key and large components: what the shape of a history must not change.

use checkers::Valid;
use serde_json::json;
use store::Event;
use store::EventType::{Info, Invoke, Ok};

use crate::dice::Dice;
use crate::support::{anomalies, event, judge};

/// Keys, each with the element that is appended to it, or to be read.
type Mops = Vec<(usize, Option<usize>)>;

/// Transactions of a serial store, each at one moment, as `(invocation, end)` overlap at random. `late` of a hundred reads see
/// only so many elements less than there are.
pub(crate) fn serial(
    dice: &mut Dice,
    count: usize,
    clients: usize,
    keys: usize,
    late: usize,
) -> Vec<Event> {
    let mut lists = vec![Vec::<usize>::new(); keys];
    let mut open: Vec<Option<Mops>> = vec![None; clients];
    let mut process: Vec<u64> = (0..clients as u64).collect();
    let mut events: Vec<Event> = Vec::new();
    let mut element = 0;
    while events.len() < 2 * count {
        let client = dice.below(clients);
        let index = events.len() as u64;
        match open[client].take() {
            None => {
                let mops: Mops = (0..1 + dice.below(3))
                    .map(|_| {
                        element += 1;
                        (dice.below(keys), dice.percent(50).then_some(element))
                    })
                    .collect();
                let value = mops.iter().map(|(key, append)| match append {
                    Some(element) => json!(["append", key, element]),
                    None => json!(["r", key, null]),
                });
                events.push(event(index, process[client], Invoke, value.collect()));
                open[client] = Some(mops);
            }
            Some(mops) => {
                let behind = if dice.percent(late) {
                    1 + dice.below(3)
                } else {
                    0
                };
                let mut own = vec![0; keys];
                let value = mops.iter().map(|(key, append)| match append {
                    Some(element) => {
                        lists[*key].push(*element);
                        own[*key] += 1;
                        json!(["append", key, element])
                    }
                    None => {
                        let shown = lists[*key].len().saturating_sub(if own[*key] > 0 {
                            0
                        } else {
                            behind
                        });
                        json!(["r", key, lists[*key][..shown]])
                    }
                });
                let value = value.collect();
                let crash = dice.percent(2);
                events.push(event(
                    index,
                    process[client],
                    if crash { Info } else { Ok },
                    value,
                ));
                if crash {
                    process[client] += clients as u64;
                }
            }
        }
    }
    events
}

#[test]
fn a_serial_store_is_strictly_serializable_whatever_the_shape() {
    for seed in 1..60 {
        let mut dice = Dice::new(seed);
        let (clients, keys) = (1 + dice.below(30), 1 + dice.below(8));
        let events = serial(&mut dice, 600, clients, keys, 0);
        let result = judge(&events, "strict-serializable");
        assert_eq!(result.valid, Valid::True, "seed {seed}: {}", result.reason);
    }
}

#[test]
fn late_reads_are_found() {
    for seed in 1..20 {
        let mut dice = Dice::new(seed);
        let events = serial(&mut dice, 600, 3, 3, 10);
        assert_eq!(
            judge(&events, "strict-serializable").valid,
            Valid::False,
            "seed {seed}"
        );
    }
}

/// Readers of the last version and appends that nobody read depend on each other, each on each: here 400 times 400.
#[test]
fn many_readers_of_the_last_version_and_many_unread_appends() {
    let mut events = Vec::new();
    let mut ends = Vec::new();
    for at in 0..400_u64 {
        let (asked, told) = (json!([["r", "x", null]]), json!([["r", "x", []]]));
        events.push(event(0, 3 * at, Invoke, asked));
        ends.push(event(0, 3 * at, Ok, told));
        let append = json!([["append", "x", at]]);
        events.push(event(0, 3 * at + 1, Invoke, append.clone()));
        ends.push(event(0, 3 * at + 1, Ok, append));
    }
    let number = |events: &mut Vec<Event>| {
        for (index, event) in (0..).zip(events) {
            event.index = index;
        }
    };
    let mut valid = [events.clone(), ends.clone()].concat();
    number(&mut valid);
    assert_eq!(judge(&valid, "strict-serializable").valid, Valid::True);

    // One that reads and appends is no cycle with itself; two are a lost update.
    let both = |at: u64, told: bool| {
        let read = if told { json!([]) } else { json!(null) };
        json!([["r", "x", read], ["append", "x", 1000 + at]])
    };
    for (pairs, expected) in [(1, Valid::True), (2, Valid::False)] {
        let mut begin: Vec<Event> = (0..pairs)
            .map(|at| event(0, 3 * at + 2, Invoke, both(at, false)))
            .collect();
        begin.extend(events.clone());
        begin.extend((0..pairs).map(|at| event(0, 3 * at + 2, Ok, both(at, true))));
        begin.extend(ends.clone());
        number(&mut begin);
        let result = judge(&begin, "strict-serializable");
        assert_eq!(result.valid, expected, "{}", result.reason);
        if expected == Valid::False {
            assert!(anomalies(&result).contains("lost-update"));
        }
    }

    // One that began after all had ended and reads nothing is late.
    let mut stale = valid.clone();
    stale.push(event(0, 9999, Invoke, json!([["r", "x", null]])));
    stale.push(event(0, 9999, Ok, json!([["r", "x", []]])));
    number(&mut stale);
    let result = judge(&stale, "strict-serializable");
    assert!(
        anomalies(&result).contains("G-single-item-realtime"),
        "{}",
        result.reason
    );
}
