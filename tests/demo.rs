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
