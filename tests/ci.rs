//! What continuous integration is told, and matrices of runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{Program, said};

/// Two runs, one with a planted bug.
const MATRIX: &str = "
time-limit = \"5s\"

[sim]
nemesis = \"partition\"
seed = 1
bug = [false, \"stale-reads\"]
";

fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/schema")
        .join(name);
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// The objects on standard output, each as the schema says.
fn objects(schema: &jsonschema::Validator, out: &str) -> Vec<Value> {
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    let objects: Vec<Value> = lines.collect();
    for object in &objects {
        let errors: Vec<String> = schema
            .iter_errors(object)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?} in {object}");
    }
    objects
}

#[test]
fn what_json_prints_is_what_its_schema_says() {
    let program = Program::new();
    let test = schema("test.json");
    let valid = program.run(&[
        "test",
        "sim",
        "--time-limit",
        "5s",
        "--seed",
        "1",
        "--nemesis",
        "partition",
        "--json",
        "-q",
    ]);
    let one = objects(&test, &valid.out);
    assert_eq!(
        (valid.code, one.len(), &one[0]["valid"]),
        (0, 1, &Value::Bool(true))
    );
    let arguments = [
        "test",
        "sim",
        "--time-limit",
        "5s",
        "--seed",
        "3",
        "--bug",
        "stale-reads",
        "--json",
        "-q",
        "--compare-to",
        "latest",
    ];
    let invalid = program.run(&arguments);
    let one = &objects(&test, &invalid.out)[0];
    assert_eq!((invalid.code, &one["valid"]), (1, &Value::Bool(false)));
    assert!(!one["explanation"].as_array().unwrap().is_empty());
    let comparison = &one["comparison"];
    assert_eq!(
        (&comparison["verdict"], &comparison["verdict_differs"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    let settings: Vec<&str> = comparison["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|setting| setting["name"].as_str().unwrap())
        .collect();
    assert_eq!(settings, ["nemesis", "options.bug", "seed"]);
    // It is kept, too; and a run compared with itself is the same.
    let results: Value =
        serde_json::from_str(&fs::read_to_string(program.latest().join("results.json")).unwrap())
            .unwrap();
    assert_eq!(&results["comparison"], comparison);
    let again = program.run(&["analyze", "latest", "--compare-to", "latest"]);
    assert!(
        again.out.contains("which was invalid, too") && again.out.contains("the same"),
        "{}",
        again.out
    );
    // A schema that took anything would prove nothing.
    let mut wrong = one.clone();
    wrong["exit"] = 7.into();
    assert!(!test.is_valid(&wrong));
    wrong = one.clone();
    wrong["summary"]["rate"] = "fast".into();
    assert!(!test.is_valid(&wrong));

    let history = program.latest().join("history.jsonl");
    let checked = program.run(&[
        "check",
        history.to_str().unwrap(),
        "--model",
        "cas-register",
        "--json",
        "--order",
    ]);
    objects(&schema("check.json"), &checked.out);
    for (name, file) in [("test", "test.json"), ("check", "check.json")] {
        let printed: Value = serde_json::from_str(&program.run(&["schema", name]).out).unwrap();
        assert!(jsonschema::validator_for(&printed).is_ok() && !file.is_empty());
    }
}

#[test]
fn a_run_to_compare_with_is_looked_for_before_anything_runs() {
    let program = Program::new();
    let none = program.run(&[
        "test",
        "sim",
        "--compare-to",
        "latest",
        "--time-limit",
        "1s",
    ]);
    assert_eq!(none.code, 254);
    assert!(none.err.contains("--compare-to: no run"), "{}", none.err);
    assert!(!program.folder.path().join("runs").exists());
}

#[test]
fn a_matrix_runs_all_and_an_invalid_run_is_never_hidden() {
    let program = Program::new();
    fs::write(program.folder.path().join("all.toml"), MATRIX).unwrap();
    let said = program.run(&["test-all", "all.toml", "--junit", "out/junit.xml", "-q"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.out.contains("VALID     sim bug=false")
            && said.out.contains("INVALID   sim bug=stale-reads"),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("2 runs: 1 invalid, 0 failed, 0 unknown, 1 valid; 0 not run")
    );
    let junit = fs::read_to_string(program.folder.path().join("out/junit.xml")).unwrap();
    assert!(
        junit.contains("tests=\"2\" skipped=\"0\" failures=\"1\" errors=\"0\""),
        "{junit}"
    );
    assert!(
        junit.contains("name=\"sim bug=stale-reads\"") && junit.contains("is not linearizable")
    );

    let json = program.run(&["test-all", "all.toml", "--json", "-q"]);
    assert_eq!(
        (json.code, objects(&schema("test.json"), &json.out).len()),
        (1, 2)
    );
}

#[test]
fn a_matrix_stops_on_failure_or_when_the_time_is_up() {
    let program = Program::new();
    let turned = MATRIX.replace(
        "[false, \"stale-reads\"]",
        "[\"stale-reads\", false, false]",
    );
    fs::write(program.folder.path().join("all.toml"), turned).unwrap();
    let stopped = program.run(&["test-all", "all.toml", "--stop-on-failure", "-q"]);
    assert_eq!(stopped.code, 1);
    assert!(
        stopped.out.contains("1 runs: 1 invalid") && stopped.out.contains("2 not run"),
        "{}",
        stopped.out
    );
    let late = program.run(&["test-all", "all.toml", "--time-box", "0s"]);
    assert_eq!(late.code, 2, "nothing was run, so nothing is known");
    assert!(late.out.contains("3 not run"));
    // A run that cannot even begin is a failure, and the others run.
    fs::write(program.folder.path().join("all.toml"), MATRIX).unwrap();
    let store = program.folder.path().join("file");
    fs::write(&store, "in the way").unwrap();
    let failed = program.run(&["test-all", "all.toml", "--store", "file/runs", "-q"]);
    assert_eq!(failed.code, 255);
    assert!(
        failed.out.contains("2 runs: 0 invalid, 2 failed"),
        "{}",
        failed.out
    );
}

#[test]
fn a_matrix_is_shown_and_checked_before_it_runs() {
    let program = Program::new();
    let file = program.folder.path().join("all.toml");
    fs::write(&file, MATRIX).unwrap();
    let dry = program.run(&["test-all", "all.toml", "--dry-run"]);
    assert_eq!(dry.code, 0);
    insta::assert_snapshot!(dry.out);
    for (from, to, told) in [
        (
            "seed = 1",
            "sed = 1",
            "all.toml:6: sim has no flag --sed (did you mean seed?)",
        ),
        (
            "\"partition\"",
            "\"partitoin\"",
            "all.toml:4: sim bug=false: ",
        ),
        (
            "seed = 1",
            "seed = \"x\"",
            "all.toml:4: sim bug=false: invalid value 'x'",
        ),
    ] {
        fs::write(&file, MATRIX.replace(from, to)).unwrap();
        let wrong = program.run(&["test-all", "all.toml"]);
        assert_eq!(wrong.code, 254, "{to}");
        assert!(wrong.err.contains(told), "{to}: {}", wrong.err);
        assert!(!program.folder.path().join("runs").exists());
    }
    assert_eq!(program.run(&["test-all", "nowhere.toml"]).code, 254);
}

#[test]
fn on_github_the_checks_page_says_what_was_found() {
    let program = Program::new();
    let summary = program.folder.path().join("summary.md");
    fs::write(&summary, "others\n").unwrap();
    fs::write(program.folder.path().join("all.toml"), MATRIX).unwrap();
    let commands: [&[&str]; 2] = [
        &["test-all", "all.toml", "-q"],
        &[
            "test",
            "sim",
            "--bug",
            "stale-reads",
            "--nemesis",
            "partition",
            "--seed",
            "1",
            "--time-limit",
            "5s",
            "-q",
        ],
    ];
    for command in commands {
        let said = said(
            program
                .command(command)
                .env("GITHUB_ACTIONS", "true")
                .env("GITHUB_STEP_SUMMARY", &summary)
                .output()
                .unwrap(),
        );
        assert_eq!(said.code, 1);
        let annotations: Vec<&str> = said
            .err
            .lines()
            .filter(|line| line.starts_with("::"))
            .collect();
        assert_eq!(annotations.len(), 1, "each is told once: {}", said.err);
        assert!(
            annotations[0].starts_with("::error title=sim-register%3A invalid"),
            "{}",
            annotations[0]
        );
    }
    let text = fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("others\n## gainsay test-all all.toml\n"));
    let counts: BTreeMap<&str, usize> = ["✅ valid", "❌ invalid", "\n## "]
        .map(|what| (what, text.matches(what).count()))
        .into();
    assert_eq!(
        (counts["✅ valid"], counts["❌ invalid"], counts["\n## "]),
        (1, 2, 2),
        "{text}"
    );
    // Elsewhere nothing of it.
    let plain = program.run(&["test", "sim", "--time-limit", "2s", "--seed", "1", "-q"]);
    assert!(!plain.err.contains("::"));
}
