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
//! and `leader`, whether a leader was among them. That of a partition has its `grudge`: for each node
//! the nodes whose packets it dropped. From a `start` to its `stop` is a window; what clients came to
//! in each, and on which side of it, is told for whoever reads the report, and a partition of which
//! only one side was ever asked for anything is no evidence.

mod clients;
mod faults;
mod nodes;
mod sides;
mod window;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use store::{Event, EventType, Process};

use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Checker, Feed, Valid};

use clients::Clients;
use faults::Faults;
use nodes::Nodes;
use window::Ended;

pub use window::{SideReport, Tallies, Tally, WindowReport};

/// Between two questions to the budget.
const EVENTS_AT_ONCE: usize = 4096;

/// What a run must have shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The faults that were asked for, by the name in `nemesis/<name>`.
    pub faults: Vec<String>,
    /// Whether the system has leaders, so that each fault must have struck one.
    pub leaders: bool,
    /// Those of the faults that by their nature strike nobody who leads.
    pub spare_leaders: Vec<String>,
    /// How many operations of each function that occurs must have ended `ok`.
    pub ok_min: u64,
    /// The same for single functions, which then must occur. Wins over `ok_min`.
    pub ok_min_of: BTreeMap<String, u64>,
    /// All nodes, in the order in which client workers are pinned to them. Where there are none, an
    /// operation is on the node that its completion names, or on none.
    pub nodes: Vec<String>,
    /// How many client workers there are.
    pub workers: u64,
}

/// Makes a run that could not have found anything `unknown`. Never invalid.
///
/// Details: `ok`, operations that succeeded, by function; `concurrent`, whether operations (on the
/// same key) overlapped; `problems`, the sentences of the reason; `faults`, for each fault
/// `{name, requested, activities, effective, skipped, indeterminate, with-leader, targets, ok,
/// fail, info, ok-in-force}`, and `packets`, what it did to how many, where it says so. The counts of
/// operations are of those that overlapped an effective activity; `ok-in-force` counts those that succeeded before
/// it was ended. `windows` has a
/// [`WindowReport`] for each of the first some hundreds of activities; `windows-left-out`, if there
/// were more, how many, and a [`Tally`] of the operations in them.
#[derive(Debug)]
pub struct Coverage {
    options: Options,
    clients: Clients,
    faults: Faults,
    nodes: Nodes,
    exhausted: Option<Exhausted>,
}

impl Coverage {
    /// A checker of what the options ask for.
    pub fn new(options: Options) -> Coverage {
        Coverage {
            faults: Faults::new(&options.faults),
            nodes: Nodes::new(&options.nodes, options.workers),
            options,
            clients: Clients::default(),
            exhausted: None,
        }
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) -> Result<(), Exhausted> {
        match &event.process {
            Process::Nemesis(name) => match self.faults.take(name, event) {
                Some(bytes) => budget.charge(bytes),
                None => Ok(()),
            },
            Process::Client(process) => {
                if let Some(invoke) = self.clients.take(*process, event) {
                    self.faults.operation_ended(&Ended {
                        invoke,
                        f: &event.f,
                        kind: event.kind,
                        node: self.nodes.of(*process, event.node.as_ref()),
                    });
                }
                Ok(())
            }
        }
    }

    fn problems(&self) -> Vec<String> {
        let options = &self.options;
        let mut problems = self.clients.problems(options.ok_min, &options.ok_min_of);
        let owes_leader =
            |fault: &str| options.leaders && options.spare_leaders.iter().all(|name| name != fault);
        problems.extend(self.faults.problems(owes_leader, &self.nodes));
        problems
    }
}

impl Checker for Coverage {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        if self.exhausted.is_some() {
            return Feed::Exhausted;
        }
        for events in events.chunks(EVENTS_AT_ONCE) {
            let taken = events.iter().try_for_each(|event| self.take(event, budget));
            if let Err(exhausted) = taken.and_then(|()| budget.check()) {
                self.exhausted = Some(exhausted);
                return Feed::Exhausted;
            }
        }
        Feed::Continue
    }

    fn finish(&mut self, _budget: &dyn Budget) -> CheckResult {
        if let Some(exhausted) = self.exhausted {
            return CheckResult::new(
                Valid::Unknown,
                format!("gave up looking for evidence: {exhausted}"),
            );
        }
        for (process, invoke, f) in self.clients.never_ended() {
            let node = self.nodes.of(process, None);
            self.faults.operation_ended(&Ended {
                invoke,
                f,
                kind: EventType::Info,
                node,
            });
        }
        self.faults.name_nodes(&mut self.nodes);
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
        let (windows, left_out, operations) = self.faults.windows(&self.nodes);
        result.details.insert("windows".to_owned(), json!(windows));
        if left_out > 0 {
            let rest = json!({"windows": left_out, "operations": operations});
            result.details.insert("windows-left-out".to_owned(), rest);
        }
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
