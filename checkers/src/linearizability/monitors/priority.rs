//! Priority queues: the greatest (or least) value comes out first.
//!
//! A value can come out, or be seen in front, at a moment at which none of higher priority is inside. So
//! an operation on a value is possible if and only if in its interval there is a moment at which no value
//! of higher priority was *certainly* inside. Necessary is plain. That it suffices is shown by adding
//! values in the order of falling priority: whatever moments were chosen for the new value's operations,
//! those of higher priority can be taken to be all out at them (see `collection`), and moments that later
//! values need are outside its own certain presence, so that its operations can be moved to one side.
//!
//! Going through the values in that order, the moments at which any of them was certainly inside only
//! grow: a union-find structure holds them, and each operation asks it one question.

use super::NEVER;
use super::collection::{Checked, CollectionKind, Order, blocked, empties};
use super::cover::Cover;
use super::history::{History, Pace};
use super::lives::{Lives, NONE};

pub(super) fn check(
    order: Order,
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Checked {
    let peeks = Peeks::new(history, lives, pace)?;
    let mut cover = Cover::new(history.end, pace)?;
    let count = lives.lives.len() as u32;
    for at in 0..count {
        pace.step()?;
        let value = if order == Order::Least {
            at
        } else {
            count - 1 - at
        };
        let life = &lives.lives[value as usize];
        if life.insert == NONE {
            continue;
        }
        let looks = peeks.of(value).iter().map(|peek| {
            let op = &history.ops[*peek as usize];
            (*peek, op.invoke.max(life.begin), op.complete)
        });
        // Everything else on the value comes before its removal.
        let removal = (life.remove != NONE).then_some((life.remove, life.last, life.end));
        for (operation, from, complete) in looks.chain(removal) {
            pace.step()?;
            if cover.free(from) >= complete {
                let higher = |other| higher(order, other, value);
                return Err(blocked(operation, from, higher, history, lives, pace)?);
            }
        }
        if life.is_certain() {
            cover.add(life.first, life.last);
        }
    }
    empties(&mut cover, history, lives, pace)
}

/// Whether a value comes out before another if both are inside.
pub(super) fn higher(order: Order, value: u32, other: u32) -> bool {
    match order {
        Order::Least => value < other,
        _ => value > other,
    }
}

/// The peeks at each value, in order of invocation.
pub(super) struct Peeks {
    /// By value: where its peeks begin in `ops`. One more at the end. Empty if there are no peeks at all.
    starts: Vec<u32>,
    ops: Vec<u32>,
}

impl Peeks {
    pub(super) fn new(
        history: &History<'_, CollectionKind>,
        lives: &Lives,
        pace: &mut Pace<'_>,
    ) -> Result<Peeks, crate::budget::Exhausted> {
        if lives.peeks == 0 {
            let (starts, ops) = (Vec::new(), Vec::new());
            return Ok(Peeks { starts, ops });
        }
        let peeks = || {
            let all = (0..).zip(history.ops.iter());
            all.filter(|(_, op)| op.kind == CollectionKind::Peek && op.complete != NEVER)
        };
        let mut starts = pace.array(0u32, lives.lives.len() + 2)?;
        for (_, op) in peeks() {
            pace.step()?;
            starts[op.value as usize + 2] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut ops = pace.array(NONE, lives.peeks)?;
        for (at, op) in peeks() {
            pace.step()?;
            let next = &mut starts[op.value as usize + 1];
            ops[*next as usize] = at;
            *next += 1;
        }
        starts.pop();
        Ok(Peeks { starts, ops })
    }

    pub(super) fn of(&self, value: u32) -> &[u32] {
        match self.starts.get(value as usize..value as usize + 2) {
            Some([from, to]) => &self.ops[*from as usize..*to as usize],
            _ => &[],
        }
    }
}
