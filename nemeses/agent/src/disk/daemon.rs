//! The file system as a process: how it comes to stand over a folder, and how it goes.
//!
//! It belongs to nobody who may end before the system does: it is started by the agent, and then has a session of its own. A
//! second process waits for its end, and takes the mount away should it end badly, so that the plain files are seen and not
//! "transport endpoint is not connected". Taken away from a system that runs, it goes on serving what that has open, until it is closed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use fuser::{Config, INodeNo, Notifier, Session, SessionACL};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, setsid};

use super::control::{Answer, Order, Status, order};
use super::rules::Rules;
use super::serve::Disk;
use super::store::Store;

/// The type that its mounts have.
const TYPE: &str = "fuse.gainsay";
/// Requests that are answered at the same time.
const THREADS: usize = 4;
/// How long whoever gives orders may take to say them.
const ORDER_LIMIT: Duration = Duration::from_secs(10);

/// How long an order waits for the kernel to forget what it has read.
const FORGETTING: Duration = Duration::from_millis(500);

/// Whether the file system stands over a folder, alive or not.
pub(crate) fn mounted(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    mounts.any(|mut words| {
        let (place, kind) = (words.nth(1), words.next());
        place.is_some_and(|place| Path::new(place) == folder) && kind == Some(TYPE)
    })
}

/// Takes the file system away from over a folder. What a process has open there, it keeps.
pub(crate) fn detach(folder: &Path) -> io::Result<()> {
    while mounted(folder) {
        umount2(folder, MntFlags::MNT_DETACH)?;
    }
    Ok(())
}

/// Puts the file system over a folder, which is made if it is not there. Listens at `socket`.
pub(crate) fn start(folder: &Path, socket: &Path) -> Result<(), String> {
    if mounted(folder) {
        match order(socket, &Order::Status) {
            Ok(_) => return Ok(()),
            // Somebody's whose process is gone.
            Err(_) => detach(folder).map_err(|error| format!("{}: {error}", folder.display()))?,
        }
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["disk", "serve"])
        .args([folder, socket])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut said);
    }
    match said.trim() {
        "ready" => {
            thread::spawn(move || child.wait());
            Ok(())
        }
        "" => Err("the file system ended before it stood".to_owned()),
        why => Err(why.to_owned()),
    }
}

/// What the agent's program does with `disk …`.
pub(crate) fn command(words: &[&str]) -> Option<ExitCode> {
    match words {
        ["serve", folder, socket] => Some(serve(Path::new(folder), Path::new(socket))),
        ["calm", socket] => Some(calm(Path::new(socket))),
        _ => None,
    }
}

/// Puts no rules in force. Where nobody listens, none are.
fn calm(socket: &Path) -> ExitCode {
    let calm = Order::Rules {
        rules: Vec::new(),
        seed: 0,
    };
    match order(socket, &calm) {
        Ok(Answer::Status(Status { rules: 0, .. })) => ExitCode::SUCCESS,
        Err(error) if gone(&error) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn serve(folder: &Path, socket: &Path) -> ExitCode {
    let _ = setsid();
    // SAFETY: nothing is called when it comes.
    let _ = unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) };
    // SAFETY: there is no other thread yet.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => {
            // Whoever started it hears of its end by the end of its output.
            quiet();
            let _ = waitpid(child, None);
            let _ = detach(folder);
            let _ = fs::remove_file(socket);
            if let Some(state) = socket.parent() {
                let _ = fs::remove_dir(state);
            }
            ExitCode::SUCCESS
        }
        Ok(ForkResult::Child) => match stand(folder, socket) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes nothing any more to whoever started this.
fn quiet() {
    if let Ok(nowhere) = File::options().write(true).open("/dev/null") {
        // SAFETY: both are open.
        unsafe { libc::dup2(nowhere.as_raw_fd(), libc::STDOUT_FILENO) };
    }
}

fn stand(folder: &Path, socket: &Path) -> Result<(), String> {
    let told = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    umask(Mode::empty());
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let folder = fs::canonicalize(folder).map_err(|error| told("the folder", &error))?;
    let store = Store::open(&folder).map_err(|error| told("the folder", &error))?;
    let disk = Disk {
        store: Arc::new(store),
        rules: Rules::new(),
        root: Arc::new(folder.clone().into_os_string()),
    };
    let device = File::options().read(true).write(true).open("/dev/fuse");
    let device = device.map_err(|error| {
        format!("/dev/fuse: {error}\n  hint: modprobe fuse; a container must be given the device")
    })?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
        device.as_raw_fd()
    );
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("gainsay"),
        &folder,
        Some(TYPE),
        flags,
        Some(options.as_str()),
    )
    .map_err(|error| told("mount", &error))?;
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let session = Session::from_fd(disk.clone(), device.into(), SessionACL::All, config)
        .map_err(|error| told("the kernel", &error))?;
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).map_err(|error| told("the socket", &error))?;
    let notifier = session.notifier();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever goes away in the middle gets no answer.
            let _ = obey(&disk, &notifier, stream);
        }
    });
    println!("ready");
    quiet();
    session.run().map_err(|error| error.to_string())
}

/// Takes an order, and answers it.
fn obey(disk: &Disk, notifier: &Notifier, mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(ORDER_LIMIT))?;
    stream.set_write_timeout(Some(ORDER_LIMIT))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Ok(order) => carry_out(disk, notifier, order),
        Err(error) => Answer::Refused(error.to_string()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn carry_out(disk: &Disk, notifier: &Notifier, order: Order) -> Answer {
    match order {
        Order::Rules { rules, seed } => {
            let concern_reads = Rules::concern_reads(&rules);
            // How many were struck is told of those that end.
            let struck = disk.rules.struck();
            let ending = rules.is_empty();
            disk.rules.set(rules, seed);
            if concern_reads {
                forget_pages(disk, notifier);
            }
            let mut status = status(disk);
            if ending {
                status.struck = struck;
            }
            Answer::Status(status)
        }
        Order::Status => Answer::Status(status(disk)),
        Order::GiveUp => {
            disk.rules.give_up();
            Answer::Status(status(disk))
        }
        Order::Cut { survival, seed } => Answer::Lost(disk.store.cut(survival, seed)),
    }
}

/// Has the kernel forget what it has read, so that it asks again.
///
/// It waits for writes of the same file that are under way, and those may stand still until the next order. So the one who takes orders
/// does not wait for it, or not for long.
fn forget_pages(disk: &Disk, notifier: &Notifier) {
    let (known, notifier) = (disk.store.known(), notifier.clone());
    let (done, is_done) = channel();
    thread::spawn(move || {
        for id in known {
            let _ = notifier.inval_inode(INodeNo(id), 0, 0);
        }
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(FORGETTING);
}

fn status(disk: &Disk) -> Status {
    let (files, entries) = disk.store.not_durable();
    Status {
        rules: disk.rules.count(),
        struck: disk.rules.struck(),
        files,
        entries,
    }
}
