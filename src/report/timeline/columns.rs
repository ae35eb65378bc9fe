//! Every operation of a history in columns of numbers: a few dozen bytes an operation, whatever its values are.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType, Process};

/// What an operation has instead of a number that it does not have.
pub(super) const NONE: u32 = u32::MAX;
/// The most characters of a value that are kept: enough to recognise it, and the history has the rest.
const VALUE_MAX: usize = 200;
/// The most bytes of values that are kept, twice.
const ROOM_MAX: usize = 1 << 30;
/// What separates the value that an operation came back with from the one it was asked with. JSON has it only escaped.
const SEPARATOR: char = '\u{1f}';

/// Texts that occur often, by number.
#[derive(Default)]
pub(super) struct Names {
    texts: Vec<Box<str>>,
    numbers: FxHashMap<Box<str>, u32>,
}

impl Names {
    /// The number of a text, which is then known.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// The text of a number; nothing for [`NONE`].
    pub(super) fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).map(|text| &**text)
    }
}

/// Client operations in the order of their beginnings. Each column has one number an operation.
#[derive(Default)]
pub(crate) struct Columns {
    /// When it began, in nanoseconds.
    pub(super) start: Vec<u64>,
    /// When it ended; where it never did, when it began.
    pub(super) end: Vec<u64>,
    /// The index of the event that began it.
    pub(super) invoke: Vec<u32>,
    /// The index of the event that ended it, or [`NONE`].
    pub(super) complete: Vec<u32>,
    /// Its process, by place in `processes`.
    pub(super) process: Vec<u32>,
    /// `0` ok, `1` failed, `2` unknown.
    pub(super) outcome: Vec<u8>,
    /// Its function, by number.
    pub(super) f: Vec<u32>,
    /// Its key as JSON, by number, or [`NONE`].
    pub(super) key: Vec<u32>,
    /// The node that answered, by number, or [`NONE`].
    pub(super) node: Vec<u32>,
    /// Its error, by number, or [`NONE`].
    pub(super) error: Vec<u32>,
    /// Where its text is in `texts`, and how long it is.
    text: Vec<(u32, u16)>,
    texts: String,
    /// Functions, keys, nodes and errors.
    pub(super) names: Names,
    /// Processes, in the order of their first operations.
    pub(super) processes: Vec<u64>,
    /// The lane of each process.
    pub(super) lanes: Vec<u32>,
    /// The last event's time.
    pub(crate) length: u64,
}

impl Columns {
    /// How many operations there are.
    pub(crate) fn len(&self) -> usize {
        self.start.len()
    }

    /// What it was asked with and what it came back with, as JSON, shortened; empty where there was no room for it.
    pub(super) fn text(&self, at: usize) -> &str {
        let (begin, length) = self.text[at];
        &self.texts[begin as usize..begin as usize + usize::from(length)]
    }

    /// A history without times is drawn by the order of its events, one a millisecond.
    fn by_index(&mut self) {
        let time = |index: u32| u64::from(index) * 1_000_000;
        for at in 0..self.len() {
            self.start[at] = time(self.invoke[at]);
            self.end[at] = match self.complete[at] {
                NONE => self.start[at],
                complete if complete == self.invoke[at] => time(complete) + time(1),
                complete => time(complete),
            };
            self.length = self.length.max(self.end[at]);
        }
    }

    /// The operation that an event began or ended.
    pub(super) fn of_event(&self, index: u64) -> Option<usize> {
        let index = u32::try_from(index).ok()?;
        if let Ok(at) = self.invoke.binary_search(&index) {
            return Some(at);
        }
        // It ended one of those that began before it; evidence has few events, so that looking is cheap enough.
        let before = self.invoke.partition_point(|invoke| *invoke < index);
        (0..before).rev().find(|at| self.complete[*at] == index)
    }
}

/// Makes columns of events, one after another.
pub(crate) struct Builder {
    columns: Columns,
    numbers: FxHashMap<u64, u32>,
    /// Of each process, the open operation.
    open: Vec<Option<usize>>,
    /// Of each operation, what it was asked with, until it ends.
    asked: FxHashMap<usize, String>,
    /// Bytes left for values, and for values that matter more.
    room: usize,
    reserve: usize,
    keep: BTreeSet<u64>,
    /// Of each process, the index of its last event.
    last: Vec<u64>,
    /// Of each process, the index of its first event.
    first: Vec<u64>,
    workers: u64,
    /// Whether operations begin with the events that end them: nothing tells when they were, and so not that a process followed another.
    begun_by_end: bool,
}

impl Builder {
    /// Keeps `room` bytes of values of the first operations, and as many of those later ones that did not end well or
    /// that the events `keep` belong to, at most [`ROOM_MAX`] each. `workers` is how many clients there were at a
    /// time: process `p` goes on where `p - workers` gave up.
    pub(crate) fn new(room: usize, workers: usize, keep: &[u64]) -> Builder {
        Builder {
            columns: Columns::default(),
            numbers: FxHashMap::default(),
            open: Vec::new(),
            asked: FxHashMap::default(),
            room: room.min(ROOM_MAX),
            reserve: room.min(ROOM_MAX),
            keep: keep.iter().copied().collect(),
            last: Vec::new(),
            first: Vec::new(),
            workers: workers.max(1) as u64,
            begun_by_end: false,
        }
    }

    /// Takes the next event. Those of faults only move the end.
    pub(crate) fn take(&mut self, event: &Event) {
        self.columns.length = self.columns.length.max(event.time);
        let Process::Client(process) = event.process else {
            return;
        };
        let place = self.place(process, event.index);
        self.last[place] = event.index;
        if event.is_invoke() {
            self.open[place] = Some(self.columns.len());
            self.begin(place as u32, event);
        } else {
            // In texts that have no invocations, an operation begins and ends with one event.
            let at = self.open[place].take().unwrap_or_else(|| {
                self.begin(place as u32, event);
                self.columns.len() - 1
            });
            self.end(at, event);
        }
    }

    fn place(&mut self, process: u64, index: u64) -> usize {
        let next = self.columns.processes.len() as u32;
        let place = *self.numbers.entry(process).or_insert(next);
        if place == next {
            self.columns.processes.push(process);
            self.open.push(None);
            self.first.push(index);
            self.last.push(index);
        }
        place as usize
    }

    fn begin(&mut self, process: u32, event: &Event) {
        let at = self.columns.len();
        let columns = &mut self.columns;
        columns.start.push(event.time);
        columns.end.push(event.time);
        columns.invoke.push(event.index as u32);
        columns.complete.push(NONE);
        columns.process.push(process);
        columns.outcome.push(2);
        columns.f.push(columns.names.number(&event.f));
        let key = event.key.as_ref().map(|key| short(&key.to_string()));
        columns
            .key
            .push(key.map_or(NONE, |key| columns.names.number(&key)));
        columns.node.push(NONE);
        columns.error.push(NONE);
        columns.text.push((0, 0));
        self.asked.insert(at, short(&event.value.to_string()));
    }

    fn end(&mut self, at: usize, event: &Event) {
        let columns = &mut self.columns;
        columns.end[at] = event.time;
        columns.complete[at] = event.index as u32;
        self.begun_by_end |= columns.invoke[at] == columns.complete[at];
        columns.outcome[at] = match event.kind {
            EventType::Ok => 0,
            EventType::Fail => 1,
            EventType::Info | EventType::Invoke => 2,
        };
        if let Some(node) = &event.node {
            columns.node[at] = columns.names.number(node);
        }
        if let Some(error) = &event.error {
            columns.error[at] = columns.names.number(&short(&words(error)));
        }
        if let Some(mut text) = self.asked.remove(&at) {
            let came = short(&event.value.to_string());
            if came != text {
                text.push(SEPARATOR);
                text.push_str(&came);
            }
            self.keep(at, &text);
        }
    }

    fn keep(&mut self, at: usize, text: &str) {
        let columns = &mut self.columns;
        let kept = |index: u32| self.keep.contains(&u64::from(index));
        let matters =
            columns.outcome[at] != 0 || kept(columns.invoke[at]) || kept(columns.complete[at]);
        let rooms = match matters {
            true => [Some(&mut self.room), Some(&mut self.reserve)],
            false => [Some(&mut self.room), None],
        };
        let room = rooms
            .into_iter()
            .flatten()
            .find(|room| **room >= text.len());
        if let Some(room) = room {
            *room -= text.len();
            columns.text[at] = (columns.texts.len() as u32, text.len() as u16);
            columns.texts.push_str(text);
        }
    }

    /// The columns of all that was taken.
    pub(crate) fn finish(mut self) -> Columns {
        let never_ended: BTreeMap<usize, String> = self.asked.drain().collect();
        for (at, text) in never_ended {
            self.keep(at, &text);
        }
        if self.columns.length == 0 {
            self.columns.by_index();
        }
        self.columns.lanes = self.lanes();
        self.columns
    }

    /// Puts processes that followed one another in one lane, as the clients that they were the lives of: into the lane
    /// of the process that gave up before it, or into one that has come to its end.
    fn lanes(&self) -> Vec<u32> {
        let mut lanes = Vec::with_capacity(self.first.len());
        // Of each lane: the process in it now.
        let mut now: Vec<usize> = Vec::new();
        for (place, first) in self.first.iter().enumerate() {
            let process = self.columns.processes[place];
            let is_free = |lane: &usize| !self.begun_by_end && self.last[now[*lane]] < *first;
            let follows = |lane: &usize| {
                let before = self.columns.processes[now[*lane]];
                before.checked_add(self.workers) == Some(process)
            };
            let free = (0..now.len()).filter(is_free);
            let lane = free.clone().find(follows).or_else(|| free.clone().next());
            let lane = lane.unwrap_or_else(|| {
                now.push(place);
                now.len() - 1
            });
            now[lane] = place;
            lanes.push(lane as u32);
        }
        self.by_process(&lanes, now.len())
    }

    /// The same lanes, in the order of their first processes.
    fn by_process(&self, lanes: &[u32], count: usize) -> Vec<u32> {
        let mut first = vec![u64::MAX; count];
        for (place, lane) in lanes.iter().enumerate() {
            let first = &mut first[*lane as usize];
            *first = (*first).min(self.columns.processes[place]);
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|lane| first[*lane]);
        let mut place_of = vec![0; count];
        for (place, lane) in order.into_iter().enumerate() {
            place_of[lane] = place as u32;
        }
        lanes.iter().map(|lane| place_of[*lane as usize]).collect()
    }
}

/// An error as a person reads it: `timeout: no answer within 5 s`.
fn words(error: &Value) -> String {
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match error {
        Value::Array(parts) => parts.iter().map(word).collect::<Vec<_>>().join(": "),
        other => word(other),
    }
}

/// A text of at most [`VALUE_MAX`] characters.
fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
