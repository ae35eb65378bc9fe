//! Proof that requests to disks are held up: writes of ours, held to the same limit as the system's.
//!
//! The kernel does not count how often it lets a group's requests wait, nor how long. What a process sees of it can be measured: a
//! process of ours writes a page past the page cache, which is one request, a few times before it joins the group, and then again
//! in it, where its requests queue up behind the system's. So both are measured on the same disk and at the same time, and only the
//! limit is different. It ends once the proof is there, to take as little as it can of what may pass, and dies with the agent.

use std::ffi::c_int;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::shared::enter;
use crate::modules::nameless;
use crate::modules::processes::dies_with;

/// So many writes are made before it joins the group; the slowest counts.
const FREE: usize = 5;
/// So many in the group at most, until one is slow enough.
const HELD: usize = 3;
/// Between two of these.
const PAUSE: Duration = Duration::from_millis(200);
/// What takes less is no wait.
const LEAST_US: u64 = 5000;
/// How long it may take to end when the limit is gone.
const ENDING: Duration = Duration::from_secs(5);

/// A page, where the kernel can take it from without a copy.
#[repr(align(4096))]
struct Page([u8; 4096]);

/// How long writes took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    /// The slowest of those without a limit, in microseconds; 0 if there was none.
    pub(super) free_us: u64,
    /// The slowest of those with it. It may have ended because the limit did.
    pub(super) held_us: u64,
    /// How many of these were begun.
    pub(super) count: u64,
}

impl Writes {
    /// Whether the limit, and not the disk, let them wait.
    pub(super) fn are_held_up(&self) -> bool {
        self.free_us > 0 && self.held_us >= LEAST_US && self.held_us > 2 * self.free_us
    }

    /// What a process said of them: a word and a number a line.
    fn heard(text: &str) -> Writes {
        let mut writes = Writes::default();
        for line in text.lines() {
            match line
                .split_once(' ')
                .map(|(word, number)| (word, number.parse()))
            {
                Some(("free", Ok(took))) => writes.free_us = writes.free_us.max(took),
                Some(("held", Ok(took))) => writes.held_us = writes.held_us.max(took),
                Some(("begun", Ok(count))) => writes.count = count,
                _ => {}
            }
        }
        writes
    }
}

/// A file for such writes, which has a page already.
fn file(folder: &Path) -> io::Result<File> {
    let file = nameless(folder, libc::O_DIRECT)?;
    file.write_all_at(&Page([1; 4096]).0, 0)?;
    file.sync_all()?;
    Ok(file)
}

/// Whether such writes can be made in a folder.
pub(super) fn probe(folder: &Path) -> io::Result<()> {
    let made = fs::create_dir_all(folder).and_then(|()| file(folder));
    made.map(drop).map_err(|error| {
        let place = folder.display();
        io::Error::other(format!(
            "{place}: nothing can be written past the page cache there: {error}"
        ))
    })
}

/// A process that writes.
pub(super) struct Writer {
    child: Child,
    said: ChildStdout,
}

impl Writer {
    /// Starts one that writes in a folder, and joins a group.
    pub(super) fn start(folder: &Path, group: &Path) -> io::Result<Writer> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["write-beside", &std::process::id().to_string()])
            .args([folder, group])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let said = child.stdout.take();
        let said = said.ok_or_else(|| io::Error::other("no output of the process"))?;
        Ok(Writer { child, said })
    }

    /// What it has measured. The limit is gone.
    pub(super) fn end(mut self) -> Writes {
        // By that it knows.
        drop(self.child.stdin.take());
        let deadline = Instant::now() + ENDING;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut text = String::new();
        // A pipe without a writer has an end.
        let _ = self.said.read_to_string(&mut text);
        Writes::heard(&text)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process: `gainsay-agent write-beside PARENT FOLDER GROUP`.
pub(crate) fn write_beside(parent: &str, folder: &Path, group: &Path) -> ExitCode {
    match dies_with(parent) && measure(folder, group).is_ok() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measure(folder: &Path, group: &Path) -> io::Result<()> {
    let file = file(folder)?;
    let say = |word: &str, number: u64| writeln!(io::stdout(), "{word} {number}");
    let once = || -> io::Result<u64> {
        let began = Instant::now();
        file.write_all_at(&Page([2; 4096]).0, 0)?;
        Ok(began.elapsed().as_micros().max(1) as u64)
    };
    let mut writes = Writes::default();
    for _ in 0..FREE {
        writes.free_us = writes.free_us.max(once()?);
    }
    say("free", writes.free_us)?;
    enter(group, std::process::id() as i32)?;
    for count in 1..=HELD as u64 {
        say("begun", count)?;
        writes.held_us = once()?;
        say("held", writes.held_us)?;
        if writes.are_held_up() || ends_within(PAUSE) {
            break;
        }
    }
    Ok(())
}

/// Whether the input of this process ends within so long.
fn ends_within(time: Duration) -> bool {
    let mut input = libc::pollfd {
        fd: libc::STDIN_FILENO,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor, as it says.
    unsafe { libc::poll(&raw mut input, 1, time.as_millis() as c_int) != 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_waits_that_a_disk_does_not_explain_are_proof() {
        let writes = |text| Writes::heard(text);
        assert!(writes("free 300\nbegun 1\nheld 125000\n").are_held_up());
        // As slow as the disk is; no slower than any; never joined; cut short.
        for text in [
            "free 70000\nbegun 1\nheld 125000\n",
            "free 300\nbegun 3\nheld 900\nheld 400\nheld 4000\n",
            "free 300\n",
            "",
        ] {
            assert!(!writes(text).are_held_up(), "{text}");
        }
        let heard = writes("free 300\nbegun 1\nheld 400\nbegun 2\nheld 9000\n");
        assert_eq!((heard.free_us, heard.held_us, heard.count), (300, 9000, 2));
    }
}
