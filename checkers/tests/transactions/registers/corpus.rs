//! Recorded histories of registers with known verdicts, in the folder that `GAINSAY_CORPUS` names.

use std::path::Path;

use checkers::Valid;
use checkers::transactions::Assumptions;
use checkers::transactions::models::{academic, find};
use serde_json::Value;
use store::Event;
use store::import::edn::Edn;
use store::import::{ImportOptions, events_of};

use super::support::{judge, judge_with, raw};
use crate::corpus::{corpus, elle_cases, generated, is_violated, load, names, shows, shows_all};
use crate::support::{anomalies, listed};

/// Cases of Elle's where we differ, and what we say.
const DIFFERENT: &[(i64, Valid, &str)] = &[
    (
        11,
        Valid::False,
        "2 is read from x, and nobody wrote it: garbage, which Elle passes over",
    ),
    (12, Valid::False, "garbage too, besides what Elle finds"),
    (
        30,
        Valid::False,
        "1 is read from x and y, and nobody wrote it: a read of what is not committed",
    ),
    (34, Valid::False, "1 is read from y, and nobody wrote it"),
];

#[test]
fn elle_s_own_cases() {
    let Some(corpus) = corpus() else { return };
    let judged = elle_cases(&corpus, "rw-register", |id, case| {
        let events = events_of(case.get("history").unwrap(), ImportOptions::default()).unwrap();
        let options = case.get("options");
        let option = |name: &str| options.and_then(|options| options.get(name));
        let flag = |name: &str| option(name) == Some(&Edn::Bool(true));
        let assume = Assumptions {
            wfr_keys: option("wfr-keys?") != Some(&Edn::Bool(false)),
            sequential_keys: flag("sequential-keys?"),
            linearizable_keys: flag("linearizable-keys?"),
            given_versions: false,
        };
        let level = names(option("consistency-models"));
        let level = level.first().map_or("strict-serializable", String::as_str);
        let result = judge_with(&events, level, assume);
        let found = anomalies(&result);
        eprintln!("case {id}: {found:?} {:?}", result.reason);
        let expected = names(case.get("anomaly-types"));
        for wanted in expected
            .iter()
            .filter(|name| *name != "empty-transaction-graph")
        {
            assert!(shows(&found, wanted), "case {id}: {wanted}, not {found:?}");
        }
        let different = DIFFERENT.iter().find(|(other, ..)| *other == id);
        if let Some((_, valid, _)) = different {
            assert_eq!(result.valid, *valid, "case {id}: {}", result.reason);
            return;
        }
        // Where only some anomalies were asked for, Elle's verdict is on these.
        if !names(option("anomalies")).is_empty() {
            return;
        }
        match case.get("valid?") {
            Some(Edn::Bool(true)) => {
                assert_eq!(result.valid, Valid::True, "case {id}: {}", result.reason)
            }
            Some(Edn::Bool(false)) => {
                assert_eq!(result.valid, Valid::False, "case {id}: {}", result.reason)
            }
            _ => assert_eq!(result.valid, Valid::Unknown, "case {id}: {}", result.reason),
        }
        for model in names(case.get("not")) {
            let violated = listed(&result, "violated");
            let model = find(&model).unwrap().name;
            assert!(
                violated.iter().any(|name| name == model),
                "case {id}: {model}"
            );
        }
    });
    assert!(judged > 10, "{judged}");
}

/// Its history has a read of what nobody wrote, which elle-cli passes over.
#[test]
fn elle_cli_s_history() {
    let Some(corpus) = corpus() else { return };
    let events = load(&corpus.join("elle-cli/histories/elle/rw-register.json"));
    let result = judge(&events, "strict-serializable");
    assert_eq!(result.valid, Valid::False, "{}", result.reason);
    assert!(anomalies(&result).contains("garbage-read"));
}

/// A history: its file, its events, and levels with whether they hold, by their academic names.
type Case = (String, Vec<Event>, Vec<(String, bool)>);

/// The cases of a manifest.
fn cases_of(folder: &Path) -> Vec<Case> {
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let each = manifest.as_array().unwrap().iter();
    each.map(|case| {
        let file = case["file"].as_str().unwrap();
        let path = folder.join(file);
        let events = load(&path);
        let expected = case["expected"].as_object().unwrap().iter();
        let levels = expected
            .filter(|(_, says)| *says != "claimed")
            .map(|(level, says)| (level.clone(), says == "accept"));
        (file.to_owned(), events, levels.collect())
    })
    .collect()
}

#[test]
fn verdicts_of_other_checkers() {
    let Some(corpus) = corpus() else { return };
    let mut decided = 0;
    for folder in ["awdit", "real-bugs", "dbcop-bugs"] {
        for (file, events, levels) in cases_of(&corpus.join("txn").join(folder)) {
            for (name, holds) in levels {
                let level = academic(&name).unwrap().name;
                let result = judge(&events, level);
                let expected = if holds { Valid::True } else { Valid::False };
                decided += 1;
                assert_eq!(
                    result.valid, expected,
                    "{folder}/{file}, {name}: {}",
                    result.reason
                );
            }
        }
    }
    assert!(decided > 500, "{decided}");
}

/// Histories with repeated values, which no other checker of weak levels takes.
#[test]
fn histories_of_serializable_stores_with_repeated_values() {
    let Some(corpus) = corpus() else { return };
    for (file, events, _) in cases_of(&corpus.join("txn/veristrong-valid")) {
        let result = raw(&events, "causal", Assumptions::default());
        assert_ne!(result.valid, Valid::False, "{file}: {}", result.reason);
        eprintln!("{file}: {}", result.reason);
    }
}

#[test]
fn single_anomalies_are_found_and_named_and_bound_the_models() {
    let Some(corpus) = corpus() else { return };
    let all = [
        "g1a",
        "g1b",
        "g1c",
        "g-single",
        "lost-update",
        "write-skew",
        "long-fork",
        "stale-read",
        "internal",
        "future-read",
        "garbage",
    ];
    for (at, name) in all.iter().enumerate() {
        let format = if at % 2 == 0 { "jsonl" } else { "edn" };
        let arguments = format!(
            "--workload rw-register --format {format} -n 300 --info 0.01 --fail 0.02 --inject {name}:1 --seed {at}"
        );
        let (events, manifest) = generated(&corpus, &format!("rw-{name}"), &arguments);
        let result = judge(&events, "strict-serializable");
        let found = anomalies(&result);
        assert_eq!(result.valid, Valid::False, "{name}");
        let injected = &manifest["injected"][0];
        if let Some(expected) = injected["expected"].as_array() {
            shows_all(name, &found, expected);
        }
        if let Some(weakest) = injected["weakest-violated"].as_str() {
            is_violated(name, &result, weakest);
        }
    }
}

#[test]
fn simulated_stores_keep_what_they_promise_and_no_more() {
    let Some(corpus) = corpus() else { return };
    let stores = [
        ("strict", "strict-serializable", "causal", None),
        (
            "stale",
            "serializable",
            "causal-cerone",
            Some("strict-serializable"),
        ),
        (
            "stale --session",
            "strong-session-serializable",
            "causal",
            None,
        ),
        (
            "si",
            "strong-snapshot-isolation",
            "causal",
            Some("serializable"),
        ),
        ("psi", "consistent-view", "causal-cerone", None),
        (
            "rc",
            "read-committed",
            "strong-read-committed",
            Some("read-atomic"),
        ),
        (
            "ru",
            "read-uncommitted",
            "read-uncommitted",
            Some("read-committed"),
        ),
    ];
    for (store, kept, decided, broken) in stores {
        for seed in 1..3 {
            let arguments = format!(
                "--workload rw-register --format jsonl --db {store} -n 2000 -c 20 --max-writes 32 --fail 0.01 --info 0.002 --seed {seed}"
            );
            let (events, _) = generated(
                &corpus,
                &format!("rw-{}", store.replace(' ', "")),
                &arguments,
            );
            let result = judge(&events, kept);
            let open = kept == "consistent-view" && result.valid == Valid::Unknown;
            assert!(
                open || result.valid == Valid::True,
                "{store}: {}",
                result.reason
            );
            let result = judge(&events, decided);
            assert_eq!(result.valid, Valid::True, "{store}: {}", result.reason);
            if let Some(broken) = broken {
                let result = judge(&events, broken);
                assert_eq!(
                    result.valid,
                    Valid::False,
                    "{store} {broken}: {}",
                    result.reason
                );
            }
        }
    }
}
