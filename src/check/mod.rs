//! Judging histories, each checker in a process of its own.
//!
//! A checker that panics, overruns its time or its memory, or is killed makes its own verdict
//! `unknown` and leaves its siblings alone. The kernel enforces the memory limit; the deadline is
//! enforced from outside, a little after the checker's own budget has asked it to stop.

mod budget;
mod follow;
mod invariants;
mod online;
mod process;
mod results;
mod standard;
mod worker;

pub(crate) use follow::Seen;
pub(crate) use invariants::INVARIANTS;
pub(crate) use online::OnlineChecker;
pub(crate) use process::CheckerProcess;
pub(crate) use results::{CheckerReport, Results};
pub(crate) use standard::{
    COVERAGE, MODELS, TRANSACTIONAL, consistency_of, format_named, recorded_as,
};
pub(crate) use worker::{Answer, FileRequest, LINT, Request, WORKER_ARGUMENT, serve};

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use harness::interpreter::Stop;
use serde::{Deserialize, Serialize};
use store::RunFolder;
use workloads::Suite;

use crate::run::RecoveryReport;
use crate::spec::{CheckLimits, TestSpec};

/// How many checkers run at once: each may use its whole memory limit.
const AT_ONCE: usize = 2;

/// Why a run was ended before its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoppedEarly {
    /// The online checker that found a violation.
    pub(crate) by: String,
    /// What it found.
    pub(crate) reason: String,
    /// When, in seconds since the run's clock began.
    pub(crate) at: f64,
}

/// What is known of a run besides its history.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunFacts {
    /// What went wrong with the test itself.
    pub(crate) failure: Option<String>,
    /// What of the system did not recover after all faults were healed.
    pub(crate) not_recovered: Option<String>,
    /// Who recovered when.
    pub(crate) recovery: Option<RecoveryReport>,
    /// Why it was ended before its time.
    pub(crate) stopped: Option<StoppedEarly>,
    /// What else a person should know, a sentence each.
    pub(crate) notes: Vec<String>,
    /// Why the controller's stamps cannot be trusted to show stale reads absent.
    pub(crate) overloaded: Option<String>,
}

/// Runs all checkers of a run on its history, and combines what they say.
pub(crate) fn judge(
    suite: &dyn Suite,
    spec: &TestSpec,
    folder: &RunFolder,
    facts: &RunFacts,
    stop: Option<&Stop>,
) -> Result<Results> {
    let names = standard::names(suite, spec)?;
    let mut reports = run_all(folder.path(), &names, spec.check, stop);
    reports.extend(standard::judge_facts(facts));
    reports.extend(standard::judge_online(facts, &reports));
    Ok(Results::new(
        &suite.claim(&spec.workload, &spec.options),
        reports,
        facts,
        spec.seed,
    ))
}

/// Runs checkers, each in a process of its own, and returns their reports in the same order.
fn run_all(
    folder: &Path,
    checkers: &[String],
    limits: CheckLimits,
    stop: Option<&Stop>,
) -> Vec<CheckerReport> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(vec![None; checkers.len()]);
    let work = || {
        while let Some((at, checker)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            checkers.get(at).map(|checker| (at, checker))
        } {
            let folder = folder.to_path_buf();
            let request = Request::Run {
                folder,
                checker: checker.clone(),
                limits,
            };
            let report = judge_one(checker, &request, limits, stop);
            reports.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(checkers.len()) {
            scope.spawn(work);
        }
    });
    reports
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_iter()
        .flatten()
        .collect()
}

fn judge_one(
    checker: &str,
    request: &Request,
    limits: CheckLimits,
    stop: Option<&Stop>,
) -> CheckerReport {
    let answer = CheckerProcess::start(limits.memory)
        .and_then(|mut process| process.ask(request, limits.time, stop));
    CheckerReport::new(checker, answer)
}
