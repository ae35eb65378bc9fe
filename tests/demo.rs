//! What a newcomer does first.

use crate::program::{Program, json};

#[test]
fn the_demonstration_finds_what_was_planted() {
    let program = Program::new();
    let said = program.run(&["demo"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("INVALID"), "{}", said.out);
    assert!(said.out.contains("report.html"), "{}", said.out);
    let results = json(&program.latest().join("results.json"));
    assert_eq!(results["valid"], false);
    let report = std::fs::read_to_string(program.latest().join("report.html")).unwrap();
    assert!(report.contains("What went wrong"));
    // Self-contained: nothing is fetched.
    for word in ["<script src", "<link", "url(http", "<img"] {
        assert!(!report.contains(word), "{word}");
    }
}

#[test]
fn a_seed_gives_the_same_history_to_the_byte() {
    let history = |seed: &str| {
        let program = Program::new();
        let arguments = [
            "test",
            "sim",
            "--nemesis",
            "partition,kill,pause",
            "--time-limit",
            "5s",
            "--seed",
            seed,
        ];
        let said = program.run(&arguments);
        assert!([0, 2].contains(&said.code), "{}{}", said.out, said.err);
        std::fs::read(program.latest().join("history.jsonl")).unwrap()
    };
    let first = history("7");
    assert!(first.len() > 10_000);
    assert_eq!(first, history("7"));
    assert_ne!(first, history("8"));
}

#[test]
fn a_stored_run_is_judged_again() {
    let program = Program::new();
    let said = program.run(&["demo", "--quiet"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let again = program.run(&["analyze", "latest", "--json"]);
    assert_eq!(again.code, 1, "{}{}", again.out, again.err);
    let object: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(object["valid"], false);
}

#[test]
fn the_results_tell_who_recovered_when_and_the_history_who_led() {
    let program = Program::new();
    let said = program.run(&[
        "test",
        "sim",
        "--nemesis",
        "partition,kill,pause",
        "--time-limit",
        "10s",
        "--seed",
        "5",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    let recovery = &results["recovery"];
    assert_eq!(recovery["proof"], "fresh-writes");
    let after = recovery["recovered_after"].as_f64().unwrap();
    for node in ["n1", "n2", "n3"] {
        let node = recovery["nodes"][node].as_f64().unwrap();
        assert!((0.0..=after).contains(&node), "{recovery}");
    }
    // Elections are in the history, and are no fault.
    let history = std::fs::read_to_string(program.latest().join("history.jsonl")).unwrap();
    let watched = history
        .lines()
        .filter(|line| line.contains("nemesis/leaders"));
    assert!(
        watched
            .filter(|line| line.contains(r#""elected":["n"#))
            .count()
            >= 3
    );
    let checkers = results["checkers"].as_array().unwrap();
    let coverage = checkers
        .iter()
        .find(|it| it["checker"] == "coverage")
        .unwrap();
    let faults = coverage["details"]["faults"].as_array().unwrap();
    let names: Vec<&str> = faults.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["kill", "partition", "pause"]);
}
