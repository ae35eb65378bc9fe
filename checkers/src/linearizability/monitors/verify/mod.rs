//! Proves the reasons of violations again, from the operations alone.
//!
//! Nothing here is shared with the monitors: each reason is checked by its definition, in the simplest way. What is
//! checked is that *any* history with these operations in it is impossible, given how often values are put in
//! and who could have taken them out in the whole history.

mod collection;
mod register;
mod small;

pub use collection::collection;
pub use register::register;
pub use small::{counter, grow_set, set};

use thiserror::Error;

use super::{NEVER, Operation};

/// What is wrong with a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a proof: {0}")]
pub struct Unproved(pub(super) &'static str);

type Proved = Result<(), Unproved>;

fn ensure(holds: bool, what: &'static str) -> Proved {
    if holds { Ok(()) } else { Err(Unproved(what)) }
}

fn operation<K: Copy>(ops: &[Operation<K>], at: u32) -> Result<Operation<K>, Unproved> {
    ops.get(at as usize)
        .copied()
        .ok_or(Unproved("no such operation"))
}

/// Whether the first operation completed before the second was invoked.
fn precedes<K>(first: &Operation<K>, second: &Operation<K>) -> bool {
    first.complete < second.invoke
}

fn answered<K>(op: &Operation<K>) -> bool {
    op.complete != NEVER
}
