//! The switch's network namespace, from which the nodes can be reached.

use std::fs::File;
use std::io;
use std::sync::OnceLock;
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::error::{Doing, LocalError};
use super::process::Identity;

/// Where this program was before a thread of it first went to the nodes: the way back to the machine's own network.
static OUTSIDE: OnceLock<File> = OnceLock::new();

/// Moves the calling thread into a process's network namespace.
pub(super) fn enter(switch: Identity) -> Result<(), LocalError> {
    let doing = || "entering the local cluster's network";
    let path = format!("/proc/{}/ns/net", switch.pid);
    let namespace = File::open(path).doing(doing)?;
    // Looked at after opening: what is open stays what it is.
    if !switch.alive() {
        return Err(io::Error::from(io::ErrorKind::NotFound)).doing(doing);
    }
    if OUTSIDE.get().is_none() {
        let outside = File::open("/proc/thread-self/ns/net").doing(doing)?;
        OUTSIDE.get_or_init(|| outside);
    }
    setns(namespace, CloneFlags::CLONE_NEWNET).doing(doing)
}

/// Runs something in the network that this program was started in, on a thread of its own, wherever the caller is. What it starts
/// stays there.
///
/// # Errors
/// If the way back is barred.
pub fn outside<T: Send>(act: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some(outside) = OUTSIDE.get() else {
        return Ok(act());
    };
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(outside, CloneFlags::CLONE_NEWNET)?;
            Ok(act())
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs something in a process's network namespace, on a thread of its own.
pub(super) fn run<T: Send>(
    switch: Identity,
    act: impl FnOnce() -> T + Send,
) -> Result<T, LocalError> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| enter(switch).map(|()| act()));
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
