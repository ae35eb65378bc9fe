//! What is commonly done on a node, over any [`Remote`](crate::remote::Remote).
//!
//! Small helpers, each a shell script: [`files`], [`packages`], [`daemon`]s, [`ports`], [`facts`]. And two
//! records kept on the node itself, so that they outlive the controller: the [`lock`], by which a
//! node belongs to one run at a time, and the [`undo`] journal, by which every fault in force can be
//! taken back.

pub mod daemon;
pub mod facts;
pub mod files;
pub mod lock;
pub mod packages;
pub mod ports;
pub mod undo;

/// Where our records on a node live. Removed when the last of them is gone.
pub const STATE_FOLDER: &str = "/var/lib/gainsay";

/// The files there that tell of what a boot ends (control groups, clocks, mounted file systems), as patterns for a shell. Whoever ends it
/// removes them, and whoever finds that a boot has ended it.
pub const BOOT_RECORDS: [&str; 3] = ["confine-*.json", "machine-clock.*", "disk-*.socket"];
