//! Stacks: the value that was pushed last comes out first.
//!
//! A value can be taken out of the history (all operations on it at once) if each of them can happen while
//! no *other* value is inside: then the rest can be ordered without it, and the value put around and
//! between what the rest does while it is empty. Conversely, of the values that are inside at some moment one lies
//! at the bottom, and so it is in every order that a stack allows for the stretch until the stack must be
//! empty. So: take out such values while there are any; the history is linearizable if and only if none is
//! left (the decrease-and-conquer of Lee and Mathur 2025).
//!
//! Taking one out never harms another, so the order does not matter, and no decision is ever taken back. What is
//! needed fast is to see which operations have become possible: the moments between the ends of certain
//! presences are cut into segments; a tree knows the depth of each (how many values are certainly inside).
//! A segment that has reached depth 0 makes every operation possible whose interval meets it. One that has reached
//! depth 1 makes the peeks at the only value inside possible. Each segment does so once, and each operation
//! becomes possible once: n log n.
//!
//! Where values are left over, look at a stretch of time without a break in their presences: somebody must
//! lie at the bottom throughout, but nobody can. A few of them that still cover a stretch are the proof.

use super::NEVER;
use super::NotApplicable;
use super::collection::{
    Afloat, Checked, CollectionKind, CollectionReason, Presence, interval, presences,
};
use super::cover::{Interval, fewest};
use super::history::{History, Pace, Stop};
use super::lives::{Life, Lives, NONE};
use super::priority::Peeks;
use super::trees::{Covering, Depths, Reaches, SuffixMin};
use crate::budget::Exhausted;

pub(super) fn check(
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Checked {
    let peeks = Peeks::new(history, lives, pace)?;
    let mut stack = Stack::new(history, lives, &peeks, pace)?;
    stack.run(pace)?;
    let stuck = stack.stuck();
    if stuck.is_empty() {
        return Ok(());
    }
    let proof = Proof {
        history,
        lives,
        peeks: &peeks,
    };
    match proof.find(stuck, pace)? {
        Some(values) => Err(Stop::Violation(CollectionReason::NoBottom(values))),
        None => Err(NotApplicable::NoProof.into()),
    }
}

/// The values that are certainly inside at some moment, in an order in which they can be taken out; `None` if they cannot.
pub(super) fn taken_out(
    history: &History<'_, CollectionKind>,
    lives: &Lives,
    pace: &mut Pace<'_>,
) -> Result<Option<Vec<u32>>, Exhausted> {
    let peeks = Peeks::new(history, lives, pace)?;
    let mut stack = Stack::new(history, lives, &peeks, pace)?;
    stack.run(pace)?;
    Ok(stack.stuck().is_empty().then_some(stack.taken))
}

/// An operation that is not yet possible, and the segments that its interval meets.
#[derive(Clone, Copy)]
struct Waiting {
    from: u32,
    to: u32,
    value: u32,
    /// Its place among the waiting peeks, if it is a peek.
    peek: u32,
}

struct Stack<'a> {
    lives: &'a [Life],
    /// By position: how many ends of presences are there or before, which is the number of the segment
    /// after it.
    segments: Vec<u32>,
    /// By value: how many of its operations are not yet possible. [`NONE`] once it is taken out.
    impossible: Vec<u32>,
    depths: Depths,
    /// By the first segment of each.
    waiting: Vec<Waiting>,
    reaches: Reaches,
    /// Where there are any.
    peeks: Option<WaitingPeeks>,
    /// Values all of whose operations are possible.
    ready: Vec<u32>,
    /// Values that were taken out, in order.
    taken: Vec<u32>,
}

/// The peeks that were not possible at first, by value and by the first segment of each.
struct WaitingPeeks {
    depths: Depths,
    /// Values count from 1 here, as 0 is no value.
    covering: Covering,
    waiting: Vec<Waiting>,
    reaches: Reaches,
    done: Vec<bool>,
}

impl<'a> Stack<'a> {
    fn new(
        history: &History<'_, CollectionKind>,
        all: &'a Lives,
        peeks: &Peeks,
        pace: &mut Pace<'_>,
    ) -> Result<Stack<'a>, Exhausted> {
        let lives = &all.lives[..];
        let segments = segments(history, lives, pace)?;
        let depths = initial_depths(lives, &segments, pace)?;
        let free = next_free(&depths, pace)?;
        let (mut waiting, mut looks) = (Vec::new(), Vec::new());
        let mut impossible = pace.array(NONE, lives.len())?;
        let mut ready = Vec::new();
        for (value, life) in (0..).zip(lives) {
            pace.step()?;
            if !life.is_certain() {
                continue;
            }
            let before = waiting.len();
            let mut meet = |from: u32, to: u32, looks: Option<&mut Vec<Waiting>>| {
                let (from, to) = (segments[from as usize], segments[to as usize - 1]);
                if free[from as usize] <= to {
                    return;
                }
                let peek = looks.as_ref().map_or(NONE, |looks| looks.len() as u32);
                let one = Waiting {
                    from,
                    to,
                    value,
                    peek,
                };
                waiting.push(one);
                if let Some(looks) = looks {
                    looks.push(one);
                }
            };
            meet(life.begin, life.first, None);
            if life.end != NEVER {
                meet(life.last, life.end, None);
            }
            for peek in peeks.of(value) {
                let op = &history.ops[*peek as usize];
                meet(op.invoke.max(life.begin), op.complete, Some(&mut looks));
            }
            let count = (waiting.len() - before) as u32;
            impossible[value as usize] = count;
            if count == 0 {
                ready.push(value);
            }
        }
        pace.hold::<Waiting>(waiting.capacity() + looks.capacity())?;
        waiting.sort_unstable_by_key(|one| one.from);
        let reaches = Reaches::new(waiting.iter().map(|one| one.to), pace)?;
        let peeks = match looks.is_empty() {
            true => None,
            false => Some(WaitingPeeks::new(looks, &depths, lives, &segments, pace)?),
        };
        let depths = Depths::new(&depths, pace)?;
        Ok(Stack {
            lives,
            segments,
            impossible,
            depths,
            waiting,
            reaches,
            peeks,
            ready,
            taken: Vec::new(),
        })
    }

    fn run(&mut self, pace: &mut Pace<'_>) -> Result<(), Exhausted> {
        self.settle(pace)?;
        while let Some(value) = self.ready.pop() {
            pace.step()?;
            self.impossible[value as usize] = NONE;
            self.taken.push(value);
            let life = &self.lives[value as usize];
            let from = self.segments[life.first as usize] as usize;
            let to = self.segments[life.last as usize] as usize;
            self.depths.take(from, to);
            if let Some(peeks) = &mut self.peeks {
                peeks.depths.take(from, to);
                peeks.covering.toggle(from, to, value + 1);
            }
            self.settle(pace)?;
        }
        Ok(())
    }

    /// Looks at all segments that have become shallow.
    fn settle(&mut self, pace: &mut Pace<'_>) -> Result<(), Exhausted> {
        while let Some(segment) = self.depths.shallow(0) {
            pace.step()?;
            let begun = self
                .waiting
                .partition_point(|one| one.from as usize <= segment);
            while let Some(at) = self.reaches.take(0, begun, segment as u32) {
                pace.step()?;
                self.possible(self.waiting[at]);
            }
        }
        while let Some(segment) = self
            .peeks
            .as_mut()
            .and_then(|peeks| peeks.depths.shallow(1))
        {
            pace.step()?;
            while let Some(peek) = self
                .peeks
                .as_mut()
                .and_then(|peeks| peeks.alone_at(segment))
            {
                pace.step()?;
                self.possible(peek);
            }
        }
        Ok(())
    }

    fn possible(&mut self, one: Waiting) {
        if let Some(peeks) = &mut self.peeks
            && one.peek != NONE
            && std::mem::replace(&mut peeks.done[one.peek as usize], true)
        {
            return;
        }
        let count = &mut self.impossible[one.value as usize];
        *count -= 1;
        if *count == 0 {
            self.ready.push(one.value);
        }
    }

    /// The values that cannot be taken out.
    fn stuck(&self) -> Vec<u32> {
        let left = (0..)
            .zip(&self.impossible)
            .filter(|(_, count)| **count != NONE);
        left.map(|(value, _)| value).collect()
    }
}

impl WaitingPeeks {
    fn new(
        waiting: Vec<Waiting>,
        depths: &[i32],
        lives: &[Life],
        segments: &[u32],
        pace: &mut Pace<'_>,
    ) -> Result<WaitingPeeks, Exhausted> {
        let mut covering = Covering::new(depths.len(), pace)?;
        for (value, life) in (0..).zip(lives).filter(|(_, life)| life.is_certain()) {
            pace.step()?;
            let (from, to) = (segments[life.first as usize], segments[life.last as usize]);
            covering.toggle(from as usize, to as usize, value + 1);
        }
        Ok(WaitingPeeks {
            depths: Depths::new(depths, pace)?,
            covering,
            reaches: Reaches::new(waiting.iter().map(|one| one.to), pace)?,
            done: pace.array(false, waiting.len())?,
            waiting,
        })
    }

    /// Takes out a peek at the only value inside in a segment, if the segment meets one.
    fn alone_at(&mut self, segment: usize) -> Option<Waiting> {
        let value = self.covering.only(segment).checked_sub(1)?;
        let key = |one: &Waiting| (one.value, one.from);
        let from = self.waiting.partition_point(|one| key(one) < (value, 0));
        let to = self
            .waiting
            .partition_point(|one| key(one) <= (value, segment as u32));
        let at = self.reaches.take(from, to, segment as u32)?;
        Some(self.waiting[at])
    }
}

/// By position, and at the end of the history: the number of the segment after it.
fn segments(
    history: &History<'_, CollectionKind>,
    lives: &[Life],
    pace: &mut Pace<'_>,
) -> Result<Vec<u32>, Exhausted> {
    let mut segments = pace.array(0, history.end as usize + 1)?;
    for life in lives.iter().filter(|life| life.is_certain()) {
        pace.step()?;
        segments[life.first as usize] = 1;
        segments[life.last as usize] = 1;
    }
    segments[history.end as usize] = 1;
    let mut count = 0;
    for segment in &mut segments {
        count += *segment;
        *segment = count;
    }
    Ok(segments)
}

/// By segment: the next one, or itself, in which no value is certainly inside.
fn next_free(depths: &[i32], pace: &mut Pace<'_>) -> Result<Vec<u32>, Exhausted> {
    let mut next = pace.array(NONE, depths.len())?;
    let mut free = NONE;
    for (at, depth) in depths.iter().enumerate().rev() {
        if *depth == 0 {
            free = at as u32;
        }
        next[at] = free;
    }
    Ok(next)
}

/// How many values are certainly inside in each segment.
fn initial_depths(
    lives: &[Life],
    segments: &[u32],
    pace: &mut Pace<'_>,
) -> Result<Vec<i32>, Exhausted> {
    let count = segments[segments.len() - 1] as usize;
    let mut depths = pace.array(0, count + 1)?;
    for life in lives.iter().filter(|life| life.is_certain()) {
        pace.step()?;
        depths[segments[life.first as usize] as usize] += 1;
        depths[segments[life.last as usize] as usize] -= 1;
    }
    let mut depth = 0;
    for change in &mut depths {
        depth += *change;
        *change = depth;
    }
    depths.pop();
    Ok(depths)
}

/// Finds a few values that cannot be taken out.
struct Proof<'a> {
    history: &'a History<'a, CollectionKind>,
    lives: &'a Lives,
    peeks: &'a Peeks,
}

/// A proof of more values than this is not made smaller.
const MANY: usize = 64;

impl Proof<'_> {
    fn find(&self, stuck: Vec<u32>, pace: &mut Pace<'_>) -> Result<Option<Vec<Afloat>>, Exhausted> {
        if let Some(pair) = self.crossing(&stuck, pace)?
            && let Some(proof) = self.prove(&pair, pace)?
        {
            return Ok(Some(proof));
        }
        let mut values = self.closed(self.stretch(stuck), pace)?;
        let mut at = 0;
        while values.len() <= MANY && at < values.len() {
            let mut fewer = values.clone();
            fewer.remove(at);
            match self.bottomless(&fewer, pace)? {
                Some(_) => values = fewer,
                None => at += 1,
            }
        }
        self.prove(&values, pace)
    }

    fn life(&self, value: u32) -> &Life {
        &self.lives.lives[value as usize]
    }

    fn intervals(&self, values: &[u32]) -> Vec<Interval> {
        let of = |value: &u32| interval(*value, self.life(*value));
        values.iter().map(of).collect()
    }

    /// Two values of which the first was certainly pushed before and popped before the second, with the second
    /// pushed before the first was popped.
    fn crossing(&self, stuck: &[u32], pace: &mut Pace<'_>) -> Result<Option<[u32; 2]>, Exhausted> {
        let mut by_begin = stuck.to_vec();
        by_begin.sort_unstable_by_key(|value| self.life(*value).begin);
        let mut by_first = stuck.to_vec();
        by_first.sort_unstable_by_key(|value| self.life(*value).first);
        let mut pushed = by_first.into_iter().peekable();
        // Where the presence of each value pushed ends, and when it was popped.
        let mut pops = SuffixMin::new(self.history.end as usize + 1, pace)?;
        for second in by_begin {
            pace.step()?;
            let life = self.life(second);
            while let Some(first) = pushed.next_if(|first| self.life(*first).first < life.begin) {
                pops.put(self.life(first).last, self.life(first).end, first);
            }
            let (end, first) = pops.least(life.first + 1);
            if end < life.last {
                return Ok(Some([first, second]));
            }
        }
        Ok(None)
    }

    /// The values of the first stretch without a break.
    fn stretch(&self, mut values: Vec<u32>) -> Vec<u32> {
        values.sort_unstable_by_key(|value| self.life(*value).first);
        let mut end = NONE;
        let within = |value: &&u32| {
            let life = self.life(**value);
            let within = end == NONE || life.first <= end;
            end = if end == NONE {
                life.last
            } else {
                end.max(life.last)
            };
            within
        };
        let count = values.iter().take_while(within).count();
        values.truncate(count);
        values
    }

    /// Values of a stretch that cover it and of which none can be at its bottom, because of the others.
    fn closed(&self, stretch: Vec<u32>, pace: &mut Pace<'_>) -> Result<Vec<u32>, Exhausted> {
        let all = self.intervals(&stretch);
        let from = all.iter().map(|one| one.from).min().unwrap_or(0);
        let to = all.iter().map(|one| one.to).max().unwrap_or(0);
        let chain = fewest(all.clone(), from, to, pace)?.unwrap_or_default();
        let mut chosen: Vec<u32> = chain.iter().map(|one| one.value).collect();
        let mut at = 0;
        while at < chosen.len() {
            let value = chosen[at];
            at += 1;
            if let Some((_, others)) = self.covered_peek(value, (from, to), &all, pace)? {
                let new = others.iter().map(|one| one.value);
                let new: Vec<u32> = new.filter(|value| !chosen.contains(value)).collect();
                chosen.extend(new);
            }
        }
        Ok(chosen)
    }

    /// A peek at a value, if only its peeks keep it from being the bottom of a stretch, that others cover.
    fn covered_peek(
        &self,
        value: u32,
        (from, to): (u32, u32),
        all: &[Interval],
        pace: &mut Pace<'_>,
    ) -> Result<Option<(u32, Vec<Interval>)>, Exhausted> {
        let life = self.life(value);
        if life.begin > from || life.end < to {
            return Ok(None);
        }
        for peek in self.peeks.of(value) {
            let op = &self.history.ops[*peek as usize];
            let others = all.iter().filter(|one| one.value != value).copied();
            let begin = op.invoke.max(life.begin);
            if let Some(chain) = fewest(others.collect(), begin, op.complete, pace)? {
                return Ok(Some((*peek, chain)));
            }
        }
        Ok(None)
    }

    /// If values cover one stretch and none of them can be at its bottom: for each the peek that says so,
    /// unless it was pushed or popped in between.
    fn bottomless(
        &self,
        values: &[u32],
        pace: &mut Pace<'_>,
    ) -> Result<Option<Vec<Option<u32>>>, Exhausted> {
        let all = self.intervals(values);
        let from = all.iter().map(|one| one.from).min().unwrap_or(0);
        let to = all.iter().map(|one| one.to).max().unwrap_or(0);
        if from == to || fewest(all.clone(), from, to, pace)?.is_none() {
            return Ok(None);
        }
        let mut peeks = Vec::new();
        for value in values {
            let life = self.life(*value);
            let peek = self
                .covered_peek(*value, (from, to), &all, pace)?
                .map(|(peek, _)| peek);
            if life.begin < from && life.end > to && peek.is_none() {
                return Ok(None);
            }
            peeks.push(peek);
        }
        Ok(Some(peeks))
    }

    fn prove(&self, values: &[u32], pace: &mut Pace<'_>) -> Result<Option<Vec<Afloat>>, Exhausted> {
        let Some(peeks) = self.bottomless(values, pace)? else {
            return Ok(None);
        };
        let presences = presences(values, self.history, self.lives);
        let show = |((value, presence), peek): ((&u32, Presence), Option<u32>)| {
            let life = self.life(*value);
            Afloat {
                insert: life.insert,
                removal: (life.remove != NONE).then_some(life.remove),
                presence,
                peek,
            }
        };
        Ok(Some(
            values.iter().zip(presences).zip(peeks).map(show).collect(),
        ))
    }
}
