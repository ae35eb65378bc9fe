//! What a cluster's parts are called and how they are addressed: all of it follows from the number of
//! a node, so that a cluster looks the same every time.
//!
//! All clusters use the same network: each has its own network namespaces, where no other is seen.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Doing, LocalError};

/// The most nodes a cluster may have.
pub const MAX_NODES: usize = 100;

/// The controller's address, on the bridge.
pub(super) const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// The length of the network's prefix.
pub(super) const PREFIX: u8 = 24;

/// The bridge's hardware address. All hardware addresses are fixed (and locally administered): with
/// random ones a node that comes back is unreachable until everybody's ARP entry of it has expired.
pub(super) const BRIDGE_MAC: &str = "02:67:73:ff:ff:01";

/// The name of a node, counted from 1.
pub(super) fn name(node: u8) -> String {
    format!("n{node}")
}

/// The address of a node, counted from 1.
pub(super) fn address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, node)
}

/// The hardware address of a node's interface.
pub(super) fn mac(node: u8) -> String {
    format!("02:67:73:00:00:{node:02x}")
}

/// The share of a node, counted from 1, in so many processors, counted from 0: in turn, and one at least.
pub(super) fn processors(node: u8, nodes: u8, processors: usize) -> Vec<usize> {
    let (node, nodes) = (usize::from(node) - 1, usize::from(nodes));
    if processors <= nodes {
        return vec![node % processors.max(1)];
    }
    (node..processors).step_by(nodes).collect()
}

/// Whose kernel a cluster's nodes run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// This machine's: nodes are namespaces. Up in a second, a few megabytes each.
    #[default]
    Shared,
    /// Each its own (user-mode Linux), so that a node's clock can be set and the node rebooted. Up in seconds, some hundred
    /// megabytes each, one processor each.
    Own,
}

/// What the processes of a cluster need to know, in `<cluster>/spec.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The cluster's name.
    pub(super) id: String,
    /// The cache, as an absolute path. All other paths are relative to it.
    pub(super) cache: PathBuf,
    /// The base system's entry.
    pub(super) base: PathBuf,
    /// The packages' entry, if there is one.
    pub(super) layer: Option<PathBuf>,
    /// How many nodes.
    pub(super) nodes: u8,
    /// The entry of the disk image of nodes with kernels of their own; none where they share the machine's.
    pub(super) disk: Option<PathBuf>,
}

impl Spec {
    /// Reads the specification in a cluster's directory.
    pub(super) fn read(dir: &Path) -> Result<Spec, LocalError> {
        let path = dir.join("spec.json");
        let doing = || format!("reading {}", path.display());
        let text = std::fs::read(&path).doing(doing)?;
        serde_json::from_slice(&text)
            .map_err(std::io::Error::from)
            .doing(doing)
    }

    /// Writes it into the cluster's directory.
    pub(super) fn write(&self) -> Result<(), LocalError> {
        let path = self.dir().join("spec.json");
        let doing = || format!("writing {}", path.display());
        let text = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .doing(doing)?;
        std::fs::write(&path, text).doing(doing)
    }

    /// The cluster's directory.
    pub(super) fn dir(&self) -> PathBuf {
        self.cache.join("clusters").join(&self.id)
    }

    /// The cluster's keys.
    pub(super) fn keys(&self) -> PathBuf {
        self.dir().join("keys")
    }

    /// The root directory of the base system.
    pub(super) fn base_root(&self) -> PathBuf {
        self.cache.join(&self.base).join("root")
    }

    /// What a node wrote, and its messages.
    pub(super) fn node_dir(&self, node: u8) -> PathBuf {
        self.dir().join(name(node))
    }

    /// The messages of a node's first process and SSH server.
    pub(super) fn console(&self, node: u8) -> PathBuf {
        self.node_dir(node).join("console")
    }

    /// The options of the overlay that is a node's root, relative to the cache so that they are short
    /// (there is room for one page) and need no quoting.
    pub(super) fn overlay_options(&self, node: u8) -> String {
        let layers = self.layer.iter().chain([&self.base]);
        let lower: Vec<String> = layers
            .map(|entry| format!("{}/root", entry.display()))
            .collect();
        let own = format!("clusters/{}/{}", self.id, name(node));
        format!(
            "lowerdir={},upperdir={own}/upper,workdir={own}/work",
            lower.join(":")
        )
    }

    /// Every node's `/etc/hosts`.
    pub(super) fn hosts(&self) -> String {
        let mut text = format!(
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{CONTROLLER} controller\n"
        );
        for node in 1..=self.nodes {
            text.push_str(&format!("{} {}\n", address(node), name(node)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_its_share_of_the_processors() {
        let shares = |nodes, count| -> Vec<Vec<usize>> {
            (1..=nodes)
                .map(|node| processors(node, nodes, count))
                .collect()
        };
        assert_eq!(shares(3, 2), [vec![0], vec![1], vec![0]]);
        assert_eq!(shares(2, 5), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(shares(1, 3), [vec![0, 1, 2]]);
    }

    #[test]
    fn plans_of_a_cluster() {
        let mut spec = Spec {
            id: "ab12".into(),
            cache: "/var/cache/gainsay".into(),
            base: "base/b".into(),
            layer: None,
            nodes: 2,
            disk: None,
        };
        assert_eq!(
            spec.overlay_options(2),
            "lowerdir=base/b/root,upperdir=clusters/ab12/n2/upper,workdir=clusters/ab12/n2/work"
        );
        spec.layer = Some("layers/l".into());
        assert!(
            spec.overlay_options(1)
                .starts_with("lowerdir=layers/l/root:base/b/root,")
        );
        assert!(
            spec.hosts()
                .ends_with("10.77.0.254 controller\n10.77.0.1 n1\n10.77.0.2 n2\n")
        );
        assert_eq!(mac(100), "02:67:73:00:00:64");
    }
}
