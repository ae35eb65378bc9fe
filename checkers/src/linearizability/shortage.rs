//! An upper bound that counts: a value that was seen more often than it can have been written.
//!
//! Look at one value of a register only. Some operations tell that it certainly was there at some
//! moment between their invocation and their return, others that it certainly was not. Take a chain
//! of them, each beginning after the last has returned, in which the two kinds take turns. Between
//! each moment of absence and the next moment of presence the value *came*, and each time it came an
//! operation that writes it took effect. These are different operations, as each takes effect once.
//! So each coming needs an operation of its own that was invoked before the presence ended and had
//! not returned when the absence began. Giving each coming, in order, the one that returns first is
//! the best that can be done, as with any jobs that have deadlines (Glover 1967). When there is none
//! left, there is no order: the comings that took what there was, and those that took what these
//! could have been given instead, and so on, are more than all that can explain any of them (Hall 1935).
//!
//! This takes n log n for each value, counts crashed operations exactly, and gives a proof that
//! a person can check: so many comings, so few operations.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::model::RegisterOp;
use super::steps::Step;

/// Values are looked at one by one while there are at most so many.
const VALUES: usize = 64;

/// A value came more often than it can have been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    pub(super) value: u32,
    /// The return of the last operation that saw it.
    pub(super) at: u64,
    /// When it came, in order. Together these are more than the operations that could have written
    /// it in any of them.
    pub(super) comings: Vec<Coming>,
}

/// A value was absent at some moment, and present at a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coming {
    /// The invocation of an operation that tells of absence.
    pub(super) absent: u64,
    /// The invocation of a later operation that tells of presence.
    pub(super) present: u64,
    /// The return of that.
    pub(super) end: u64,
}

/// An operation with the events between which it took effect, if it did.
#[derive(Clone, Copy)]
struct Timed {
    op: RegisterOp,
    invoke: u64,
    /// `None` if it need not have taken effect.
    end: Option<u64>,
}

impl Timed {
    fn ends(&self) -> u64 {
        self.end.unwrap_or(u64::MAX)
    }

    /// Whether it can have taken effect between the absence and the presence.
    fn can_explain(&self, coming: &Coming) -> bool {
        self.invoke < coming.end && self.ends() > coming.absent
    }
}

/// A value that came too often, if there is one: the one for which that is certain first.
///
/// `earlier` are operations that may take effect yet when the steps begin.
pub(super) fn find(
    earlier: &[(RegisterOp, Option<u64>)],
    steps: &[(Step<RegisterOp>, u64)],
) -> Option<Shortage> {
    let last = steps.last()?.1;
    let before = earlier.iter().map(|(op, end)| Timed {
        op: *op,
        invoke: 0,
        end: *end,
    });
    let called = steps.iter().filter_map(|(step, index)| {
        let (op, end) = match *step {
            Step::Call(_, op, end) => (op, Some(end)),
            Step::Crash(op) => (op, None),
            Step::Return(_) => return None,
        };
        Some(Timed {
            op,
            invoke: *index,
            end,
        })
    });
    let mut ops: Vec<Timed> = before.chain(called).collect();
    for op in &mut ops {
        op.end = op.end.filter(|end| *end <= last);
    }
    // Those that began earlier tell nothing: it may have been before the steps.
    let told = ops.iter().skip(earlier.len()).copied();
    let mut told: Vec<Timed> = told.filter(|op| op.end.is_some()).collect();
    told.sort_by_key(|op| op.end);
    let mut written: BTreeMap<u32, Vec<Timed>> = BTreeMap::new();
    for op in &ops {
        if let Some(value) = op.op.writes() {
            written.entry(value).or_default().push(*op);
        }
    }
    if written.len() > VALUES {
        return None;
    }
    let shortages = written.iter().filter_map(|(value, writers)| {
        let comings = comings(*value, &told);
        first_shortage(*value, &comings, writers)
    });
    shortages.min_by_key(|shortage| shortage.at)
}

/// As many comings of a value as there certainly were, each as late as it can have begun.
fn comings(value: u32, told: &[Timed]) -> Vec<Coming> {
    let mut comings = Vec::new();
    // Since the last presence: returns of absences, and the latest invocation among them so far.
    let mut absences: Vec<(u64, u64)> = Vec::new();
    let mut since = None;
    for op in told {
        let Some(end) = op.end else { continue };
        if is_absence(op.op, value) && since.is_none_or(|since| op.invoke > since) {
            let latest = absences.last().map_or(0, |(_, latest)| *latest);
            absences.push((end, latest.max(op.invoke)));
        }
        if is_presence(op.op, value) {
            let before = absences.partition_point(|(end, _)| *end < op.invoke);
            let Some((_, absent)) = before.checked_sub(1).map(|at| absences[at]) else {
                continue;
            };
            comings.push(Coming {
                absent,
                present: op.invoke,
                end,
            });
            since = Some(end);
            absences.clear();
        }
    }
    comings
}

fn is_presence(op: RegisterOp, value: u32) -> bool {
    match op {
        RegisterOp::Read(seen) | RegisterOp::Write(seen) => seen == value,
        RegisterOp::Cas(from, to) => from == value || to == value,
        RegisterOp::Differs(_) => false,
    }
}

fn is_absence(op: RegisterOp, value: u32) -> bool {
    match op {
        RegisterOp::Read(seen) | RegisterOp::Write(seen) => seen != value,
        RegisterOp::Differs(not) => not == value,
        RegisterOp::Cas(..) => true,
    }
}

/// The first coming for which no operation is left, with those that took what there was.
fn first_shortage(value: u32, comings: &[Coming], writers: &[Timed]) -> Option<Shortage> {
    let mut writers = writers.to_vec();
    writers.sort_by_key(|op| op.invoke);
    let mut begun = 0;
    let mut ready = BinaryHeap::new();
    // By writer: the coming that it was given to.
    let mut given: Vec<Option<usize>> = vec![None; writers.len()];
    for (at, coming) in comings.iter().enumerate() {
        while let Some(op) = writers.get(begun).filter(|op| op.invoke < coming.end) {
            ready.push(Reverse((op.ends(), begun)));
            begun += 1;
        }
        let in_time = std::iter::from_fn(|| ready.pop()).find(|it| it.0.0 > coming.absent);
        if let Some(Reverse((_, writer))) = in_time {
            given[writer] = Some(at);
            continue;
        }
        return Some(Shortage {
            value,
            at: coming.end,
            comings: rivals(at, comings, &writers, &given),
        });
    }
    None
}

/// The comings that took, directly or by turns, all that the coming `at` could have been given.
fn rivals(
    at: usize,
    comings: &[Coming],
    writers: &[Timed],
    given: &[Option<usize>],
) -> Vec<Coming> {
    let mut left: Vec<usize> = (0..writers.len()).collect();
    let mut found = vec![at];
    let mut next = 0;
    while let Some(coming) = found.get(next).map(|at| comings[*at]) {
        next += 1;
        left.retain(|writer| {
            let helps = writers[*writer].can_explain(&coming);
            if helps {
                found.extend(given[*writer]);
            }
            !helps
        });
    }
    found.sort_unstable();
    found.into_iter().map(|at| comings[at]).collect()
}
