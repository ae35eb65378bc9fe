//! Proves violations of collections again.

use std::collections::BTreeSet;

use super::super::collection::{
    Afloat, Before, CollectionKind, CollectionReason, Deadline, Order, Presence,
};
use super::super::{NEVER, Operation};
use super::{Proved, Unproved, answered, ensure, operation, precedes};

type Op = Operation<CollectionKind>;

/// Proves that a history of a collection is impossible for a reason.
///
/// # Errors
///
/// What of the reason does not hold.
pub fn collection(order: Order, ops: &[Op], reason: &CollectionReason) -> Proved {
    let history = History { order, ops };
    match reason {
        CollectionReason::NeverInserted { observer } => {
            let observer = history.seen(*observer)?;
            ensure(
                history.inserts(observer.value).is_empty(),
                "it was inserted",
            )
        }
        CollectionReason::ObservedEarly { insert, observer } => {
            let observer = history.seen(*observer)?;
            let insert = history.insert(observer.value, Some(*insert))?;
            ensure(
                precedes(&observer, &insert),
                "it may have been inserted in time",
            )
        }
        CollectionReason::RemovedTwice { first, second } => {
            let (one, other) = (history.removal(*first)?, history.removal(*second)?);
            ensure(
                first != second && one.value == other.value,
                "these are not two of one value",
            )?;
            ensure(
                history.inserts(one.value).len() < 2,
                "it was inserted twice",
            )
        }
        CollectionReason::ObservedLate { removal, observer } => {
            let (removal, observer) = (history.removal(*removal)?, history.seen(*observer)?);
            ensure(
                removal.value == observer.value,
                "these are of different values",
            )?;
            history.insert(removal.value, None)?;
            ensure(
                precedes(&removal, &observer),
                "it may still have been inside",
            )
        }
        CollectionReason::Blocked {
            operation,
            after,
            by,
            left,
        } => history.blocked(*operation, *after, by, left),
        CollectionReason::OutOfOrder(cycle) => history.out_of_order(cycle),
        CollectionReason::NoBottom(values) => history.no_bottom(values),
        CollectionReason::TooFewRemovals(deadlines) => history.too_few_removals(deadlines),
    }
}

struct History<'a> {
    order: Order,
    ops: &'a [Op],
}

/// An interval of moments, the end excluded.
type Moments = (u32, u32);

impl History<'_> {
    fn of(&self, value: u32, kind: CollectionKind) -> Vec<Op> {
        let all = self.ops.iter().copied();
        all.filter(|op| op.value == value && op.kind == kind)
            .collect()
    }

    fn inserts(&self, value: u32) -> Vec<Op> {
        self.of(value, CollectionKind::Insert)
    }

    /// The only insertion of a value, which must be the one that was named.
    fn insert(&self, value: u32, named: Option<u32>) -> Result<Op, Unproved> {
        let inserts = self.inserts(value);
        let [insert] = inserts[..] else {
            return Err(Unproved("the value was not inserted once"));
        };
        if let Some(named) = named {
            ensure(
                operation(self.ops, named)? == insert,
                "this is not its insertion",
            )?;
        }
        Ok(insert)
    }

    /// An operation that saw a value: a peek or a removal.
    fn seen(&self, at: u32) -> Result<Op, Unproved> {
        let op = operation(self.ops, at)?;
        let sees = matches!(op.kind, CollectionKind::Peek | CollectionKind::Remove);
        ensure(sees && answered(&op), "this operation saw no value")?;
        Ok(op)
    }

    fn removal(&self, at: u32) -> Result<Op, Unproved> {
        let op = self.seen(at)?;
        ensure(op.kind == CollectionKind::Remove, "this is no removal")?;
        Ok(op)
    }

    /// An operation that completed, and after which its value had been inserted.
    fn shows(&self, at: u32) -> Result<Op, Unproved> {
        let op = operation(self.ops, at)?;
        ensure(
            op.kind != CollectionKind::Empty && answered(&op),
            "this shows no value",
        )?;
        self.insert(op.value, None)?;
        Ok(op)
    }

    fn removals(&self, value: u32) -> Vec<Op> {
        let mut removals = self.of(value, CollectionKind::Remove);
        removals.retain(answered);
        removals
    }

    /// Removals without an answer, by their invocations.
    fn unknown_removals(&self) -> Vec<u32> {
        let unknown = |op: &&Op| op.kind == CollectionKind::Remove && !answered(op);
        self.ops
            .iter()
            .filter(unknown)
            .map(|op| op.invoke)
            .collect()
    }

    /// The position before which a value was not taken, as said by an operation.
    fn untaken(&self, value: u32, until: Option<u32>) -> Result<u32, Unproved> {
        let until = until.map(|until| operation(self.ops, until)).transpose()?;
        if let Some(op) = until
            && (answered(&op) || op.kind == CollectionKind::Insert)
        {
            let on_value = op.value == value && op.kind != CollectionKind::Empty;
            ensure(on_value, "this operation is on something else")?;
            return Ok(op.invoke);
        }
        ensure(self.removals(value).is_empty(), "the value was removed")?;
        let first = self.unknown_removals().first().copied();
        ensure(
            until.map(|op| op.invoke) == first,
            "another removal may have taken the value",
        )?;
        Ok(first.unwrap_or(NEVER))
    }

    /// The value and the moments of a presence.
    fn presence(&self, presence: &Presence) -> Result<(u32, Moments), Unproved> {
        let since = self.shows(presence.since)?;
        let until = self.untaken(since.value, presence.until)?;
        ensure(since.complete < until, "the value was not certainly inside")?;
        Ok((since.value, (since.complete, until)))
    }

    fn higher(&self, value: u32, other: u32) -> bool {
        match self.order {
            Order::Greatest => value > other,
            Order::Least => value < other,
            Order::First | Order::Last | Order::Any => false,
        }
    }

    fn blocked(&self, at: u32, after: u32, by: &[Presence], left: &[u32]) -> Proved {
        let op = operation(self.ops, at)?;
        let from = operation(self.ops, after)?;
        ensure(answered(&op), "the operation may not have happened")?;
        if at != after {
            let first = match op.kind {
                CollectionKind::Remove => {
                    matches!(from.kind, CollectionKind::Insert | CollectionKind::Peek)
                }
                CollectionKind::Peek => from.kind == CollectionKind::Insert,
                CollectionKind::Insert | CollectionKind::Empty => false,
            };
            let peeked = from.kind == CollectionKind::Insert || answered(&from);
            ensure(
                first && peeked && op.value == from.value,
                "it need not come after that",
            )?;
        }
        let blocks = |value: u32| match op.kind {
            CollectionKind::Empty => true,
            CollectionKind::Insert => false,
            CollectionKind::Remove | CollectionKind::Peek => self.higher(value, op.value),
        };
        let mut covered = Vec::new();
        for presence in by {
            let (value, moments) = self.presence(presence)?;
            ensure(blocks(value), "this value does not forbid the operation")?;
            covered.push(moments);
        }
        let (mut values, mut inserted) = (BTreeSet::new(), Vec::new());
        for at in left {
            let shown = self.shows(*at)?;
            ensure(
                blocks(shown.value),
                "this value does not forbid the operation",
            )?;
            ensure(values.insert(shown.value), "a value counts twice")?;
            ensure(
                self.removals(shown.value).is_empty(),
                "the value was removed",
            )?;
            inserted.push(shown.complete);
        }
        let removals = self.unknown_removals();
        let mut moment = from.invoke;
        while moment < op.complete {
            let around = covered
                .iter()
                .filter(|(from, to)| *from <= moment && moment < *to);
            if let Some(to) = around.map(|(_, to)| *to).max() {
                moment = to;
                continue;
            }
            let inside = inserted
                .iter()
                .filter(|complete| **complete <= moment)
                .count();
            let taken = removals.partition_point(|removal| *removal <= moment);
            ensure(
                inside > taken,
                "there is a moment at which nothing forbids the operation",
            )?;
            moment = removals.get(taken).copied().unwrap_or(NEVER);
        }
        Ok(())
    }

    fn out_of_order(&self, cycle: &[Before]) -> Proved {
        ensure(
            self.order == Order::First && cycle.len() > 1,
            "this is no cycle of a queue",
        )?;
        for (at, before) in cycle.iter().enumerate() {
            let first = self.shows(before.first)?;
            let next = self.shows(cycle[(at + 1) % cycle.len()].first)?.value;
            ensure(first.value != next, "a value is before itself")?;
            let position = self.untaken(next, before.second)?;
            ensure(
                first.complete < position,
                "the first does not precede the second",
            )?;
            let second = before
                .second
                .map(|second| operation(self.ops, second))
                .transpose()?;
            let by_insertion = second.is_some_and(|second| second.kind == CollectionKind::Insert);
            ensure(
                by_insertion || first.kind != CollectionKind::Insert,
                "an insertion before a head says nothing",
            )?;
        }
        Ok(())
    }

    fn no_bottom(&self, values: &[Afloat]) -> Proved {
        ensure(
            self.order == Order::Last && !values.is_empty(),
            "this is no stack",
        )?;
        let mut all = Vec::new();
        for afloat in values {
            all.push(self.presence(&afloat.presence)?);
        }
        let from = all.iter().map(|(_, moments)| moments.0).min().unwrap_or(0);
        let to = all.iter().map(|(_, moments)| moments.1).max().unwrap_or(0);
        ensure(
            covered(&all, |_| true, (from, to)),
            "there is a moment at which nothing is inside",
        )?;
        for (afloat, (value, _)) in values.iter().zip(&all) {
            let insert = self.insert(*value, Some(afloat.insert))?;
            let removal = afloat
                .removal
                .map(|removal| self.removal(removal))
                .transpose()?;
            let own = removal.is_none_or(|removal| removal.value == *value);
            ensure(own, "this removal is of something else")?;
            if insert.invoke > from || removal.is_some_and(|removal| removal.complete < to) {
                continue;
            }
            let peek = afloat
                .peek
                .ok_or(Unproved("the value can be at the bottom"))?;
            let peek = self.seen(peek)?;
            ensure(peek.value == *value, "this peek is at something else")?;
            let moments = (peek.invoke.max(insert.invoke), peek.complete);
            let others = |other| other != *value;
            ensure(
                covered(&all, others, moments),
                "the value may have been on top",
            )?;
        }
        Ok(())
    }

    fn too_few_removals(&self, deadlines: &[Deadline]) -> Proved {
        let mut values = BTreeSet::new();
        let mut last = 0;
        for deadline in deadlines {
            let since = self.shows(deadline.since)?;
            ensure(values.insert(since.value), "a value counts twice")?;
            ensure(
                self.removals(since.value).is_empty(),
                "the value was removed",
            )?;
            let op = operation(self.ops, deadline.operation)?;
            ensure(answered(&op), "the operation may not have happened")?;
            ensure(
                self.is_due(&since, &op)?,
                "the value need not have been taken",
            )?;
            last = last.max(op.complete);
        }
        let removals = self.unknown_removals();
        let enough = removals.iter().filter(|removal| **removal < last).count();
        ensure(enough < values.len(), "there are enough removals")
    }

    /// Whether a value must have been taken before an operation.
    fn is_due(&self, since: &Op, op: &Op) -> Result<bool, Unproved> {
        if op.kind == CollectionKind::Empty {
            return Ok(precedes(since, op));
        }
        let removal = op.kind == CollectionKind::Remove;
        if !(removal || op.kind == CollectionKind::Peek) || op.value == since.value {
            return Ok(false);
        }
        let other = self.insert(op.value, None)?;
        Ok(match self.order {
            Order::First => precedes(since, &other),
            Order::Last => {
                let insert = self.insert(since.value, None)?;
                let mine = || self.ops.iter().filter(|one| one.value == op.value);
                let mine = || mine().filter(|one| one.kind != CollectionKind::Empty);
                let before = mine().any(|one| answered(one) && precedes(one, &insert));
                let sees = |one: &Op| one.kind == CollectionKind::Insert || answered(one);
                removal && before && mine().any(|one| sees(one) && precedes(since, one))
            }
            Order::Greatest | Order::Least => {
                self.higher(since.value, op.value) && precedes(since, op)
            }
            Order::Any => false,
        })
    }
}

/// Whether at all moments of an interval one of some values was inside.
fn covered(all: &[(u32, Moments)], of: impl Fn(u32) -> bool, (from, to): Moments) -> bool {
    let mut moment = from;
    while moment < to {
        let around = all
            .iter()
            .filter(|(value, (from, to))| of(*value) && *from <= moment && moment < *to);
        match around.map(|(_, (_, to))| *to).max() {
            Some(to) => moment = to,
            None => return false,
        }
    }
    true
}
