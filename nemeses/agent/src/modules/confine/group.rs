//! A control group of ours.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hierarchy::{Controller, Hierarchy};
use super::{Bounds, is_still};
use crate::modules::processes::started;

/// How often a group is tried to be emptied: what forks meanwhile shows up again.
const ROUNDS: usize = 100;

/// A group, and where its processes came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::modules) struct Group {
    pub(in crate::modules) controller: Controller,
    hierarchy: Hierarchy,
    pub(in crate::modules) dir: PathBuf,
    origins: Vec<Origin>,
    /// Whether the controller had to be enabled at the root, which is then undone.
    enabled: bool,
}

/// Where a process came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Origin {
    pid: i32,
    started: u64,
    group: PathBuf,
}

impl Group {
    /// What is to be done. Nothing is done yet.
    pub(in crate::modules) fn plan(
        hierarchy: Hierarchy,
        controller: Controller,
        name: &str,
        pids: &[i32],
    ) -> Group {
        let origin = |pid: &i32| {
            let group = hierarchy.group_of(*pid, controller);
            Some(Origin {
                pid: *pid,
                started: started(*pid)?,
                group: group.unwrap_or_else(|| hierarchy.root.clone()),
            })
        };
        let subtree = hierarchy.root.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(subtree).unwrap_or_default();
        let needed = hierarchy.is_v2 && controller != Controller::Freezer;
        Group {
            dir: hierarchy.root.join(format!("gainsay-{name}")),
            origins: pids.iter().filter_map(origin).collect(),
            enabled: needed
                && !enabled
                    .split_whitespace()
                    .any(|word| word == controller.name()),
            controller,
            hierarchy,
        }
    }

    /// Makes the group, empty.
    pub(in crate::modules) fn make(&self) -> io::Result<()> {
        if self.enabled {
            self.enable('+')?;
        }
        fs::create_dir(&self.dir)
    }

    fn enable(&self, sign: char) -> io::Result<()> {
        let subtree = self.hierarchy.root.join("cgroup.subtree_control");
        fs::write(subtree, format!("{sign}{}", self.controller.name()))
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
        enter(&self.dir, pid)
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
        const PERIOD: u64 = 100_000;
        let v2 = self.hierarchy.is_v2;
        match self.controller {
            Controller::Freezer => {}
            Controller::Cpu => {
                let Some(percent) = bounds.cpu_percent else {
                    return Ok(());
                };
                let quota = (u64::from(percent) * PERIOD / 100).max(1000);
                match v2 {
                    true => self.write("cpu.max", &format!("{quota} {PERIOD}"))?,
                    false => {
                        self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
                        self.write("cpu.cfs_quota_us", &quota.to_string())?;
                    }
                }
                told.insert("cpu-percent".to_owned(), u64::from(percent));
            }
            Controller::Memory => {
                let Some(more) = bounds.more_memory else {
                    return Ok(());
                };
                // What was allocated before is not counted here. In version 2 it is first held up, then refused.
                let limit = more.max(1 << 16);
                match v2 {
                    true => {
                        self.write("memory.high", &limit.to_string())?;
                        self.write("memory.max", &limit.saturating_mul(2).to_string())?;
                    }
                    false => self.write("memory.limit_in_bytes", &limit.to_string())?,
                }
                told.insert("memory-bytes".to_owned(), limit);
            }
            Controller::Pids => {
                let Some(more) = bounds.more_processes else {
                    return Ok(());
                };
                let threads: u64 = self.origins.iter().map(|it| threads(it.pid)).sum();
                let limit = threads + u64::from(more);
                self.write("pids.max", &limit.to_string())?;
                told.insert("processes".to_owned(), limit);
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.dir.join(name), text)
            .map_err(|error| io::Error::other(format!("{name} = {text}: {error}")))
    }

    pub(in crate::modules) fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match (self.hierarchy.is_v2, frozen) {
            (true, _) => self.write("cgroup.freeze", if frozen { "1" } else { "0" }),
            (false, true) => self.write("freezer.state", "FROZEN"),
            (false, false) => self.write("freezer.state", "THAWED"),
        }
    }

    pub(in crate::modules) fn is_frozen(&self) -> bool {
        let read = |name| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        match self.hierarchy.is_v2 {
            true => read("cgroup.events").lines().any(|line| line == "frozen 1"),
            false => read("freezer.state").trim() == "FROZEN",
        }
    }

    /// The processes in it.
    pub(in crate::modules) fn members(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// What the kernel has counted for it.
    pub(in crate::modules) fn count(&self, counters: &mut BTreeMap<String, u64>) {
        let (file, keys): (&str, &[(&str, &str)]) = match (self.controller, self.hierarchy.is_v2) {
            (Controller::Freezer, _) => return,
            (Controller::Cpu, _) => ("cpu.stat", &[("nr_throttled", "throttled")]),
            (Controller::Memory, true) => (
                "memory.events",
                &[
                    ("max", "memory-refused"),
                    ("high", "memory-held-up"),
                    ("oom_kill", "oom-killed"),
                ],
            ),
            (Controller::Memory, false) => ("memory.failcnt", &[("", "memory-refused")]),
            (Controller::Pids, _) => ("pids.events", &[("max", "processes-refused")]),
        };
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        for (key, name) in keys {
            let found = text.lines().find_map(|line| match key.is_empty() {
                true => line.trim().parse().ok(),
                false => line
                    .strip_prefix(key)?
                    .strip_prefix(' ')?
                    .trim()
                    .parse()
                    .ok(),
            });
            counters.insert((*name).to_owned(), found.unwrap_or(0));
        }
    }

    /// Moves all processes back to where they came from, those begun meanwhile to where the first came from; and removes the
    /// group.
    pub(in crate::modules) fn dissolve(&self) -> io::Result<()> {
        if !self.dir.exists() {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            for pid in self.members() {
                let known = self
                    .origins
                    .iter()
                    .find(|it| it.pid == pid && is_still(pid, it.started));
                let origin = known.or(self.origins.first()).map(|it| &it.group);
                let there = origin
                    .filter(|group| group.is_dir())
                    .unwrap_or(&self.hierarchy.root);
                enter(there, pid)?;
            }
            match fs::remove_dir(&self.dir) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    sleep(Duration::from_millis(2))
                }
                other => {
                    other?;
                    if self.enabled {
                        self.enable('-')?;
                    }
                    return Ok(());
                }
            }
        }
        Err(io::Error::other(
            "processes come into the group as fast as they are moved out",
        ))
    }

    /// Leaves the tree, once the group is gone.
    pub(in crate::modules) fn leave(&self) {
        self.hierarchy.leave();
    }
}

/// Moves a process; one that is gone is fine.
fn enter(group: &Path, pid: i32) -> io::Result<()> {
    match fs::write(group.join("cgroup.procs"), pid.to_string()) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// A number of a process's status, by its name.
fn status(pid: i32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn threads(pid: i32) -> u64 {
    status(pid, "Threads:")
}
