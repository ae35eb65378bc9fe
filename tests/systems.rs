//! Each real system once, for some seconds, in a version whose settings keep its promises.
//!
//! What they need is got from registries, so they run where `GAINSAY_SYSTEMS` names them (`.ci/run` does): `GAINSAY_SYSTEMS=mongodb,postgres
//! cargo test -p gainsay --test tests systems`.

use crate::cluster::{assert_same, ready, traces};
use crate::program::{Program, json};

/// Whether a system was asked for.
fn asked(system: &str) -> bool {
    let names = std::env::var("GAINSAY_SYSTEMS").unwrap_or_default();
    let asked = names.split(',').any(|name| name == system);
    if !asked {
        eprintln!("SKIPPED: GAINSAY_SYSTEMS={system} runs {system}");
    }
    asked
}

/// Runs a test that must end in a verdict, and leave nothing behind.
fn run(system: &str, flags: &[&str], code: i32) {
    if !asked(system) {
        return;
    }
    let _alone = crate::ALONE.lock();
    if !ready() {
        return;
    }
    let before = traces();
    let program = Program::new();
    let said = program.run(&[&["test", system, "--setup"], flags].concat());
    assert_eq!(said.code, code, "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    let known = results["checkers"].as_array().unwrap();
    let errors = known.iter().find(|one| one["checker"] == "errors");
    assert_eq!(
        errors.unwrap()["valid"],
        true,
        "an error without a class: {results:#}"
    );
    assert_same(&before);
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
fn ferretdb_loses_updates_where_nothing_fails() {
    let flags = ["--local", "1", "--nemesis", "none", "--time-limit", "10"];
    run("ferretdb", &flags, 1);
}
