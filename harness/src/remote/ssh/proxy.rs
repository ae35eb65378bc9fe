//! Ways to a host that are not a plain connection: through another host, or through a command.
//!
//! Both end in one half of a socket pair, since a session needs a file descriptor.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use ssh2::{BlockDirections, Channel};

use super::Failure;
use super::connect::{Connection, Stall, poll_timeout};

/// Opens a connection from a jump host to the next, and keeps it going on a thread that ends with
/// either side.
pub(super) fn tunnel(
    jump: Connection,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<OwnedFd, Failure> {
    let opened = jump.until(deadline, || {
        jump.session.channel_direct_tcpip(host, port, None)
    });
    let channel = opened.map_err(|stall| {
        let why = match stall {
            Stall::Late => "no answer in time".to_owned(),
            Stall::Broken(why) => why,
        };
        Failure::new(
            format!("the jump host cannot reach {host} port {port}: {why}"),
            "try from the jump host: nc -vz HOST PORT; its sshd must allow TCP forwarding",
        )
    })?;
    let (ours, theirs) = pair()?;
    let pump = Pump::new(jump, channel, ours).map_err(local)?;
    std::thread::Builder::new()
        .name("ssh-jump".into())
        .spawn(move || pump.run())
        .map_err(local)?;
    Ok(theirs.into())
}

fn pair() -> Result<(UnixStream, UnixStream), Failure> {
    UnixStream::pair().map_err(local)
}

fn local(error: io::Error) -> Failure {
    Failure::new(
        format!("cannot set up a tunnel: {error}"),
        "this machine may be out of threads or file descriptors (ulimit -n)",
    )
}

/// Moves bytes between a channel of the jump host's session and our half of a socket pair.
struct Pump {
    channel: Channel,
    local: UnixStream,
    jump: Connection,
    outbound: Pipe,
    inbound: Pipe,
}

/// Bytes on their way.
struct Pipe {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    ended: bool,
}

/// What came of moving bytes.
enum Step {
    /// Some moved.
    Moved,
    /// None could.
    Stuck,
}

/// Whether the session that uses the tunnel still does.
#[derive(PartialEq)]
enum Local {
    There,
    Gone,
}

impl Pipe {
    fn new() -> Pipe {
        Pipe {
            buffer: vec![0; 32 << 10].into(),
            from: 0,
            to: 0,
            ended: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn step(&mut self, source: &mut impl Read, target: &mut impl Write) -> io::Result<Step> {
        let mut step = Step::Stuck;
        if self.is_empty() && !self.ended {
            match source.read(&mut self.buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => (self.from, self.to, step) = (0, count, Step::Moved),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !self.is_empty() {
            match target.write(&self.buffer[self.from..self.to]) {
                Ok(count) => (self.from, step) = (self.from + count, Step::Moved),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(step)
    }
}

impl Pump {
    fn new(jump: Connection, channel: Channel, local: UnixStream) -> io::Result<Pump> {
        local.set_nonblocking(true)?;
        Ok(Pump {
            channel,
            local,
            jump,
            outbound: Pipe::new(),
            inbound: Pipe::new(),
        })
    }

    fn run(mut self) {
        loop {
            // An end or an error of either side shows to the session as a closed connection.
            let out = self.outbound.step(&mut self.local, &mut self.channel);
            let back = self.inbound.step(&mut self.channel, &mut self.local);
            let (Ok(out), Ok(back)) = (out, back) else {
                return;
            };
            let over = |pipe: &Pipe| pipe.ended && pipe.is_empty();
            if over(&self.outbound) || over(&self.inbound) {
                return;
            }
            let stuck = matches!((out, back), (Step::Stuck, Step::Stuck));
            if stuck && !self.readable_now() && self.wait() == Local::Gone {
                return;
            }
        }
    }

    /// Whether the session has already read more for us.
    fn readable_now(&self) -> bool {
        self.inbound.is_empty() && self.channel.read_window().available > 0
    }

    fn wait(&self) -> Local {
        let mut remote = PollFlags::POLLIN;
        if matches!(
            self.jump.session.block_directions(),
            BlockDirections::Outbound | BlockDirections::Both
        ) {
            remote |= PollFlags::POLLOUT;
        }
        let mut local = PollFlags::empty();
        if self.outbound.is_empty() {
            local |= PollFlags::POLLIN;
        }
        if !self.inbound.is_empty() {
            local |= PollFlags::POLLOUT;
        }
        let mut fds = [
            PollFd::new(self.jump.socket().as_fd(), remote),
            PollFd::new(self.local.as_fd(), local),
        ];
        let _ = poll(&mut fds, poll_timeout(Duration::from_secs(10))); // then look again
        match fds[1].revents() {
            Some(events) if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) => {
                Local::Gone
            }
            _ => Local::There,
        }
    }
}

/// The process of a `ProxyCommand`. Dropping it ends it.
pub(super) struct ProxyProcess {
    child: Child,
    stderr: Arc<Mutex<String>>,
}

impl ProxyProcess {
    /// What it wrote on standard error, for a message.
    pub(super) fn complaint(&self) -> String {
        // The process may be about to say why.
        std::thread::sleep(Duration::from_millis(50));
        let said = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if said.trim().is_empty() {
            String::new()
        } else {
            format!("; the ProxyCommand said: {}", said.trim())
        }
    }
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a `ProxyCommand`.
pub(super) fn spawn(command: &str) -> Result<(OwnedFd, ProxyProcess), Failure> {
    let (ours, theirs) = pair()?;
    let input: OwnedFd = theirs.try_clone().map_err(local)?.into();
    let output: OwnedFd = theirs.into();
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(local)?;
    let stderr = Arc::new(Mutex::new(String::new()));
    if let Some(mut pipe) = child.stderr.take() {
        let said = Arc::clone(&stderr);
        let _ = std::thread::Builder::new()
            .name("ssh-proxy-stderr".into())
            .spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    if said.len() < 4096 {
                        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
                    }
                }
            });
    }
    Ok((ours.into(), ProxyProcess { child, stderr }))
}
