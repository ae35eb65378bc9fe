//! What commands do, one after another.

#![allow(clippy::unwrap_used)]

use store::EventType;

use super::*;

fn machine(bug: Option<Bug>) -> Machine {
    Machine::new(&Settings {
        bug,
        accounts: vec![(0, 5), (1, 5)],
        ..Settings::default()
    })
}

fn run(machine: &mut Machine, op: &Op) -> Completion {
    machine.apply(&Command::lower(op).unwrap()).raise(op)
}

fn on_key(f: &str, value: Value) -> Op {
    Op::new(f, value).on_key(json!(1))
}

#[test]
fn registers_read_write_and_compare() {
    let mut machine = machine(None);
    let mut run = |f, value| run(&mut machine, &on_key(f, value));
    assert_eq!(run("read", Value::Null).value, Value::Null);
    let absent = run("cas", json!([0, 1]));
    assert_eq!(absent.kind, EventType::Fail);
    assert_eq!(absent.error.unwrap().class, OpError::PRECONDITION);
    assert_eq!(run("write", json!(3)).kind, EventType::Ok);
    assert_eq!(run("cas", json!([2, 4])).kind, EventType::Fail);
    assert_eq!(run("cas", json!([3, 4])).kind, EventType::Ok);
    assert_eq!(run("read", Value::Null).value, json!(4));
}

#[test]
fn transactions_see_what_was_there_and_what_they_did_themselves() {
    let mut machine = machine(None);
    let mut run = |value| run(&mut machine, &Op::new("txn", value)).value;
    let first = json!([
        ["r", 1, null],
        ["append", 1, 1],
        ["r", 1, null],
        ["append", 1, 2],
        ["w", 2, 7],
        ["r", 2, null]
    ]);
    let shown = json!([
        ["r", 1, null],
        ["append", 1, 1],
        ["r", 1, [1]],
        ["append", 1, 2],
        ["w", 2, 7],
        ["r", 2, 7]
    ]);
    assert_eq!(run(first), shown);
    let reads = json!([["r", 1, null], ["r", 2, null], ["r", 3, null]]);
    assert_eq!(
        run(reads),
        json!([["r", 1, [1, 2]], ["r", 2, 7], ["r", 3, null]])
    );
}

#[test]
fn sets_keep_what_was_added() {
    let mut machine = machine(None);
    run(&mut machine, &Op::new("add", json!(3)));
    run(&mut machine, &Op::new("add", json!(1)));
    assert_eq!(
        run(&mut machine, &Op::new("read", Value::Null)).value,
        json!([3, 1])
    );
}

fn transfer(amount: i64) -> Op {
    Op::new("transfer", json!({"from": 0, "to": 1, "amount": amount}))
}

#[test]
fn accounts_are_not_overdrawn_unless_they_may() {
    let mut poor = machine(None);
    assert_eq!(run(&mut poor, &transfer(4)).kind, EventType::Ok);
    let refused = run(&mut poor, &transfer(2));
    assert_eq!(refused.kind, EventType::Fail);
    assert_eq!(refused.error.unwrap().class, OpError::PRECONDITION);
    let read = Op::new("balances", Value::Null);
    assert_eq!(run(&mut poor, &read).value, json!({"0": 1, "1": 9}));
    poor.negative_balances = true;
    assert_eq!(run(&mut poor, &transfer(2)).kind, EventType::Ok);
    assert_eq!(run(&mut poor, &read).value, json!({"0": -1, "1": 11}));
}

#[test]
fn with_the_bug_half_is_seen_until_the_next_command() {
    let mut machine = machine(Some(Bug::FracturedReads));
    run(&mut machine, &transfer(4));
    let read = Op::new("balances", Value::Null);
    assert_eq!(run(&mut machine, &read).value, json!({"0": 1, "1": 5}));
    run(
        &mut machine,
        &Op::new("txn", json!([["w", 1, 1], ["w", 2, 1], ["r", 2, null]])),
    );
    assert_eq!(run(&mut machine, &read).value, json!({"0": 1, "1": 9}));
    let reads = Op::new("txn", json!([["r", 1, null], ["r", 2, null]]));
    assert_eq!(
        run(&mut machine, &reads).value,
        json!([["r", 1, 1], ["r", 2, null]])
    );
    machine.apply(&Command::Noop);
    assert_eq!(
        run(&mut machine, &reads).value,
        json!([["r", 1, 1], ["r", 2, 1]])
    );
}

#[test]
fn documents_are_replaced_and_count_how_often() {
    let mut machine = machine(None);
    let mut run = |f, value| run(&mut machine, &on_key(f, value));
    assert_eq!(run("get", Value::Null).value, Value::Null);
    assert_eq!(run("put-if", json!([0, ["a"]])).kind, EventType::Ok);
    let late = run("put-if", json!([0, ["b"]]));
    assert_eq!(late.kind, EventType::Fail);
    assert_eq!(late.error.unwrap().class, OpError::PRECONDITION);
    assert_eq!(run("put", json!("c")).kind, EventType::Ok);
    let shown = json!({"value": "c", "version": 2});
    assert_eq!(run("get", Value::Null).value, shown);
    assert_eq!(run("get-local", Value::Null).value, shown);
}

#[test]
fn the_counter_counts_and_elements_are_found() {
    let mut machine = machine(None);
    let mut run = |f: &str, value| run(&mut machine, &Op::new(f, value)).value;
    run("increase", json!(5));
    run("increase", json!(-7));
    assert_eq!(run("count", Value::Null), json!(-2));
    run("add", json!(3));
    assert_eq!(run("contains", json!(3)), json!(3));
    assert_eq!(run("contains", json!(4)), Value::Null);
}

#[test]
fn with_the_bug_writers_read_what_was_there_unless_what_they_write_has_changed() {
    let mut machine = machine(Some(Bug::WriteSkew));
    let mut run = |value| run(&mut machine, &Op::new("txn", value)).value;
    run(json!([["w", 1, 1], ["append", 2, 1]]));
    let both = |written: Value| json!([["r", 1, null], ["r", 2, null], written]);
    let behind = run(both(json!(["w", 3, 1])));
    assert_eq!(behind, json!([["r", 1, null], ["r", 2, null], ["w", 3, 1]]));
    let conflict = run(both(json!(["w", 1, 2])));
    assert_eq!(conflict, json!([["r", 1, 1], ["r", 2, [1]], ["w", 1, 2]]));
    let reads = json!([["r", 1, null], ["r", 3, null]]);
    assert_eq!(run(reads), json!([["r", 1, 2], ["r", 3, 1]]));
    // Four writers later, all is as it is.
    (4..8).for_each(|key| drop(run(json!([["w", key, 1]]))));
    let fresh = run(both(json!(["w", 9, 1])));
    assert_eq!(fresh, json!([["r", 1, 2], ["r", 2, [1]], ["w", 9, 1]]));
}

#[test]
fn a_condition_that_was_looked_at_before_is_not_looked_at_again() {
    let mut machine = machine(None);
    machine.apply(&Command::Write(1, 3));
    let early = machine.check_early(Command::Cas(1, 3, 4)).unwrap();
    machine.apply(&Command::Write(1, 5));
    assert_eq!(machine.apply(&early), Output::Done);
    assert_eq!(machine.value(1), Some(4));
    let put = |version| Command::Put {
        key: 1,
        version,
        value: json!(1),
    };
    assert_eq!(machine.check_early(put(Some(7))), Err(Output::Conflict(0)));
    assert_eq!(machine.check_early(put(Some(0))), Ok(put(None)));
}

#[test]
fn only_what_changes_something_goes_through_the_log() {
    let is_read = |f: &str, value| Command::lower(&Op::new(f, value)).unwrap().is_read();
    assert!(is_read("txn", json!([["r", 1, null], ["r", 2, null]])));
    assert!(!is_read("txn", json!([["r", 1, null], ["append", 2, 1]])));
    assert!(is_read("read", Value::Null));
    assert!(is_read("balances", Value::Null));
    assert!(!is_read("add", json!(1)));
}

#[test]
fn what_it_does_not_know_is_refused() {
    for (key, f, value) in [
        (json!("a"), "read", Value::Null),
        (json!(1), "write", json!("x")),
        (json!(1), "cas", json!([1])),
        (json!(1), "append", json!(1)),
    ] {
        assert!(Command::lower(&Op::new(f, value).on_key(key)).is_err());
    }
    for (f, value) in [
        ("write", json!(1)),
        ("txn", json!([["x", 1, 2]])),
        ("txn", json!([["r", 1]])),
        ("txn", json!([["append", 1, null]])),
        ("add", json!("x")),
        ("transfer", json!({"from": 1, "to": 2})),
        ("get", Value::Null),
        ("increase", json!("x")),
    ] {
        assert!(Command::lower(&Op::new(f, value)).is_err());
    }
}
