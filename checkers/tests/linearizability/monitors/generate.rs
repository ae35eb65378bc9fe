//! Small random histories of one object.

use checkers::linearizability::monitors::{NEVER, Operation};

use crate::support::Random;

/// An operation while a history is being made; its ends are not yet positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<K> {
    pub(crate) kind: K,
    pub(crate) value: u32,
    pub(crate) begin: u64,
    /// `None`: nobody knows what became of it.
    pub(crate) end: Option<u64>,
}

/// An interval around a moment, where moments are about a hundred apart.
pub(crate) fn around(moment: u64, width: u64, random: &mut Random) -> (u64, u64) {
    let before = random.below(width * 100) + 1;
    let after = random.below(width * 100) + 1;
    (
        (moment * 100 + 10_000) - before,
        moment * 100 + 10_000 + after,
    )
}

/// Moves an end of an operation, or exchanges ends or values of two.
pub(crate) fn disturb<K: Copy>(drafts: &mut [Draft<K>], random: &mut Random) {
    if drafts.is_empty() {
        return;
    }
    let count = drafts.len() as u64;
    let (one, other) = (random.below(count) as usize, random.below(count) as usize);
    match random.below(5) {
        0 => {
            let (left, right) = (drafts[one].value, drafts[other].value);
            (drafts[one].value, drafts[other].value) = (right, left);
        }
        1 => {
            let middle = drafts[other].begin + random.below(100);
            if drafts[one].end.is_none_or(|end| middle < end) {
                drafts[one].begin = middle;
            }
        }
        2 => {
            let middle = drafts[other].end.unwrap_or(drafts[other].begin + 50);
            if drafts[one].end.is_some() && middle > drafts[one].begin {
                drafts[one].end = Some(middle - random.below(middle - drafts[one].begin));
            }
        }
        3 => {
            let length = drafts[one].end.map(|end| end - drafts[one].begin);
            drafts[one].begin = drafts[other].begin + random.below(100);
            drafts[one].end = length.map(|length| drafts[one].begin + length);
        }
        _ => drafts[one].value = random.below(count) as u32,
    }
}

/// The operations with positions, in order of invocation.
pub(crate) fn positioned<K: Copy>(drafts: &[Draft<K>]) -> Vec<Operation<K>> {
    let mut ends = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        ends.push((draft.begin, at, false));
        if let Some(end) = draft.end {
            ends.push((end.max(draft.begin + 1), at, true));
        }
    }
    ends.sort_unstable_by_key(|(moment, at, end)| (*moment, *end, *at));
    let mut ops: Vec<Operation<K>> = Vec::new();
    let mut places = vec![0; drafts.len()];
    for (position, (_, at, end)) in ends.into_iter().enumerate() {
        if end {
            let place: usize = places[at];
            ops[place].complete = position as u32;
        } else {
            places[at] = ops.len();
            ops.push(Operation {
                kind: drafts[at].kind,
                value: drafts[at].value,
                invoke: position as u32,
                complete: NEVER,
            });
        }
    }
    ops
}
