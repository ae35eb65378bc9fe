//! Serializability and snapshot isolation of registers, decided completely, although nobody knows the order of versions.
mod level;
mod observations;

pub use level::{Level, Model, Respects};
pub use observations::{INITIAL, Observations, Observed};

use serde::{Deserialize, Serialize};

use crate::budget::Budget;

/// No transaction.
const NONE: u32 = u32::MAX;

/// A moment of a transaction. Under serializability both are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// It takes its snapshot.
    Begin(u32),
    /// Its writes become visible.
    Commit(u32),
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The level holds: moments in this order explain everything (under serializability, commits alone).
    Holds(Vec<Moment>),
    /// The level is violated. What proves it comes here.
    Violated,
    /// Neither could be shown, and why.
    Unknown(String),
}

/// Decides whether the observations are possible at a level.
pub fn decide(_observations: &Observations, _level: Level, _budget: &dyn Budget) -> Decision {
    Decision::Unknown("not built yet".to_owned())
}
