//! Proves an order of a register's operations, which a valid verdict came with, from the events alone.

use std::collections::BTreeMap;

use checkers::linearizability::{FailedCas, NullRead, Options};
use serde_json::Value;
use store::{Event, EventType, OpError, Process};

/// Runs a register through the order. What is wrong with it, if anything is: an operation has another result than it
/// says, or comes after one that began when it had returned; one that must be there is not, or one twice.
pub(crate) fn prove_order(
    events: &[Event],
    order: &[u64],
    options: &Options,
) -> Result<(), String> {
    let mut ends: BTreeMap<u64, &Event> = BTreeMap::new();
    let mut open: BTreeMap<&Process, u64> = BTreeMap::new();
    for event in events.iter().filter(|event| event.is_client()) {
        match event.is_invoke() {
            true => drop(open.insert(&event.process, event.index)),
            false => drop(ends.insert(open.remove(&event.process).unwrap(), event)),
        }
    }
    let invoke = |index: u64| &events[events.binary_search_by_key(&index, |it| it.index).unwrap()];
    let returned = |index: &u64| ends.get(index).filter(|it| it.kind != EventType::Info);
    let refused = |end: &Event| {
        end.kind == EventType::Fail
            && match options.failed_cas {
                FailedCas::Precondition => end.error_class() == Some(OpError::PRECONDITION),
                FailedCas::Observes => &*end.f == "cas",
                FailedCas::Dropped => false,
            }
    };
    let (mut state, mut latest) = (&options.initial, 0);
    for index in order {
        let (op, end) = (invoke(*index), returned(index).copied());
        if end.is_some_and(|end| end.index < latest) {
            return Err(format!("{index} had returned before {latest}"));
        }
        latest = latest.max(*index);
        let fails = end.is_some_and(refused);
        let fits = match &*op.f {
            "read" => end.is_some_and(|end| end.kind == EventType::Ok && end.value == *state),
            "cas" => (op.value[0] == *state) != fails,
            _ => true,
        };
        if !fits || end.is_some_and(|end| end.kind == EventType::Fail && !fails) {
            return Err(format!("{index} cannot be in {state}"));
        }
        match &*op.f {
            "write" => state = &op.value,
            "cas" if !fails => state = &op.value[1],
            _ => {}
        }
    }
    let must = |(index, end): (&u64, &&Event)| {
        let is_nothing = &*end.f == "read"
            && end.value == Value::Null
            && options.null_read == NullRead::MatchesAnything;
        let counts = end.kind == EventType::Ok && !is_nothing || refused(end);
        counts.then_some(*index)
    };
    let mut placed = order.to_vec();
    placed.sort_unstable();
    if placed.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("something happens twice".to_owned());
    }
    match ends
        .iter()
        .filter_map(must)
        .find(|index| placed.binary_search(index).is_err())
    {
        Some(left_out) => Err(format!("{left_out} is not in it")),
        None => Ok(()),
    }
}
