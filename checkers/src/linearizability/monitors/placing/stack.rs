//! Stacks: values are put around each other in the order in which [`stack`](super::super::stack) takes them out.
//!
//! That order says of each value that all of its operations can happen while none of those that are taken out later is inside. So what
//! was placed before it cuts time: each value that is left fits between two neighbours of what is placed, those at whose moments it was
//! certainly not inside yet, or not any more. Its push comes as late there as it can, its pop as early. Where its interval goes past a
//! cut, the cut's own moment is one at which nothing that is left is inside, so nothing is lost.
//!
//! A value whose operations can all happen at one moment can be anywhere at that moment.

use std::collections::BTreeMap;

use crate::budget::Exhausted;

use super::super::collection::CollectionKind;
use super::super::history::{History, Pace};
use super::super::lives::{Lives, NONE};
use super::super::priority::Peeks;
use super::super::stack::taken_out;
use super::super::trees::Depths;

pub(super) fn place(
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let Some(taken) = taken_out(history, lives, pace)? else {
        return Ok(None);
    };
    let mut placing = Placing::new(history, lives, pace)?;
    let done = placing.empties().and_then(|()| {
        let mut taken = taken.iter();
        taken.try_for_each(|value| placing.around(*value))
    });
    if done.is_none() {
        return Ok(None);
    }
    for (value, life) in (0..).zip(&lives.lives) {
        pace.step()?;
        if life.insert != NONE && !life.is_certain() {
            placing.at_once(value);
        }
    }
    Ok(Some(placing.in_order()))
}

/// What is placed, in order.
struct Placing<'a> {
    history: &'a History<'a, CollectionKind>,
    lives: &'a Lives,
    peeks: Peeks,
    /// Of what is not placed.
    levels: Depths,
    /// By operation: the one after it, and its moment.
    next: Vec<u32>,
    moments: Vec<u32>,
    first: u32,
    /// The last operation at each moment.
    last_at: BTreeMap<u32, u32>,
}

impl<'a> Placing<'a> {
    fn new(
        history: &'a History<'a, CollectionKind>,
        lives: &'a Lives,
        pace: &mut Pace<'_>,
    ) -> Result<Placing<'a>, Exhausted> {
        let mut levels = pace.array(0i32, history.end as usize + 1)?;
        for life in lives.lives.iter().filter(|life| life.is_certain()) {
            pace.step()?;
            levels[life.first as usize] += 1;
            levels[life.last as usize] -= 1;
        }
        let mut level = 0;
        for change in &mut levels {
            level += *change;
            *change = level;
        }
        levels.pop();
        // About what a moment takes in a map.
        pace.hold::<[u32; 4]>(history.ops.len())?;
        Ok(Placing {
            history,
            lives,
            peeks: Peeks::new(history, lives, pace)?,
            levels: Depths::new(&levels, pace)?,
            next: pace.array(NONE, history.ops.len())?,
            moments: pace.array(0, history.ops.len())?,
            first: NONE,
            last_at: BTreeMap::new(),
        })
    }

    /// Places the answers "empty".
    fn empties(&mut self) -> Option<()> {
        let mut found = Vec::new();
        for empty in &self.lives.empties {
            let op = &self.history.ops[*empty as usize];
            let moment = self
                .levels
                .first_free(op.invoke as usize, op.complete as usize - 1)?;
            found.push((moment as u32, *empty));
        }
        found.sort_unstable();
        self.insert(NONE, &found);
        Some(())
    }

    /// Places a value around what is not placed. `None` if it does not fit.
    fn around(&mut self, value: u32) -> Option<()> {
        let life = self.lives.lives[value as usize];
        self.levels.take(life.first as usize, life.last as usize);
        let before = self.last_at.range(..life.first).next_back();
        let before = before.map_or(NONE, |(_, op)| *op);
        let from = self.moment(before, 0);
        let to = self.moment(self.after(before), self.history.end - 1);
        let op = |at: u32| &self.history.ops[at as usize];
        let begin = from.max(op(life.insert).invoke) as usize;
        let push = self
            .levels
            .last_free(begin, to.min(life.first - 1) as usize)?;
        let end = |at: u32| (to as usize).min(op(at).complete as usize - 1);
        let pop = match life.remove {
            NONE => None,
            removal => Some(
                self.levels
                    .first_free(from.max(life.last) as usize, end(removal))?,
            ),
        };
        let mut all = vec![(push as u32, life.insert)];
        for at in self.peeks.of(value).iter().copied() {
            let begin = push.max(op(at).invoke as usize);
            let end = end(at).min(pop.unwrap_or(usize::MAX));
            all.push((self.levels.first_free(begin, end)? as u32, at));
        }
        all[1..].sort_unstable();
        all.extend(pop.map(|pop| (pop as u32, life.remove)));
        self.insert(before, &all);
        Some(())
    }

    /// Places a value all of whose operations can happen at one moment.
    fn at_once(&mut self, value: u32) {
        let life = self.lives.lives[value as usize];
        let before = self.last_at.range(..=life.last).next_back();
        let before = before.map_or(NONE, |(_, op)| *op);
        let mut all = vec![(life.last, life.insert)];
        let looks = self.peeks.of(value).iter().copied();
        // Not removed, it would be inside for good.
        all.extend(looks.chain([life.remove]).map(|op| (life.last, op)));
        self.insert(before, &all);
    }

    fn moment(&self, op: u32, otherwise: u32) -> u32 {
        self.moments.get(op as usize).copied().unwrap_or(otherwise)
    }

    /// What is placed after an operation; first, if that is none.
    fn after(&self, op: u32) -> u32 {
        self.next.get(op as usize).copied().unwrap_or(self.first)
    }

    /// Puts operations with their moments after one.
    fn insert(&mut self, mut before: u32, ops: &[(u32, u32)]) {
        let then = self.after(before);
        let until = self.moment(then, NONE);
        for (moment, op) in ops {
            match self.next.get_mut(before as usize) {
                Some(next) => *next = *op,
                None => self.first = *op,
            }
            self.moments[*op as usize] = *moment;
            self.next[*op as usize] = then;
            if *moment < until {
                self.last_at.insert(*moment, *op);
            }
            before = *op;
        }
    }

    fn in_order(&self) -> Vec<u32> {
        let mut placed = Vec::new();
        let mut op = self.first;
        while op != NONE {
            placed.push(op);
            op = self.next[op as usize];
        }
        placed
    }
}
