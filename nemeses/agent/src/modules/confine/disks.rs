//! Disks, as control groups know them: by their numbers, and what a group's processes read and wrote there.

use std::collections::BTreeMap;
use std::fs;

/// Bytes read and written, by disk.
pub(super) type Passed = BTreeMap<String, (u64, u64)>;

/// Kinds of block devices that are no disks but parts of the machine's memory.
const MEMORY: [&str; 2] = ["ram", "zram"];

/// The disks that there are, as `MAJOR:MINOR`.
pub(super) fn disks() -> Vec<String> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let kind = name.trim_end_matches(|it: char| it.is_ascii_digit());
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
        let is_one = !MEMORY.contains(&kind) && read("size")?.trim() != "0";
        is_one.then(|| read("dev").map(|dev| dev.trim().to_owned()))?
    };
    let mut all: Vec<String> = entries.filter_map(number).collect();
    all.sort();
    all
}

/// What passed, as version 2 writes it in `io.stat`, or version 1 in `blkio.throttle.io_service_bytes`.
pub(super) fn passed(text: &str, is_v2: bool) -> Passed {
    let mut all = Passed::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(disk) = words.next().filter(|word| word.contains(':')) else {
            continue;
        };
        let (read, written) = all.entry(disk.to_owned()).or_default();
        let mut set = |name: &str, value: &str| match (name, value.parse()) {
            ("rbytes" | "Read", Ok(bytes)) => *read = bytes,
            ("wbytes" | "Write", Ok(bytes)) => *written = bytes,
            _ => {}
        };
        match is_v2 {
            true => words
                .filter_map(|word| word.split_once('='))
                .for_each(|(name, value)| set(name, value)),
            false => {
                if let (Some(name), Some(value)) = (words.next(), words.next()) {
                    set(name, value);
                }
            }
        }
    }
    all
}

/// The bytes that passed since, on disks where that was as much as may pass in this time: three quarters of it, since a group that is
/// let wait also waits for other things. A burst within less than a second proves nothing.
pub(super) fn at_limit(before: &Passed, now: &Passed, limit: u64, elapsed_ms: u64) -> u64 {
    let least = u128::from(limit) * u128::from(elapsed_ms.max(1000)) * 3 / 4000;
    let since = |(disk, (read, written)): (&String, &(u64, u64))| {
        let (read_before, written_before) = before.get(disk).copied().unwrap_or_default();
        let ways = [
            read.saturating_sub(read_before),
            written.saturating_sub(written_before),
        ];
        ways.into_iter()
            .filter(|bytes| u128::from(*bytes) >= least)
            .sum::<u64>()
    };
    now.iter().map(since).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_what_passed() {
        let new = "98:0 rbytes=5120 wbytes=4356096 rios=5 wios=370 dbytes=0 dios=0\n";
        assert_eq!(passed(new, true)["98:0"], (5120, 4_356_096));
        let old = "8:0 Read 7\n8:0 Write 9\n8:0 Sync 9\n8:0 Total 16\nTotal 16\n";
        assert_eq!(
            passed(old, false),
            BTreeMap::from([("8:0".to_owned(), (7, 9))])
        );
    }

    #[test]
    fn only_what_was_held_up_counts() {
        let one = |written| BTreeMap::from([("8:0".to_owned(), (0, written))]);
        // 100 bytes a second, for ten seconds.
        assert_eq!(at_limit(&one(50), &one(800), 100, 10_000), 750);
        assert_eq!(at_limit(&one(50), &one(799), 100, 10_000), 0);
        assert_eq!(at_limit(&Passed::new(), &one(75), 100, 10), 75);
        assert_eq!(at_limit(&Passed::new(), &one(74), 100, 10), 0);
    }
}
