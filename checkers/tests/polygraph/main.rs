//! The decision of serializability and snapshot isolation of registers, against an oracle that tries everything, against
//! recorded histories with known verdicts, and against what it says itself.
#![allow(clippy::unwrap_used)]

mod corpus;
mod oracle;
#[path = "../common/registers.rs"]
mod registers;
