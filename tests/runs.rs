//! Runs in the store, and histories that go in and out of it, through the built program.

use std::path::Path;

use serde_json::Value;

use crate::program::{Program, Said, json};

/// A history with three mistakes, as Maelstrom writes it.
const HISTORY: &str = "0\t:invoke\t:write\t3\n\
                       :nemesis\t:info\t:start-partition\t{\"n1\" #{\"n2\"}}\n\
                       :nemesis\t:info\t:start-partition\tnil\n\
                       0\t:fail\t:write\t3\t:net-timeout\n\
                       1\t:invoke\t:read\tnil\n\
                       1\t:ok\t:read\t3\n\
                       1\t:ok\t:read\t3\n\
                       2\t:invoke\t:read\tnil\n";

/// A short run of the simulated store.
fn simulate(program: &Program, more: &[&str]) {
    let test = ["test", "sim", "--time-limit", "2", "--seed", "7", "-q"];
    let said = program.run(&[&test[..], more].concat());
    assert!(said.code <= 2, "{}{}", said.out, said.err);
}

fn good(program: &Program, arguments: &[&str]) -> Said {
    let said = program.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
    said
}

fn objects(said: &Said) -> Vec<Value> {
    let lines = said.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn runs_are_listed_found_labelled_and_removed() {
    let program = Program::new();
    simulate(&program, &["--label", "nightly,before the fix"]);
    simulate(&program, &[]);
    let list = |more: &[&str]| {
        objects(&good(
            &program,
            &[&["runs", "list", "--json"], more].concat(),
        ))
    };
    let all = list(&[]);
    assert_eq!(all.len(), 2);
    let (newest, oldest) = (&all[0], &all[1]);
    assert!(newest["name"].as_str() > oldest["name"].as_str());
    assert_eq!(
        oldest["labels"],
        serde_json::json!(["before the fix", "nightly"])
    );
    let verdict = oldest["verdict"].as_str().unwrap();
    let id = oldest["id"].as_str().unwrap();
    for (filter, found) in [
        (&["--label", "nightly"][..], 1),
        (&["--label", "nightly", "--label", "weekly"], 0),
        (&["--verdict", verdict], 2),
        (&["--verdict", "running,corrupt"], 0),
        (&["--suite", "sim", "--workload", "register"], 2),
        (&["--suite", "etcd"], 0),
        (&["--since", "1h"], 2),
        (&["--before", "2020-01-01"], 0),
        (&["--limit", "1"], 1),
    ] {
        assert_eq!(list(filter).len(), found, "{filter:?}");
    }

    good(&program, &["runs", "label", id, "+weekly", "-nightly"]);
    let shown = objects(&good(&program, &["runs", "show", &id[..8], "--json"])).remove(0);
    assert_eq!(
        shown["labels"],
        serde_json::json!(["before the fix", "weekly"])
    );
    let files = shown["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file["name"] == "history.jsonl"));
    let wrong = program.run(&["runs", "label", id, "+a,b"]);
    assert_eq!(wrong.code, 254, "{}", wrong.err);

    // Nobody can be asked here.
    let refused = program.run(&["runs", "rm", id]);
    assert_eq!(refused.code, 254, "{}", refused.err);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    let kept = good(
        &program,
        &[
            "runs",
            "gc",
            "--keep",
            "0",
            "--dry-run",
            "--keep-invalid",
            "false",
        ],
    );
    assert!(kept.out.contains("1 runs"), "{}", kept.out);
    good(&program, &["runs", "rm", "latest", "--yes"]);
    assert_eq!(list(&[]).len(), 1);
    let latest = objects(&good(&program, &["runs", "show", "latest", "--json"])).remove(0);
    assert_eq!(latest["id"], id);
    let all_go = [
        "--keep-labelled",
        "false",
        "--keep-invalid",
        "false",
        "--yes",
    ];
    good(
        &program,
        &[&["runs", "gc", "--keep", "0"], &all_go[..]].concat(),
    );
    assert!(list(&[]).is_empty());
    assert!(!program.latest().is_symlink());
}

#[test]
fn a_store_in_any_state_is_listed() {
    let program = Program::new();
    simulate(&program, &[]);
    let store = program.folder.path().join("runs/sim-register");
    let latest = std::fs::canonicalize(program.latest()).unwrap();
    for (name, results) in [
        ("20200101T000000.000Z", "{\"valid\":"),
        ("20200102T000000.000Z", "[]"),
    ] {
        let folder = store.join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(latest.join("test.json"), folder.join("test.json")).unwrap();
        std::fs::write(folder.join("results.json"), results).unwrap();
    }
    std::fs::create_dir(store.join("20200103T000000.000Z")).unwrap();
    std::fs::write(store.join("20200103T000000.000Z/test.json"), "\u{0}").unwrap();
    let listed = objects(&good(&program, &["runs", "list", "--json"]));
    let words: Vec<&str> = listed
        .iter()
        .map(|run| run["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(words[1..], ["corrupt", "corrupt", "corrupt"]);
    let shown = good(&program, &["runs", "show", "20200101"]);
    assert!(shown.out.contains("results.json"), "{}", shown.out);
    good(&program, &["runs", "gc", "--older-than", "30d", "--yes"]);
    assert_eq!(
        objects(&good(&program, &["runs", "list", "--json"])).len(),
        1
    );
}

#[test]
fn what_is_exported_is_the_history() {
    let program = Program::new();
    simulate(&program, &["--nemesis", "partition"]);
    let history = std::fs::read_to_string(program.latest().join("history.jsonl")).unwrap();
    assert_eq!(
        good(&program, &["export", "latest", "--format", "jsonl"]).out,
        history
    );
    for format in ["edn", "json"] {
        let file = format!("h.{format}");
        good(
            &program,
            &["export", "latest", "--format", format, "-o", &file],
        );
        let back = good(&program, &["export", &file, "--format", "jsonl"]);
        assert_eq!(back.out, history, "{format}");
    }
    good(
        &program,
        &["export", "latest", "--format", "perfetto", "-o", "t.json"],
    );
    let trace = json(&program.folder.path().join("t.json"));
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.iter().any(|event| event["name"] == "in force"));
    good(
        &program,
        &["export", "latest", "--format", "parquet", "-o", "h.parquet"],
    );
    let table = std::fs::read(program.folder.path().join("h.parquet")).unwrap();
    assert!(table.starts_with(b"PAR1") && table.ends_with(b"PAR1"));
    // A failed export leaves what was there.
    std::fs::write(program.folder.path().join("broken.edn"), "{:type :okay}").unwrap();
    let failed = program.run(&["export", "broken.edn", "--format", "json", "-o", "h.json"]);
    assert_eq!(failed.code, 255, "{}", failed.err);
    assert!(failed.err.contains("broken.edn:1:1"), "{}", failed.err);
    assert!(json(&program.folder.path().join("h.json")).is_array());
}

#[test]
fn mistakes_in_a_record_are_named_by_line() {
    let program = Program::new();
    std::fs::write(program.folder.path().join("h.txt"), HISTORY).unwrap();
    let said = program.run(&["lint", "h.txt"]);
    assert_eq!(said.code, 1, "{}", said.err);
    insta::assert_snapshot!(said.out, @r#"
    h.txt:4: event 3: write ended fail with the error "net-timeout": a write that timed out may have happened, and is info
    h.txt:7: event 6: process 1 completes an operation that it did not invoke
    h.txt:8: event 7: process 2 invokes an operation that has no completion, not even info
    h.txt: 8 events, 3 findings
    "#);
    let said = program.run(&["lint", "h.txt", "--json", "--limit", "1"]);
    let report = objects(&said).remove(0);
    assert_eq!(report["counts"]["timeout-as-fail"], 1);
    assert_eq!(report["findings"][0]["line"], 4);
    let said = program.run(&["check", "h.txt", "--model", "register"]);
    assert!(
        said.out.contains("3 mistakes in the record"),
        "{}",
        said.out
    );
    simulate(&program, &[]);
    let said = good(&program, &["lint", "latest"]);
    assert!(said.out.contains("nothing found"), "{}", said.out);
    assert_eq!(program.run(&["lint", "nowhere.edn"]).code, 255);
}

#[test]
fn a_history_from_elsewhere_becomes_a_run() {
    let program = Program::new();
    let folder = program
        .folder
        .path()
        .join("store/lin-kv/20220216T160832.000-0500");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("history.txt");
    std::fs::write(&file, HISTORY).unwrap();
    let file = file.to_str().unwrap();
    let import = ["import", file, "--label", "maelstrom", "--json"];
    let imported = objects(&good(&program, &import)).remove(0);
    assert_eq!(
        (&imported["events"], &imported["findings"]),
        (&8.into(), &3.into())
    );
    let id = imported["id"].as_str().unwrap();
    let run = Path::new(imported["run"].as_str().unwrap());
    assert!(run.ends_with("imported-lin-kv/20220216T210832.000Z"));

    let listed = objects(&good(&program, &["runs", "list", "--json"])).remove(0);
    assert_eq!(listed["verdict"], "imported");
    assert_eq!(listed["labels"][0], "maelstrom");
    good(&program, &["runs", "show", id]);
    let edn = good(&program, &["export", id, "--format", "edn"]).out;
    assert_eq!(edn.lines().count(), 7);
    let refused = program.run(&["analyze", id]);
    assert_eq!(refused.code, 254, "{}", refused.err);
    assert!(
        refused.err.contains(&format!("gainsay check {id} --model")),
        "{}",
        refused.err
    );
    let checked = program.run(&["check", id, "--model", "register"]);
    assert_eq!(checked.code, 1, "{}{}", checked.out, checked.err);

    // What cannot be read leaves nothing behind.
    std::fs::write(program.folder.path().join("broken.edn"), "{:type :okay}").unwrap();
    let failed = program.run(&["import", "broken.edn", "--suite", "x", "--workload", "y"]);
    assert_eq!(failed.code, 255, "{}", failed.err);
    assert_eq!(
        objects(&good(&program, &["runs", "list", "--json"])).len(),
        1
    );
}

#[test]
fn a_run_that_is_analyzed_again_keeps_its_results() {
    let program = Program::new();
    simulate(&program, &[]);
    let before = json(&program.latest().join("results.json"));
    let said = program.run(&["analyze"]);
    assert!(said.err.contains("earlier "), "{}", said.err);
    let kept: Vec<_> = std::fs::read_dir(program.latest())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("results-")
        })
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(json(&kept[0]), before);
}
