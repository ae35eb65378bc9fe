//! Signals to processes, and what is seen of them.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::Failure;

/// The module's name.
pub const NAME: &str = "processes";

/// A signal to some processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// A shell script that prints the processes' ids, one a line.
    pub pids: String,
    /// The signal's number. None only looks.
    pub signal: Option<u8>,
    /// How long to wait until it is seen to have worked, in milliseconds.
    pub patience_ms: u64,
}

/// What is seen of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// One at least runs or sleeps, and none is stopped.
    Running,
    /// One at least is stopped.
    Stopped,
    /// None is there.
    Absent,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of them together.
    pub state: State,
    /// Which they were.
    pub pids: Vec<i32>,
}

/// The last signal that there is.
const LAST: i32 = 64;

/// The pause between two looks.
const LOOK: Duration = Duration::from_micros(500);

pub(crate) fn handle(request: Request) -> Result<Answer, Failure> {
    let not_done = |message: String| Failure::NotDone(message);
    let pids = pids(&request.pids).map_err(not_done)?;
    let Some(signal) = request.signal.map(i32::from) else {
        let state = state(&pids);
        return Ok(Answer { state, pids });
    };
    if !(1..=LAST).contains(&signal) {
        return Err(not_done(format!("no signal {signal}")));
    }
    for pid in &pids {
        match send(*pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                let message = format!("signal {signal} to process {pid}: {error}");
                return Err(Failure::Indeterminate(message));
            }
        }
    }
    let is_seen = |seen: State| match signal {
        libc::SIGSTOP => seen != State::Running,
        libc::SIGCONT => seen != State::Stopped,
        libc::SIGKILL => seen == State::Absent,
        _ => true,
    };
    let deadline = Instant::now() + Duration::from_millis(request.patience_ms);
    loop {
        let seen = match signal {
            libc::SIGSTOP => all_stopped(&pids),
            _ => state(&pids),
        };
        if is_seen(seen) {
            return Ok(Answer { state: seen, pids });
        }
        if Instant::now() >= deadline {
            let message =
                format!("signal {signal} was sent to {pids:?}, and still they are {seen:?}");
            return Err(Failure::Indeterminate(message.to_lowercase()));
        }
        sleep(LOOK);
    }
}

/// Sends any signal of the kernel's, real-time signals too.
fn send(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: it only takes numbers.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// When a process started: field 22 of `/proc/PID/stat`. None for one that is gone.
pub(super) fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

/// Sees that this process ends with its parent, which says who it is; false if it is gone already.
pub(super) fn dies_with(parent: &str) -> bool {
    // SAFETY: both only concern this process.
    let parent_now = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid()
    };
    // Who died before that sends no signal.
    parent.parse() == Ok(parent_now)
}

/// The processes that a script prints.
pub(super) fn pids(script: &str) -> Result<Vec<i32>, String> {
    let output = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run sh: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_whitespace();
    words
        .map(|word| {
            word.parse()
                .map_err(|_| format!("not a process id: {word}"))
        })
        .collect()
}

/// The letter that `/proc` has for a process's state; none for one that is gone or only waits to be reaped.
fn letter(pid: i32) -> Option<u8> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    match letter_in(&String::from_utf8_lossy(&stat))? {
        // A process whose first thread has ended and whose others have not is there: it has its files and ports.
        b'Z' => threads(pid).find(|letter| *letter != b'Z'),
        state => Some(state),
    }
}

/// The states of a process's threads that are there.
fn threads(pid: i32) -> impl Iterator<Item = u8> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let stats = threads.filter_map(|thread| fs::read(thread.ok()?.path().join("stat")).ok());
    stats.filter_map(|stat| letter_in(&String::from_utf8_lossy(&stat)))
}

/// The state of a thread, unless it is gone.
fn letter_in(stat: &str) -> Option<u8> {
    // The state comes after the command, which is in parentheses and may have any letters.
    let (_, after) = stat.rsplit_once(')')?;
    let state = *after.trim_start().as_bytes().first()?;
    (!matches!(state, b'X' | b'x')).then_some(state)
}

fn state(pids: &[i32]) -> State {
    let letters: Vec<u8> = pids.iter().filter_map(|pid| letter(*pid)).collect();
    match letters.is_empty() {
        true => State::Absent,
        false if letters.contains(&b'T') => State::Stopped,
        false => State::Running,
    }
}

/// Stopped only once all of them are.
fn all_stopped(pids: &[i32]) -> State {
    let letters: Vec<u8> = pids.iter().filter_map(|pid| letter(*pid)).collect();
    match letters.iter().all(|state| *state == b'T') {
        _ if letters.is_empty() => State::Absent,
        true => State::Stopped,
        false => State::Running,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Child;

    use super::*;

    /// A process, ended with the test.
    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn signals_are_seen_to_work() {
        let sleepers = [(); 2].map(|()| Sleeper(Command::new("sleep").arg("60").spawn().unwrap()));
        let pids = sleepers.each_ref().map(|sleeper| sleeper.0.id() as i32);
        let send = |signal: Option<i32>| {
            let request = Request {
                pids: format!("echo {}; echo {}", pids[0], pids[1]),
                signal: signal.map(|it| it as u8),
                patience_ms: 10_000,
            };
            handle(request).unwrap().state
        };
        assert_eq!(send(None), State::Running);
        assert_eq!(send(Some(libc::SIGSTOP)), State::Stopped);
        assert_eq!(send(None), State::Stopped);
        assert_eq!(send(Some(libc::SIGCONT)), State::Running);
        // Real-time signals end those that do not expect them.
        send(Some(libc::SIGRTMIN() + 3));
        while send(None) != State::Absent {
            sleep(LOOK);
        }
        assert_eq!(send(Some(libc::SIGKILL)), State::Absent);
        assert_eq!(send(Some(libc::SIGCONT)), State::Absent);
    }

    #[test]
    fn a_process_of_which_no_thread_lives_is_gone() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        let stat = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        while letter_in(&stat()) != Some(b'Z') {
            sleep(Duration::from_millis(1));
        }
        assert_eq!(letter(pid), None);
        child.wait().unwrap();
        assert_eq!(
            letter(std::process::id() as i32).map(|it| matches!(it, b'R' | b'S' | b'D')),
            Some(true)
        );
        let stat = |state: &str| {
            format!("7 (a) Z b) {state} 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 2 0 99 0 0")
        };
        assert_eq!(
            ["S", "Z", "X", "T"].map(|state| letter_in(&stat(state))),
            [Some(b'S'), Some(b'Z'), None, Some(b'T')]
        );
    }

    #[test]
    fn what_is_no_signal_or_no_process_is_refused() {
        let request = |pids: &str, signal: u8| Request {
            pids: pids.to_owned(),
            signal: Some(signal),
            patience_ms: 10,
        };
        let refused = |request| matches!(handle(request), Err(Failure::NotDone(_)));
        assert!(refused(request("echo 1x", 19)));
        assert!([0, 65].map(|signal| refused(request("true", signal))) == [true; 2]);
    }
}
