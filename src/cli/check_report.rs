//! `gainsay check … --report FILE`: what a checker said of a history, as a page.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use store::import::load_to_look;
use store::{RunFolder, write_whole};
use workloads::Claim;

use super::source::Reading;
use crate::check::{Answer, CheckerReport, Results, RunFacts};
use crate::report;
use crate::spec::{Imported, TestSpec};

/// Writes the page.
pub(super) fn write(
    to: &Path,
    history: &Path,
    reading: &Reading,
    (model, consistency): (&str, &str),
    answer: Result<Answer, String>,
) -> Result<()> {
    let loaded = load_to_look(history, reading.format, reading.options)?;
    let spec = spec(history, model, &loaded.notes);
    let claim = Claim {
        model: format!("{model}, {consistency}"),
        source: "what the history was to be checked for".to_owned(),
    };
    let checkers = vec![CheckerReport::new(consistency, answer)];
    let mut results = Results::new(&claim, checkers, &RunFacts::default(), spec.seed);
    let page = report::of_history(&spec, &mut results, loaded.history)?;
    write_whole(to, |out| out.write_all(page.as_bytes()))
        .with_context(|| format!("the report cannot be written to {}", to.display()))
}

/// The run that a history is of, where it is in a run's folder; else what is known of the file.
fn spec(history: &Path, model: &str, notes: &[String]) -> TestSpec {
    let run = RunFolder::open(history).ok();
    if let Some(spec) = run.and_then(|run| run.read_test().ok()) {
        return spec;
    }
    let name = history.file_name().unwrap_or_default().to_string_lossy();
    let imported = Imported {
        file: history.display().to_string(),
        format: String::new(),
        at: Timestamp::now().to_string(),
        notes: notes.to_vec(),
        findings: 0,
    };
    TestSpec::of_imported(&name, model, imported)
}
