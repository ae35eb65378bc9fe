//! Ways to a host that are not a plain connection: through another host, or through a command.
//!
//! Both end in one half of a socket pair, since a session needs a file descriptor.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Failure;
use super::connect::{Connection, Stall};
use super::pump::Pump;

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
        .unanswered()
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
