//! Proofs by counting: a value came to a register more often than it can have been written.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_json::Value;

use super::register::{Effect, Op};

/// Between an absence and a later presence the value came: the invocation of what tells of the
/// absence, and the return of what tells of the presence.
type Coming = (u64, u64);

/// Whether the value came, as the members tell, more often than `all` operations can have written
/// it.
///
/// Each coming needs an operation of its own that writes the value, began before the presence ended
/// and had not returned when the absence began. The comings follow each other, so giving each the
/// one that returns first leaves as much as possible for the others.
pub(super) fn came_too_often(value: &Value, members: &[Op], all: &[Op]) -> bool {
    let mut writers: Vec<(u64, u64)> = all
        .iter()
        .filter(|op| op.writes() == Some(value))
        .map(|op| (op.invoke, op.returned.unwrap_or(u64::MAX)))
        .collect();
    writers.sort_unstable();
    let mut next = writers.into_iter().peekable();
    let mut open = BinaryHeap::new();
    for (absent, present) in comings(value, members) {
        while let Some((_, returned)) = next.next_if(|(invoke, _)| *invoke < present) {
            open.push(Reverse(returned));
        }
        let in_time = std::iter::from_fn(|| open.pop()).any(|Reverse(returned)| returned > absent);
        if !in_time {
            return true;
        }
    }
    false
}

/// The comings of a value, one after the other: the presence of each ended before what tells of the
/// absence of the next one began.
fn comings(value: &Value, members: &[Op]) -> Vec<Coming> {
    let mut told: Vec<(u64, &Op)> = members
        .iter()
        .filter_map(|op| op.returned.map(|returned| (returned, op)))
        .collect();
    told.sort_by_key(|(returned, _)| *returned);
    let mut comings: Vec<Coming> = Vec::new();
    // Those since the last presence, as (return, invocation).
    let mut absences: Vec<(u64, u64)> = Vec::new();
    for (returned, op) in told {
        let begin = absences
            .iter()
            .filter(|(returned, _)| *returned < op.invoke)
            .map(|(_, invoke)| *invoke)
            .max();
        if let (true, Some(begin)) = (op.tells_presence(value), begin) {
            comings.push((begin, returned));
            absences.clear();
        } else if op.tells_absence(value) && comings.last().is_none_or(|it| it.1 < op.invoke) {
            absences.push((returned, op.invoke));
        }
    }
    comings
}

impl Op {
    /// Whether the register certainly held the value at some moment of the operation.
    fn tells_presence(&self, value: &Value) -> bool {
        match &self.effect {
            Effect::Read(seen) | Effect::Write(seen) => seen == value,
            Effect::Cas(from, to) => from == value || to == value,
            Effect::Differs(_) => false,
        }
    }

    /// Whether the register certainly held something else at some moment of the operation.
    fn tells_absence(&self, value: &Value) -> bool {
        match &self.effect {
            Effect::Read(seen) | Effect::Write(seen) => seen != value,
            Effect::Differs(not) => not == value,
            Effect::Cas(..) => true,
        }
    }
}
