//! How much there is to be had: memory before the kernel kills processes for it, and room on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::Amount;
use super::measure::number;
use crate::disk::mounted;
use crate::modules::confine::{Controller, Hierarchy};

/// The namespace of the first processes of a machine has always been this one.
const FIRST_PIDS: &str = "pid:[4026531836]";

/// The least that is left of memory.
const RESERVE_LEAST: u64 = 64 << 20;

/// Memory in bytes: all that there is, what can be had, and whether others than this node have it too.
struct Memory {
    total: u64,
    room: u64,
    shared: bool,
}

impl Memory {
    fn now() -> Memory {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let of_machine = |name: &str| number(&text, name) << 10;
        let pids = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let mut memory = Memory {
            total: of_machine("MemTotal:"),
            room: of_machine("MemAvailable:"),
            shared: pids != Path::new(FIRST_PIDS),
        };
        for (most, used) in limits() {
            if most < memory.total {
                memory.total = most;
                memory.shared = false;
            }
            memory.room = memory.room.min(most.saturating_sub(used));
        }
        memory
    }

    /// What is left for everybody else.
    fn reserve(&self) -> u64 {
        (self.total / 10).max(RESERVE_LEAST)
    }
}

/// The limits of this process's control groups, and what is used of each.
fn limits() -> Vec<(u64, u64)> {
    let Some(hierarchy) = Hierarchy::mounted(Controller::Memory) else {
        return Vec::new();
    };
    let Some(group) = hierarchy.group_of(std::process::id() as i32, Controller::Memory) else {
        return Vec::new();
    };
    let [most, used] = match hierarchy.is_v2 {
        true => ["memory.max", "memory.current"],
        false => ["memory.limit_in_bytes", "memory.usage_in_bytes"],
    };
    let read = |group: &Path, name: &str| -> Option<u64> {
        let text = fs::read_to_string(group.join(name)).ok()?;
        text.trim().parse().ok()
    };
    let groups = group
        .ancestors()
        .take_while(|group| group.starts_with(&hierarchy.root));
    groups
        .filter_map(|group| Some((read(group, most)?, read(group, used)?)))
        .collect()
}

/// How much memory can be had now.
pub(super) fn available() -> u64 {
    Memory::now().room
}

/// How much is left for everybody else.
pub(super) fn reserve() -> u64 {
    Memory::now().reserve()
}

/// How many bytes are meant, if they can be had.
pub(super) fn memory(amount: Amount, oom: bool) -> Result<u64, String> {
    let memory = Memory::now();
    let bytes = match amount {
        Amount::Bytes(bytes) => bytes,
        Amount::Percent(percent) => memory.room / 100 * u64::from(percent),
    };
    if oom && memory.shared {
        return Err(
            "this node has its memory together with others, whose processes the kernel could kill: oom=yes is for nodes with a \
             kernel, or a limit of memory, of their own"
                .to_owned(),
        );
    }
    let most = memory.room.saturating_sub(memory.reserve());
    if !oom && bytes > most {
        return Err(format!(
            "{} MiB of memory were asked for, and only {} can be had if {} are to be left\n  hint: ask for less (amount=); with \
             oom=yes it is taken all the same, and the kernel may kill processes",
            bytes >> 20,
            most >> 20,
            memory.reserve() >> 20
        ));
    }
    Ok(bytes)
}

/// The folder beside the data in which files of so many bytes have room.
pub(super) fn folder(data: &[PathBuf], bytes: u64) -> Result<PathBuf, String> {
    let first = data
        .first()
        .ok_or("this system does not say where its data is")?;
    // A file system of ours over the data is not what is meant, but the one beneath.
    let from = if mounted(first) {
        first.parent().unwrap_or(first)
    } else {
        first
    };
    let folder = from
        .ancestors()
        .find(|folder| folder.is_dir())
        .unwrap_or(Path::new("/"));
    let said = |error: nix::Error| format!("{}: {error}", folder.display());
    let disk = statvfs(folder).map_err(said)?;
    let (unit, all) = (disk.fragment_size(), disk.blocks());
    let (free, all) = (disk.blocks_available() * unit, all * unit);
    if bytes > free.saturating_sub(all / 20) {
        return Err(format!(
            "{} MiB were asked for in {}, where {} are free, and a twentieth of all is to be left\n  hint: ask for less (amount=, \
             workers=)",
            bytes >> 20,
            folder.display(),
            free >> 20
        ));
    }
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_more_memory_is_taken_than_can_be_spared() {
        let memory_now = Memory::now();
        assert!(memory_now.room > 0 && memory_now.total >= memory_now.reserve());
        assert_eq!(memory(Amount::Bytes(1 << 20), false), Ok(1 << 20));
        let error = memory(Amount::Bytes(memory_now.total), false).unwrap_err();
        assert!(error.contains("oom=yes"), "{error}");
        assert!(memory(Amount::Percent(100), false).is_err());
        let one = memory(Amount::Percent(1), false).unwrap();
        assert!(one > 0 && one < memory_now.total / 50);
    }

    #[test]
    fn files_are_beside_the_data_and_fit() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("not/yet");
        assert_eq!(
            folder(std::slice::from_ref(&data), 1 << 20).unwrap(),
            place.path()
        );
        assert!(folder(&[data], 1 << 60).unwrap_err().contains("hint"));
        assert!(folder(&[], 1).is_err());
    }
}
