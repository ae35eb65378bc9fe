//! The linearizability checker against an oracle that tries everything, against recorded
//! histories with known verdicts, and against itself.
#![allow(clippy::unwrap_used)]

mod corpus;
#[path = "../common/events.rs"]
mod events;
mod explanations;
mod generate;
mod limits;
mod metamorphic;
mod metamorphic_models;
mod models;
mod monitors;
mod oracle;
#[path = "../common/order.rs"]
mod order;
mod plain;
mod portfolio;
mod random;
mod semantics;
mod sequential;
mod support;
