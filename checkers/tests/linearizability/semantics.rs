//! What each kind of event means, in histories small enough to judge by eye.

use checkers::Valid;
use checkers::linearizability::{FailedCas, NullRead, Options};
use serde_json::json;

use crate::support::{dead_end, history, judge};

fn valid(text: &str, options: &Options) -> Valid {
    let result = judge(&history(text), options);
    println!("{}", result.reason);
    result.valid
}

fn verdict(text: &str) -> Valid {
    valid(text, &Options::default())
}

#[test]
fn an_empty_history_is_valid() {
    assert_eq!(verdict(""), Valid::True);
}

#[test]
fn a_read_sees_the_last_write() {
    let text = "0 invoke write 1
        0 ok write 1
        1 invoke read null
        1 ok read VALUE";
    assert_eq!(verdict(&text.replace("VALUE", "1")), Valid::True);
    assert_eq!(verdict(&text.replace("VALUE", "2")), Valid::False);
    assert_eq!(verdict(&text.replace("VALUE", "null")), Valid::False);
}

#[test]
fn values_are_any_json() {
    let text = r#"0 invoke write {"a":[1,2]}
        0 ok write null
        1 invoke cas [{"a":[1,2]},"x"]
        1 ok cas null
        1 invoke read null
        1 ok read "x""#;
    assert_eq!(verdict(text), Valid::True);
    assert_eq!(
        verdict(&text.replace(r#"[1,2]}"#, r#"[1,2.0]}"#)),
        Valid::True
    );
    assert_eq!(verdict(&text.replacen("[1,2]}", "[2,1]}", 1)), Valid::False);
}

#[test]
fn what_failed_did_not_happen() {
    let text = "0 invoke write 1
        0 fail write 1 refused
        1 invoke read null
        1 ok read VALUE";
    assert_eq!(verdict(&text.replace("VALUE", "null")), Valid::True);
    assert_eq!(verdict(&text.replace("VALUE", "1")), Valid::False);
}

#[test]
fn what_nobody_knows_may_happen_late_or_never() {
    let text = "0 invoke write 1
        0 info write 1 timeout
        1 invoke read null
        1 ok read FIRST
        1 invoke read null
        1 ok read SECOND";
    let with = |first: &str, second: &str| {
        verdict(&text.replace("FIRST", first).replace("SECOND", second))
    };
    assert_eq!(with("null", "null"), Valid::True);
    assert_eq!(with("null", "1"), Valid::True);
    assert_eq!(with("1", "1"), Valid::True);
    assert_eq!(with("1", "null"), Valid::False);
}

#[test]
fn what_nobody_knows_happens_once() {
    let text = "0 invoke cas [null,1]
        0 info cas [null,1] timeout
        1 invoke read null
        1 ok read 1
        1 invoke write null
        1 ok write null
        1 invoke read null
        1 ok read 1";
    assert_eq!(verdict(text), Valid::False);
    let twice = format!("5 invoke cas [null,1]\n6 invoke read null\n{text}");
    assert_eq!(verdict(&twice), Valid::True);
}

#[test]
fn an_operation_that_never_ended_is_like_one_that_nobody_knows() {
    let text = "0 invoke write 1
        1 invoke read null
        1 ok read 1";
    assert_eq!(verdict(text), Valid::True);
}

#[test]
fn a_failed_cas_is_an_observation_where_the_options_say_so() {
    let text = "0 invoke write 1
        0 ok write 1
        1 invoke cas [1,2]
        1 fail cas [1,2] CLASS";
    let with = |class: &str, failed_cas: FailedCas| {
        let options = Options {
            failed_cas,
            ..Options::default()
        };
        valid(&text.replace("CLASS", class), &options)
    };
    assert_eq!(with("precondition", FailedCas::Precondition), Valid::False);
    assert_eq!(with("refused", FailedCas::Precondition), Valid::True);
    assert_eq!(with("", FailedCas::Observes), Valid::False);
    assert_eq!(with("precondition", FailedCas::Dropped), Valid::True);
}

#[test]
fn a_null_read_is_absence_or_nothing() {
    let text = "0 invoke write 1
        0 ok write 1
        1 invoke read null
        1 ok read null";
    assert_eq!(verdict(text), Valid::False);
    let anything = Options {
        null_read: NullRead::MatchesAnything,
        ..Options::default()
    };
    assert_eq!(valid(text, &anything), Valid::True);
}

#[test]
fn the_initial_value() {
    let text = "0 invoke cas [0,1]
        0 ok cas [0,1]";
    assert_eq!(verdict(text), Valid::False);
    let zero = Options {
        initial: json!(0),
        ..Options::default()
    };
    assert_eq!(valid(text, &zero), Valid::True);
}

#[test]
fn a_cas_of_a_value_to_itself_only_observes() {
    let text = "0 invoke cas [1,1]
        0 ok cas [1,1]";
    assert_eq!(verdict(text), Valid::False);
    assert_eq!(verdict(&text.replace('1', "null")), Valid::True);
}

#[test]
fn keys_are_independent() {
    let mut events = history(
        "0 invoke write 1
        0 ok write 1
        1 invoke read null
        1 ok read null",
    );
    for event in &mut events {
        event.key = Some(json!(event.process.to_string()));
    }
    assert_eq!(judge(&events, &Options::default()).valid, Valid::True);
    for event in &mut events {
        event.key = Some(json!(7));
    }
    let result = judge(&events, &Options::default());
    assert_eq!(result.valid, Valid::False);
    assert_eq!(dead_end(&result).key, Some(json!(7)));
    // Where only invocations carry the key.
    events[1].key = None;
    events[3].key = None;
    assert_eq!(judge(&events, &Options::default()).valid, Valid::False);
}

#[test]
fn what_is_no_history_of_a_register_is_unknown() {
    for (text, wanted) in [
        ("0 invoke append 1", "not \"append\""),
        ("0 invoke cas 3", "a cas needs a value [from, to], not 3"),
        ("0 invoke read null\n0 invoke read null", "still open"),
        ("0 ok read 1", "did not invoke"),
    ] {
        let result = judge(&history(text), &Options::default());
        assert_eq!(result.valid, Valid::Unknown, "{text}");
        assert!(result.reason.contains(wanted), "{}", result.reason);
    }
}

#[test]
fn events_of_faults_do_not_matter() {
    let mut events = history(
        "0 invoke write 1
        0 ok write 1
        5 invoke start null
        5 ok start null",
    );
    for event in &mut events[2..] {
        event.process = store::Process::Nemesis("kill".into());
    }
    assert_eq!(judge(&events, &Options::default()).valid, Valid::True);
}

#[test]
fn a_crashed_write_of_the_current_value_can_hide_another_write() {
    // The write of 2 has a place only before the crashed write of 1, and nobody sees it there.
    let text = "1 invoke write 1
        1 ok write 1
        1 invoke write 2
        3 invoke write 1
        3 info write 1 timeout
        5 invoke cas [1,0]
        5 ok cas [1,0]
        1 ok write 2
        5 invoke read null
        5 ok read 0";
    assert_eq!(verdict(text), Valid::True);
}
