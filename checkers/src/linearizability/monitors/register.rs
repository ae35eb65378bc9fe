//! Registers with compare-and-set, every value of which is written once.
//!
//! A value and the reads of it form a *cluster*: in any order that a register allows, they come one after the
//! other, the write first, with no other write in between. A successful compare-and-set from `a` to `b` glues the
//! cluster of `b` to that of `a`, since `a` never comes back once it is overwritten. So the operations fall into
//! *blocks*: chains of clusters that begin with a plain write or with the initial value, and within a block
//! it is known who comes before whom.
//!
//! A block can be placed at one moment if its last invocation comes before its first completion. Otherwise the
//! register was certainly in its hands from the first completion to the last invocation. That is its
//! *zone*, and the history is linearizable if and only if (Gibbons and Korach 1997; as zones in Golab, Li and
//! Shah 2011)
//!
//! - within each block, no operation completes before one is invoked that must come first;
//! - no two zones of the second kind overlap, and none of the first lies inside one of the second. For "an
//!   operation of `A` completes before one of `B` is invoked" forces `A` before `B`, and of the blocks in a circle of
//!   that relation, the one with the last invocation is forced both ways together with its successor;
//! - the block of the initial value comes before all others.
//!
//! A write without an answer whose value nobody saw can be left out: whatever came after it in an order
//! did not look at the register before it was overwritten again. One that was seen took place before the
//! first completion of those who saw it. The same holds for compare-and-sets.
//!
//! A compare-and-set that *failed* saw that the register was different from a value: see `register_failures`.

use crate::budget::{Budget, Exhausted};

use super::history::{History, Kind, Pace, Stop, widen};
use super::lives::NONE;
use super::register_failures;
use super::register_proof::Proof;
use super::{NEVER, NotApplicable, Operation, Outcome, Reason, conclude};

/// What an operation of a register did. The value that the register holds first has the number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterKind {
    /// Read the value.
    Read,
    /// Wrote the value.
    Write,
    /// Found another value, `from`, and replaced it by the value.
    Cas {
        /// What it found.
        from: u32,
    },
    /// A compare-and-set that found something else than the value.
    Differs,
}

impl Kind for RegisterKind {
    fn second(&mut self) -> Option<&mut u32> {
        match self {
            RegisterKind::Cas { from } => Some(from),
            _ => None,
        }
    }
}

/// Operations of one block with nothing else in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// One that completed. `None` is the initial value.
    pub completed: Option<u32>,
    /// One that was invoked, perhaps the same.
    pub invoked: u32,
    /// The compare-and-sets that lead from the value after the one that comes first to the value before the other.
    pub links: Vec<u32>,
}

/// Why a register is impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterReason {
    /// A value was seen that nobody wrote.
    NeverWritten {
        /// Who saw it.
        observer: u32,
        /// Observations which show that operations without an answer happened.
        happened: Vec<u32>,
    },
    /// Two compare-and-sets replaced the same value, which was written once.
    TwoSuccessors {
        /// One.
        first: u32,
        /// The other.
        second: u32,
        /// Observations which show that operations without an answer happened.
        happened: Vec<u32>,
    },
    /// Compare-and-sets each of which replaced what the one before it wrote, and the first what the last wrote.
    Circle {
        /// They.
        links: Vec<u32>,
        /// Observations which show that operations without an answer happened.
        happened: Vec<u32>,
    },
    /// An operation that must come after another completed before that was invoked.
    Backwards {
        /// The one that must come first: it wrote or saw a value.
        first: u32,
        /// The one that must come after it: it saw that value or one that replaced it.
        second: u32,
        /// The compare-and-sets that lead from the first's value to the one that the second saw.
        links: Vec<u32>,
        /// Observations which show that operations without an answer happened.
        happened: Vec<u32>,
    },
    /// Two runs, neither of which can come first: an operation of each completed before one of the other was
    /// invoked.
    Entangled {
        /// One.
        one: Run,
        /// The other.
        other: Run,
        /// Observations which show that operations without an answer happened.
        happened: Vec<u32>,
    },
    /// A failed compare-and-set, while the register certainly held what it says it did not.
    NotDifferent {
        /// An operation that left the value and completed before. `None` is the initial value.
        before: Option<u32>,
        /// The compare-and-set.
        operation: u32,
        /// An operation that found the value and was invoked after it.
        after: u32,
        /// Observations which show that operations without an answer happened.
        happened: Vec<u32>,
    },
}

impl Reason for RegisterReason {
    fn operations(&self) -> Vec<u32> {
        let (mut all, happened): (Vec<u32>, &[u32]) = match self {
            RegisterReason::NeverWritten { observer, happened } => (vec![*observer], happened),
            RegisterReason::TwoSuccessors {
                first,
                second,
                happened,
            } => (vec![*first, *second], happened),
            RegisterReason::Circle { links, happened } => (links.clone(), happened),
            RegisterReason::Backwards {
                first,
                second,
                links,
                happened,
            } => ([&[*first, *second], &links[..]].concat(), happened),
            RegisterReason::Entangled {
                one,
                other,
                happened,
            } => {
                let of = |run: &Run| {
                    let ends = run.completed.into_iter().chain([run.invoked]);
                    ends.chain(run.links.iter().copied()).collect::<Vec<u32>>()
                };
                ([of(one), of(other)].concat(), happened)
            }
            RegisterReason::NotDifferent {
                before,
                operation,
                after,
                happened,
            } => {
                let all = before.iter().copied().chain([*operation, *after]);
                (all.collect(), happened)
            }
        };
        all.extend(happened);
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A value, who wrote it and who saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    /// The write, or [`NONE`].
    pub(super) writer: u32,
    /// The compare-and-set that replaced the value and happened, or [`NONE`].
    pub(super) next: u32,
    /// The first completion of a read, or [`NEVER`].
    pub(super) first: u32,
    /// The last invocation of a read, if there is any.
    pub(super) last: u32,
    /// Whether anybody saw it, so that it was certainly written.
    pub(super) seen: bool,
}

impl Cluster {
    const UNKNOWN: Cluster = Cluster {
        writer: NONE,
        next: NONE,
        first: NEVER,
        last: 0,
        seen: false,
    };
}

/// Where a block begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// The first completion.
    pub(super) first: u32,
    /// The last invocation.
    pub(super) last: u32,
}

pub(super) type Op = Operation<RegisterKind>;
pub(super) type Checked<T> = Result<T, Stop<RegisterReason>>;

/// Decides whether a register is linearizable.
///
/// # Errors
///
/// Where the budget is used up.
pub fn check(ops: &[Op], budget: &dyn Budget) -> Result<Outcome<RegisterReason>, Exhausted> {
    let mut pace = Pace::new(budget);
    conclude(decide(ops, &mut pace))
}

fn decide(ops: &[Op], pace: &mut Pace<'_>) -> Checked<()> {
    let history = History::new(ops, pace).map_err(widen)?;
    let mut register = Register::new(&history, pace)?;
    register.link(pace)?;
    let blocks = register.blocks(pace)?;
    let order = register.order(&blocks, pace)?;
    match register.failed.is_empty() {
        true => Ok(()),
        false => register_failures::place(&mut register, blocks, order, pace),
    }
}

/// An order of the operations that happened, as a register allows it. `None` if there is none, or if the history has
/// compare-and-sets that failed.
///
/// # Errors
///
/// Where the budget is used up.
pub fn witness(ops: &[Op], budget: &dyn Budget) -> Result<Option<Vec<u32>>, Exhausted> {
    let mut pace = Pace::new(budget);
    let mut found = None;
    match find(ops, &mut found, &mut pace) {
        Err(Stop::Exhausted(exhausted)) => Err(exhausted),
        _ => Ok(found),
    }
}

fn find(ops: &[Op], found: &mut Option<Vec<u32>>, pace: &mut Pace<'_>) -> Checked<()> {
    let history = History::new(ops, pace).map_err(widen)?;
    let mut register = Register::new(&history, pace)?;
    register.link(pace)?;
    let blocks = register.blocks(pace)?;
    let order = register.order(&blocks, pace)?;
    if !register.failed.is_empty() {
        return Ok(());
    }
    // Each write, then the reads of its value.
    let mut ranks = pace.array(NONE, register.clusters.len())?;
    for (rank, value) in (0..).zip(order.iter().flat_map(|begin| register.chain(*begin))) {
        pace.step()?;
        ranks[value as usize] = rank;
    }
    let mut ranked = Vec::new();
    pace.hold::<(u32, bool, u32)>(ops.len())?;
    for (at, op) in (0..).zip(history.ops.iter()) {
        pace.step()?;
        let writes = Proof::writes(op).is_some();
        let rank = ranks[op.value as usize];
        if rank != NONE && (writes || op.complete != NEVER) {
            ranked.push((rank, !writes, at));
        }
    }
    ranked.sort_unstable();
    *found = Some(ranked.into_iter().map(|(_, _, at)| at).collect());
    Ok(())
}

/// The clusters of a history.
pub(super) struct Register<'a> {
    pub(super) history: &'a History<'a, RegisterKind>,
    pub(super) clusters: Vec<Cluster>,
    /// Compare-and-sets without an answer.
    unknown: Vec<u32>,
    /// Compare-and-sets that failed.
    pub(super) failed: Vec<u32>,
    /// By value: it shall not be written before this moment. Empty as long as nothing was put off.
    pub(super) put_off: Vec<u32>,
}

impl<'a> Register<'a> {
    fn new(history: &'a History<'a, RegisterKind>, pace: &mut Pace<'_>) -> Checked<Register<'a>> {
        let mut register = Register {
            history,
            clusters: pace.array(Cluster::UNKNOWN, history.values)?,
            unknown: Vec::new(),
            failed: Vec::new(),
            put_off: Vec::new(),
        };
        register.clusters[0].seen = true;
        for (at, op) in (0..).zip(history.ops.iter()) {
            pace.step()?;
            match op.kind {
                RegisterKind::Write => register.write(at, op.value)?,
                RegisterKind::Cas { from } if from != op.value => {
                    register.write(at, op.value)?;
                    match op.complete {
                        NEVER => register.unknown.push(at),
                        _ => register.replace(at, from)?,
                    }
                }
                _ if op.complete == NEVER => {}
                RegisterKind::Differs => register.failed.push(at),
                // A compare-and-set of a value to itself is a read.
                RegisterKind::Read | RegisterKind::Cas { .. } => {
                    let cluster = &mut register.clusters[op.value as usize];
                    cluster.first = cluster.first.min(op.complete);
                    cluster.last = cluster.last.max(op.invoke);
                    cluster.seen = true;
                }
            }
        }
        Ok(register)
    }

    fn write(&mut self, at: u32, value: u32) -> Result<(), NotApplicable> {
        let cluster = &mut self.clusters[value as usize];
        if value == 0 || cluster.writer != NONE {
            let first = if value == 0 { at } else { cluster.writer };
            return Err(NotApplicable::NotUnique { first, second: at });
        }
        cluster.writer = at;
        Ok(())
    }

    /// Notes that a compare-and-set happened.
    fn replace(&mut self, at: u32, from: u32) -> Checked<()> {
        let cluster = &mut self.clusters[from as usize];
        cluster.seen = true;
        if cluster.next == NONE {
            cluster.next = at;
            return Ok(());
        }
        // Whether values are unique is not known before the end.
        let first = cluster.next;
        let writers = |op: &&Op| Proof::writes(op) == Some(from);
        let writers = self
            .history
            .ops
            .iter()
            .enumerate()
            .filter(|(_, op)| writers(op));
        let initially = (from == 0).then_some(NONE);
        let mut writers = initially
            .into_iter()
            .chain(writers.map(|(at, _)| at as u32));
        if let (Some(first), Some(second)) = (writers.next(), writers.next()) {
            let first = if first == NONE { second } else { first };
            return Err(NotApplicable::NotUnique { first, second }.into());
        }
        let proof = Proof::new(self);
        Err(Stop::Violation(RegisterReason::TwoSuccessors {
            first,
            second: at,
            happened: proof.happened([first, at]),
        }))
    }

    /// Compare-and-sets without an answer happened if what they wrote was seen.
    fn link(&mut self, pace: &mut Pace<'_>) -> Checked<()> {
        for mut at in std::mem::take(&mut self.unknown) {
            loop {
                pace.step()?;
                let op = self.history.ops[at as usize];
                let RegisterKind::Cas { from } = op.kind else {
                    break;
                };
                let seen = self.clusters[op.value as usize].seen;
                if op.complete != NEVER || !seen || self.clusters[from as usize].next == at {
                    break;
                }
                let known = self.clusters[from as usize].seen;
                self.replace(at, from)?;
                at = self.clusters[from as usize].writer;
                if known || at == NONE {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a value was certainly written (or is the initial one).
    pub(super) fn is_present(&self, value: usize) -> bool {
        let cluster = &self.clusters[value];
        let answered = |writer: u32| self.history.ops[writer as usize].complete != NEVER;
        value == 0 || cluster.seen || (cluster.writer != NONE && answered(cluster.writer))
    }

    /// The blocks, by the value that each begins with.
    pub(super) fn blocks(&self, pace: &mut Pace<'_>) -> Checked<Vec<Option<Block>>> {
        let mut blocks = pace.array(None, self.clusters.len())?;
        let (mut present, mut placed) = (0, 0);
        for (value, cluster) in self.clusters.iter().enumerate() {
            pace.step()?;
            if !self.is_present(value) {
                continue;
            }
            present += 1;
            let writer = cluster.writer;
            if value != 0 && writer == NONE {
                return Err(Proof::new(self).never_written(value as u32));
            }
            let begins =
                value == 0 || self.history.ops[writer as usize].kind == RegisterKind::Write;
            if begins {
                let (block, count) = self.block(value as u32, pace)?;
                placed += count;
                blocks[value] = (value != 0 || block.first != NEVER).then_some(block);
            }
        }
        if placed < present {
            return Err(Proof::new(self).circle());
        }
        Ok(blocks)
    }

    /// A block, and of how many clusters it is.
    fn block(&self, begin: u32, pace: &mut Pace<'_>) -> Checked<(Block, u32)> {
        let mut block = Block {
            first: NEVER,
            last: 0,
        };
        let mut count = 0;
        for value in self.chain(begin) {
            pace.step()?;
            count += 1;
            let cluster = &self.clusters[value as usize];
            // First the write, then all reads, which may come in any order.
            let mut complete = cluster.first;
            if cluster.writer != NONE {
                let op = &self.history.ops[cluster.writer as usize];
                let put_off = self.put_off.get(value as usize).copied().unwrap_or(0);
                if op.complete < block.last.max(put_off) {
                    return Err(Proof::new(self).backwards(begin, block.last));
                }
                complete = complete.min(op.complete);
                block.last = block.last.max(op.invoke).max(put_off);
            }
            if cluster.first < block.last {
                return Err(Proof::new(self).backwards(begin, block.last));
            }
            block.first = block.first.min(complete);
            if cluster.first != NEVER {
                block.last = block.last.max(cluster.last);
            }
        }
        Ok((block, count))
    }

    /// The values of a block, in order.
    pub(super) fn chain(&self, begin: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(begin), |value| {
            let next = self.clusters[*value as usize].next;
            (next != NONE).then(|| self.history.ops[next as usize].value)
        })
    }

    /// An order of the blocks, by the values that they begin with.
    pub(super) fn order(&self, blocks: &[Option<Block>], pace: &mut Pace<'_>) -> Checked<Vec<u32>> {
        // By position: the block whose zone begins there; those that were put off come just after it.
        let mut begins = pace.array(NONE, self.history.end as usize)?;
        let mut late: Vec<(u32, u32)> = Vec::new();
        let mut count = 1;
        for (value, block) in (0..).zip(blocks).skip(1) {
            pace.step()?;
            let Some(block) = block else { continue };
            if let Some(initial) = blocks[0]
                && block.first < initial.last
            {
                return Err(Proof::new(self).entangled(0, value));
            }
            let begin = block.first.min(block.last);
            match self.put_off.get(value as usize) {
                Some(put_off) if *put_off != 0 => late.push((begin, value)),
                _ => begins[begin as usize] = value,
            }
            count += 1;
        }
        late.sort_unstable();
        let mut order = Vec::new();
        pace.hold::<u32>(count)?;
        order.reserve_exact(count);
        order.push(0);
        let (mut holder, mut until) = (NONE, 0);
        let mut late = late.into_iter().peekable();
        for (position, punctual) in (0..).zip(begins) {
            let mut late_here = || late.next_if(|(begin, _)| *begin == position);
            let mut next = Some(punctual).filter(|value| *value != NONE);
            next = next.or_else(|| late_here().map(|(_, value)| value));
            while let Some(value) = next {
                pace.step()?;
                if let Some(block) = blocks[value as usize] {
                    if block.first < until {
                        return Err(Proof::new(self).entangled(holder, value));
                    }
                    if block.first < block.last {
                        (holder, until) = (value, block.last);
                    }
                    order.push(value);
                }
                next = late_here().map(|(_, value)| value);
            }
        }
        Ok(order)
    }
}
