//! Proofs about objects of any model.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::Value;

use super::bounds::Bounds;
use super::order::{Outcome, Rules, Seen, Touch, has_order};
use super::prefixes::longest;
use super::sequential::has_program_order;
use super::{NODES, Refutation};
use crate::linearizability::evidence::{DeadEnd, OperationView, Prefix};
use crate::linearizability::models::{self, Call, Model, Touched, Values};

/// Who knows what an object does, for proofs.
pub trait Judge: Send + Sync {
    /// Whether operations can be ordered; `None` if there were too many orders.
    fn has_order(&self, ops: &[Seen]) -> Option<bool>;

    /// The same for orders that keep nothing but each process's own, of operations on several objects.
    fn has_program_order(&self, ops: &[(u32, Seen)]) -> Option<bool>;

    /// Operations as they are when only some elements are looked at; `None` if these objects cannot be looked at so.
    fn restrict(&self, ops: Vec<Seen>, elements: &[Value]) -> Option<Vec<Seen>>;

    /// What a counter can have been when an operation showed what it was, all operations being given.
    fn bounds(&self, op: &Seen, all: &[Seen]) -> Option<Bounds>;

    /// The longest beginnings of orders.
    fn longest_orders(&self, ops: &[Seen]) -> Vec<Prefix>;

    /// The operation of `kept`, by its invocation, that could need what one that was left out leaves.
    fn needed_by(&self, left_out: &Seen, kept: &[Seen]) -> Option<u64>;
}

impl<R: Rules + Send + Sync> Judge for R {
    fn has_order(&self, ops: &[Seen]) -> Option<bool> {
        has_order(self, ops)
    }

    fn has_program_order(&self, ops: &[(u32, Seen)]) -> Option<bool> {
        has_program_order(self, ops)
    }

    fn restrict(&self, ops: Vec<Seen>, elements: &[Value]) -> Option<Vec<Seen>> {
        if elements.is_empty() {
            return Some(ops);
        }
        let restricted = ops
            .iter()
            .filter_map(|op| Rules::restrict(self, op, elements));
        self.has_elements().then(|| restricted.collect())
    }

    fn bounds(&self, op: &Seen, all: &[Seen]) -> Option<Bounds> {
        Rules::bounds(self, op, all)
    }

    fn longest_orders(&self, ops: &[Seen]) -> Vec<Prefix> {
        longest(self, ops)
    }

    fn needed_by(&self, left_out: &Seen, kept: &[Seen]) -> Option<u64> {
        let leaves = self.leaves(left_out);
        let mut kept = kept.iter();
        kept.find(|kept| leaves.meets(&self.needs(kept)))
            .map(|kept| kept.invoke)
    }
}

/// Proves evidence about an object, with all operations of the key at hand.
pub fn prove_object(
    dead_end: &DeadEnd,
    all: &[OperationView],
    judge: &dyn Judge,
) -> Result<(), Refutation> {
    let end = dead_end
        .end()
        .ok_or_else(|| Refutation::Mismatch("the impossible operation is missing".into()))?;
    let looked_at = |ops: Vec<Seen>| {
        let restricted = judge.restrict(ops, &dead_end.elements);
        restricted.ok_or_else(|| {
            Refutation::Mismatch("it has no elements that can be looked at alone".into())
        })
    };
    let kept = dead_end.sub_operations();
    let kept: Vec<Seen> = kept.filter_map(|view| Seen::until(view, end)).collect();
    if let [alone] = &kept[..]
        && bounds_of(alone.invoke, all, judge).is_some_and(|bounds| !bounds.is_possible())
    {
        return Ok(());
    }
    let inside: BTreeSet<u64> = kept.iter().map(|op| op.invoke).collect();
    let outside = all.iter().filter(|view| !inside.contains(&view.invoke));
    let outside = outside.filter_map(|view| Seen::until(view, end)).collect();
    let kept = looked_at(kept)?;
    for left_out in looked_at(outside)? {
        if let Some(observer) = judge.needed_by(&left_out, &kept) {
            return Err(Refutation::Open {
                left_out: left_out.invoke,
                observer,
            });
        }
    }
    match judge.has_order(&kept) {
        Some(false) => Ok(()),
        Some(true) => Err(Refutation::Possible),
        None => Err(Refutation::TooHard(NODES)),
    }
}

/// What a counter can have been when the operation of an invocation showed what it was, all operations being given.
pub fn bounds_of(invoke: u64, all: &[OperationView], judge: &dyn Judge) -> Option<Bounds> {
    let at = all.iter().position(|view| view.invoke == invoke)?;
    let end = all[at].complete?;
    let all = all.iter().filter_map(|view| Seen::until(view, end));
    let all: Vec<Seen> = all.collect();
    let op = all.iter().find(|op| op.invoke == invoke)?;
    judge.bounds(op, &all)
}

/// Judges by a user's own model, which nobody else knows.
pub struct ModelJudge<M> {
    model: M,
    values: Mutex<Values>,
}

impl<M: Model> ModelJudge<M> {
    /// A judge of histories of the model.
    pub fn new(model: M) -> ModelJudge<M> {
        ModelJudge {
            model,
            values: Mutex::default(),
        }
    }

    fn values(&self) -> std::sync::MutexGuard<'_, Values> {
        // Values are only ever added.
        self.values
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self, op: &Seen) -> Option<M::Op> {
        let call = Call {
            f: &op.f,
            value: &op.value,
            outcome: match &op.outcome {
                Outcome::Ok(seen) => models::Outcome::Ok(seen),
                Outcome::Refused => models::Outcome::Refused,
                Outcome::Unknown => models::Outcome::Unknown,
            },
            process: op.process,
        };
        self.model.read(&call, &mut self.values()).ok().flatten()
    }

    fn touch(&self, op: &Seen, which: impl Fn(models::Touches) -> Touched) -> Touch {
        match self.read(op).map(|op| which(self.model.touches(&op))) {
            None | Some(Touched::Nothing) => Touch::Nothing,
            Some(Touched::These(parts)) => {
                Touch::These(parts.iter().copied().map(Value::from).collect())
            }
            Some(Touched::Everything) => Touch::Everything,
        }
    }
}

impl<M: Model> Rules for ModelJudge<M> {
    type State = M::State;

    fn first(&self) -> M::State {
        self.model.initial(&mut self.values())
    }

    fn after(&self, state: &M::State, op: &Seen) -> Vec<M::State> {
        let Some(op) = self.read(op) else {
            return vec![state.clone()];
        };
        self.model.step(state, &op).into_iter().collect()
    }

    fn show(&self, state: &M::State) -> Value {
        self.model.describe(state, &self.values())
    }

    fn observes(&self, op: &Seen) -> bool {
        self.read(op)
            .is_none_or(|op| self.model.is_observation(&op))
    }

    fn leaves(&self, op: &Seen) -> Touch {
        self.touch(op, |touches| touches.provides)
    }

    fn needs(&self, op: &Seen) -> Touch {
        self.touch(op, |touches| touches.needs)
    }
}
