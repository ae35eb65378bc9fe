//! The clock of the whole machine: set, made to jump, to go faster or slower, or to stand still.
//!
//! It goes back to where it would have been, not to where it was, and without asking anybody on a network: the monotonic clock, which
//! nobody can set, says how much time has passed; or, where the pace was changed, the raw one, whose pace nobody can set. What
//! is to be known for that is in a file on the node before the clock is touched, so that this program can do it without
//! a controller: `gainsay-agent restore-machine-clock FOLDER`.
//!
//! Where the pace was changed, the monotonic clock keeps what it gained or lost meanwhile: nobody can take that back.
//!
//! A daemon that keeps the clock right (NTP, PTP) would undo the fault, and take its end for an error of the clock; so a node with
//! one is refused.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Setting;
use super::{Failure, Module, answer, understand};

mod course;
mod machine;

use course::Course;
use machine::{Kernel, Machine};

/// The module's name.
pub const NAME: &str = "machine-clock";
/// The word by which the agent's program is told to bring the clock back; the folder of the node's records follows.
pub const RESTORE: &str = "restore-machine-clock";

/// Programs that keep the clock right, as `/proc` has their names.
const KEEPERS: [&str; 6] = [
    "chronyd",
    "ntpd",
    "openntpd",
    "phc2sys",
    "ptp4l",
    "systemd-timesyn",
];

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Whether it could be done. Changes nothing.
    Probe,
    /// Makes the clock go so from now on.
    Set(Setting),
    /// Looks at it.
    Look,
    /// Brings it back to where it would have been.
    Restore,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The machine's boot: nodes that have the same have the same clock.
    pub boot: String,
    /// How far the clock was ahead of where it would be, in nanoseconds, while it was changed.
    pub during_ns: Option<i64>,
    /// How far it is now, where it was brought back.
    pub after_ns: Option<i64>,
}

/// A clock that is kept on its course, until the sender is gone.
struct Kept {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The module, with the folder of the node's records.
pub(crate) struct MachineClock {
    folder: PathBuf,
    kept: Option<Kept>,
}

impl MachineClock {
    pub(crate) fn new(folder: &Path) -> MachineClock {
        MachineClock {
            folder: folder.to_owned(),
            kept: None,
        }
    }

    fn set(&mut self, setting: &Setting) -> Result<Answer, Failure> {
        if setting.monotonic || !setting.realtime {
            let why = "only the clock that tells the time of day can be set";
            return Err(Failure::NotDone(why.to_owned()));
        }
        self.kept = None;
        let course = Course::begin(&mut Kernel, &self.folder, setting);
        let course = course.map_err(|why| match self.recorded() {
            true => Failure::Indeterminate(why),
            false => Failure::NotDone(why),
        })?;
        let seen = course.is_ahead(&Kernel);
        self.kept = Some(keep(course));
        Ok(Answer {
            during_ns: Some(seen),
            ..self.seen()
        })
    }

    fn recorded(&self) -> bool {
        !matches!(course::Record::read(&self.folder), Ok(None))
    }

    fn seen(&self) -> Answer {
        Answer {
            boot: Kernel.boot(),
            ..Answer::default()
        }
    }

    fn look(&self) -> Result<Answer, Failure> {
        let record = course::Record::read(&self.folder).map_err(Failure::NotDone)?;
        let ahead = |record: course::Record| Kernel.realtime() - record.would_be(&Kernel);
        Ok(Answer {
            during_ns: record.map(ahead),
            ..self.seen()
        })
    }

    fn restore(&mut self) -> Result<Answer, Failure> {
        self.kept = None;
        let offsets = course::restore(&mut Kernel, &self.folder).map_err(Failure::Indeterminate)?;
        Ok(Answer {
            during_ns: offsets.map(|(during, _)| during),
            after_ns: offsets.map(|(_, after)| after),
            ..self.seen()
        })
    }
}

/// Keeps a clock on its course, in a thread.
fn keep(mut course: Course) -> Kept {
    let (stop, stopped) = channel::<()>();
    let thread = thread::spawn(move || {
        // Somebody else's undoing ends it too.
        while !course.is_over()
            && let Ok(Some(wait)) = course.go_on(&mut Kernel)
            && stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
        {}
    });
    Kept {
        stop: Some(stop),
        thread: Some(thread),
    }
}

/// Brings the clock back to where it would have been.
pub(crate) fn restore(folder: &Path) -> Result<(), String> {
    course::restore(&mut Kernel, folder).map(drop)
}

/// Why this machine's clock must not be set; nothing if it may.
fn objection() -> Option<String> {
    const SYS_TIME: u64 = 25;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    if capabilities.unwrap_or(0) & (1 << SYS_TIME) == 0 {
        let why = "the machine's clock cannot be set here: CAP_SYS_TIME is missing, as in containers and on the local cluster\n  \
                   hint: scope=process needs no such right";
        return Some(why.to_owned());
    }
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut names = entries.filter_map(|entry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(name.trim().to_owned())
    });
    let keeper = names.find(|name| KEEPERS.contains(&name.as_str()))?;
    Some(format!(
        "{keeper} keeps the machine's clock right, and would undo the fault\n  hint: stop it for the run (systemctl stop …)"
    ))
}

impl Module for MachineClock {
    fn handle(&mut self, request: Value) -> Result<Value, Failure> {
        match understand(request)? {
            Request::Probe => match objection() {
                Some(why) => Err(Failure::NotDone(why)),
                None => answer(self.seen()),
            },
            Request::Set(setting) => answer(self.set(&setting)?),
            Request::Look => answer(self.look()?),
            Request::Restore => answer(self.restore()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_changed_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut module = MachineClock::new(folder.path());
        // Nothing here can set this machine's clock: no record is there.
        let answer = module.restore();
        assert!(
            matches!(
                answer,
                Ok(Answer {
                    during_ns: None,
                    after_ns: None,
                    ..
                })
            ),
            "{answer:?}"
        );
        let monotonic = Setting {
            monotonic: true,
            ..Setting::default()
        };
        assert!(matches!(module.set(&monotonic), Err(Failure::NotDone(_))));
        assert!(!module.recorded());
    }
}
