//! The local cluster: nodes on this machine, for trying Gainsay, for writing suites and for CI.
//!
//! Each node is a set of Linux namespaces (network, mount, PID, UTS, IPC) with its own root file system,
//! address, host name and SSH server, so that a suite cannot tell it from a machine. The pieces:
//!
//! - **Files.** A base system is built once from this machine's own package sources (`image`), packages
//!   that suites install are fetched beside it (`layer`), and both are cached. A node's root is an
//!   overlay over them; what it writes is in the cache under `clusters/<id>/` and goes with the cluster.
//! - **Processes.** The *switch* is a copy of this program in a network namespace of its own, where the
//!   bridge is. It is the parent of each node's first process (`node`), another copy of this program: that
//!   one mounts the node's root, starts `sshd` and keeps it up. When the switch ends, for whatever reason,
//!   the kernel ends the nodes; when those end, it removes their mounts and interfaces. So nothing can
//!   be left behind but files, and the root namespaces of the machine never see a mount, an interface
//!   or a firewall rule.
//! - **The register.** `/run/gainsay/<id>.json` says which clusters there are and whose they are. A
//!   cluster outlives its controller; the next [`up`] removes it, unless it was made to stay.
//!
//! Nodes may also have kernels of their own ([`Kernel::Own`]): then a node's first process runs user-mode Linux (`machine`), from a disk
//! that is made of the same base system and packages.
//!
//! The controller talks to the nodes from the switch's network namespace: [`LocalCluster::enter_switch_netns`].
//!
//! A program that uses this module calls [`run_helper_if_asked`] first thing in `main`.
//!
//! Nodes are isolated against accidents, not against malice: they run as root without the capabilities
//! that reach the whole machine (its clock, modules, kernel log), and with the machine's kernel settings
//! read-only, but a process that wants to break out can.

mod apt;
mod cache;
mod cluster;
mod end;
mod error;
mod fetch;
mod image;
mod keys;
mod layer;
mod machine;
mod netns;
mod node;
mod plan;
mod process;
mod program;
mod registry;
mod sources;
mod start;
mod switch;
mod tools;

use std::path::{Path, PathBuf};

pub use cluster::{
    ClusterInfo, ClusterState, Config, LocalCluster, LocalNode, Owner, SshTarget, down, list, open,
    reap_orphans, up,
};
use error::Doing;
pub use error::LocalError;
pub use fetch::{System, fetch_alone, fetch_missing};
pub use machine::Power;
pub use netns::outside;
pub use plan::{Kernel, MAX_NODES};
pub use tools::{Missing, install_tools, missing_for_own_kernels, missing_tools};

/// Called with one line of what goes on during something that takes its time.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Where base systems and packages are cached: `$GAINSAY_CACHE`, or `/var/cache/gainsay`.
pub fn cache_dir() -> PathBuf {
    match std::env::var_os("GAINSAY_CACHE") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => PathBuf::from("/var/cache/gainsay"),
    }
}

/// A folder of the cache, made unless it is there; where this user cannot write to it, one of a cache of the user's own
/// (`$XDG_CACHE_HOME/gainsay`, `~/.cache/gainsay`). Empty for the cache itself.
///
/// # Errors
/// If neither can be written to.
pub fn cache_of(name: &str) -> Result<PathBuf, LocalError> {
    let own = || {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| Some(home?.join(".cache")));
        Some(caches?.join("gainsay").join(name))
    };
    let shared = cache_dir().join(name);
    match (writable(&shared), own()) {
        (Ok(()), _) => Ok(shared),
        (Err(error), None) => Err(error).doing(|| format!("writing to {}", shared.display())),
        (Err(_), Some(own)) => {
            writable(&own).doing(|| format!("writing to {}", own.display()))?;
            Ok(own)
        }
    }
}

/// Makes a folder, and fails where nothing can be put into it.
fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let writes = nix::unistd::AccessFlags::W_OK;
    Ok(nix::unistd::access(folder, writes)?)
}

/// The first argument that makes this program a cluster's switch.
const SWITCH: &str = "__switch";

/// The first argument that makes this program a node's first process.
const NODE: &str = "__node";

/// Becomes a local cluster's switch, or a node's first process, if this process was started as one, and
/// then does not return. Must be the first thing in `main`: before threads, and before arguments are
/// read.
pub fn run_helper_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next();
    let code = match role.as_ref().and_then(|role| role.to_str()) {
        Some(SWITCH) => switch::main(arguments),
        Some(NODE) => node::main(arguments),
        _ => return,
    };
    std::process::exit(code);
}
