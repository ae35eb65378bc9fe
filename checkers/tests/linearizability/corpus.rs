//! Recorded histories with known verdicts, in the folder that `GAINSAY_CORPUS` names.

use std::path::PathBuf;

use checkers::Valid;
use checkers::linearizability::{FailedCas, NullRead, Options};
use serde_json::Value;
use store::{Event, EventType, OpError};

use crate::models::judge_as;
use crate::support::{event, judge};

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("GAINSAY_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: GAINSAY_CORPUS does not name the folder of recorded histories");
    }
    folder
}

fn always() -> Options {
    Options {
        failed_cas: FailedCas::Observes,
        ..Options::default()
    }
}

fn expected(entry: &Value, field: &str) -> Option<Valid> {
    match entry[field].as_str()? {
        "ok" => Some(Valid::True),
        "bad" => Some(Valid::False),
        other => panic!("unknown verdict {other}"),
    }
}

/// Reads a log of Jepsen's as Porcupine does: a read that timed out says nothing, and everything
/// else that timed out stays open.
fn parse_log(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("INFO  jepsen.util - ") else {
            continue;
        };
        let fields: Vec<&str> = rest.split('\t').collect();
        let (Ok(process), [_, kind, f, value, ..]) = (fields[0].trim().parse(), &fields[..]) else {
            continue;
        };
        let timed_out = *value == ":timed-out";
        let kind = match *kind {
            ":invoke" => EventType::Invoke,
            ":ok" => EventType::Ok,
            ":fail" if !timed_out || *f == ":read" => EventType::Fail,
            ":fail" | ":info" => EventType::Info,
            _ => continue,
        };
        let value = match *value {
            "nil" | ":timed-out" => Value::Null,
            value => serde_json::from_str(&value.replace(' ', ",")).unwrap(),
        };
        let f = f.trim_start_matches(':');
        events.push(event(events.len() as u64, process, kind, f, value));
    }
    events
}

/// Says which kind of failure each compare-and-set had, as a client would have.
fn with_precondition(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    for event in &mut events {
        if event.kind == EventType::Fail && &*event.f == "cas" {
            event.error = Some(OpError::PRECONDITION.into());
        }
    }
    events
}

#[test]
fn etcd_logs() {
    let Some(corpus) = corpus() else {
        return;
    };
    let folder = corpus.join("porcupine");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let mut checked = 0;
    for entry in manifest["entries"].as_array().unwrap() {
        let Some(file) = entry["file"].as_str().filter(|it| it.ends_with(".log")) else {
            continue;
        };
        let Some(observed) = expected(entry, "expected") else {
            continue;
        };
        let dropped = expected(entry, "expected_when_failed_cas_dropped").unwrap();
        let log = parse_log(&std::fs::read_to_string(folder.join(file)).unwrap());
        assert_eq!(judge(&log, &always()).valid, observed, "{file}");
        assert_eq!(judge(&log, &Options::default()).valid, dropped, "{file}");
        let classed = with_precondition(&log);
        assert_eq!(
            judge(&classed, &Options::default()).valid,
            observed,
            "{file}"
        );
        let never = Options {
            failed_cas: FailedCas::Dropped,
            ..Options::default()
        };
        assert_eq!(judge(&classed, &never).valid, dropped, "{file}");
        let lines = folder.join(entry["jsonl"].as_str().unwrap());
        let lines = std::fs::read_to_string(lines).unwrap();
        let lines: Vec<Event> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(judge(&lines, &always()).valid, observed, "{file} as lines");
        checked += 1;
    }
    assert!(checked >= 50, "only {checked} logs");
}

#[test]
fn fuzzed_registers() {
    let Some(corpus) = corpus() else {
        return;
    };
    let text = std::fs::read_to_string(corpus.join("fuzz/cas-register.jsonl")).unwrap();
    let mut checked = 0;
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let Some(wanted) = expected(&entry, "expected") else {
            continue;
        };
        let events = parse_log(entry["log"].as_str().unwrap());
        assert_eq!(judge(&events, &always()).valid, wanted, "{}", entry["name"]);
        checked += 1;
    }
    assert!(checked >= 990, "only {checked} histories");
}

#[test]
fn knossos_registers() {
    let Some(corpus) = corpus() else {
        return;
    };
    let folder = corpus.join("knossos");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let options = Options {
        initial: 0.into(),
        failed_cas: FailedCas::Dropped,
        null_read: NullRead::MatchesAnything,
        ..Options::default()
    };
    let mut checked = 0;
    for entry in manifest["entries"].as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        if !file.starts_with("cas-register/") {
            continue;
        }
        let loaded = store::import::load_any(&folder.join(file), None, Default::default()).unwrap();
        let result = judge(loaded.history.events(), &options);
        let wanted = expected(entry, "expected").unwrap();
        assert_eq!(result.valid, wanted, "{file}: {}", result.reason);
        checked += 1;
    }
    assert!(checked >= 50, "only {checked} histories");
}

/// All histories of a folder of Knossos', judged as a model.
fn knossos(folder: &str, model: &str, options: &Options) {
    let Some(corpus) = corpus() else {
        return;
    };
    let root = corpus.join("knossos");
    let manifest = std::fs::read_to_string(root.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let mut checked = 0;
    for entry in manifest["entries"].as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        if !file.starts_with(folder) {
            continue;
        }
        let loaded = store::import::load_any(&root.join(file), None, Default::default()).unwrap();
        let result = judge_as(model, loaded.history.events(), options);
        let wanted = expected(entry, "expected").unwrap();
        assert_eq!(result.valid, wanted, "{file}: {}", result.reason);
        checked += 1;
    }
    assert!(checked > 0, "no histories in {folder}");
}

#[test]
fn knossos_multi_registers() {
    let options = Options {
        initial: serde_json::json!({"x": 0, "y": 0}),
        null_read: NullRead::MatchesAnything,
        ..Options::default()
    };
    knossos("multi-register/", "multi-register", &options);
}

#[test]
fn knossos_mutexes() {
    knossos("mutex/", "mutex", &Options::default());
}

#[test]
fn elle_cli_registers() {
    let Some(corpus) = corpus() else {
        return;
    };
    let folder = corpus.join("elle-cli");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let options = Options {
        initial: 0.into(),
        failed_cas: FailedCas::Dropped,
        null_read: NullRead::MatchesAnything,
        ..Options::default()
    };
    let mut checked = 0;
    for entry in manifest.as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        if entry["model"] != "cas-register" || entry["present"] != true {
            continue;
        }
        let loaded = store::import::load_any(&folder.join(file), None, Default::default()).unwrap();
        let result = judge(loaded.history.events(), &options);
        let wanted = match entry["expected-valid"].as_bool().unwrap() {
            true => Valid::True,
            false => Valid::False,
        };
        assert_eq!(result.valid, wanted, "{file}: {}", result.reason);
        checked += 1;
    }
    assert!(checked >= 5, "only {checked} histories");
}

#[test]
fn key_value_logs() {
    let Some(corpus) = corpus() else {
        return;
    };
    let folder = corpus.join("porcupine");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let options = Options {
        initial: "".into(),
        ..Options::default()
    };
    let mut checked = 0;
    for entry in manifest["entries"].as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        if !file.starts_with("kv/") {
            continue;
        }
        let loaded = store::import::load_any(&folder.join(file), None, Default::default()).unwrap();
        let result = judge_as("map", loaded.history.events(), &options);
        let wanted = expected(entry, "expected").unwrap();
        assert_eq!(result.valid, wanted, "{file}: {}", result.reason);
        checked += 1;
    }
    assert!(checked > 0, "no key-value logs");
}
