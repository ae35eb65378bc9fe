//! Clocks of single processes, changed in the process alone: the machine's own stays as it is.
//!
//! Programs ask for the time in the vDSO, code of the kernel's that is in every process. Its functions are replaced, in the
//! processes of the system under test alone, by [ones of ours](stub) that change what the originals say. So it works for whatever
//! asks there: C, Go, Rust, the JVM, Erlang; in containers; and without the right to set the clock. How the clocks go is changed
//! while they do, by a store into a page that the process shares; children that are forked have it too.
//!
//! Processes that come later are changed as well: the system's programs are seen to [begin](exec), and are changed before their
//! first instruction, where the node lets us see it (fanotify, which needs `CAP_SYS_ADMIN`; containers mostly have none).
//! Elsewhere, and where a process of the system begins another program, it is found within a twentieth of a second. What else
//! begins one of the system's programs (another service in Java beside a system in Java) is changed too, for three seconds.
//!
//! # What is not changed
//!
//! - Deadlines of `CLOCK_REALTIME` that go to the kernel as points in time (`pthread_cond_timedwait`, `sem_timedwait`,
//!   `clock_nanosleep` and timers with `TIMER_ABSTIME`): the kernel compares them with the true clock, so such a wait is too long or
//!   too short by the skew. Go and the JVM wait by the monotonic clock.
//! - Programs that ask the kernel without the vDSO, and 32-bit programs.
//! - What the kernel stamps: times of files, of packets, of processes.
//!
//! Processes are changed by another process than the agent's, that outlives it just long enough to make all as it was.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Failure, Module, answer, understand};

mod setting;

#[cfg(target_arch = "x86_64")]
mod exec;
#[cfg(target_arch = "x86_64")]
mod resident;
#[cfg(target_arch = "x86_64")]
mod stub;
#[cfg(target_arch = "x86_64")]
mod surgery;
#[cfg(target_arch = "x86_64")]
mod tracee;
#[cfg(target_arch = "x86_64")]
mod vdso;

#[cfg(target_arch = "x86_64")]
pub(crate) use resident::{serve, undo};
use setting::Rule;
pub use setting::{FASTEST_PPB, STILL_PPB, Setting};

/// The module's name.
pub const NAME: &str = "clock";
/// The word by which the agent's program is told to be the process that changes others; a tag follows.
pub const RESIDENT: &str = "change-clocks";
/// The word by which the agent's program is told to make all as it was; a tag follows.
pub const UNDO: &str = "undo-clocks";

/// A request to the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What all that is changed is known by: letters, digits and dashes.
    pub tag: String,
    /// What is to be done.
    pub what: What,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Sees whether it can be done here, on a process of its own.
    Probe,
    /// Makes the clocks of the system's processes go so from now on.
    Set {
        /// A shell script that prints the processes' ids, one a line. Their children are meant too.
        pids: String,
        /// How.
        setting: Setting,
    },
    /// Looks at them.
    Look,
    /// Makes all as it was.
    Restore,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The processes whose clocks are, or were, changed.
    pub processes: Vec<Seen>,
    /// Which could not be, and why.
    pub refused: Vec<String>,
    /// How processes that come later are.
    pub follows: Follows,
}

/// How processes are changed that come later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Follows {
    /// Before their first instruction.
    Begun,
    /// Shortly after; and why not before.
    Found(String),
}

/// A process whose clocks were looked at from inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The process.
    pub pid: i32,
    /// Its program, as `/proc` has it.
    pub program: String,
    /// Before it was changed, where this request did that.
    pub before: Option<Look>,
    /// While it was.
    pub during: Option<Look>,
    /// Afterwards, where this request made it as it was.
    pub after: Option<Look>,
    /// Whether all looks showed what they ought to.
    pub as_told: bool,
    /// Whether a clock was off for certain.
    pub moved: bool,
}

/// What a process's clocks said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Its `CLOCK_REALTIME`.
    pub realtime: Reading,
    /// Its `CLOCK_MONOTONIC`.
    pub monotonic: Reading,
}

/// What a clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The true time then, by the same clock of the machine, in nanoseconds.
    pub true_ns: i64,
    /// How far it was ahead of that.
    pub ahead_ns: i64,
    /// How much that may be wrong either way: half of the time that looking took.
    pub within_ns: i64,
}

impl Look {
    fn readings(&self) -> [(i32, &Reading); 2] {
        [
            (libc::CLOCK_REALTIME, &self.realtime),
            (libc::CLOCK_MONOTONIC, &self.monotonic),
        ]
    }

    /// Whether this is what the clocks must say by a rule.
    fn is_told_by(&self, rule: &Rule) -> bool {
        self.readings().into_iter().all(|(clock, reading)| {
            // It was looked at some time in between; and it may gain meanwhile.
            let told = |time: i64| rule.tells(clock, time);
            let said = reading.true_ns + reading.ahead_ns;
            let [earliest, latest] =
                [-1, 1].map(|way| told(reading.true_ns + way * reading.within_ns));
            let slack = reading.within_ns + 1000;
            let (least, most) = (earliest.min(latest) - slack, earliest.max(latest) + slack);
            (least..=most).contains(&said)
        })
    }

    /// Whether a clock that a rule is about was off for certain.
    fn has_moved(&self, rule: &Rule) -> bool {
        self.readings().into_iter().any(|(clock, reading)| {
            rule.mask & (1 << clock) != 0 && reading.ahead_ns.abs() > reading.within_ns + 1000
        })
    }
}

/// The module: hands requests to the process that changes others.
#[derive(Default)]
pub(crate) struct Clock {
    resident: Option<Running>,
}

struct Running {
    tag: String,
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its input ends; it makes all as it was, and ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(tag: &str) -> Result<Running, String> {
        let mut child = Command::new("/proc/self/exe")
            .args([RESIDENT, tag])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Running {
            tag: tag.to_owned(),
            child,
            answers,
        })
    }

    fn ask(&mut self, what: &What) -> Result<Answer, Failure> {
        let unknown = |error: &dyn std::fmt::Display| Failure::Indeterminate(error.to_string());
        let mut line = serde_json::to_vec(what).map_err(|error| unknown(&error))?;
        line.push(b'\n');
        let stdin = self.child.stdin.as_mut().ok_or(unknown(&"no input"))?;
        stdin.write_all(&line).map_err(|error| unknown(&error))?;
        let mut text = String::new();
        self.answers
            .read_line(&mut text)
            .map_err(|error| unknown(&error))?;
        let answer: Result<Answer, Failure> = serde_json::from_str(&text)
            .map_err(|_| Failure::Indeterminate(format!("`{RESIDENT}` ended")))?;
        answer
    }
}

impl Module for Clock {
    fn handle(&mut self, request: Value) -> Result<Value, Failure> {
        let request: Request = understand(request)?;
        if cfg!(not(target_arch = "x86_64")) {
            return Err(Failure::NotDone(format!(
                "the clocks of single processes can be changed on x86_64 machines only, and this is {}",
                std::env::consts::ARCH
            )));
        }
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if !request.tag.chars().all(plain) || !(1..=200).contains(&request.tag.len()) {
            return Err(Failure::NotDone(format!("not a tag: {}", request.tag)));
        }
        if self
            .resident
            .as_ref()
            .is_some_and(|resident| resident.tag != request.tag)
        {
            self.resident = None;
        }
        let resident = match &mut self.resident {
            Some(resident) => resident,
            none => {
                let started = Running::start(&request.tag).map_err(Failure::NotDone)?;
                none.insert(started)
            }
        };
        let done = resident.ask(&request.what);
        if matches!(done, Err(Failure::Indeterminate(_)))
            && resident.child.try_wait().is_ok_and(|it| it.is_some())
        {
            self.resident = None;
        }
        answer(done?)
    }
}
