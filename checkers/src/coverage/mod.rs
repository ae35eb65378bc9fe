//! Could the run have found anything?
//!
//! A history without concurrent operations, or in which nothing succeeded, or whose faults never
//! took effect, is linearizable, serializable and whatever else one asks: it proves nothing. This
//! checker looks for evidence that something could have gone wrong. Without it the verdict is
//! `unknown`, with what to change.
//!
//! What faults say of themselves is read from the nemesis' events: the process `nemesis/<name>`
//! with the functions `start` and `stop`. A `start` that ends `ok` was installed, `fail` skipped,
//! `info` nobody knows. The value of an `ok` is an object with `effective`, whether it is proved
//! that the fault acted (by the `start` or only later by the `stop`), `targets`, the nodes struck,
//! and `leader`, whether a leader was among them.

mod clients;
mod faults;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use store::{Event, Process};

use crate::budget::Budget;
use crate::{CheckResult, Checker, Feed, Valid};

use clients::Clients;
use faults::Faults;

/// What a run must have shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The faults that were asked for, by the name in `nemesis/<name>`.
    pub faults: Vec<String>,
    /// Whether the system has leaders, so that each fault must have struck one.
    pub leaders: bool,
    /// How many operations of each function that occurs must have ended `ok`.
    pub ok_min: u64,
    /// The same for single functions, which then must occur. Wins over `ok_min`.
    pub ok_min_of: BTreeMap<String, u64>,
}

/// Makes a run that could not have found anything `unknown`. Never invalid.
///
/// Details: `ok`, operations that succeeded, by function; `concurrent`, whether operations (on the
/// same key) overlapped; `problems`, the sentences of the reason; `faults`, for each fault
/// `{name, requested, activities, effective, skipped, indeterminate, with-leader, targets, ok,
/// fail, info, ok-in-force}`. The counts of operations are of those that overlapped an effective
/// activity; `ok-in-force` counts those that succeeded before it was ended.
#[derive(Debug)]
pub struct Coverage {
    options: Options,
    clients: Clients,
    faults: Faults,
}

impl Coverage {
    /// A checker of what the options ask for.
    pub fn new(options: Options) -> Coverage {
        Coverage {
            faults: Faults::new(&options.faults),
            options,
            clients: Clients::default(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let options = &self.options;
        let mut problems = self.clients.problems(options.ok_min, &options.ok_min_of);
        problems.extend(self.faults.problems(options.leaders));
        problems
    }
}

impl Checker for Coverage {
    fn feed(&mut self, events: &[Event], _budget: &dyn Budget) -> Feed {
        for event in events {
            match &event.process {
                Process::Nemesis(name) => self.faults.take(name, event),
                Process::Client(process) => {
                    if let Some(ended) = self.clients.take(*process, event) {
                        self.faults.operation_ended(ended, event);
                    }
                }
            }
        }
        Feed::Continue
    }

    fn finish(&mut self, _budget: &dyn Budget) -> CheckResult {
        for invoke in self.clients.never_ended() {
            self.faults.operation_never_ended(invoke);
        }
        self.faults.end();
        let problems = self.problems();
        let mut result = if problems.is_empty() {
            CheckResult::new(Valid::True, self.praise())
        } else {
            let reason = format!("not enough evidence: {}", problems.join(" "));
            CheckResult::new(Valid::Unknown, reason)
        };
        let ok = self.clients.ok_by_f();
        let ok: serde_json::Map<String, Value> = ok.map(|(f, ok)| (f, ok.into())).collect();
        result.details.extend([
            ("ok".to_owned(), Value::Object(ok)),
            ("concurrent".to_owned(), json!(self.clients.concurrent())),
            ("faults".to_owned(), self.faults.details()),
        ]);
        if !problems.is_empty() {
            result
                .details
                .insert("problems".to_owned(), problems.into());
        }
        result
    }
}

impl Coverage {
    fn praise(&self) -> String {
        let ok: u64 = self.clients.ok_by_f().map(|(_, ok)| ok).sum();
        match self.options.faults.len() {
            0 => format!("{ok} operations succeeded, some of them concurrent"),
            1 => {
                format!("{ok} operations succeeded, some of them concurrent; the fault took effect")
            }
            n => format!(
                "{ok} operations succeeded, some of them concurrent; each of {n} faults took effect"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
