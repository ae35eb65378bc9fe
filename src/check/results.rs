//! `results.json`: the verdict on a run, each checker's report, and how these combine.

use checkers::{CheckResult, Evidence, Valid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::process::no_answer;
use super::standard::{CONTROLLER, RECOVERY};
use super::worker::Answer;
use super::{RunFacts, StoppedEarly};
use crate::compare::Comparison;
use crate::run::RecoveryReport;
use crate::spec::FORMAT;
use crate::summary::Summary;

/// The verdict on a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The version of this format.
    pub(crate) format: u32,
    /// The combined verdict: any `false` wins, then `unknown`, then `true`.
    pub(crate) valid: Valid,
    /// One sentence: the reason of the checker that decided.
    pub(crate) reason: String,
    /// What the system promises, and who says so.
    pub(crate) claim: ClaimReport,
    /// What went wrong with the test itself, if anything did.
    pub(crate) harness_failure: Option<String>,
    /// Why the run was ended before its time, if it was by an online checker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<StoppedEarly>,
    /// What else a person should know of the run, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// How the system came back after the faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recovery: Option<RecoveryReport>,
    /// The run in numbers. Results of older versions have none, and none was made where the history could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<Summary>,
    /// How it compares with an earlier run, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<Comparison>,
    /// Each checker's report.
    pub(crate) checkers: Vec<CheckerReport>,
    /// The root of all random choices.
    pub(crate) seed: u64,
}

/// The claim that a verdict is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClaimReport {
    /// The promise.
    pub(crate) model: String,
    /// Who promises it, for which version and settings.
    pub(crate) source: String,
}

/// What one checker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckerReport {
    /// The checker.
    pub(crate) checker: String,
    /// Its verdict.
    pub(crate) valid: Valid,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// What proves a `false`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) evidence: Vec<Evidence>,
    /// Counts and other findings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) details: Map<String, Value>,
    /// Milliseconds that it took to read the history.
    pub(crate) ms_parse: f64,
    /// Milliseconds that it took to check it.
    pub(crate) ms_check: f64,
    /// The most memory its process had, in bytes.
    pub(crate) peak_memory: u64,
}

impl CheckerReport {
    /// The report of an answer, or of its absence.
    pub(crate) fn new(checker: &str, answer: Result<Answer, String>) -> CheckerReport {
        let answer = answer.unwrap_or_else(|reason| Answer {
            result: no_answer(reason),
            ms_parse: 0.0,
            ms_check: 0.0,
            peak_memory: 0,
        });
        let Answer {
            result,
            ms_parse,
            ms_check,
            peak_memory,
        } = answer;
        CheckerReport {
            ms_parse,
            ms_check,
            peak_memory,
            ..CheckerReport::of(checker, result)
        }
    }

    /// A report that cost nothing to make.
    pub(super) fn of(checker: &str, result: CheckResult) -> CheckerReport {
        let CheckResult {
            valid,
            reason,
            evidence,
            details,
        } = result;
        CheckerReport {
            checker: checker.to_owned(),
            valid,
            reason,
            evidence,
            details,
            ms_parse: 0.0,
            ms_check: 0.0,
            peak_memory: 0,
        }
    }
}

impl Results {
    /// Combines the reports of all checkers.
    pub(crate) fn new(
        claim: &workloads::Claim,
        checkers: Vec<CheckerReport>,
        facts: &RunFacts,
        seed: u64,
    ) -> Results {
        let mut valid = checkers
            .iter()
            .fold(Valid::True, |valid, report| valid.and(report.valid));
        let decided = checkers.iter().find(|report| report.valid == valid);
        let mut reason = match (valid, decided) {
            (Valid::True, _) => format!("no violation of the claim was found: {}", claim.model),
            (_, Some(report)) => report.reason.clone(),
            (_, None) => String::new(),
        };
        // What was recorded holds, but a run that broke off proves nothing good.
        if let (Valid::True, Some(failure)) = (valid, &facts.failure) {
            valid = Valid::Unknown;
            reason = format!("the test itself failed: {failure}");
        }
        let claim = ClaimReport {
            model: claim.model.clone(),
            source: claim.source.clone(),
        };
        Results {
            format: FORMAT,
            valid,
            reason,
            claim,
            harness_failure: facts.failure.clone(),
            stopped: facts.stopped.clone(),
            notes: facts.notes.clone(),
            recovery: facts.recovery.clone(),
            summary: None,
            comparison: None,
            checkers,
            seed,
        }
    }

    /// What was known of the run besides its history.
    pub(crate) fn facts(&self) -> RunFacts {
        let reason = |name: &str| {
            let report = self.checkers.iter().find(|report| report.checker == name)?;
            Some(report.reason.clone())
        };
        RunFacts {
            failure: self.harness_failure.clone(),
            not_recovered: reason(RECOVERY),
            overloaded: reason(CONTROLLER),
            recovery: self.recovery.clone(),
            stopped: self.stopped.clone(),
            notes: self.notes.clone(),
        }
    }
}
