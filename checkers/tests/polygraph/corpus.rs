//! Recorded histories with known verdicts, in the folder that `GAINSAY_CORPUS` names.

use std::path::PathBuf;

use checkers::budget::Unlimited;
use checkers::transactions::polygraph::{Decision, Level, Model, Respects, decide};
use serde_json::Value;

use crate::registers;

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("GAINSAY_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: GAINSAY_CORPUS does not name the folder of recorded histories");
    }
    folder
}

/// Sessions are part of both levels in the tools that gave the verdicts.
const LEVELS: [(&str, Model); 2] = [
    ("serializable", Model::Serializable),
    ("snapshot-isolation", Model::SnapshotIsolation),
];

#[test]
fn recorded_histories_have_their_verdicts() {
    let Some(corpus) = corpus() else { return };
    let mut judged = 0;
    for folder in ["dbcop-bugs", "real-bugs", "veristrong-valid"] {
        let folder = corpus.join("txn").join(folder);
        let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        for entry in manifest.as_array().unwrap() {
            let file = entry["file"].as_str().unwrap();
            let seen = registers::read(&folder.join(file));
            for (name, model) in LEVELS {
                let Some(wanted) = entry["expected"][name].as_str() else {
                    continue;
                };
                let level = Level {
                    model,
                    respects: Respects::Sessions,
                };
                let found = match &seen {
                    Err(_) => false,
                    Ok(seen) => match decide(seen, level, &Unlimited) {
                        Decision::Holds(_) => true,
                        Decision::Violated(_) => false,
                        Decision::Unknown(why) => panic!("{file}: {why}"),
                    },
                };
                // What is only claimed is not compared, but decided.
                if wanted != "claimed" {
                    assert_eq!(found, wanted == "accept", "{file}: {name}");
                }
                judged += 1;
            }
        }
    }
    assert!(judged > 300, "{judged}");
}
