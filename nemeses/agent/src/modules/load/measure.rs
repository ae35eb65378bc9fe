//! What the kernel says of a load, and of what it does to the node.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much of the time somebody on the node waited, in hundredths (`some` in `/proc/pressure`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// In the ten seconds before.
    pub before: f64,
    /// Since then.
    pub during: f64,
}

/// What `/proc/pressure` says of one resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stalled {
    /// Hundredths of the last ten seconds.
    average: f64,
    /// Microseconds since the node booted.
    total: u64,
}

/// How much everybody has waited so far. Empty where the kernel does not tell.
pub(super) fn stalled() -> BTreeMap<String, Stalled> {
    let read = |what: &str| {
        let text = fs::read_to_string(format!("/proc/pressure/{what}")).ok()?;
        Some((what.to_owned(), parse(&text)?))
    };
    ["cpu", "io", "memory"]
        .iter()
        .filter_map(|it| read(it))
        .collect()
}

fn parse(text: &str) -> Option<Stalled> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let value = |name: &str| {
        let words = line.split(' ');
        words
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
    };
    Some(Stalled {
        average: value("avg10")?.1.parse().ok()?,
        total: value("total")?.1.parse().ok()?,
    })
}

/// How much they waited since, and before that.
pub(super) fn pressure(
    before: &BTreeMap<String, Stalled>,
    elapsed: Duration,
) -> BTreeMap<String, Pressure> {
    let now = stalled();
    let of = |(what, before): (&String, &Stalled)| {
        let waited = now.get(what)?.total.saturating_sub(before.total);
        let share = waited as f64 / elapsed.as_micros().max(1) as f64;
        let pressure = Pressure {
            before: before.average,
            // More than all is a matter of when who looked.
            during: (share * 10_000.0).round().min(10_000.0) / 100.0,
        };
        Some((what.clone(), pressure))
    };
    before.iter().filter_map(of).collect()
}

/// CPU time of a process, in milliseconds.
pub(super) fn cpu_ms(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|word| word.parse::<u64>().ok()).sum();
    // SAFETY: it only asks.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks * 1000 / u64::try_from(per_second).unwrap_or(100).max(1)
}

/// Bytes that a process has in memory.
pub(super) fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    number(&text, "VmRSS:") << 10
}

/// Bytes that a process had written to disks, and read from them.
pub(super) fn disk(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    (number(&text, "write_bytes:"), number(&text, "read_bytes:"))
}

/// How many processes the kernel has killed for want of memory since the node booted.
pub(super) fn oom_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    number(&text, "oom_kill ")
}

/// The number in the line that begins so.
pub(super) fn number(text: &str, head: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(head));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text = "some avg10=1.53 avg60=0.40 avg300=0.00 total=4000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let stalled = parse(text).unwrap();
        assert_eq!((stalled.average, stalled.total), (1.53, 4_000_000));
        assert_eq!(parse("full avg10=0.00 total=7"), None);
        assert_eq!(number("Name: x\nVmRSS:\t  12 kB\n", "VmRSS:"), 12);
    }

    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id();
        assert!(resident(pid) > 100_000);
        let before = cpu_ms(pid);
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while cpu_ms(pid) < before + 30 && std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        assert!(cpu_ms(pid) >= before + 30);
    }
}
