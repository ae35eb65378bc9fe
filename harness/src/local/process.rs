//! Naming a process so that the name cannot come to mean another one, and ending it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process of this boot: its number, which the kernel reuses, and when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// As this machine's root PID namespace (or the one we are in) numbers it.
    pub(super) pid: i32,
    /// In clock ticks since boot.
    pub(super) start: u64,
}

impl Identity {
    /// The process that has a number now. None if there is none, or it is dead and unreaped.
    pub(super) fn of(pid: i32) -> Option<Identity> {
        let (state, start) = stat(pid)?;
        let dead = matches!(state, 'Z' | 'X');
        (!dead).then_some(Identity { pid, start })
    }

    /// This process.
    pub(super) fn own() -> Option<Identity> {
        Identity::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether it still runs.
    pub(super) fn alive(self) -> bool {
        Identity::of(self.pid) == Some(self)
    }

    /// Lets go of it if it is a child of ours that has ended: nobody else can.
    pub(super) fn reap(self) {
        if stat(self.pid).is_some_and(|(_, start)| start == self.start) {
            // Fails where it is somebody else's child, whose duty it then is.
            let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
        }
    }

    /// A handle that stays with this very process. None if it is gone.
    pub(super) fn open(self) -> io::Result<Option<Handle>> {
        // SAFETY: pidfd_open(2) touches no memory.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ESRCH) {
                Ok(None)
            } else {
                Err(error)
            };
        }
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // The number may have been reused before we opened it, but no longer after.
        Ok(self.alive().then_some(Handle(fd)))
    }
}

/// The state of the process that has a number now, and when it started (proc_pid_stat(5)).
fn stat(pid: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // Fields are counted from 1, and the state is number 3.
    let start = fields.nth(22 - 4)?.parse().ok()?;
    Some((state, start))
}

/// A handle to one process (a pidfd).
pub(super) struct Handle(OwnedFd);

impl Handle {
    /// Sends a signal. A process that is gone counts as having got it.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let (fd, signal) = (self.0.as_raw_fd(), signal as libc::c_int);
        // SAFETY: pidfd_send_signal(2) with a null siginfo touches no memory.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                fd,
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for its end; false if it did not come in time.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(
                &mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)],
                timeout,
            ) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    #[allow(clippy::zombie_processes)] // Reaped by what is tested.
    fn life_and_death_of_a_process() {
        let child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(identity.alive());
        assert!(
            !Identity {
                start: identity.start + 1,
                ..identity
            }
            .alive()
        );
        let handle = identity.open().unwrap().unwrap();
        assert!(!handle.wait(Duration::from_millis(10)).unwrap());
        handle.signal(Signal::SIGKILL).unwrap();
        assert!(handle.wait(Duration::from_secs(60)).unwrap());
        assert!(!identity.alive());
        assert!(identity.open().unwrap().is_none());
        assert!(stat(identity.pid).is_some(), "a zombie");
        identity.reap();
        assert_eq!(stat(identity.pid), None);
        handle.signal(Signal::SIGKILL).unwrap();
    }

    #[test]
    fn own_identity() {
        let own = Identity::own().unwrap();
        assert_eq!(Identity::of(own.pid), Some(own));
    }
}
