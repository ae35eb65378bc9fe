//! Ending whole machines and having them back.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use store::Name;

use super::CapabilityError;

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It ends its services, writes its disks, and boots anew.
    Orderly,
    /// Its kernel boots anew at once: what was not written to its disks is lost.
    Hard,
    /// Its power is taken away, and is back only when it is given back.
    Off,
}

/// A machine that was made to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What named the time since it was started (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Whether it is certain already that it ended: whoever has its power says that it has none, or it has booted anew.
    pub certain: bool,
}

/// A machine that is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// What named the time before.
    pub before: String,
    /// What names the time since: another than before, unless it did not end.
    pub boot: String,
    /// How long it has been up, in milliseconds.
    pub up_ms: u64,
    /// Which faults' effects on it ended with the time before, besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
}

/// Ending machines.
#[async_trait]
pub trait Machines: Send + Sync {
    /// Whether all machines can be ended so, asked before the run. The error says why not and what would help.
    async fn probe(&self, ending: Ending) -> Result<(), String>;

    /// Ends a machine. It is going down when this returns.
    async fn end(&self, node: &Name, ending: Ending) -> Result<Ended, CapabilityError>;

    /// Gives it power if it has none, and waits until it is back and can be talked to: so long at most. Then what faults had set up on it
    /// and a boot takes away is known to be gone. Indeterminate where it is not back yet.
    async fn back(&self, node: &Name, patience: Duration) -> Result<Returned, CapabilityError>;

    /// The system runs there again: nothing is left to be undone.
    async fn settle(&self, node: &Name) -> Result<(), CapabilityError>;
}

/// The switch of a machine's power.
#[async_trait]
pub trait PowerSwitch: Send + Sync {
    /// Takes the power away. Returns once there is none.
    async fn cut(&self) -> Result<(), String>;

    /// Gives power, if there is none. The machine then boots, which is not waited for.
    async fn on(&self) -> Result<(), String>;
}
