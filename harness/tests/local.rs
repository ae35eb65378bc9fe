//! Local clusters for real: needs root, and (the first time) this machine's package sources.
//!
//! It has its own `main`, since the test executable is started again as the clusters' processes, and, for
//! the test of orphans, as a controller that gets killed. Arguments that are not options select tests
//! by parts of their names.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "common/cluster.rs"]
mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::local::{self, ClusterState, Config, LocalCluster, LocalError, Owner, SshTarget};
use harness::node::packages;
use harness::remote::Remote;
use harness::remote::ssh::{ConfigFile, HostKeyPolicy, SshOptions, SshRemote};

use cluster::{controller, last_words, says, ssh};

/// What suites are to be able to install, offline.
const PACKAGE: &str = "etcd-server";

const TESTS: &[(&str, fn())] = &[
    ("nodes_are_machines", nodes_are_machines),
    ("nodes_reach_each_other", nodes_reach_each_other),
    (
        "the_harness_sessions_reach_nodes",
        the_harness_sessions_reach_nodes,
    ),
    (
        "nodes_cannot_touch_the_machine",
        nodes_cannot_touch_the_machine,
    ),
    ("packages_install_offline", packages_install_offline),
    (
        "packages_come_from_this_machine",
        packages_come_from_this_machine,
    ),
    (
        "services_run_without_an_init_system",
        services_run_without_an_init_system,
    ),
    ("sshd_comes_back", sshd_comes_back),
    ("two_clusters_at_once", two_clusters_at_once),
    ("down_leaves_nothing", down_leaves_nothing),
    (
        "a_killed_controller_leaves_an_orphan",
        a_killed_controller_leaves_an_orphan,
    ),
    (
        "controllers_may_be_killed_at_start",
        controllers_may_be_killed_at_start,
    ),
    (
        "the_next_start_removes_orphans",
        the_next_start_removes_orphans,
    ),
    (
        "a_killed_switch_takes_its_nodes_along",
        a_killed_switch_takes_its_nodes_along,
    ),
    ("failed_starts_leave_nothing", failed_starts_leave_nothing),
];

fn main() {
    cluster::run(TESTS, be_a_controller, || {
        let fit = nix::unistd::geteuid().is_root();
        (!fit).then_some("tests of the local cluster need root")
    });
}

fn up(nodes: usize, packages: &[&str]) -> LocalCluster {
    let mut config = Config::new(nodes);
    config.packages = packages.iter().map(|&name| name.to_owned()).collect();
    local::up(&config, &mut |line| eprintln!("  {line}")).unwrap()
}

fn nodes_are_machines() {
    let cluster = up(5, &[]);
    for node in 1..=5 {
        assert_eq!(
            says(&cluster, node, "hostname; whoami"),
            format!("n{node}\nroot")
        );
        assert_eq!(
            says(&cluster, node, "cat /proc/sys/kernel/hostname"),
            format!("n{node}")
        );
        // Only the node's own processes are there, and the first is ours.
        let processes = says(&cluster, node, "ps -e -o pid=,args=");
        assert!(
            processes
                .lines()
                .next()
                .unwrap()
                .trim()
                .starts_with("1 gainsay __node")
        );
        assert!(processes.lines().count() < 10, "{processes}");
        let mounts = says(&cluster, node, "cat /proc/mounts");
        let foreign = |line: &&str| {
            let kinds = [
                "overlay / ",
                "proc /proc",
                "sysfs /sys",
                "tmpfs /dev",
                "devpts /dev/pts",
                "tmpfs /run",
            ];
            !kinds.iter().any(|kind| line.starts_with(kind))
        };
        assert_eq!(mounts.lines().find(foreign), None, "{mounts}");
        let devices = "for d in null zero full random urandom tty; do test -c /dev/$d || exit 1; done; \
                       echo ok > /dev/shm/x; cat /dev/shm/x";
        assert_eq!(says(&cluster, node, devices), "ok");
        assert!(says(&cluster, node, "ulimit -n").parse::<u64>().unwrap() > 4096);
    }
    let ids: BTreeSet<String> = (1..=5)
        .map(|n| says(&cluster, n, "cat /etc/machine-id"))
        .collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| id.len() == 32));
    // What one writes the others do not see, nor does the base.
    says(&cluster, 1, "echo mine > /etc/mine; rm /usr/bin/curl");
    assert_eq!(
        says(
            &cluster,
            2,
            "ls /etc/mine 2>&1 || test -x /usr/bin/curl && echo there"
        ),
        "ls: cannot access '/etc/mine': No such file or directory\nthere"
    );
    for node in cluster.nodes() {
        let inside = fs::read_to_string(format!("/proc/{}/root/etc/hostname", node.pid)).unwrap();
        assert_eq!(inside.trim(), node.name);
    }
    cluster.down().unwrap();
}

fn nodes_reach_each_other() {
    let cluster = up(3, &[]);
    for node in 1..=3 {
        for other in ["n1", "n2", "n3", "controller"] {
            says(&cluster, node, &format!("ping -c 1 -W 5 {other}"));
        }
        // Nor is there a way to anywhere else.
        assert_eq!(says(&cluster, node, "ip route show default"), "");
    }
    // From node to node the address is the one that the others know.
    says(
        &cluster,
        2,
        "(nc -l -p 7000 > /tmp/got 2>&1 </dev/null &) ; sleep 0.3",
    );
    says(&cluster, 1, "echo hello | nc -N n2 7000");
    assert_eq!(
        says(
            &cluster,
            2,
            "for i in $(seq 50); do test -s /tmp/got && break; sleep 0.1; done; cat /tmp/got"
        ),
        "hello"
    );
    let macs = says(&cluster, 1, "cat /sys/class/net/eth0/address");
    assert_eq!(macs, cluster.nodes()[0].mac);
    // The firewall is the node's own.
    says(
        &cluster,
        1,
        "nft add table inet t && nft list tables | grep -q 'inet t'",
    );
    says(&cluster, 1, "iptables -w -A INPUT -s 10.77.0.2 -j DROP");
    assert!(!ssh(&cluster, 2, "ping -c 1 -W 1 n1").status.success());
    says(&cluster, 2, "ping -c 1 -W 5 n3");
    says(&cluster, 1, "iptables -w -F INPUT");
    says(&cluster, 2, "ping -c 1 -W 5 n1");
    cluster.down().unwrap();
}

/// Does something over a session of the harness to the first node.
fn over_a_session<T: Send>(
    cluster: &LocalCluster,
    act: impl AsyncFnOnce(SshRemote) -> T + Send,
) -> T {
    let SshTarget {
        name,
        address,
        user,
        key,
        known_hosts,
        ..
    } = cluster.ssh_targets().remove(0);
    let options = SshOptions {
        user: Some(user),
        private_keys: vec![key],
        agent: false,
        host_keys: Some(HostKeyPolicy::Strict),
        known_hosts: vec![known_hosts],
        config: ConfigFile::None,
        ..SshOptions::default()
    };
    let done = cluster.in_switch_netns(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let remote = SshRemote::new(name.as_str().into(), &address.to_string(), options);
        runtime.block_on(act(remote.unwrap()))
    });
    done.unwrap()
}

fn the_harness_sessions_reach_nodes() {
    let cluster = up(1, &[]);
    let said = over_a_session(&cluster, async |remote| {
        remote
            .write("/tmp/greeting", b"hello from ".to_vec(), 0o600)
            .await
            .unwrap();
        let slow = remote
            .exec(harness::remote::Command::new("cat /tmp/greeting; hostname"))
            .await
            .unwrap();
        let quick = remote
            .exec(harness::remote::Command::new("cat /tmp/greeting; hostname").quick())
            .await
            .unwrap();
        [slow.text().into_owned(), quick.text().into_owned()]
    });
    assert_eq!(said, ["hello from n1", "hello from n1"]);
    cluster.down().unwrap();
}

/// A node whose package sources have nothing, and which has no way out, gets packages with all that they need.
fn packages_come_from_this_machine() {
    let cluster = up(1, &[]);
    let refused = over_a_session(&cluster, async |remote| {
        packages::install(&remote, &["jq"]).await.unwrap();
        let unknown = packages::install(&remote, &["no-such-package-anywhere"]).await;
        unknown.unwrap_err().to_string()
    });
    assert_eq!(says(&cluster, 1, "echo '[1]' | jq -c ."), "[1]");
    // They are installed as any other, and what was sent is gone.
    says(
        &cluster,
        1,
        "dpkg-query --status libjq1 && [ -z \"$(ls /var/tmp)\" ]",
    );
    assert!(
        refused.contains("Unable to locate package no-such-package-anywhere"),
        "{refused}"
    );
    assert!(
        refused.contains("this machine cannot fetch it for the node, either"),
        "{refused}"
    );
    cluster.down().unwrap();
}

fn nodes_cannot_touch_the_machine() {
    let cluster = up(1, &[]);
    for script in [
        "date -s '2001-01-01'",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo h > /proc/sysrq-trigger",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "dmesg --clear",
    ] {
        assert!(
            !ssh(&cluster, 1, script).status.success(),
            "{script} succeeded"
        );
    }
    // What is the node's own can be set.
    says(
        &cluster,
        1,
        "echo 1 > /proc/sys/net/ipv4/ip_forward && hostname other && hostname n1",
    );
    cluster.down().unwrap();
}

fn packages_install_offline() {
    let cluster = up(2, &[PACKAGE]);
    let install = format!("apt-get install -y --no-install-recommends {PACKAGE}");
    let absent = ssh(&cluster, 1, "command -v etcd");
    assert!(!absent.status.success());
    says(&cluster, 1, &install);
    // As suites do it for nodes that have a network.
    says(&cluster, 2, &format!("apt-get update && {install}"));
    for node in 1..=2 {
        assert!(says(&cluster, node, "etcd --version").contains("etcd Version"));
        // Its package would have started it.
        assert!(!ssh(&cluster, node, "pgrep -x etcd").status.success());
    }
    let unknown = ssh(&cluster, 1, "apt-get install -y redis-server");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("Unable to locate package"));
    cluster.down().unwrap();
}

/// What scripts of suites and packages rely on, beside commands.
fn services_run_without_an_init_system() {
    let cluster = up(1, &[]);
    says(
        &cluster,
        1,
        "sudo -n true && su nobody -s /bin/sh -c 'test -w /tmp && ! test -w /etc'",
    );
    let daemon = "--pidfile /run/d.pid --exec /usr/bin/sleep";
    let start = "--start --background --make-pidfile --chuid nobody";
    says(
        &cluster,
        1,
        &format!("start-stop-daemon {start} {daemon} -- 1000"),
    );
    says(&cluster, 1, &format!("start-stop-daemon --status {daemon}"));
    says(
        &cluster,
        1,
        &format!("start-stop-daemon --stop --retry 5 {daemon}"),
    );
    assert!(
        !ssh(&cluster, 1, &format!("start-stop-daemon --status {daemon}"))
            .status
            .success()
    );
    assert!(!ssh(&cluster, 1, "/usr/sbin/policy-rc.d").status.success());
    cluster.down().unwrap();
}

fn sshd_comes_back() {
    let cluster = up(1, &[]);
    let before = says(&cluster, 1, "pgrep -o -x sshd");
    says(
        &cluster,
        1,
        &format!("(sleep 60 & ) >/dev/null 2>&1; kill -9 {before}"),
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ssh(&cluster, 1, "true").status.success() {
        assert!(Instant::now() < deadline, "sshd did not come back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_ne!(says(&cluster, 1, "pgrep -o -x sshd"), before);
    assert_eq!(says(&cluster, 1, "ps -e -o stat= | grep -c Z || true"), "0");
    cluster.down().unwrap();
}

fn two_clusters_at_once() {
    let (one, other) = (up(2, &[]), up(2, &[]));
    assert_ne!(one.id(), other.id());
    says(&one, 1, "echo one > /etc/whose");
    says(&other, 1, "echo other > /etc/whose");
    assert_eq!(says(&one, 1, "cat /etc/whose"), "one");
    assert_eq!(says(&other, 1, "cat /etc/whose"), "other");
    let up: Vec<String> = local::list()
        .unwrap()
        .into_iter()
        .filter(|cluster| cluster.state == ClusterState::Up && !cluster.orphaned)
        .map(|cluster| cluster.id)
        .collect();
    assert!(up.contains(&one.id().to_owned()) && up.contains(&other.id().to_owned()));
    // A third cluster's start must not take them for orphans.
    assert!(
        local::reap_orphans(&local::cache_dir())
            .unwrap()
            .iter()
            .all(|id| !up.contains(id))
    );
    let found = local::open(other.id()).unwrap();
    assert_eq!(found.nodes(), other.nodes());
    one.down().unwrap();
    assert_eq!(says(&found, 1, "cat /etc/whose"), "other");
    local::down(found.id()).unwrap();
    assert!(matches!(
        local::open(found.id()),
        Err(LocalError::Unknown(_))
    ));
}

fn down_leaves_nothing() {
    let before = Traces::of_the_machine();
    for nodes in [1, 5] {
        let cluster = up(nodes, &[PACKAGE]);
        says(
            &cluster,
            1,
            "nft add table inet left; mkdir /run/x; mount -t tmpfs x /run/x; (sleep 1000 &) >/dev/null 2>&1",
        );
        assert_eq!(
            Traces::of_the_machine().mounts,
            before.mounts,
            "while it is up"
        );
        let inhabitants = Inhabitants::of(&cluster);
        let id = cluster.id().to_owned();
        cluster.down().unwrap();
        inhabitants.assert_gone();
        before.assert_same(&id);
    }
    assert_eq!(children(), Vec::<String>::new(), "zombies");
}

/// Brings a cluster up, says which, and waits to be killed.
fn be_a_controller() {
    let cluster = up(2, &[]);
    println!("{}", cluster.id());
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// A cluster whose controller was killed once it was up.
fn orphan() -> LocalCluster {
    local::open(&last_words()).unwrap()
}

fn a_killed_controller_leaves_an_orphan() {
    let before = Traces::of_the_machine();
    let cluster = orphan();
    let inhabitants = Inhabitants::of(&cluster);
    // It goes on without its controller.
    assert_eq!(says(&cluster, 2, "hostname"), "n2");
    let listed = local::list().unwrap();
    let info = listed.iter().find(|info| info.id == cluster.id()).unwrap();
    assert!(info.orphaned && info.state == ClusterState::Up);
    assert!(
        local::reap_orphans(&local::cache_dir())
            .unwrap()
            .contains(&cluster.id().to_owned())
    );
    inhabitants.assert_gone();
    before.assert_same(cluster.id());
}

fn controllers_may_be_killed_at_start() {
    let before = Traces::of_the_machine();
    let helpers = helpers_of_none(&[]);
    let mut starting = 0;
    for delay in (0..240).step_by(10) {
        let mut controller = controller().stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        controller.kill().unwrap();
        controller.wait().unwrap();
        let orphans = local::list()
            .unwrap()
            .into_iter()
            .filter(|info| info.orphaned);
        starting += orphans
            .filter(|info| info.state == ClusterState::Starting)
            .count();
        local::reap_orphans(&local::cache_dir()).unwrap();
        let listed: Vec<String> = local::list()
            .unwrap()
            .into_iter()
            .map(|info| info.id)
            .collect();
        let deadline = Instant::now() + Duration::from_secs(30);
        while let left = helpers_of_none(&listed)
            && let Some(left) = left.iter().find(|line| !helpers.contains(line))
        {
            assert!(Instant::now() < deadline, "after {delay} ms: {left}");
            std::thread::sleep(Duration::from_millis(10));
        }
        before.assert_same("no cluster");
    }
    assert!(starting > 0, "no kill came while nodes were starting");
}

/// Processes of clusters that are not among these.
fn helpers_of_none(ids: &[String]) -> Vec<String> {
    let command = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let helper = |line: &String| {
        line.starts_with("gainsay\0__") && !ids.iter().any(|id| line.contains(&format!("/{id}")))
    };
    processes()
        .into_keys()
        .map(command)
        .filter(helper)
        .collect()
}

fn the_next_start_removes_orphans() {
    let before = Traces::of_the_machine();
    let cluster = orphan();
    // One that nobody owns is no orphan.
    let stays = local::up(
        &Config {
            owner: Owner::Nobody,
            ..Config::new(1)
        },
        &mut |_| {},
    )
    .unwrap();
    let listed: Vec<String> = local::list()
        .unwrap()
        .into_iter()
        .map(|info| info.id)
        .collect();
    let reaped = local::reap_orphans(&local::cache_dir()).unwrap();
    let name = says(&stays, 1, "hostname");
    let id = stays.id().to_owned();
    stays.down().unwrap();
    assert!(!listed.contains(&cluster.id().to_owned()), "{listed:?}");
    assert!(listed.contains(&id) && !reaped.contains(&id) && name == "n1");
    before.assert_same(cluster.id());
}

fn a_killed_switch_takes_its_nodes_along() {
    let before = Traces::of_the_machine();
    let cluster = up(3, &[]);
    let inhabitants = Inhabitants::of(&cluster);
    let id = cluster.id().to_owned();
    let switch = nix::unistd::Pid::from_raw(cluster.switch_pid());
    nix::sys::signal::kill(switch, nix::sys::signal::Signal::SIGKILL).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    cluster.down().unwrap();
    inhabitants.assert_gone();
    assert_eq!(children(), Vec::<String>::new(), "zombies");
    before.assert_same(&id);
}

fn failed_starts_leave_nothing() {
    let before = Traces::of_the_machine();
    // A program that is not a helper.
    let config = Config {
        helper: "/bin/true".into(),
        ..Config::new(1)
    };
    let error = local::up(&config, &mut |_| {}).unwrap_err();
    assert!(matches!(error, LocalError::Start(_)), "{error}");
    for nodes in [0, local::MAX_NODES + 1] {
        let error = local::up(&Config::new(nodes), &mut |_| {}).unwrap_err();
        assert!(matches!(error, LocalError::NodeCount { .. }), "{error}");
    }
    let mut config = Config::new(1);
    config.packages = vec!["no-such-package-anywhere".into()];
    let error = local::up(&config, &mut |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("no-such-package-anywhere") && error.contains("hint"),
        "{error}"
    );
    config.packages = vec!["-o=x".into()];
    assert!(matches!(
        local::up(&config, &mut |_| {}),
        Err(LocalError::PackageName(_))
    ));
    before.assert_same("no cluster");
    assert_eq!(children(), Vec::<String>::new(), "zombies");
}

/// Everything that a cluster could leave on the machine.
struct Traces {
    mounts: String,
    links: String,
    rules: String,
    files: BTreeSet<String>,
}

impl Traces {
    fn of_the_machine() -> Traces {
        let output = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{program}");
            String::from_utf8(output.stdout).unwrap()
        };
        let names = |dir: &Path| -> Vec<String> {
            let Ok(entries) = fs::read_dir(dir) else {
                return Vec::new();
            };
            entries
                .map(|entry| entry.unwrap().path().display().to_string())
                .collect()
        };
        let clusters = local::cache_dir().join("clusters");
        let dirs = [
            Path::new("/run"),
            Path::new("/run/gainsay"),
            Path::new("/run/netns"),
            &clusters,
        ];
        // Clusters of others who work on this machine come and go, while this looks too.
        let mut others = clusters_of_others();
        let mut files: BTreeSet<String> = dirs.into_iter().flat_map(names).collect();
        others.extend(clusters_of_others());
        let register = |name: &str| name == "/run/gainsay" && !others.is_empty();
        files.retain(|name| {
            !register(name) && !others.iter().any(|id| name.contains(&format!("/{id}")))
        });
        Traces {
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
            links: output("ip", &["-oneline", "link"]),
            rules: output("nft", &["list", "ruleset"]),
            files,
        }
    }

    fn assert_same(&self, id: &str) {
        let now = Traces::of_the_machine();
        assert_eq!(now.mounts, self.mounts);
        assert_eq!(now.links, self.links);
        assert_eq!(now.rules, self.rules);
        let own: Vec<&String> = now.files.iter().filter(|name| name.contains(id)).collect();
        assert_eq!(own, Vec::<&String>::new());
        assert_eq!(now.files, self.files);
    }
}

fn clusters_of_others() -> BTreeSet<String> {
    let own = i32::try_from(std::process::id()).unwrap();
    let listed = local::list().unwrap().into_iter();
    let others = listed.filter(|info| !info.orphaned && info.owner != Some(own));
    others.map(|info| info.id).collect()
}

/// The processes in a cluster's namespaces.
struct Inhabitants(BTreeMap<u32, String>);

impl Inhabitants {
    fn of(cluster: &LocalCluster) -> Inhabitants {
        let mut namespaces = BTreeSet::new();
        let own = namespaces_of("self");
        let nodes: Vec<i32> = cluster.nodes().iter().map(|node| node.pid).collect();
        for pid in nodes.into_iter().chain([cluster.switch_pid()]) {
            namespaces.extend(namespaces_of(&pid.to_string()));
        }
        let namespaces: BTreeSet<String> = namespaces.difference(&own).cloned().collect();
        // Five of each node, and the switch's network.
        assert_eq!(namespaces.len(), 5 * cluster.nodes().len() + 1);
        let mut found = processes();
        found.retain(|pid, _| !namespaces_of(&pid.to_string()).is_disjoint(&namespaces));
        // The switch, and of each node the first process and the SSH server at least.
        assert!(found.len() > 2 * cluster.nodes().len(), "{found:?}");
        Inhabitants(found)
    }

    fn assert_gone(&self) {
        // A process whose parent was killed is reaped by the machine's init, in its own time.
        let deadline = Instant::now() + Duration::from_secs(30);
        while let left = self.left()
            && !left.is_empty()
        {
            assert!(Instant::now() < deadline, "processes are left: {left:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Those that are still there. (Not those that are in such namespaces: the kernel uses their numbers
    /// again, for others' clusters too.)
    fn left(&self) -> Vec<u32> {
        let now = processes();
        let same = |(pid, start): &(&u32, &String)| now.get(pid) == Some(start);
        self.0.iter().filter(same).map(|(pid, _)| *pid).collect()
    }
}

/// All processes, zombies included, each with its start time.
fn processes() -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(pid) = entry.unwrap().file_name().to_string_lossy().parse() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let start = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(19)
            .unwrap()
            .to_owned();
        found.insert(pid, start);
    }
    found
}

fn namespaces_of(pid: &str) -> BTreeSet<String> {
    ["net", "mnt", "pid", "uts", "ipc"]
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok())
        .map(|link| link.display().to_string())
        .collect()
}

/// This process's children, dead or alive.
fn children() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}
