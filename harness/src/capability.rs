//! What a fault can ask of the world.
//!
//! A fault speaks to capabilities, not to nodes: SSH nodes, the local cluster's switch and the
//! simulated store each provide them, so that one fault and one schedule serve all three.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use store::{Name, Value};
use thiserror::Error;

use crate::links::{LinkCount, LinkNeeds, LinkRules};
mod disks;
mod loads;
mod machines;
mod signals;
mod system_faults;

pub use disks::{Corruption, Damage, DiskEffect, DiskRule, DiskStatus, Disks, Lost, Survival};
pub use loads::{Load, LoadKind, LoadSeen, Loads, MemoryAmount, Pressure};
pub use machines::{Ended, Ending, Machines, PowerSwitch, Returned};
pub use signals::Signal;
pub use system_faults::{SystemFaults, SystemSeen};

/// Which links to cut: for each node, the nodes whose packets it no longer *receives*.
///
/// One-way cuts are grudges without their mirror image. Clients' own links are never in it: they are links, not nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grudge(pub BTreeMap<Name, BTreeSet<Name>>);

impl Grudge {
    /// Whether packets from one node to another are dropped.
    pub fn drops(&self, from: &str, to: &str) -> bool {
        self.0.get(to).is_some_and(|sources| sources.contains(from))
    }
}

/// What is known of an action on the world.
#[derive(Debug, Error)]
pub enum CapabilityError {
    /// It was not done, for certain.
    #[error("not done: {0}")]
    NotDone(String),
    /// It may have been done, in part or whole.
    #[error("indeterminate: {0}")]
    Indeterminate(String),
}

/// What happens to packets between nodes, and between them and clients.
///
/// Each fault has a *layer* of rules of its own, named by the fault, so that several can act at once.
#[async_trait]
pub trait Network: Send + Sync {
    /// Whether such rules can be kept here, asked before the run. The error says why not and what would
    /// help.
    async fn probe(&self, _needs: &LinkNeeds) -> Result<(), String> {
        Ok(())
    }

    /// Replaces the rules of a layer by these, on all nodes at once. Returns evidence per node, such as
    /// the rules installed.
    async fn set(&self, layer: &str, rules: &LinkRules) -> Result<Value, CapabilityError>;

    /// Removes all our rules of a layer, and nobody else's, and verifies that they are gone; packets that they held
    /// are delivered. Returns what they did while they stood. What nobody knows is left out.
    async fn heal(&self, layer: &str) -> Result<Vec<LinkCount>, CapabilityError>;

    /// What the rules of a layer did so far.
    async fn counts(&self, layer: &str) -> Result<Vec<LinkCount>, CapabilityError>;
}

/// The state of the system's process on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    /// Running or sleeping.
    Running,
    /// Stopped by a signal.
    Stopped,
    /// Not there.
    Absent,
}

/// Acting on the system's processes.
#[async_trait]
pub trait Processes: Send + Sync {
    /// Whether processes can be acted on here, asked before the run. The error says why not and what would
    /// help.
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
    /// Sends a signal to the system's processes on a node, and says what is seen of them afterwards.
    async fn signal(&self, node: &Name, signal: Signal) -> Result<ProcessState, CapabilityError>;

    /// Starts the system on a node if it does not run.
    async fn start(&self, node: &Name) -> Result<ProcessState, CapabilityError>;

    /// Starts the system on a node that has lost its data, and that the others still know.
    async fn start_empty(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.start(node).await
    }

    /// What is seen of the system's process on a node.
    async fn state(&self, node: &Name) -> Result<ProcessState, CapabilityError>;
}

/// A node that was restarted in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    /// The version that it was started with before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version that it says it runs now.
    pub runs: String,
    /// Whether its processes ended as they were asked to; else they were killed.
    pub in_order: bool,
}

/// Restarting nodes in good order: the system is asked to end, and started again with the data it has.
#[async_trait]
pub trait Rolling: Send + Sync {
    /// Whether it can be done here, asked before the run; with another version, which is brought to all nodes. The error says why
    /// not and what would help.
    async fn probe(&self, version: Option<&str>) -> Result<(), String>;

    /// Which version each node is started with, where there are several.
    fn versions(&self) -> BTreeMap<Name, String>;

    /// Restarts a node, with another version if one is given, and waits until it is a healthy member.
    async fn restart(
        &self,
        node: &Name,
        version: Option<&str>,
    ) -> Result<Restarted, CapabilityError>;
}

/// Telling leaders.
#[async_trait]
pub trait Primaries: Send + Sync {
    /// The nodes that believe to be primary now. Empty when none is known. Bounded by a second. Asked a few times in
    /// each election time-out, for as long as a run lasts.
    async fn primaries(&self) -> Vec<Name>;
}

/// How processes are confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bounds {
    /// They do not run at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub freeze: bool,
    /// Together they may use so many hundredths of one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
    /// Together they may take so many more bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_memory: Option<u64>,
    /// So many more processes and threads may be begun than there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_processes: Option<u32>,
    /// So many more files may be open in each process than are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_files: Option<u64>,
    /// So many requests a second may pass to each disk together to write, and as many to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_requests: Option<u32>,
}

/// What the kernel counts or sets, by name.
pub type Counters = BTreeMap<String, u64>;

/// Confining the system's processes. Several faults may do so at once, each under its name.
#[async_trait]
pub trait Confinement: Send + Sync {
    /// Whether they could be confined so on all nodes. The error says why not.
    async fn probe(&self, bounds: &Bounds) -> Result<(), String>;
    /// Confines them on a node. What is then in force.
    async fn confine(
        &self,
        fault: &str,
        node: &Name,
        bounds: &Bounds,
    ) -> Result<Counters, CapabilityError>;
    /// Lets them go. How often they were held up, or refused something.
    async fn release(&self, fault: &str, node: &Name) -> Result<Counters, CapabilityError>;
}

/// Growing and shrinking the system under test.
#[async_trait]
pub trait Membership: Send + Sync {
    /// Whether that can be done here. The error says why not.
    async fn probe(&self) -> Result<(), String>;
    /// The nodes that belong to the system, as each node that answers sees it.
    async fn views(&self) -> BTreeMap<Name, Vec<Name>>;
    /// Asks the others to take a node out. What runs on it, and its data, stay.
    async fn remove(&self, node: &Name) -> Result<(), CapabilityError>;
    /// Ends the system on a node, and removes its data for good.
    async fn clear(&self, node: &Name) -> Result<(), CapabilityError>;
    /// Brings a node in that does not belong to the system, without data.
    async fn add(&self, node: &Name) -> Result<(), CapabilityError>;
    /// Forgets how a node was to be brought in again: it belongs to the system, whether it was ever out or not.
    async fn settle(&self, node: &Name) -> Result<(), CapabilityError>;
}

/// A program of the user's own that does something to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its name, which is a file name.
    pub name: String,
    /// What is run.
    pub contents: Arc<[u8]>,
}

/// Running programs of the user's own on nodes. Each has the verbs `probe`, `start`, `verify` and `undo`.
#[async_trait]
pub trait Scripts: Send + Sync {
    /// Puts a program on all nodes, and asks it there whether it can act. The error says what it says.
    async fn probe(&self, script: &Script) -> Result<(), String>;
    /// Starts it on a node. What it says to prove that it is in force, unless it does not prove that.
    async fn start(&self, script: &Script, node: &Name) -> Result<Option<String>, CapabilityError>;
    /// Undoes it on a node, and sees that it is not in force any more.
    async fn undo(&self, script: &Script, node: &Name) -> Result<(), CapabilityError>;
}

/// Whose clocks are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockScope {
    /// The system's processes', and nobody else's.
    #[default]
    Process,
    /// The machine's.
    Machine,
    /// The system's processes', as far as they ask the C library for the time: libfaketime answers instead.
    Libfaketime,
}

/// Which clocks are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockKind {
    /// Those that tell the time of day: `CLOCK_REALTIME` and its relatives.
    #[default]
    Realtime,
    /// Those that only run on: `CLOCK_MONOTONIC` and its relatives.
    Monotonic,
    /// Both.
    Both,
}

/// How clocks go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum ClockChange {
    /// They are ahead by so much, or behind.
    Skew {
        /// In milliseconds; negative for behind.
        offset_ms: i64,
    },
    /// They jump ahead, and back, again and again.
    Strobe {
        /// By how much, in milliseconds; negative for behind.
        delta_ms: i64,
        /// After how long each time, in milliseconds.
        period_ms: u32,
    },
    /// They go too fast, or too slow.
    Drift {
        /// How much they gain, in microseconds a second; negative for lose.
        ppm: i64,
    },
    /// They stand still.
    Freeze,
}

/// How whose clocks go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSetting {
    /// Whose.
    #[serde(default)]
    pub scope: ClockScope,
    /// Which.
    #[serde(default)]
    pub clocks: ClockKind,
    /// How.
    #[serde(flatten)]
    pub change: ClockChange,
}

/// How far clocks are ahead of the truth, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockOffsets {
    /// `CLOCK_REALTIME`.
    pub realtime: f64,
    /// `CLOCK_MONOTONIC`.
    pub monotonic: f64,
}

/// Clocks that were looked at as their owner sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockSeen {
    /// Whose they are: `etcd[4711]`.
    pub whose: String,
    /// Before they were changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ClockOffsets>,
    /// While they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<ClockOffsets>,
    /// Since they are as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ClockOffsets>,
    /// Whether a clock that is meant was off for certain, and all that was seen is as it should be.
    pub effective: bool,
}

/// Making clocks go wrong.
#[async_trait]
pub trait Clocks: Send + Sync {
    /// Whether clocks can be changed here, asked before the run. The error says why not and what would help.
    async fn probe(&self, scope: ClockScope) -> Result<(), String>;

    /// Sets up on all nodes what programs of the system must find when they start, for their clocks to be changed later: that they wait as
    /// long as their own clocks say, as far as they leave waiting to the C library; or libfaketime. Asked before the system starts.
    async fn prepare(&self, scope: ClockScope) -> Result<(), CapabilityError>;

    /// Takes that away again. Programs that run go on as they do.
    async fn dismantle(&self) -> Result<(), CapabilityError>;

    /// Makes clocks on a node go so from now on, also those of processes that come later, and looks at them.
    async fn change(
        &self,
        node: &Name,
        setting: &ClockSetting,
    ) -> Result<Vec<ClockSeen>, CapabilityError>;

    /// Looks at the clocks on a node that were changed.
    async fn look(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError>;

    /// Makes the clocks on a node go as they would have, and looks at them.
    async fn restore(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError>;
}

/// The world of a run, as faults see it.
#[derive(Clone, Default)]
pub struct Environment {
    /// All nodes, in the order given by the user.
    pub nodes: Vec<Name>,
    /// Links between nodes and with clients, if anything can be done to them.
    pub network: Option<Arc<dyn Network>>,
    /// The system's processes, if they can be acted on.
    pub processes: Option<Arc<dyn Processes>>,
    /// Leaders, if the system has them.
    pub primaries: Option<Arc<dyn Primaries>>,
    /// Confining the system's processes, if that can be done.
    pub confinement: Option<Arc<dyn Confinement>>,
    /// Who belongs to the system, if that can be changed.
    pub membership: Option<Arc<dyn Membership>>,
    /// Programs of the user's own, if they can be run.
    pub scripts: Option<Arc<dyn Scripts>>,
    /// Clocks, if they can be changed.
    pub clocks: Option<Arc<dyn Clocks>>,
    /// Restarting nodes in good order, with the same or another version of the system, if that can be done.
    pub rolling: Option<Arc<dyn Rolling>>,
    /// The disks under the system's data, if they can be acted on.
    pub disks: Option<Arc<dyn Disks>>,
    /// Whole nodes, if they can be loaded.
    pub loads: Option<Arc<dyn Loads>>,
    /// The nodes as machines, if they can be ended.
    pub machines: Option<Arc<dyn Machines>>,
    /// Faults that only the system knows, if it has some.
    pub system_faults: Option<Arc<dyn SystemFaults>>,
}
