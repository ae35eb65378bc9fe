//! Linearizability of registers and of any other object ([`models`]), key by key.
//!
//! A history is *linearizable* if each operation can be given one moment between its invocation
//! and its completion, such that a single object, taking the operations in the order of these
//! moments, gives the results that the clients saw (Herlihy and Wing 1990). Operations whose outcome
//! nobody knows may be given any moment after their invocation, or none.
//!
//! Linearizability is *local*: a history of many keys is linearizable if and only if the history of
//! each key is. So every key is searched on its own, and so are the elements of a set, say, until an
//! operation reads all of it.
//!
//! The way from events to a verdict:
//!
//! ```text
//! events ── intake: waits for results, operations become numbers
//!             └── tracks, search, one a key or a part of it: upper and lower bound, exact only where these leave a gap
//!                   ├── scout: a single configuration, ahead of all else while it finds its way
//!                   ├── frontier: all configurations that matter, event by event
//!                   └── portfolio, monitors: decide instead where the search gets wide and values are unique
//!         violation ── slice or reduce, minimise: a small part that is impossible on its own
//!                         └── explain: sentences          └── verify: proves it again
//! ```
//!
//! An operation is taken in once its result is known, so a violation is certain as soon as all
//! operations that began before it have ended: seconds after it happened, with time-outs as usual. Where a
//! monitor has taken over, it is found when the history has grown fourfold, or by an eighth where the
//! history is still being made, or at its end.

mod beam;
mod board;
mod checker;
mod closure;
mod config;
mod counted;
mod evidence;
mod explain;
mod explain_object;
mod frontier;
mod intake;
mod linearizable;
mod log;
mod mask;
mod meter;
mod minimise;
mod model;
pub mod models;
pub mod monitors;
mod object;
mod objects;
mod options;
mod plan;
mod portfolio;
mod reduce;
mod registers;
mod scout;
mod search;
mod sequential;
mod shortage;
mod situation;
mod slice;
mod steps;
mod subject;
mod trace;
mod track;
mod tracks;
mod unfold;
mod values;
pub mod verify;
mod window;
mod witness;

pub use evidence::{DeadEnd, OperationView, Prefix, Source};
pub use linearizable::{Linearizable, ModelError};
pub use options::{FailedCas, NullRead, Options};
pub use sequential::SequentiallyConsistent;
pub use verify::{NODES, Refutation, verify, verify_with};
