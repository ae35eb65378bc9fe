//! Which histories are decided by a [monitor](super::monitors) instead of the search.
//!
//! The search is prompt and comes with everything that a person wants to see, so it goes first. Its work
//! is rationed: an object has so many questions to the budget at the beginning, and some more with each
//! operation. When these are used up, and no operation has been forgotten, the monitor of the object's type
//! is asked about everything so far. If that is linearizable, the search is put aside, and the monitor is
//! asked again whenever the history has grown by a quarter, and at the end. If it is not, the few operations
//! that the monitor names are searched on their own, so that evidence is found and proved as always. If the
//! monitor cannot tell, the search begins again and is not rationed any more.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::budget::{Budget, Exhausted};

use super::log::LoggedOp;
use super::monitors::collection::{self, CollectionKind, Order};
use super::monitors::register::{self, RegisterKind};
use super::monitors::{NEVER, Operation, Outcome, Reason};

/// What a monitor says of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// There is an order.
    Linearizable,
    /// There is none, as these positions in the log show, ascending.
    Violation(Vec<usize>),
    /// It cannot tell, or there is no monitor.
    Unknown,
}

/// How many questions to the budget an object's search may ask, each after 128 configurations or so.
pub(super) const RATION: u64 = 64;

/// After so many operations it may ask one more, but never more than at the beginning.
pub(super) const OPERATIONS_PER_QUESTION: usize = 64;

/// The least number of operations after which a monitor is asked again.
const PATIENCE: usize = 1 << 10;

/// The length of the log at which a monitor is asked again.
pub(super) fn ask_again(length: usize) -> usize {
    length + (length / 4).max(PATIENCE)
}

/// A budget of which only some questions may be asked.
pub(super) struct Rationed<'a> {
    budget: &'a dyn Budget,
    left: AtomicU64,
    used_up: std::sync::atomic::AtomicBool,
}

impl<'a> Rationed<'a> {
    pub(super) fn new(budget: &'a dyn Budget, left: u64) -> Rationed<'a> {
        Rationed {
            budget,
            left: AtomicU64::new(left),
            used_up: false.into(),
        }
    }

    /// What is left, or `None` if it was not enough.
    pub(super) fn left(&self) -> Option<u64> {
        (!self.used_up.load(Ordering::Relaxed)).then(|| self.left.load(Ordering::Relaxed))
    }
}

impl Budget for Rationed<'_> {
    fn check(&self) -> Result<(), Exhausted> {
        self.budget.check()?;
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            self.used_up.store(true, Ordering::Relaxed);
            return Err(Exhausted::Time);
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }

    fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        self.budget.charge(bytes)
    }

    fn release(&self, bytes: usize) {
        self.budget.release(bytes);
    }
}

/// The operations of a log as a monitor wants them, when the event `now` had happened. What had not
/// returned by then is given to `lower` as without an answer. `None` if there are too many events.
struct Lowered<K> {
    ops: Vec<Operation<K>>,
    /// Where each stands in the log.
    at: Vec<u32>,
}

fn lower<'a, O: Copy + 'a, T: 'a, K>(
    log: impl Iterator<Item = &'a LoggedOp<O, T>>,
    now: u64,
    mut kind: impl FnMut(O, bool) -> Option<(K, u32)>,
) -> Option<Lowered<K>> {
    let (mut ops, mut at) = (Vec::new(), Vec::new());
    for (position, logged) in log.enumerate() {
        let returned = logged.returned().filter(|end| *end <= now);
        let Some((kind, value)) = kind(logged.op, returned.is_some()) else {
            continue;
        };
        let moment = |event: u64| u32::try_from(event).ok().filter(|event| *event < NEVER);
        ops.push(Operation {
            kind,
            value,
            invoke: moment(logged.invoke)?,
            complete: match returned {
                Some(end) => moment(end)?,
                None => NEVER,
            },
        });
        at.push(u32::try_from(position).ok()?);
    }
    Some(Lowered { ops, at })
}

fn opinion<R: Reason>(outcome: Outcome<R>, at: &[u32]) -> Opinion {
    match outcome {
        Outcome::Linearizable => Opinion::Linearizable,
        Outcome::NotApplicable(_) => Opinion::Unknown,
        Outcome::Violation(reason) => {
            let named = reason.operations();
            Opinion::Violation(named.iter().map(|op| at[*op as usize] as usize).collect())
        }
    }
}

/// About what a monitor's array takes while it is held, a log of so many operations given.
fn hold(budget: &dyn Budget, length: usize) -> Result<usize, Exhausted> {
    let bytes = length * (size_of::<Operation<RegisterKind>>() + size_of::<(i64, u32)>());
    budget.charge(bytes).map(|()| bytes)
}

/// Asks the monitor of collections. `kind` says what an operation did, and to which element.
pub(super) fn ask_collection<'a, O: Copy + 'a, T: 'a>(
    order: Order,
    log: impl Iterator<Item = &'a LoggedOp<O, T>> + Clone,
    now: u64,
    kind: impl Fn(O) -> Option<(CollectionKind, i64)>,
    budget: &dyn Budget,
) -> Result<Opinion, Exhausted> {
    let held = hold(budget, log.clone().count())?;
    let mut elements = Vec::new();
    let mut known = true;
    let lowered = lower(log, now, |op, answered| {
        let Some((kind, element)) = kind(op) else {
            known = false;
            return None;
        };
        let element = match kind {
            CollectionKind::Insert => element,
            CollectionKind::Remove if answered => element,
            CollectionKind::Remove => 0,
            CollectionKind::Peek | CollectionKind::Empty if !answered => return None,
            CollectionKind::Peek | CollectionKind::Empty => element,
        };
        elements.push(element);
        Some((kind, 0))
    });
    let found = match lowered {
        Some(mut lowered) if known => {
            let mut ranks = elements.clone();
            ranks.sort_unstable();
            ranks.dedup();
            for (op, element) in lowered.ops.iter_mut().zip(&elements) {
                op.value = ranks.partition_point(|other| other < element) as u32;
            }
            drop((ranks, elements));
            collection::check(order, &lowered.ops, budget)
                .map(|outcome| opinion(outcome, &lowered.at))
        }
        _ => Ok(Opinion::Unknown),
    };
    budget.release(held);
    found
}

/// Asks the monitor of registers. `kind` says what an operation did; the initial value is 0.
pub(super) fn ask_register<'a, O: Copy + 'a, T: 'a>(
    log: impl Iterator<Item = &'a LoggedOp<O, T>> + Clone,
    now: u64,
    kind: impl Fn(O) -> (RegisterKind, u32),
    budget: &dyn Budget,
) -> Result<Opinion, Exhausted> {
    let held = hold(budget, log.clone().count())?;
    let lowered = lower(log, now, |op, answered| {
        let (kind, value) = kind(op);
        let observes = matches!(kind, RegisterKind::Read | RegisterKind::Differs);
        (answered || !observes).then_some((kind, value))
    });
    let found = match lowered {
        Some(lowered) => {
            register::check(&lowered.ops, budget).map(|outcome| opinion(outcome, &lowered.at))
        }
        None => Ok(Opinion::Unknown),
    };
    budget.release(held);
    found
}
