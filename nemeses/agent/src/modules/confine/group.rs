//! A control group of ours.
//!
//! In version 1 each fault has groups of its own, in trees of their own. In version 2 a process is in one group only: what several
//! faults do to the same processes they do to the same group, which goes with the last of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disks::{disks, requests};
use super::hierarchy::{Controller, Hierarchy};
use super::shared::{self, PREFIX};
use super::{Bounds, ROUNDS, is_still};
use crate::modules::processes::started;

/// In what time processes get their share of CPU time, in microseconds.
const PERIOD: u64 = 100_000;

/// The counter of what was asked of disks.
pub(super) const REQUESTS: &str = "disk-requests";

/// A group, and where its processes came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::modules) struct Group {
    pub(in crate::modules) controller: Controller,
    pub(in crate::modules) hierarchy: Hierarchy,
    pub(in crate::modules) dir: PathBuf,
    origins: Vec<Origin>,
    /// What was counted before, by another fault that had the group.
    before: Counted,
}

/// Where a process came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Origin {
    pid: i32,
    started: u64,
    group: PathBuf,
}

/// What the kernel has counted for a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counted {
    numbers: BTreeMap<String, u64>,
}

impl Group {
    /// What is to be done. Nothing is done yet. The groups beside it are those that other faults have here, and those that this one is
    /// to have.
    pub(in crate::modules) fn plan(
        hierarchy: Hierarchy,
        controller: Controller,
        name: &str,
        pids: &[i32],
        beside: &[Group],
    ) -> Group {
        let groups: BTreeMap<i32, PathBuf> = pids
            .iter()
            .filter_map(|pid| Some((*pid, hierarchy.group_of(*pid, controller)?)))
            .collect();
        let joins = |other: &&Group| {
            let planned = !other.dir.exists() && !pids.is_empty();
            let shares = planned || groups.values().any(|group| *group == other.dir);
            hierarchy.is_v2 && other.hierarchy.root == hierarchy.root && shares
        };
        let joined = beside.iter().find(joins);
        let origin = |pid: &i32| {
            let is = groups.get(pid).unwrap_or(&hierarchy.root);
            let was = joined.filter(|joined| joined.dir == *is);
            let group = was.map_or(is.as_path(), |joined| joined.origin(*pid));
            Some(Origin {
                pid: *pid,
                started: started(*pid)?,
                group: group.to_owned(),
            })
        };
        let origins = pids.iter().filter_map(origin).collect();
        let own = || hierarchy.root.join(format!("{PREFIX}{name}"));
        let mut group = Group {
            dir: joined.map_or_else(own, |joined| joined.dir.clone()),
            origins,
            controller,
            hierarchy,
            before: Counted::default(),
        };
        group.before = group.counted();
        group
    }

    /// Where a process goes when it leaves; one that was begun meanwhile, where the first came from.
    fn origin(&self, pid: i32) -> &Path {
        let mut all = self.origins.iter();
        let known = all.find(|it| it.pid == pid && is_still(pid, it.started));
        let origin = known.or(self.origins.first()).map(|it| it.group.as_path());
        origin
            .filter(|group| group.is_dir())
            .unwrap_or(&self.hierarchy.root)
    }

    /// Whether another is the same group.
    fn is_also(&self, other: &Group) -> bool {
        self.dir == other.dir
    }

    /// Makes the group, empty, if another fault has not made it.
    pub(in crate::modules) fn make(&self) -> io::Result<()> {
        if !self.hierarchy.is_v2 {
            return fs::create_dir(&self.dir);
        }
        let _held = shared::hold(&self.hierarchy.root)?;
        shared::make(&self.dir)?;
        match self.controller {
            Controller::Freezer => Ok(()),
            other => shared::enable(&self.hierarchy.root, other.name()),
        }
    }

    /// Moves the processes in, those that they have begun meanwhile as well.
    pub(in crate::modules) fn take_in(&self) -> io::Result<()> {
        for origin in self
            .origins
            .iter()
            .filter(|it| is_still(it.pid, it.started))
        {
            self.enter(origin.pid)?;
        }
        Ok(())
    }

    /// Moves a process in; one that is gone is fine.
    pub(in crate::modules) fn enter(&self, pid: i32) -> io::Result<()> {
        shared::enter(&self.dir, pid)
    }

    /// Gives it as much weight as so many processes beside it have, or the least.
    pub(in crate::modules) fn weigh(&self, processes: u32, low: bool) -> io::Result<()> {
        let processes = u64::from(processes.max(1));
        if self.controller != Controller::Cpu {
            return Ok(());
        }
        match (self.hierarchy.is_v2, low) {
            (true, true) => self.write("cpu.weight", "1"),
            (true, false) => self.write("cpu.weight", &(100 * processes).min(10_000).to_string()),
            (false, true) => self.write("cpu.shares", "2"),
            (false, false) => {
                self.write("cpu.shares", &(1024 * processes).min(262_144).to_string())
            }
        }
    }

    /// Sets the bounds, and tells what they are.
    pub(in crate::modules) fn bound(
        &self,
        bounds: &Bounds,
        told: &mut BTreeMap<String, u64>,
    ) -> io::Result<()> {
        let v2 = self.hierarchy.is_v2;
        let (name, value) = match (self.controller, bounds) {
            (Controller::Freezer, _) => return Ok(()),
            (
                Controller::Cpu,
                Bounds {
                    cpu_percent: Some(percent),
                    ..
                },
            ) => {
                let percent = u64::from(*percent);
                let quota = (percent * PERIOD / 100).max(1000);
                match v2 {
                    true => self.write("cpu.max", &format!("{quota} {PERIOD}"))?,
                    false => {
                        self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
                        self.write("cpu.cfs_quota_us", &quota.to_string())?;
                    }
                }
                ("cpu-percent", percent)
            }
            (
                Controller::Memory,
                Bounds {
                    more_memory: Some(more),
                    ..
                },
            ) => {
                // What was allocated before is not counted here, unless the group was another fault's. In version 2 it is first held up,
                // then refused.
                let has = self.read("memory.current").trim().parse().unwrap_or(0);
                let more = (*more).max(1 << 16);
                let limit = more.saturating_add(has);
                match v2 {
                    true => {
                        self.write("memory.high", &limit.to_string())?;
                        self.write("memory.max", &limit.saturating_add(more).to_string())?;
                    }
                    false => self.write("memory.limit_in_bytes", &limit.to_string())?,
                }
                ("memory-bytes", more)
            }
            (
                Controller::Pids,
                Bounds {
                    more_processes: Some(more),
                    ..
                },
            ) => {
                let threads: u64 = self.origins.iter().map(|it| threads(it.pid)).sum();
                let limit = threads + u64::from(*more);
                self.write("pids.max", &limit.to_string())?;
                ("processes", limit)
            }
            (
                Controller::Io,
                Bounds {
                    disk_requests: Some(limit),
                    ..
                },
            ) => {
                self.let_pass(*limit)?;
                ("disk-requests-per-second", u64::from(*limit))
            }
            _ => return Ok(()),
        };
        told.insert(name.to_owned(), value);
        Ok(())
    }

    /// Lets so many requests a second pass to write to each disk, and as many to read from it.
    fn let_pass(&self, limit: u32) -> io::Result<()> {
        let (mut set, mut refused) = (false, io::Error::other("there are no disks here"));
        for disk in disks() {
            let done = match self.hierarchy.is_v2 {
                true => self.write("io.max", &format!("{disk} riops={limit} wiops={limit}")),
                false => ["read", "write"].iter().try_for_each(|way| {
                    let name = format!("blkio.throttle.{way}_iops_device");
                    self.write(&name, &format!("{disk} {limit}"))
                }),
            };
            // There are disks that nobody can limit, such as those that are parts of others.
            match done {
                Ok(()) => set = true,
                Err(error) => refused = error,
            }
        }
        if set { Ok(()) } else { Err(refused) }
    }

    /// Takes the bounds away that this fault set, where the group stays for another's, or has requests that wait for their turn.
    fn unbound(&self) -> io::Result<()> {
        let limits = |name: &'static str, none: &'static str| {
            let text = self.read(name);
            let disks = text.lines().filter_map(|line| line.split(' ').next());
            let none = disks.map(|disk| (name, format!("{disk} {none}")));
            none.collect::<Vec<(&str, String)>>()
        };
        let bounds: Vec<(&str, String)> = match self.controller {
            Controller::Freezer => vec![("cgroup.freeze", "0".to_owned())],
            Controller::Cpu => vec![("cpu.max", format!("max {PERIOD}"))],
            Controller::Memory => ["memory.max", "memory.high"]
                .map(|name| (name, "max".to_owned()))
                .to_vec(),
            Controller::Pids => vec![("pids.max", "max".to_owned())],
            Controller::Io if self.hierarchy.is_v2 => limits("io.max", "riops=max wiops=max"),
            Controller::Io => [
                "blkio.throttle.read_iops_device",
                "blkio.throttle.write_iops_device",
            ]
            .into_iter()
            .flat_map(|name| limits(name, "0"))
            .collect(),
        };
        // Where a controller could not be had, there is none to be set.
        let mut there = bounds
            .iter()
            .filter(|(name, _)| self.dir.join(name).exists());
        there.try_for_each(|(name, value)| self.write(name, value))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.dir.join(name), text)
            .map_err(|error| io::Error::other(format!("{name} = {text}: {error}")))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    pub(in crate::modules) fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match (self.hierarchy.is_v2, frozen) {
            (true, _) => self.write("cgroup.freeze", if frozen { "1" } else { "0" }),
            (false, true) => self.write("freezer.state", "FROZEN"),
            (false, false) => self.write("freezer.state", "THAWED"),
        }
    }

    pub(in crate::modules) fn is_frozen(&self) -> bool {
        match self.hierarchy.is_v2 {
            true => self
                .read("cgroup.events")
                .lines()
                .any(|line| line == "frozen 1"),
            false => self.read("freezer.state").trim() == "FROZEN",
        }
    }

    /// The processes in it.
    pub(in crate::modules) fn members(&self) -> Vec<i32> {
        shared::members(&self.dir)
    }

    /// What the kernel has counted for it since this fault began.
    pub(in crate::modules) fn count(&self, counters: &mut BTreeMap<String, u64>) {
        for (name, number) in &self.counted().numbers {
            let before = self.before.numbers.get(name).copied().unwrap_or(0);
            counters.insert(name.clone(), number.saturating_sub(before));
        }
    }

    fn counted(&self) -> Counted {
        // A file, what stands before the number there, and what it is to us.
        type Number = (&'static str, &'static str, &'static str);
        let v2 = self.hierarchy.is_v2;
        let numbers: &[Number] = match (self.controller, v2) {
            (Controller::Freezer | Controller::Io, _) => &[],
            (Controller::Cpu, _) => &[("cpu.stat", "nr_throttled ", "throttled")],
            (Controller::Memory, true) => &[
                ("memory.events", "max ", "memory-refused"),
                ("memory.events", "high ", "memory-held-up"),
                ("memory.events", "oom_kill ", "oom-killed"),
            ],
            (Controller::Memory, false) => &[
                ("memory.failcnt", "", "memory-refused"),
                ("memory.oom_control", "oom_kill ", "oom-killed"),
            ],
            (Controller::Pids, _) => &[("pids.events", "max ", "processes-refused")],
        };
        let number = |(file, key, name): &Number| {
            let text = self.read(file);
            let mut lines = text.lines();
            let found = lines.find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
            ((*name).to_owned(), found.unwrap_or(0))
        };
        let mut numbers: BTreeMap<String, u64> = numbers.iter().map(number).collect();
        if self.controller == Controller::Io {
            let stat = if v2 {
                "io.stat"
            } else {
                "blkio.throttle.io_serviced"
            };
            numbers.insert(REQUESTS.to_owned(), requests(&self.read(stat), v2));
        }
        Counted { numbers }
    }

    /// Ends what this fault did to the group. If no other has it, all processes go back to where they came from, those begun meanwhile
    /// to where the first came from; and it is removed.
    pub(in crate::modules) fn dissolve(&self, beside: &[Group]) -> io::Result<()> {
        let root = &self.hierarchy.root;
        // Somebody else may have seen to that.
        if !self.dir.exists() {
            return match self.hierarchy.is_v2 && root.is_dir() {
                true => shared::hold(root).and_then(|_held| shared::tidy(root)),
                false => Ok(()),
            };
        }
        if beside.iter().any(|other| self.is_also(other)) {
            return self.unbound();
        }
        // Requests that wait would go on to wait for their turn, each in the group that it was made in, without it too.
        if self.controller == Controller::Io {
            self.unbound()?;
        }
        if !self.hierarchy.is_v2 {
            return self.empty_and_remove();
        }
        let _held = shared::hold(root)?;
        self.empty_and_remove()?;
        shared::tidy(root)
    }

    fn empty_and_remove(&self) -> io::Result<()> {
        for _ in 0..ROUNDS {
            for pid in self.members() {
                shared::put_back(pid, self.origin(pid), &self.hierarchy.root)?;
            }
            match fs::remove_dir(&self.dir) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    sleep(Duration::from_millis(2))
                }
                other => return other,
            }
        }
        Err(io::Error::other(
            "processes come into the group as fast as they are moved out",
        ))
    }

    /// Leaves the tree, once the group is gone.
    pub(in crate::modules) fn leave(&self, beside: &[Group]) {
        let others: Vec<Hierarchy> = beside.iter().map(|it| it.hierarchy.clone()).collect();
        self.hierarchy.leave(&others);
    }
}

/// How many threads a process has.
fn threads(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok());
    found.unwrap_or(0)
}
