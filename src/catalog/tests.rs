//! Catalogs of stores that are in all states that a store can be in.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::spec::testing::spec;

/// A run of a made-up store, with results if there are any.
fn run(root: &Path, seed: u64, results: Option<Value>) -> RunFolder {
    let mut spec = spec("sim", "register");
    spec.seed = seed;
    spec.nemesis = "partition,kill".to_owned();
    let folder = RunFolder::create(root, "sim-register", &spec).unwrap();
    if let Some(results) = results {
        folder.write_results(&results).unwrap();
    }
    folder
}

fn results(valid: Value, reason: &str) -> Value {
    json!({"format": 1, "valid": valid, "reason": reason, "checkers": [], "seed": 1})
}

/// Makes all files of a run as old as those that nobody touches any more.
fn age(folder: &RunFolder) {
    let old = SystemTime::now() - Duration::from_secs(60);
    for entry in fs::read_dir(folder.path()).unwrap() {
        set_times(&entry.unwrap().path(), old);
    }
    set_times(folder.path(), old);
}

fn set_times(path: &Path, at: SystemTime) {
    File::open(path)
        .unwrap()
        .set_times(FileTimes::new().set_modified(at))
        .unwrap();
}

fn fresh(root: &Path) -> Catalog {
    let mut catalog = Catalog::open(root);
    catalog.refresh().unwrap();
    catalog
}

fn words(catalog: &Catalog) -> Vec<&'static str> {
    catalog.runs().map(|run| run.word()).collect()
}

#[test]
fn every_state_of_a_run_has_its_word() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    run(root, 1, Some(results(json!(true), "nothing was found")));
    run(root, 2, Some(results(json!(false), "a stale read")));
    run(root, 3, Some(results(json!("unknown"), "out of budget")));
    let going_on = run(root, 4, None);
    let hold = going_on.hold().unwrap();
    run(root, 5, None);
    let corrupt = run(root, 6, None);
    fs::write(corrupt.results_path(), "{\"valid\": tr").unwrap();
    let no_spec = run(root, 7, Some(results(json!(true), "nothing was found")));
    fs::write(no_spec.test_path(), "[]").unwrap();

    let mut catalog = fresh(root);
    assert_eq!(
        words(&catalog),
        [
            "valid", "corrupt", "died", "running", "unknown", "invalid", "valid"
        ]
    );
    let status: Vec<&Status> = catalog.runs().map(|run| &run.status).collect();
    assert!(
        matches!(status[0], Status::Corrupt { file, why } if file == "test.json" && !why.contains("test.json"))
    );
    assert!(matches!(status[1], Status::Corrupt { file, .. } if file == "results.json"));
    let invalid = catalog.runs().nth(5).unwrap();
    assert_eq!(invalid.reason, "a stale read");
    let spec = invalid.spec.as_ref().unwrap();
    assert_eq!((spec.seed, spec.nodes), (2, 3));
    assert_eq!(spec.faults, ["kill", "partition"]);
    let alike: Vec<&str> = catalog
        .runs()
        .filter_map(|run| Some(run.spec.as_ref()?.alike.as_str()))
        .collect();
    assert!(alike.windows(2).all(|two| two[0] == two[1]));
    assert_eq!(catalog.find(&invalid.id).unwrap(), invalid);
    assert_eq!(invalid.day(), &invalid.spec.as_ref().unwrap().started[..10]);

    // It dies: nothing of its files has changed.
    drop(hold);
    catalog.refresh().unwrap();
    assert_eq!(words(&catalog)[3], "died");
    // Somebody judges a run that has died.
    let hold = going_on.hold().unwrap();
    catalog.refresh().unwrap();
    assert_eq!(words(&catalog)[3], "running");
    going_on.write_results(&results(json!(true), "")).unwrap();
    drop(hold);
    catalog.refresh().unwrap();
    assert_eq!(words(&catalog)[3], "valid");
}

#[test]
fn what_was_read_is_kept_until_it_changes() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let folders: Vec<RunFolder> = (0..5)
        .map(|seed| run(root, seed, Some(results(json!(true), "first"))))
        .collect();
    folders.iter().for_each(age);
    let first = fresh(root);
    // What is kept is believed: this is not in any file of the runs.
    let kept = root.join(".catalog.json");
    let altered = fs::read_to_string(&kept).unwrap().replace("first", "kept!");
    fs::write(&kept, &altered).unwrap();
    let reasons = |catalog: &Catalog| -> Vec<String> {
        catalog.runs().map(|run| run.reason.clone()).collect()
    };
    let second = fresh(root);
    assert_eq!(reasons(&second), ["kept!"; 5]);
    assert_eq!(first.runs().len(), second.runs().len());

    // One of the same size, one with a file more, one that is gone.
    folders[0]
        .write_results(&results(json!(true), "third"))
        .unwrap();
    folders[1].write_labels(&["nightly".to_owned()]).unwrap();
    fs::remove_dir_all(folders[2].path()).unwrap();
    let third = fresh(root);
    assert_eq!(reasons(&third), ["kept!", "kept!", "first", "third"]);
    assert_eq!(third.runs().nth(2).unwrap().labels, ["nightly"]);
    assert!(third.find(&folders[2].id()).is_none());

    // What was changed a moment ago may change again without showing it, and so is read again.
    let altered = fs::read_to_string(&kept).unwrap().replace("third", "wrong");
    fs::write(&kept, altered).unwrap();
    assert_eq!(reasons(&fresh(root))[3], "third");
}

#[test]
fn a_file_that_is_damaged_or_of_another_version_is_no_loss() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    age(&run(root, 1, Some(results(json!(true), "found"))));
    let expected = words(&fresh(root));
    let kept = root.join(".catalog.json");
    let good = fs::read_to_string(&kept).unwrap();
    for bad in [
        String::new(),
        "[]".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.replace("\"version\":1", "\"version\":2")
            .replace("found", "other"),
        good.replace(
            &format!("\"gainsay\":\"{}\"", env!("CARGO_PKG_VERSION")),
            "\"gainsay\":\"9.9.9\"",
        )
        .replace("found", "other"),
    ] {
        fs::write(&kept, &bad).unwrap();
        let catalog = fresh(root);
        assert_eq!(words(&catalog), expected);
        assert_eq!(catalog.runs().next().unwrap().reason, "found");
        assert_eq!(fs::read_to_string(&kept).unwrap(), good, "it is made anew");
    }
}

#[test]
fn a_store_that_cannot_be_written_or_is_not_there_is_listed() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), 1, Some(results(json!(true), "")));
    // Root writes everywhere: in the way of the file is a folder.
    fs::create_dir(root.path().join(".catalog.json")).unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o555)).unwrap();
    assert_eq!(words(&fresh(root.path())), ["valid"]);
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fresh(Path::new("/nowhere/at/all")).runs().len(), 0);
}

/// Not a test of speed, but its measure: `cargo test --release -p gainsay --lib five_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn five_thousand_runs() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for seed in 0..5000 {
        age(&run(
            root,
            seed,
            Some(results(json!(true), "nothing was found")),
        ));
    }
    let time = |what: &str| {
        let begun = std::time::Instant::now();
        let catalog = fresh(root);
        println!(
            "{what}: {} runs in {:?}",
            catalog.runs().len(),
            begun.elapsed()
        );
        catalog
    };
    time("cold, nothing kept");
    let mut catalog = time("warm, in a new process");
    let begun = std::time::Instant::now();
    catalog.refresh().unwrap();
    println!("warm, in the same process: {:?}", begun.elapsed());
    let size = root.join(".catalog.json").metadata().unwrap().len();
    println!("the file: {size} bytes");
}
