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

impl History {
    /// Pairs invocations with completions. Events stay in the order given.
    pub fn new(events: Vec<Event>) -> Result<History, HistoryError> {
        if events.len() >= NONE as usize {
            return Err(HistoryError::TooLong);
        }
        let mut pair = vec![NONE; events.len()];
        let mut open: FxHashMap<&Process, u32> = FxHashMap::default();
        for (at, event) in events.iter().enumerate() {
            if event.is_invoke() {
                if let Some(earlier) = open.insert(&event.process, at as u32) {
                    return Err(HistoryError::Overlap {
                        index: event.index,
                        process: event.process.clone(),
                        open: events[earlier as usize].index,
                    });
                }
            } else {
                let Some(invoke) = open.remove(&event.process) else {
                    return Err(HistoryError::Unmatched {
                        index: event.index,
                        process: event.process.clone(),
                    });
                };
                pair[at] = invoke;
                pair[invoke as usize] = at as u32;
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
