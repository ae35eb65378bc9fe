//! Memory that is short until the kernel kills: as the fault does it, and as the kernel tells it.

use crate::outside::{Machines, Sleeper};
use crate::stage::stage;

/// The kernel's own words about processes that it killed.
fn killed(machines: &Machines) -> Vec<String> {
    let said = machines.says(1, "dmesg | grep 'Out of memory: Killed process' || true");
    said.lines().map(str::to_owned).collect()
}

fn counted(machines: &Machines) -> u64 {
    let said = machines.says(1, "grep '^oom_kill ' /proc/vmstat");
    said.trim_start_matches("oom_kill ").trim().parse().unwrap()
}

fn pid(machines: &Machines) -> String {
    machines.says(1, "pgrep -x perl || true")
}

pub(crate) fn memory_is_taken_until_the_kernel_kills(machines: &Machines) {
    let spec = "load:memory:target=n1:amount=100%:oom=yes";
    let mut stage = stage(machines, Sleeper::large(), spec, None);
    let (before, told, process) = (counted(machines), killed(machines), pid(machines));
    let groups =
        "find /sys/fs/cgroup -name 'gainsay*' 2>/dev/null; grep cgroup /proc/mounts || true";
    let standing = machines.says(1, groups);
    let started = stage.installed("start");
    assert_eq!(started["targets"], serde_json::json!(["n1"]), "{started}");
    machines.until("the kernel kills the system", || {
        pid(machines).is_empty().then_some(())
    });
    let now = killed(machines);
    let of_system = format!("Killed process {process} (perl)");
    let told_since = &now[told.len()..];
    assert!(
        counted(machines) > before && told_since.iter().any(|line| line.contains(&of_system)),
        "{process}: {now:?}"
    );
    let load = machines.says(1, "pgrep -f work-load | head -1");
    let score = machines.says(1, &format!("cat /proc/{load}/oom_score_adj"));
    assert_eq!(score, "-1000");
    let stopped = stage.stopped();
    assert_eq!(stopped["effective"], true, "{stopped}");
    let seen = &stopped["load"]["n1"];
    assert!(seen["oom-kills"].as_u64() >= Some(1), "{stopped}");
    assert_eq!(seen["restarted"], "running", "{stopped}");
    // Another process of the same system, none of ours, and no group.
    let again = pid(machines);
    assert!(!again.is_empty() && again != process);
    assert_eq!(machines.says(1, "pgrep -f work-load || true"), "");
    assert_eq!(machines.says(1, groups), standing);
    let free = "awk '/MemAvailable/ {print $2}' /proc/meminfo";
    assert!(machines.says(1, free).parse::<u64>().unwrap() > 100 << 10);
    stage.leave();
}
