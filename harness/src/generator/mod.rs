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
//!
//! # Building one
//!
//! Small generators make big ones. The leaves are an operation ([`op`]), a sequence ([`ops`]), a
//! function ([`from_fn`]) and a [`sleep`]; methods of [`GeneratorExt`] wrap one generator; functions
//! such as [`any`], [`mix`] and [`phases`] put several together. Names and meanings are Jepsen's.
//!
//! ```
//! use std::time::Duration;
//! use harness::client::Op;
//! use harness::generator::{GeneratorExt, clients_and_nemeses, cycle, from_fn, mix, op, phases, sleep};
//! use harness::{generators, json, seed::Seed};
//! use rand::RngExt;
//!
//! let seed = Seed::new(7);
//! let read = op(Op::new("read", json!(null))).repeat();
//! let write = from_fn(seed.named("write"), |rng, _call| {
//!     Some(Op::new("write", json!(rng.random_range(0..5))))
//! });
//! let faults = cycle(|_round| {
//!     phases(generators![
//!         sleep(Duration::from_secs(5)),
//!         op(Op::new("start", json!("majority"))),
//!         sleep(Duration::from_secs(5)),
//!         op(Op::new("stop", json!(null))),
//!     ])
//! });
//! // A hundred operations a second for half a minute, under partitions; then what every thread sees.
//! let main = clients_and_nemeses(
//!     mix(seed.named("mix"), generators![read, write])
//!         .stagger(seed.named("stagger"), Duration::from_millis(10)),
//!     faults.nemesis("partition"),
//! );
//! let end = harness::generator::each_thread(|_| op(Op::new("read", json!(null)))).clients();
//! let whole = phases(generators![main.time_limit(Duration::from_secs(30)), end]);
//! # let steps = harness::generator::simulate::perfect(5, whole);
//! # assert!(steps.len() > 2_000);
//! ```
//!
//! # Where this differs from Jepsen
//!
//! - A [`sleep`] holds up the generators after it in its sequence, not a thread, and a
//!   [`log`] is written when it is reached: neither is an operation.
//! - Copies ([`each_thread`], [`each_process`], [`cycle`]) are made by a function, since a Rust
//!   generator is not a value that can be used twice.
//! - [`mix`] and [`flip_flop`] pass updates on, and a `mix` does not wait for a member that is
//!   pending while others have operations; nested [`reserve`]s work.
//! - [`time_limit`](GeneratorExt::time_limit) lasts until its time is up even if what comes next in
//!   it would come too late.
//! - [`stagger`](GeneratorExt::stagger) and [`delay`](GeneratorExt::delay) keep the rate when a
//!   timer is late.

use store::{EventType, Name, Process, Value};

use crate::client::Op;
use crate::time::Nanos;

mod checks;
mod choices;
mod copies;
mod counts;
mod ext;
pub mod independent;
mod leaves;
mod limits;
mod occupancy;
mod pace;
mod partition;
#[cfg(test)]
mod properties;
mod routing;
mod sequences;
pub mod simulate;
#[cfg(test)]
mod testing;
mod threads;
mod transforms;

pub(crate) use checks::problem;
pub use choices::{any, mix, shortest_any};
pub use copies::{each_process, each_thread};
pub use ext::GeneratorExt;
pub use leaves::{Call, Promise, from_fn, lazy, log, nothing, op, ops, promise, sleep};
pub use occupancy::Occupancy;
pub use pace::cycle_times;
pub use routing::{clients_and_nemeses, reserve};
pub use sequences::{concat, cycle, cycle_n, flip_flop, phases};
pub use threads::ThreadSet;

/// Who performs operations, by number: client workers from 0, then the faults in the order of the
/// run's list. Threads outlive processes.
pub type Thread = usize;

/// What a generator sees of the run: the time, and which threads are free.
///
/// A view that costs nothing to copy: whoever drives a generator owns the parts, and combinators
/// narrow the view by pointing it at smaller sets.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Now, in nanoseconds since the run began.
    pub time: Nanos,
    /// All threads that this generator may use. They stay the same for the life of a generator.
    pub threads: &'a ThreadSet,
    /// Those of them that are free.
    pub free: &'a ThreadSet,
    /// Where to look first for a free thread, so that all get their turn.
    pub next: Thread,
    /// What does not change during a run.
    pub roster: &'a Roster,
    /// The process of each client worker.
    pub processes: &'a [u64],
}

impl Context<'_> {
    /// The free thread whose turn it is.
    pub fn turn(&self) -> Option<Thread> {
        self.free.next_from(self.next)
    }

    /// Whether all threads are free.
    pub fn all_free(&self) -> bool {
        self.free == self.threads
    }

    /// The process that a thread works under now.
    pub fn process(&self, thread: Thread) -> Process {
        match self.processes.get(thread) {
            Some(process) => Process::Client(*process),
            None => Process::Nemesis(self.roster.nemeses[thread - self.roster.workers].clone()),
        }
    }
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

impl Roster {
    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.workers + self.nemeses.len()
    }

    /// The thread of a fault.
    pub fn nemesis(&self, name: &str) -> Option<Thread> {
        let at = self.nemeses.iter().position(|nemesis| **nemesis == *name);
        at.map(|at| self.workers + at)
    }
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
    /// Nothing now, and nothing before this time, which is after the context's, unless a thread
    /// becomes free or an update comes first. Then ask again.
    Wait(Nanos),
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
///
/// Whoever drives it (the interpreter, the
/// [simulator](simulate), or a combinator) keeps to this:
///
/// 1. Time never runs backwards from one context to the next.
/// 2. `accept` follows a `peek` of the same context that answered [`Peek::Op`], and nothing comes
///    between. An operation planned for a later time is not accepted but peeked again at that time,
///    so that a completion that comes first may change the plan.
/// 3. When an operation completes, its thread becomes free first (under its next process, if it ended
///    `info`) and then all generators that share the thread are told with `update`.
/// 4. Without such news, an operation planned for later stays planned, and time is the only other reason
///    for a `Wait` to end.
/// 5. Without a free thread there is nothing to ask for.
pub trait Generator: Send {
    /// What would come next in this context. May cache, but changes nothing that can be seen: asked
    /// again with the same context it answers the same. `Done` is for ever.
    fn peek(&mut self, ctx: &Context<'_>) -> Peek;

    /// Commits the operation that the last `peek` answered for this same context. Its thread is the
    /// one that was peeked. Combinators further out may have moved its time to a later one and
    /// changed the operation itself.
    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned);

    /// Tells of a completed operation (of any thread of the context, also of other generators'). May
    /// come after `peek` answered `Done`.
    fn update(&mut self, _ctx: &Context<'_>, _update: &Update<'_>) {}
}

impl<G: Generator + ?Sized> Generator for Box<G> {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        (**self).peek(ctx)
    }

    fn accept(&mut self, ctx: &Context<'_>, planned: &Planned) {
        (**self).accept(ctx, planned);
    }

    fn update(&mut self, ctx: &Context<'_>, update: &Update<'_>) {
        (**self).update(ctx, update);
    }
}

/// A generator of any kind.
pub type BoxGenerator = Box<dyn Generator>;

/// Boxes generators of different types into a vector: `generators![a, b, c]`.
#[macro_export]
macro_rules! generators {
    ($($generator:expr),* $(,)?) => {
        vec![$($crate::generator::GeneratorExt::boxed($generator)),*]
    };
}
