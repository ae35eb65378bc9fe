//! What to do next: pure state machines that say which operation comes when.
//!
//! A [`Generator`] is asked with [`peek`](Generator::peek) what would come next in a
//! [`Context`]: it is done, it is waiting for something, or it has an operation for a thread at a
//! time. Peeking changes nothing that can be seen. [`accept`](Generator::accept) commits the
//! operation that was peeked, and [`update`](Generator::update) tells the generator of operations
//! that completed.
//!
//! Random choices come from a [`Seed`](crate::seed::Seed) given at construction and from counters,
//! never from arrival order, so that each worker's stream of operations repeats under the seed.

use std::sync::Arc;

use store::{EventType, Name, Value};

use crate::client::Op;
use crate::time::Nanos;

mod threads;

pub use threads::ThreadSet;

/// Who performs operations, by number: client workers from 0, then the faults in the order of the
/// run's list. Threads outlive processes.
pub type Thread = usize;

/// What a generator sees of the run: the time, and which threads are free.
///
/// Contexts for some of the threads only are made by combinators; all parts are cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// Now, in nanoseconds since the run began.
    pub time: Nanos,
    /// All threads that this generator may use.
    pub threads: ThreadSet,
    /// Those of them that are free.
    pub free: ThreadSet,
    /// Where to look first for a free thread, so that all get their turn.
    pub next: Thread,
    /// What does not change during a run.
    pub roster: Arc<Roster>,
    /// The process of each client worker.
    pub processes: Arc<[u64]>,
}

/// The threads of a run.
#[derive(Clone, Debug)]
pub struct Roster {
    /// How many client workers there are; they are threads `0..workers`.
    pub workers: usize,
    /// The nodes; worker `i` is pinned to `nodes[i % nodes.len()]`.
    pub nodes: Vec<Name>,
    /// The faults; fault `k` is thread `workers + k`.
    pub nemeses: Vec<Name>,
}

/// An operation that a generator has ready.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// When to begin it; not before. A time in the past means at once.
    pub time: Nanos,
    /// Who performs it: a free thread.
    pub thread: Thread,
    /// What to do.
    pub op: Op,
}

/// What would come next.
#[derive(Clone, Debug, PartialEq)]
pub enum Peek {
    /// Nothing, ever again.
    Done,
    /// Nothing now: it waits for a thread to become free, or for an update.
    Pending,
    /// This operation.
    Op(Planned),
}

/// An operation that completed, as generators are told.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// Who performed it.
    pub thread: Thread,
    /// What was asked.
    pub op: &'a Op,
    /// How it ended: `Ok`, `Fail` or `Info`.
    pub kind: EventType,
    /// The completion's value.
    pub value: &'a Value,
    /// The class of its error, if it has one.
    pub error: Option<&'a str>,
}

/// A state machine that yields operations.
pub trait Generator: Send {
    /// What would come next in this context. May cache, but changes nothing that can be seen: asked
    /// again with the same context it answers the same.
    fn peek(&mut self, ctx: &Context) -> Peek;

    /// Commits an operation. It is the one that the last `peek` answered for this same context.
    fn accept(&mut self, ctx: &Context, planned: &Planned);

    /// Tells of a completed operation (of any thread of the context, also of other generators').
    fn update(&mut self, _ctx: &Context, _update: &Update<'_>) {}
}

/// A generator of any kind.
pub type BoxGenerator = Box<dyn Generator>;
