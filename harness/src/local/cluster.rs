//! Local clusters as the controller sees them: up, find, down.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use super::cache::{Cache, remove_tree};
use super::error::{Doing, LocalError};
use super::plan::{self, MAX_NODES, Spec};
use super::process::Identity;
use super::registry::{self, Processes, Record};
use super::switch::{ENVIRONMENT, Report};
use super::{Progress, SWITCH, image, keys, layer};

/// The format of records that this version writes.
const RECORD_FORMAT: u32 = 1;

/// How long nodes may take to come up. They take less than a second each.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a cluster may take to end when asked; then it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Between attempts to reach a node's SSH server.
const BANNER_PAUSE: Duration = Duration::from_millis(10);

/// How long one attempt may take. Short: a packet sent before the link is quite up is lost, and
/// its sender tries again only after a second.
const BANNER_ATTEMPT: Duration = Duration::from_millis(250);

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
    /// Its first process, as this machine numbers it: `/proc/<pid>/root` are its files.
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
    let id = format!("{:08x}", rand::random::<u32>());
    let spec = Spec {
        id,
        cache: cache.dir().to_owned(),
        base: base.entry,
        layer,
        nodes,
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
        created: jiff::Timestamp::now().to_string(),
        processes: None,
    };
    // First of all: what is on record can be removed, whatever happens to us.
    record.write()?;
    start(&spec, &config.helper, &record).inspect_err(|_| {
        // By the record as it is by then. The error that matters is the first.
        let _ = down(&spec.id);
    })
}

/// The cluster of an identifier.
///
/// # Errors
/// If there is none, or it is not up.
pub fn open(id: &str) -> Result<LocalCluster, LocalError> {
    let record = registry::read(id)?;
    let not_up = || LocalError::Start(format!("local cluster {id} is not up; take it down"));
    let processes = record
        .processes
        .clone()
        .filter(|_| record.of_this_boot())
        .ok_or_else(not_up)?;
    if !processes.switch.alive() {
        return Err(not_up());
    }
    Ok(LocalCluster { record, processes })
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
        enter(self.processes.switch)
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
        in_netns(self.processes.switch, act)
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
        created: record.created.clone(),
        owner: record.owner.map(|owner| owner.pid),
        orphaned: record.orphaned(),
        state,
    }
}

/// Makes the cluster's directory and starts its processes.
fn start(spec: &Spec, helper: &Path, record: &Record) -> Result<LocalCluster, LocalError> {
    let dir = spec.dir();
    let doing = || format!("making {}", dir.display());
    DirBuilder::new().mode(0o700).create(&dir).doing(doing)?;
    // Until the switch holds its own, no other controller must take the directory for an unused one.
    let lock = File::open(&dir).doing(doing)?;
    lock.lock_shared().doing(doing)?;
    keys::generate(spec)?;
    spec.write()?;

    let mut child = spawn_switch(&dir, helper)?;
    let processes = start_nodes(&mut child, &dir).inspect_err(|_| {
        // Its nodes end with it. Fails only if it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    })?;
    let record = Record {
        processes: Some(processes.clone()),
        ..record.clone()
    };
    record.write()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"c").doing(|| "confirming the cluster")?;
    }
    await_ssh(&processes, spec)?;
    Ok(LocalCluster { record, processes })
}

fn spawn_switch(dir: &Path, helper: &Path) -> Result<Child, LocalError> {
    let messages = dir.join("switch.log");
    let log = File::create(&messages).doing(|| format!("making {}", messages.display()))?;
    let mut command = Command::new(helper);
    command
        .arg0("gainsay")
        .arg(SWITCH)
        .arg(dir)
        .env_clear()
        .envs(ENVIRONMENT);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    command
        .spawn()
        .doing(|| format!("starting {}", helper.display()))
}

/// Waits until the switch has started the nodes.
fn start_nodes(child: &mut Child, dir: &Path) -> Result<Processes, LocalError> {
    let failed = |message: String| {
        let said = fs::read_to_string(dir.join("switch.log")).unwrap_or_default();
        LocalError::Start(format!("{message} {}", said.trim()))
    };
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let gone = || failed("its switch ended at once".into());
    let switch = Identity::of(pid).ok_or_else(gone)?;
    let stdout = child.stdout.take().ok_or_else(gone)?;
    let readable = &mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(START_LIMIT).unwrap_or(PollTimeout::MAX);
    if poll(readable, timeout).doing(|| "waiting for the nodes")? == 0 {
        return Err(failed(format!(
            "its nodes were not ready within {START_LIMIT:?}"
        )));
    }
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .doing(|| "reading the switch's report")?;
    match serde_json::from_str(&line) {
        Ok(Report::Started(nodes)) => Ok(Processes { switch, nodes }),
        Ok(Report::Failed(message)) => Err(failed(message)),
        Err(error) => Err(failed(format!("its switch gave no report ({error})"))),
    }
}

/// Waits until all nodes' SSH servers answer.
fn await_ssh(processes: &Processes, spec: &Spec) -> Result<(), LocalError> {
    let deadline = Instant::now() + START_LIMIT;
    let answered: Vec<bool> = in_netns(processes.switch, || {
        thread::scope(|scope| {
            let waiting: Vec<_> = (1..=spec.nodes)
                .map(|node| scope.spawn(move || answers(node, deadline)))
                .collect();
            waiting
                .into_iter()
                .map(|thread| thread.join().unwrap_or(false))
                .collect()
        })
    })?;
    match answered.iter().position(|answered| !answered) {
        None => Ok(()),
        Some(index) => {
            let node = u8::try_from(index + 1).unwrap_or(spec.nodes);
            let said = fs::read_to_string(spec.console(node)).unwrap_or_default();
            let name = plan::name(node);
            Err(LocalError::Start(format!(
                "{name}: its SSH server does not answer. {}",
                said.trim()
            )))
        }
    }
}

fn answers(node: u8, deadline: Instant) -> bool {
    let address = SocketAddr::from((plan::address(node), 22));
    while Instant::now() < deadline {
        if banner(&address).is_ok_and(|banner| banner == *b"SSH-") {
            return true;
        }
        thread::sleep(BANNER_PAUSE);
    }
    false
}

fn banner(address: &SocketAddr) -> io::Result<[u8; 4]> {
    let mut stream = TcpStream::connect_timeout(address, BANNER_ATTEMPT)?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    let mut banner = [0; 4];
    stream.read_exact(&mut banner)?;
    Ok(banner)
}

fn enter(switch: Identity) -> Result<(), LocalError> {
    let doing = || "entering the local cluster's network";
    let path = format!("/proc/{}/ns/net", switch.pid);
    let namespace = File::open(path).doing(doing)?;
    // Looked at after opening: what is open stays what it is.
    if !switch.alive() {
        return Err(io::Error::from(io::ErrorKind::NotFound)).doing(doing);
    }
    setns(namespace, CloneFlags::CLONE_NEWNET).doing(doing)
}

fn in_netns<T: Send>(switch: Identity, act: impl FnOnce() -> T + Send) -> Result<T, LocalError> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| enter(switch).map(|()| act()));
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Ends a cluster's processes, then removes its files, then its record, so that it stays on record
/// until nothing of it is left.
fn remove(record: &Record) -> Result<(), LocalError> {
    if let Some(processes) = record.processes.as_ref().filter(|_| record.of_this_boot()) {
        end(&record.id, processes)?;
    }
    remove_tree(&record.dir)?;
    record.remove()
}

fn end(id: &str, processes: &Processes) -> Result<(), LocalError> {
    let doing = || format!("ending local cluster {id}");
    let switch = processes.switch.open().doing(doing)?;
    // Opened before the switch ends them, so that their end can be waited for whatever ends them.
    let mut handles = Vec::new();
    for node in &processes.nodes {
        handles.extend(node.open().doing(doing)?.map(|handle| (node.pid, handle)));
    }
    if let Some(switch) = switch {
        switch.signal(Signal::SIGTERM).doing(doing)?;
        if !switch.wait(END_LIMIT).doing(doing)? {
            switch.signal(Signal::SIGKILL).doing(doing)?;
        }
        handles.push((processes.switch.pid, switch));
    }
    for (pid, handle) in handles {
        handle.signal(Signal::SIGKILL).doing(doing)?;
        if !handle.wait(KILL_LIMIT).doing(doing)? {
            return Err(LocalError::Unkillable {
                id: id.to_owned(),
                pid,
                limit: KILL_LIMIT,
            });
        }
    }
    Ok(())
}

/// Removes clusters' directories that no process holds.
fn remove_unused_dirs(clusters: &Path) -> Result<(), LocalError> {
    let doing = || format!("looking for orphans in {}", clusters.display());
    let entries = match fs::read_dir(clusters) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.doing(doing)?,
    };
    for entry in entries {
        let path = entry.doing(doing)?.path();
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        // One on record is its controller's, or was handled above.
        if !matches!(registry::read(&id), Err(LocalError::Unknown(_))) {
            continue;
        }
        let Ok(dir) = File::open(&path) else { continue };
        if dir.try_lock().is_ok() {
            remove_tree(&path)?;
        }
    }
    Ok(())
}
