//! Local nodes with kernels of their own, for real: needs root and user-mode Linux.
//!
//! It has its own `main`, for the reasons of `local.rs`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::local::{self, Config, Kernel, LocalCluster, SshTarget, run_helper_if_asked};

/// The argument that makes this executable a controller to be killed.
const CONTROLLER: &str = "controller-to-be-killed";

/// How long a node may take to boot here.
const BOOT: Duration = Duration::from_secs(90);

const TESTS: &[(&str, fn())] = &[
    (
        "nodes_have_kernels_of_their_own",
        nodes_have_kernels_of_their_own,
    ),
    (
        "a_reboot_keeps_what_was_synced",
        a_reboot_keeps_what_was_synced,
    ),
    ("power_is_cut_and_comes_back", power_is_cut_and_comes_back),
    (
        "a_killed_controller_leaves_an_orphan",
        a_killed_controller_leaves_an_orphan,
    ),
];

fn main() {
    run_helper_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == CONTROLLER) {
        return be_a_controller();
    }
    if !nix::unistd::geteuid().is_root() || !local::missing_for_own_kernels().is_empty() {
        eprintln!(
            "\n*** SKIPPED: tests of nodes with kernels of their own need root and user-mode-linux, and did NOT run ***\n"
        );
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    for &(name, test) in TESTS {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            let begin = Instant::now();
            eprint!("test {name} ... ");
            test();
            eprintln!("ok ({:.1} s)", begin.elapsed().as_secs_f64());
        }
    }
}

fn up(nodes: usize) -> LocalCluster {
    let mut config = Config::new(nodes);
    config.kernel = Kernel::Own;
    local::up(&config, &mut |line| eprintln!("  {line}")).unwrap()
}

/// Runs a script on a node, by the plain `ssh` of this machine, host keys checked.
fn ssh(cluster: &LocalCluster, node: usize, script: &str) -> Output {
    let SshTarget {
        address,
        user,
        key,
        known_hosts,
        ..
    } = cluster.ssh_targets().remove(node - 1);
    let mut command = Command::new("ssh");
    command.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
    ]);
    command.args([
        "-o",
        "ServerAliveInterval=2",
        "-o",
        "ConnectTimeout=10",
        "-o",
        "IdentitiesOnly=yes",
        "-i",
    ]);
    command
        .arg(key)
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()));
    command
        .arg(format!("{user}@{address}"))
        .arg(script)
        .stdin(Stdio::null());
    cluster
        .in_switch_netns(|| command.output().unwrap())
        .unwrap()
}

/// As [`ssh`], for scripts that must succeed; returns their output.
fn says(cluster: &LocalCluster, node: usize, script: &str) -> String {
    let output = ssh(cluster, node, script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "n{node}: {script}: {} {errors}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits until a node's SSH server answers, or does not.
fn await_ssh(cluster: &LocalCluster, node: usize, answers: bool) {
    let address = SocketAddr::from((cluster.ssh_targets().remove(node - 1).address, 22));
    let attempt = || {
        let limit = Duration::from_millis(500);
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.read_exact(&mut [0; 4])
    };
    let deadline = Instant::now() + BOOT;
    while cluster.in_switch_netns(attempt).unwrap().is_ok() != answers {
        assert!(Instant::now() < deadline, "n{node}: wrong for {BOOT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn boot_id(cluster: &LocalCluster, node: usize) -> String {
    says(cluster, node, "cat /proc/sys/kernel/random/boot_id")
}

fn nodes_have_kernels_of_their_own() {
    let cluster = up(2);
    let mut boots =
        BTreeSet::from([fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()]);
    for node in 1..=2 {
        let identity =
            "hostname; whoami; cat /sys/class/net/eth0/address; tr -d '\\0' </proc/1/comm";
        let expected = format!("n{node}\nroot\n02:67:73:00:00:{node:02x}\ngainsay-init");
        assert_eq!(says(&cluster, node, identity), expected);
        boots.insert(boot_id(&cluster, node));
        let devices = "for d in null zero full random urandom tty fuse net/tun; do test -c /dev/$d || exit 1; done; \
                       echo ok > /dev/shm/x; cat /dev/shm/x; df -P / | awk 'NR == 2 {print $1}'";
        assert_eq!(says(&cluster, node, devices), "ok\n/dev/root");
        assert!(says(&cluster, node, "ulimit -Hn").parse::<u64>().unwrap() > 65536);
    }
    assert_eq!(boots.len(), 3, "three kernels");
    assert_eq!(
        says(
            &cluster,
            1,
            "getent hosts n2 controller | wc -l; ping -c 1 -W 5 n2 >/dev/null && echo reached"
        ),
        "2\nreached"
    );
    // What one writes, the other does not see, nor does the image.
    says(&cluster, 1, "echo mine > /etc/mine; rm /usr/bin/curl");
    assert_eq!(
        says(
            &cluster,
            2,
            "test ! -e /etc/mine && test -x /usr/bin/curl && echo intact"
        ),
        "intact"
    );
    // Processes whose parents end are reaped by the first one.
    let orphans =
        "(for i in 1 2 3 4 5; do (sleep 0.2 &) ; done); sleep 1; ps -e -o stat= | grep -c Z; true";
    assert_eq!(says(&cluster, 1, orphans), "0");
    // The node's clock is its own, and is set; this machine's is not.
    says(&cluster, 1, "date -s '+1 hour' >/dev/null");
    let theirs: i64 = says(&cluster, 1, "date +%s").parse().unwrap();
    let ours = jiff::Timestamp::now().as_second();
    assert!((3500..3700).contains(&(theirs - ours)), "{theirs} {ours}");
    let others: i64 = says(&cluster, 2, "date +%s").parse().unwrap();
    assert!((others - jiff::Timestamp::now().as_second()).abs() < 60);
    says(
        &cluster,
        1,
        "tc qdisc add dev eth0 root netem delay 20ms && tc qdisc del dev eth0 root",
    );
    // It ends with the server.
    says(&cluster, 1, "kill $(cat /run/sshd.pid); sleep 2; true");
    await_ssh(&cluster, 1, true);
    let dir = power_file(&cluster, 1);
    cluster.down().unwrap();
    assert!(!dir.exists());
}

fn power_file(cluster: &LocalCluster, node: usize) -> std::path::PathBuf {
    local::cache_dir()
        .join("clusters")
        .join(cluster.id())
        .join(format!("n{node}/power"))
}

fn a_reboot_keeps_what_was_synced() {
    let cluster = up(1);
    let first = boot_id(&cluster, 1);
    // In order: all is kept.
    ssh(
        &cluster,
        1,
        "echo kept > /root/unsynced; setsid reboot >/dev/null 2>&1 & sleep 0.1",
    );
    let second = await_other_boot(&cluster, &first);
    assert_eq!(
        says(&cluster, 1, "cat /root/unsynced; hostname"),
        "kept\nn1"
    );
    // At once: what was not synced is lost.
    let script = "echo a > /root/synced; sync /root/synced /root; echo b > /root/lost; echo b > /proc/sysrq-trigger";
    ssh(&cluster, 1, script);
    let third = await_other_boot(&cluster, &second);
    assert_eq!(
        says(
            &cluster,
            1,
            "cat /root/synced; cat /root/lost 2>/dev/null; cat /root/unsynced"
        ),
        "a\nkept"
    );
    assert!(cluster.power().unwrap()[0].is_on().unwrap());
    assert_ne!(first, third);
    cluster.down().unwrap();
}

fn await_other_boot(cluster: &LocalCluster, before: &str) -> String {
    let deadline = Instant::now() + BOOT;
    loop {
        let output = ssh(cluster, 1, "cat /proc/sys/kernel/random/boot_id");
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && id != before {
            return id;
        }
        assert!(Instant::now() < deadline, "still {before}: {output:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn power_is_cut_and_comes_back() {
    let cluster = up(1);
    let power = cluster.power().unwrap().remove(0);
    let first = boot_id(&cluster, 1);
    says(
        &cluster,
        1,
        "echo a > /root/synced; sync /root/synced /root; echo b > /root/lost",
    );
    assert!(power.is_on().unwrap());
    power.cut().unwrap();
    assert!(!power.is_on().unwrap());
    power.cut().unwrap();
    await_ssh(&cluster, 1, false);
    power.on().unwrap();
    power.on().unwrap();
    let second = await_other_boot(&cluster, &first);
    assert_eq!(
        says(
            &cluster,
            1,
            "cat /root/synced; cat /root/lost 2>/dev/null; true"
        ),
        "a"
    );
    // A node can power itself off too.
    ssh(&cluster, 1, "setsid poweroff >/dev/null 2>&1 & sleep 0.1");
    let deadline = Instant::now() + BOOT;
    while power.is_on().unwrap() {
        assert!(Instant::now() < deadline, "it is still on");
        std::thread::sleep(Duration::from_millis(20));
    }
    power.on().unwrap();
    await_other_boot(&cluster, &second);
    cluster.down().unwrap();
}

/// Brings a cluster up, says which, and waits to be killed.
fn be_a_controller() {
    let cluster = up(1);
    println!("{} {}", cluster.id(), cluster.nodes()[0].pid);
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// The processes of user-mode Linux that a node's supervisor has.
fn kernels(supervisor: &str) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
    children
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn a_killed_controller_leaves_an_orphan() {
    let mut controller = Command::new("/proc/self/exe")
        .arg0("controller")
        .arg(CONTROLLER)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(controller.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    controller.kill().unwrap();
    controller.wait().unwrap();
    let (id, supervisor) = line.trim().split_once(' ').unwrap();
    let kernels = kernels(supervisor);
    assert!(!kernels.is_empty());
    let cluster = local::open(id).unwrap();
    assert_eq!(says(&cluster, 1, "hostname"), "n1");
    assert!(
        local::reap_orphans(&local::cache_dir())
            .unwrap()
            .contains(&id.to_owned())
    );
    for pid in kernels.iter().map(String::as_str).chain([supervisor]) {
        assert!(
            !fs::exists(format!("/proc/{pid}/exe")).unwrap(),
            "{pid} is left"
        );
    }
    assert!(!local::cache_dir().join("clusters").join(id).exists());
    assert!(local::list().unwrap().iter().all(|info| info.id != id));
}
