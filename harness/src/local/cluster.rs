//! Local clusters as the controller sees them: up, find, down.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::end::{remove, remove_unused_dirs};
use super::error::LocalError;
use super::machine::Power;
use super::plan::{self, Kernel, MAX_NODES, Spec};
use super::process::Identity;
use super::registry::{self, Processes, Record};
use super::start::start;
use super::{Progress, image, keys, layer, machine, netns};

/// The format of records that this version writes.
const RECORD_FORMAT: u32 = 1;

/// Whose a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process's: an orphan when it is gone.
    ThisProcess,
    /// Nobody's: stays until it is taken down.
    Nobody,
}

/// What a local cluster is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many nodes, named n1, n2 …: 1 to [`MAX_NODES`].
    pub nodes: usize,
    /// Whose kernel they run.
    pub kernel: Kernel,
    /// Debian packages that suites will install on the nodes with apt. They and what they depend on
    /// are fetched and offered to the nodes, not installed.
    pub packages: Vec<String>,
    /// Where base systems and packages are cached and nodes' disks are. On a file system that overlayfs can
    /// write to (ext4, xfs, btrfs; not another overlay).
    pub cache: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// The program that the cluster's processes run: one that calls [`super::run_helper_if_asked`].
    pub helper: PathBuf,
}

impl Config {
    /// A cluster of this process, in the usual cache. Its processes run `$GAINSAY_HELPER`, or this
    /// program.
    pub fn new(nodes: usize) -> Config {
        let helper = std::env::var_os("GAINSAY_HELPER").filter(|path| !path.is_empty());
        Config {
            nodes,
            kernel: Kernel::default(),
            packages: Vec::new(),
            cache: super::cache_dir(),
            owner: Owner::ThisProcess,
            // Rather than `current_exe`: it works when the file has been replaced since.
            helper: helper.map_or_else(|| "/proc/self/exe".into(), PathBuf::from),
        }
    }
}

/// A node of a local cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Its name: n1, n2 …
    pub name: String,
    /// Its address, which other nodes and the switch's network namespace can reach.
    pub address: IpAddr,
    /// Its interface's hardware address.
    pub mac: String,
    /// Its first process, as this machine numbers it: `/proc/<pid>/root` are its files. Of a node with a kernel of its own, the process
    /// that looks after it.
    pub pid: i32,
}

/// How to reach a node's SSH server, from the switch's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// The node's name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Who to log in as.
    pub user: String,
    /// The private key.
    pub key: PathBuf,
    /// The host keys of all nodes, by name and by address.
    pub known_hosts: PathBuf,
}

/// A local cluster that is up.
///
/// Dropping it leaves it running: it may be meant to stay. [`LocalCluster::down`] removes it.
#[derive(Debug)]
pub struct LocalCluster {
    record: Record,
    processes: Processes,
}

/// What state a cluster is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// Its nodes are being started.
    Starting,
    /// All its nodes run.
    Up,
    /// Not all its nodes run.
    Broken,
}

/// A cluster on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Its name.
    pub id: String,
    /// How many nodes it has.
    pub nodes: usize,
    /// Whose kernel they run.
    pub kernel: Kernel,
    /// When it was made (RFC 3339, UTC).
    pub created: String,
    /// Its controller's process number; none for one that is to stay.
    pub owner: Option<i32>,
    /// Whether its controller is gone, so that the next cluster's start removes it.
    pub orphaned: bool,
    /// Its state.
    pub state: ClusterState,
}

/// Brings a cluster up: when it returns, all nodes' SSH servers answer. Removes orphans before.
///
/// # Errors
/// If this process is not root, something cannot be built, or a node does not start. Nothing is left then
/// but the cache.
pub fn up(config: &Config, progress: Progress<'_>) -> Result<LocalCluster, LocalError> {
    require_root()?;
    let out_of_range = || LocalError::NodeCount {
        asked: config.nodes,
        max: MAX_NODES,
    };
    let in_range = Some(config.nodes).filter(|nodes| (1..=MAX_NODES).contains(nodes));
    let nodes = in_range
        .and_then(|nodes| u8::try_from(nodes).ok())
        .ok_or_else(out_of_range)?;
    for id in reap_orphans(&config.cache)? {
        progress(&format!(
            "removed local cluster {id}, whose controller is gone"
        ));
    }
    let cache = Cache::open(&config.cache)?;
    let base = image::obtain(&cache, progress)?;
    let layer = layer::obtain(&cache, &base, &config.packages, progress)?;
    let disk = match config.kernel {
        Kernel::Shared => None,
        Kernel::Own => Some(machine::disk::obtain(
            &cache,
            &base,
            layer.as_deref(),
            progress,
        )?),
    };
    let id = format!("{:08x}", rand::random::<u32>());
    let spec = Spec {
        id,
        cache: cache.dir().to_owned(),
        base: base.entry,
        layer,
        nodes,
        disk,
    };
    let record = Record {
        format: RECORD_FORMAT,
        id: spec.id.clone(),
        boot: registry::boot_id()?,
        owner: match config.owner {
            Owner::ThisProcess => Identity::own(),
            Owner::Nobody => None,
        },
        dir: spec.dir(),
        nodes,
        kernel: config.kernel,
        created: jiff::Timestamp::now().to_string(),
        processes: None,
    };
    // First of all: what is on record can be removed, whatever happens to us.
    record.write()?;
    let started = start(&spec, &config.helper, &record);
    if started.is_err() {
        // By the record as it is by then. The error that matters is the first.
        let _ = down(&spec.id);
    }
    LocalCluster::of(started?)
}

/// The cluster of an identifier.
///
/// # Errors
/// If there is none, or it is not up.
pub fn open(id: &str) -> Result<LocalCluster, LocalError> {
    LocalCluster::of(registry::read(id)?)
}

/// All clusters on record, by identifier.
///
/// # Errors
/// If the register cannot be read.
pub fn list() -> Result<Vec<ClusterInfo>, LocalError> {
    let mut clusters = Vec::new();
    for id in registry::ids()? {
        match registry::read(&id) {
            Ok(record) => clusters.push(info(&record)),
            // Taken down since the register was read.
            Err(LocalError::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(clusters)
}

/// Removes a cluster, whatever state it is in.
///
/// # Errors
/// If there is none, or something of it cannot be removed: it then stays on record.
pub fn down(id: &str) -> Result<(), LocalError> {
    remove(&registry::read(id)?)
}

/// Removes clusters whose controllers are gone, and directories of clusters in this cache that nobody
/// uses. Returns the clusters' identifiers.
///
/// # Errors
/// If something cannot be removed.
pub fn reap_orphans(cache: &Path) -> Result<Vec<String>, LocalError> {
    let mut reaped = Vec::new();
    for id in registry::ids()? {
        match registry::read(&id) {
            Ok(record) if record.orphaned() => {
                remove(&record)?;
                reaped.push(id);
            }
            Ok(_) | Err(LocalError::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
    }
    registry::remove_unfinished()?;
    remove_unused_dirs(&cache.join("clusters"))?;
    Ok(reaped)
}

impl LocalCluster {
    /// The cluster of a record, which must be up.
    fn of(record: Record) -> Result<LocalCluster, LocalError> {
        let up = |processes: &Processes| record.of_this_boot() && processes.switch.alive();
        match record.processes.clone().filter(up) {
            Some(processes) => Ok(LocalCluster { record, processes }),
            None => Err(LocalError::NotUp(record.id)),
        }
    }

    /// Its identifier, for the command line.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Its nodes.
    pub fn nodes(&self) -> Vec<LocalNode> {
        let node = |(process, number): (&Identity, u8)| LocalNode {
            name: plan::name(number),
            address: plan::address(number).into(),
            mac: plan::mac(number),
            pid: process.pid,
        };
        self.processes.nodes.iter().zip(1..).map(node).collect()
    }

    /// The switch of each node's power, in the nodes' order. None where they share this machine's kernel.
    pub fn power(&self) -> Option<Vec<Power>> {
        if self.record.kernel == Kernel::Shared {
            return None;
        }
        let power = |(process, number): (&Identity, u8)| {
            Power::new(*process, self.record.dir.join(plan::name(number)))
        };
        Some(self.processes.nodes.iter().zip(1..).map(power).collect())
    }

    /// The controller's address as the nodes see it (they know it as `controller`).
    pub fn controller_address(&self) -> IpAddr {
        plan::CONTROLLER.into()
    }

    /// How to reach each node over SSH, from the switch's network namespace.
    pub fn ssh_targets(&self) -> Vec<SshTarget> {
        let keys = self.record.dir.join("keys");
        let target = |node: LocalNode| SshTarget {
            name: node.name,
            address: node.address,
            port: 22,
            user: "root".into(),
            key: keys.join(keys::USER_KEY),
            known_hosts: keys.join(keys::KNOWN_HOSTS),
        };
        self.nodes().into_iter().map(target).collect()
    }

    /// The process that has the bridge, as this machine numbers it.
    pub fn switch_pid(&self) -> i32 {
        self.processes.switch.pid
    }

    /// Moves the calling thread into the switch's network namespace, where the nodes can be reached
    /// and nothing else. Threads and processes that it starts from then on are in there too; threads that
    /// run already are not, so a controller calls it in `main` before it starts any. File descriptors of
    /// sockets made before stay in their namespace and go on working.
    ///
    /// # Errors
    /// If the switch is gone, or this process may not.
    pub fn enter_switch_netns(&self) -> Result<(), LocalError> {
        netns::enter(self.processes.switch)
    }

    /// Runs something in the switch's network namespace, on a thread of its own.
    ///
    /// # Errors
    /// As [`LocalCluster::enter_switch_netns`].
    ///
    /// # Panics
    /// If the function panics.
    pub fn in_switch_netns<T: Send>(
        &self,
        act: impl FnOnce() -> T + Send,
    ) -> Result<T, LocalError> {
        netns::run(self.processes.switch, act)
    }

    /// Ends its processes, and removes what the nodes wrote.
    ///
    /// # Errors
    /// If something cannot be removed: the cluster then stays on record.
    pub fn down(self) -> Result<(), LocalError> {
        remove(&self.record)
    }
}

fn require_root() -> Result<(), LocalError> {
    if nix::unistd::geteuid().is_root() {
        Ok(())
    } else {
        Err(LocalError::NotRoot)
    }
}

fn info(record: &Record) -> ClusterInfo {
    let state = match &record.processes {
        Some(_) if !record.of_this_boot() => ClusterState::Broken,
        Some(Processes { switch, nodes }) => {
            let all = switch.alive() && nodes.iter().all(|node| node.alive());
            if all {
                ClusterState::Up
            } else {
                ClusterState::Broken
            }
        }
        None => ClusterState::Starting,
    };
    ClusterInfo {
        id: record.id.clone(),
        nodes: usize::from(record.nodes),
        kernel: record.kernel,
        created: record.created.clone(),
        owner: record.owner.map(|owner| owner.pid),
        orphaned: record.orphaned(),
        state,
    }
}
