//! Tests of the store as a whole.

#![allow(clippy::unwrap_used)]

mod chaos;
mod consensus;
mod processes;
mod recovery;
