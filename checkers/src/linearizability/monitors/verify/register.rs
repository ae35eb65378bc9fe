//! Proves violations of registers again.

use super::super::Operation;
use super::super::register::{RegisterKind, RegisterReason, Run};
use super::{Proved, Unproved, answered, ensure, operation, precedes};

type Op = Operation<RegisterKind>;

/// Proves that a history of a register is impossible for a reason. It holds the value 0 first.
///
/// # Errors
///
/// What of the reason does not hold.
pub fn register(ops: &[Op], reason: &RegisterReason) -> Proved {
    match reason {
        RegisterReason::NeverWritten { observer, happened } => {
            let history = History { ops, happened };
            let value = found(&history.happened(*observer)?).ok_or(Unproved("it saw nothing"))?;
            ensure(value != 0 && history.writers(value) == 0, "it was written")
        }
        RegisterReason::TwoSuccessors {
            first,
            second,
            happened,
        } => {
            let history = History { ops, happened };
            let (one, other) = (history.cas(*first)?, history.cas(*second)?);
            ensure(
                first != second && found(&one) == found(&other),
                "these found different values",
            )?;
            found(&one).map_or(Ok(()), |value| history.unique(value))
        }
        RegisterReason::Circle { links, happened } => {
            let history = History { ops, happened };
            for (at, link) in links.iter().enumerate() {
                let (link, next) = (
                    history.cas(*link)?,
                    history.cas(links[(at + 1) % links.len()])?,
                );
                history.unique(link.value)?;
                ensure(found(&next) == Some(link.value), "the circle is broken")?;
            }
            ensure(!links.is_empty(), "there is no circle")
        }
        RegisterReason::Backwards {
            first,
            second,
            links,
            happened,
        } => {
            let history = History { ops, happened };
            let (first, second) = (history.happened(*first)?, history.happened(*second)?);
            history.before(&first, &second, links)?;
            // Two reads of one value may come in any order.
            let ordered =
                !links.is_empty() || leaves(&first) == written(&first) || replaces(&second);
            ensure(ordered, "the first need not come first")?;
            ensure(
                precedes(&second, &first),
                "they may have come in this order",
            )
        }
        RegisterReason::Entangled {
            one,
            other,
            happened,
        } => {
            let history = History { ops, happened };
            let (values, others) = (history.run(one)?, history.run(other)?);
            ensure(
                values.iter().all(|value| !others.contains(value)),
                "the runs share a value",
            )?;
            history.cannot_be_first(one, other)?;
            history.cannot_be_first(other, one)
        }
        RegisterReason::NotDifferent {
            before,
            operation: failed,
            after,
            happened,
        } => {
            let history = History { ops, happened };
            let failed = operation(ops, *failed)?;
            let is_failure = failed.kind == RegisterKind::Differs && answered(&failed);
            ensure(is_failure, "this is no failed compare-and-set")?;
            history.unique(failed.value)?;
            let after = history.happened(*after)?;
            ensure(
                found(&after) == Some(failed.value),
                "the value was not found afterwards",
            )?;
            ensure(
                precedes(&failed, &after),
                "it may have been overwritten in time",
            )?;
            let Some(before) = before else {
                return ensure(failed.value == 0, "this is not the initial value");
            };
            let before = history.happened(*before)?;
            ensure(
                leaves(&before) == Some(failed.value),
                "it left another value",
            )?;
            ensure(precedes(&before, &failed), "it may have been written late")
        }
    }
}

/// Whether an operation replaced one value by another that it found.
fn replaces(op: &Op) -> bool {
    matches!(op.kind, RegisterKind::Cas { from } if from != op.value)
}

/// The value that an operation wrote.
fn written(op: &Op) -> Option<u32> {
    (op.kind == RegisterKind::Write || replaces(op)).then_some(op.value)
}

/// The value that the register holds after an operation, if the operation says so.
fn leaves(op: &Op) -> Option<u32> {
    (op.kind != RegisterKind::Differs).then_some(op.value)
}

/// The value that an operation found, if it says so.
fn found(op: &Op) -> Option<u32> {
    match op.kind {
        RegisterKind::Read => Some(op.value),
        RegisterKind::Cas { from } => Some(from),
        RegisterKind::Write | RegisterKind::Differs => None,
    }
}

struct History<'a> {
    ops: &'a [Op],
    happened: &'a [u32],
}

impl History<'_> {
    fn writers(&self, value: u32) -> usize {
        let writes = |op: &&Op| written(op) == Some(value);
        self.ops.iter().filter(writes).count()
    }

    /// Makes sure that a value, once overwritten, never comes back.
    fn unique(&self, value: u32) -> Proved {
        let most = usize::from(value != 0);
        ensure(
            self.writers(value) <= most,
            "a value was written more than once",
        )
    }

    /// An operation that certainly happened.
    fn happened(&self, at: u32) -> Result<Op, Unproved> {
        let op = operation(self.ops, at)?;
        let mut last = op;
        for _ in 0..=self.happened.len() {
            if answered(&last) {
                return Ok(op);
            }
            let value = written(&last).ok_or(Unproved("an operation need not have happened"))?;
            self.unique(value)?;
            let all = self.happened.iter();
            let mut all = all.filter_map(|at| self.ops.get(*at as usize));
            let observer =
                all.find(|op| found(op) == Some(value) && (answered(op) || replaces(op)));
            last = *observer.ok_or(Unproved("an operation need not have happened"))?;
        }
        Err(Unproved("an operation need not have happened"))
    }

    fn cas(&self, at: u32) -> Result<Op, Unproved> {
        let op = self.happened(at)?;
        ensure(replaces(&op), "this is no compare-and-set")?;
        Ok(op)
    }

    /// Makes sure that compare-and-sets lead from an operation to another, and returns the values held on the way.
    fn before(&self, first: &Op, second: &Op, links: &[u32]) -> Result<Vec<u32>, Unproved> {
        let mut value = leaves(first).ok_or(Unproved("it left no known value"))?;
        let mut values = vec![value];
        self.unique(value)?;
        for link in links {
            let link = self.cas(*link)?;
            ensure(found(&link) == Some(value), "the chain is broken")?;
            value = link.value;
            self.unique(value)?;
            values.push(value);
        }
        ensure(found(second) == Some(value), "the chain leads elsewhere")?;
        Ok(values)
    }

    /// The values that are held during a run.
    fn run(&self, run: &Run) -> Result<Vec<u32>, Unproved> {
        let invoked = self.happened(run.invoked)?;
        let Some(completed) = run.completed else {
            let initial = Op {
                kind: RegisterKind::Write,
                value: 0,
                invoke: 0,
                complete: 0,
            };
            return self.before(&initial, &invoked, &run.links);
        };
        let completed_op = self.happened(completed)?;
        if completed == run.invoked {
            let value = leaves(&invoked).ok_or(Unproved("it left no known value"))?;
            self.unique(value)?;
            return Ok(vec![value]);
        }
        let forwards = self.before(&completed_op, &invoked, &run.links);
        forwards.or_else(|_| self.before(&invoked, &completed_op, &run.links))
    }

    /// Makes sure that a run cannot be before another: an operation of the other completed before one of it was
    /// invoked.
    fn cannot_be_first(&self, run: &Run, other: &Run) -> Proved {
        let invoked = operation(self.ops, run.invoked)?;
        let Some(completed) = other.completed else {
            // Nothing is before the initial value.
            return Ok(());
        };
        let completed = operation(self.ops, completed)?;
        ensure(
            precedes(&completed, &invoked),
            "this run may have come first",
        )
    }
}
