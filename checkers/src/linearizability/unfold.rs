//! An order of operations from the moves of a configuration that survived them (see [`trace`](super::trace)).
//!
//! All that happened happens once more, to one state:
//!
//! - an observation takes effect as soon as the state allows it;
//! - when an operation returns and has not taken effect, the next moves are made until it has;
//! - an overwrite that returns and has no move of its own was hidden: it takes effect just before another one that did
//!   so while it was open, and nothing sees it;
//! - of crashed operations that do the same, the first takes effect first.
//!
//! Whatever does not fit is no order: every operation is asked for what it does to the state.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::log::{LoggedOp, happenings};
use super::model::Machine;
use super::trace::Move;

/// What is known of an operation.
#[derive(Clone, Copy, Default)]
struct Known {
    has_move: bool,
    is_done: bool,
    /// The position in the order of the last overwrite that took effect while it was open and had not.
    overwritten: Option<usize>,
}

/// An order in the making.
struct Unfolding<'a, A: Machine, T> {
    ops: &'a [&'a LoggedOp<A::Op, T>],
    machine: A,
    state: u32,
    /// What is open, will return, and has not taken effect.
    open: Vec<u32>,
    /// By operation.
    known: Vec<Known>,
    /// Crashed operations that have not taken effect, by class.
    crashed: Vec<VecDeque<u32>>,
    order: Vec<u32>,
    /// What was hidden, with the position in the order just before which it took effect.
    hidden: Vec<(usize, u32)>,
}

/// The positions of the operations that took effect, in order; `None` if the moves are not those of a configuration
/// that survived all of them.
pub(super) fn unfold<A: Machine, T>(
    ops: &[&LoggedOp<A::Op, T>],
    moves: &[Move],
    (machine, initial): (A, u32),
) -> Option<Vec<u32>> {
    let mut known = vec![Known::default(); ops.len()];
    for made in moves {
        if let Move::Open(op) = made {
            known.get_mut(*op as usize)?.has_move = true;
        }
    }
    let mut unfolding = Unfolding {
        ops,
        machine,
        state: initial,
        open: Vec::new(),
        known,
        crashed: Vec::new(),
        order: Vec::with_capacity(ops.len()),
        hidden: Vec::new(),
    };
    let mut classes: FxHashMap<A::Op, usize> = FxHashMap::default();
    let mut moves = moves.iter().copied();
    for (_, op, returns) in happenings(ops.iter().copied(), u64::MAX) {
        let logged = ops[op as usize];
        if returns {
            unfolding.complete(op, &mut moves)?;
        } else if logged.returned().is_some() {
            unfolding.open.push(op);
            unfolding.observe();
        } else if !unfolding.machine.is_observation(logged.op) {
            let class = *classes.entry(logged.op).or_insert(unfolding.crashed.len());
            if class == unfolding.crashed.len() {
                unfolding.crashed.push(VecDeque::new());
            }
            unfolding.crashed[class].push_back(op);
        }
    }
    Some(unfolding.all())
}

impl<A: Machine, T> Unfolding<'_, A, T> {
    /// An operation returns: moves are made until it has taken effect.
    fn complete(&mut self, op: u32, moves: &mut impl Iterator<Item = Move>) -> Option<()> {
        let known = self.known[op as usize];
        let is_overwrite = self.machine.is_overwrite(self.ops[op as usize].op);
        if !known.is_done && is_overwrite && !known.has_move {
            self.hidden.push((known.overwritten?, op));
            self.finish(op);
        }
        while !self.known[op as usize].is_done {
            let op = match moves.next()? {
                Move::Open(op) => op,
                Move::Crashed(class) => self.crashed.get_mut(class as usize)?.pop_front()?,
            };
            self.take_effect(op)?;
        }
        if self.machine.is_crowded() {
            self.machine.retain(&[self.state]);
        }
        Some(())
    }

    fn finish(&mut self, op: u32) {
        self.known[op as usize].is_done = true;
        self.open.retain(|open| *open != op);
    }

    fn take_effect(&mut self, op: u32) -> Option<()> {
        let logged = self.ops[op as usize];
        let is_out_of_turn = logged.returned().is_some() && !self.open.contains(&op);
        if is_out_of_turn {
            return None;
        }
        self.state = self.machine.apply(self.state, logged.op)?;
        self.finish(op);
        if self.machine.is_overwrite(logged.op) {
            for open in &self.open {
                self.known[*open as usize].overwritten = Some(self.order.len());
            }
        }
        self.order.push(op);
        self.observe();
        Some(())
    }

    /// Observations that the state satisfies take effect.
    fn observe(&mut self) {
        let (machine, ops, state) = (&mut self.machine, self.ops, self.state);
        let (known, order) = (&mut self.known, &mut self.order);
        self.open.retain(|open| {
            let op = ops[*open as usize].op;
            let is_seen = machine.is_observation(op) && machine.accepts(state, op);
            if is_seen {
                known[*open as usize].is_done = true;
                order.push(*open);
            }
            !is_seen
        });
    }

    /// The order, with what was hidden.
    fn all(mut self) -> Vec<u32> {
        self.hidden.sort_unstable();
        let mut hidden = self.hidden.iter().copied().peekable();
        let mut all = Vec::with_capacity(self.order.len() + self.hidden.len());
        for (at, op) in self.order.iter().enumerate() {
            while let Some((_, op)) = hidden.next_if(|(before, _)| *before == at) {
                all.push(op);
            }
            all.push(*op);
        }
        all
    }
}
