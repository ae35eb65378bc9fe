//! Evidence of lists that was tampered with proves nothing.

use checkers::Evidence;
use checkers::transactions::Impossible;
use checkers::transactions::verify::verify_impossible;
use serde_json::{Value, json};

use crate::support::{history, judge};

/// Histories with a violation of a level that no cycle shows, none of whose micro-operations could be left out.
const EXAMPLES: [(&str, &str); 3] = [
    (
        "snapshot-isolation",
        "0 invoke x? y+1\n1 invoke x? y+2\n2 invoke x+1\n2 ok x+1\n3 invoke x? y?\n3 ok x=1 y=\n0 ok x= y+1\n1 ok x= y+2",
    ),
    (
        "strong-session-snapshot-isolation",
        "1 invoke x+1\n0 invoke x? y+1 z+1\n1 ok x+1\n1 invoke y? z+2\n1 ok y= z+2\n0 ok x= y+1 z+1",
    ),
    (
        "strong-snapshot-isolation",
        "1 invoke x+1\n0 invoke x? y+1 z+1\n1 ok x+1\n2 invoke y? z+2\n2 ok y= z+2\n0 ok x= y+1 z+1",
    ),
];

fn argument(level: &str, text: &str) -> Impossible {
    let result = judge(&history(text), level);
    let found = result.evidence.into_iter().find_map(|one| match one {
        Evidence::Impossible(one) => Some(*one),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{level}: {}", result.reason))
}

/// Whether evidence still proves something after a change.
fn proves(evidence: &Impossible, change: impl Fn(&mut Value)) -> bool {
    let mut value = serde_json::to_value(evidence).unwrap();
    change(&mut value);
    serde_json::from_value(value).is_ok_and(|changed| verify_impossible(&changed).is_ok())
}

#[test]
fn an_argument_holds_of_the_transactions_as_they_are_and_of_no_others() {
    for (level, text) in EXAMPLES {
        let evidence = argument(level, text);
        assert!(proves(&evidence, |_| ()), "{level}");
        for (at, transaction) in evidence.transactions.iter().enumerate() {
            for micro in 0..transaction.value.as_array().unwrap().len() {
                let without = proves(&evidence, |value| {
                    value["transactions"][at]["value"]
                        .as_array_mut()
                        .unwrap()
                        .remove(micro);
                });
                assert!(!without, "{level}: {at} {micro}");
            }
            let failed = proves(&evidence, |value| {
                value["transactions"][at]["outcome"] = json!("fail");
            });
            assert!(!failed, "{level}: {at}");
        }
        for name in [
            "no-prefixes",
            "no-snapshots",
            "no-snapshots-process",
            "no-serial-order",
        ] {
            let renamed = proves(&evidence, |value| value["anomaly"] = json!(name));
            assert!(!renamed || name == evidence.anomaly, "{level}: {name}");
        }
        let of_registers = proves(&evidence, |value| value["objects"] = json!("registers"));
        assert!(!of_registers, "{level}");
    }
}

#[test]
fn an_argument_by_the_clock_needs_the_clock() {
    let [_, (session, by_session), (time, by_time)] = EXAMPLES;
    let moved = |value: &mut Value| {
        let all = value["transactions"].as_array_mut().unwrap();
        (0..)
            .zip(all)
            .for_each(|(at, one)| one["process"] = json!(100 + at));
    };
    assert!(!proves(&argument(session, by_session), moved));
    assert!(proves(&argument(time, by_time), moved));
    let at_once = |value: &mut Value| {
        let all = value["transactions"].as_array_mut().unwrap();
        (0..).zip(all).for_each(|(at, one)| {
            (one["invoke"], one["complete"]) = (json!(at), json!(100 + at));
        });
    };
    assert!(!proves(&argument(time, by_time), at_once));
    assert!(proves(&argument(session, by_session), at_once));
}
