//! Load on the whole node: a process of ours that uses up its CPU time, its memory or its disk, as a neighbour would.
//!
//! Unlike [confinement](super::confine), which takes from the system's processes what they could have, this leaves them as they are and
//! competes with them. The process is a child of the agent and dies with it; its files have no names; it is in a control group of its
//! own where there are any. What is left of it then, its group, is on record from before it begins, so that this
//! program can remove it without a controller: `gainsay-agent end-load FOLDER NAME`, and `load-ended` to see that it is so.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::confine::{Controller, Group, Hierarchy, groups_beside};
use super::processes::started;
use super::{Failure, Module, answer, understand};

mod measure;
mod room;
mod work;

pub use measure::Pressure;
use measure::Stalled;
pub(crate) use work::work;
use work::{Counters, Work};

/// The module's name.
pub const NAME: &str = "load";

/// What kind of load, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Load {
    /// CPU time.
    Cpu {
        /// So many threads; as many as there are processors, if absent.
        #[serde(default)]
        workers: Option<u32>,
        /// Each busy for so many hundredths of the time.
        share: u32,
    },
    /// Memory that is used again and again.
    Memory {
        /// So much.
        amount: Amount,
        /// Whether it is taken though the kernel may then kill processes for want of it.
        oom: bool,
    },
    /// Synced writes to a file, and reads from it.
    Io {
        /// So many threads, each with a file of its own.
        workers: u32,
        /// How long each file is.
        bytes: u64,
    },
}

/// How much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of what is available when it begins.
    Percent(u32),
}

/// A load on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What kind, and how much.
    pub load: Load,
    /// Whether everybody else goes first.
    pub low: bool,
    /// The folders with the system's data: files are beside them.
    pub folders: Vec<PathBuf>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Whether it could be done. Changes nothing.
    Probe(Task),
    /// Begin.
    Begin {
        /// What names it: nobody else's group on this machine may be called so.
        name: String,
        /// What.
        task: Task,
    },
    /// Measure it.
    Look {
        /// What names it.
        name: String,
    },
    /// End it.
    End {
        /// What names it.
        name: String,
    },
}

/// A load, as it was measured. All but what it counted itself is the kernel's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Seen {
    /// Whether it is proved to be one.
    pub effective: bool,
    /// How long it has lasted, in milliseconds.
    pub elapsed_ms: u64,
    /// Threads that are at it.
    pub workers: u32,
    /// CPU time that it has used, in milliseconds.
    pub cpu_ms: u64,
    /// Bytes that it has in memory now.
    pub resident: u64,
    /// Bytes that it was to have there, or in its files.
    pub wanted: u64,
    /// Bytes that it has written and synced, as it counted them.
    pub synced: u64,
    /// How often it synced.
    pub syncs: u64,
    /// Bytes that it has read, as it counted them.
    pub read: u64,
    /// Bytes that went to the disk, and came from it, on its behalf.
    pub disk: (u64, u64),
    /// Processes that the kernel killed for want of memory on the node meanwhile.
    pub oom_kills: u64,
    /// How much of the time anybody waited for what: in hundredths.
    pub pressure: BTreeMap<String, Pressure>,
    /// Whether it is in a control group of its own.
    pub grouped: bool,
    /// What went wrong with it, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What must be removed, as the file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    /// The process, and when it was started.
    process: Option<(i32, u64)>,
    group: Option<Group>,
}

impl Record {
    fn file(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("load-{name}.json"))
    }

    fn save(&self, folder: &Path, name: &str) -> io::Result<()> {
        let place = Record::file(folder, name);
        let new = place.with_extension("new");
        fs::create_dir_all(folder)?;
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, place)
    }

    /// Removes the group, and the record of it. The process is gone.
    fn clear(&self, folder: &Path, name: &str) -> io::Result<()> {
        if let Some(group) = &self.group {
            let beside = groups_beside(folder, &Record::file(folder, name));
            group.dissolve(&beside)?;
            group.leave(&beside);
        }
        fs::remove_file(Record::file(folder, name))
    }
}

/// The module: the folder of the node's records, and what runs.
pub(crate) struct Loads {
    folder: PathBuf,
    running: BTreeMap<String, Running>,
}

impl Loads {
    pub(crate) fn new(folder: &Path) -> Loads {
        Loads {
            folder: folder.to_owned(),
            running: BTreeMap::new(),
        }
    }

    fn begin(&mut self, name: String, task: &Task) -> Result<Seen, Failure> {
        if Record::file(&self.folder, &name).exists() {
            return Err(not_done(format!("{name} is in force already")));
        }
        let work = plan(task).map_err(not_done)?;
        match Running::start(&self.folder, &name, work, task.low) {
            Ok(mut running) => {
                let seen = running.look();
                self.running.insert(name, running);
                Ok(seen)
            }
            Err(error) => Err(match end(&self.folder, &name) {
                Ok(()) => not_done(error),
                Err(left) => Failure::Indeterminate(format!("{error}; and then: {left}")),
            }),
        }
    }

    fn look(&mut self, name: &str) -> Result<Seen, Failure> {
        match self.running.get_mut(name) {
            Some(running) => Ok(running.look()),
            None => Err(not_done("there is no such load")),
        }
    }

    fn end(&mut self, name: &str) -> Result<Seen, Failure> {
        let seen = self.running.remove(name).map(Running::end);
        let ended = end(&self.folder, name);
        ended.map_err(|error| Failure::Indeterminate(error.to_string()))?;
        Ok(seen.unwrap_or_default())
    }
}

impl Module for Loads {
    fn handle(&mut self, request: serde_json::Value) -> Result<serde_json::Value, Failure> {
        answer(match understand(request)? {
            Request::Probe(task) => plan(&task).map(|_| Seen::default()).map_err(not_done)?,
            Request::Begin { name, task } => self.begin(name, &task)?,
            Request::Look { name } => self.look(&name)?,
            Request::End { name } => self.end(&name)?,
        })
    }
}

fn not_done(error: impl std::fmt::Display) -> Failure {
    Failure::NotDone(error.to_string())
}

/// What a process is to do here, with all that only the node knows. The error says what is in the way.
fn plan(task: &Task) -> Result<Work, String> {
    let processors = std::thread::available_parallelism().map_or(1, |it| it.get() as u32);
    Ok(match &task.load {
        Load::Cpu { workers, share } => Work::Cpu {
            workers: workers.unwrap_or(processors),
            share: (*share).clamp(1, 100),
        },
        Load::Memory { amount, oom } => Work::Memory {
            bytes: room::memory(*amount, *oom)?,
            reserve: if *oom { 0 } else { room::reserve() },
        },
        Load::Io { workers, bytes } => Work::Io {
            workers: *workers,
            bytes: *bytes,
            folder: room::folder(&task.folders, u64::from(*workers).saturating_mul(*bytes))?,
        },
    })
}

/// A process that is at work.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    work: Work,
    began: Instant,
    grouped: bool,
    /// As it was before.
    stalled: BTreeMap<String, Stalled>,
    oom_kills: u64,
    /// The last that was heard.
    counters: Counters,
}

impl Running {
    fn start(folder: &Path, name: &str, work: Work, low: bool) -> Result<Running, String> {
        let (stalled, oom_kills) = (measure::stalled(), measure::oom_kills());
        let told = |what: &str, error: io::Error| format!("{what}: {error}");
        let mut record = Record {
            group: group(folder, name, &work),
            process: None,
        };
        record
            .save(folder, name)
            .map_err(|error| told("the record", error))?;
        let made = record.group.as_ref().map(|group| {
            group.make()?;
            group.weigh(work.threads(), low)
        });
        if let Some(Err(error)) = made {
            return Err(told("the control group", error));
        }
        let program = std::env::current_exe().map_err(|error| told("this program", error))?;
        let mut child = Command::new(program)
            .args(["work-load", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(|error| told("the process", error))?;
        let pid = child.id() as i32;
        record.process = started(pid).map(|since| (pid, since));
        let stdout = child.stdout.take().ok_or("no output of the process")?;
        let mut running = Running {
            grouped: record.group.is_some(),
            lines: BufReader::new(stdout),
            began: Instant::now(),
            counters: Counters::default(),
            child,
            work,
            stalled,
            oom_kills,
        };
        record
            .save(folder, name)
            .map_err(|error| told("the record", error))?;
        if let Some(group) = &record.group {
            let entered = group.enter(pid);
            entered.map_err(|error| told("the control group", error))?;
        }
        // It has waited for this.
        let order = serde_json::json!({"work": running.work, "low": low});
        let counters = running.say(&order.to_string());
        running.counters = counters.map_err(|error| told("the process", error))?;
        Ok(running)
    }

    /// Says a line to the process, and hears one.
    fn say(&mut self, line: &str) -> io::Result<Counters> {
        let gone = || io::Error::other("it has ended");
        let stdin = self.child.stdin.as_mut().ok_or_else(gone)?;
        stdin.write_all(format!("{line}\n").as_bytes())?;
        let mut heard = String::new();
        match self.lines.read_line(&mut heard)? {
            0 => Err(gone()),
            _ => Ok(serde_json::from_str(&heard)?),
        }
    }

    fn look(&mut self) -> Seen {
        match self.say("look") {
            Ok(counters) => self.counters = counters,
            Err(error) => {
                self.counters.trouble.get_or_insert(error.to_string());
            }
        }
        let pid = self.child.id();
        let elapsed = self.began.elapsed();
        let counters = self.counters.clone();
        let mut seen = Seen {
            elapsed_ms: elapsed.as_millis() as u64,
            workers: self.work.threads(),
            cpu_ms: measure::cpu_ms(pid),
            resident: measure::resident(pid),
            wanted: self.work.bytes(),
            synced: counters.synced,
            syncs: counters.syncs,
            read: counters.read,
            disk: measure::disk(pid),
            oom_kills: measure::oom_kills().saturating_sub(self.oom_kills),
            pressure: measure::pressure(&self.stalled, elapsed),
            grouped: self.grouped,
            trouble: counters.trouble,
            effective: false,
        };
        seen.effective = self.work.is_proved(&seen);
        seen
    }

    /// Looks a last time, and ends it.
    fn end(mut self) -> Seen {
        let seen = self.look();
        let _ = self.child.kill();
        let _ = self.child.wait();
        seen
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The group of a load, if there are any; not made yet.
fn group(folder: &Path, name: &str, work: &Work) -> Option<Group> {
    let controller = match work {
        Work::Cpu { .. } | Work::Io { .. } => Controller::Cpu,
        Work::Memory { .. } => Controller::Memory,
    };
    let hierarchy = Hierarchy::with(controller, folder).ok()?;
    Some(Group::plan(hierarchy, controller, name, &[], &[]))
}

/// How long a process that was killed may take to be gone: it may be in the middle of a write.
const DYING: Duration = Duration::from_secs(10);

/// Ends what is on record under a name, and removes the record.
pub(crate) fn end(folder: &Path, name: &str) -> io::Result<()> {
    let Ok(text) = fs::read(Record::file(folder, name)) else {
        return Ok(());
    };
    let record: Record = serde_json::from_slice(&text)?;
    if let Some((pid, since)) = record.process {
        let is_there = || started(pid) == Some(since) && !is_dead(pid);
        let deadline = Instant::now() + DYING;
        while is_there() {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Err(io::Error::other(format!("process {pid} does not end")));
            }
            sleep(Duration::from_millis(2));
        }
    }
    record.clear(folder, name)
}

/// Whether a process only waits for its parent to notice.
fn is_dead(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, after)| after.trim().chars().next());
    state.is_none_or(|state| matches!(state, 'Z' | 'X' | 'x'))
}

/// Whether nothing is on record under a name any more.
pub(crate) fn is_ended(folder: &Path, name: &str) -> bool {
    !Record::file(folder, name).exists()
}
