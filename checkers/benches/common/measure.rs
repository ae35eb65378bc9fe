//! What a check costs, for all benches.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Processor time of all threads, in milliseconds.
pub(crate) fn processor_ms() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    Duration::from(time).as_secs_f64() * 1e3
}

/// Lets the kernel forget the peak of resident memory so far.
pub(crate) fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// The peak of resident memory of this process, where the kernel tells it.
pub(crate) fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}
