//! The checker of transactions against an oracle that tries everything, against recorded histories with known verdicts, and
//! against simulated stores.
#![allow(clippy::unwrap_used)]

mod adya;
mod corpus;
mod counters;
mod defects;
#[path = "../common/dice.rs"]
mod dice;
#[path = "../common/events.rs"]
mod events;
mod explanations;
mod levels;
mod limits;
mod online;
mod oracle;
mod predicates;
mod registers;
mod sets;
mod stores;
mod support;
mod tampering;
mod timestamps;
