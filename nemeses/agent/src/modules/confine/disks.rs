//! Disks, as control groups know them: by their numbers, and how many requests a group's processes made to them.

use std::fs;

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

/// The requests to all disks, as version 2 has them in `io.stat`, or version 1 in `blkio.throttle.io_serviced`. Version 1 counts those
/// that wait too, version 2 those that passed.
pub(super) fn requests(text: &str, is_v2: bool) -> u64 {
    let of_line = |line: &str| -> u64 {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.contains(':')) {
            return 0;
        }
        match is_v2 {
            true => words
                .filter_map(|word| word.split_once('='))
                .filter(|(name, _)| matches!(*name, "rios" | "wios"))
                .filter_map(|(_, value)| value.parse::<u64>().ok())
                .sum(),
            false => match (words.next(), words.next()) {
                (Some("Read" | "Write"), Some(value)) => value.parse().unwrap_or(0),
                _ => 0,
            },
        }
    };
    text.lines().map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_what_was_asked_for() {
        let new = "98:0 rbytes=5120 wbytes=4356096 rios=5 wios=370 dbytes=0 dios=9\n8:0 rbytes=1 wbytes=1 rios=1 wios=1\n";
        assert_eq!(requests(new, true), 377);
        let old = "8:0 Read 7\n8:0 Write 9\n8:0 Sync 9\n8:0 Discard 1\n8:0 Total 16\n8:16 Write 2\nTotal 18\n";
        assert_eq!(requests(old, false), 18);
        assert_eq!(requests("", true), 0);
    }
}
