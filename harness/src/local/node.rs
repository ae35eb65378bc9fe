//! A node's first process: makes the node what it is, then looks after it.
//!
//! It starts in new namespaces, with the machine's file systems still in sight. It mounts the node's
//! own, makes them the root, waits for the network interface that the switch gives it, and starts the SSH
//! server. From then on it does what PID 1 must: it reaps orphans, and keeps the SSH server up.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, SFlag, mknod, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pivot_root, sethostname, setsid};

use super::error::{Doing, LocalError};
use super::keys::USER_KEY;
use super::machine;
use super::plan::{self, PREFIX, Spec};
use super::switch::{ENVIRONMENT, IP, batch};

const SSHD: &str = "/usr/sbin/sshd";

/// Between attempts to start the SSH server.
const SSHD_PAUSE: Duration = Duration::from_millis(500);

/// `sntrup761x25519`, OpenSSH's first choice, costs twice the time of a whole connection with
/// `curve25519`; it is left out, so that clients come to choose that. Faults open many sessions at once.
const SSHD_CONFIG: &str = "\
HostKey /etc/ssh/ssh_host_ed25519_key
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group14-sha256
UseDNS no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 1000
MaxSessions 1000
PrintMotd no
PrintLastLog no
X11Forwarding no
LogLevel ERROR
SetEnv LANG=C.UTF-8
Subsystem sftp internal-sftp
";

/// Capabilities over the machine rather than the node (capability.h): a node must not set the machine's
/// clock, load modules, reach its hardware, or read its kernel log.
const MACHINE_CAPABILITIES: [(&str, libc::c_ulong); 9] = [
    ("CAP_SYS_MODULE", 16),
    ("CAP_SYS_RAWIO", 17),
    ("CAP_SYS_TIME", 25),
    ("CAP_AUDIT_CONTROL", 30),
    ("CAP_MAC_OVERRIDE", 32),
    ("CAP_MAC_ADMIN", 33),
    ("CAP_SYSLOG", 34),
    ("CAP_WAKE_ALARM", 35),
    ("CAP_BLOCK_SUSPEND", 36),
];

/// Devices that every system has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Devices that a node has where the machine has them: for user-space file systems and tunnels.
const OPTIONAL_DEVICES: [&str; 2] = ["fuse", "net/tun"];

/// Runs a node's first process. Returns its exit code.
pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> i32 {
    // The name comes first, for who looks at `ps`.
    let arguments: Vec<OsString> = arguments.skip(1).collect();
    let [dir, node] = arguments.as_slice() else {
        return 2;
    };
    let Some(node) = node.to_str().and_then(|node| node.parse().ok()) else {
        return 2;
    };
    let run = |spec: Spec| match spec.disk {
        Some(_) => machine::main(&spec, node),
        None => start(&spec, node).map(look_after),
    };
    match Spec::read(Path::new(dir)).and_then(run) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// Makes the node; returns its SSH server's process number.
fn start(spec: &Spec, node: u8) -> Result<i32, LocalError> {
    setsid().doing(|| "making a session")?;
    awaited_signals()
        .thread_block()
        .doing(|| "blocking signals")?;
    umask(Mode::from_bits_truncate(0o022));
    let root = mount_root(spec, node)?;
    mount_kernel_file_systems(&root)?;
    make_devices(&root)?;
    sethostname(plan::name(node)).doing(|| "setting the host name")?;
    write_identity(spec, node, &root)?;
    write_ssh_files(spec, node, &root).doing(|| "writing SSH keys")?;
    change_root(&root)?;
    limit()?;
    share_processors(node, spec.nodes).doing(|| "sharing the processors out")?;

    await_interface()?;
    let address = plan::address(node);
    batch(
        &mut Command::new(IP),
        &format!("link set lo up\naddr add {address}/{PREFIX} dev eth0\nlink set eth0 up\n"),
    )?;
    let sshd = start_sshd().doing(|| "starting sshd")?;
    report_ready()?;
    Ok(sshd)
}

/// Waits until the switch says that the node's network interface is there.
pub(super) fn await_interface() -> Result<(), LocalError> {
    io::stdin()
        .read_exact(&mut [0])
        .doing(|| "waiting for the network interface")
}

/// Tells the switch that the node is ready, and lets go of the pipes to it.
pub(super) fn report_ready() -> Result<(), LocalError> {
    let mut stdout = io::stdout();
    stdout
        .write_all(b"r")
        .and_then(|()| stdout.flush())
        .doing(|| "reporting to the switch")?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .doing(|| "opening null")?;
    nix::unistd::dup2_stdin(&null).doing(|| "letting go of the switch")?;
    nix::unistd::dup2_stdout(&null).doing(|| "letting go of the switch")?;
    Ok(())
}

/// Gives the node its share of the processors, one at least: a runtime that sees all of them in each of
/// five nodes starts five times the threads that they can run, and these wait for each other.
pub(super) fn share_processors(node: u8, nodes: u8) -> nix::Result<()> {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this)?;
    let usable: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| all.is_set(*cpu).unwrap_or(false))
        .collect();
    let mut share = CpuSet::new();
    for cpu in plan::processors(node, nodes, usable.len()) {
        share.set(usable[cpu])?;
    }
    sched_setaffinity(this, &share)
}

/// Mounts the node's root file system: the base and the packages, with what the node writes over them.
fn mount_root(spec: &Spec, node: u8) -> Result<PathBuf, LocalError> {
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).doing(|| "making mounts private")?;
    let dir = spec.node_dir(node);
    for name in ["upper", "work", "root"] {
        fs::create_dir(dir.join(name)).doing(|| format!("making {}", dir.display()))?;
    }
    let root = dir.join("root");
    std::env::set_current_dir(&spec.cache).doing(|| "changing to the cache")?;
    let options = spec.overlay_options(node);
    let flags = MsFlags::empty();
    mount(Some("overlay"), &root, Some("overlay"), flags, Some(options.as_str())).doing(|| {
        format!(
            "mounting an overlay in {} (it must be on a file system that overlayfs can write to, such as \
             ext4 or xfs; GAINSAY_CACHE sets another place)",
            spec.cache.display()
        )
    })?;
    Ok(root)
}

/// Mounts one of the kernel's file systems, or memory, at a path that is made if it does not exist.
fn mount_at(target: &Path, kind: &str, flags: MsFlags, options: &str) -> Result<(), LocalError> {
    let doing = || format!("mounting {kind} on {}", target.display());
    fs::create_dir_all(target).doing(doing)?;
    mount(Some(kind), target, Some(kind), flags, Some(options)).doing(doing)
}

fn mount_kernel_file_systems(root: &Path) -> Result<(), LocalError> {
    let no_devices = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let data_only = no_devices | MsFlags::MS_NOEXEC;
    mount_at(&root.join("proc"), "proc", data_only, "")?;
    // What is below is the machine's, not the node's, except for the network's settings.
    for (path, flags) in [
        ("proc/sys", MsFlags::MS_RDONLY),
        ("proc/sys/net", MsFlags::empty()),
        ("proc/sysrq-trigger", MsFlags::MS_RDONLY),
    ] {
        mount_on_itself(&root.join(path), data_only | flags)?;
    }
    mount_at(
        &root.join("sys"),
        "sysfs",
        data_only | MsFlags::MS_RDONLY,
        "",
    )?;
    mount_at(
        &root.join("dev"),
        "tmpfs",
        MsFlags::MS_NOSUID,
        "mode=755,size=64k",
    )?;
    let terminals = "newinstance,ptmxmode=0666,mode=620,gid=5";
    let terminal_flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_at(&root.join("dev/pts"), "devpts", terminal_flags, terminals)?;
    mount_at(&root.join("dev/shm"), "tmpfs", no_devices, "mode=1777")?;
    mount_at(&root.join("run"), "tmpfs", no_devices, "mode=755,size=256m")
}

/// Gives a part of a mounted file system flags of its own, where the kernel has that part.
fn mount_on_itself(path: &Path, flags: MsFlags) -> Result<(), LocalError> {
    if !path.exists() {
        return Ok(());
    }
    let none: Option<&str> = None;
    let doing = || format!("restricting {}", path.display());
    mount(Some(path), path, none, MsFlags::MS_BIND, none).doing(doing)?;
    mount(
        none,
        path,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags,
        none,
    )
    .doing(doing)
}

fn make_devices(root: &Path) -> Result<(), LocalError> {
    let dev = root.join("dev");
    for name in DEVICES.into_iter().chain(OPTIONAL_DEVICES) {
        let doing = || format!("making /dev/{name}");
        // By the machine's own numbers: it has these, at least the first six.
        let Ok(data) = fs::metadata(Path::new("/dev").join(name)) else {
            continue;
        };
        if !data.file_type().is_char_device() {
            continue;
        }
        let path = dev.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).doing(doing)?;
        }
        mknod(&path, SFlag::S_IFCHR, Mode::empty(), data.rdev()).doing(doing)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).doing(doing)?;
    }
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        symlink(target, dev.join(name)).doing(|| format!("making /dev/{name}"))?;
    }
    Ok(())
}

/// Writes who the node is, and who the others are.
pub(super) fn write_identity(spec: &Spec, node: u8, root: &Path) -> Result<(), LocalError> {
    let name = plan::name(node);
    // 32 hexadecimal digits (machine-id(5)).
    let machine_id = format!("{:0>24}{node:08x}\n", spec.id);
    let files = [
        ("etc/hostname", format!("{name}\n")),
        ("etc/hosts", spec.hosts()),
        ("etc/resolv.conf", String::new()),
        ("etc/machine-id", machine_id),
    ];
    for (path, text) in files {
        let path = root.join(path);
        // Not followed where the base has a link, which might lead out of the node.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).doing(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

pub(super) fn write_ssh_files(spec: &Spec, node: u8, root: &Path) -> io::Result<()> {
    let (keys, ssh) = (spec.keys(), root.join("etc/ssh"));
    let name = plan::name(node);
    write_private(
        &ssh.join("ssh_host_ed25519_key"),
        &fs::read(keys.join(&name))?,
    )?;
    fs::copy(
        keys.join(format!("{name}.pub")),
        ssh.join("ssh_host_ed25519_key.pub"),
    )?;
    fs::write(ssh.join("sshd_config"), SSHD_CONFIG)?;
    let home = root.join("root/.ssh");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&home)?;
    fs::copy(
        keys.join(format!("{USER_KEY}.pub")),
        home.join("authorized_keys"),
    )?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(root.join("run/sshd"))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o1777)
        .create(root.join("run/lock"))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

/// Makes the node's root the root, and lets go of the machine's file systems.
fn change_root(root: &Path) -> Result<(), LocalError> {
    let doing = || "changing the root directory";
    std::env::set_current_dir(root).doing(doing)?;
    // Both in one place: the old root comes to lie over the new one, and is removed from there
    // (pivot_root(2)).
    pivot_root(".", ".").doing(doing)?;
    umount2(".", MntFlags::MNT_DETACH).doing(doing)?;
    std::env::set_current_dir("/").doing(doing)
}

/// Takes away what reaches beyond the node, and lifts the limit on open files: services get it
/// lifted by their init system on other machines.
fn limit() -> Result<(), LocalError> {
    for (name, capability) in MACHINE_CAPABILITIES {
        // SAFETY: prctl(2) with these arguments touches no memory.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        nix::errno::Errno::result(dropped).doing(|| format!("dropping {name}"))?;
    }
    let doing = || "raising the limit on open files";
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing(doing)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).doing(doing)
}

fn start_sshd() -> io::Result<i32> {
    let mut command = Command::new(SSHD);
    command.args(["-D", "-e"]).env_clear().envs(ENVIRONMENT);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

fn awaited_signals() -> SigSet {
    SigSet::from_iter([
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGPWR,
    ])
}

/// Reaps orphans and keeps the SSH server up, until asked to end: the kernel then ends all else in
/// the node.
fn look_after(mut sshd: i32) {
    while let Ok(signal) = awaited_signals().wait() {
        if signal != Signal::SIGCHLD {
            return;
        }
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
            if status.pid().is_some_and(|pid| pid.as_raw() == sshd) {
                sshd = restart_sshd();
            }
        }
    }
}

/// Starts the SSH server again. Sessions that are open have processes of their own, and go on.
fn restart_sshd() -> i32 {
    loop {
        thread::sleep(SSHD_PAUSE);
        match start_sshd() {
            Ok(pid) => return pid,
            Err(error) => eprintln!("starting sshd: {error}"),
        }
    }
}
