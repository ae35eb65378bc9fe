//! Processes confined for real, and let go exactly as they were. Needs root.
//!
//! By what control groups this machine has; and all of it again by those of version 2, on a machine with a kernel of its own (user-mode
//! Linux), at the root of the groups and inside of one, as in a container.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/machine.rs"]
mod machine;
#[path = "../../tests/common/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::Outcome;
use agent::modules::confine::{Answer, Bounds, Request};
use agent::modules::{disk, load};
use serde_json::json;

use common::Agent;
use machine::on_a_machine;
use skip::skip;

/// A shell and what it begins; ended with the test.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Victim {
    fn new(script: &str) -> Victim {
        let child = Command::new("sh")
            .args(["-c", script])
            .stderr(Stdio::null())
            .spawn();
        Victim(child.unwrap())
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }

    /// Ticks of CPU time that it has used.
    fn used(&self) -> u64 {
        let stat = self.read("stat");
        let mut words = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
        let mut next = || words.next().unwrap().parse::<u64>().unwrap();
        next() + next()
    }

    /// What must be the same afterwards. Somebody else may account for memory as they like.
    fn circumstances(&self) -> Vec<String> {
        let groups = self.read("cgroup");
        let groups = groups.lines().filter(|line| !line.contains(":memory:"));
        let mut all = vec![groups.collect(), self.read("limits")];
        all.extend(surroundings());
        all
    }

    fn has_ended(&self) -> bool {
        self.read("stat").contains(") Z ")
    }

    /// Bytes that it has in memory.
    fn resident(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.map_or(0, |it| it.parse::<u64>().unwrap() << 10)
    }
}

/// Mounts, but for those that another test makes meanwhile, and what groups of version 2 are handed down.
fn surroundings() -> [String; 2] {
    let handed_down = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|line| !line.contains("fuse.gainsay"));
    [mounts.collect(), handed_down.unwrap_or_default()]
}

fn ask(agent: &mut Agent, request: &Request) -> Outcome {
    agent.ask_module("confine", request)
}

fn done(outcome: Outcome) -> Answer {
    common::done(outcome)
}

/// Confines a victim, looks, lets it go; what was counted in the end.
fn confined(
    test: &str,
    script: &str,
    bounds: Bounds,
    look: impl FnOnce(&Victim, &Answer),
) -> Option<BTreeMap<String, u64>> {
    let mut agent = Agent::start("600");
    if let Outcome::NotDone(why) = ask(&mut agent, &Request::Probe(bounds)) {
        skip(test, &why);
        return None;
    }
    let victim = Victim::new(script);
    let before = victim.circumstances();
    let name = format!("test-{}-{test}", std::process::id());
    let answer = done(ask(
        &mut agent,
        &Request::Confine {
            name: name.clone(),
            pids: format!("echo {}", victim.0.id()),
            bounds,
        },
    ));
    assert_eq!(answer.pids, [victim.0.id() as i32]);
    look(&victim, &answer);
    let answer = done(ask(&mut agent, &Request::Release { name }));
    // A shell that cannot fork ends, and is then where it was.
    let ended = victim.has_ended();
    let differ = victim.circumstances();
    assert!(ended || differ == before, "{differ:?} {before:?}");
    let left: Vec<_> = fs::read_dir(agent.state())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, ["agent-test"]);
    let resumed = ended
        || (0..1000).any(|_| {
            let used = victim.used();
            std::thread::sleep(Duration::from_millis(10));
            victim.used() > used
        });
    assert!(resumed);
    Some(answer.counters)
}

const BUSY: &str = "while :; do :; done";

/// Until something is so, or the patience is over.
fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn frozen_processes_do_nothing() {
    let bounds = Bounds {
        freeze: true,
        ..Bounds::default()
    };
    confined("freeze", BUSY, bounds, |victim, answer| {
        assert_eq!(answer.counters["frozen"], 1);
        let used = victim.used();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(victim.used(), used);
        // Nobody stopped it: it is not a signal.
        assert!(!victim.read("stat").contains(") T "));
    });
}

#[test]
fn short_of_cpu_time_they_are_held_up() {
    let bounds = Bounds {
        cpu_percent: Some(5),
        ..Bounds::default()
    };
    let counted = confined("cpu", BUSY, bounds, |victim, _| {
        let used = victim.used();
        assert!(eventually(|| victim.used() > used + 3));
    });
    if let Some(counted) = counted {
        assert!(counted["throttled"] > 0, "{counted:?}");
    }
}

#[test]
fn no_more_processes_are_begun_than_may_be() {
    let bounds = Bounds {
        more_processes: Some(0),
        ..Bounds::default()
    };
    let script = "trap : EXIT; while :; do (exit 0) & wait; done";
    let counted = confined("pids", script, bounds, |_, _| {
        std::thread::sleep(Duration::from_millis(300));
    });
    if let Some(counted) = counted {
        assert!(counted["processes-refused"] > 0, "{counted:?}");
    }
}

#[test]
fn no_more_files_are_open_than_may_be() {
    let bounds = Bounds {
        more_files: Some(2),
        ..Bounds::default()
    };
    confined("files", BUSY, bounds, |victim, answer| {
        let limits = victim.read("limits");
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        let soft: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
        let told = answer.counters[&format!("open-files-{}", victim.0.id())];
        assert!(soft == told && soft < 1000, "{line}");
    });
}

#[test]
fn the_program_lets_go_without_a_controller() {
    let mut agent = Agent::start("600");
    let bounds = Bounds {
        freeze: true,
        more_files: Some(5),
        ..Bounds::default()
    };
    if let Outcome::NotDone(why) = ask(&mut agent, &Request::Probe(bounds)) {
        skip("the_program_lets_go_without_a_controller", &why);
        return;
    }
    let victim = Victim::new(BUSY);
    let before = victim.circumstances();
    let name = format!("test-{}-alone", std::process::id());
    let request = Request::Confine {
        name: name.clone(),
        pids: format!("echo {}", victim.0.id()),
        bounds,
    };
    done(ask(&mut agent, &request));
    let again = ask(&mut agent, &request);
    assert!(matches!(again, Outcome::NotDone(why) if why.contains("in force already")));
    agent.kill();
    let program = env!("CARGO_BIN_EXE_gainsay-agent");
    let run = |verb: &str| {
        let status = Command::new(program)
            .arg(verb)
            .arg(agent.state())
            .arg(&name)
            .status();
        status.unwrap().success()
    };
    assert!(!run("released"));
    assert!(run("release") && run("released") && run("release"));
    assert_eq!(victim.circumstances(), before);
}

#[test]
fn who_is_not_there_is_not_confined() {
    let mut agent = Agent::start("600");
    let request = json!({"confine": {"name": "x", "pids": "true", "bounds": {"freeze": true}}});
    let request: Request = serde_json::from_value(request).unwrap();
    assert!(matches!(ask(&mut agent, &request), Outcome::NotDone(_)));
}

#[test]
fn short_of_memory_they_are_held_up_or_killed() {
    let bounds = Bounds {
        more_memory: Some(4 << 20),
        ..Bounds::default()
    };
    // Twice as much each time.
    let script = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done";
    let counted = confined("memory", script, bounds, |victim, _| {
        assert!(eventually(
            || victim.has_ended() || victim.resident() > 5 << 20
        ));
        std::thread::sleep(Duration::from_secs(2));
        assert!(victim.resident() < 64 << 20);
    });
    if let Some(counted) = counted {
        let held_up = ["memory-refused", "memory-held-up", "oom-killed"];
        let held_up = held_up.iter().filter_map(|it| counted.get(*it));
        assert!(held_up.sum::<u64>() > 0, "{counted:?}");
    }
}

/// A folder on a disk.
fn on_disk() -> PathBuf {
    let folder = std::env::var_os("GAINSAY_TEST_DISK");
    folder.map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
}

#[test]
fn no_more_passes_to_disks_than_may() {
    const LIMIT: u32 = 4;
    let bounds = Bounds {
        disk_requests: Some(LIMIT),
        ..Bounds::default()
    };
    let file = on_disk().join(format!("confined-{}", std::process::id()));
    let script = format!(
        "exec dd if=/dev/zero of={} bs=4k count=100000 oflag=dsync 2>/dev/null",
        file.display()
    );
    // Each piece is on the disk before the next: by one request at least, to write it.
    let written = || fs::metadata(&file).map_or(0, |it| it.len() / 4096);
    let counted = confined("io", &script, bounds, |_, _| {
        let (began, before) = (Instant::now(), written());
        std::thread::sleep(Duration::from_secs(4));
        let written = written() - before;
        // Each request may come early by a slice of the kernel's time.
        let most = u64::from(LIMIT) * began.elapsed().as_secs_f64().ceil() as u64 + 2;
        assert!(written > 0 && written <= most, "{written} of {most}");
    });
    fs::remove_file(&file).unwrap();
    if let Some(counted) = counted {
        let [held_up, asked, free, held] = [
            "disk-requests-held-up",
            "disk-requests",
            "disk-write-free-us",
            "disk-write-held-us",
        ]
        .map(|name| counted[name]);
        assert!(held_up > 0 && held_up == asked, "{counted:?}");
        assert!(free > 0 && held > 100_000 && held > 2 * free, "{counted:?}");
    }
}

#[test]
fn who_writes_through_our_file_system_is_held_up_with_it() {
    const LIMIT: u32 = 4;
    let test = "who_writes_through_our_file_system_is_held_up_with_it";
    let bounds = Bounds {
        disk_requests: Some(LIMIT),
        ..Bounds::default()
    };
    let mut agent = Agent::start("600");
    if let Outcome::NotDone(why) = ask(&mut agent, &Request::Probe(bounds)) {
        return skip(test, &why);
    }
    let folder = on_disk().join(format!("served-{}", std::process::id()));
    let at = |deed| disk::Request {
        places: vec![disk::Place {
            folder: folder.clone(),
            socket: agent.state().join("disk-0.socket"),
        }],
        deed,
    };
    let [stand, go] = [disk::Deed::Interpose, disk::Deed::Withdraw].map(at);
    if let Outcome::Indeterminate(why) = agent.ask_module("disk", &stand) {
        return skip(test, &why);
    }
    let file = folder.join("file");
    let victim = Victim::new(&format!(
        "exec dd if=/dev/zero of={} bs=4k count=100000 oflag=dsync 2>/dev/null",
        file.display()
    ));
    let written = || fs::metadata(&file).map_or(0, |it| it.len() / 4096);
    assert!(eventually(|| written() > 20), "not limited yet");
    let name = format!("test-{}-served", std::process::id());
    let confine = Request::Confine {
        name: name.clone(),
        pids: format!("echo {}", victim.0.id()),
        bounds,
    };
    let told = done(ask(&mut agent, &confine));
    assert_eq!(told.pids, [victim.0.id() as i32]);
    let (began, before) = (Instant::now(), written());
    std::thread::sleep(Duration::from_secs(4));
    let limited = written() - before;
    // Each request may come early by a slice of the kernel's time.
    let most = u64::from(LIMIT) * began.elapsed().as_secs_f64().ceil() as u64 + 2;
    assert!(limited <= most, "{limited} of {most}");
    let counted = done(ask(&mut agent, &Request::Release { name })).counters;
    assert!(counted["disk-requests-held-up"] > 0, "{counted:?}");
    let before = written();
    assert!(
        eventually(|| written() > before + 20),
        "not limited any more"
    );
    drop(victim);
    let _: disk::Report = common::done(agent.ask_module("disk", &go));
    let nothing_stands = || fs::read_dir(agent.state()).unwrap().count() == 1;
    assert!(
        eventually(nothing_stands),
        "only the agent's program is left"
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn who_asks_nothing_of_disks_is_not_held_up() {
    let bounds = Bounds {
        disk_requests: Some(4),
        ..Bounds::default()
    };
    let counted = confined("idle", BUSY, bounds, |_, _| {
        std::thread::sleep(Duration::from_secs(1));
    });
    if let Some(counted) = counted {
        assert!(counted["disk-write-held-us"] > 100_000, "{counted:?}");
        assert_eq!(counted["disk-requests-held-up"], 0, "{counted:?}");
    }
}

#[test]
fn a_limit_that_nobody_reaches_proves_nothing() {
    let bounds = Bounds {
        disk_requests: Some(1_000_000),
        ..Bounds::default()
    };
    let file = on_disk().join(format!("free-{}", std::process::id()));
    let script = format!(
        "while :; do dd if=/dev/zero of={} bs=4k count=1 oflag=dsync 2>/dev/null; done",
        file.display()
    );
    let counted = confined("free", &script, bounds, |_, _| {
        std::thread::sleep(Duration::from_secs(1));
    });
    fs::remove_file(&file).unwrap();
    if let Some(counted) = counted {
        assert!(counted["disk-requests"] > 0, "{counted:?}");
        assert_eq!(counted["disk-requests-held-up"], 0, "{counted:?}");
    }
}

/// Two faults at once, begun in this order and ended in that of the indices.
fn together(test: &str, ends: [usize; 2]) {
    let mut agent = Agent::start("600");
    let bounds = [
        Bounds {
            cpu_percent: Some(5),
            ..Bounds::default()
        },
        Bounds {
            freeze: true,
            ..Bounds::default()
        },
    ];
    for bounds in bounds {
        if let Outcome::NotDone(why) = ask(&mut agent, &Request::Probe(bounds)) {
            return skip(test, &why);
        }
    }
    let victim = Victim::new(BUSY);
    let before = victim.circumstances();
    let name = |index: usize| format!("test-{}-{test}-{index}", std::process::id());
    for (index, bounds) in bounds.into_iter().enumerate() {
        let pids = format!("echo {}", victim.0.id());
        let name = name(index);
        done(ask(&mut agent, &Request::Confine { name, pids, bounds }));
    }
    let used = |time: u64| {
        let before = victim.used();
        std::thread::sleep(Duration::from_millis(time));
        victim.used() - before
    };
    assert_eq!(used(200), 0, "frozen");
    let name_of_first = name(ends[0]);
    let first = done(ask(
        &mut agent,
        &Request::Release {
            name: name_of_first,
        },
    ));
    match ends[0] {
        0 => assert_eq!(used(200), 0, "still frozen"),
        // Of two seconds it gets a tenth of one, not two: the other fault holds.
        _ => assert!((1..=50).contains(&used(2000)), "{first:?}"),
    }
    let name_of_last = name(ends[1]);
    done(ask(&mut agent, &Request::Release { name: name_of_last }));
    assert_eq!(victim.circumstances(), before);
    assert!(eventually(|| used(200) > 0));
}

#[test]
fn two_faults_at_once_end_as_they_began() {
    together("as-they-began", [0, 1]);
}

#[test]
fn two_faults_at_once_end_the_other_way_round() {
    together("the-other-way-round", [1, 0]);
}

#[test]
fn a_load_that_ends_takes_nothing_from_a_limit() {
    let test = "load-and-limit";
    let mut agent = Agent::start("600");
    let bounds = Bounds {
        cpu_percent: Some(5),
        ..Bounds::default()
    };
    if let Outcome::NotDone(why) = ask(&mut agent, &Request::Probe(bounds)) {
        return skip(test, &why);
    }
    let name = |what: &str| format!("test-{}-{test}-{what}", std::process::id());
    let victim = Victim::new(BUSY);
    let before = victim.circumstances();
    let task = load::Task {
        load: load::Load::Cpu {
            workers: Some(1),
            share: 10,
        },
        low: true,
        folders: Vec::new(),
    };
    let begin = load::Request::Begin {
        name: name("load"),
        task,
    };
    common::done::<load::Seen>(agent.ask_module(load::NAME, &begin));
    let pids = format!("echo {}", victim.0.id());
    let confine = Request::Confine {
        name: name("limit"),
        pids,
        bounds,
    };
    done(ask(&mut agent, &confine));
    let end = load::Request::End { name: name("load") };
    common::done::<load::Seen>(agent.ask_module(load::NAME, &end));
    let used = victim.used();
    std::thread::sleep(Duration::from_secs(2));
    let used = victim.used() - used;
    assert!((1..=50).contains(&used), "{used}");
    let release = Request::Release {
        name: name("limit"),
    };
    assert!(done(ask(&mut agent, &release)).counters["throttled"] > 0);
    assert_eq!(victim.circumstances(), before);
}

/// Runs all the other tests on a machine with groups of version 2, where the test program is started by a script.
fn on_version_two(test: &str, begin: &str) {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mke2fs")
        .args(["-q", "-F"])
        .arg(&disk)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return skip::skip_own_kernel(test, "there is no mke2fs (Debian: e2fsprogs)");
    }
    let script = format!(
        r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run/disk/tmp GAINSAY_TEST_DISK=/run/disk CI=true
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
mkdir /run/disk && mknod /run/device b 98 0 && mount /run/device /run/disk && mkdir /run/disk/tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/fuse/fuse.ko"
cat > /run/tests <<'END'
{program} --test-threads 1 --skip version_two --nocapture 2>&1
echo "ENDED $?"
echo "LEFT $(cd /sys/fs/cgroup && ls -d gainsay* 2>/dev/null) $(cat /sys/fs/cgroup/cgroup.subtree_control)"
END
{begin}
"#,
        program = std::env::current_exe().unwrap().display(),
    );
    let device = [format!("ubd0={}", disk.display())];
    if let Some(said) = on_a_machine(test, folder.path(), &script, &device) {
        let mut lines = said.lines().map(str::trim);
        let ended = lines.clone().any(|line| line == "ENDED 0");
        // No group of ours, and nothing that is handed down.
        let nothing_left = lines.any(|line| line == "LEFT");
        let ran = said.contains("test result: ok.") && !said.contains("SKIPPED");
        assert!(ran && ended && nothing_left, "{said}");
    }
}

#[test]
fn all_of_it_with_version_two() {
    let begin = "mkdir /sys/fs/cgroup/home
echo $$ > /sys/fs/cgroup/home/cgroup.procs
sh /run/tests";
    on_version_two("all_of_it_with_version_two", begin);
}

#[test]
fn all_of_it_with_version_two_in_a_container() {
    // Others are there as well, who know nothing of it.
    let begin = "mkdir /sys/fs/cgroup/box
echo '+cpu +memory +pids +io' > /sys/fs/cgroup/cgroup.subtree_control
echo $$ > /sys/fs/cgroup/box/cgroup.procs
sleep 1000 & other=$!
unshare --cgroup --mount sh -c 'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && sh /run/tests'
grep box$ /proc/$other/cgroup || echo 'ENDED elsewhere'";
    on_version_two("all_of_it_with_version_two_in_a_container", begin);
}
