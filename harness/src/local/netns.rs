//! The switch's network namespace, from which the nodes can be reached.

use std::fs::File;
use std::io;
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::error::{Doing, LocalError};
use super::process::Identity;

/// Moves the calling thread into a process's network namespace.
pub(super) fn enter(switch: Identity) -> Result<(), LocalError> {
    let doing = || "entering the local cluster's network";
    let path = format!("/proc/{}/ns/net", switch.pid);
    let namespace = File::open(path).doing(doing)?;
    // Looked at after opening: what is open stays what it is.
    if !switch.alive() {
        return Err(io::Error::from(io::ErrorKind::NotFound)).doing(doing);
    }
    setns(namespace, CloneFlags::CLONE_NEWNET).doing(doing)
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
