//! Events for this crate's own tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::batch::{Batch, Batcher, Flow};
use crate::event::{Event, EventType, Process};
use crate::load::LoadError;

/// All events that a reader hands on, with their lines, and what it says.
pub(crate) fn collect<T>(
    read: impl FnOnce(&mut Batcher<'_>) -> Result<T, LoadError>,
) -> Result<(Vec<Event>, Vec<u64>, T), LoadError> {
    let (mut events, mut lines) = (Vec::new(), Vec::new());
    let mut take = |batch: Batch<'_>| {
        events.extend_from_slice(batch.events);
        lines.extend_from_slice(batch.lines);
        Flow::Continue(())
    };
    let mut batcher = Batcher::new(&mut take);
    let said = read(&mut batcher)?;
    let _ = batcher.flush();
    Ok((events, lines, said))
}

/// A client's event at a position, `time` = a thousand times the index.
pub(crate) fn event(index: u64, process: u64, kind: EventType, f: &str, value: Value) -> Event {
    Event {
        index,
        time: index * 1000,
        process: Process::Client(process),
        kind,
        f: f.into(),
        key: None,
        value,
        error: None,
        node: None,
    }
}

/// Any JSON value of modest size.
///
/// Floats are left out: which of two neighbouring doubles a decimal stands for is the JSON library's
/// business.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0i64..10).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(".*", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// Any event at all.
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let process = prop_oneof![
        4 => any::<u64>().prop_map(Process::Client),
        1 => "[a-z][a-z-]{0,8}".prop_map(|name| Process::Nemesis(name.into())),
        1 => ".+".prop_map(|name| Process::Nemesis(name.into())),
    ];
    let kind = prop_oneof![
        Just(EventType::Invoke),
        Just(EventType::Ok),
        Just(EventType::Fail),
        Just(EventType::Info),
    ];
    // `null` keys and errors are read back as absent ones.
    let present = || prop::option::of(any_value().prop_filter("present", |v| !v.is_null()));
    (
        (any::<u64>(), any::<u64>(), process, kind, ".*"),
        (present(), any_value(), present(), prop::option::of(".*")),
    )
        .prop_map(
            |((index, time, process, kind, f), (key, value, error, node))| Event {
                index,
                time,
                process,
                kind,
                f: f.into(),
                key,
                value,
                error,
                node: node.map(Into::into),
            },
        )
}

/// Events of a history that pairs: whoever begins an operation ends it, or the history ends before.
pub(crate) fn any_history() -> impl Strategy<Value = Vec<Event>> {
    let steps = prop::collection::vec((any_event(), 0usize..4), 0..40);
    steps.prop_map(|steps| {
        let processes = [
            Process::Client(0),
            Process::Client(7),
            Process::Nemesis("kill".into()),
            Process::Nemesis("a/b \"c".into()),
        ];
        let mut open: [Option<crate::Name>; 4] = Default::default();
        let mut events = Vec::new();
        for ((mut event, who), at) in steps.into_iter().zip(0..) {
            event.process = processes[who].clone();
            (event.index, event.time) = (at, at * 1000);
            match open[who].take() {
                Some(f) if event.is_invoke() => {
                    event.kind = EventType::Ok;
                    event.f = f;
                }
                Some(f) => event.f = f,
                None => {
                    event.kind = EventType::Invoke;
                    open[who] = Some(event.f.clone());
                }
            }
            events.push(event);
        }
        events
    })
}
