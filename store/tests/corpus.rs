//! Histories that others made, read from the folder that `GAINSAY_CORPUS` names.
//!
//! Without it these tests say so and prove nothing: the histories are not ours to copy.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use store::import::edn::Reader;
use store::import::{events_of, read_each, write_edn};
use store::{
    EventType, Flow, Format, History, ImportOptions, OpError, Outcome, Value, detect, load_any,
    load_bytes,
};

const PLAIN: ImportOptions = ImportOptions { keyed: false };

/// The corpus, or `None` and a loud word.
fn corpus(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GAINSAY_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: {test}: GAINSAY_CORPUS names no folder of histories");
    }
    folder
}

/// The files under a folder with one of some endings, in order.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if endings
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no histories in {}", folder.display());
    found
}

fn load(path: &Path) -> History {
    let loaded = load_any(path, None, PLAIN).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.torn, None, "{}", path.display());
    for note in &loaded.notes {
        println!("{}: {note}", path.display());
    }
    loaded.history
}

/// What a checker of registers would see, whatever the file's format says of index, time and errors.
fn essence(history: &History) -> Vec<String> {
    let events = history.events().iter();
    let fields = events.map(|e| {
        // What was asked for is no news of what happened, and only some forms repeat it.
        let value = if e.kind == EventType::Info {
            &Value::Null
        } else {
            &e.value
        };
        format!("{} {} {} {value}", e.process, e.kind.as_str(), e.f)
    });
    fields.collect()
}

#[test]
fn every_history_loads() {
    let Some(corpus) = corpus("every_history_loads") else {
        return;
    };
    let mut formats: BTreeMap<&str, usize> = BTreeMap::new();
    for folder in [
        "porcupine",
        "knossos",
        "elle-cli/histories",
        "txn/real-bugs",
    ] {
        for path in files(
            &corpus.join(folder),
            &[".edn", ".log", ".txt", ".jsonl", ".json"],
        ) {
            if path.ends_with("manifest.json") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let format = detect(&bytes).map_or("none", Format::name);
            *formats.entry(format).or_default() += 1;
            let empty = load(&path).client_operations().next().is_none();
            // One of the logs is an empty file.
            assert_eq!(empty, bytes.is_empty(), "{}", path.display());
        }
    }
    // These tell only how transactions ended.
    for path in files(&corpus.join("txn"), &[".plume"])
        .into_iter()
        .chain(files(&corpus.join("txn/awdit"), &[".txt"]))
    {
        let bytes = std::fs::read(&path).unwrap();
        let format = detect(&bytes).map_or("none", Format::name);
        *formats.entry(format).or_default() += 1;
        let mut events = 0;
        let torn = read_each(&path, None, PLAIN, &mut |some| {
            events += some.events.len();
            Flow::Continue(())
        });
        assert_eq!(torn.unwrap(), None, "{}", path.display());
        assert!(events > 0, "{}", path.display());
    }
    for name in ["huge-scc.edn", "large-90.edn", "paper-example.edn"] {
        let history = load(&corpus.join("elle").join(name));
        assert!(history.client_operations().count() > 0, "{name}");
    }
    println!("{formats:?}");
    // There is no `history.txt` in it.
    for format in Format::ALL
        .iter()
        .filter(|format| **format != Format::JepsenText)
    {
        assert!(formats.contains_key(format.name()), "{formats:?}");
    }
    assert!(!formats.contains_key("none"), "{formats:?}");
}

#[test]
fn the_three_forms_of_porcupines_histories_say_the_same() {
    let Some(corpus) = corpus("the_three_forms_of_porcupines_histories_say_the_same") else {
        return;
    };
    for log in files(&corpus.join("porcupine/jepsen"), &[".log"]) {
        let name = log.file_stem().unwrap().to_str().unwrap();
        let form = |form: &str| corpus.join(format!("porcupine/{form}/{name}.{form}"));
        let from_log = essence(&load(&log));
        assert_eq!(from_log, essence(&load(&form("jsonl"))), "{name}");
        assert_eq!(from_log, essence(&load(&form("edn"))), "{name}");
    }
}

#[test]
fn the_number_of_operations_is_the_manifests() {
    let Some(corpus) = corpus("the_number_of_operations_is_the_manifests") else {
        return;
    };
    let manifest = std::fs::read(corpus.join("porcupine/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut checked = 0;
    for entry in manifest["entries"].as_array().unwrap() {
        let Some(operations) = entry["ops"].as_u64() else {
            continue;
        };
        let history = load(
            &corpus
                .join("porcupine")
                .join(entry["file"].as_str().unwrap()),
        );
        assert_eq!(
            history.client_operations().count() as u64,
            operations,
            "{}",
            entry["file"]
        );
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn a_failed_compare_and_set_of_a_log_is_an_observation() {
    let Some(corpus) = corpus("a_failed_compare_and_set_of_a_log_is_an_observation") else {
        return;
    };
    let mut observed = 0;
    for log in files(&corpus.join("porcupine/jepsen"), &[".log"]) {
        for operation in load(&log).client_operations() {
            if &*operation.invoke.f == "cas" && operation.outcome() == Outcome::Fail {
                let class = operation.complete.unwrap().error_class();
                assert_eq!(class, Some(OpError::PRECONDITION), "{}", log.display());
                observed += 1;
            }
        }
    }
    assert!(observed > 0);
}

#[test]
fn the_small_random_logs_load() {
    let Some(corpus) = corpus("the_small_random_logs_load") else {
        return;
    };
    let lines = std::fs::read_to_string(corpus.join("fuzz/cas-register.jsonl")).unwrap();
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let log = case["log"].as_str().unwrap().as_bytes();
        let loaded = load_bytes(log, Path::new("fuzz.log"), None, PLAIN).unwrap();
        assert!(
            loaded.history.client_operations().count() > 0,
            "{}",
            case["name"]
        );
    }
}

#[test]
fn the_histories_inside_of_test_cases_are_read() {
    let Some(corpus) = corpus("the_histories_inside_of_test_cases_are_read") else {
        return;
    };
    for file in ["elle/cases.edn", "jepsen-checkers/cases.edn"] {
        let text = std::fs::read_to_string(corpus.join(file)).unwrap();
        let mut reader = Reader::new(&text);
        let mut read = 0;
        while let Some(case) = reader.next_value().unwrap() {
            // Some cases name a file instead.
            let Some(history) = case.get("history") else {
                continue;
            };
            match events_of(history, PLAIN) {
                Ok(events) => read += usize::from(!events.is_empty()),
                Err(error) => panic!("{file}, case {:?}: {error}", case.get("id")),
            }
        }
        println!("{file}: {read} histories");
        assert!(read > 0);
    }
}

#[test]
fn histories_survive_being_written_as_edn() {
    let Some(corpus) = corpus("histories_survive_being_written_as_edn") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.edn");
    for file in [
        "elle/huge-scc.edn",
        "elle-cli/histories/jepsen/bank-tidb.edn",
    ] {
        let history = load(&corpus.join(file));
        let mut text = String::new();
        history
            .events()
            .iter()
            .for_each(|event| write_edn(&mut text, event));
        std::fs::write(&path, text).unwrap();
        assert!(load(&path).events() == history.events(), "{file}");
    }
}
