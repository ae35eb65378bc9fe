//! An upper bound that begins in the middle: what happened before a window is forgotten, and with
//! it everything that it would have ruled out.
//!
//! At the beginning of the window the object may have any state. What is open may have taken effect
//! or not, may do so later or not, and crashed operations take effect any number of times. More is
//! possible than can be, so a window that nothing survives proves that there is no order. Most
//! violations show in a window of a few operations, which is why this is tried first.

use crate::budget::{Budget, Exhausted};

use super::frontier::{Frontier, Limits};
use super::model::Machine;
use super::steps::{Step, Trail, apply};

/// Sends a frontier that began with everything possible over the last `length` steps of a trail.
/// `None` if it would be too large. `near` is any frontier that has seen some of the trail before
/// the window.
pub(super) fn send<A: Machine>(
    trail: &Trail<A::Op>,
    length: usize,
    near: (&Frontier<A::Op>, usize),
    limits: Limits,
    machine: &mut A,
    budget: &dyn Budget,
) -> Result<Option<Frontier<A::Op>>, Exhausted> {
    let begin = trail.steps.len().saturating_sub(length);
    let window = &trail.steps[begin..];
    let mut frontier = near.0.emptied();
    for (step, _) in &trail.steps[near.1..begin] {
        apply(&mut frontier, *step, machine, budget)?;
    }
    let mut ops = frontier.known_ops();
    ops.extend(window.iter().filter_map(|(step, _)| match step {
        Step::Call(_, op, _) | Step::Crash(op) => Some(*op),
        Step::Return(_) => None,
    }));
    let Some(states) = machine.states_told_apart(&ops) else {
        return Ok(None);
    };
    frontier.set_limits(limits);
    frontier.allow_everything(&states, machine);
    for (step, _) in window {
        apply(&mut frontier, *step, machine, budget)?;
        if frontier.lossy() {
            return Ok(None);
        }
        if frontier.is_dead() {
            break;
        }
    }
    Ok(Some(frontier))
}
