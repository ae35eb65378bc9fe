//! Sessions against a real SSH server, and what stands on them.
#![allow(clippy::unwrap_used)]

mod commands;
mod connecting;
mod node;
mod sshd;
mod sudo;
mod transfers;
