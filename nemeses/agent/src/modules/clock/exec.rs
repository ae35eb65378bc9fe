//! Programs that are about to begin: seen by fanotify, which holds them until they are let go.
//!
//! So a system that is started again is changed before its first instruction, with nothing of ours in whoever starts it. Only
//! the programs that the system consists of are watched, not every program of the node. When this process ends, the
//! kernel lets all go that were held.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

/// Watches programs.
pub(super) struct Execs {
    file: File,
    marked: Vec<(u64, u64)>,
}

/// A program that is held before it begins. It begins when this is dropped.
pub(super) struct Beginning<'a> {
    /// The thread that begins it.
    pub(super) thread: i32,
    program: OwnedFd,
    execs: &'a File,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        let response = libc::fanotify_response {
            fd: self.program.as_raw_fd(),
            response: libc::FAN_ALLOW,
        };
        // SAFETY: plain numbers as bytes.
        let bytes = unsafe {
            let place = std::ptr::from_ref(&response).cast::<u8>();
            std::slice::from_raw_parts(place, size_of_val(&response))
        };
        let _ = self.execs.write_all(bytes);
    }
}

impl Execs {
    /// Watches nothing yet. The error says why this node cannot.
    pub(super) fn new() -> Result<Execs, String> {
        let flags =
            libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_REPORT_TID;
        // SAFETY: numbers only; the descriptor is ours.
        let file = unsafe {
            let fd = libc::fanotify_init(flags, libc::O_RDONLY as u32);
            File::from_raw_fd(Errno::result(fd).map_err(|error| format!("fanotify: {error}"))?)
        };
        let execs = Execs {
            file,
            marked: Vec::new(),
        };
        // Whether it may hold programs shows only here.
        execs.mark(libc::FAN_MARK_ADD, "/proc/self/exe")?;
        execs.mark(libc::FAN_MARK_REMOVE, "/proc/self/exe")?;
        Ok(execs)
    }

    fn mark(&self, how: u32, path: &str) -> Result<(), String> {
        let path = format!("{path}\0");
        // SAFETY: the path ends with a zero.
        let done = unsafe {
            let (fd, path) = (self.file.as_raw_fd(), path.as_ptr().cast());
            libc::fanotify_mark(fd, how, libc::FAN_OPEN_EXEC_PERM, libc::AT_FDCWD, path)
        };
        Errno::result(done)
            .map(drop)
            .map_err(|error| format!("fanotify: {error}"))
    }

    /// Watches a process's program from now on.
    pub(super) fn watch_program_of(&mut self, pid: i32) {
        let path = format!("/proc/{pid}/exe");
        let identity = |path: &str| {
            let data = fs::metadata(path).ok()?;
            Some((data.dev(), data.ino()))
        };
        let Some(program) = identity(&path) else {
            return;
        };
        // We run the shell ourselves, and wait until it has begun.
        if self.marked.contains(&program) || identity("/bin/sh") == Some(program) {
            return;
        }
        if self.mark(libc::FAN_MARK_ADD, &path).is_ok() {
            self.marked.push(program);
        }
    }

    /// The programs that are held now.
    pub(super) fn beginnings(&self) -> Vec<Beginning<'_>> {
        let mut buffer = [0_u8; 4096];
        let length = (&self.file).read(&mut buffer).unwrap_or(0);
        let mut held = Vec::new();
        let mut rest = &buffer[..length];
        const SIZE: usize = size_of::<libc::fanotify_event_metadata>();
        while rest.len() >= SIZE {
            // SAFETY: so many bytes are there, of plain numbers.
            let event = unsafe {
                rest.as_ptr()
                    .cast::<libc::fanotify_event_metadata>()
                    .read_unaligned()
            };
            if event.fd >= 0 {
                held.push(Beginning {
                    thread: event.pid,
                    // SAFETY: the kernel made it for us.
                    program: unsafe { OwnedFd::from_raw_fd(event.fd) },
                    execs: &self.file,
                });
            }
            rest = rest.get(event.event_len as usize..).unwrap_or_default();
        }
        held
    }
}

impl AsFd for Execs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
