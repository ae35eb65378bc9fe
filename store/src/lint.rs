//! What is wrong with a history as a record, whatever the system did.
//!
//! A checker believes the history. One that says two things at once, or says `fail` where nobody can
//! know, makes it prove what never happened.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::batch::Batch;
use crate::event::{Event, EventType, Name, OpError, Process};

/// Something wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The event's index.
    pub index: u64,
    /// The line of the file that it begins in, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It completes an operation that its process did not invoke.
    Unmatched(Process),
    /// It, and every other event, is a completion.
    NoInvocations,
    /// It begins an operation while its process has another open.
    Overlap {
        /// Whose.
        process: Process,
        /// The index of the open invocation.
        open: u64,
    },
    /// It begins an operation that has no completion.
    NeverCompleted(Process),
    /// It completes an operation of another function or key than was invoked.
    OtherOperation {
        /// The index of the invocation.
        invoked: u64,
    },
    /// It begins an operation of a process that was retired: its last operation may still happen.
    Retired {
        /// The process.
        process: Process,
        /// The index of the `info` that retired it.
        since: u64,
    },
    /// It is the event before once more.
    Repeated,
    /// Its index is not above the one before.
    IndexBackwards {
        /// The index before.
        before: u64,
    },
    /// It is earlier than the event before.
    TimeBackwards {
        /// The time before, in nanoseconds.
        before: u64,
        /// Its own.
        time: u64,
    },
    /// A write that timed out is said to have failed. It may have happened, or may yet.
    TimeoutAsFail {
        /// What was called.
        f: String,
        /// The part of its error that says so.
        error: String,
    },
}

impl Problem {
    /// Every name of a problem.
    pub const NAMES: [&'static str; 10] = [
        "unmatched",
        "no-invocations",
        "overlap",
        "never-completed",
        "other-operation",
        "retired",
        "repeated",
        "index-backwards",
        "time-backwards",
        "timeout-as-fail",
    ];

    /// A short stable word for it.
    pub fn name(&self) -> &'static str {
        let at = match self {
            Problem::Unmatched(_) => 0,
            Problem::NoInvocations => 1,
            Problem::Overlap { .. } => 2,
            Problem::NeverCompleted(_) => 3,
            Problem::OtherOperation { .. } => 4,
            Problem::Retired { .. } => 5,
            Problem::Repeated => 6,
            Problem::IndexBackwards { .. } => 7,
            Problem::TimeBackwards { .. } => 8,
            Problem::TimeoutAsFail { .. } => 9,
        };
        Problem::NAMES[at]
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "event {} (line {}): {}",
            self.index, self.line, self.problem
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unmatched(process) => {
                write!(
                    out,
                    "process {process} completes an operation that it did not invoke"
                )
            }
            Problem::NoInvocations => write!(
                out,
                "there is no invocation in the whole history: nobody can tell which operations overlapped"
            ),
            Problem::Overlap { process, open } => write!(
                out,
                "process {process} invokes while its operation of event {open} is still open"
            ),
            Problem::NeverCompleted(process) => write!(
                out,
                "process {process} invokes an operation that has no completion, not even info"
            ),
            Problem::OtherOperation { invoked } => write!(
                out,
                "this completes event {invoked}, which has another function or key"
            ),
            Problem::Retired { process, since } => write!(
                out,
                "process {process} goes on after event {since} ended info; it should go on under a \
                 new number"
            ),
            Problem::Repeated => write!(out, "it is the event before once more"),
            Problem::IndexBackwards { before } => {
                write!(out, "its index is not above the one before, {before}")
            }
            Problem::TimeBackwards { before, time } => {
                write!(out, "time runs backwards, from {before} to {time} ns")
            }
            Problem::TimeoutAsFail { f, error } => write!(
                out,
                "{f} ended fail with the error {error:?}: a write that timed out may have happened, \
                 and is info"
            ),
        }
    }
}

/// What is wrong with a history: looks at one event after another, in the order of the file.
///
/// What it remembers is bounded by the number of processes, and by how many findings it is to keep.
#[derive(Debug)]
pub struct Linter {
    last: Option<Last>,
    processes: FxHashMap<Process, State>,
    invocations: u64,
    kept_max: usize,
    report: LintReport,
}

/// What is wrong with a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintReport {
    /// Events that were looked at.
    pub events: u64,
    /// The first findings of every kind, by line.
    pub findings: Vec<Finding>,
    /// How many there are of each kind, by [name](Problem::name); of those that there are none of, nothing.
    pub counts: BTreeMap<&'static str, u64>,
}

impl LintReport {
    /// How many findings there are.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    fn add(&mut self, kept_max: usize, finding: Finding) {
        let count = self.counts.entry(finding.problem.name()).or_default();
        *count += 1;
        if *count <= kept_max as u64 {
            self.findings.push(finding);
        }
    }

    /// Leaves out all findings of the kind of a problem.
    pub fn forget(&mut self, kind: &Problem) {
        let name = kind.name();
        self.counts.remove(name);
        self.findings
            .retain(|finding| finding.problem.name() != name);
    }
}

/// What is remembered of the event before.
#[derive(Debug, PartialEq)]
struct Last {
    index: u64,
    time: u64,
    process: Process,
    kind: EventType,
}

/// What is known of a process.
#[derive(Debug, Default)]
struct State {
    open: Option<Open>,
    /// The index of the `info` that its last operation ended with.
    retired: Option<u64>,
}

/// An operation that was invoked.
#[derive(Debug)]
struct Open {
    index: u64,
    line: u64,
    f: Name,
    key: Option<Value>,
    may_write: bool,
}

impl Linter {
    /// Keeps the first `kept_max` findings of every kind, and counts the others.
    pub fn new(kept_max: usize) -> Linter {
        Linter {
            last: None,
            processes: FxHashMap::default(),
            invocations: 0,
            kept_max,
            report: LintReport::default(),
        }
    }

    /// Looks at the next events.
    pub fn feed(&mut self, batch: Batch<'_>) {
        for (event, line) in batch.iter() {
            self.look(event, line);
        }
    }

    /// Looks at all events of a history whose lines nobody knows.
    pub(crate) fn look_at_all(&mut self, events: &[Event]) {
        for event in events {
            self.look(event, 0);
        }
    }

    /// What is wrong with the history, which has ended.
    pub fn finish(mut self) -> LintReport {
        let mut report = self.report;
        if self.invocations == 0 && report.events > 0 {
            // Each of them would be one.
            report.forget(&Problem::Unmatched(Process::Client(0)));
            let first = Finding {
                index: 0,
                line: 1,
                problem: Problem::NoInvocations,
            };
            report.add(self.kept_max, first);
        }
        let open = mem::take(&mut self.processes);
        let mut open: Vec<(Process, Open)> = open
            .into_iter()
            .filter_map(|(process, state)| Some((process, state.open?)))
            .collect();
        open.sort_by_key(|(_, open)| (open.line, open.index));
        for (process, open) in open {
            let finding = Finding {
                index: open.index,
                line: open.line,
                problem: Problem::NeverCompleted(process),
            };
            report.add(self.kept_max, finding);
        }
        report.findings.sort_by_key(|finding| finding.line);
        report
    }

    fn look(&mut self, event: &Event, line: u64) {
        self.report.events += 1;
        let (report, kept_max) = (&mut self.report, self.kept_max);
        let mut take = |problem| {
            let index = event.index;
            report.add(
                kept_max,
                Finding {
                    index,
                    line,
                    problem,
                },
            );
        };
        let this = Last {
            index: event.index,
            time: event.time,
            process: event.process.clone(),
            kind: event.kind,
        };
        if let Some(last) = &self.last {
            if *last == this {
                return take(Problem::Repeated);
            }
            if event.index <= last.index {
                take(Problem::IndexBackwards { before: last.index });
            }
            if event.time < last.time {
                take(Problem::TimeBackwards {
                    before: last.time,
                    time: event.time,
                });
            }
        }
        self.last = Some(this);
        if !self.processes.contains_key(&event.process) {
            let state = State::default();
            self.processes.insert(event.process.clone(), state);
        }
        let Some(state) = self.processes.get_mut(&event.process) else {
            return;
        };
        let begins = event.is_invoke() || state.open.is_none() && is_jepsens_nemesis(event);
        let problem = match begins {
            true => state.begin(event, line),
            false => state.end(event),
        };
        self.invocations += u64::from(begins);
        problem.into_iter().for_each(take);
    }
}

/// Jepsen's nemesis marks both ends of what it does with `:info`.
fn is_jepsens_nemesis(event: &Event) -> bool {
    !event.is_client() && event.kind == EventType::Info
}

impl State {
    fn begin(&mut self, event: &Event, line: u64) -> Option<Problem> {
        let retired = self.retired.take();
        let earlier = self.open.replace(Open {
            index: event.index,
            line,
            f: event.f.clone(),
            key: event.key.clone(),
            may_write: may_write(event),
        });
        let process = event.process.clone();
        match (earlier, retired) {
            (Some(open), _) => Some(Problem::Overlap {
                process,
                open: open.index,
            }),
            (None, Some(since)) => Some(Problem::Retired { process, since }),
            (None, None) => None,
        }
    }

    fn end(&mut self, event: &Event) -> Option<Problem> {
        self.retired = (event.is_client() && event.kind == EventType::Info).then_some(event.index);
        let Some(invoked) = self.open.take() else {
            return Some(Problem::Unmatched(event.process.clone()));
        };
        if invoked.f != event.f || invoked.key != event.key {
            return Some(Problem::OtherOperation {
                invoked: invoked.index,
            });
        }
        let suspect = event.kind == EventType::Fail && event.is_client() && invoked.may_write;
        let error = event.error.as_ref().filter(|_| suspect)?;
        Some(Problem::TimeoutAsFail {
            f: event.f.to_string(),
            error: timeout_in(error)?.to_owned(),
        })
    }
}

/// What says in an error that an operation was sent and no answer came in time.
const TIMEOUTS: [&str; 7] = [
    "timeout",
    "time-out",
    "timed-out",
    "timedout",
    "timed out",
    "deadline exceeded",
    "deadlineexceeded",
];

/// What says that there was another limit, at which nothing had been sent, or the server took back what it had done.
const OTHER_TIMEOUTS: [&str; 8] = [
    "connect timeout",
    "connect timed out",
    "connection timeout",
    "connection timed out",
    "connecting",
    "lock wait timeout",
    "lock timeout",
    "statement timeout",
];

/// The part of an error that says that the operation timed out, if one does.
fn timeout_in(error: &Value) -> Option<&str> {
    // Of an operation that was never sent, a message may speak of the time that connecting took.
    if OpError::class_of(error) == OpError::NO_CLIENT {
        return None;
    }
    let is_timeout = |text: &&str| {
        let text = text.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        says(&TIMEOUTS) && !says(&OTHER_TIMEOUTS)
    };
    texts(error).into_iter().find(is_timeout)
}

/// The texts of an error, the first levels of it.
fn texts(error: &Value) -> Vec<&str> {
    let inner: Vec<&Value> = match error {
        Value::String(_) => vec![error],
        Value::Array(values) => values.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    };
    inner.into_iter().filter_map(Value::as_str).collect()
}

/// Whether an operation may change anything: all that does not look like a read.
fn may_write(invoked: &Event) -> bool {
    let reads = |f: &str| matches!(f, "read" | "r" | "get" | "scan" | "poll" | "final-read");
    match (&*invoked.f, &invoked.value) {
        ("txn", Value::Array(micro_operations)) => micro_operations
            .iter()
            .any(|mop| !mop.get(0).and_then(Value::as_str).is_some_and(reads)),
        (f, _) => !reads(f),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    /// Events with a time of a thousand times their index, from lines of JSON without both.
    fn events(lines: &[&str]) -> Vec<Event> {
        let numbered = lines.iter().zip(0u64..).map(|(line, index)| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            let map = value.as_object_mut().unwrap();
            map.entry("index").or_insert(index.into());
            map.entry("time").or_insert((index * 1000).into());
            serde_json::from_value(value).unwrap()
        });
        numbered.collect()
    }

    fn report(events: &[Event]) -> LintReport {
        let lines: Vec<u64> = (1..=events.len() as u64).collect();
        let mut linter = Linter::new(10);
        for (events, lines) in events.chunks(3).zip(lines.chunks(3)) {
            linter.feed(Batch { events, lines });
        }
        linter.finish()
    }

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let report = report(&events(lines));
        let said = report.findings.iter().map(Finding::to_string);
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_good_history_has_no_findings() {
        check(
            &[
                r#"{"process":0,"type":"invoke","f":"write","value":1}"#,
                r#"{"process":"nemesis/kill","type":"invoke","f":"start"}"#,
                r#"{"process":0,"type":"info","f":"write","error":["timeout",""]}"#,
                r#"{"process":"nemesis/kill","type":"info","f":"start"}"#,
                r#"{"process":"nemesis/kill","type":"invoke","f":"stop"}"#,
                r#"{"process":"nemesis/kill","type":"ok","f":"stop"}"#,
                r#"{"process":5,"type":"invoke","f":"read"}"#,
                r#"{"process":5,"type":"fail","f":"read","error":["timeout",""]}"#,
                r#"{"process":5,"type":"invoke","f":"txn","value":[["r",1,null]]}"#,
                r#"{"process":5,"type":"fail","f":"txn","error":"timed-out"}"#,
                r#"{"process":5,"type":"invoke","f":"write","value":2}"#,
                r#"{"process":5,"type":"fail","f":"write","error":["no-leader",""]}"#,
            ],
            &[],
        );
    }

    #[test]
    fn two_at_once_and_completions_of_nothing() {
        check(
            &[
                r#"{"process":0,"type":"invoke","f":"write","value":1}"#,
                r#"{"process":0,"type":"invoke","f":"write","value":2}"#,
                r#"{"process":0,"type":"ok","f":"write"}"#,
                r#"{"process":0,"type":"ok","f":"write"}"#,
                r#"{"process":1,"type":"info","f":"write"}"#,
            ],
            &[
                "event 1 (line 2): process 0 invokes while its operation of event 0 is still open",
                "event 3 (line 4): process 0 completes an operation that it did not invoke",
                "event 4 (line 5): process 1 completes an operation that it did not invoke",
            ],
        );
    }

    #[test]
    fn time_and_index_that_run_backwards() {
        check(
            &[
                r#"{"index":7,"time":5,"process":0,"type":"invoke","f":"read"}"#,
                r#"{"index":7,"time":5,"process":1,"type":"invoke","f":"read"}"#,
                r#"{"index":8,"time":4,"process":0,"type":"ok","f":"read"}"#,
                r#"{"index":9,"time":4,"process":1,"type":"ok","f":"read"}"#,
            ],
            &[
                "event 7 (line 2): its index is not above the one before, 7",
                "event 8 (line 3): time runs backwards, from 5 to 4 ns",
            ],
        );
    }

    #[test]
    fn a_write_that_timed_out_did_not_fail() {
        check(
            &[
                r#"{"process":0,"type":"invoke","f":"cas","value":[1,2]}"#,
                r#"{"process":0,"type":"fail","f":"cas","error":["timeout","1 s"]}"#,
                r#"{"process":0,"type":"invoke","f":"txn","value":[["r",1,null],["w",1,2]]}"#,
                r#"{"process":0,"type":"fail","f":"txn","error":{"class":"DeadlineExceeded"}}"#,
            ],
            &[
                "event 1 (line 2): cas ended fail with the error \"timeout\": a write that timed out \
                 may have happened, and is info",
                "event 3 (line 4): txn ended fail with the error \"DeadlineExceeded\": a write that \
                 timed out may have happened, and is info",
            ],
        );
    }

    #[test]
    fn processes_that_go_on_and_answers_to_other_questions() {
        let lines = [
            r#"{"process":0,"type":"invoke","f":"write","key":1,"value":1}"#,
            r#"{"process":0,"type":"info","f":"write","key":1}"#,
            r#"{"process":0,"type":"invoke","f":"read","key":1}"#,
            r#"{"process":0,"type":"ok","f":"read","key":2}"#,
        ];
        let findings = report(&events(&lines)).findings;
        let problems: Vec<_> = findings
            .into_iter()
            .map(|finding| finding.problem)
            .collect();
        let retired = Problem::Retired {
            process: Process::Client(0),
            since: 1,
        };
        assert_eq!(problems, [retired, Problem::OtherOperation { invoked: 2 }]);
    }

    #[test]
    fn what_never_ends_and_what_is_there_twice() {
        check(
            &[
                r#"{"process":1,"type":"invoke","f":"read"}"#,
                r#"{"process":0,"type":"invoke","f":"read"}"#,
                r#"{"index":1,"time":1000,"process":0,"type":"invoke","f":"read"}"#,
                r#"{"process":0,"type":"ok","f":"read"}"#,
                r#"{"process":"nemesis","type":"info","f":"start"}"#,
                r#"{"process":"nemesis","type":"info","f":"start"}"#,
                r#"{"process":"nemesis","type":"info","f":"stop"}"#,
            ],
            &[
                "event 0 (line 1): process 1 invokes an operation that has no completion, not even info",
                "event 1 (line 3): it is the event before once more",
                "event 6 (line 7): process nemesis/nemesis invokes an operation that has no completion, not even info",
            ],
        );
    }

    #[test]
    fn a_history_of_completions_is_one_finding() {
        let line = r#"{"process":0,"type":"ok","f":"txn","value":[]}"#;
        let found = report(&events(&[line; 30]));
        assert_eq!((found.events, found.total()), (30, 1));
        assert_eq!(found.findings[0].problem, Problem::NoInvocations);
        let mut lines = vec![line; 30];
        lines.push(r#"{"process":0,"type":"invoke","f":"txn","value":[]}"#);
        let found = report(&events(&lines));
        assert_eq!(found.counts["unmatched"], 30);
        assert_eq!(found.findings.len(), 11);
        assert_eq!(report(&[]).total(), 0);
    }

    #[test]
    fn errors_that_mean_a_time_out() {
        for (error, means) in [
            (json!("timeout"), true),
            (json!(["unavailable", "context deadline exceeded"]), true),
            (json!({"type": "java.net.SocketTimeoutException"}), true),
            (json!(["net-timeout"]), true),
            (json!(["no-client", "timed out"]), false),
            (json!(["refused", "connect timed out"]), false),
            (json!(["mysql", "Lock wait timeout exceeded"]), false),
            (json!(["deadline", "of the loan has passed"]), false),
            (json!(7), false),
        ] {
            assert_eq!(timeout_in(&error).is_some(), means, "{error}");
        }
    }

    #[test]
    fn every_problem_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Problem::NAMES.into_iter().collect();
        assert_eq!(names.len(), Problem::NAMES.len());
    }
}
