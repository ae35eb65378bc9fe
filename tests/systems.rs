//! Each real system once, for some seconds, in a version whose settings keep its promises.
//!
//! What they need is got from registries, so they run where `GAINSAY_SYSTEMS` names them (`.ci/run` does): `GAINSAY_SYSTEMS=mongodb,postgres
//! cargo test -p gainsay --test tests systems`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::{assert_same, ready, traces};
use crate::program::{Program, json};

/// Whether a system was asked for.
pub(crate) fn asked(system: &str) -> bool {
    let names = std::env::var("GAINSAY_SYSTEMS").unwrap_or_default();
    let asked = names.split(',').any(|name| name == system);
    if !asked {
        eprintln!("SKIPPED: GAINSAY_SYSTEMS={system} runs {system}");
    }
    asked
}

/// Runs a test that must end in one of these verdicts, and leave nothing behind: its results, if the system was asked for.
fn results(system: &str, flags: &[&str], codes: &[i32]) -> Option<Value> {
    if !asked(system) {
        return None;
    }
    let _alone = crate::ALONE.lock();
    if !ready() {
        return None;
    }
    let before = traces();
    let program = Program::new();
    let said = program.run(&[&["test", system, "--setup"], flags].concat());
    assert!(codes.contains(&said.code), "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    let known = results["checkers"].as_array().unwrap();
    let errors = known.iter().find(|one| one["checker"] == "errors");
    assert_eq!(
        errors.unwrap()["valid"],
        true,
        "an error without a class: {results:#}"
    );
    assert_same(&before);
    Some(results)
}

/// Runs a test that must end in a verdict, and leave nothing behind.
fn run(system: &str, flags: &[&str], code: i32) {
    results(system, flags, &[code]);
}

#[test]
fn mongodb_keeps_its_promise_at_its_strongest_settings() {
    // Never a majority down: otherwise too little succeeds in some of the runs to say anything.
    let flags = [
        "--local",
        "3",
        "--nemesis",
        "partition,kill",
        "--max-down",
        "minority",
        "--time-limit",
        "30",
    ];
    run("mongodb", &flags, 0);
}

#[test]
fn mongodb_loses_what_only_its_primary_had() {
    let flags = [
        "--local",
        "3",
        "--workload",
        "set",
        "--write-concern",
        "1",
        "--rate",
        "200",
        "--nemesis",
        "partition,kill",
        "--time-limit",
        "20",
    ];
    run("mongodb", &flags, 1);
}

#[test]
fn mongodb_keeps_sessions_causal() {
    let flags = [
        "--local",
        "3",
        "--workload",
        "causal",
        "--read-preference",
        "nearest",
        "--nemesis",
        "partition,kill",
        "--max-down",
        "minority",
        "--time-limit",
        "30",
    ];
    run("mongodb", &flags, 0);
}

#[test]
fn etcd_has_the_same_on_all_members() {
    let flags = [
        "--local",
        "3",
        "--workload",
        "divergence",
        "--compares",
        "100",
        "--nemesis",
        "kill",
        "--max-down",
        "minority",
        "--time-limit",
        "15",
    ];
    run("etcd", &flags, 0);
}

#[test]
fn postgres_is_serializable() {
    let flags = [
        "--local",
        "1",
        "--version",
        "18.6",
        "--workload",
        "append",
        "--nemesis",
        "none",
        "--time-limit",
        "10",
    ];
    run("postgres", &flags, 0);
}

/// Transactions that insert rows and update them, few on each, far from each other on pages.
const INSERTS_AND_UPDATES: &[&str] = &[
    "--local",
    "1",
    "--workload",
    "append",
    "--nemesis",
    "none",
    "--rate",
    "0",
    "--concurrency",
    "20",
    "--key-count",
    "8",
    "--key-dist",
    "uniform",
    "--min-txn-length",
    "2",
    "--max-txn-length",
    "5",
    "--max-writes-per-key",
    "3",
    "--tables",
    "100",
    "--rows-before",
    "10",
    "--stop-on-violation",
];

#[test]
fn postgres_12_3_is_not_serializable() {
    let flags = ["--version", "12.3", "--time-limit", "60"];
    run("postgres", &[INSERTS_AND_UPDATES, &flags].concat(), 1);
}

#[test]
fn elasticsearch_loses_nothing_where_nothing_fails() {
    let flags = [
        "--local",
        "3",
        "--version",
        "1.5.0",
        "--workload",
        "set",
        "--rate",
        "100",
        "--nemesis",
        "none",
        "--time-limit",
        "10",
    ];
    run("elasticsearch", &flags, 0);
}

#[test]
fn the_newest_elasticsearch_keeps_every_update_where_nothing_fails() {
    let flags = [
        "--local",
        "3",
        "--version",
        "8.19.21",
        "--workload",
        "lost-update",
        "--rate",
        "100",
        "--nemesis",
        "none",
        "--time-limit",
        "10",
    ];
    run("elasticsearch", &flags, 0);
}

/// The classes of a run's errors.
fn classes(results: &Value) -> BTreeSet<&str> {
    let checkers = results["checkers"].as_array().unwrap();
    let errors = checkers.iter().find(|one| one["checker"] == "errors");
    let errors = errors.unwrap()["details"]["errors"].as_array();
    let classes = errors.into_iter().flatten();
    classes
        .map(|error| error["class"].as_str().unwrap())
        .collect()
}

#[test]
fn elasticsearch_refuses_as_its_errors_are_read() {
    let register = [
        "--local",
        "3",
        "--version",
        "1.5.0",
        "--workload",
        "register",
        "--read-from",
        "primary",
        "--nemesis",
        "none",
        "--rate",
        "100",
        "--concurrency",
        "8n",
        "--time-limit",
        "15",
    ];
    if let Some(results) = results("elasticsearch", &register, &[0]) {
        // That somebody is quicker is chance here; the suite's own tests provoke it.
        let found = classes(&results);
        assert!(found.contains("precondition"), "{found:?}");
    }
    // What is acknowledged while the index is being closed may be lost in this version; while it is closed nothing succeeds.
    let closed = [
        "--local",
        "3",
        "--version",
        "1.5.0",
        "--workload",
        "set",
        "--nemesis",
        "system:fault=reopen:target=one:duration=3s:interval=8s",
        "--rate",
        "100",
        "--time-limit",
        "20",
    ];
    if let Some(results) = results("elasticsearch", &closed, &[0, 1, 2]) {
        let found = classes(&results);
        assert!(found.contains("index-closed"), "{found:?}");
    }
}

#[test]
fn ferretdb_loses_updates_where_nothing_fails() {
    let flags = ["--local", "1", "--nemesis", "none", "--time-limit", "10"];
    run("ferretdb", &flags, 1);
}
