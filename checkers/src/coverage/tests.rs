//! What makes a run worth nothing, case by case.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::budget::Unlimited;

mod windows;

/// A history from lines of `process type f value`, or `process type@node f value` of an event that a node
/// answered. Times are indexes.
fn events(text: &str) -> Vec<Event> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(index, line)| {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let process = match words[0].parse::<u64>() {
                Ok(process) => json!(process),
                Err(_) => json!(format!("nemesis/{}", words[0])),
            };
            let value: Value = words
                .get(3)
                .map_or(Value::Null, |it| serde_json::from_str(it).unwrap());
            let (kind, node) = match words[1].split_once('@') {
                Some((kind, node)) => (kind, json!(node)),
                None => (words[1], Value::Null),
            };
            let line = json!({
                "index": index, "time": index, "process": process, "type": kind,
                "f": words[2], "value": value, "node": node,
            });
            serde_json::from_value(line).unwrap()
        })
        .collect()
}

fn options() -> Options {
    Options {
        faults: vec!["partition".into()],
        leaders: true,
        ok_min: 1,
        ..Options::default()
    }
}

fn judge(text: &str, options: &Options) -> CheckResult {
    crate::check(
        &mut Coverage::new(options.clone()),
        &events(text),
        &Unlimited,
    )
}

const GOOD: &str = r#"
    0 invoke write
    1 invoke read
    0 ok write
    1 ok read
    partition invoke start
    partition ok start {"effective": false, "targets": ["n1", "n2"], "leader": true}
    0 invoke write
    1 invoke read
    0 ok write
    partition invoke stop
    partition ok stop {"effective": true}
    1 info read
"#;

#[test]
fn a_run_that_could_have_found_something_is_valid() {
    let result = judge(GOOD, &options());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(
        result.details["faults"],
        json!([{
            "name": "partition", "requested": true, "activities": 1, "effective": 1,
            "skipped": 0, "indeterminate": 0, "with-leader": 1, "targets": ["n1", "n2"],
            "ok": 1, "fail": 0, "info": 1, "ok-in-force": 1,
        }])
    );
    assert_eq!(result.details["ok"], json!({"read": 1, "write": 2}));
}

/// What is wrong with a history that differs from the good one.
fn problem(text: &str, options: &Options) -> String {
    let result = judge(text, options);
    assert_eq!(result.valid, Valid::Unknown);
    assert!(
        result.reason.starts_with("not enough evidence: "),
        "{}",
        result.reason
    );
    let problems = result.details["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].as_str().unwrap().to_owned()
}

#[test]
fn a_fault_that_was_never_proved() {
    let text = GOOD.replace(r#""effective": true"#, r#""effective": false"#);
    assert!(problem(&text, &options()).contains("never proved to have taken effect"));
}

#[test]
fn a_fault_that_was_skipped() {
    let text = "0 invoke read\n1 invoke read\n0 ok read\n1 ok read\n\
                partition invoke start\npartition fail start";
    assert!(problem(text, &options()).contains("was skipped each time"));
}

#[test]
fn a_fault_that_never_began() {
    let text = "0 invoke read\n1 invoke read\n0 ok read\n1 ok read";
    assert!(problem(text, &options()).contains("never began; raise --time-limit"));
}

#[test]
fn a_fault_that_struck_no_leader() {
    let text = GOOD.replace(r#""leader": true"#, r#""leader": false"#);
    assert!(problem(&text, &options()).contains("never struck a leader"));
    let leaderless = Options {
        leaders: false,
        ..options()
    };
    assert_eq!(judge(&text, &leaderless).valid, Valid::True);
    let spared = Options {
        spare_leaders: vec!["partition".to_owned()],
        ..options()
    };
    assert_eq!(judge(&text, &spared).valid, Valid::True);
}

#[test]
fn a_fault_while_nothing_was_going_on() {
    let text = r#"
        0 invoke read
        1 invoke read
        0 ok read
        1 ok read
        partition invoke start
        partition ok start {"effective": true, "targets": ["n1"], "leader": true}
        partition invoke stop
        partition ok stop {"effective": true}
        0 invoke read
        0 ok read
    "#;
    assert!(problem(text, &options()).contains("No operation was open while partition"));
}

#[test]
fn a_fault_under_which_nothing_succeeded() {
    let text = GOOD.replacen(
        "0 ok write\n    partition invoke stop",
        "0 info write\n    partition invoke stop",
        1,
    );
    assert!(problem(&text, &options()).contains("No operation that was open while partition"));
}

/// Nodes go down, nothing succeeds, and is then asked again.
fn all_down(targets: &str, down: bool, later: &str) -> CheckResult {
    let text = format!(
        r#"
        0 invoke read
        1 invoke read
        0 ok read
        1 ok read
        power invoke start
        power ok start {{"effective": true, "targets": [{targets}], "down": {down}}}
        0 invoke read
        0 fail read
        power invoke stop
        power ok stop {{}}
        0 invoke read
        0 {later} read
    "#
    );
    let options = Options {
        faults: vec!["power".into()],
        nodes: ["n1", "n2", "n3"].map(str::to_owned).to_vec(),
        workers: 3,
        ok_min: 1,
        ..Options::default()
    };
    judge(&text, &options)
}

#[test]
fn where_no_majority_is_left_what_comes_after_counts() {
    assert_eq!(
        all_down(r#""n1", "n2", "n3""#, true, "ok").valid,
        Valid::True
    );
    assert_eq!(all_down(r#""n1", "n2""#, true, "ok").valid, Valid::True);
    let unknown = [
        all_down(r#""n1""#, true, "ok"),
        all_down(r#""n1", "n2", "n3""#, true, "fail"),
        // Nodes that run could have answered.
        all_down(r#""n1", "n2", "n3""#, false, "ok"),
    ];
    for result in unknown {
        assert_eq!(result.valid, Valid::Unknown);
        assert!(result.reason.contains("while power was in force succeeded"));
    }
}

#[test]
fn an_operation_that_waited_for_the_heal_succeeded_all_the_same() {
    let text = GOOD
        .replacen(
            "0 ok write\n    partition invoke stop",
            "partition invoke stop",
            1,
        )
        .replacen("1 info read", "0 ok write\n    1 info read", 1);
    let result = judge(&text, &options());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(result.details["faults"][0]["ok-in-force"], 0);
}

#[test]
fn a_stop_that_did_not_stop_it() {
    let text = r#"
        0 invoke read
        1 invoke read
        0 ok read
        partition invoke start
        partition info start
        partition invoke stop
        partition fail stop
        1 ok read
        partition invoke stop
        partition ok stop {"effective": true, "targets": ["n1"], "leader": true}
    "#;
    let result = judge(text, &options());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(result.details["faults"][0]["indeterminate"], 1);
    assert_eq!(result.details["faults"][0]["ok-in-force"], 1);
}

#[test]
fn too_few_operations() {
    let none = Options::default();
    assert!(problem("", &none).contains("No client performed any operation"));
    let wants = Options {
        ok_min: 2,
        ..Options::default()
    };
    let text = "0 invoke read\n1 invoke read\n0 ok read\n1 info read";
    assert!(problem(text, &wants).contains("Only 1 operations read succeeded, and at least 2"));
    let wants = Options {
        ok_min_of: [("write".to_owned(), 1)].into(),
        ..Options::default()
    };
    assert!(problem(text, &wants).contains("Only 0 operations write succeeded"));
}

#[test]
fn a_run_in_which_nothing_was_acknowledged() {
    let text = "0 invoke read\n1 invoke read\n0 fail read\n1 info read";
    assert!(problem(text, &Options::default()).contains("Nothing was acknowledged"));
}

#[test]
fn a_budget_that_ends_is_told() {
    let history = events(GOOD);
    let budget = crate::budget::Steps::new(0, u64::MAX);
    let mut checker = Coverage::new(options());
    assert_eq!(checker.feed(&history, &budget), Feed::Exhausted);
    assert_eq!(checker.feed(&history, &budget), Feed::Exhausted);
    let result = checker.finish(&budget);
    assert_eq!(result.valid, Valid::Unknown);
    assert!(
        result.reason.contains("time limit reached"),
        "{}",
        result.reason
    );
}

#[test]
fn concurrency_counts_on_the_same_key_only() {
    let mut history = events("0 invoke read\n1 invoke read\n0 ok read\n1 ok read");
    for event in &mut history {
        event.key = event
            .process
            .is_client()
            .then(|| json!(event.process.to_string()));
    }
    let result = crate::check(&mut Coverage::new(Options::default()), &history, &Unlimited);
    assert!(
        result.reason.contains("No two operations on the same key"),
        "{}",
        result.reason
    );
    for event in &mut history {
        event.key = Some(json!(1));
    }
    let result = crate::check(&mut Coverage::new(Options::default()), &history, &Unlimited);
    assert_eq!(result.valid, Valid::True);
}

#[test]
fn a_fault_that_was_not_asked_for_is_told_but_not_judged() {
    let text = format!("{GOOD}\nkill invoke start\nkill fail start");
    let result = judge(&text, &options());
    assert_eq!(result.valid, Valid::True, "{}", result.reason);
    assert_eq!(result.details["faults"][0]["name"], "kill");
    assert_eq!(result.details["faults"][0]["requested"], false);
}
