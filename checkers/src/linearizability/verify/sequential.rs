//! Proofs about sequential consistency.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;
use store::Event;

use super::order::{Rules, Seen};
use super::{Judge, NODES, Refutation, object_view, operations};
use crate::linearizability::evidence::OperationView;
use crate::linearizability::options::Options;

/// Proves that a history is not sequentially consistent, from the events of a few of its operations.
pub fn verify_sequential(
    evidence: &[u64],
    events: &[Event],
    judge: &dyn Judge,
    options: &Options,
) -> Result<(), Refutation> {
    let mut keys: Vec<Option<&Value>> = Vec::new();
    for event in events.iter().filter(|event| event.is_client()) {
        if !keys.contains(&event.key.as_ref()) {
            keys.push(event.key.as_ref());
        }
    }
    let mut all = Vec::new();
    for (key, number) in keys.into_iter().zip(0..) {
        let of_key = operations(events, key, |invoke, complete| {
            object_view(invoke, complete, options)
        });
        all.extend(of_key.into_iter().map(|view| (number, view)));
    }
    let inside = evidence.iter().copied().collect();
    prove_sequential(&inside, &all, judge)
}

/// The same, with all operations at hand, each with the number of its key. `inside` has the invocations
/// of the sub-history.
pub fn prove_sequential(
    inside: &BTreeSet<u64>,
    all: &[(u32, OperationView)],
    judge: &dyn Judge,
) -> Result<(), Refutation> {
    let seen = all
        .iter()
        .filter_map(|(key, view)| Some((*key, Seen::until(view, u64::MAX)?)));
    let (kept, left_out): (Vec<_>, Vec<_>) =
        seen.partition(|(_, seen)| inside.contains(&seen.invoke));
    let mut by_key: BTreeMap<u32, Vec<Seen>> = BTreeMap::new();
    for (key, seen) in &kept {
        by_key.entry(*key).or_default().push(seen.clone());
    }
    for (key, seen) in left_out {
        let observer = by_key
            .get(&key)
            .and_then(|kept| judge.needed_by(&seen, kept));
        if let Some(observer) = observer {
            return Err(Refutation::Open {
                left_out: seen.invoke,
                observer,
            });
        }
    }
    match judge.has_program_order(&kept) {
        Some(false) => Ok(()),
        Some(true) => Err(Refutation::Possible),
        None => Err(Refutation::TooHard(NODES)),
    }
}

/// Whether operations can be ordered such that each process's own order is kept; `None` if there were
/// too many orders.
pub(super) fn has_program_order<R: Rules>(rules: &R, ops: &[(u32, Seen)]) -> Option<bool> {
    let mut programs: BTreeMap<u64, Vec<&(u32, Seen)>> = BTreeMap::new();
    for op in ops {
        programs.entry(op.1.process).or_default().push(op);
    }
    for program in programs.values_mut() {
        program.sort_by_key(|(_, seen)| seen.invoke);
    }
    let programs: Vec<_> = programs.into_values().collect();
    let keys: BTreeSet<u32> = ops.iter().map(|(key, _)| *key).collect();
    let slots: HashMap<u32, usize> = keys.into_iter().zip(0..).collect();
    let first = (
        vec![0usize; programs.len()],
        vec![rules.first(); slots.len()],
    );
    let mut tried: HashSet<(Vec<usize>, Vec<R::State>)> = HashSet::new();
    let mut stack = vec![first];
    while let Some((at, states)) = stack.pop() {
        let rest = at.iter().zip(&programs);
        let mut rest = rest.flat_map(|(at, program)| &program[*at..]);
        if rest.all(|(_, seen)| seen.returned.is_none()) {
            return Some(true);
        }
        for (process, program) in programs.iter().enumerate() {
            let Some((key, seen)) = program.get(at[process]) else {
                continue;
            };
            let mut next_at = at.clone();
            next_at[process] += 1;
            let slot = slots[key];
            let mut nexts: Vec<Vec<R::State>> = Vec::new();
            for after in rules.after(&states[slot], seen) {
                let mut next = states.clone();
                next[slot] = after;
                nexts.push(next);
            }
            if seen.returned.is_none() {
                nexts.push(states.clone());
            }
            for next in nexts {
                let node = (next_at.clone(), next);
                if !tried.contains(&node) {
                    if tried.len() >= NODES {
                        return None;
                    }
                    tried.insert(node.clone());
                    stack.push(node);
                }
            }
        }
    }
    Some(false)
}
