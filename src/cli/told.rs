//! What `test`, `analyze` and `test-all` say of a run with `--json`: one object a line, as `docs/schema/test.json` describes it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::{Results, StoppedEarly};
use crate::ci::Case;
use crate::compare::Comparison;
use crate::exit::Exit;
use crate::report;
use crate::run::Finished;
use crate::spec::TestSpec;
use crate::summary::Summary;
use checkers::Valid;

/// The version of the object.
const FORMAT: u32 = 1;

/// A run that was judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    format: u32,
    /// The run's folder.
    pub(super) run: String,
    /// Its id.
    pub(super) id: String,
    /// `<suite>-<workload>`.
    pub(super) test: String,
    /// The verdict.
    pub(super) valid: Valid,
    /// Why.
    pub(super) reason: String,
    /// What explains a violation, in sentences.
    pub(super) explanation: Vec<String>,
    /// The root of all random choices.
    pub(super) seed: u64,
    harness_failure: Option<String>,
    stopped: Option<StoppedEarly>,
    /// The exit code that this run alone would have.
    pub(super) exit: u8,
    report: String,
    results: String,
    /// The command that makes the same run.
    pub(super) again: String,
    summary: Option<Summary>,
    comparison: Option<Comparison>,
}

impl Told {
    /// What is said of a run.
    pub(super) fn of(finished: &Finished) -> Told {
        let Finished {
            folder,
            results,
            exit,
        } = finished;
        let spec = folder.read_test::<TestSpec>();
        Told {
            format: FORMAT,
            run: folder.path().display().to_string(),
            id: folder.id(),
            test: folder.test(),
            valid: results.valid,
            reason: results.reason.clone(),
            explanation: explanation(results),
            seed: results.seed,
            harness_failure: results.harness_failure.clone(),
            stopped: results.stopped.clone(),
            exit: exit.code(),
            report: folder.report_path().display().to_string(),
            results: folder.results_path().display().to_string(),
            again: spec.map(|spec| report::again(&spec)).unwrap_or_default(),
            summary: results.summary.clone(),
            comparison: results.comparison.clone(),
        }
    }

    /// As a case of continuous integration, by this name.
    pub(super) fn case(&self, name: String, exit: Exit, time: Duration) -> Case {
        Case {
            group: self.test.clone(),
            name,
            exit,
            reason: match (&self.harness_failure, exit) {
                (Some(failure), Exit::Failure) => failure.clone(),
                _ => self.reason.clone(),
            },
            details: self.explanation.clone(),
            time,
            properties: vec![
                ("seed", self.seed.to_string()),
                ("run", self.run.clone()),
                ("id", self.id.clone()),
                ("again", self.again.clone()),
            ],
        }
    }
}

/// The sentences, without the spacing that they have on a terminal.
fn explanation(results: &Results) -> Vec<String> {
    let lines = report::explanation(results);
    let lines = lines.iter().map(|line| line.trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}
