//! The decision of serializability and snapshot isolation of registers, on recorded histories with known verdicts.
#![allow(clippy::unwrap_used)]

mod corpus;
#[path = "../common/registers.rs"]
mod registers;
