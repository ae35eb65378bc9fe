//! Faults, their schedules and their undoing.
//!
//! A fault is something done to a system that the world does too: a link cut, a process killed. Two
//! questions are asked of every tool that does it, and answered here by construction:
//!
//! - *Did it take effect?* Each activity completes with **evidence**: packets counted as dropped, a
//!   process seen to be gone. Evidence is positive; that a node cannot be reached proves nothing.
//! - *Is it gone for certain?* Each fault undoes exactly what it did, and sees that it is undone; and before
//!   it acts on a node, how to undo it is written down there.
//!
//! # The parts
//!
//! - [`catalogue()`] describes the faults as data; [`parse`] reads what the user asks for; [`build`] makes
//!   [`Package`]s: a fault with its [`schedule`].
//! - [`grudge`] knows the shapes of partitions, [`Zones`] where nodes are, [`target`] who is aimed at.
//! - Faults act through capabilities ([`harness::capability`]). [`ssh`] provides them for nodes that are
//!   reached over SSH.
//!
//! # In the history
//!
//! Each fault is a process `nemesis/<name>`. Its operations are `start`, whose value says what to do, and
//! `stop`. The completions' values are objects:
//!
//! - `effective`: whether it is proved to have taken effect. For a partition proof comes with the
//!   packets it drops: a start that was too quick to see any says `false`, and the stop tells.
//! - `targets`: the nodes struck. Those of a partition of nodes are the nodes that cannot exchange packets with a
//!   majority any more, or, where all still can (a ring, a bridge), those that lost any link.
//! - `leader`: whether a node that believed to be primary just before was among them. Absent where the
//!   system has no primaries.
//! - `grudge`: of a partition's start, for each node the nodes whose packets it drops; the sides follow from it.
//! - `clocks`: how far clocks were ahead, in milliseconds, before, during and after, by node and process.
//! - `dropped`: packets dropped, by the node that dropped them; so also `rejected`, `held` (by a jam), `delayed`, `lost`, `corrupted`,
//!   `duplicated` and `reordered`. `links`: the same by link, with `delay-ms`, the mean delay as it was measured. `installed`: for each
//!   node the addresses that its rules are about.
//! - `zone`: the zone or region that the targets are all nodes of, where one was aimed at.
//! - `down`: whether the targets are down while the fault is in force: where that leaves no majority, nothing can succeed.
//! - `states`: what was seen of processes.
//! - `load`: what a load has used on each node, and how much of the time anybody there waited for what.
//! - `boots`: of machines that were ended, what named the time before (`before`) and since (`boot`), how long they have been up, and which
//!   faults' effects ended with them (`ended`).
//!
//! Beside them, where the system has leaders, the [leader watch](leader_watch) `nemesis/leaders` says who leads when.
//!
//! A start that ends `fail` did nothing. One that ends `info` may be in force, in part; its stop undoes
//! it. A stop that ends `info` did not undo everything, and is tried again.

mod action;
mod begun;
mod build;
mod catalogue;
mod clock;
mod composition;
mod confine;
mod corrupt;
mod disk;
mod down;
pub mod grudge;
mod holds;
mod leaders;
mod links;
mod load;
mod membership;
mod node_fault;
mod outcome;
mod packet;
mod partition;
mod power;
mod prepare;
mod presets;
mod process;
mod reboot;
mod rolling;
pub mod schedule;
mod script;
mod setback;
mod spec;
pub mod ssh;
mod system;
pub mod target;
mod zones;

pub use build::{BuildContext, BuildError, Package, build};
pub use catalogue::{FaultInfo, VariantInfo, catalogue, find, is_synthetic};
pub use composition::{Composition, Order, parse_max_down};
pub use down::Down;
pub use leaders::{LEADERS, WATCH, leader_watch};
pub use prepare::{dismantle, prepare};
pub use presets::{Preset, presets};
pub use schedule::{Entry, Quiet, Script, replay};
pub use spec::{FaultSpec, NONE, SpecError, parse};
pub use system::system_label;
pub use zones::{Zone, Zones};
