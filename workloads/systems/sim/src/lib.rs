//! The simulated store: a deterministic, replicated store in this process, on virtual time, with
//! bugs to switch on.
//!
//! It is a suite like any other, and needs no root, no SSH and no network. Its nodes run Raft (module
//! `replica`) over links with latencies that look real (module `network`); clients talk to the node
//! that they are pinned to, which passes requests on to the leader. Faults cut its links and kill,
//! stop and continue its processes through the same capabilities as those of real nodes.
//!
//! It keeps registers, lists, a set and accounts; transactions on them are single entries of the log. Without a
//! bug it is linearizable, and so strictly serializable, always, and under the same seed it does the same thing, to the
//! nanosecond. Each bug of the [`CATALOGUE`] is one that a real system had. That makes it what every
//! checker is proved with: the switch on, found; off, never flagged.
//!
//! What it does not promise is what real systems do not promise either: a request that timed out,
//! or whose leader was deposed, may be executed or not, and the client is told so.

mod bug;
mod capabilities;
mod client;
mod cluster;
mod handle;
mod machine;
mod message;
mod network;
mod replica;
mod settings;
mod suite;

#[cfg(test)]
mod tests;

pub use bug::{Bug, CATALOGUE, Description};
pub use suite::SimSuite;
