//! Histories for tests: written by hand, and of objects that execute one operation after another, whatever clients come to know of it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use store::{Event, EventType, Process};

use crate::{CheckResult, Evidence};

/// An event without its index: process, kind, function, key, value.
pub(crate) type Line<'a> = (u64, &'a str, &'a str, Value, Value);

/// A history of events in this order. A key of null is none.
pub(crate) fn history(lines: &[Line<'_>]) -> Vec<Event> {
    let event = |(index, line): (u64, &Line<'_>)| {
        let (process, kind, f, key, value) = line;
        Event {
            index,
            time: 1_000_000 * index,
            process: Process::Client(*process),
            kind: serde_json::from_value(Value::from(*kind)).unwrap(),
            f: (*f).into(),
            key: (!key.is_null()).then(|| key.clone()),
            value: value.clone(),
            error: None,
            node: None,
        }
    };
    (0..).zip(lines).map(event).collect()
}

/// What evidence says and names.
pub(crate) fn operations(result: &CheckResult) -> Vec<(&str, &[u64])> {
    let all = result.evidence.iter();
    all.map(|evidence| match evidence {
        Evidence::Operations(one) => (one.explanation.as_str(), &one.events[..]),
        other => panic!("{other:?}"),
    })
    .collect()
}

/// What a client does next: begins an operation if it has none under way, else ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Play {
    pub(crate) client: u64,
    /// Chance for what to ask.
    pub(crate) what: u8,
    /// Chance for what becomes of it.
    fate: u8,
}

pub(crate) fn plays() -> impl Strategy<Value = Vec<Play>> {
    let one = (0..4_u64, any::<u8>(), 0..100_u8);
    let play = one.prop_map(|(client, what, fate)| Play { client, what, fate });
    prop::collection::vec(play, 0..60)
}

/// An operation that is asked for: function, key, value.
pub(crate) type Asked = (&'static str, Option<i64>, Value);

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It happens when it begins, and is acknowledged.
    Early,
    /// It happens when it ends, and is acknowledged.
    Late,
    Fails,
    /// Nobody knows; it happens when it begins, after so many more plays, or never.
    Unknown(Option<usize>),
}

/// An object that executes one operation after another: all that it does is linearizable.
pub(crate) struct Served<'a, S> {
    pub(crate) state: S,
    /// Operations that change nothing.
    pub(crate) is_read: fn(&str) -> bool,
    pub(crate) ask: &'a mut dyn FnMut(&Play) -> Asked,
    /// Executes an operation; what it returns.
    pub(crate) run: &'a dyn Fn(&mut S, &Asked) -> Value,
}

impl<S> Served<'_, S> {
    /// The history of what was played, and of some operations in the end by two more clients, one after another.
    pub(crate) fn play(mut self, plays: &[Play], last: &[Asked]) -> Vec<Event> {
        let mut lines: Vec<(u64, EventType, Asked)> = Vec::new();
        let mut open: BTreeMap<u64, (Asked, Fate, Value)> = BTreeMap::new();
        // Processes end when they do not know what happened.
        let mut process = [0_u64, 1, 2, 3];
        // Operations that happen after so many more plays.
        let mut coming: Vec<(usize, Asked)> = Vec::new();
        for play in plays {
            self.happen(&mut coming);
            let at = play.client as usize;
            match open.remove(&process[at]) {
                None => {
                    let asked = (self.ask)(play);
                    let reads = (self.is_read)(asked.0);
                    let fate = match play.fate {
                        0..25 => Fate::Early,
                        25..50 => Fate::Late,
                        50..60 => Fate::Fails,
                        _ if reads => Fate::Late,
                        60..70 => Fate::Unknown(None),
                        more => Fate::Unknown(Some(usize::from(more - 70))),
                    };
                    let shown = match fate {
                        Fate::Early => (self.run)(&mut self.state, &asked),
                        Fate::Unknown(Some(later)) => {
                            coming.push((later, asked.clone()));
                            Value::Null
                        }
                        _ => Value::Null,
                    };
                    lines.push((process[at], EventType::Invoke, asked.clone()));
                    open.insert(process[at], (asked, fate, shown));
                }
                Some((asked, fate, shown)) => {
                    let (f, key, value) = asked.clone();
                    let (kind, value) = match fate {
                        Fate::Early => (EventType::Ok, shown),
                        Fate::Late => (EventType::Ok, (self.run)(&mut self.state, &asked)),
                        Fate::Fails => (EventType::Fail, value),
                        Fate::Unknown(_) => (EventType::Info, value),
                    };
                    lines.push((process[at], kind, (f, key, value)));
                    if kind == EventType::Info {
                        process[at] += 4;
                    }
                }
            }
        }
        // Those that are under way are known to nobody, whether they have happened or not.
        for (process, (asked, ..)) in open {
            let kind = match (self.is_read)(asked.0) {
                true => EventType::Fail,
                false => EventType::Info,
            };
            lines.push((process, kind, asked));
        }
        for process in [1_001, 1_002] {
            for asked in last {
                self.happen(&mut coming);
                lines.push((process, EventType::Invoke, asked.clone()));
                let shown = (self.run)(&mut self.state, asked);
                lines.push((process, EventType::Ok, (asked.0, asked.1, shown)));
            }
        }
        let event = |(index, (process, kind, asked)): (u64, (u64, EventType, Asked))| Event {
            index,
            time: 1_000_000 * index,
            process: Process::Client(process),
            kind,
            f: asked.0.into(),
            key: asked.1.map(Value::from),
            value: asked.2,
            error: None,
            node: (kind == EventType::Ok).then(|| format!("n{}", process % 2).into()),
        };
        (0..).zip(lines).map(event).collect()
    }

    fn happen(&mut self, coming: &mut Vec<(usize, Asked)>) {
        for (left, asked) in std::mem::take(coming) {
            match left.checked_sub(1) {
                Some(left) => coming.push((left, asked)),
                None => {
                    (self.run)(&mut self.state, &asked);
                }
            }
        }
    }
}
