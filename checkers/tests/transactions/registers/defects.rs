//! What Elle 0.2.8 gets wrong in register histories, or does not see: none of it is ours. The numbers are those of `../defects.rs`.

use checkers::transactions::Assumptions;
use checkers::{Evidence, Valid};
use serde_json::{Value, json};
use store::Event;
use store::EventType::{Invoke, Ok};

use super::support::{LINEARIZABLE, SEQUENTIAL, history, judge, judge_with, raw};
use crate::dice::Dice;
use crate::support::{anomalies, event, listed};

#[test]
fn elle_2_a_read_of_what_nobody_wrote_is_not_accepted_but_an_anomaly() {
    let events = history("0 invoke x:1\n0 ok x:1\n1 invoke x?\n1 ok x=77\n2 invoke x?\n2 ok x=1");
    let result = judge(&events, "read-committed");
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    assert!(anomalies(&result).contains("garbage-read"));
    assert_eq!(judge(&events, "read-uncommitted").valid, Valid::True);
}

/// Keys, each with the value that is written to it, or to be read.
type Mops = Vec<(usize, Option<usize>)>;

/// Transactions of a serial store, each at one moment between its events.
fn serial(dice: &mut Dice, count: usize, clients: usize, keys: usize) -> Vec<Event> {
    let mut state: Vec<Option<usize>> = vec![None; keys];
    let mut open: Vec<Option<Mops>> = vec![None; clients];
    let mut events: Vec<Event> = Vec::new();
    let mut next = 0;
    while events.len() < 2 * count {
        let client = dice.below(clients);
        let index = events.len() as u64;
        let (kind, value): (_, Vec<Value>) = match open[client].take() {
            None => {
                let mops = (0..1 + dice.below(4)).map(|_| {
                    next += 1;
                    (dice.below(keys), dice.percent(50).then_some(next))
                });
                let mops: Mops = mops.collect();
                let micro = mops.iter().map(|(key, write)| match write {
                    Some(value) => json!(["w", key, value]),
                    None => json!(["r", key, null]),
                });
                let micro = micro.collect();
                open[client] = Some(mops);
                (Invoke, micro)
            }
            Some(mops) => {
                let micro = mops.iter().map(|(key, write)| match write {
                    Some(value) => {
                        state[*key] = Some(*value);
                        json!(["w", key, value])
                    }
                    None => json!(["r", key, state[*key]]),
                });
                (Ok, micro.collect())
            }
        };
        events.push(event(index, client as u64, kind, value.into()));
    }
    events
}

#[test]
fn elle_3_orders_from_linearizable_keys_have_no_cycles_in_strictly_serializable_histories() {
    for seed in 1..30 {
        let mut dice = Dice::new(seed);
        let (clients, keys) = (2 + dice.below(20), 1 + dice.below(12));
        let events = serial(&mut dice, 400, clients, keys);
        for assume in [LINEARIZABLE, SEQUENTIAL] {
            let result = judge_with(&events, "strict-serializable", assume);
            assert_ne!(result.valid, Valid::False, "seed {seed}: {}", result.reason);
            assert!(anomalies(&result).is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn elle_4_skew_of_blind_writes_under_snapshot_isolation_is_found_not_to_be_serializable() {
    // Nobody read a key and then wrote it, so no order of versions is known; yet each of two missed what the other wrote.
    let events = history(
        "0 invoke x:5 y:6\n0 ok x:5 y:6\n1 invoke x? y:1\n2 invoke y? x:2\n1 ok x=5 y:1\n2 ok y=6 x:2",
    );
    let result = judge(&events, "serializable");
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    let Some(Evidence::Impossible(argument)) = result.evidence.first() else {
        panic!("{}", result.reason)
    };
    assert_eq!(argument.transactions.len(), 3);
    assert_eq!(judge(&events, "snapshot-isolation").valid, Valid::True);
}

#[test]
fn elle_5_writers_of_unknown_outcome_count_once_they_are_read() {
    let events = history("0 invoke x:1 y:1\n0 info\n1 invoke x? y?\n1 ok x=1 y=");
    let result = judge(&events, "consistent-view");
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    assert!(anomalies(&result).contains("G-single-item"));
    let unread = history(
        "0 invoke x:1 y:1\n0 info\n1 invoke z:1\n1 ok z:1\n2 invoke x? y? z?\n2 ok x= y= z=1",
    );
    assert_eq!(judge(&unread, "strict-serializable").valid, Valid::True);
}

/// Where each writer read the version before, all is in order, and every level is decided.
#[test]
fn versions_that_follow_reads_decide_every_level() {
    let skew = history("0 invoke x? x:1 y?\n1 invoke x? y? y:1\n1 ok x= y= y:1\n0 ok x= x:1 y=");
    assert_eq!(judge(&skew, "serializable").valid, Valid::False);
    assert_eq!(judge(&skew, "snapshot-isolation").valid, Valid::True);
}

/// It wants values to be unique, and stops where they are not.
#[test]
fn repeated_values_are_ambiguous_and_no_more() {
    let events = history(
        "0 invoke x:1\n0 ok x:1\n1 invoke x:1\n1 ok x:1\n2 invoke x?\n2 ok x=1\n3 invoke y:1\n3 ok y:1\n4 invoke y?\n4 ok y=1",
    );
    let assume = Assumptions::default();
    assert_eq!(raw(&events, "causal", assume).valid, Valid::True);
    let null = history("0 invoke x:1\n0 ok x:1\n1 invoke x:1\n1 ok x:1\n2 invoke x?\n2 ok x=9");
    assert_eq!(raw(&null, "read-committed", assume).valid, Valid::False);
    assert!(
        listed(&raw(&null, "read-committed", assume), "violated")
            .contains(&"read-committed".to_owned())
    );
}
