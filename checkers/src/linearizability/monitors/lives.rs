//! What the operations of a collection say of each value, whatever the order in which it gives them out.
//!
//! The *life* of a value is its insertion, the looks at it (peeks) and its removal. From their intervals
//! follows when it was certainly inside: from the first completion among them to the last invocation
//! among them. Before the first completion nothing need have happened, and after the last invocation
//! everything may have; if the last invocation comes first, then all of them can happen at one moment.

use super::collection::{CollectionKind, CollectionReason};
use super::history::{History, Pace, Stop};
use super::{NEVER, NotApplicable};

/// No operation.
pub(super) const NONE: u32 = u32::MAX;

/// The life of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Its insertion, or [`NONE`] if it was never inserted.
    pub(super) insert: u32,
    /// Its removal, or [`NONE`].
    pub(super) remove: u32,
    /// When its insertion was invoked.
    pub(super) begin: u32,
    /// The first completion of an operation on it. It was inside, or inside and out again, by then.
    pub(super) first: u32,
    /// The first completion of a peek or removal, or [`NEVER`].
    pub(super) head: u32,
    /// The last invocation of an operation on it: until then it was not removed. The end of the history
    /// if it never was.
    pub(super) last: u32,
    /// When its removal completed, or [`NEVER`].
    pub(super) end: u32,
}

impl Life {
    const ABSENT: Life = Life {
        insert: NONE,
        remove: NONE,
        begin: NEVER,
        first: NEVER,
        head: NEVER,
        last: 0,
        end: NEVER,
    };

    /// Whether there are moments at which the value was certainly inside.
    #[inline]
    pub(super) fn is_certain(&self) -> bool {
        self.first < self.last
    }
}

/// A value that was inserted, and that no removal is known to have taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) value: u32,
    /// The last invocation of an operation on it.
    seen: u32,
}

/// All values of a collection.
pub(super) struct Lives {
    pub(super) lives: Vec<Life>,
    /// How many peeks saw a value.
    pub(super) peeks: usize,
    /// The operations that found the collection empty.
    pub(super) empties: Vec<u32>,
    /// Values that were not removed by a removal that answered, in order of insertion.
    pub(super) left: Vec<Left>,
    /// When removals without an answer were invoked, ascending.
    pub(super) removals: Vec<u32>,
}

type Collected<T> = Result<T, Stop<CollectionReason>>;

impl Lives {
    pub(super) fn new(
        history: &History<'_, CollectionKind>,
        pace: &mut Pace<'_>,
    ) -> Collected<Lives> {
        let mut all = Lives {
            lives: pace.array(Life::ABSENT, history.values)?,
            peeks: 0,
            empties: Vec::new(),
            left: Vec::new(),
            removals: Vec::new(),
        };
        let mut twice = None;
        for (at, op) in history.ops.iter().enumerate() {
            pace.step()?;
            let at = at as u32;
            let life = &mut all.lives[op.value as usize];
            match op.kind {
                CollectionKind::Insert => {
                    if life.insert != NONE {
                        let first = life.insert;
                        return Err(NotApplicable::NotUnique { first, second: at }.into());
                    }
                    life.insert = at;
                    life.begin = op.invoke;
                    life.first = life.first.min(op.complete);
                    life.last = life.last.max(op.invoke);
                }
                CollectionKind::Remove if op.complete == NEVER => all.removals.push(op.invoke),
                // An observation without an answer says nothing.
                _ if op.complete == NEVER => {}
                CollectionKind::Empty => all.empties.push(at),
                CollectionKind::Remove | CollectionKind::Peek => {
                    if op.kind == CollectionKind::Peek {
                        all.peeks += 1;
                    } else if life.remove != NONE {
                        twice = twice.or(Some((life.remove, at)));
                    } else {
                        life.remove = at;
                        life.end = op.complete;
                    }
                    life.first = life.first.min(op.complete);
                    life.head = life.head.min(op.complete);
                    life.last = life.last.max(op.invoke);
                }
            }
        }
        if let Some((first, second)) = twice {
            return Err(Stop::Violation(CollectionReason::RemovedTwice {
                first,
                second,
            }));
        }
        all.close(history, pace)?;
        Ok(all)
    }

    /// Looks at each value on its own, and leaves out what cannot matter.
    fn close(
        &mut self,
        history: &History<'_, CollectionKind>,
        pace: &mut Pace<'_>,
    ) -> Collected<()> {
        for value in 0..self.lives.len() as u32 {
            pace.step()?;
            let life = self.lives[value as usize];
            if life.first == NEVER {
                // Not inserted, or inserted without an answer and never seen. Take the insertion out of an
                // order that is allowed, with the removal without an answer that took the value, if one
                // did: nobody saw it, so nobody's result changes.
                self.lives[value as usize] = Life::ABSENT;
            } else if life.insert == NONE || life.first < life.begin || life.end < life.last {
                return Err(Stop::Violation(misfit(value, &life, history)));
            }
        }
        for op in history.ops.iter() {
            pace.step()?;
            let life = &mut self.lives[op.value as usize];
            if op.kind == CollectionKind::Insert && life.insert != NONE && life.remove == NONE {
                let (value, seen) = (op.value, life.last);
                life.last = history.end;
                self.left.push(Left { value, seen });
            }
        }
        Ok(())
    }

    /// Assumes that a value which was left was taken by a removal invoked at a position.
    pub(super) fn remove(&mut self, left: Left, removal: u32) {
        self.lives[left.value as usize].last = left.seen.max(removal);
    }

    /// Values in order of insertion, with their lives.
    pub(super) fn inserted<'b>(
        &'b self,
        history: &'b History<'_, CollectionKind>,
    ) -> impl Iterator<Item = (u32, &'b Life)> + 'b {
        let inserts = history
            .ops
            .iter()
            .filter(|op| op.kind == CollectionKind::Insert);
        inserts
            .map(|op| (op.value, &self.lives[op.value as usize]))
            .filter(|(_, life)| life.insert != NONE)
    }
}

/// Why the operations on one value are impossible on their own.
fn misfit(value: u32, life: &Life, history: &History<'_, CollectionKind>) -> CollectionReason {
    let on_value = |at: &u32| {
        let op = &history.ops[*at as usize];
        op.value == value && op.kind != CollectionKind::Empty && op.complete != NEVER
    };
    let mut ops = (0..history.ops.len() as u32).filter(on_value);
    if life.insert == NONE {
        // There is one, as something completed.
        let observer = ops.next().unwrap_or(NONE);
        return CollectionReason::NeverInserted { observer };
    }
    if life.first < life.begin {
        let observer = ops.find(|at| history.ops[*at as usize].complete == life.first);
        return CollectionReason::ObservedEarly {
            insert: life.insert,
            observer: observer.unwrap_or(NONE),
        };
    }
    let observer = ops.find(|at| history.ops[*at as usize].invoke == life.last);
    CollectionReason::ObservedLate {
        removal: life.remove,
        observer: observer.unwrap_or(NONE),
    }
}
