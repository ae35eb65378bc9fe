//! What is wrong with a history as a record, whatever the system did.
//!
//! A checker believes the history. One that says two things at once, or says `fail` where nobody can
//! know, makes it prove what never happened.

use std::fmt;

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::event::{Event, EventType, Process};

/// Something wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The event's index.
    pub index: u64,
    /// The event's number from 1: its line in a `history.jsonl`.
    pub line: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It completes an operation that its process did not invoke.
    Unmatched(Process),
    /// It begins an operation while its process has another open.
    Overlap {
        /// Whose.
        process: Process,
        /// The index of the open invocation.
        open: u64,
    },
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
        /// The class of its error.
        error: String,
    },
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
            Problem::Overlap { process, open } => write!(
                out,
                "process {process} invokes while its operation of event {open} is still open"
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

/// What is wrong with a history, in its order.
///
/// Lazy: a history that is wrong everywhere costs no memory. The caller takes what it shows.
pub fn lint(events: &[Event]) -> impl Iterator<Item = Finding> {
    let mut linter = Linter::default();
    events.iter().zip(1..).flat_map(move |(event, line)| {
        let problems = linter.problems(event);
        problems.into_iter().map(move |problem| Finding {
            index: event.index,
            line,
            problem,
        })
    })
}

#[derive(Default)]
struct Linter<'a> {
    last: Option<&'a Event>,
    /// The last event of each process.
    processes: FxHashMap<&'a Process, &'a Event>,
    /// The invocation of each process' open operation.
    open: FxHashMap<&'a Process, &'a Event>,
}

impl<'a> Linter<'a> {
    fn problems(&mut self, event: &'a Event) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(last) = self.last.replace(event) {
            if event.index <= last.index {
                problems.push(Problem::IndexBackwards { before: last.index });
            }
            if event.time < last.time {
                problems.push(Problem::TimeBackwards {
                    before: last.time,
                    time: event.time,
                });
            }
        }
        if event.is_invoke() {
            problems.extend(self.invocation(event));
        } else {
            problems.extend(self.completion(event));
        }
        self.processes.insert(&event.process, event);
        problems
    }

    fn invocation(&mut self, event: &'a Event) -> Option<Problem> {
        let process = event.process.clone();
        if let Some(open) = self.open.insert(&event.process, event) {
            return Some(Problem::Overlap {
                process,
                open: open.index,
            });
        }
        let before = self.processes.get(&event.process)?;
        (event.is_client() && before.kind == EventType::Info).then_some(Problem::Retired {
            process,
            since: before.index,
        })
    }

    fn completion(&mut self, event: &'a Event) -> Option<Problem> {
        let Some(invoked) = self.open.remove(&event.process) else {
            return Some(Problem::Unmatched(event.process.clone()));
        };
        if invoked.f != event.f || invoked.key != event.key {
            return Some(Problem::OtherOperation {
                invoked: invoked.index,
            });
        }
        let error = event.error_class()?;
        let suspect = event.kind == EventType::Fail
            && event.is_client()
            && is_timeout(error)
            && may_write(invoked);
        suspect.then(|| Problem::TimeoutAsFail {
            f: event.f.to_string(),
            error: error.to_owned(),
        })
    }
}

fn is_timeout(class: &str) -> bool {
    let class = class.to_ascii_lowercase();
    ["timeout", "timed-out", "timedout", "timed out", "deadline"]
        .iter()
        .any(|word| class.contains(word))
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

    #[track_caller]
    fn check(lines: &[&str], expected: &[&str]) {
        let events = events(lines);
        let said: Vec<_> = lint(&events).map(|finding| finding.to_string()).collect();
        assert_eq!(said, expected);
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
                r#"{"index":8,"time":4,"process":2,"type":"invoke","f":"read"}"#,
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
        let events = events(&lines);
        let problems: Vec<_> = lint(&events).map(|finding| finding.problem).collect();
        let retired = Problem::Retired {
            process: Process::Client(0),
            since: 1,
        };
        assert_eq!(problems, [retired, Problem::OtherOperation { invoked: 2 }]);
        assert_eq!(events[3].key, Some(json!(2)));
    }
}
