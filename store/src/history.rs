//! A whole history, with invocations and completions paired.

use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::event::{Event, EventType, Process};

/// A history: events in order, and for each the other half of its operation.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
    /// For each position, the position of the other half, or [`NONE`].
    pair: Vec<u32>,
}

const NONE: u32 = u32::MAX;

/// What makes a list of events no history.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HistoryError {
    /// A process began an operation before its last one ended.
    #[error(
        "event {index}: process {process} invokes while its operation of event {open} is still open"
    )]
    Overlap {
        /// The second invocation.
        index: u64,
        /// Whose.
        process: Process,
        /// The first invocation.
        open: u64,
    },
    /// A completion without an invocation.
    #[error("event {index}: process {process} completes an operation that it did not invoke")]
    Unmatched {
        /// The completion.
        index: u64,
        /// Whose.
        process: Process,
    },
    /// More events than positions.
    #[error("a history holds at most {} events", NONE - 1)]
    TooLong,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It did not happen, and never will.
    Fail,
    /// Nobody knows: it ended `info`, or had not ended when the history did.
    Info,
}

/// An invocation with its completion.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The invocation.
    pub invoke: &'a Event,
    /// The completion, unless the history ended first.
    pub complete: Option<&'a Event>,
}

impl Operation<'_> {
    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        match self.complete.map(|event| event.kind) {
            Some(EventType::Ok) => Outcome::Ok,
            Some(EventType::Fail) => Outcome::Fail,
            _ => Outcome::Info,
        }
    }
}

/// For each process, the position of its open invocation, or [`NONE`].
///
/// Clients' numbers are small and dense in any ordinary history, so a table by number serves them;
/// a map serves faults, and the numbers of a history that is not ordinary.
struct Open<'a> {
    dense: Vec<u32>,
    dense_max: usize,
    sparse: FxHashMap<&'a Process, u32>,
}

impl<'a> Open<'a> {
    fn new(events: usize) -> Open<'a> {
        Open {
            dense: Vec::new(),
            // Never more memory than the events themselves take.
            dense_max: events.saturating_mul(2).max(1024),
            sparse: FxHashMap::default(),
        }
    }

    fn slot(&mut self, process: &'a Process) -> &mut u32 {
        match process {
            Process::Client(n) if *n < self.dense_max as u64 => {
                let n = *n as usize;
                if n >= self.dense.len() {
                    let length = (n + 1).next_power_of_two().min(self.dense_max);
                    self.dense.resize(length, NONE);
                }
                &mut self.dense[n]
            }
            _ => self.sparse.entry(process).or_insert(NONE),
        }
    }
}

impl History {
    /// Pairs invocations with completions. Events stay in the order given.
    pub fn new(events: Vec<Event>) -> Result<History, HistoryError> {
        if events.len() >= NONE as usize {
            return Err(HistoryError::TooLong);
        }
        let mut pair = vec![NONE; events.len()];
        let mut open = Open::new(events.len());
        for (at, event) in events.iter().enumerate() {
            let slot = open.slot(&event.process);
            let earlier = std::mem::replace(slot, NONE);
            if event.is_invoke() {
                if earlier != NONE {
                    return Err(HistoryError::Overlap {
                        index: event.index,
                        process: event.process.clone(),
                        open: events[earlier as usize].index,
                    });
                }
                *slot = at as u32;
            } else {
                if earlier == NONE {
                    return Err(HistoryError::Unmatched {
                        index: event.index,
                        process: event.process.clone(),
                    });
                }
                pair[at] = earlier;
                pair[earlier as usize] = at as u32;
            }
        }
        Ok(History { events, pair })
    }

    /// All events, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Gives the events back.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// The position of the other half of the operation at a position.
    pub fn pair(&self, at: usize) -> Option<usize> {
        match self.pair[at] {
            NONE => None,
            other => Some(other as usize),
        }
    }

    /// All operations, in order of invocation: clients' and faults'.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.events
            .iter()
            .enumerate()
            .filter(|(_, event)| event.is_invoke())
            .map(|(at, invoke)| Operation {
                invoke,
                complete: self.pair(at).map(|other| &self.events[other]),
            })
    }

    /// The clients' operations, in order of invocation.
    pub fn client_operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.operations()
            .filter(|operation| operation.invoke.is_client())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::event;
    use proptest::prelude::*;
    use serde_json::Value;

    fn any_process() -> impl Strategy<Value = Process> {
        prop_oneof![
            5 => (0u64..4).prop_map(Process::Client),
            1 => (u64::MAX - 2..=u64::MAX).prop_map(Process::Client),
            1 => (1000u64..1030).prop_map(Process::Client),
            1 => prop_oneof!["a", "b"].prop_map(|name| Process::Nemesis(name.into())),
        ]
    }

    /// Pairs as the definition says: an event's partner is the nearest event of its process, after
    /// an invocation and before a completion.
    fn pair_naively(events: &[Event]) -> Option<Vec<Option<usize>>> {
        let same = |a: usize, b: usize| events[a].process == events[b].process;
        let partner = |at: usize| {
            if events[at].is_invoke() {
                match (at + 1..events.len()).find(|&other| same(at, other)) {
                    Some(next) if events[next].is_invoke() => Err(()),
                    next => Ok(next),
                }
            } else {
                match (0..at).rev().find(|&other| same(at, other)) {
                    Some(last) if events[last].is_invoke() => Ok(Some(last)),
                    _ => Err(()),
                }
            }
        };
        (0..events.len())
            .map(partner)
            .collect::<Result<_, _>>()
            .ok()
    }

    fn history_of(steps: &[(Process, bool)]) -> Vec<Event> {
        let step = |(at, (process, invoke)): (usize, &(Process, bool))| {
            let kind = if *invoke {
                EventType::Invoke
            } else {
                EventType::Ok
            };
            let mut event = event(at as u64, 0, kind, "read", Value::Null);
            event.process = process.clone();
            event
        };
        steps.iter().enumerate().map(step).collect()
    }

    /// Steps of processes that mostly alternate.
    fn any_steps() -> impl Strategy<Value = Vec<(Process, bool)>> {
        prop::collection::vec((any_process(), prop::bool::weighted(0.03)), 0..40).prop_map(
            |steps| {
                let mut open = std::collections::BTreeSet::new();
                let mut alternate = |(process, wrong): (Process, bool)| {
                    let invoke = open.insert(process.clone());
                    if !invoke {
                        open.remove(&process);
                    }
                    (process, invoke != wrong)
                };
                steps.into_iter().map(&mut alternate).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_the_definition(steps in any_steps()) {
            let events = history_of(&steps);
            let expected = pair_naively(&events);
            let history = History::new(events.clone());
            prop_assert_eq!(history.is_ok(), expected.is_some());
            if let (Ok(history), Some(expected)) = (history, expected) {
                let pairs: Vec<_> = (0..events.len()).map(|at| history.pair(at)).collect();
                prop_assert_eq!(pairs, expected);
            }
        }
    }

    #[test]
    fn errors_name_both_events() {
        let twice = history_of(&[(Process::Client(1), true), (Process::Client(1), true)]);
        assert_eq!(
            History::new(twice).unwrap_err().to_string(),
            "event 1: process 1 invokes while its operation of event 0 is still open"
        );
        let never = history_of(&[(Process::Nemesis("kill".into()), false)]);
        assert_eq!(
            History::new(never).unwrap_err().to_string(),
            "event 0: process nemesis/kill completes an operation that it did not invoke"
        );
    }

    #[test]
    fn an_operation_that_never_ended_is_info() {
        let steps = [
            (Process::Client(1), true),
            (Process::Client(2), true),
            (Process::Client(1), false),
        ];
        let history = History::new(history_of(&steps)).unwrap();
        let outcomes: Vec<_> = history.client_operations().map(|op| op.outcome()).collect();
        assert_eq!(outcomes, [Outcome::Ok, Outcome::Info]);
    }
}
