//! Starting a cluster's processes, up to the point where all nodes' SSH servers answer.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::{Doing, LocalError};
use super::plan::{self, Spec};
use super::process::Identity;
use super::registry::{Processes, Record};
use super::switch::{ENVIRONMENT, Report};
use super::{SWITCH, keys, machine, netns};

/// How long nodes may take to come up. They take less than a second each.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a node with a kernel of its own may take besides, to boot. It takes four seconds, on a processor of its own.
const BOOT_LIMIT: Duration = Duration::from_secs(10);

/// Between attempts to reach a node's SSH server.
const BANNER_PAUSE: Duration = Duration::from_millis(10);

/// How long one attempt may take. Short: a packet sent before the link is quite up is lost, and
/// its sender tries again only after a second.
const BANNER_ATTEMPT: Duration = Duration::from_millis(250);

/// Makes the cluster's directory and starts its processes.
pub(super) fn start(spec: &Spec, helper: &Path, record: &Record) -> Result<Record, LocalError> {
    let dir = spec.dir();
    let doing = || format!("making {}", dir.display());
    DirBuilder::new().mode(0o700).create(&dir).doing(doing)?;
    // Until the switch holds its own, no other controller must take the directory for an unused one.
    let lock = File::open(&dir).doing(doing)?;
    lock.lock_shared().doing(doing)?;
    keys::generate(spec)?;
    spec.write()?;
    if spec.disk.is_some() {
        machine::prepare(&dir)?;
    }

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
    Ok(record)
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
    let boot = match spec.disk {
        None => Duration::ZERO,
        Some(_) => BOOT_LIMIT * u32::from(spec.nodes),
    };
    let deadline = Instant::now() + START_LIMIT + boot;
    let answered: Vec<bool> = netns::run(processes.switch, || {
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
