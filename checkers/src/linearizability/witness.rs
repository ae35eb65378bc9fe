//! An order in which a history is possible that a monitor decided about, for whoever wants to see one.
//!
//! Where the search decided, a [trace](super::trace) of it says the order. Monitors know of none, so this finds
//! one afterwards, depth first: at each return of an operation that has not taken effect it tries what
//! may take effect now, the operation itself first, and goes back where that leads nowhere. In which order elements
//! came out of a collection says in which order they had better go in ([`Hint`]); queues and stacks have their orders from their
//! [monitors](super::monitors::placing), where these find one. What led
//! nowhere is remembered by a hash. (If two hashes were ever equal, an order might be missed; one that is
//! found is an order.)

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::budget::{Budget, Exhausted};

use super::log::{Happening, LoggedOp, happenings};
use super::meter::Meter;
use super::model::Machine;
use super::models::Role;
use super::monitors::collection::{CollectionKind, Order};
use super::monitors::{NEVER, Operation, placing};

/// Where a try stands.
#[derive(Clone)]
struct Stand {
    /// How many events have happened.
    at: usize,
    state: u32,
    /// Operations that are open and will return, in order of invocation.
    open: Vec<u32>,
    /// Those of them that have taken effect.
    done: Vec<u32>,
    /// Crashed operations that have taken effect, ascending.
    used: Vec<u32>,
}

/// A moment at which there is a choice.
struct Choice {
    stand: Stand,
    /// How long the order was.
    length: usize,
    /// What may take effect, the last first.
    ready: Vec<u32>,
}

/// What is known of an operation on an element of a collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    /// Whether it puts the element in.
    pub(super) inserts: bool,
    /// Elements of lower rank had better go in before others that are put in at the same time.
    pub(super) rank: u64,
}

/// The ranks of the elements of a collection, given all operations on them with the events that began and ended them.
///
/// An element's rank is the last event at which it can have come out: where the first in comes out first, that is also before
/// all that certainly went in later.
pub(super) fn ranks(
    ops: impl Iterator<Item = (CollectionKind, i64, (u64, u64))>,
    order: Order,
) -> FxHashMap<i64, u64> {
    let (mut inserted, mut ranks) = (Vec::new(), FxHashMap::default());
    for (kind, element, (invoke, end)) in ops {
        match kind {
            CollectionKind::Insert => inserted.push((invoke, end, element)),
            CollectionKind::Remove => drop(ranks.insert(element, end)),
            CollectionKind::Peek | CollectionKind::Empty => {}
        }
    }
    match order {
        Order::First => {
            let rank = |(.., element): &(u64, u64, i64)| ranks.get(element).copied();
            let mut earliest: Vec<u64> = inserted
                .iter()
                .map(|it| rank(it).unwrap_or(u64::MAX))
                .collect();
            for at in (1..earliest.len()).rev() {
                earliest[at - 1] = earliest[at - 1].min(earliest[at]);
            }
            for (_, end, element) in &inserted {
                let later = inserted.partition_point(|(invoke, ..)| invoke < end);
                let rank = ranks.entry(*element).or_insert(u64::MAX);
                *rank = (*rank).min(earliest.get(later).copied().unwrap_or(u64::MAX));
            }
        }
        // The last in comes out first.
        Order::Last => ranks.values_mut().for_each(|rank| *rank = u64::MAX - *rank),
        Order::Greatest | Order::Least | Order::Any => {}
    }
    ranks
}

/// An order of a queue or stack, made by its monitor.
pub(super) fn of_collection<'a, O: Copy + 'a, T: 'a>(
    order: Order,
    log: impl Iterator<Item = &'a LoggedOp<O, T>>,
    role: impl Fn(O) -> Option<Role>,
    budget: &dyn Budget,
) -> Result<Option<Vec<u64>>, Exhausted> {
    let lowered = |logged: &LoggedOp<O, T>| {
        let Some(Role::Collection(kind, element)) = role(logged.op) else {
            return None;
        };
        let end = logged.returned();
        Some(Operation {
            kind,
            value: u32::try_from(element).ok()?,
            invoke: u32::try_from(logged.invoke).ok()?,
            complete: end.map_or(Some(NEVER), |end| u32::try_from(end).ok())?,
        })
    };
    let Some(mut ops) = log.map(lowered).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    ops.sort_unstable_by_key(|op| op.invoke);
    let placed = placing::place(order, &ops, budget)?;
    let invoke = |at: u32| u64::from(ops[at as usize].invoke);
    Ok(placed.map(|placed| placed.into_iter().map(invoke).collect()))
}

struct Finder<'a, A: Machine, T> {
    ops: Vec<&'a LoggedOp<A::Op, T>>,
    /// By operation; empty if nothing is known.
    hints: Vec<Option<Hint>>,
    events: Vec<Happening>,
    /// Crashed operations in order of invocation.
    crashed: Vec<u32>,
    machine: A,
    order: Vec<u32>,
}

/// An order of the operations by their invocations, which are those of the log. Crashed operations that
/// need not have happened are not in it. `None` if none was found.
pub(super) fn find<'a, A: Machine, T: 'a>(
    log: impl Iterator<Item = &'a LoggedOp<A::Op, T>>,
    (machine, initial): (A, u32),
    hints: Vec<Option<Hint>>,
    budget: &dyn Budget,
) -> Result<Option<Vec<u64>>, Exhausted>
where
    A::Op: 'a,
{
    let ops: Vec<_> = log.collect();
    let events = happenings(ops.iter().copied(), u64::MAX);
    let crashed = (0..ops.len() as u32)
        .filter(|at| {
            let op = ops[*at as usize];
            op.returned().is_none() && !machine.is_observation(op.op)
        })
        .collect();
    let mut finder = Finder {
        ops,
        hints,
        events,
        crashed,
        machine,
        order: Vec::new(),
    };
    let found = finder.find(initial, budget)?;
    Ok(found.then(|| {
        let order = finder.order.iter();
        order.map(|at| finder.ops[*at as usize].invoke).collect()
    }))
}

impl<A: Machine, T> Finder<'_, A, T> {
    fn find(&mut self, initial: u32, budget: &dyn Budget) -> Result<bool, Exhausted> {
        let mut meter = Meter::default();
        let found = self.search(initial, &mut meter, budget);
        meter.release(budget);
        found
    }

    fn search(
        &mut self,
        initial: u32,
        meter: &mut Meter,
        budget: &dyn Budget,
    ) -> Result<bool, Exhausted> {
        let mut seen: FxHashSet<u64> = FxHashSet::default();
        let mut choices: Vec<Choice> = Vec::new();
        let mut stand = Stand {
            at: 0,
            state: initial,
            open: Vec::new(),
            done: Vec::new(),
            used: Vec::new(),
        };
        let mut steps = 0usize;
        loop {
            steps += 1;
            if steps.is_multiple_of(256) {
                let held = seen.len() + choices.len();
                meter.hold::<(u64, Choice)>(held, self.machine.bytes(), budget)?;
            }
            let Some(returning) = self.go_on(&mut stand) else {
                return Ok(true);
            };
            let ready = match seen.insert(hash(&stand)) {
                true => self.ready(&stand, returning),
                false => Vec::new(),
            };
            choices.push(Choice {
                stand,
                length: self.order.len(),
                ready,
            });
            let (from, op) = loop {
                let Some(choice) = choices.last_mut() else {
                    return Ok(false);
                };
                self.order.truncate(choice.length);
                match choice.ready.pop() {
                    Some(op) => break (choice.stand.clone(), op),
                    None => drop(choices.pop()),
                }
            };
            stand = from;
            self.take_effect(op, &mut stand);
        }
    }

    /// Lets events happen until an operation returns that has not taken effect.
    fn go_on(&mut self, stand: &mut Stand) -> Option<u32> {
        while let Some((_, op, returns)) = self.events.get(stand.at).copied() {
            if returns {
                if !stand.done.contains(&op) {
                    return Some(op);
                }
                stand.done.retain(|done| *done != op);
                stand.open.retain(|open| *open != op);
            } else if self.ops[op as usize].returned().is_some() {
                stand.open.push(op);
                self.observe(stand);
            }
            stand.at += 1;
        }
        None
    }

    /// Observations that the state satisfies take effect at once.
    fn observe(&mut self, stand: &mut Stand) {
        for op in &stand.open {
            let what = self.ops[*op as usize].op;
            if !stand.done.contains(op)
                && self.machine.is_observation(what)
                && self.machine.accepts(stand.state, what)
            {
                stand.done.push(*op);
                self.order.push(*op);
            }
        }
    }

    /// What may take effect, the best last: the operation that returns, then those that return, then
    /// those that never do.
    fn ready(&mut self, stand: &Stand, returning: u32) -> Vec<u32> {
        let now = self.events[stand.at].0;
        let mut ready: Vec<u32> = Vec::new();
        let mut classes = FxHashSet::default();
        for op in &self.crashed {
            let logged = self.ops[*op as usize];
            if logged.invoke < now
                && stand.used.binary_search(op).is_err()
                && classes.insert(logged.op)
                && self.machine.apply(stand.state, logged.op) != Some(stand.state)
                && self.machine.accepts(stand.state, logged.op)
            {
                ready.push(*op);
            }
        }
        ready.reverse();
        let mut open: Vec<u32> = stand.open.clone();
        open.retain(|op| !stand.done.contains(op));
        open.sort_by_key(|op| std::cmp::Reverse(self.ops[*op as usize].returned()));
        open.retain(|op| {
            let what = self.ops[*op as usize].op;
            !self.machine.is_observation(what) && self.machine.accepts(stand.state, what)
        });
        ready.extend(open.iter().filter(|op| **op != returning));
        ready.extend(open.iter().filter(|op| **op == returning));
        self.heed_hints(&mut ready, returning);
        ready
    }

    /// What is put in no later than the element of the operation that returns comes last, and so is tried first.
    fn heed_hints(&self, ready: &mut [u32], returning: u32) {
        let hint = |op: u32| self.hints.get(op as usize).copied().flatten();
        let Some(wanted) = hint(returning) else {
            return;
        };
        if !wanted.inserts && ready.last() == Some(&returning) {
            return;
        }
        let due = |op: u32| {
            let hint = hint(op).filter(|hint| hint.inserts && hint.rank <= wanted.rank);
            hint.map(|hint| std::cmp::Reverse(hint.rank))
        };
        ready.sort_by_key(|op| due(*op));
    }

    fn take_effect(&mut self, op: u32, stand: &mut Stand) {
        let logged = self.ops[op as usize];
        if let Some(state) = self.machine.apply(stand.state, logged.op) {
            stand.state = state;
        }
        match logged.returned() {
            Some(_) => stand.done.push(op),
            None => {
                let at = stand.used.partition_point(|used| *used < op);
                stand.used.insert(at, op);
            }
        }
        self.order.push(op);
        self.observe(stand);
    }
}

fn hash(stand: &Stand) -> u64 {
    let mut done = stand.done.clone();
    done.sort_unstable();
    let mut hasher = FxHasher::default();
    (stand.at, stand.state, done, &stand.used).hash(&mut hasher);
    hasher.finish()
}
