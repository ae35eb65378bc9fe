//! Wherever a monitor says that there is an order, one is found, unless removals without an answer took something.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::budget::Unlimited;
use crate::linearizability::monitors::Outcome;
use crate::linearizability::monitors::collection::check;

/// What happens next: to a process, and which of several things.
type Dice = (usize, u8);

/// A queue or stack used by a few clients, each operation taking effect at some moment. Some insertions have no answer.
fn history(order: Order, dice: &[Dice]) -> Vec<Operation<CollectionKind>> {
    let mut ops: Vec<Operation<CollectionKind>> = Vec::new();
    // By process: its operation, and whether it has taken effect.
    let mut open: Vec<Option<(usize, bool)>> = vec![None; 5];
    let mut inside: VecDeque<u32> = VecDeque::new();
    let (mut position, mut value) = (0, 0);
    for (process, dice) in dice {
        match open[*process] {
            None => {
                let kind = match dice % 8 {
                    0..4 => CollectionKind::Insert,
                    7 => CollectionKind::Peek,
                    _ => CollectionKind::Remove,
                };
                value += u32::from(kind == CollectionKind::Insert);
                open[*process] = Some((ops.len(), false));
                ops.push(Operation {
                    kind,
                    value: match kind {
                        CollectionKind::Insert => value,
                        _ => 0,
                    },
                    invoke: position,
                    complete: NEVER,
                });
                position += 1;
            }
            Some((at, false)) => {
                let op = &mut ops[at];
                let front = match order {
                    Order::Last => inside.back().copied(),
                    _ => inside.front().copied(),
                };
                match (op.kind, front) {
                    (CollectionKind::Insert, _) => inside.push_back(op.value),
                    (CollectionKind::Remove, Some(front)) => {
                        op.value = front;
                        inside.retain(|one| *one != front);
                    }
                    (_, Some(front)) => op.value = front,
                    (_, None) => op.kind = CollectionKind::Empty,
                }
                open[*process] = Some((at, true));
            }
            Some((at, true)) => {
                let op = &mut ops[at];
                if op.kind != CollectionKind::Insert || dice % 16 != 0 {
                    op.complete = position;
                    position += 1;
                }
                open[*process] = None;
            }
        }
    }
    for (at, _) in open.into_iter().flatten().filter(|(_, done)| *done) {
        ops[at].complete = position;
        position += 1;
    }
    // What never answered is an insertion, or nothing.
    ops.retain(|op| op.complete != NEVER || op.kind == CollectionKind::Insert);
    ops
}

fn dice() -> impl Strategy<Value = Vec<Dice>> {
    prop::collection::vec((0..5usize, any::<u8>()), 0..240)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_happened_in_some_order_is_put_in_one(dice in dice(), is_stack: bool) {
        let order = if is_stack { Order::Last } else { Order::First };
        let ops = history(order, &dice);
        let placed = place(order, &ops, &Unlimited).unwrap();
        prop_assert!(placed.is_some(), "{ops:?}");
    }

    /// With results and ends changed, so that some have no order.
    #[test]
    fn there_is_an_order_where_a_monitor_says_so(
        dice in prop::collection::vec((0..5usize, any::<u8>()), 0..60),
        is_stack: bool,
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
    ) {
        let order = if is_stack { Order::Last } else { Order::First };
        let mut ops = history(order, &dice);
        for (one, other) in swaps {
            let sees = |op: &Operation<CollectionKind>| op.kind != CollectionKind::Insert;
            let seen: Vec<usize> = (0..ops.len()).filter(|at| sees(&ops[*at])).collect();
            if seen.is_empty() {
                continue;
            }
            let (one, other) = (*one.get(&seen), *other.get(&seen));
            let (kind, value) = (ops[one].kind, ops[one].value);
            (ops[one].kind, ops[one].value) = (ops[other].kind, ops[other].value);
            (ops[other].kind, ops[other].value) = (kind, value);
        }
        let said = check(order, &ops, &Unlimited).unwrap();
        let placed = place(order, &ops, &Unlimited).unwrap();
        prop_assert_eq!(placed.is_some(), said == Outcome::Linearizable, "{:?}\n{:?}", said, ops);
    }
}
