//! Which histories are decided by a [monitor](super::monitors) instead of the search.
//!
//! The search is prompt and comes with everything that a person wants to see, so it goes first. Its work
//! is rationed: an object has so many questions to the budget at the beginning, and some more with each
//! operation ([`Ration`]). When these are used up, and no operation has been forgotten, the monitor of the
//! object's type is asked about everything so far:
//!
//! - It is linearizable: the search is put aside, and the monitor is asked again whenever the history has grown fourfold,
//!   or by an eighth while it is still being made, and at the end. So a violation is noticed later than by the search, but at the end at the latest.
//! - It is not: the few operations that the monitor names, with all that they depend on, are searched on
//!   their own, so that evidence is found, explained and proved as always. If that does not show it within the budget,
//!   the verdict is `unknown`.
//! - The monitor cannot tell: the search goes on and is not rationed any more.
//!
//! # Questions in the middle of a history
//!
//! At any event of a busy history some operations are open. What they returned later is known by then, but monitors know
//! only operations that have completed or may have done anything. So there are two questions. First: what
//! if the open operations are taken for completed, those left out which saw what nobody had put in yet? If that is
//! linearizable, so is the history so far, as some of the operations on it may come after all others. If
//! not, it may be because something that made way for the open operations is missing. Then: what if the open operations
//! could have done anything? If that is impossible, so is the history, whatever comes. If neither
//! helps, nothing is known until later ([`Opinion::NotYet`]). At the end nothing is open.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustc_hash::FxHashSet;

use crate::budget::{Budget, Exhausted};

use super::log::LoggedOp;
use super::models::{Monitored, Role};
use super::monitors::collection::{self, CollectionKind, Order};
use super::monitors::counter::{self, CounterKind};
use super::monitors::grow_set::{self, GrowSetKind};
use super::monitors::register::{self, RegisterKind};
use super::monitors::set::{self, SetKind};
use super::monitors::{Kind, NEVER, Operation, Outcome, Reason};

/// What a monitor says of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// There is an order.
    Linearizable,
    /// There is none.
    Violation(Named),
    /// It cannot tell before some of the open operations have ended.
    NotYet,
    /// It cannot tell, or there is no monitor.
    Unknown,
}

/// What a monitor found to be impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Positions in the log, ascending.
    pub(super) ops: Vec<usize>,
    /// The elements of a set, where it is enough to look at these.
    pub(super) elements: Vec<u32>,
}

/// After so many operations a search may ask one more question, but never more than at the beginning.
const OPERATIONS_PER_QUESTION: usize = 512;

/// How many questions to the budget an object's search may still ask, each after 128 configurations or so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ration {
    full: u64,
    left: u64,
    /// A monitor is asked again when the log has grown by this share.
    growth: Share,
}

/// A part of something, or more than all of it.
#[derive(Clone, Copy, Debug)]
struct Share(usize, usize);

impl Share {
    /// All questions together take little longer than the last.
    const SELDOM: Share = Share(3, 1);
    /// All questions together take some ten times as long as the last, which is still not much for a monitor.
    const OFTEN: Share = Share(1, 8);
}

impl Ration {
    pub(super) fn new(full: u64) -> Ration {
        Ration {
            full,
            left: full,
            growth: Share::SELDOM,
        }
    }

    /// The same where a violation should be noticed soon.
    pub(super) fn in_a_hurry(self) -> Ration {
        Ration {
            growth: Share::OFTEN,
            ..self
        }
    }

    /// So many for each question at the beginning.
    pub(super) fn times(self, each: usize) -> usize {
        usize::try_from(self.full).map_or(usize::MAX, |full| full.saturating_mul(each))
    }

    /// An operation began, so that there are `length` now.
    pub(super) fn replenish(&mut self, length: usize) {
        if length.is_multiple_of(OPERATIONS_PER_QUESTION) {
            self.left = self.full.min(self.left + 1);
        }
    }

    /// The length of the log at which a monitor is asked again: it takes as long as the log.
    pub(super) fn ask_again(self, length: usize) -> usize {
        let Share(part, of) = self.growth;
        let more = length.saturating_mul(part) / of;
        length.saturating_add(more.max(self.times(64)).max(1))
    }
}

/// A budget of which only some questions may be asked. A single step may overdraw it, by as much as there is at
/// the beginning and by what it would take to begin again, so that the search is mostly intact when the ration
/// is used up.
pub(super) struct Rationed<'a> {
    budget: &'a dyn Budget,
    ration: Ration,
    /// How many questions a single step may ask.
    most: u64,
    asked: AtomicU64,
    broken: AtomicBool,
}

/// What a step did to a ration.
pub(super) enum Spent {
    /// So much is left.
    Left(Ration),
    /// Nothing is left, but the step was done.
    All,
    /// The step was broken off.
    TooMuch,
}

impl<'a> Rationed<'a> {
    /// `length` is that of the log.
    pub(super) fn new(budget: &'a dyn Budget, ration: Ration, length: usize) -> Rationed<'a> {
        let more = ration.full.saturating_add(length as u64 / 1024);
        Rationed {
            budget,
            ration,
            most: ration.left.saturating_add(more),
            asked: 0.into(),
            broken: false.into(),
        }
    }

    pub(super) fn spent(&self) -> Spent {
        let ration = self.ration;
        if self.broken.load(Ordering::Relaxed) {
            return Spent::TooMuch;
        }
        match ration
            .left
            .saturating_sub(self.asked.load(Ordering::Relaxed))
        {
            0 => Spent::All,
            left => Spent::Left(Ration { left, ..ration }),
        }
    }
}

impl Budget for Rationed<'_> {
    fn check(&self) -> Result<(), Exhausted> {
        self.budget.check()?;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked < self.most {
            return Ok(());
        }
        self.broken.store(true, Ordering::Relaxed);
        Err(Exhausted::Time)
    }

    fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        self.budget.charge(bytes)
    }

    fn release(&self, bytes: usize) {
        self.budget.release(bytes);
    }
}

/// How operations of a kind depend on each other.
trait Dependent: Kind {
    /// Whether it changes nothing.
    fn observes(self) -> bool;

    /// The value that it puts in.
    fn puts(self, _value: u32) -> Option<u32> {
        None
    }

    /// The value that must be there.
    fn needs(self, _value: u32) -> Option<u32> {
        None
    }
}

impl Dependent for CollectionKind {
    fn observes(self) -> bool {
        matches!(self, CollectionKind::Peek | CollectionKind::Empty)
    }

    fn puts(self, value: u32) -> Option<u32> {
        (self == CollectionKind::Insert).then_some(value)
    }

    fn needs(self, value: u32) -> Option<u32> {
        (self == CollectionKind::Remove).then_some(value)
    }
}

impl Dependent for SetKind {
    fn observes(self) -> bool {
        matches!(self, SetKind::Present | SetKind::Absent)
    }

    fn puts(self, value: u32) -> Option<u32> {
        (self == SetKind::Add).then_some(value)
    }

    fn needs(self, value: u32) -> Option<u32> {
        (self == SetKind::Remove).then_some(value)
    }
}

impl Dependent for RegisterKind {
    fn observes(self) -> bool {
        matches!(self, RegisterKind::Read | RegisterKind::Differs)
    }

    fn puts(self, value: u32) -> Option<u32> {
        (!self.observes()).then_some(value)
    }

    fn needs(self, _value: u32) -> Option<u32> {
        match self {
            RegisterKind::Cas { from } => Some(from).filter(|from| *from != 0),
            _ => None,
        }
    }
}

impl Dependent for CounterKind {
    fn observes(self) -> bool {
        self == CounterKind::Read
    }
}

impl Dependent for GrowSetKind {
    fn observes(self) -> bool {
        self != GrowSetKind::Add
    }

    fn puts(self, value: u32) -> Option<u32> {
        (!self.observes()).then_some(value)
    }
}

/// A log as a monitor wants it.
struct Lowered<K> {
    ops: Vec<Operation<K>>,
    /// Where each stands in the log.
    at: Vec<u32>,
    /// The last event that has happened.
    now: u32,
}

/// A position as monitors have it.
fn moment(event: u64) -> Option<u32> {
    u32::try_from(event).ok().filter(|event| *event < NEVER)
}

/// What `kind` says of each operation, told whether nobody knows what became of it. `None` if it does not know
/// one, or there are too many events.
fn lower<'a, O: Copy + 'a, T: 'a, K>(
    log: impl Iterator<Item = &'a LoggedOp<O, T>>,
    now: u64,
    mut kind: impl FnMut(O, bool) -> Option<(K, u32)>,
) -> Option<Lowered<K>> {
    let (mut ops, mut at) = (Vec::new(), Vec::new());
    for (position, logged) in (0..).zip(log) {
        let returned = logged.returned();
        let (kind, value) = kind(logged.op, returned.is_none())?;
        ops.push(Operation {
            kind,
            value,
            invoke: moment(logged.invoke)?,
            complete: returned.map_or(Some(NEVER), moment)?,
        });
        at.push(position);
    }
    let now = moment(now)?;
    Some(Lowered { ops, at, now })
}

impl<K: Dependent> Lowered<K> {
    fn is_open(&self, op: &Operation<K>) -> bool {
        op.complete > self.now && op.complete != NEVER
    }

    /// Leaves out some operations.
    fn retain(&mut self, keep: impl Fn(&Operation<K>) -> bool) {
        let mut keeps = self.ops.iter().map(&keep);
        self.at.retain(|_| keeps.next().unwrap_or(true));
        self.ops.retain(keep);
    }

    /// Asks a monitor.
    fn ask<R: Reason>(
        mut self,
        budget: &dyn Budget,
        mut check: impl FnMut(&[Operation<K>]) -> Result<Outcome<R>, Exhausted>,
    ) -> Result<Opinion, Exhausted> {
        let mut open: Vec<Operation<K>> = self
            .ops
            .iter()
            .filter(|op| self.is_open(op))
            .copied()
            .collect();
        if open.is_empty() {
            return check(&self.ops).map(|outcome| self.opinion(&outcome));
        }
        let now = self.now;
        let is_open = |op: &Operation<K>| op.complete > now && op.complete != NEVER;
        self.retain(|op| !(is_open(op) && op.kind.observes()));
        let mut missing: FxHashSet<u32> = open
            .drain(..)
            .filter_map(|op| op.kind.needs(op.value))
            .collect();
        for op in &self.ops {
            if let Some(value) = op.kind.puts(op.value) {
                missing.remove(&value);
            }
        }
        let held = self.ops.len() * size_of::<Operation<K>>();
        budget.charge(held)?;
        let there = |op: &&Operation<K>| {
            let lacks = |value| missing.contains(&value);
            !(is_open(op) && op.kind.needs(op.value).is_some_and(lacks))
        };
        let completed: Vec<Operation<K>> = self.ops.iter().filter(there).copied().collect();
        let first = check(&completed);
        drop(completed);
        budget.release(held);
        match first? {
            Outcome::Linearizable => return Ok(Opinion::Linearizable),
            Outcome::NotApplicable(_) => return Ok(Opinion::Unknown),
            Outcome::Violation(_) => {}
        }
        for op in self.ops.iter_mut().filter(|op| is_open(op)) {
            op.complete = NEVER;
        }
        let second = self.opinion(&check(&self.ops)?);
        Ok(match second {
            Opinion::Unknown => Opinion::NotYet,
            known => known,
        })
    }

    fn opinion<R: Reason>(&self, outcome: &Outcome<R>) -> Opinion {
        let reason = match outcome {
            Outcome::Linearizable => return Opinion::Linearizable,
            Outcome::NotApplicable(_) => return Opinion::Unknown,
            Outcome::Violation(reason) => reason,
        };
        let named = reason.operations();
        let put = named.iter().filter_map(|op| {
            let op = &self.ops[*op as usize];
            op.kind.puts(op.value)
        });
        let elements = reason.elements().map(|others| {
            let mut elements: Vec<u32> = others.into_iter().chain(put).collect();
            elements.sort_unstable();
            elements.dedup();
            elements
        });
        let at = |op: &u32| self.at[*op as usize] as usize;
        Opinion::Violation(Named {
            ops: named.iter().map(at).collect(),
            elements: elements.unwrap_or_default(),
        })
    }
}

/// A log about which a monitor is asked.
pub(super) struct Question<'a, I> {
    /// The operations, in order of invocation, with none left out.
    pub(super) log: I,
    /// The last event that has happened.
    pub(super) now: u64,
    pub(super) budget: &'a dyn Budget,
}

impl<'a, O: Copy + 'a, T: 'a, I: Iterator<Item = &'a LoggedOp<O, T>> + Clone> Question<'_, I> {
    /// Asks the monitor of registers. `kind` says what an operation did; the initial value is 0.
    pub(super) fn of_register(
        &self,
        kind: impl Fn(O) -> Option<(RegisterKind, u32)>,
    ) -> Result<Opinion, Exhausted> {
        self.ask(|op, _| kind(op), |ops| register::check(ops, self.budget))
    }

    /// Asks the monitor of a model's objects. `role` says what an operation is to it.
    pub(super) fn of_object(
        &self,
        monitored: Monitored,
        role: impl Fn(O) -> Option<Role>,
    ) -> Result<Opinion, Exhausted> {
        match monitored {
            Monitored::Register => self.of_register(|op| match role(op)? {
                Role::Register(kind, value) => Some((kind, value)),
                _ => None,
            }),
            Monitored::Collection(order) => self.of_collection(order, role),
            Monitored::Set => self.of_set(role),
            Monitored::Counter => self.ask(
                |op, _| match role(op)? {
                    Role::Counter(kind, amount) => Some((kind, amount)),
                    _ => None,
                },
                |ops| counter::check(ops, self.budget),
            ),
        }
    }

    fn of_collection(
        &self,
        order: Order,
        role: impl Fn(O) -> Option<Role>,
    ) -> Result<Opinion, Exhausted> {
        // What elements are sorted by can be any number; the monitor wants small ones.
        let mut ranks: Vec<i64> = Vec::new();
        let sorted = matches!(order, Order::Greatest | Order::Least);
        if sorted {
            for logged in self.log.clone() {
                let Some(Role::Collection(_, element)) = role(logged.op) else {
                    return Ok(Opinion::Unknown);
                };
                ranks.push(element);
            }
            ranks.sort_unstable();
            ranks.dedup();
        }
        let number = |element: i64| match sorted {
            true => Some(ranks.partition_point(|other| *other < element) as u32),
            false => u32::try_from(element).ok(),
        };
        let kind = |op, _| match role(op)? {
            Role::Collection(kind, element) => Some((kind, number(element)?)),
            _ => None,
        };
        self.ask(kind, |ops| collection::check(order, ops, self.budget))
    }

    fn of_set(&self, role: impl Fn(O) -> Option<Role>) -> Result<Opinion, Exhausted> {
        let is_read = Cell::new(false);
        let kind = |op, crashed| match role(op)? {
            Role::Set(kind, element) => Some((kind, element)),
            Role::Discarded(element) if crashed => Some((SetKind::Remove, element)),
            Role::SawAll(_) => {
                is_read.set(true);
                None
            }
            _ => None,
        };
        let said = self.ask(kind, |ops| set::check(ops, self.budget))?;
        match is_read.get() {
            true => self.of_growing_set(&role),
            false => Ok(said),
        }
    }

    /// A set that is read as a whole, to which each element is added once, and from which none is removed.
    fn of_growing_set(&self, role: impl Fn(O) -> Option<Role>) -> Result<Opinion, Exhausted> {
        let mut added = FxHashSet::default();
        let mut contents: Vec<u32> = Vec::new();
        let kind = |op, _| match role(op)? {
            Role::Set(SetKind::Add, element) => {
                let first = added.insert(element);
                first.then_some((GrowSetKind::Add, element))
            }
            Role::SawAll(all) => {
                let from = contents.len() as u32;
                contents.extend(&all);
                let to = u32::try_from(contents.len()).ok()?;
                Some((GrowSetKind::Read { from, to }, 0))
            }
            _ => None,
        };
        let Some(lowered) = lower(self.log.clone(), self.now, kind) else {
            return Ok(Opinion::Unknown);
        };
        let held = contents.len() * size_of::<u32>();
        self.budget.charge(held)?;
        let said = lowered.ask(self.budget, |ops| {
            grow_set::check(ops, &contents, self.budget)
        });
        self.budget.release(held);
        said
    }

    fn ask<K: Dependent, R: Reason>(
        &self,
        kind: impl FnMut(O, bool) -> Option<(K, u32)>,
        check: impl FnMut(&[Operation<K>]) -> Result<Outcome<R>, Exhausted>,
    ) -> Result<Opinion, Exhausted> {
        let length = self.log.clone().count();
        let held = length * size_of::<(Operation<K>, u32, i64)>();
        self.budget.charge(held)?;
        let said = match lower(self.log.clone(), self.now, kind) {
            Some(lowered) => lowered.ask(self.budget, check),
            None => Ok(Opinion::Unknown),
        };
        self.budget.release(held);
        said
    }
}
