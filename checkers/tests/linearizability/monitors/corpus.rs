//! Histories of `gen_lin.py`, made when the test runs, from the folder that `GAINSAY_CORPUS` names.

use std::path::Path;
use std::process::Command;

use checkers::budget::Unlimited;

use super::lower::{Lowering, Said};

/// Runs the generator, and the monitor on what it made.
fn said(script: &Path, folder: &Path, arguments: &str) -> Said {
    let base = folder.join("history");
    let output = Command::new("python3")
        .arg(script)
        .args(arguments.split_whitespace())
        .args(["--fmt", "jsonl", "--out"])
        .arg(&base)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(base.with_extension("jsonl")).unwrap();
    let mut lowering = Lowering::new(false);
    for line in text.lines() {
        lowering.take(&serde_json::from_str(line).unwrap());
    }
    lowering.finish().check(&Unlimited).unwrap()
}

#[test]
fn generated_histories_are_judged_as_they_were_made() {
    let Some(corpus) = std::env::var_os("GAINSAY_CORPUS") else {
        eprintln!("SKIPPED: GAINSAY_CORPUS does not name the folder of recorded histories");
        return;
    };
    let script = Path::new(&corpus).join("gen_lin.py");
    let folder = std::env::temp_dir().join(format!("gainsay-monitors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let types = [
        "queue",
        "stack",
        "set",
        "pqueue",
        "register --unique",
        "cas --unique",
    ];
    for kind in types {
        for seed in 1..3 {
            for (procs, crash) in [(4, 0.0), (20, 0.0), (10, 0.02)] {
                let shape = format!("--ops 1000 --procs {procs} --crash {crash} --seed {seed}");
                // The generator crashes nothing but operations of registers.
                let arguments = format!("--type {kind} {shape}");
                if crash > 0.0 && !kind.contains("unique") {
                    continue;
                }
                let valid = said(&script, &folder, &arguments);
                assert_eq!(valid, Said::Linearizable, "{arguments}");
                let invalid = said(&script, &folder, &format!("{arguments} --invalid"));
                assert!(
                    matches!(invalid, Said::Violation(_)),
                    "{arguments} --invalid: {invalid:?}"
                );
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
