//! The agent: a small static program that is put on a node when a fault needs it.
//!
//! A shell script can load firewall rules; it cannot hold packets back, patch a clock, or answer a file system's calls.
//! What can is this program. It is resident on the node for the length of a run, over one channel, so that a fault begins as
//! soon as its request has arrived; and it is gone afterwards.
//!
//! # What it promises
//!
//! - **Nothing is done that is not written down.** A request that changes something carries a [`Note`]: an entry of the node's undo
//!   journal, as text. It is on disk before the request is begun; if it cannot be written, the request is
//!   refused.
//! - **A dead man's switch.** When its input ends, or nothing was heard from the controller for as long as its lease lasts, the agent
//!   takes back all that it still has notes of, newest first, as `gainsay heal` would: with the entries' own commands.
//! - **It leaves.** Where nothing stands any more, it removes itself from the node as it ends.
//!
//! # How it is talked to
//!
//! One JSON object a line: a [`Hello`] from the agent first, then [`Request`]s to it and [`Reply`]s from it, which
//! name the request that they answer. Requests to one [module](modules) are done one after another, those to different ones side by side.

pub mod disk;
mod journal;
mod lines;
pub mod modules;
mod protocol;
mod server;
mod shell;

pub use modules::Failure;
pub use protocol::{ALIVE, HELLO, Hello, Note, Outcome, Reply, Request};
pub use server::main;
