//! Sub-histories of objects of any model: if one of them is impossible, so is the history.
//!
//! Here the model says what operations leave for others and need from them
//! ([`Touches`](super::models::Touches)). A sub-history is *closed* when nothing that was left out
//! provides anything that is needed by what is in it.

use std::borrow::Borrow;

use rustc_hash::{FxHashMap, FxHashSet};

use super::model::Machine;
use super::models::{Touched, Touches};
use super::object::{Object, ObjectOp};
use super::objects::Objects;
use super::slice::{Members, SliceOp, Whole, slice_ops};
use super::subject::LoggedOf;

/// How many operations are a small part of a history.
const SMALL: usize = 1 << 8;

/// A history of an object that ends with a certain event, prepared for taking sub-histories.
pub(super) struct ObjectWhole<'a> {
    ops: Vec<SliceOp<ObjectOp>>,
    touches: FxHashMap<ObjectOp, Touches>,
    pristine: &'a (Object, u32),
}

impl<'a> ObjectWhole<'a> {
    /// What had been invoked, and what had returned, when the event `end` had happened.
    pub(super) fn new<'b>(
        subject: &Objects,
        pristine: &'a (Object, u32),
        log: impl Iterator<Item = (usize, &'b LoggedOf<Objects>)>,
        end: u64,
    ) -> ObjectWhole<'a> {
        let ops = slice_ops(log, end, |op| op.is_observation());
        let mut touches = FxHashMap::default();
        for op in &ops {
            touches
                .entry(op.op)
                .or_insert_with(|| subject.model.touches(op.op));
        }
        ObjectWhole {
            ops,
            touches,
            pristine,
        }
    }

    fn touches(&self, at: u32) -> &Touches {
        &self.touches[&self.ops[at as usize].op]
    }
}

/// What operations that were left out provide.
#[derive(Default)]
struct LeftOut {
    everything: bool,
    these: FxHashSet<u64>,
}

impl LeftOut {
    fn add(&mut self, provides: &Touched) {
        match provides {
            Touched::Nothing => {}
            Touched::These(these) => self.these.extend(these),
            Touched::Everything => self.everything = true,
        }
    }

    fn is_needed(&self, needs: &Touched) -> bool {
        match needs {
            Touched::Nothing => false,
            Touched::These(these) => {
                self.everything || these.iter().any(|it| self.these.contains(it))
            }
            Touched::Everything => self.everything || !self.these.is_empty(),
        }
    }
}

impl Whole for ObjectWhole<'_> {
    type Machine = Object;

    fn ops(&self) -> &[SliceOp<<Object as Machine>::Op>] {
        &self.ops
    }

    fn object(&self) -> (Object, u32) {
        self.pristine.clone()
    }

    fn close(&self, members: &mut Members) -> Vec<SliceOp<ObjectOp>> {
        let mut left_out = LeftOut::default();
        for at in 0..self.ops.len() as u32 {
            if members.binary_search(&at).is_err() {
                left_out.add(&self.touches(at).provides);
            }
        }
        loop {
            let before = members.len();
            members.retain(|at| {
                let touches = self.touches(*at);
                let closed = !left_out.is_needed(&touches.needs);
                if !closed {
                    left_out.add(&touches.provides);
                }
                closed
            });
            if members.len() == before {
                break;
            }
        }
        members.iter().map(|at| self.ops[*at as usize]).collect()
    }

    fn needed_by(&self, at: u32) -> Option<Members> {
        let touches: Vec<&Touches> = (0..self.ops.len() as u32)
            .map(|at| self.touches(at))
            .collect();
        let members = closed(&touches, &[at as usize]);
        let small = members.len() <= SMALL;
        small.then(|| members.into_iter().map(|at| at as u32).collect())
    }
}

/// Some operations, by their positions, with all that they could not have happened without: ascending. What each
/// operation touches is given.
pub(super) fn closed<T: Borrow<Touches>>(touches: &[T], some: &[usize]) -> Vec<usize> {
    let mut providers = Providers::of(touches);
    let mut chosen = vec![false; touches.len()];
    let mut more = some.to_vec();
    while let Some(at) = more.pop() {
        if !std::mem::replace(&mut chosen[at], true) {
            providers.take(&touches[at].borrow().needs, &mut more);
        }
    }
    (0..chosen.len()).filter(|at| chosen[*at]).collect()
}

/// Who provides what, of those that were not asked for yet.
#[derive(Default)]
struct Providers {
    everything: Vec<usize>,
    these: FxHashMap<u64, Vec<usize>>,
}

impl Providers {
    fn of<T: Borrow<Touches>>(touches: &[T]) -> Providers {
        let mut providers = Providers::default();
        for (at, touches) in touches.iter().enumerate() {
            match &touches.borrow().provides {
                Touched::Nothing => {}
                Touched::Everything => providers.everything.push(at),
                Touched::These(these) => {
                    for part in these {
                        providers.these.entry(*part).or_default().push(at);
                    }
                }
            }
        }
        providers
    }

    /// Moves those that provide any of what is needed.
    fn take(&mut self, needs: &Touched, into: &mut Vec<usize>) {
        match needs {
            Touched::Nothing => return,
            Touched::These(these) => {
                let found = these.iter().filter_map(|part| self.these.remove(part));
                into.extend(found.flatten());
            }
            Touched::Everything => into.extend(self.these.drain().flat_map(|(_, found)| found)),
        }
        into.append(&mut self.everything);
    }
}
