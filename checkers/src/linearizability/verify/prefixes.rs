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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::order::Outcome;
    use super::super::reference::Reference;
    use super::*;
    use crate::linearizability::Options;

    fn op(f: &str, value: Value, outcome: Outcome, invoke: u64, returned: Option<u64>) -> Seen {
        Seen {
            f: f.to_owned(),
            value,
            outcome,
            process: invoke,
            invoke,
            returned,
        }
    }

    fn ok(result: Value) -> Outcome {
        Outcome::Ok(result)
    }

    fn of(model: &str, ops: &[Seen]) -> Vec<Prefix> {
        longest(&Reference::new(model, &Options::default()).unwrap(), ops)
    }

    #[test]
    fn it_goes_as_far_as_it_can_and_no_further() {
        let ops = [
            op("write", json!(1), ok(Value::Null), 0, Some(1)),
            op("write", json!(2), ok(Value::Null), 2, Some(5)),
            op("write", json!(3), ok(Value::Null), 3, Some(4)),
            op("read", Value::Null, ok(json!(1)), 6, Some(7)),
        ];
        let told: Vec<(Vec<u64>, Value)> = of("map", &ops)
            .into_iter()
            .map(|it| (it.order, it.state))
            .collect();
        assert_eq!(told, [(vec![0, 2, 3], json!(3)), (vec![0, 3, 2], json!(2))]);
    }

    #[test]
    fn what_need_not_have_happened_is_left_out_where_it_can_be() {
        let ops = [
            op("enqueue", json!(1), Outcome::Unknown, 0, None),
            op("enqueue", json!(2), ok(Value::Null), 1, Some(2)),
            op("dequeue", Value::Null, ok(json!(3)), 3, Some(4)),
        ];
        assert_eq!(of("queue", &ops)[0].order, [1]);
    }

    /// All orders of all subsets that real time and a register allow, tried one by one.
    fn by_force(ops: &[Seen]) -> (usize, BTreeSet<String>) {
        let rules = Reference::new("map", &Options::default()).unwrap();
        let mut best = (0, BTreeSet::from(["null".to_owned()]));
        let mut stack: Vec<(Vec<usize>, Value)> = vec![(Vec::new(), Value::Null)];
        while let Some((order, state)) = stack.pop() {
            let certain = order
                .iter()
                .filter(|at| ops[**at].returned.is_some())
                .count();
            if certain > best.0 {
                best = (certain, BTreeSet::new());
            }
            if certain == best.0 {
                best.1.insert(state.to_string());
            }
            for at in (0..ops.len()).filter(|at| !order.contains(at)) {
                let left = (0..ops.len()).filter(|other| *other != at && !order.contains(other));
                let late = left
                    .filter_map(|other| ops[other].returned)
                    .any(|returned| returned < ops[at].invoke);
                if !late {
                    stack.extend(
                        rules
                            .after(&state, &ops[at])
                            .into_iter()
                            .map(|state| ([&order[..], &[at]].concat(), state)),
                    );
                }
            }
        }
        best
    }

    fn any_op() -> impl Strategy<Value = (u8, u8, u64, u64, bool)> {
        (0u8..3, 0u8..3, 0u64..12, 1u64..8, prop::bool::weighted(0.2))
    }

    proptest! {
        #[test]
        fn none_is_longer(drawn in prop::collection::vec(any_op(), 1..6)) {
            let ops: Vec<Seen> = drawn.iter().enumerate().map(|(at, (kind, value, begin, length, unknown))| {
                let (invoke, returned) = (begin * 10 + at as u64, (begin + length) * 10 + at as u64);
                let returned = (!unknown).then_some(returned);
                match kind {
                    0 if !unknown => op("read", Value::Null, ok(json!(value)), invoke, returned),
                    _ if *unknown => op("write", json!(value), Outcome::Unknown, invoke, None),
                    _ => op("write", json!(value), ok(Value::Null), invoke, returned),
                }
            }).collect();
            let (most, states) = by_force(&ops);
            let found = of("map", &ops);
            let certain = |prefix: &Prefix| {
                let returned = |invoke: &&u64| ops.iter().any(|op| op.invoke == **invoke && op.returned.is_some());
                prefix.order.iter().filter(returned).count()
            };
            prop_assert!(found.iter().all(|prefix| certain(prefix) == most));
            let found: BTreeSet<String> = found.iter().map(|prefix| prefix.state.to_string()).collect();
            prop_assert_eq!(found, states);
        }
    }
}
