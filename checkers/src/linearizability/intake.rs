//! From events to operations with known results, in order, key by key.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType, OpError, Process};
use thiserror::Error;

use crate::budget::{Budget, Exhausted};

use super::frontier::OpId;
use super::log::{Ending, Log, LoggedOp};
use super::model::{Register, RegisterOp};
use super::options::{FailedCas, NullRead, Options};
use super::search::Search;

/// Why events are not a history of registers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error(
        "event {index}: the linearizability checker knows read, write and cas, but not {f:?}; \
         choose the model that fits the workload"
    )]
    UnknownFunction { index: u64, f: String },
    #[error("event {index}: a cas needs a value [from, to], not {value}")]
    CasValue { index: u64, value: String },
    #[error(
        "event {index}: process {process} invokes an operation while its last one is still open"
    )]
    Overlap { index: u64, process: u64 },
    #[error("event {index}: process {process} completes an operation that it did not invoke")]
    Unmatched { index: u64, process: u64 },
}

/// Values, each with a number of its own.
#[derive(Debug, Default)]
pub(super) struct Values {
    numbers: FxHashMap<Value, u32>,
    values: Vec<Value>,
}

impl Values {
    pub(super) fn number(&mut self, value: &Value) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = self.values.len() as u32;
        self.numbers.insert(value.clone(), number);
        self.values.push(value.clone());
        number
    }

    /// All values, by their numbers.
    pub(super) fn all(&self) -> &[Value] {
        &self.values
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Read,
    Write(u32),
    Cas(u32, u32),
}

/// An operation between its invocation and being searched.
#[derive(Clone, Copy, Debug)]
struct Flight {
    asked: Asked,
    process: u64,
    invoke: u64,
    invoke_time: u64,
    result: FlightResult,
    /// Its number in the search, once it is there.
    id: OpId,
}

#[derive(Clone, Copy, Debug)]
enum FlightResult {
    Open,
    /// It says nothing: it did not happen, or nobody knows what it saw.
    Nothing,
    Known(RegisterOp, Ending, Option<(u64, u64)>),
}

/// Something to be searched, by the position of its flight.
#[derive(Clone, Copy, Debug)]
enum Item {
    Call(u32),
    /// With its event.
    Return(u32, u64),
}

/// A key, with what waits for results before it can be searched.
pub(super) struct Key {
    pub(super) key: Option<Value>,
    pub(super) search: Search<Register>,
    pub(super) log: Log,
    waiting: VecDeque<Item>,
    flights: Vec<Flight>,
    free: Vec<u32>,
}

impl Key {
    fn new(key: Option<Value>, initial: u32) -> Key {
        Key {
            key,
            search: Search::new(Register, initial),
            log: Log::default(),
            waiting: VecDeque::new(),
            flights: Vec::new(),
            free: Vec::new(),
        }
    }

    /// About how many bytes are kept that grow with the history.
    pub(super) fn bytes(&self) -> usize {
        self.search.bytes() + self.log.len() * size_of::<LoggedOp>()
    }

    /// Forgets the older half of the operations, and with it the chance to search again where that
    /// would have to begin there.
    pub(super) fn trim(&mut self) {
        if self.search.steps() > self.log.len() {
            self.search.forget();
        }
        self.log.trim();
    }

    fn depart(&mut self, flight: Flight) -> u32 {
        let at = self.free.pop().unwrap_or(self.flights.len() as u32);
        if at as usize == self.flights.len() {
            self.flights.push(flight);
        } else {
            self.flights[at as usize] = flight;
        }
        self.waiting.push_back(Item::Call(at));
        at
    }

    fn land(&mut self, at: u32, result: FlightResult) {
        self.flights[at as usize].result = result;
        if let FlightResult::Known(_, Ending::Ok | Ending::Fail, Some((index, _))) = result {
            self.waiting.push_back(Item::Return(at, index));
        }
    }

    /// Searches as far as results are known.
    fn drain(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        while let Some(item) = self.waiting.front().copied() {
            match item {
                Item::Call(at) => {
                    let flight = self.flights[at as usize];
                    match flight.result {
                        FlightResult::Open => return Ok(()),
                        FlightResult::Nothing => self.free.push(at),
                        FlightResult::Known(op, ending, complete) => {
                            let logged = flight.logged(op, ending, complete);
                            let id = self.log.push(logged);
                            self.flights[at as usize].id = id;
                            let returns = logged.returned();
                            self.search.call(id, op, returns, flight.invoke, budget)?;
                            if ending == Ending::Info {
                                self.free.push(at);
                            }
                        }
                    }
                }
                Item::Return(at, index) => {
                    let id = self.flights[at as usize].id;
                    self.free.push(at);
                    self.search.complete(id, index, budget)?;
                }
            }
            self.waiting.pop_front();
        }
        Ok(())
    }
}

impl Flight {
    fn logged(&self, op: RegisterOp, ending: Ending, complete: Option<(u64, u64)>) -> LoggedOp {
        LoggedOp {
            op,
            cas: match self.asked {
                Asked::Cas(from, to) => Some((from, to)),
                Asked::Read | Asked::Write(_) => None,
            },
            process: self.process,
            ending,
            invoke: self.invoke,
            invoke_time: self.invoke_time,
            complete,
        }
    }
}

/// All keys of a history, and the operations that are open.
pub(super) struct Intake {
    options: Options,
    pub(super) initial: u32,
    pub(super) values: Values,
    pub(super) keys: Vec<Key>,
    key_numbers: FxHashMap<Option<Value>, u32>,
    /// By process: the key and the flight of its open operation, in order of invocation.
    open: FxHashMap<u64, (u32, u32)>,
    /// How many operations were begun.
    pub(super) operations: u64,
}

/// What went wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IntakeError {
    Malformed(Malformed),
    Exhausted(Exhausted),
}

impl From<Malformed> for IntakeError {
    fn from(malformed: Malformed) -> Self {
        IntakeError::Malformed(malformed)
    }
}

impl From<Exhausted> for IntakeError {
    fn from(exhausted: Exhausted) -> Self {
        IntakeError::Exhausted(exhausted)
    }
}

impl Intake {
    pub(super) fn new(options: Options) -> Intake {
        let mut values = Values::default();
        Intake {
            initial: values.number(&options.initial),
            options,
            values,
            keys: Vec::new(),
            key_numbers: FxHashMap::default(),
            open: FxHashMap::default(),
            operations: 0,
        }
    }

    /// Takes an event of a client. The key on which it made progress.
    pub(super) fn take(
        &mut self,
        event: &Event,
        process: u64,
        budget: &dyn Budget,
    ) -> Result<usize, IntakeError> {
        let key = if event.is_invoke() {
            self.invoke(event, process)?
        } else {
            self.complete(event, process)?
        };
        self.keys[key].drain(budget)?;
        Ok(key)
    }

    /// The history is over: nobody will ever know what became of the open operations.
    pub(super) fn end(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        for (key, flight) in std::mem::take(&mut self.open).into_values() {
            let key = &mut self.keys[key as usize];
            let asked = key.flights[flight as usize].asked;
            key.land(flight, unknown(asked, None));
        }
        for key in &mut self.keys {
            key.drain(budget)?;
        }
        Ok(())
    }

    fn invoke(&mut self, event: &Event, process: u64) -> Result<usize, Malformed> {
        let index = event.index;
        let asked = self.asked(event)?;
        let key = self.key_number(event.key.as_ref());
        let flight = self.keys[key].depart(Flight {
            asked,
            process,
            invoke: index,
            invoke_time: event.time,
            result: FlightResult::Open,
            id: 0,
        });
        self.operations += 1;
        match self.open.insert(process, (key as u32, flight)) {
            Some(_) => Err(Malformed::Overlap { index, process }),
            None => Ok(key),
        }
    }

    fn key_number(&mut self, key: Option<&Value>) -> usize {
        let key = key.cloned();
        if let Some(number) = self.key_numbers.get(&key) {
            return *number as usize;
        }
        let number = self.keys.len();
        self.keys.push(Key::new(key.clone(), self.initial));
        self.key_numbers.insert(key, number as u32);
        number
    }

    fn asked(&mut self, event: &Event) -> Result<Asked, Malformed> {
        match &*event.f {
            "read" => Ok(Asked::Read),
            "write" => Ok(Asked::Write(self.values.number(&event.value))),
            "cas" => match event.value.as_array().map(Vec::as_slice) {
                Some([from, to]) => {
                    Ok(Asked::Cas(self.values.number(from), self.values.number(to)))
                }
                _ => Err(Malformed::CasValue {
                    index: event.index,
                    value: event.value.to_string(),
                }),
            },
            other => Err(Malformed::UnknownFunction {
                index: event.index,
                f: other.to_owned(),
            }),
        }
    }

    fn complete(&mut self, event: &Event, process: u64) -> Result<usize, Malformed> {
        let index = event.index;
        let (key, flight) = self
            .open
            .remove(&process)
            .ok_or(Malformed::Unmatched { index, process })?;
        let asked = self.keys[key as usize].flights[flight as usize].asked;
        let result = self.result(asked, event);
        self.keys[key as usize].land(flight, result);
        Ok(key as usize)
    }

    /// What a completion says of what was asked.
    fn result(&mut self, asked: Asked, event: &Event) -> FlightResult {
        let complete = Some((event.index, event.time));
        match (event.kind, asked) {
            (EventType::Ok, Asked::Read) => {
                if event.value.is_null() && self.options.null_read == NullRead::MatchesAnything {
                    return FlightResult::Nothing;
                }
                let seen = self.values.number(&event.value);
                FlightResult::Known(RegisterOp::Read(seen), Ending::Ok, complete)
            }
            (EventType::Ok, Asked::Write(value)) => {
                FlightResult::Known(RegisterOp::Write(value), Ending::Ok, complete)
            }
            (EventType::Ok, Asked::Cas(from, to)) => {
                FlightResult::Known(RegisterOp::cas(from, to), Ending::Ok, complete)
            }
            (EventType::Fail, Asked::Cas(from, _)) if self.observes(event) => {
                FlightResult::Known(RegisterOp::Differs(from), Ending::Fail, complete)
            }
            (EventType::Info, _) => unknown(asked, complete),
            // A second invocation never gets here.
            (EventType::Fail | EventType::Invoke, _) => FlightResult::Nothing,
        }
    }

    /// Whether a compare-and-set that failed says that the value was different.
    fn observes(&self, event: &Event) -> bool {
        match self.options.failed_cas {
            FailedCas::Precondition => event.error_class() == Some(OpError::PRECONDITION),
            FailedCas::Observes => true,
            FailedCas::Dropped => false,
        }
    }
}

/// An operation that may have happened or not. One that would change nothing says nothing.
fn unknown(asked: Asked, complete: Option<(u64, u64)>) -> FlightResult {
    match asked {
        Asked::Write(value) => {
            FlightResult::Known(RegisterOp::Write(value), Ending::Info, complete)
        }
        Asked::Cas(from, to) if from != to => {
            FlightResult::Known(RegisterOp::Cas(from, to), Ending::Info, complete)
        }
        Asked::Read | Asked::Cas(..) => FlightResult::Nothing,
    }
}

/// The process of a client's event.
pub(super) fn client(event: &Event) -> Option<u64> {
    match event.process {
        Process::Client(process) => Some(process),
        Process::Nemesis(_) => None,
    }
}
