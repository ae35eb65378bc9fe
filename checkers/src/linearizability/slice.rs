//! Sub-histories that stand for the whole: if one of them is impossible, so is the history.
//!
//! Leaving out an operation that only observes can never make a possible history impossible.
//! Leaving out one that writes can, if somebody who stays saw what it wrote. So a sub-history is
//! *closed* when every operation in it that saw a value comes with all operations that it could
//! have seen it from. These are the operations that wrote the value, began before the observer
//! ended, and were not certainly overwritten before the observer began, by an operation of the
//! sub-history that began after they had ended. A compare-and-set that comes without them counts as
//! a write of its new value: what it found is not asked. Otherwise one that crashed long ago, and
//! may take effect at any time since, could only be had with everything that happened since.
//!
//! Why that is enough: take an order in which the whole history is possible and strike out what is
//! not in the sub-history. What an observer saw was written by the last change before it. That
//! change is in the sub-history, as it could have been seen from, and nothing came between them, so
//! the observer still sees the same. A write is possible wherever a compare-and-set was.

use rustc_hash::FxHashMap;

use super::log::LoggedOp;
use super::model::{Machine, Register, RegisterOp};
use super::registers::Logged;

/// An operation of a history that ends with a certain event.
#[derive(Clone, Copy, Debug)]
pub(super) struct SliceOp<O> {
    pub(super) op: O,
    pub(super) invoke: u64,
    /// The event before which it certainly happened, if there is one.
    pub(super) returned: Option<u64>,
    /// Where it stands in the log.
    pub(super) at: usize,
}

impl<O> SliceOp<O> {
    fn end(&self) -> u64 {
        self.returned.unwrap_or(u64::MAX)
    }
}

/// A sub-history: positions in [`Whole::ops`], ascending.
pub(super) type Members = Vec<u32>;

/// A history that ends with a certain event, prepared for taking sub-histories.
pub(super) trait Whole {
    /// What moves from state to state.
    type Machine: Machine;

    /// All its operations, in order of invocation.
    fn ops(&self) -> &[SliceOp<<Self::Machine as Machine>::Op>];

    /// A new object, and its first state.
    fn object(&self) -> (Self::Machine, u32);

    /// Drops members that could need something that is not a member, until the rest is closed.
    /// Returns the operations of the rest as they count in it.
    fn close(&self, members: &mut Members) -> Vec<SliceOp<<Self::Machine as Machine>::Op>>;

    /// An operation with those that it could not have happened without, closed; `None` where these are
    /// many, or cannot be told.
    fn needed_by(&self, _at: u32) -> Option<Members> {
        None
    }

    /// The operations that returned at `from` or later, or never.
    fn since(&self, from: u64) -> Members {
        let ops = self.ops();
        (0..ops.len() as u32)
            .filter(|at| ops[*at as usize].end() >= from)
            .collect()
    }
}

/// What had been invoked, and what had returned, when the event `end` had happened, of operations with
/// their positions in the log. What only observes
/// and had not returned says nothing.
pub(super) fn slice_ops<'a, O: Copy + 'a, T: 'a>(
    log: impl Iterator<Item = (usize, &'a LoggedOp<O, T>)>,
    end: u64,
    is_observation: impl Fn(O) -> bool,
) -> Vec<SliceOp<O>> {
    log.filter(|(_, logged)| logged.invoke <= end)
        .map(|(at, logged)| SliceOp {
            op: logged.op,
            invoke: logged.invoke,
            returned: logged.returned().filter(|index| *index <= end),
            at,
        })
        .filter(|op| op.returned.is_some() || !is_observation(op.op))
        .collect()
}

/// A history of a register.
pub(super) struct RegisterWhole {
    ops: Vec<SliceOp<RegisterOp>>,
    initial: u32,
    /// Operations that change something, by what they write, those that ended last first.
    writers: FxHashMap<u32, Vec<u32>>,
    /// The last completion among operations that are not known any more.
    forgotten: Option<u64>,
}

impl Whole for RegisterWhole {
    type Machine = Register;

    fn ops(&self) -> &[SliceOp<RegisterOp>] {
        &self.ops
    }

    fn object(&self) -> (Register, u32) {
        (Register, self.initial)
    }

    fn close(&self, members: &mut Members) -> Vec<SliceOp<RegisterOp>> {
        let barriers = self.barriers(members);
        let mut outside = Outside::new(self, members);
        let mut closed = Members::new();
        let mut ops = Vec::new();
        for at in members.iter() {
            let mut op = self.ops[*at as usize];
            if !self.is_justified(*at, &mut outside, &barriers) {
                match op.op {
                    RegisterOp::Cas(_, to) => op.op = RegisterOp::Write(to),
                    // Nobody sees these, so that the others are as justified without them.
                    _ => continue,
                }
            }
            closed.push(*at);
            ops.push(op);
        }
        *members = closed;
        ops
    }
}

impl RegisterWhole {
    /// What had been invoked, and what had returned, when the event `end` had happened.
    pub(super) fn new<'a>(
        log: impl Iterator<Item = (usize, &'a Logged)>,
        initial: u32,
        forgotten: Option<u64>,
        end: u64,
    ) -> RegisterWhole {
        let ops = slice_ops(log, end, RegisterOp::is_observation);
        let mut writers: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for (at, op) in ops.iter().enumerate() {
            if let Some(value) = op.op.writes() {
                writers.entry(value).or_default().push(at as u32);
            }
        }
        for list in writers.values_mut() {
            list.sort_by_key(|at| std::cmp::Reverse(ops[*at as usize].end()));
        }
        RegisterWhole {
            ops,
            initial,
            writers,
            forgotten,
        }
    }

    /// Whether all that an operation could have seen is a member.
    fn is_justified(&self, at: u32, outside: &mut Outside<'_>, barriers: &Barriers) -> bool {
        let observer = &self.ops[at as usize];
        if observer.op.is_overwrite() {
            return true;
        }
        let barrier = barriers.before(observer.invoke);
        if self.forgotten.is_some_and(|last| last >= barrier) {
            return false;
        }
        let times = (barrier, observer.end());
        match observer.op {
            RegisterOp::Read(value) | RegisterOp::Cas(value, _) => !outside.writes(value, times),
            RegisterOp::Differs(not) => self
                .writers
                .keys()
                .all(|value| *value == not || !outside.writes(*value, times)),
            RegisterOp::Write(_) => true,
        }
    }

    fn barriers(&self, members: &Members) -> Barriers {
        let sure = members
            .iter()
            .map(|at| &self.ops[*at as usize])
            .filter(|op| !op.op.is_observation())
            .filter_map(|op| op.returned.map(|returned| (returned, op.invoke)));
        Barriers::new(sure)
    }
}

/// The operations of a history that are not in a sub-history.
struct Outside<'a> {
    whole: &'a RegisterWhole,
    is_member: Vec<bool>,
    /// By value: how many of its writers, those that ended last, are members. Mostly those that
    /// never ended, which are many and would be looked at again and again.
    skipped: FxHashMap<u32, usize>,
}

impl<'a> Outside<'a> {
    fn new(whole: &'a RegisterWhole, members: &Members) -> Outside<'a> {
        let mut is_member = vec![false; whole.ops.len()];
        for at in members {
            is_member[*at as usize] = true;
        }
        Outside {
            whole,
            is_member,
            skipped: FxHashMap::default(),
        }
    }

    /// Whether one of them writes the value, ended at `from` or later, and began before `to`.
    fn writes(&mut self, value: u32, (from, to): (u64, u64)) -> bool {
        let Some(writers) = self.whole.writers.get(&value) else {
            return false;
        };
        let is_member = &self.is_member;
        let inside = |at: &&u32| is_member[**at as usize];
        let count = || writers.iter().take_while(inside).count();
        let skipped = *self.skipped.entry(value).or_insert_with(count);
        let late = writers[skipped..]
            .iter()
            .map(|at| (at, &self.whole.ops[*at as usize]));
        late.take_while(|(_, op)| op.end() >= from)
            .any(|(at, op)| op.invoke < to && !inside(&at))
    }
}

/// Before which event a change must have ended to be certainly overwritten before another event.
struct Barriers {
    /// For the completion of each certain change, ascending: the latest invocation among the
    /// changes that completed no later.
    latest: Vec<(u64, u64)>,
}

impl Barriers {
    fn new(sure: impl Iterator<Item = (u64, u64)>) -> Barriers {
        let mut latest: Vec<(u64, u64)> = sure.collect();
        latest.sort_unstable();
        let mut most = 0;
        for (_, invoke) in &mut latest {
            most = most.max(*invoke);
            *invoke = most;
        }
        Barriers { latest }
    }

    /// The barrier for an observer that began with the event `invoke`.
    fn before(&self, invoke: u64) -> u64 {
        let at = self
            .latest
            .partition_point(|(returned, _)| *returned < invoke);
        at.checked_sub(1).map_or(0, |at| self.latest[at].1)
    }
}
