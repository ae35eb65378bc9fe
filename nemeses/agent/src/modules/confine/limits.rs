//! How many files a process may have open.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::is_still;
use crate::modules::processes::started;

/// What a process's limit was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OpenFiles {
    pub(super) pid: i32,
    started: u64,
    soft: u64,
    hard: u64,
}

impl OpenFiles {
    /// The limit of a process now.
    pub(super) fn of(pid: i32) -> Option<OpenFiles> {
        let limit = exchange(pid, None).ok()?;
        Some(OpenFiles {
            pid,
            started: started(pid)?,
            soft: limit.rlim_cur,
            hard: limit.rlim_max,
        })
    }

    /// Lets so many more files be open than are. The new limit.
    pub(super) fn lower(&self, more: u64) -> io::Result<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid))?;
        // A limit is above the highest number, not the count.
        let numbers =
            open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
        let highest = numbers.max().map_or(0, |number| number + 1);
        let soft = (highest + more).min(self.hard);
        self.set(soft)?;
        Ok(soft)
    }

    /// Sets it to what it was, if the process is still there.
    pub(super) fn restore(&self) -> io::Result<()> {
        match is_still(self.pid, self.started) {
            true => self.set(self.soft),
            false => Ok(()),
        }
    }

    fn set(&self, soft: u64) -> io::Result<()> {
        let limit = libc::rlimit64 {
            rlim_cur: soft,
            rlim_max: self.hard,
        };
        exchange(self.pid, Some(limit)).map(drop)
    }
}

fn exchange(pid: i32, new: Option<libc::rlimit64>) -> io::Result<libc::rlimit64> {
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: prlimit(2) reads one structure and writes the other; both live long enough, or are null.
    let done = unsafe { libc::prlimit64(pid, libc::RLIMIT_NOFILE, new, &mut old) };
    match done {
        0 => Ok(old),
        _ => Err(io::Error::last_os_error()),
    }
}
