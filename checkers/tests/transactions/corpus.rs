//! Recorded histories with known verdicts, in the folder that `GAINSAY_CORPUS` names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use checkers::transactions::models::find;
use checkers::transactions::{Anomaly, LEVELS};
use checkers::{CheckResult, Valid};
use serde_json::Value;
use store::Event;
use store::import::edn::{Edn, Reader};
use store::import::{Format, ImportOptions, events_of, read_any};

use crate::support::{anomalies, judge, listed};

pub(crate) fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("GAINSAY_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: GAINSAY_CORPUS does not name the folder of recorded histories");
    }
    folder
}

pub(crate) fn names(edn: Option<&Edn>) -> BTreeSet<String> {
    let all = edn.and_then(Edn::elements).unwrap_or_default().iter();
    all.map(|one| one.text().unwrap().to_owned()).collect()
}

pub(crate) fn load(path: &Path) -> Vec<Event> {
    read_any(path, None, ImportOptions::default())
        .unwrap()
        .events
}

/// Whether something that was found is an anomaly, or implies it.
pub(crate) fn shows(found: &BTreeSet<String>, wanted: &str) -> bool {
    let implies = |name: &String| {
        let anomaly = Anomaly::all().find(|one| one.name() == *name);
        let wanted = Anomaly::all().find(|one| one.name() == wanted);
        matches!((anomaly, wanted), (Some(anomaly), Some(wanted)) if anomaly.implies(wanted))
    };
    found.contains(wanted) || found.iter().any(implies)
}

/// All that a generator says of an anomaly that it planted was found, or what implies it.
pub(crate) fn shows_all(name: &str, found: &BTreeSet<String>, expected: &[Value]) {
    for wanted in expected {
        let wanted = wanted.as_str().unwrap().split('(').next().unwrap();
        assert!(shows(found, wanted), "{name}: {wanted}, not {found:?}");
    }
}

/// A level is among those that are violated.
pub(crate) fn is_violated(name: &str, result: &CheckResult, level: &str) {
    let violated = listed(result, "violated");
    assert!(
        violated.iter().any(|one| one == level),
        "{name}: {level} holds: {}",
        result.reason
    );
}

/// Goes through the cases of Elle's own tests of a checker, with their numbers. How many there are.
pub(crate) fn elle_cases(
    corpus: &Path,
    checker: &str,
    mut each: impl FnMut(i64, &Edn<'_>),
) -> usize {
    let text = std::fs::read_to_string(corpus.join("elle/cases.edn")).unwrap();
    let mut reader = Reader::new(&text);
    let mut count = 0;
    while let Some(case) = reader.next_value().unwrap() {
        if case.get("checker").and_then(Edn::text) != Some(checker) {
            continue;
        }
        let Some(&Edn::Int(id)) = case.get("id") else {
            panic!("a case without a number")
        };
        each(id, &case);
        count += 1;
    }
    count
}

/// Recorded cases that are not compared, and why.
///
/// Where only some anomalies were asked for, Elle's verdict is on these, and only that they are found is compared.
const DIFFERENT: &[(i64, &str)] = &[(91, "its history was not recorded")];

#[test]
fn elle_s_own_cases() {
    let Some(corpus) = corpus() else { return };
    let judged = elle_cases(&corpus, "list-append", |id, case| {
        if DIFFERENT.iter().any(|(other, _)| *other == id) {
            return;
        }
        let history = case.get("history").unwrap();
        let events = events_of(history, ImportOptions::default()).unwrap();
        let options = case.get("options");
        let level = names(options.and_then(|options| options.get("consistency-models")));
        let level = level.first().map_or("strict-serializable", String::as_str);
        let result = judge(&events, level);
        let found = anomalies(&result);
        let asked = names(options.and_then(|options| options.get("anomalies")));
        let expected = names(case.get("anomaly-types"));
        let valid = case.get("valid?");
        eprintln!("case {id}: {found:?} {:?}", result.reason);
        for wanted in expected
            .iter()
            .filter(|name| name.as_str() != "empty-transaction-graph")
        {
            assert!(shows(&found, wanted), "case {id}: {wanted}, not {found:?}");
        }
        if asked.is_empty() {
            let expected = match valid {
                Some(Edn::Bool(true)) => Valid::True,
                Some(Edn::Bool(false)) => Valid::False,
                _ => Valid::Unknown,
            };
            assert_eq!(result.valid, expected, "case {id}: {}", result.reason);
            for model in names(case.get("not")) {
                let violated = listed(&result, "violated");
                assert!(
                    violated
                        .iter()
                        .any(|name| *name == find(&model).unwrap().name),
                    "case {id}: {model}"
                );
            }
        }
    });
    assert!(judged > 20 + DIFFERENT.len(), "{judged}");
}

/// Models that Elle has not.
const OURS: [&str; 3] = [
    "strong-session-causal-cerone",
    "strong-session-monotonic-atomic-view",
    "strong-session-read-atomic",
];

/// What Elle says nothing of: that snapshots and the order of sessions are causal, and what parallel snapshot isolation rules out (Cerone
/// and Gotsman 2018).
fn is_ours(level: &str, implied_or_proscribed: &str) -> bool {
    matches!(
        (level, implied_or_proscribed),
        ("strong-session-snapshot-isolation", "causal")
            | ("parallel-snapshot-isolation", "G-single" | "G-single-item")
    )
}

#[test]
fn the_lattice_is_elle_s() {
    let Some(corpus) = corpus() else { return };
    let text = std::fs::read_to_string(corpus.join("elle/consistency_models.edn")).unwrap();
    let data = Reader::new(&text).next_value().unwrap().unwrap();
    let Some(Edn::Map(models)) = data.get("models") else {
        panic!("no models")
    };
    assert_eq!(models.len() + OURS.len(), LEVELS.len());
    for (name, model) in models {
        let level = find(name.text().unwrap()).unwrap();
        let implied: BTreeSet<&str> = names(model.get("implies"))
            .iter()
            .map(|name| find(name).unwrap().name)
            .collect();
        assert_eq!(
            implied,
            level
                .implies
                .iter()
                .copied()
                .filter(|name| !OURS.contains(name) && !is_ours(level.name, name))
                .collect(),
            "{}",
            level.name
        );
        let proscribed = names(model.get("all-proscribed"));
        for anomaly in Anomaly::all() {
            // Ours have no names there, and of models of single objects Elle says nothing of transactions.
            let single = ["causal", "sequential", "linearizable"].contains(&level.name);
            let ours = matches!(
                anomaly,
                Anomaly::GarbageRead
                    | Anomaly::IncompatibleVersions
                    | Anomaly::LostAppend
                    | Anomaly::UnseenOwnWrite
                    | Anomaly::View(..)
                    | Anomaly::FracturedUpdate
                    | Anomaly::PrefixViolation
                    | Anomaly::NoSerialOrder(_)
                    | Anomaly::NoSnapshots(_)
                    | Anomaly::NoPrefixes
            ) || is_ours(level.name, anomaly.name());
            if single || ours {
                continue;
            }
            let expected = proscribed.contains(anomaly.name());
            // Elle looks for none of these, and does not say that they are cycles of classes.
            if Anomaly::SHAPES.contains(&anomaly) && !expected {
                continue;
            }
            assert_eq!(
                level.rules_out(anomaly),
                expected,
                "{} {anomaly}",
                level.name
            );
        }
    }
    let Some(Edn::Map(implications)) = data.get("implied-anomalies") else {
        panic!("no implications")
    };
    for (name, implied) in implications {
        let known = |name: &str| Anomaly::all().find(|one| one.name() == name);
        for other in names(Some(implied)) {
            if let (Some(one), Some(other)) = (known(name.text().unwrap()), known(&other)) {
                assert!(one.implies(other), "{one} {other}");
            }
        }
    }
}

#[test]
fn histories_shipped_with_elle() {
    let Some(corpus) = corpus() else { return };
    let example = judge(
        &load(&corpus.join("elle/paper-example.edn")),
        "serializable",
    );
    assert_eq!(example.valid, Valid::False, "{}", example.reason);
    // Its large component is one of real time; without that, there are no cycles but those with two anti-dependencies in a row.
    let huge = load(&corpus.join("elle/huge-scc.edn"));
    let strict = judge(&huge, "strict-serializable");
    assert_eq!(strict.valid, Valid::False, "{}", strict.reason);
    assert!(anomalies(&strict).contains("G-single-item-realtime"));
    assert_eq!(judge(&huge, "snapshot-isolation").valid, Valid::True);
    let cli = judge(
        &load(&corpus.join("elle-cli/histories/elle/paper-example.edn")),
        "strict-serializable",
    );
    assert_eq!(cli.valid, Valid::False);
}

/// Makes a history, and reads it with what its maker says of it.
pub(crate) fn generated(corpus: &Path, name: &str, arguments: &str) -> (Vec<Event>, Value) {
    let folder = std::env::temp_dir().join(format!(
        "gainsay-transactions-{}-{name}",
        std::process::id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("history");
    let status = Command::new("python3")
        .arg(corpus.join("gen_txn.py"))
        .arg(&path)
        .args(arguments.split_whitespace())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let manifest = std::fs::read_to_string(folder.join("history.manifest.json")).unwrap();
    let events = load(&path);
    std::fs::remove_dir_all(&folder).unwrap();
    (events, serde_json::from_str(&manifest).unwrap())
}

#[test]
fn single_anomalies_are_found_and_named_and_bound_the_models() {
    let Some(corpus) = corpus() else { return };
    let all = [
        "g0",
        "g1a",
        "g1b",
        "g1c",
        "g-single",
        "lost-update",
        "write-skew",
        "long-fork",
        "stale-read",
        "internal",
        "dirty-update",
        "incompatible-order",
        "duplicate",
        "future-read",
        "garbage",
        "lost-append",
    ];
    for (at, name) in all.iter().enumerate() {
        let format = if at % 2 == 0 {
            Format::JsonLines
        } else {
            Format::Edn
        };
        let arguments = format!(
            "--format {} -n 300 --info 0.01 --fail 0.02 --inject {name}:1 --seed {at}",
            format.name()
        );
        let (events, manifest) = generated(&corpus, name, &arguments);
        let result = judge(&events, "strict-serializable");
        let found = anomalies(&result);
        assert_eq!(result.valid, Valid::False, "{name}");
        let injected = &manifest["injected"][0];
        shows_all(name, &found, injected["expected"].as_array().unwrap());
        is_violated(
            name,
            &result,
            injected["weakest-violated"].as_str().unwrap(),
        );
    }
}

#[test]
fn simulated_stores_keep_what_they_promise_and_no_more() {
    let Some(corpus) = corpus() else { return };
    let stores = [
        ("strict", "strict-serializable", None),
        ("stale", "serializable", Some("strict-serializable")),
        (
            "stale --session",
            "strong-session-serializable",
            Some("strict-serializable"),
        ),
        ("si", "strong-snapshot-isolation", Some("serializable")),
        ("psi", "consistent-view", Some("snapshot-isolation")),
        ("rc", "read-committed", Some("repeatable-read")),
    ];
    for (store, kept, broken) in stores {
        for seed in 1..3 {
            let arguments = format!(
                "--format jsonl --db {store} -n 2000 -c 20 --max-writes 32 --fail 0.01 --info 0.002 --seed {seed}"
            );
            let (events, _) = generated(&corpus, &store.replace(' ', ""), &arguments);
            let result = judge(&events, kept);
            assert_eq!(result.valid, Valid::True, "{store}: {}", result.reason);
            if let Some(broken) = broken {
                assert_eq!(
                    judge(&events, broken).valid,
                    Valid::False,
                    "{store} {broken}"
                );
            }
        }
    }
}
