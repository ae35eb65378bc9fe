//! Nodes with kernels of their own: user-mode Linux, a Linux kernel that is a program.
//!
//! What a kernel has only once cannot be had by a node that shares the machine's: a clock that is set, `tc netem` where the machine's kernel
//! lacks it, a reboot. Such a node boots in a few seconds and takes some hundred megabytes.
//!
//! It is a process in namespaces of its own (mount, PID), whose first process, the *supervisor* ([`main`]), is this program again. When
//! that one ends, so does all of it. The machine's memory is a file in a temporary file system of those namespaces; its disk is a file
//! in the cluster's directory that has what differs from an image that all nodes share ([`disk`]); its network interface is a TAP on
//! the cluster's bridge. A kernel that reboots ends, and the supervisor starts it again; after one that powers off it waits until it is
//! [told to](Power).

pub(super) mod disk;
mod power;
mod tap;

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::error::{Doing, LocalError};
use super::node::{
    await_interface, report_ready, share_processors, write_identity, write_ssh_files,
};
use super::plan::{self, PREFIX, Spec};

pub use power::Power;
pub(super) use power::State;
pub(super) use tap::make as make_tap;

/// User-mode Linux.
pub(super) const PROGRAM: &str = "linux.uml";

/// How much memory a node has, in megabytes. What it does not use, it does not take.
const MEMORY_MB: u32 = 512;

/// What the file of the memory needs beyond it.
const MEMORY_MORE_MB: u32 = 64;

/// Tells the supervisor to start the machine, if it is off.
const ON: Signal = Signal::SIGUSR1;

/// Tells the supervisor to end the machine at once.
const CUT: Signal = Signal::SIGUSR2;

/// How user-mode Linux ends when its kernel is to begin anew.
const REBOOTED: i32 = 1;

/// The name of the file with what [`xstate_is_wide`] needs, in the cluster's directory.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const XSTATE: &str = "xstate.so";

/// Runs a node's supervisor. Ends when it is told to.
pub(super) fn main(spec: &Spec, node: u8) -> Result<(), LocalError> {
    setsid().doing(|| "making a session")?;
    awaited_signals()
        .thread_block()
        .doing(|| "blocking signals")?;
    umask(Mode::from_bits_truncate(0o022));
    mount_own()?;
    write_seed(spec, node)?;
    share_processors(node, spec.nodes).doing(|| "sharing the processors out")?;
    let doing = || "preparing user-mode Linux";
    std::env::set_current_dir(spec.node_dir(node)).doing(doing)?;
    // A kernel that panics would leave one of all its memory.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).doing(doing)?;
    await_interface()?;
    let machine = Machine { spec, node };
    let running = machine.start()?;
    report_ready()?;
    machine.look_after(running);
    Ok(())
}

/// Mounts that nobody else sees: processes, and room for the memory.
fn mount_own() -> Result<(), LocalError> {
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).doing(|| "making mounts private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).doing(|| "mounting /proc")?;
    let size = format!("mode=700,size={}m", MEMORY_MB + MEMORY_MORE_MB);
    let doing = || "mounting room for a node's memory";
    mount(
        Some("memory"),
        "/dev/shm",
        Some("tmpfs"),
        flags,
        Some(size.as_str()),
    )
    .doing(doing)
}

/// Who the node is, where it finds it when it first boots.
fn write_seed(spec: &Spec, node: u8) -> Result<(), LocalError> {
    let seed = spec.node_dir(node).join("seed");
    let doing = || format!("making {}", seed.display());
    for folder in ["etc/ssh", "root"] {
        fs::create_dir_all(seed.join(folder)).doing(doing)?;
    }
    write_identity(spec, node, &seed)?;
    write_ssh_files(spec, node, &seed).doing(|| "writing SSH keys")
}

struct Machine<'a> {
    spec: &'a Spec,
    node: u8,
}

impl Machine<'_> {
    fn start(&self) -> Result<Pid, LocalError> {
        let doing = || format!("starting {PROGRAM}");
        let child = self.command()?.spawn().doing(doing)?;
        let pid = i32::try_from(child.id())
            .map_err(io::Error::other)
            .doing(doing)?;
        State::On.write(&self.spec.node_dir(self.node))?;
        Ok(Pid::from_raw(pid))
    }

    fn command(&self) -> Result<Command, LocalError> {
        let (spec, node) = (self.spec, self.node);
        let image = spec.disk.as_deref().map(|disk| spec.cache.join(disk));
        let image = image.unwrap_or_default().join(disk::IMAGE);
        let name = plan::name(node);
        let console = spec.console(node);
        let doing = || format!("opening {}", console.display());
        let console = File::options().append(true).open(&console).doing(doing)?;
        let mut command = Command::new(PROGRAM);
        // User-mode Linux begins anew by running what it was called, with all the files that it has open, its network interface
        // among them, which it then cannot open again. So it is called `false`, ends with 1, and is started again by us.
        command.arg0("false");
        command.args(
            [
                format!("umid={name}"),
                "uml_dir=/dev/shm/".to_owned(),
                format!("mem={MEMORY_MB}M"),
                format!(
                    "ubd0={},{}",
                    spec.node_dir(node).join("disk").display(),
                    image.display()
                ),
                format!("hostfs={}", spec.node_dir(node).join("seed").display()),
                format!(
                    "vec0:transport=tap,ifname={name},mac={},gro=1",
                    plan::mac(node)
                ),
                // The rest of the image's tables is not to be written out to every node's disk.
                "root=/dev/ubda rw rootflags=noinit_itable".to_owned(),
                format!("init={}", disk::INIT),
                format!("gainsay_address={}/{PREFIX}", plan::address(node)),
                "con=null con0=null,fd:1 con1=null ssl=null quiet".to_owned(),
            ]
            .iter()
            .flat_map(|words| words.split(' ')),
        );
        command.env("TMPDIR", "/dev/shm");
        if let Some(preload) = preload(spec)? {
            command.env("LD_PRELOAD", preload);
        }
        let errors = console.try_clone().doing(doing)?;
        command.stdin(Stdio::null()).stdout(console).stderr(errors);
        // SAFETY: sigprocmask(2) is async-signal-safe; the set is on the stack.
        unsafe {
            command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?));
        }
        Ok(command)
    }

    /// Reaps, and does what it is told, until it is told to end.
    fn look_after(&self, running: Pid) {
        let mut running = Some(running);
        while let Ok(signal) = awaited_signals().wait() {
            match signal {
                Signal::SIGCHLD => {}
                CUT => {
                    if let Some(pid) = running {
                        let _ = kill(pid, Signal::SIGKILL);
                    }
                }
                ON => running = running.or_else(|| self.begin()),
                _ => return,
            }
            while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                if status == WaitStatus::StillAlive {
                    break;
                }
                if status.pid().is_some() && status.pid() == running {
                    self.clear();
                    running = match status {
                        WaitStatus::Exited(_, REBOOTED) => self.begin(),
                        _ => self.rest(),
                    };
                }
            }
        }
    }

    fn begin(&self) -> Option<Pid> {
        let started = self.start().inspect_err(|error| eprintln!("{error}"));
        started.ok()
    }

    fn rest(&self) -> Option<Pid> {
        let told = State::Off.write(&self.spec.node_dir(self.node));
        told.unwrap_or_else(|error| eprintln!("{error}"));
        None
    }

    /// What a machine that ended leaves: the processes that it traced, and its files in memory.
    fn clear(&self) {
        // All but this one: it is the first of its namespace.
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        while waitpid(None, None).is_ok() {}
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn awaited_signals() -> SigSet {
    SigSet::from_iter([
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGPWR,
        ON,
        CUT,
    ])
}

/// Whether the processor has more registers than user-mode Linux has room for.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn xstate_is_wide() -> bool {
    /// `HOST_FP_SIZE` of user-mode Linux 5.15 to 6.12.
    const ROOM: u32 = 2696;
    // The size of all that the system has enabled (Intel's manual, CPUID leaf 0DH).
    std::arch::x86_64::__cpuid_count(0xd, 0).ebx > ROOM
}

/// What user-mode Linux is to load first, if it needs that here.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn preload(spec: &Spec) -> Result<Option<std::path::PathBuf>, LocalError> {
    let path = spec.dir().join(XSTATE);
    Ok(xstate_is_wide().then_some(path))
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn preload(_: &Spec) -> Result<Option<std::path::PathBuf>, LocalError> {
    Ok(None)
}

/// Puts into a cluster's directory what its machines need besides their disks.
pub(super) fn prepare(dir: &Path) -> Result<(), LocalError> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if xstate_is_wide() {
        let path = dir.join(XSTATE);
        let object = include_bytes!(env!("GAINSAY_XSTATE"));
        fs::write(&path, object).doing(|| format!("writing {}", path.display()))?;
    }
    let _ = dir;
    Ok(())
}
