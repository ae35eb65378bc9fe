//! Events by hand, for all test programs.

use serde_json::Value;
use store::{Event, EventType, Process};

/// An event of a client.
pub(crate) fn event(index: u64, process: u64, kind: EventType, f: &str, value: Value) -> Event {
    Event {
        index,
        time: index * 1_000_000,
        process: Process::Client(process),
        kind,
        f: f.into(),
        key: None,
        value,
        error: None,
        node: None,
    }
}

/// A history from lines that begin with `process type`, one event a line. `rest` makes the event of the remaining words.
pub(crate) fn history_of<'a>(
    text: &'a str,
    rest: impl Fn(u64, u64, EventType, &mut dyn Iterator<Item = &'a str>) -> Event,
) -> Vec<Event> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    (0..)
        .zip(lines)
        .map(|(index, line)| {
            let mut words = line.split_whitespace();
            let process = words.next().unwrap().parse().unwrap();
            let kind = serde_json::from_value(words.next().unwrap().into()).unwrap();
            rest(index, process, kind, &mut words)
        })
        .collect()
}
