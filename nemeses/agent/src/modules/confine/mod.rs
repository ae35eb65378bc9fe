//! Processes confined by control groups and limits: frozen, short of CPU time, memory, processes, open files or requests to disks.
//!
//! They are moved into a group of our own, and back to where each came from; their limits are lowered, and set to what
//! they were. What must be put back is in a file on the node from before anything is done, so that this program can
//! do it without a controller: `gainsay-agent release FOLDER NAME`, and `released` to see that it is so.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::processes::{pids, started};
use super::{Failure, Module, answer, understand};
use crate::disk::control::server;

mod beside;
mod disks;
mod group;
mod hierarchy;
mod limits;
mod shared;

use beside::Writer;
pub(crate) use beside::write_beside;
pub(in crate::modules) use group::Group;
use group::REQUESTS;
pub(in crate::modules) use hierarchy::{Controller, Hierarchy};
use limits::OpenFiles;

/// The module's name.
pub const NAME: &str = "confine";

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Whether it could be done. Changes nothing.
    Probe(Bounds),
    /// Confines processes.
    Confine {
        /// What names it: nobody else's group on this machine may be called so.
        name: String,
        /// A shell script that prints the processes' ids, one a line.
        pids: String,
        /// How they are confined.
        bounds: Bounds,
    },
    /// Puts all back.
    Release {
        /// What names it.
        name: String,
    },
}

/// How processes are confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// They do not run at all.
    #[serde(default)]
    pub freeze: bool,
    /// Together they may use so many hundredths of one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
    /// Together they may take so many more bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_memory: Option<u64>,
    /// So many more processes and threads may be begun than there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_processes: Option<u32>,
    /// So many more files may be open in each process than are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_files: Option<u64>,
    /// So many requests a second may pass to each disk together to write, and as many to read; made by them, or where our file
    /// system stands over the data, by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_requests: Option<u32>,
}

impl Bounds {
    fn controllers(&self) -> Vec<Controller> {
        let wanted = [
            (self.freeze, Controller::Freezer),
            (self.cpu_percent.is_some(), Controller::Cpu),
            (self.more_memory.is_some(), Controller::Memory),
            (self.more_processes.is_some(), Controller::Pids),
            (self.disk_requests.is_some(), Controller::Io),
        ];
        let wanted = wanted.into_iter().filter(|(wanted, _)| *wanted);
        wanted.map(|(_, controller)| controller).collect()
    }
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The processes that are confined, or were.
    pub pids: Vec<i32>,
    /// What the kernel counts: how often they were held up, or refused something; and what their bounds are.
    pub counters: BTreeMap<String, u64>,
}

/// What must be put back, as the file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    groups: Vec<Group>,
    files: Vec<OpenFiles>,
    bounds: Bounds,
}

/// The groups on a node's records, but for those of one record: other faults have them.
pub(in crate::modules) fn groups_beside(folder: &Path, record: &Path) -> Vec<Group> {
    /// What there may be of groups in a record of any module.
    #[derive(Deserialize)]
    struct Any {
        #[serde(default)]
        groups: Vec<Group>,
        #[serde(default)]
        group: Option<Group>,
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut others: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    others.retain(|path| path != record && path.extension().is_some_and(|it| it == "json"));
    others.sort();
    let read = |path: &PathBuf| serde_json::from_slice::<Any>(&fs::read(path).ok()?).ok();
    let records = others.iter().filter_map(read);
    records
        .flat_map(|any| any.groups.into_iter().chain(any.group))
        .collect()
}

/// How often a group is tried to be emptied: what forks meanwhile shows up again.
const ROUNDS: usize = 100;

/// How long the kernel may take to freeze processes.
const FREEZING: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// The module: the folder of the node's records, and those who write beside processes whose requests to disks are limited.
pub(crate) struct Confine {
    folder: PathBuf,
    writers: BTreeMap<String, Writer>,
}

impl Confine {
    pub(crate) fn new(folder: &Path) -> Confine {
        Confine {
            folder: folder.to_owned(),
            writers: BTreeMap::new(),
        }
    }

    fn confine(&mut self, name: String, script: &str, bounds: &Bounds) -> Result<Answer, Failure> {
        let answer = confine(&self.folder, &name, script, bounds)?;
        let record = bounds
            .disk_requests
            .and_then(|_| record(&self.folder, &name));
        let mut groups = record.map(|it| it.groups).unwrap_or_default().into_iter();
        let group = groups.find(|group| group.controller == Controller::Io);
        // Without a writer there is no proof, and nothing else is amiss.
        if let Some(Ok(writer)) = group.map(|group| Writer::start(&self.folder, &group.dir)) {
            self.writers.insert(name, writer);
        }
        Ok(answer)
    }

    fn release(&mut self, name: &str) -> Result<Answer, Failure> {
        let released = release(&self.folder, name);
        // What it waits for has passed now.
        let writer = self.writers.remove(name).map(Writer::end);
        let mut answer = released.map_err(|error| Failure::Indeterminate(error.to_string()))?;
        if let Some(asked) = answer.counters.get(REQUESTS).copied() {
            let writes = writer.unwrap_or_default();
            let asked = asked.saturating_sub(writes.count);
            let held_up = if writes.are_held_up() { asked } else { 0 };
            for (name, number) in [
                (REQUESTS, asked),
                ("disk-requests-held-up", held_up),
                ("disk-write-free-us", writes.free_us),
                ("disk-write-held-us", writes.held_us),
            ] {
                answer.counters.insert(name.to_owned(), number);
            }
        }
        Ok(answer)
    }
}

impl Module for Confine {
    fn handle(&mut self, request: serde_json::Value) -> Result<serde_json::Value, Failure> {
        answer(match understand(request)? {
            Request::Probe(bounds) => probe(&self.folder, &bounds)?,
            Request::Confine { name, pids, bounds } => self.confine(name, &pids, &bounds)?,
            Request::Release { name } => self.release(&name)?,
        })
    }
}

fn not_done(error: impl std::fmt::Display) -> Failure {
    Failure::NotDone(error.to_string())
}

fn probe(folder: &Path, bounds: &Bounds) -> Result<Answer, Failure> {
    let beside = groups_beside(folder, Path::new(""));
    let beside: Vec<Hierarchy> = beside.into_iter().map(|it| it.hierarchy).collect();
    for controller in bounds.controllers() {
        let hierarchy = Hierarchy::with(controller, folder).map_err(not_done)?;
        hierarchy.leave(&beside);
    }
    if bounds.disk_requests.is_some() {
        if disks::disks().is_empty() {
            return Err(not_done("there are no disks to be seen in /sys/block"));
        }
        beside::probe(folder).map_err(not_done)?;
    }
    Ok(Answer::default())
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("confine-{name}.json"))
}

fn record(folder: &Path, name: &str) -> Option<Record> {
    serde_json::from_slice(&fs::read(file(folder, name)).ok()?).ok()
}

fn save(folder: &Path, name: &str, record: &Record) -> io::Result<()> {
    let place = file(folder, name);
    let new = place.with_extension("new");
    fs::create_dir_all(folder)?;
    fs::write(&new, serde_json::to_vec(record)?)?;
    fs::rename(new, place)
}

/// Who makes the requests to disks for the system, if it does not do so itself: those that serve our file systems over its data.
fn servers(folder: &Path) -> Vec<i32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sockets = entries.map(|entry| entry.path());
    let mut all: Vec<i32> = sockets
        .filter(|path| path.extension().is_some_and(|it| it == "socket"))
        .filter_map(|path| server(&path).ok())
        .collect();
    all.sort_unstable();
    all
}

fn confine(folder: &Path, name: &str, script: &str, bounds: &Bounds) -> Result<Answer, Failure> {
    if file(folder, name).exists() {
        return Err(not_done(format!("{name} is in force already")));
    }
    let pids = pids(script).map_err(not_done)?;
    if pids.is_empty() {
        return Err(not_done("the process was not there already"));
    }
    let mut record = Record {
        bounds: *bounds,
        ..Record::default()
    };
    let others = groups_beside(folder, &file(folder, name));
    for controller in bounds.controllers() {
        let hierarchy = match Hierarchy::with(controller, folder) {
            Ok(hierarchy) => hierarchy,
            Err(error) => {
                record.groups.iter().for_each(|group| group.leave(&others));
                return Err(not_done(error));
            }
        };
        let served = match controller {
            Controller::Io => servers(folder),
            _ => Vec::new(),
        };
        record.groups.push(if served.is_empty() {
            let beside = [&record.groups[..], &others].concat();
            Group::plan(hierarchy, controller, name, &pids, &beside)
        } else {
            // Nobody else's limits are for these, so their group is nobody else's.
            let name = format!("{name}-served");
            Group::plan(hierarchy, controller, &name, &served, &[])
        });
    }
    if bounds.more_files.is_some() {
        record.files = pids.iter().filter_map(|pid| OpenFiles::of(*pid)).collect();
    }
    if let Err(error) = save(folder, name, &record) {
        record.groups.iter().for_each(|group| group.leave(&others));
        return Err(not_done(error));
    }
    let done = act(&record, bounds);
    let counters = match done {
        Ok(counters) => counters,
        Err(error) => {
            // Half of it is worse than nothing.
            return Err(match release(folder, name) {
                Ok(_) => not_done(error),
                Err(left) => Failure::Indeterminate(format!("{error}; and then: {left}")),
            });
        }
    };
    Ok(Answer { pids, counters })
}

fn act(record: &Record, bounds: &Bounds) -> io::Result<BTreeMap<String, u64>> {
    let mut counters = BTreeMap::new();
    for group in &record.groups {
        group.make()?;
        group.bound(bounds, &mut counters)?;
        group.take_in()?;
        if group.controller == Controller::Freezer {
            group.set_frozen(true)?;
            let deadline = Instant::now() + FREEZING;
            while !group.is_frozen() {
                if Instant::now() >= deadline {
                    return Err(io::Error::other(format!("not frozen within {FREEZING:?}")));
                }
                sleep(LOOK);
            }
            counters.insert("frozen".to_owned(), 1);
        }
    }
    if let Some(more) = bounds.more_files {
        for files in &record.files {
            counters.insert(format!("open-files-{}", files.pid), files.lower(more)?);
        }
    }
    Ok(counters)
}

/// Puts all back that is on record under a name, and removes the record. What the kernel counted meanwhile.
pub(crate) fn release(folder: &Path, name: &str) -> io::Result<Answer> {
    let Ok(text) = fs::read(file(folder, name)) else {
        return Ok(Answer::default());
    };
    let record: Record = serde_json::from_slice(&text)?;
    let mut answer = Answer::default();
    let mut errors = Vec::new();
    let others = groups_beside(folder, &file(folder, name));
    for (index, group) in record.groups.iter().enumerate().rev() {
        let beside = [&record.groups[..index], &others].concat();
        if group.controller == Controller::Freezer {
            let _ = group.set_frozen(false);
        }
        group.count(&mut answer.counters);
        answer.pids.extend(group.members());
        match group.dissolve(&beside) {
            Ok(()) => group.leave(&beside),
            Err(error) => errors.push(format!("{}: {error}", group.dir.display())),
        }
    }
    for files in &record.files {
        if let Err(error) = files.restore() {
            errors.push(format!("process {}: {error}", files.pid));
        }
        answer.pids.push(files.pid);
    }
    answer.pids.sort_unstable();
    answer.pids.dedup();
    if !errors.is_empty() {
        return Err(io::Error::other(errors.join("; ")));
    }
    fs::remove_file(file(folder, name))?;
    Ok(answer)
}

/// Whether nothing is on record under a name any more.
pub(crate) fn is_released(folder: &Path, name: &str) -> bool {
    !file(folder, name).exists()
}

/// Whether a process is still the one that was recorded.
fn is_still(pid: i32, since: u64) -> bool {
    started(pid) == Some(since)
}
