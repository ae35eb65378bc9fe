//! The monitors of single types against an oracle that tries everything, with every proof proved again.

mod collection;
mod corpus;
mod generate;
mod lower;
mod register;
mod small;

use std::collections::HashSet;
use std::hash::Hash;

use checkers::linearizability::monitors::{NEVER, Operation};

/// Whether there is an order of the operations that an object allows. `step` gives the states after an operation,
/// none if it cannot happen with its result. Operations without a completion need not happen. Exponential.
fn is_linearizable<K: Copy, S: Clone + Eq + Hash>(
    ops: &[Operation<K>],
    initial: S,
    step: &impl Fn(&S, &Operation<K>) -> Vec<S>,
) -> bool {
    let mut dead = HashSet::new();
    let all = (0..ops.len() as u32).fold(0u32, |mask, at| mask | 1 << at);
    can_be_ordered(ops, all, initial, step, &mut dead)
}

fn can_be_ordered<K: Copy, S: Clone + Eq + Hash>(
    ops: &[Operation<K>],
    left: u32,
    state: S,
    step: &impl Fn(&S, &Operation<K>) -> Vec<S>,
    dead: &mut HashSet<(u32, S)>,
) -> bool {
    let members = || (0..ops.len()).filter(|at| left & (1 << at) != 0);
    let first = members().map(|at| ops[at].complete).min().unwrap_or(NEVER);
    if first == NEVER {
        return true;
    }
    if dead.contains(&(left, state.clone())) {
        return false;
    }
    for at in members().filter(|at| ops[*at].invoke < first) {
        for next in step(&state, &ops[at]) {
            if can_be_ordered(ops, left & !(1 << at), next, step, dead) {
                return true;
            }
        }
    }
    dead.insert((left, state));
    false
}

/// Operations, one a line.
fn listed<K: std::fmt::Debug>(ops: &[Operation<K>]) -> String {
    let lines = ops
        .iter()
        .enumerate()
        .map(|(at, op)| format!("{at}: {op:?}\n"));
    lines.collect()
}
