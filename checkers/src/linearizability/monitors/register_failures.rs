//! Places for compare-and-sets of a register that failed.
//!
//! Such an operation says that at some moment the register held something else than a value. If operations of the
//! value's own cluster show that it was held from before to after, the history is impossible. For the others, an order
//! of the blocks is made with each operation as early as those before it allow. There, an operation has no place only
//! if the value was written before the operation began and not overwritten before it ended. Then something is put
//! off: the value's own write until the operation has begun, if it can wait that long; or a write that came before
//! it, can still come after, and overwrites it in time; or a write or compare-and-set without an answer that had been
//! left out, as nobody saw what it wrote. All this only narrows what is allowed, so if all have places in the end, the
//! history is linearizable. If not, the monitor cannot tell.

use crate::budget::Exhausted;

use super::history::{Pace, Stop};
use super::lives::NONE;
use super::register::{Block, Checked, Op, Register, RegisterKind};
use super::register_proof::Proof;
use super::{NEVER, NotApplicable};

/// How often something is put off before giving up.
const ROUNDS: u32 = 32;

/// How many blocks before one are looked at for a write that can come after it.
const NEAR: usize = 64;

type Blocks = Vec<Option<Block>>;

pub(super) fn place(
    register: &mut Register<'_>,
    mut blocks: Blocks,
    mut order: Vec<u32>,
    pace: &mut Pace<'_>,
) -> Checked<()> {
    let ops = &register.history.ops;
    for failed in &register.failed {
        pace.step()?;
        if certainly_held(register, &ops[*failed as usize]) {
            return Err(Proof::new(register).not_different(*failed));
        }
    }
    let mut reserve = Reserve::default();
    for _ in 0..ROUNDS {
        let layout = Layout::new(register, &order, pace)?;
        let unplaced = layout.unplaced(register, pace)?;
        let Some(operation) = unplaced.first().copied() else {
            return Ok(());
        };
        let cannot_tell = NotApplicable::Differs { operation };
        if register.put_off.is_empty() {
            register.put_off = pace.array(0, register.clusters.len())?;
            reserve = Reserve::new(register, pace)?;
        }
        for operation in unplaced {
            pace.step()?;
            let op = register.history.ops[operation as usize];
            if let Some((value, moment)) = layout.put_off(&op, register, &blocks, &order) {
                register.put_off[value as usize] = moment;
            } else if !layout.call_up(&op, register, &blocks, &order, &reserve) {
                return Err(cannot_tell.into());
            }
        }
        let again = |stop| match stop {
            Stop::Exhausted(exhausted) => Stop::Exhausted(exhausted),
            // It is only what was put off that cannot be.
            _ => Stop::NotApplicable(cannot_tell),
        };
        blocks = register.blocks(pace).map_err(again)?;
        order = register.order(&blocks, pace).map_err(again)?;
    }
    let operation = register.failed.first().copied().unwrap_or(NONE);
    Err(NotApplicable::Differs { operation }.into())
}

/// Whether an operation of a value's cluster completed before an operation that denies the value, and one was invoked
/// after it.
fn certainly_held(register: &Register<'_>, denial: &Op) -> bool {
    let cluster = &register.clusters[denial.value as usize];
    let op = |at: u32| register.history.ops.get(at as usize);
    let written = op(cluster.writer).is_some_and(|writer| writer.complete < denial.invoke);
    let replaced = op(cluster.next).is_some_and(|next| next.invoke > denial.complete);
    let read = cluster.first != NEVER && cluster.last > denial.complete;
    (denial.value == 0 || written || cluster.first < denial.invoke) && (replaced || read)
}

/// When each value is held in an order.
struct Layout {
    /// By value: the moments at which it is written and overwritten.
    spans: Vec<(u32, u32)>,
    /// By value: the place of its block in the order.
    places: Vec<u32>,
}

impl Layout {
    fn new(
        register: &Register<'_>,
        order: &[u32],
        pace: &mut Pace<'_>,
    ) -> Result<Layout, Exhausted> {
        let count = register.clusters.len();
        let mut layout = Layout {
            spans: pace.array((0, NEVER), count)?,
            places: pace.array(NONE, count)?,
        };
        let (mut moment, mut before) = (0, 0);
        for (place, begin) in (0..).zip(order) {
            for value in register.chain(*begin) {
                pace.step()?;
                let cluster = &register.clusters[value as usize];
                layout.places[value as usize] = place;
                if let Some(writer) = register.history.ops.get(cluster.writer as usize) {
                    let put_off = register.put_off.get(value as usize).copied();
                    moment = moment.max(writer.invoke).max(put_off.unwrap_or(0));
                    layout.spans[before as usize].1 = moment;
                    layout.spans[value as usize].0 = moment;
                }
                if cluster.first != NEVER {
                    moment = moment.max(cluster.last);
                }
                before = value;
            }
        }
        Ok(layout)
    }

    /// The operations that have no place.
    fn unplaced(
        &self,
        register: &Register<'_>,
        pace: &mut Pace<'_>,
    ) -> Result<Vec<u32>, Exhausted> {
        let mut unplaced = Vec::new();
        for failed in &register.failed {
            pace.step()?;
            let op = &register.history.ops[*failed as usize];
            let (written, overwritten) = self.spans[op.value as usize];
            // The initial value was written before all.
            let since = op.value == 0 || written < op.invoke;
            if register.is_present(op.value as usize) && since && overwritten >= op.complete {
                unplaced.push(*failed);
            }
        }
        Ok(unplaced)
    }

    /// A value to be written later, so that an operation that denies a value has a place.
    fn put_off(
        &self,
        denial: &Op,
        register: &Register<'_>,
        blocks: &Blocks,
        order: &[u32],
    ) -> Option<(u32, u32)> {
        let value = denial.value;
        let cluster = &register.clusters[value as usize];
        let complete = |at: u32| register.history.ops.get(at as usize).map(|op| op.complete);
        let own = [cluster.writer, cluster.next]
            .into_iter()
            .filter_map(complete);
        if value != 0
            && own
                .chain([cluster.first])
                .all(|complete| complete > denial.invoke)
        {
            return Some((value, denial.invoke));
        }
        let (moment, place) = self.end(denial, register, blocks, order)?;
        let before = order[place.saturating_sub(NEAR)..place].iter().rev();
        let can_wait =
            |begin: &&u32| blocks[**begin as usize].is_some_and(|block| block.first > moment);
        let free = |begin: &&u32| **begin != 0 && register.put_off[**begin as usize] == 0;
        let other = before.filter(can_wait).find(free)?;
        Some((*other, moment))
    }

    /// If the value is the last of its block: the moment from which it can be overwritten so that an operation that
    /// denies it has a place, and the place of the block in the order.
    fn end(
        &self,
        denial: &Op,
        register: &Register<'_>,
        blocks: &Blocks,
        order: &[u32],
    ) -> Option<(u32, usize)> {
        let value = denial.value as usize;
        let place = self.places[value] as usize;
        let block = blocks[*order.get(place)? as usize];
        let end = block.map_or(0, |block| block.last);
        let moment = end.max(self.spans[value].0).max(denial.invoke);
        let is_last = register.clusters[value].next == NONE;
        (is_last && moment < denial.complete).then_some((moment, place))
    }

    /// Takes in an operation that had been left out. Whether there is one that overwrites the value in time.
    fn call_up(
        &self,
        denial: &Op,
        register: &mut Register<'_>,
        blocks: &Blocks,
        order: &[u32],
        reserve: &Reserve,
    ) -> bool {
        let Some((moment, _)) = self.end(denial, register, blocks, order) else {
            return false;
        };
        let ops = &register.history.ops;
        let in_time = |at: &&u32| {
            let op = ops.get(**at as usize);
            op.is_some_and(|op| {
                op.invoke < denial.complete && !register.is_present(op.value as usize)
            })
        };
        let begun = reserve
            .writes
            .partition_point(|at| ops[*at as usize].invoke < denial.complete);
        let near = reserve.writes[begun.saturating_sub(NEAR)..begun]
            .iter()
            .rev();
        let cas = reserve.cas.get(denial.value as usize);
        let found = cas.into_iter().chain(near).find(in_time).copied();
        let Some(at) = found else {
            return false;
        };
        let op = &ops[at as usize];
        if let RegisterKind::Cas { .. } = op.kind {
            register.clusters[denial.value as usize].next = at;
        }
        register.clusters[op.value as usize].seen = true;
        register.put_off[op.value as usize] = moment.max(op.invoke);
        true
    }
}

/// Operations without an answer that were left out.
#[derive(Default)]
struct Reserve {
    /// Writes, in order of invocation.
    writes: Vec<u32>,
    /// By value: a compare-and-set that would replace it, or [`NONE`].
    cas: Vec<u32>,
}

impl Reserve {
    fn new(register: &Register<'_>, pace: &mut Pace<'_>) -> Result<Reserve, Exhausted> {
        let mut reserve = Reserve {
            writes: Vec::new(),
            cas: pace.array(NONE, register.clusters.len())?,
        };
        for (at, op) in (0..).zip(register.history.ops.iter()) {
            pace.step()?;
            if op.complete != NEVER || register.is_present(op.value as usize) {
                continue;
            }
            match op.kind {
                RegisterKind::Write => reserve.writes.push(at),
                RegisterKind::Cas { from } if from != op.value => reserve.cas[from as usize] = at,
                _ => {}
            }
        }
        pace.hold::<u32>(reserve.writes.capacity())?;
        Ok(reserve)
    }
}
