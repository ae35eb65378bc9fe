//! The switch: the process that has a cluster's bridge, and is the parent of its nodes.
//!
//! It lives in a network namespace of its own, which lasts as long as it does. The nodes' first
//! processes are killed by the kernel when it ends, however it ends.
//!
//! Its standard output is a pipe to the controller, which reads one [`Report`] from it. Its standard input
//! is one from the controller, which writes a byte once the cluster is on record. Should the controller
//! die before, the pipe ends, and so does the switch: a cluster that runs is always on record.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use serde::{Deserialize, Serialize};

use super::error::{Doing, LocalError};
use super::machine::make_tap;
use super::plan::{self, BRIDGE_MAC, CONTROLLER, PREFIX, Spec};
use super::process::Identity;

/// The `ip` of the base system.
pub(super) const IP: &str = "/usr/sbin/ip";

/// What processes in a cluster have as environment.
pub(super) const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
];

/// What the switch tells the controller when it has tried to start the nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Each node's first process, all ready but for their SSH servers' last steps.
    Started(Vec<Identity>),
    /// Why they did not start. None of them is left.
    Failed(String),
}

/// A node's first process, seen from the switch.
struct Launched {
    pid: Pid,
    /// A byte in here says that its interface is there.
    go: PipeWriter,
    /// A byte from here says that it is ready.
    ready: PipeReader,
}

/// Runs the switch of the cluster in a directory. Returns its exit code.
pub(super) fn main(mut arguments: impl Iterator<Item = OsString>) -> i32 {
    let Some(dir) = arguments.next().map(PathBuf::from) else {
        return 2;
    };
    match start(&dir) {
        Ok(nodes) => {
            serve();
            end(&nodes);
            0
        }
        Err(error) => {
            // If the controller is gone too, nobody is left to be told.
            let message = match error {
                LocalError::Start(message) => message,
                other => other.to_string(),
            };
            let _ = report(&Report::Failed(message));
            1
        }
    }
}

/// Starts all nodes, and waits until the controller has recorded them.
fn start(dir: &Path) -> Result<Vec<Pid>, LocalError> {
    detach().doing(|| "leaving the controller")?;
    block_signals().doing(|| "blocking signals")?;
    let spec = Spec::read(dir)?;
    // A cluster's directory is in use as long as somebody holds this lock.
    let lock = File::open(dir).doing(|| "opening the cluster's directory")?;
    lock.lock_shared()
        .doing(|| "locking the cluster's directory")?;
    unshare(CloneFlags::CLONE_NEWNET).doing(|| "making a network namespace")?;

    let mut nodes = Vec::new();
    let started = launch_all(&spec, dir, &mut nodes).and_then(|identities| {
        report(&Report::Started(identities)).doing(|| "reporting to the controller")?;
        await_commit().doing(|| "waiting for the controller to record the cluster")
    });
    let pids = nodes.iter().map(|node| node.pid).collect::<Vec<_>>();
    match started {
        Ok(()) => {
            // Held until the process ends.
            std::mem::forget(lock);
            Ok(pids)
        }
        Err(error) => {
            end(&pids);
            Err(error)
        }
    }
}

/// Gives up what came from the controller: its session, directory and files.
fn detach() -> io::Result<()> {
    // SAFETY: close_range(2) closes descriptors that no object in this process owns yet: this runs
    // first, and the standard three are below. A kernel without it (before 5.9) leaves them open,
    // which does no harm here.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    std::env::set_current_dir("/")?;
    setsid()?;
    Ok(())
}

/// Blocks what [`serve`] waits for.
fn block_signals() -> nix::Result<()> {
    awaited_signals().thread_block()
}

fn awaited_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT])
}

/// Starts the nodes and plugs them in, all at once. `nodes` has those started even if it fails.
fn launch_all(
    spec: &Spec,
    dir: &Path,
    nodes: &mut Vec<Launched>,
) -> Result<Vec<Identity>, LocalError> {
    for node in 1..=spec.nodes {
        nodes.push(launch(spec, dir, node).doing(|| format!("starting {}", plan::name(node)))?);
    }
    // Meanwhile they mount their file systems.
    plug_in(spec, nodes).map_err(|error| death(spec).unwrap_or(error))?;
    for node in nodes.iter_mut() {
        // Fails if the node has died, which is seen below.
        let _ = node.go.write_all(b"g");
    }
    let mut identities = Vec::new();
    for (node, number) in nodes.iter_mut().zip(1..) {
        let ready = node.ready.read_exact(&mut [0]).is_ok();
        let identity = Identity::of(node.pid.as_raw()).filter(|_| ready);
        identities.push(identity.ok_or_else(|| last_words(spec, number))?);
    }
    Ok(identities)
}

/// What the first node said that said something, which it does only when it fails: the cause of
/// whatever else failed.
fn death(spec: &Spec) -> Option<LocalError> {
    (1..=spec.nodes)
        .find(|node| !said(spec, *node).is_empty())
        .map(|node| last_words(spec, node))
}

fn last_words(spec: &Spec, node: u8) -> LocalError {
    LocalError::Start(format!("{}: {}", plan::name(node), said(spec, node)))
}

fn said(spec: &Spec, node: u8) -> String {
    fs::read_to_string(spec.console(node))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Starts a node's first process in new namespaces.
fn launch(spec: &Spec, dir: &Path, node: u8) -> io::Result<Launched> {
    fs::create_dir(spec.node_dir(node))?;
    let (go_reader, go) = io::pipe()?;
    let (ready, ready_writer) = io::pipe()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("gainsay")
        .arg(super::NODE)
        .arg(plan::name(node))
        .arg(dir)
        .arg(node.to_string());
    command
        .stdin(go_reader)
        .stdout(ready_writer)
        .stderr(File::create(spec.console(node))?);
    command.env_clear().envs(ENVIRONMENT);
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    let flags = match spec.disk {
        // The rest its kernel has. It reaches the network through an interface of ours.
        Some(_) => own,
        None => {
            own | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET
        }
    };
    // SAFETY: like fork(2), in a process of one thread, where it may go on as it likes.
    let pid = unsafe { fork_into(flags)? };
    if pid == 0 {
        // If the switch has ended before this, the node notices by the end of its standard input.
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        let error = command.exec();
        eprintln!("cannot run this program again: {error}");
        std::process::exit(127);
    }
    Ok(Launched {
        pid: Pid::from_raw(pid),
        go,
        ready,
    })
}

/// fork(2) with new namespaces for the child, which `unshare` cannot do more than once for PID
/// namespaces. Returns 0 in the child.
///
/// # Safety
/// As fork: with other threads, the child may only call what is async-signal-safe.
unsafe fn fork_into(flags: CloneFlags) -> io::Result<i32> {
    let flags = libc::c_long::from(flags.bits() | Signal::SIGCHLD as i32);
    // SAFETY: a null stack gives the child a copy of this one, as fork does.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(pid).map_err(io::Error::other)
}

/// Makes the bridge and each node's link to it.
fn plug_in(spec: &Spec, nodes: &[Launched]) -> Result<(), LocalError> {
    let mut script = format!(
        "link set lo up\n\
         link add br0 address {BRIDGE_MAC} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
         addr add {CONTROLLER}/{PREFIX} dev br0\n\
         link set br0 up\n"
    );
    for (node, number) in nodes.iter().zip(1..) {
        let (name, mac, pid) = (plan::name(number), plan::mac(number), node.pid);
        match spec.disk {
            Some(_) => {
                make_tap(&name).doing(|| format!("making a network interface for {name}"))?
            }
            None => script.push_str(&format!(
                "link add {name} type veth peer name eth0 address {mac} netns {pid}\n"
            )),
        }
        script.push_str(&format!("link set {name} master br0 up\n"));
    }
    // The base system's own `ip`: this machine may have none.
    let base = spec.base_root();
    let proc = base.join("proc");
    let mut command = Command::new(IP);
    // SAFETY: these are system calls, which are async-signal-safe, and the paths' conversions stay on the stack.
    unsafe {
        command.pre_exec(move || Ok(enter_base(&base, &proc)?));
    }
    batch(&mut command, &script)
}

/// Makes the base system this process's own root, with this machine's processes in its `/proc`: by these `ip` knows network namespaces
/// (since 6.14). Nobody else sees that mount, and it goes with the process.
fn enter_base(base: &Path, proc: &Path) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    let flags = MsFlags::empty();
    mount(Some("proc"), proc, Some("proc"), flags, None::<&str>)?;
    nix::unistd::chroot(base)
}

/// Runs `ip` with a script.
pub(super) fn batch(command: &mut Command, script: &str) -> Result<(), LocalError> {
    let doing = || "running ip to set up the network";
    command.args(["-batch", "-"]).env_clear();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().doing(doing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it stops reading, it says why.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().doing(doing)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(LocalError::Start(format!(
        "setting up the network: ip: {}",
        message.trim()
    )))
}

fn report(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// Waits for the controller's byte, then lets go of the pipes to it.
fn await_commit() -> io::Result<()> {
    io::stdin().read_exact(&mut [0])?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Reaps nodes that end, until asked to end.
fn serve() {
    while let Ok(signal) = awaited_signals().wait() {
        if signal != Signal::SIGCHLD {
            return;
        }
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
    }
}

/// Ends nodes and waits until they are gone. A child that is reaped already cannot be meant by its
/// number: it is waited for before it is killed.
fn end(nodes: &[Pid]) {
    let running: Vec<Pid> = nodes
        .iter()
        .copied()
        .filter(|node| waitpid(*node, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive))
        .collect();
    for node in &running {
        let _ = kill(*node, Signal::SIGKILL);
    }
    for node in running {
        let _ = waitpid(node, None);
    }
}
