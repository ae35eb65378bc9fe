//! How single operations end.

use super::world::*;
use store::Value;

const NULL: Value = Value::Null;

#[test]
fn operations_take_the_time_they_take() {
    let world = World::new(2);
    let history = world.history(steps([any("read", 5), any("write", 3), any("read", 4)]));
    assert_eq!(
        history,
        [
            "0 0 invoke read 5",
            "0 1 invoke write 3",
            "3 1 ok write 3",
            "3 1 invoke read 4",
            "5 0 ok read 5",
            "7 1 ok read 4",
        ]
    );
    assert_eq!(Tally::get(&world.tally.opened), 2);
    assert_eq!(Tally::get(&world.tally.closed), 2);
    assert_eq!(Tally::get(&world.tally.dropped), 2);
}

#[test]
fn a_failed_operation_keeps_process_and_client() {
    let world = World::new(2);
    let history = world.history(steps([
        on(0, "fail", 1),
        on(0, "precondition", 1),
        on(0, "ok", 1),
    ]));
    assert_eq!(
        history,
        [
            "0 0 invoke fail 1",
            "1 0 fail fail 1 fail",
            "1 0 invoke precondition 1",
            "2 0 fail precondition 1 precondition",
            "2 0 invoke ok 1",
            "3 0 ok ok 1",
        ]
    );
    assert_eq!(Tally::get(&world.tally.opened), 1);
}

#[test]
fn an_indeterminate_operation_retires_process_and_client() {
    let world = World::new(2);
    let history = world.history(steps([
        on(1, "info", 1),
        on(1, "info", 1),
        on(0, "ok", 1),
        on(1, "ok", 1),
    ]));
    assert_eq!(
        history,
        [
            "0 1 invoke info 1",
            "1 1 info info 1 info",
            "1 3 invoke info 1",
            "1 0 invoke ok 1",
            "2 3 info info 1 info",
            "2 5 invoke ok 1",
            "2 0 ok ok 1",
            "3 5 ok ok 1",
        ]
    );
    assert_eq!(Tally::get(&world.tally.opened), 4);
    assert_eq!(Tally::get(&world.tally.closed), 2, "the others are dropped");
}

#[test]
fn an_operation_without_an_answer_times_out() {
    let world = World::new(1);
    let history = world.history(steps([
        any("hang", NULL),
        any("ok", 999),
        any("ok", 1_000),
        any("ok", 1_001),
        any("hang", 7),
    ]));
    assert_eq!(
        history,
        [
            "0 0 invoke hang",
            "1000 0 info hang timeout",
            "1000 1 invoke ok 999",
            "1999 1 ok ok 999",
            "1999 1 invoke ok 1000",
            // An answer that comes with the deadline wins.
            "2999 1 ok ok 1000",
            "2999 1 invoke ok 1001",
            "3999 1 info ok 1001 timeout",
            "3999 2 invoke hang 7",
            "4999 2 info hang 7 timeout",
        ]
    );
}

#[test]
fn panics_stay_with_their_operation() {
    let world = World::new(1);
    let history = world.history(steps([
        any("panic", NULL),
        any("panic", 2),
        any("bomb", 1),
        any("ok", 1),
    ]));
    assert_eq!(
        history,
        [
            "0 0 invoke panic",
            "0 0 info panic panic",
            "0 1 invoke panic 2",
            "2 1 info panic 2 panic",
            "2 2 invoke bomb 1",
            "3 2 info bomb 1 bomb",
            "3 3 invoke ok 1",
            "4 3 ok ok 1",
        ]
    );
}

#[test]
fn a_completion_that_says_invoke_is_a_defect_of_the_client() {
    let history = World::new(1).history(steps([any("invoke", 1)]));
    assert_eq!(
        history,
        ["0 0 invoke invoke 1", "1 0 info invoke 1 client-bug"]
    );
}

#[test]
fn clients_that_cannot_be_opened_fail_their_operations_and_back_off() {
    let world = World::new(1);
    world
        .tally
        .refuse
        .store(9, std::sync::atomic::Ordering::SeqCst);
    let history = world.history(steps((0..11).map(|_| any("ok", NULL))));
    let expected: Vec<String> = [0, 1, 3, 7, 15, 31, 63, 127, 227]
        .iter()
        .flat_map(|ms| {
            [
                format!("{ms} 0 invoke ok"),
                format!("{ms} 0 fail ok no-client"),
            ]
        })
        .chain(
            ["327 0 invoke ok", "327 0 ok ok"]
                .repeat(2)
                .into_iter()
                .map(String::from),
        )
        .collect();
    assert_eq!(history, expected);
}

#[test]
fn opening_may_be_slow_or_panic() {
    let world = World::new(1);
    world
        .tally
        .slow
        .store(600, std::sync::atomic::Ordering::SeqCst);
    let history = world.history(steps([any("ok", NULL)]));
    assert_eq!(history, ["500 0 invoke ok", "500 0 fail ok no-client"]);

    let world = World::new(1);
    world
        .tally
        .panics
        .store(1, std::sync::atomic::Ordering::SeqCst);
    let history = world.history(steps([any("ok", NULL)]));
    assert_eq!(history, ["0 0 invoke ok", "0 0 fail ok no-client"]);
}

#[test]
fn operations_that_no_server_answered_back_off_and_others_do_not() {
    let world = World::new(1);
    let history = world.history(steps([
        any("refuse", NULL),
        any("refuse", NULL),
        any("fail", NULL),
        any("precondition", NULL),
        any("refuse", NULL),
        any("ok", NULL),
    ]));
    let begun: Vec<&str> = history.iter().step_by(2).map(String::as_str).collect();
    assert_eq!(
        begun,
        [
            "0 0 invoke refuse",
            "1 0 invoke refuse",
            "3 0 invoke fail",
            "3 0 invoke precondition",
            "3 0 invoke refuse",
            "4 0 invoke ok",
        ]
    );
}
