//! Orders of queues and stacks: not only that there is one, but which.
//!
//! The proofs by which the monitors know that there is an order also make one. What is made is looked at before it is given out: each
//! operation must do what it did on a queue or stack that is there, and none may come after one that began when it had ended.
//!
//! Removals without an answer are left out. Where they took what must be gone, no order is found.

mod queue;
mod stack;

use std::collections::VecDeque;

use crate::budget::{Budget, Exhausted};

use super::collection::{CollectionKind, Order};
use super::history::{History, Pace, Stop};
use super::lives::Lives;
use super::{NEVER, Operation};

/// An order of the operations, by their positions among those given, which come in order of invocation. Those that need not have
/// happened are not in it. `None` if none was found: there may be one.
///
/// # Errors
///
/// Where the budget is used up.
pub fn place(
    order: Order,
    ops: &[Operation<CollectionKind>],
    budget: &dyn Budget,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let mut pace = Pace::new(budget);
    pace.hold::<(u32, Operation<CollectionKind>)>(ops.len())?;
    let answered =
        |op: &&Operation<CollectionKind>| op.complete != NEVER || op.kind == CollectionKind::Insert;
    let known: Vec<Operation<CollectionKind>> = ops.iter().filter(answered).copied().collect();
    let placed = match try_place(order, &known, &mut pace) {
        Ok(placed) => placed,
        Err(Stop::Exhausted(exhausted)) => return Err(exhausted),
        Err(Stop::Violation(_) | Stop::NotApplicable(_)) => None,
    };
    let Some(placed) = placed.filter(|placed| is_order(order, &known, placed)) else {
        return Ok(None);
    };
    let positions = (0..).zip(ops).filter(|(_, op)| answered(op));
    let positions: Vec<u32> = positions.map(|(at, _)| at).collect();
    let placed = placed.into_iter().map(|at| positions[at as usize]);
    Ok(Some(placed.collect()))
}

fn try_place(
    order: Order,
    ops: &[Operation<CollectionKind>],
    pace: &mut Pace<'_>,
) -> Result<Option<Vec<u32>>, Stop<super::collection::CollectionReason>> {
    let history = History::new(ops, pace).map_err(super::history::widen)?;
    let lives = Lives::new(&history, pace)?;
    Ok(match order {
        Order::First => queue::place(&history, &lives, pace)?,
        Order::Last => stack::place(&history, &lives, pace)?,
        Order::Greatest | Order::Least | Order::Any => None,
    })
}

/// Whether the operations, in this order, are possible, and no two of them in the wrong one; and those that returned are all there.
fn is_order(order: Order, ops: &[Operation<CollectionKind>], placed: &[u32]) -> bool {
    let mut inside: VecDeque<u32> = VecDeque::new();
    let mut begun = 0;
    for at in placed {
        let op = &ops[*at as usize];
        begun = begun.max(op.invoke);
        let front = match order {
            Order::Last => inside.back(),
            _ => inside.front(),
        };
        let can_be = match op.kind {
            CollectionKind::Insert => true,
            CollectionKind::Peek | CollectionKind::Remove => front == Some(&op.value),
            CollectionKind::Empty => front.is_none(),
        };
        if !can_be || op.complete < begun {
            return false;
        }
        match (op.kind, order) {
            (CollectionKind::Insert, _) => inside.push_back(op.value),
            (CollectionKind::Remove, Order::Last) => drop(inside.pop_back()),
            (CollectionKind::Remove, _) => drop(inside.pop_front()),
            (CollectionKind::Peek | CollectionKind::Empty, _) => {}
        }
    }
    let mut all = placed.to_vec();
    all.sort_unstable();
    let returned = (0..).zip(ops).filter(|(_, op)| op.complete != NEVER);
    all.windows(2).all(|pair| pair[0] < pair[1])
        && returned
            .map(|(at, _)| at)
            .all(|at| all.binary_search(&at).is_ok())
}

#[cfg(test)]
mod tests;
