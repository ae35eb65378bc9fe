//! Queues: an order of the values, and the operations in it, each as early as those before it allow.
//!
//! The two rules of [`queue`](super::super::queue) say which values must be before others. A value with none before it is taken away,
//! again and again: of those that began to be inserted before any other was certainly inside, the one whose last head began first. An
//! answer "empty" is like a value that was inserted and removed by it, at one moment: one after all that was taken away, and before
//! anything else was certainly inside.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::budget::Exhausted;

use super::super::collection::CollectionKind;
use super::super::history::{History, Pace};
use super::super::lives::{Lives, NONE};
use super::super::priority::Peeks;

/// A value, or an answer "empty".
struct Item {
    /// Its insertion, or the answer.
    op: u32,
    /// The value; [`NONE`] for an answer.
    value: u32,
    /// When its insertion began.
    begin: u32,
    /// When the first of its operations ended.
    first: u32,
    /// When the first of its heads ended.
    head: u32,
    /// When the last of its operations began.
    last: u32,
}

pub(super) fn place(
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let items = items(history, lives, pace)?;
    let Some(sorted) = sorted(&items, pace)? else {
        return Ok(None);
    };
    let peeks = Peeks::new(history, lives, pace)?;
    merged(&sorted, history, lives, &peeks, pace).map(Some)
}

/// All values and answers, by the begin of their insertion.
fn items(
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Result<Vec<Item>, Exhausted> {
    pace.hold::<Item>(history.ops.len())?;
    let mut items = Vec::new();
    for (op, it) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        let life = &lives.lives[it.value as usize];
        match it.kind {
            CollectionKind::Insert if life.insert == op => items.push(Item {
                op,
                value: it.value,
                begin: life.begin,
                first: life.first,
                head: life.head,
                last: life.last,
            }),
            CollectionKind::Empty => items.push(Item {
                op,
                value: NONE,
                begin: it.invoke,
                first: it.complete,
                head: it.complete,
                last: it.invoke,
            }),
            _ => {}
        }
    }
    Ok(items)
}

/// The least of some numbers of items that are not taken yet.
struct Least(BinaryHeap<Reverse<(u32, u32)>>);

impl Least {
    fn new(numbers: impl Iterator<Item = u32>) -> Least {
        Least(numbers.zip(0..).map(Reverse).collect())
    }

    fn get(&mut self, taken: &[bool]) -> Option<(u32, u32)> {
        while let Some(Reverse((number, at))) = self.0.peek().copied() {
            if !taken[at as usize] {
                return Some((number, at));
            }
            self.0.pop();
        }
        None
    }

    /// The least and its item, and the least of all others.
    fn two(&mut self, taken: &[bool]) -> Option<((u32, u32), u32)> {
        let least = self.get(taken)?;
        self.0.pop();
        let next = self.get(taken).map_or(u32::MAX, |(number, _)| number);
        self.0.push(Reverse(least));
        Some((least, next))
    }
}

/// The items, each after those that must be before it; `None` if that cannot be.
fn sorted<'a>(items: &'a [Item], pace: &mut Pace<'_>) -> Result<Option<Vec<&'a Item>>, Exhausted> {
    pace.hold::<[u32; 8]>(items.len())?;
    let mut taken = vec![false; items.len()];
    let mut firsts = Least::new(items.iter().map(|item| item.first));
    let mut heads = Least::new(items.iter().map(|item| item.head));
    // Items that no insertion holds back, by the begin of their last operation.
    let mut ready = Least(BinaryHeap::new());
    let (mut begun, mut now) = (0, 0);
    // Answers that must wait.
    let mut wait: Vec<Reverse<(u32, u32)>> = Vec::new();
    let mut sorted = Vec::with_capacity(items.len());
    while let Some(((first, of), next_first)) = firsts.two(&taken) {
        pace.step()?;
        while let Some(item) = items.get(begun).filter(|item| item.begin < first) {
            ready.0.push(Reverse((item.last, begun as u32)));
            begun += 1;
        }
        let (Some((last, at)), Some(((head, holder), next))) =
            (ready.get(&taken), heads.two(&taken))
        else {
            return Ok(None);
        };
        let before = if of == at { next_first } else { first };
        if items[at as usize].value == NONE && now.max(last) > before {
            ready.0.pop();
            wait.push(Reverse((last, at)));
            continue;
        }
        let others = |at: u32| if at == holder { next } else { head };
        let chosen = match last <= others(at) {
            true => at,
            // Its own head may be what holds back all others.
            false if (holder as usize) < begun && items[holder as usize].last <= next => holder,
            false => return Ok(None),
        };
        taken[chosen as usize] = true;
        now = now.max(items[chosen as usize].last);
        ready.0.extend(wait.drain(..));
        sorted.push(&items[chosen as usize]);
    }
    Ok(Some(sorted))
}

/// The operations of sorted items: insertions in that order, and heads, each at the first moment that is left to it.
fn merged(
    sorted: &[&Item],
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    peeks: &Peeks,
    pace: &mut Pace<'_>,
) -> Result<Vec<u32>, Exhausted> {
    pace.hold::<[u32; 4]>(history.ops.len())?;
    // Operations with their moments.
    let (mut inserts, mut heads) = (Vec::new(), Vec::new());
    let (mut inserted, mut headed) = (0u32, 0u32);
    for item in sorted {
        pace.step()?;
        inserted = inserted.max(item.begin);
        if item.value == NONE {
            // All before it are out, and none after it is in.
            inserted = inserted.max(headed);
            headed = inserted;
            inserts.push((inserted, item.op));
            heads.push((headed, item.op));
            continue;
        }
        inserts.push((inserted, item.op));
        let removal = Some(lives.lives[item.value as usize].remove);
        let removal = removal.filter(|removal| *removal != NONE);
        for op in peeks.of(item.value).iter().copied().chain(removal) {
            headed = headed.max(inserted).max(history.ops[op as usize].invoke);
            heads.push((headed, op));
        }
    }
    let mut placed = Vec::with_capacity(history.ops.len());
    let mut heads = heads.into_iter().peekable();
    for (moment, op) in inserts {
        pace.step()?;
        let is_empty = history.ops[op as usize].kind == CollectionKind::Empty;
        let due = |head: &(u32, u32)| match is_empty {
            true => head.1 != op,
            false => head.0 < moment,
        };
        while let Some((_, head)) = heads.next_if(due) {
            placed.push(head);
        }
        if is_empty {
            heads.next();
        }
        placed.push(op);
    }
    placed.extend(heads.map(|(_, op)| op));
    Ok(placed)
}
