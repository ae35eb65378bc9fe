//! Load on whole nodes, beside the system.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use store::Name;

use super::CapabilityError;

/// What kind of load, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum LoadKind {
    /// CPU time.
    Cpu {
        /// So many threads; as many as the node has processors, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workers: Option<u32>,
        /// Each busy for so many hundredths of the time.
        share: u32,
    },
    /// Memory that is used again and again.
    Memory {
        /// So much.
        amount: MemoryAmount,
        /// Whether it is taken though the kernel may then kill processes for want of it.
        oom: bool,
    },
    /// Synced writes to files on the disk that the system's data is on, and reads from them.
    Io {
        /// So many threads, each with a file of its own.
        workers: u32,
        /// How long each file is.
        bytes: u64,
    },
}

/// How much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryAmount {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of what is available when it begins.
    Percent(u32),
}

/// A load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// What kind, and how much.
    pub load: LoadKind,
    /// Whether everybody else goes first.
    pub low: bool,
}

/// How much of the time somebody on a node waited for something, in hundredths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// In the ten seconds before the load.
    pub before: f64,
    /// Since it began.
    pub during: f64,
}

/// A load, as it was measured on the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct LoadSeen {
    /// Whether it is proved to be one.
    pub effective: bool,
    /// How long it has lasted, in milliseconds.
    pub elapsed_ms: u64,
    /// Threads that are at it.
    pub workers: u32,
    /// CPU time that it has used, in milliseconds.
    pub cpu_ms: u64,
    /// Bytes that it has in memory.
    pub resident: u64,
    /// Bytes that it was to have there, or in its files.
    #[serde(skip_serializing_if = "is_zero")]
    pub wanted: u64,
    /// Bytes that it has written and synced.
    #[serde(skip_serializing_if = "is_zero")]
    pub synced: u64,
    /// How often it synced.
    #[serde(skip_serializing_if = "is_zero")]
    pub syncs: u64,
    /// Bytes that it has read.
    #[serde(skip_serializing_if = "is_zero")]
    pub read: u64,
    /// Bytes that went to the disk, and came from it, on its behalf, as the kernel counts them.
    #[serde(skip_serializing_if = "are_zero")]
    pub disk: (u64, u64),
    /// Processes that the kernel killed for want of memory meanwhile.
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kills: u64,
    /// Who waited for what (`cpu`, `io`, `memory`), where the kernel tells.
    pub pressure: BTreeMap<String, Pressure>,
    /// Whether it is in a control group of its own.
    pub grouped: bool,
    /// What went wrong with it, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What is zero goes without saying.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn are_zero(numbers: &(u64, u64)) -> bool {
    *numbers == (0, 0)
}

/// Loading nodes.
#[async_trait]
pub trait Loads: Send + Sync {
    /// Whether all nodes could be loaded so, asked before the run. The error says why not and what would help.
    async fn probe(&self, load: &Load) -> Result<(), String>;

    /// Begins a load on a node.
    async fn begin(&self, node: &Name, load: &Load) -> Result<LoadSeen, CapabilityError>;

    /// Measures it.
    async fn look(&self, node: &Name) -> Result<LoadSeen, CapabilityError>;

    /// Measures it a last time, and ends it: all of it is gone when it returns.
    async fn end(&self, node: &Name) -> Result<LoadSeen, CapabilityError>;
}
