//! From events to operations with known results, in order, key by key.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType, Process};

use crate::budget::{Budget, Exhausted};

use super::log::{Ending, LoggedOp};
use super::options::{FailedCas, Options};
use super::portfolio::Ration;
use super::subject::{Landed, LoggedOf, Malformed, Subject, is_refused};
use super::track::Track;
use super::tracks::{Called, Place, Tracks};
use super::values::Values;

/// An operation between its invocation and being searched.
struct Flight<S: Subject> {
    asked: S::Asked,
    process: u64,
    invoke: u64,
    invoke_time: u64,
    result: FlightResult<S>,
    /// Where it is searched, once it is.
    place: Option<Place>,
}

enum FlightResult<S: Subject> {
    Open,
    /// It says nothing: it did not happen, or nobody knows what it saw.
    Nothing,
    Known(LoggedOf<S>),
}

/// Something to be searched, by the position of its flight.
#[derive(Clone, Copy, Debug)]
enum Item {
    Call(u32),
    /// With its event.
    Return(u32, u64),
}

/// A key, with what waits for results before it can be searched.
pub(super) struct Key<S: Subject> {
    pub(super) key: Option<Value>,
    pub(super) tracks: Tracks<S>,
    waiting: VecDeque<Item>,
    flights: Vec<Flight<S>>,
    free: Vec<u32>,
    /// Whether an operation needs others that have been forgotten. Nothing is searched any more.
    pub(super) lost: bool,
    /// Whether there is no order.
    pub(super) invalid: bool,
}

impl<S: Subject> Key<S> {
    fn new(key: Option<Value>, ration: Option<Ration>) -> Key<S> {
        Key {
            key,
            tracks: Tracks::new(ration),
            waiting: VecDeque::new(),
            flights: Vec::new(),
            free: Vec::new(),
            lost: false,
            invalid: false,
        }
    }

    /// What was asked by operations that have not been searched to their end.
    pub(super) fn asked(&self) -> impl Iterator<Item = S::Asked> {
        self.flights.iter().map(|flight| flight.asked)
    }

    /// The operations that are remembered, and those that wait to be searched.
    pub(super) fn logged(&self) -> impl Iterator<Item = LoggedOf<S>> {
        let waiting = self
            .flights
            .iter()
            .filter_map(|flight| match &flight.result {
                FlightResult::Known(logged) => Some(*logged),
                FlightResult::Open | FlightResult::Nothing => None,
            });
        self.tracks.logged().copied().chain(waiting)
    }

    fn depart(&mut self, flight: Flight<S>) -> u32 {
        let at = self.free.pop().unwrap_or(self.flights.len() as u32);
        if at as usize == self.flights.len() {
            self.flights.push(flight);
        } else {
            self.flights[at as usize] = flight;
        }
        self.waiting.push_back(Item::Call(at));
        at
    }

    fn land(&mut self, at: u32, landed: Option<Landed<S>>, complete: Option<(u64, u64)>) {
        let flight = &mut self.flights[at as usize];
        let Some(Landed { op, told, ending }) = landed else {
            flight.result = FlightResult::Nothing;
            return;
        };
        flight.result = FlightResult::Known(LoggedOp {
            op,
            told,
            process: flight.process,
            ending,
            invoke: flight.invoke,
            invoke_time: flight.invoke_time,
            complete,
        });
        if let (Ending::Ok | Ending::Fail, Some((index, _))) = (ending, complete) {
            self.waiting.push_back(Item::Return(at, index));
        }
    }

    /// Searches as far as results are known, and no further than to a violation.
    fn drain(&mut self, subject: &mut S, budget: &dyn Budget) -> Result<(), Exhausted> {
        while let Some(&item) = self.waiting.front()
            && !self.invalid
        {
            match item {
                Item::Call(at) => match &self.flights[at as usize].result {
                    FlightResult::Open => return Ok(()),
                    FlightResult::Nothing => self.free.push(at),
                    FlightResult::Known(_) => self.begin(at, subject, budget)?,
                },
                Item::Return(at, index) => {
                    self.free.push(at);
                    if let Some(place) = self.flights[at as usize].place.take()
                        && !self.lost
                    {
                        self.tracks.complete(place, index, subject, budget)?;
                        self.invalid |= self.tracks.at(place).is_invalid();
                    }
                }
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn begin(&mut self, at: u32, subject: &mut S, budget: &dyn Budget) -> Result<(), Exhausted> {
        let FlightResult::Known(logged) = &self.flights[at as usize].result else {
            return Ok(());
        };
        let ends = logged.returned().is_some();
        if !self.lost {
            match self.tracks.call(logged, subject, budget)? {
                Called::At(place) => {
                    self.flights[at as usize].place = Some(place);
                    self.invalid |= self.tracks.at(place).is_invalid();
                }
                Called::Shelved => {}
                Called::Forgotten => self.lost = true,
                Called::Moved(place, moved) => {
                    for flight in &mut self.flights {
                        let moved_to = moved.binary_search_by_key(&flight.invoke, |(it, _)| *it);
                        if let (Some(place), Ok(to)) = (&mut flight.place, moved_to) {
                            *place = moved[to].1;
                        }
                    }
                    self.flights[at as usize].place = place;
                    self.invalid |= self.tracks.iter().any(Track::is_invalid);
                }
            }
        }
        if !ends {
            self.flights[at as usize].place = None;
            self.free.push(at);
        }
        Ok(())
    }
}

/// All keys of a history, and the operations that are open.
pub(super) struct Intake<S: Subject> {
    pub(super) subject: S,
    failed_cas: FailedCas,
    /// The ration of each search.
    pub(super) ration: Option<Ration>,
    pub(super) keys: Vec<Key<S>>,
    key_numbers: KeyNumbers,
    open: OpenOps,
    /// How many operations were begun.
    pub(super) operations: u64,
}

/// Keys by their values.
#[derive(Default)]
struct KeyNumbers {
    values: Values,
    /// By the number of the value.
    keys: Vec<Option<u32>>,
    /// That of operations that name no key.
    none: Option<u32>,
    count: u32,
}

impl KeyNumbers {
    /// Keys are numbered in the order in which they are met.
    fn number(&mut self, key: Option<&Value>) -> usize {
        let known = match key {
            None => &mut self.none,
            Some(key) => {
                let value = self.values.number(key) as usize;
                if value >= self.keys.len() {
                    self.keys.resize(value + 1, None);
                }
                &mut self.keys[value]
            }
        };
        *known.get_or_insert_with(|| {
            self.count += 1;
            self.count - 1
        }) as usize
    }
}

/// By process: the key and the flight of its open operation.
#[derive(Default)]
struct OpenOps {
    /// Of the first processes, as most are.
    near: Vec<Option<(u32, u32)>>,
    far: FxHashMap<u64, (u32, u32)>,
}

impl OpenOps {
    const NEAR: u64 = 1 << 16;

    /// What the process had open before.
    fn insert(&mut self, process: u64, flight: (u32, u32)) -> Option<(u32, u32)> {
        if process >= OpenOps::NEAR {
            return self.far.insert(process, flight);
        }
        let at = process as usize;
        if at >= self.near.len() {
            self.near.resize(at + 1, None);
        }
        self.near[at].replace(flight)
    }

    fn remove(&mut self, process: u64) -> Option<(u32, u32)> {
        match self.near.get_mut(process as usize) {
            Some(near) if process < OpenOps::NEAR => near.take(),
            _ => self.far.remove(&process),
        }
    }

    /// In no order.
    fn into_flights(self) -> impl Iterator<Item = (u32, u32)> {
        self.near
            .into_iter()
            .flatten()
            .chain(self.far.into_values())
    }
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

impl<S: Subject> Intake<S> {
    pub(super) fn new(subject: S, options: &Options) -> Intake<S> {
        Intake {
            subject,
            failed_cas: options.failed_cas,
            ration: options.ration.map(Ration::new),
            keys: Vec::new(),
            key_numbers: KeyNumbers::default(),
            open: OpenOps::default(),
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
        self.keys[key].drain(&mut self.subject, budget)?;
        Ok(key)
    }

    /// The history is over: nobody will ever know what became of the open operations.
    pub(super) fn end(&mut self, budget: &dyn Budget) -> Result<(), Exhausted> {
        for (key, flight) in std::mem::take(&mut self.open).into_flights() {
            let key = &mut self.keys[key as usize];
            let landed = self.subject.unknown(key.flights[flight as usize].asked);
            key.land(flight, landed, None);
        }
        for key in &mut self.keys {
            key.drain(&mut self.subject, budget)?;
        }
        Ok(())
    }

    fn invoke(&mut self, event: &Event, process: u64) -> Result<usize, Malformed> {
        let index = event.index;
        let asked = self.subject.ask(event, process)?;
        let key = self.key_number(event.key.as_ref());
        let flight = self.keys[key].depart(Flight {
            asked,
            process,
            invoke: index,
            invoke_time: event.time,
            result: FlightResult::Open,
            place: None,
        });
        self.operations += 1;
        match self.open.insert(process, (key as u32, flight)) {
            Some(_) => Err(Malformed::Overlap { index, process }),
            None => Ok(key),
        }
    }

    fn key_number(&mut self, key: Option<&Value>) -> usize {
        let number = self.key_numbers.number(key);
        if number == self.keys.len() {
            self.keys.push(Key::new(key.cloned(), self.ration));
        }
        number
    }

    fn complete(&mut self, event: &Event, process: u64) -> Result<usize, Malformed> {
        let index = event.index;
        let (key, flight) = self
            .open
            .remove(process)
            .ok_or(Malformed::Unmatched { index, process })?;
        let asked = self.keys[key as usize].flights[flight as usize].asked;
        let landed = match event.kind {
            EventType::Ok => self.subject.complete(asked, event)?,
            EventType::Fail if is_refused(event, self.failed_cas) => {
                self.subject.complete(asked, event)?
            }
            EventType::Info => self.subject.unknown(asked),
            // A second invocation never gets here.
            EventType::Fail | EventType::Invoke => None,
        };
        self.keys[key as usize].land(flight, landed, Some((index, event.time)));
        Ok(key as usize)
    }
}

/// The process of a client's event.
pub(super) fn client(event: &Event) -> Option<u64> {
    match event.process {
        Process::Client(process) => Some(process),
        Process::Nemesis(_) => None,
    }
}
