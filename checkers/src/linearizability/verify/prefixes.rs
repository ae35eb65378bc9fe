//! How far an order goes: the longest ones that real time and the model allow.
//!
//! They prove nothing that is not proved already, but a person sees by them where it stops, and in which states. Porcupine shows
//! "partial linearizations", Knossos "final paths".

use std::collections::HashSet;

use super::order::{Rules, Seen};
use crate::linearizability::evidence::{DeadEnd, Prefix};
use crate::linearizability::verify::Judge;

/// With more operations than this, nothing is shown.
const OPERATIONS_MAX: usize = 64;
/// How many beginnings of orders are tried.
const TRIED_MAX: usize = 50_000;
/// How many of the longest are kept, each with another state.
const KEPT: usize = 10;

/// The longest orders of the sub-history of evidence.
pub(in super::super) fn prefixes(dead_end: &DeadEnd, judge: &dyn Judge) -> Vec<Prefix> {
    let Some(end) = dead_end.end() else {
        return Vec::new();
    };
    let seen = dead_end.sub_operations();
    let seen = seen.filter_map(|view| Seen::until(view, end)).collect();
    let restricted = judge.restrict(seen, &dead_end.elements);
    restricted.map_or_else(Vec::new, |ops| judge.longest_orders(&ops))
}

/// A beginning of an order: which operations it has, the last of them, and what it was before that.
struct Beginning<S> {
    placed: u64,
    last: Option<(usize, usize)>,
    state: S,
    /// How many of the operations that certainly happened it has.
    certain: u32,
}

/// Beginnings of orders that have the most of the operations that certainly happened, each with another state, those with the
/// fewest others first. Nothing if there are too many operations.
pub(super) fn longest<R: Rules>(rules: &R, ops: &[Seen]) -> Vec<Prefix> {
    let mut ops: Vec<&Seen> = ops.iter().collect();
    ops.sort_by_key(|op| op.invoke);
    if ops.len() > OPERATIONS_MAX {
        return Vec::new();
    }
    let mut all = vec![Beginning {
        placed: 0,
        last: None,
        state: rules.first(),
        certain: 0,
    }];
    let mut known = HashSet::from([(0, rules.first())]);
    let mut at = 0;
    while at < all.len() && all.len() < TRIED_MAX {
        let (placed, state) = (all[at].placed, all[at].state.clone());
        let is_left = |op: &usize| placed >> op & 1 == 0;
        let left = || (0..ops.len()).filter(is_left);
        // What has returned comes before whatever began afterwards.
        let deadline = left()
            .filter_map(|op| ops[op].returned)
            .min()
            .unwrap_or(u64::MAX);
        for op in left().take_while(|op| ops[*op].invoke < deadline) {
            for state in rules.after(&state, ops[op]) {
                let placed = placed | 1 << op;
                if known.insert((placed, state.clone())) {
                    let certain = all[at].certain + u32::from(ops[op].returned.is_some());
                    all.push(Beginning {
                        placed,
                        last: Some((op, at)),
                        state,
                        certain,
                    });
                }
            }
        }
        at += 1;
    }
    let most = all
        .iter()
        .map(|beginning| beginning.certain)
        .max()
        .unwrap_or(0);
    let mut states = HashSet::new();
    // They were found in the order of their lengths.
    let longest = (0..all.len())
        .filter(|at| all[*at].certain == most && states.insert(all[*at].state.clone()));
    longest
        .take(KEPT)
        .map(|at| told(rules, &ops, &all, at))
        .collect()
}

fn told<R: Rules>(rules: &R, ops: &[&Seen], all: &[Beginning<R::State>], at: usize) -> Prefix {
    let mut order = Vec::new();
    let mut next = all[at].last;
    while let Some((op, before)) = next {
        order.push(ops[op].invoke);
        next = all[before].last;
    }
    order.reverse();
    Prefix {
        order,
        state: rules.show(&all[at].state),
    }
}
