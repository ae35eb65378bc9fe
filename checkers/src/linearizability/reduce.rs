//! Sub-histories of objects of any model: if one of them is impossible, so is the history.
//!
//! Here the model says what operations leave for others and need from them
//! ([`Touches`](super::models::Touches)). A sub-history is *closed* when nothing that was left out
//! provides anything that is needed by what is in it.

use rustc_hash::{FxHashMap, FxHashSet};

use super::model::Machine;
use super::models::{Touched, Touches};
use super::object::{Object, ObjectOp};
use super::objects::Objects;
use super::slice::{Members, SliceOp, Whole, slice_ops};
use super::subject::LoggedOf;

/// How often those that an operation needs are asked what they need. What is needed by way of more is too
/// much to be a small part of a history.
const ROUNDS: usize = 16;

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

/// What several operations provide, or need.
#[derive(Default)]
pub(super) struct Gathered {
    everything: bool,
    these: FxHashSet<u64>,
}

impl Gathered {
    pub(super) fn add(&mut self, touched: &Touched) {
        match touched {
            Touched::Nothing => {}
            Touched::These(these) => self.these.extend(these),
            Touched::Everything => self.everything = true,
        }
    }

    /// Whether what is needed is provided, the one of it gathered here and the other given.
    pub(super) fn meets(&self, touched: &Touched) -> bool {
        match touched {
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
        let mut left_out = Gathered::default();
        for at in 0..self.ops.len() as u32 {
            if members.binary_search(&at).is_err() {
                left_out.add(&self.touches(at).provides);
            }
        }
        loop {
            let before = members.len();
            members.retain(|at| {
                let touches = self.touches(*at);
                let closed = !left_out.meets(&touches.needs);
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
        let mut members = vec![at];
        let (mut needed, mut looked_at) = (FxHashSet::default(), 0);
        for _ in 0..ROUNDS {
            let before = needed.len();
            for at in &members[looked_at..] {
                match &self.touches(*at).needs {
                    Touched::Nothing => {}
                    Touched::These(these) => needed.extend(these.iter().copied()),
                    Touched::Everything => return None,
                }
            }
            if needed.len() == before {
                members.sort_unstable();
                return Some(members);
            }
            looked_at = members.len();
            let provides = |at: &u32| match &self.touches(*at).provides {
                Touched::Nothing => false,
                Touched::These(these) => these.iter().any(|it| needed.contains(it)),
                Touched::Everything => true,
            };
            let known: FxHashSet<u32> = members.iter().copied().collect();
            let all = 0..self.ops.len() as u32;
            members.extend(all.filter(|at| !known.contains(at) && provides(at)));
        }
        None
    }
}
