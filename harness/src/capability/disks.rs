//! What can be done to the disks that a system's data is on.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use store::{Name, Value};

use super::CapabilityError;

/// Which operations on the system's files something happens to, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskRule {
    /// Operations of these kinds: `read`, `write`, `sync` …
    pub kinds: Vec<String>,
    /// On files whose path in the data folder, or whose last part, matches this pattern (`*`, `?`); all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// Each so probably, from 0 to 1.
    pub probability: f64,
    /// What happens.
    pub effect: DiskEffect,
}

/// What happens to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskEffect {
    /// It fails, and nothing is done.
    Fail {
        /// The error's number.
        errno: i32,
    },
    /// It is done later.
    Delay {
        /// By so much at least, in milliseconds.
        ms: u64,
        /// And at most so much more.
        jitter_ms: u64,
    },
    /// It is done when the rules change.
    Stall,
    /// A write of more than one byte writes less, and says so.
    Short,
    /// A sync makes nothing durable, and says that it did.
    Lie,
    /// A sync fails, and what it was for is never written.
    LoseSync,
    /// What needs more room fails.
    Full,
}

/// What remains of what is not synced when the power is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Survival {
    /// Nothing.
    #[default]
    Nothing,
    /// Of files each page or not, of operations on entries the first few.
    Some,
    /// The same, with sectors in the place of pages.
    Torn,
}

/// What is known of a node's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// How many rules are in force.
    pub rules: usize,
    /// How many operations they struck; of rules that were just taken away, how many those did.
    pub struck: u64,
    /// Files with content that is not synced.
    pub files: u64,
    /// Operations on entries that are not durable.
    pub entries: u64,
}

/// What a power cut took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Files whose content is another than before.
    pub files: u64,
    /// Bytes of them that are different or gone.
    pub bytes: u64,
    /// Operations on entries that were taken back.
    pub entries: u64,
}

/// Which part of which files is damaged, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corruption {
    /// What is done.
    pub damage: Damage,
    /// To files whose path in the data folder, or whose last part, matches this pattern.
    pub glob: String,
    /// At most so many of them, drawn by chance.
    pub files: u64,
    /// From this byte on.
    pub from: u64,
    /// To this one, excluded; the end of the file, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// In chunks of so many bytes.
    pub chunk: u64,
    /// And only those of them whose number leaves this rest when divided by that: `(rest, divisor)`.
    pub every: (u64, u64),
    /// Only files that nobody wrote to for so long, in milliseconds.
    pub older_ms: u64,
    /// Of its chance.
    pub seed: u64,
}

/// How files are damaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// Bits are turned over.
    Bitflip {
        /// Each so probably; one at least.
        probability: f64,
    },
    /// A chunk is zeros.
    Zero,
    /// A chunk is also where another should be: a misdirected write.
    Copy,
    /// Chunks are again what they were before: lost writes.
    Rollback {
        /// So long before, in milliseconds.
        ms: u64,
    },
    /// Files lose their ends.
    Truncate {
        /// So much, in bytes at most.
        bytes: u64,
    },
    /// Files are gone.
    Delete,
}

/// Acting on the disks under the system's data.
#[async_trait]
pub trait Disks: Send + Sync {
    /// Whether this can be done here at all, asked before the run. The error says why not and what would help.
    async fn probe(&self) -> Result<(), String>;

    /// Puts a file system between the system and its data on all nodes. Done before the system starts, and stays.
    async fn interpose(&self) -> Result<(), CapabilityError>;

    /// Puts it there again on a node that has booted since, before the system starts there, if it is to be there.
    async fn interpose_again(&self, _node: &Name) -> Result<(), CapabilityError> {
        Ok(())
    }

    /// Takes it away again, and leaves the plain files. Nothing to do where it is not.
    async fn withdraw(&self) -> Result<(), CapabilityError>;

    /// Puts rules in force on a node, and no others.
    async fn rule(
        &self,
        node: &Name,
        rules: &[DiskRule],
        seed: u64,
    ) -> Result<DiskStatus, CapabilityError>;

    /// Takes them away, and says how often they struck.
    async fn calm(&self, node: &Name) -> Result<DiskStatus, CapabilityError>;

    /// What is known of a node's disk.
    async fn status(&self, node: &Name) -> Result<DiskStatus, CapabilityError>;

    /// Kills the system's processes on a node, and loses what they did not sync. The processes are gone when it returns.
    async fn cut_power(
        &self,
        node: &Name,
        survival: Survival,
        seed: u64,
    ) -> Result<Lost, CapabilityError>;

    /// Damages files of a node where they lie. Returns what is different, read back: evidence. It cannot be taken back.
    async fn corrupt(&self, node: &Name, corruption: &Corruption)
    -> Result<Value, CapabilityError>;

    /// Keeps a copy of all data of a system that does not run, on the node.
    async fn keep(&self, node: &Name) -> Result<(), CapabilityError>;

    /// Makes the data what it was then, for good, and removes the copy. The system does not run. Returns what is different: evidence.
    async fn put_back(&self, node: &Name) -> Result<Value, CapabilityError>;

    /// Removes the copy, if there is one.
    async fn discard(&self, node: &Name) -> Result<(), CapabilityError>;

    /// Removes all data of a system that does not run. Returns how much that was: evidence.
    async fn wipe(&self, node: &Name) -> Result<Value, CapabilityError>;
}
