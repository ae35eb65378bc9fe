//! Proves violations of sets, counters and growing sets again.

use super::super::Operation;
use super::super::counter::{CounterKind, CounterReason};
use super::super::grow_set::{GrowSetKind, GrowSetReason};
use super::super::set::{SetKind, SetReason};
use super::{Proved, Unproved, answered, ensure, operation, precedes};

/// Proves that a history of a set is impossible for a reason.
///
/// # Errors
///
/// What of the reason does not hold.
pub fn set(ops: &[Operation<SetKind>], reason: &SetReason) -> Proved {
    let present = |at: u32| {
        let op = operation(ops, at)?;
        ensure(
            op.kind != SetKind::Absent && answered(&op),
            "this did not see the value",
        )?;
        Ok(op)
    };
    let removal = |at: u32| {
        let op = present(at)?;
        ensure(op.kind == SetKind::Remove, "this is no removal")?;
        Ok(op)
    };
    let adds = |value: u32| {
        let adds = ops
            .iter()
            .filter(move |op| op.kind == SetKind::Add && op.value == value);
        adds.count()
    };
    match *reason {
        SetReason::NeverAdded { observer } => {
            ensure(adds(present(observer)?.value) == 0, "the value was added")
        }
        SetReason::ObservedEarly { add, observer } => {
            let (add, observer) = (operation(ops, add)?, present(observer)?);
            let only =
                add.kind == SetKind::Add && add.value == observer.value && adds(add.value) == 1;
            ensure(only, "this is not the only addition")?;
            ensure(precedes(&observer, &add), "it may have been added in time")
        }
        SetReason::RemovedTwice { first, second } => {
            let (one, other) = (removal(first)?, removal(second)?);
            ensure(
                first != second && one.value == other.value,
                "these are not two of one value",
            )?;
            ensure(adds(one.value) < 2, "the value was added twice")
        }
        SetReason::ObservedLate {
            removal: at,
            observer,
        } => {
            let (removal, observer) = (removal(at)?, present(observer)?);
            ensure(
                removal.value == observer.value,
                "these are of different values",
            )?;
            ensure(adds(removal.value) < 2, "the value was added twice")?;
            ensure(
                precedes(&removal, &observer),
                "it may still have been present",
            )
        }
        SetReason::Missed {
            since,
            absent,
            until,
        } => {
            let (since, absent) = (present(since)?, operation(ops, absent)?);
            ensure(
                absent.kind == SetKind::Absent && answered(&absent),
                "this saw no absence",
            )?;
            ensure(since.value == absent.value, "these are of different values")?;
            ensure(adds(since.value) == 1, "the value was not added once")?;
            ensure(precedes(&since, &absent), "it may have been added later")?;
            let until = until.map(|until| operation(ops, until)).transpose()?;
            if let Some(until) = until {
                ensure(
                    precedes(&absent, &until),
                    "it may have been removed earlier",
                )?;
                ensure(until.value == since.value, "these are of different values")?;
                if until.kind != SetKind::Absent && (answered(&until) || until.kind == SetKind::Add)
                {
                    return Ok(());
                }
            }
            let removals = || {
                ops.iter()
                    .filter(|op| op.kind == SetKind::Remove && op.value == since.value)
            };
            ensure(!removals().any(answered), "the value was removed")?;
            let first = removals().map(|op| op.invoke).min();
            ensure(
                first == until.map(|until| until.invoke),
                "it may have been removed earlier",
            )
        }
    }
}

/// Proves that a history of a counter is impossible for a reason.
///
/// # Errors
///
/// What of the reason does not hold.
pub fn counter(ops: &[Operation<CounterKind>], reason: &CounterReason) -> Proved {
    let read = |at: u32| {
        let op = operation(ops, at)?;
        ensure(
            op.kind == CounterKind::Read && answered(&op),
            "this read nothing",
        )?;
        Ok(op)
    };
    let sum = |counts: &dyn Fn(&Operation<CounterKind>) -> bool| {
        let adds = ops
            .iter()
            .filter(|op| op.kind == CounterKind::Add && counts(op));
        adds.map(|op| u64::from(op.value)).sum::<u64>()
    };
    match *reason {
        CounterReason::NoSum { read: at } => {
            let read = read(at)?;
            let mut divisor = 0;
            for add in ops.iter().filter(|op| op.kind == CounterKind::Add) {
                let mut rest = add.value;
                while rest != 0 {
                    (divisor, rest) = (rest, divisor % rest);
                }
            }
            ensure(
                divisor != 0 && !read.value.is_multiple_of(divisor),
                "it may be a sum",
            )
        }
        CounterReason::TooFew { read: at } => {
            let read = read(at)?;
            let begun = sum(&|op| op.invoke < read.complete);
            ensure(begun < u64::from(read.value), "there were enough additions")
        }
        CounterReason::TooMany { earlier, read: at } => {
            let later = read(at)?;
            let earlier = earlier.map(read).transpose()?;
            if let Some(earlier) = &earlier {
                ensure(
                    precedes(earlier, &later),
                    "the reads may have come in another order",
                )?;
            }
            let before = earlier.map_or(0, |earlier| u64::from(earlier.value));
            let added = sum(&|op| {
                precedes(op, &later) && earlier.is_none_or(|earlier| precedes(&earlier, op))
            });
            ensure(
                before + added > u64::from(later.value),
                "the read may have seen that",
            )
        }
    }
}

/// Proves that a history of a growing set is impossible for a reason.
///
/// # Errors
///
/// What of the reason does not hold.
pub fn grow_set(
    ops: &[Operation<GrowSetKind>],
    contents: &[u32],
    reason: &GrowSetReason,
) -> Proved {
    let read = |at: u32| {
        let op = operation(ops, at)?;
        let GrowSetKind::Read { from, to } = op.kind else {
            return Err(Unproved("this is no read"));
        };
        ensure(answered(&op), "this read nothing")?;
        let seen = contents
            .get(from as usize..to as usize)
            .ok_or(Unproved("no such contents"))?;
        Ok((op, seen))
    };
    let add = |at: u32| {
        let op = operation(ops, at)?;
        ensure(op.kind == GrowSetKind::Add, "this is no addition")?;
        Ok(op)
    };
    let invoked_after = |position: u32, value: u32| {
        let mut adds = ops
            .iter()
            .filter(|op| op.kind == GrowSetKind::Add && op.value == value);
        adds.all(|op| op.invoke > position)
    };
    match *reason {
        GrowSetReason::NeverAdded { read: at, value } => {
            ensure(read(at)?.1.contains(&value), "it was not read")?;
            ensure(invoked_after(u32::MAX, value), "it was added")
        }
        GrowSetReason::Incomparable { first, second } => {
            let (one, other) = (read(first.0)?.1, read(second.0)?.1);
            let only = one.contains(&first.1) && !other.contains(&first.1);
            let only_other = other.contains(&second.1) && !one.contains(&second.1);
            ensure(only && only_other, "one may have come after the other")
        }
        GrowSetReason::Shrunk {
            first,
            second,
            value,
        } => {
            let (first, second) = (read(first)?, read(second)?);
            ensure(
                precedes(&first.0, &second.0),
                "they may have come in another order",
            )?;
            ensure(
                first.1.contains(&value) && !second.1.contains(&value),
                "nothing is missing",
            )
        }
        GrowSetReason::Missed { add: at, read: by } => {
            let (add, (read, seen)) = (add(at)?, read(by)?);
            ensure(
                precedes(&add, &read) && !seen.contains(&add.value),
                "nothing is missing",
            )
        }
        GrowSetReason::ReadEarly { add: at, read: by } => {
            let (add, (read, seen)) = (add(at)?, read(by)?);
            ensure(seen.contains(&add.value), "it was not read")?;
            ensure(
                invoked_after(read.complete, add.value),
                "it may have been added in time",
            )
        }
        GrowSetReason::Skipped {
            early,
            late,
            read: by,
        } => {
            let (early, late, (_, seen)) = (add(early)?, add(late)?, read(by)?);
            let skipped = seen.contains(&late.value) && !seen.contains(&early.value);
            ensure(skipped && answered(&early), "nothing is missing")?;
            ensure(
                invoked_after(early.complete, late.value),
                "they may have come in another order",
            )
        }
    }
}
