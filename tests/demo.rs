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
fn a_run_says_what_it_ran_on_and_what_operations_came_to_under_faults() {
    let program = Program::new();
    let said = program.run(&[
        "test",
        "sim",
        "--node-count",
        "5",
        "--concurrency",
        "2n",
        "--nemesis",
        "partition,kill",
        "--time-limit",
        "30s",
        "--seed",
        "3",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("fault   partition: took effect"),
        "{}",
        said.out
    );
    let folder = program.latest();
    let test = json(&folder.join("test.json"));
    let kernel = test["controller"]["kernel"].as_str().unwrap();
    assert!(kernel.starts_with("Linux "), "{kernel}");
    let report = std::fs::read_to_string(folder.join("report.html")).unwrap();
    for part in [
        "Operations while faults were in force",
        "nothing acknowledged",
        kernel,
        "gainsay test sim --workload register --node-count 5",
        "--seed 3",
        "Claim: linearizable",
        "aria-label=\"Latency of each operation over time\"",
        "class=\"band fault-partition\"",
    ] {
        assert!(report.contains(part), "{part}");
    }
    let results = json(&folder.join("results.json"));
    let coverage = results["checkers"].as_array().unwrap();
    let coverage = coverage
        .iter()
        .find(|it| it["checker"] == "coverage")
        .unwrap();
    let windows = coverage["details"]["windows"].as_array().unwrap();
    let cuts = windows
        .iter()
        .filter(|window| window["fault"] == "partition");
    assert!(cuts.clone().count() > 1);
    for cut in cuts {
        let sides = cut["sides"].as_array().unwrap();
        assert!(sides.len() > 1, "{cut:#}");
        let sum: u64 = sides.iter().map(|side| side["ok"].as_u64().unwrap()).sum();
        assert_eq!(sum, cut["ok"].as_u64().unwrap(), "{cut:#}");
    }
}

#[test]
fn runs_of_versions_that_kept_less_are_judged_again() {
    let program = Program::new();
    let said = program.run(&["demo", "--quiet"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let file = program.latest().join("test.json");
    let mut test = json(&file);
    assert!(test.as_object_mut().unwrap().remove("controller").is_some());
    std::fs::write(&file, test.to_string()).unwrap();
    let again = program.run(&["analyze", "latest", "--json"]);
    assert_eq!(again.code, 1, "{}{}", again.out, again.err);
    let report = std::fs::read_to_string(program.latest().join("report.html")).unwrap();
    assert!(!report.contains("Machines"));
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
