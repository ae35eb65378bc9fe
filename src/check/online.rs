//! The parent's side of an online checker.

use std::path::PathBuf;

use super::follow::Seen;
use super::process::CheckerProcess;
use super::worker::Request;
use crate::spec::{CheckLimits, TestSpec};
use anyhow::Result;
use harness::interpreter::Stop;
use store::RunFolder;
use workloads::Suite;

/// A checker in a process of its own that follows a run. It has the limits of every checker, and no more of
/// the processors than others leave.
pub(crate) struct OnlineChecker {
    /// The checker's name.
    pub(crate) name: String,
    folder: PathBuf,
    limits: CheckLimits,
    /// Started when first asked.
    process: Option<CheckerProcess>,
}

impl OnlineChecker {
    /// One for each checker of a run's workload. Those that judge every run have nothing to say before its
    /// end.
    pub(crate) fn of_run(
        suite: &dyn Suite,
        spec: &TestSpec,
        folder: &RunFolder,
    ) -> Result<Vec<OnlineChecker>> {
        let checkers = suite.checkers(&spec.workload, &spec.options)?;
        let online = checkers.into_iter().map(|checker| OnlineChecker {
            name: checker.name,
            folder: folder.path().to_owned(),
            limits: spec.check,
            process: None,
        });
        Ok(online.collect())
    }

    /// Has it look at what has been written by now. Blocks until it has; `stop` cuts that short when it
    /// says to abandon.
    pub(crate) fn look(&mut self, stop: &Stop) -> Seen {
        self.ask(stop).unwrap_or_else(|why| Seen::Over { why })
    }

    fn ask(&mut self, stop: &Stop) -> Result<Seen, String> {
        let request = Request::Follow {
            folder: self.folder.clone(),
            checker: self.name.clone(),
            limits: self.limits,
        };
        let process = match &mut self.process {
            Some(process) => process,
            none => none.insert(CheckerProcess::start_in_background(self.limits.memory)?),
        };
        process.ask(&request, self.limits.time, Some(stop))
    }
}
