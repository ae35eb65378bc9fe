//! Whatever becomes of the controller, every fault is undone exactly: real nodes, looked at by their own tools before it
//! and after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Program, said};

/// How a node is, in words that are the same as long as nothing of importance changes.
const LOOK: &str = r##"
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
echo "# firewall"; nft list ruleset
echo "# network"; tc qdisc show; tc filter show dev eth0; ip -o link show | cut -d' ' -f2-9; ip rule; ip route; ip -6 route
echo "# mounts"; cat /proc/self/mounts
echo "# groups"; find /sys/fs/cgroup /sys/fs/cgroup/freezer -maxdepth 2 -name '*gainsay*' 2>/dev/null | sort
echo "# kernel"; cat /proc/sys/kernel/core_pattern /proc/sys/vm/overcommit_memory
echo "# files"; find /var/lib/gainsay /run/gainsay* /tmp 2>/dev/null | grep -v -e '\.pid' -e '^/var/lib/gainsay$' -e '^/var/lib/gainsay/lock$' | sort
echo "# processes"
for process in /proc/[0-9]*; do
  words=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline") || continue
  case "$words" in "" | *sshd* | sh\ * | bash\ * | "tr "*) continue;; esac
  # A member that was brought in again, as it was, has joined; the first have begun the cluster.
  words=$(echo "$words" | sed 's/ --initial-cluster-state=[a-z]*//')
  case $(sed 's/^.*) //' "$process/stat") in T*) state=stopped;; *) state=runs;; esac
  echo "$state $words"
  case "$words" in /usr/bin/etcd* | */mongod\ *) ;; *) continue;; esac
  grep -v :memory: "$process/cgroup"
  cat "$process/limits" "$process/oom_score_adj"
  grep Tracer "$process/status"
  # What a program loads before all others it keeps, and what that needs. It has the true time.
  awk '{ print $2, $6 }' "$process/maps" | grep -v -e ' $' -e '/waits-' -e '/libdl' -e '/libpthread' -e faketime -e '/libm[.]' | sort -u
  told=$(grep -z -e ^LD_PRELOAD= -e FAKE "$process/environ" | xargs -0 sh -c 'exec env "$@" date +%s' sh)
  echo "told a time that is $(((told - $(date +%s)) / 60)) minutes off"
  vdso=$(awk '/\[vdso\]/ { print $1 }' "$process/maps")
  [ -n "$vdso" ] || continue
  first=$((0x${vdso%-*} / 4096)); last=$((0x${vdso#*-} / 4096))
  echo "code of clocks $(dd if="$process/mem" bs=4096 skip=$first count=$((last - first)) 2>/dev/null | md5sum)"
done 2>/dev/null
echo "# date"; date +%s.%N
"##;

/// Every fault that something of stands on nodes, such that it acts at once and goes on. Those that leave each other alone stand beside
/// each other.
const FAULTS: [&[&str]; 18] = [
    &["partition", "load:cpu:target=all", "disk:slow:target=all"],
    &[
        "partition:halves:action=reject",
        "stress:target=all",
        "clock:target=all",
    ],
    &[
        "partition:one:action=jam",
        "stress:io:target=all",
        "disk:errors:target=all",
    ],
    &[
        "partition:clients",
        "stress:files:target=all",
        "clock:strobe:target=all",
    ],
    &[
        "partition:one:flap=200ms",
        "stress:processes:target=all",
        "disk:full:target=all",
    ],
    &[
        "partition:bridge:direction=in",
        "stress:memory:target=all",
        "clock:freeze:target=all",
    ],
    &[
        "packet:loss:target=all",
        "load:memory:amount=64MiB:target=all",
        "clock:drift:clocks=both:target=all",
    ],
    &[
        "packet:delay:target=all",
        "load:io:target=all",
        "disk:short-writes:target=all",
    ],
    &["packet:rate:target=all", "disk:failing-fsync:target=all"],
    &["packet:duplicate:target=all", "disk:lying-fsync:target=all"],
    &["clock:skew:scope=libfaketime:target=all"],
    &["kill:target=all"],
    &["kill:signal=TERM:target=all"],
    &["pause:target=all"],
    &["freeze:target=all"],
    &["disk:stall:target=all"],
    &["power:target=all"],
    &["membership:rejoin:target=10.77.0.2"],
];

/// Those that nodes with kernels of their own do by other means than the rest: by the rules of `tc`.
const BY_TC: [&str; 2] = ["partition", "packet:delay:target=all"];

/// Those that only nodes with kernels of their own know.
const OF_MACHINES: [&[&str]; 4] = [
    &["clock:skew:scope=machine:target=all"],
    &["reboot:orderly:target=10.77.0.1"],
    &["reboot:off:target=all"],
    &[
        "clock:skew:scope=machine:target=10.77.0.1",
        "reboot:hard:target=10.77.0.2",
        "disk:slow:target=10.77.0.3",
    ],
];

/// Faults of which nothing stands when they are done, and what is so on a node in the middle of them, as a script.
const PASSING: [(&str, &str); 2] = [
    (
        "rolling:restart:target=all",
        "for process in /proc/[0-9]*; do case $(tr '\\0' ' ' 2>/dev/null <$process/cmdline) in /usr/bin/etcd*) exit 1;; esac; done",
    ),
    (
        "corrupt:restore:back=15s:target=10.77.0.2",
        "[ -e /var/lib/gainsay/copy-of-data/0 ]",
    ),
];

/// A program of a user's own, which changes the size of packets.
const PROGRAM: &str = "#!/bin/sh
case $1 in
probe) ip link show eth0 >/dev/null;;
start) ip link set eth0 mtu 1400;;
verify) ip -o link show eth0 | grep 'mtu 1400';;
undo) ip link set eth0 mtu 1500;;
esac
";

/// Another, which leads to a place that nobody goes to.
const ROUTES: &str = "#!/bin/sh
case $1 in
probe) ip route >/dev/null;;
start) ip route add blackhole 192.0.2.0/24;;
verify) ip route | grep 'blackhole 192.0.2.0/24';;
undo) ip route del blackhole 192.0.2.0/24 2>/dev/null || true;;
esac
";

/// Asks a MongoDB server a question and prints what it says, as hexadecimal digits: by its wire protocol, which is all that this knows.
const ASK: &str = r#"
import socket, struct, sys
asked = b"\x10" + sys.argv[2].encode() + b"\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0"
body = struct.pack("<Ib", 0, 0) + struct.pack("<i", len(asked) + 5) + asked + b"\0"
with socket.create_connection((sys.argv[1], 27017), 10) as server:
    server.sendall(struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body)
    said = b""
    while len(said) < 4 or len(said) < struct.unpack("<i", said[:4])[0]:
        said += server.recv(65536)
assert b"\x01ok\0\0\0\0\0\0\0\xf0\x3f" in said
print(said.hex())
"#;

/// Faults that stand beside each other.
const TOGETHER: [&[&str]; 3] = [
    &[
        "partition",
        "packet:delay",
        "clock",
        "stress",
        "load:io",
        "disk:slow",
    ],
    &["partition:one:action=jam", "freeze", "disk:errors"],
    &[
        "kill:target=10.77.0.1",
        "pause:target=10.77.0.2",
        "power:target=10.77.0.3",
        "partition:one:flap=200ms",
    ],
];

/// Who is gone, and who is left to undo what stands.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// The controller. The agents undo.
    Controller,
    /// The agents too. `gainsay heal` undoes.
    All,
}

/// How each node is, by its address.
type Look = BTreeMap<String, String>;

/// A local node, as `gainsay nodes up` tells how to get there.
struct Node {
    address: String,
    ssh: Vec<String>,
}

/// Local nodes that outlive runs.
struct Nodes {
    program: Program,
    /// Of the cluster: others may have theirs here.
    id: String,
    nodes: Vec<Node>,
    /// What runs on them.
    system: &'static str,
}

/// Has a system in this machine's cache. What runs below is among the nodes, which have no way out, so that nothing could be got then.
fn got(program: &Program, system: &str) {
    static GOT: Once = Once::new();
    GOT.call_once(|| {
        let short = ["--local", "1", "--nemesis", "none", "--time-limit", "1"];
        let said = program.run(&[&["test", system, "--setup"], &short[..]].concat());
        // How much a run of a second shows is not the question.
        assert!([0, 2].contains(&said.code), "{}{}", said.out, said.err);
    });
}

impl Nodes {
    fn up(system: &'static str, how: &[&str]) -> Nodes {
        let program = Program::new();
        if system != "etcd" {
            got(&program, system);
        }
        let up = program.run(&[&["nodes", "up", "--setup"], how].concat());
        assert_eq!(up.code, 0, "{}{}", up.out, up.err);
        let node = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words.len() > 3).then(|| Node {
                address: words[1].to_owned(),
                ssh: words[2..].iter().map(|word| (*word).to_owned()).collect(),
            })
        };
        let nodes = up.out.lines().filter_map(node).collect();
        Nodes {
            id: up.out.lines().next().unwrap().to_owned(),
            program,
            nodes,
            system,
        }
    }

    /// A system that runs, and nothing else; how the nodes are then.
    fn at_rest(&self) -> Look {
        let mut run =
            self.start("[[activity]]\nat = \"0s\"\nfor = \"280s\"\nnemesis = \"pause\"\n");
        self.in_force(&mut run, 1);
        self.end(run, Gone::All);
        self.heal();
        let before = self.look();
        let process = match self.system {
            "etcd" => "runs /usr/bin/etcd",
            _ => "/mongod ",
        };
        let runs = |text: &String| text.contains(process);
        assert!(before.values().all(runs), "{before:#?}");
        before
    }

    /// A command of the program, where it reaches the nodes.
    fn command(&self, arguments: &[&str]) -> Command {
        let ssh = &self.nodes[0].ssh;
        let key = ssh.iter().skip_while(|word| *word != "-i").nth(1).unwrap();
        let addresses: Vec<&str> = self.nodes.iter().map(|node| &*node.address).collect();
        let addresses = addresses.join(",");
        let power = format!("{} nodes power {}", env!("CARGO_BIN_EXE_gainsay"), self.id);
        let reach = [
            "--nodes",
            &addresses,
            "--ssh-private-key",
            key,
            "--host-key-checking",
            "off",
            "--power-command",
            &power,
        ];
        let all: Vec<&str> = arguments.iter().copied().chain(reach).collect();
        let plain = self.program.command(&all);
        let mut command = Command::new(&ssh[0]);
        command
            .arg(&ssh[1])
            .arg(plain.get_program())
            .args(plain.get_args());
        command
            .current_dir(self.program.folder.path())
            .env("NO_COLOR", "1");
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// How each node is.
    fn look(&self) -> Look {
        let look = |node: &Node| {
            let ran = Command::new(&node.ssh[0])
                .args(&node.ssh[1..])
                .arg(LOOK)
                .output()
                .unwrap();
            let said = said(ran);
            let now = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
            // One without power, or that boots, says nothing.
            let (text, date) = said.out.rsplit_once("# date").unwrap_or(("", "0"));
            let date: f64 = date.trim().parse().unwrap();
            // The machine's clock may be slewed a little.
            let right = (date - now).abs() < 5.0;
            (
                node.address.clone(),
                format!("{text}\nthe date is right: {right}\n"),
            )
        };
        // At once: nodes with kernels of their own take their time.
        std::thread::scope(|scope| {
            let looks = self
                .nodes
                .iter()
                .map(|node| scope.spawn(move || look(node)));
            let looks: Vec<_> = looks.collect();
            looks.into_iter().map(|it| it.join().unwrap()).collect()
        })
    }

    fn heal(&self) -> String {
        let healed = said(self.command(&["heal"]).output().unwrap());
        assert_eq!(healed.code, 0, "{}{}", healed.out, healed.err);
        healed.out + &healed.err
    }

    /// A run with faults as a file says.
    fn start(&self, schedule: &str) -> Child {
        let file = self.program.folder.path().join("schedule.toml");
        std::fs::write(&file, schedule).unwrap();
        let _ = std::fs::remove_dir_all(self.program.folder.path().join("runs"));
        let file = file.display().to_string();
        let arguments = [
            "test",
            self.system,
            "--time-limit",
            "300",
            "--rate",
            "200",
            "--seed",
            "7",
            "--schedule",
            &file,
        ];
        let mut command = self.command(&arguments);
        command
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.said_file()).unwrap())
            .spawn()
            .unwrap()
    }

    /// What the last run said.
    fn said_file(&self) -> PathBuf {
        self.program.folder.path().join("said")
    }

    /// The completions of the first starts of so many faults.
    fn in_force(&self, run: &mut Child, count: usize) -> Vec<Value> {
        let history = self.program.latest().join("history.jsonl");
        // A system may have to be brought to the nodes first.
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            let done = started(&history);
            if done.len() == count {
                return done;
            }
            let ended = run.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "it ended before the faults began: {}",
                std::fs::read_to_string(self.said_file()).unwrap()
            );
            assert!(Instant::now() < deadline, "the fault does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a moment in which a script succeeds on a node while the first fault begins, and stops the run there. False if it began
    /// without one.
    fn caught(&self, run: &Child, script: &str) -> bool {
        let history = self.program.latest().join("history.jsonl");
        let deadline = Instant::now() + Duration::from_secs(120);
        let pid = nix::unistd::Pid::from_raw(run.id() as i32);
        let signal = |signal| nix::sys::signal::kill(pid, signal).unwrap();
        let begins = || {
            let text = std::fs::read_to_string(&history).unwrap_or_default();
            text.lines()
                .any(|line| line.contains("\"start\"") && line.contains("\"invoke\""))
        };
        while !begins() {
            assert!(Instant::now() < deadline, "the fault does not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        while started(&history).is_empty() {
            assert!(Instant::now() < deadline, "the fault does not come to that");
            signal(nix::sys::signal::Signal::SIGSTOP);
            let is_so = |node: &Node| {
                let mut command = Command::new(&node.ssh[0]);
                let ran = command.args(&node.ssh[1..]).arg(script).status();
                ran.unwrap().success()
            };
            if self.nodes.iter().any(is_so) {
                return true;
            }
            signal(nix::sys::signal::Signal::SIGCONT);
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Which of the servers say that one of these is so, when they are asked something.
    fn say(&self, question: &str, flags: &[&str]) -> Vec<&str> {
        let says = |node: &&Node| {
            let mut command = Command::new(&node.ssh[0]);
            command
                .arg(&node.ssh[1])
                .args(["python3", "-c", ASK, &node.address, question]);
            let said = said(command.output().unwrap());
            assert_eq!(said.code, 0, "{}: {}", node.address, said.err);
            flags.iter().any(|flag| {
                let bytes = [b"\x08", flag.as_bytes(), b"\0\x01"].concat();
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                said.out.contains(&digits)
            })
        };
        let nodes = self.nodes.iter().filter(says);
        nodes.map(|node| &*node.address).collect()
    }

    /// Which of the servers say that they are locked.
    fn locked(&self) -> Vec<&str> {
        self.say("currentOp", &["fsyncLock"])
    }

    /// Which of the servers say that they take part in the replica set.
    fn take_part(&self) -> Vec<&str> {
        self.say("isMaster", &["ismaster", "secondary"])
    }

    /// Ends a run, and if need be its agents, without a chance to say anything to anybody.
    fn end(&self, mut run: Child, gone: Gone) {
        let pid = nix::unistd::Pid::from_raw(run.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        if let Gone::All = gone {
            let kill = "for process in /proc/[0-9]*; do case $(tr '\\0' ' ' <$process/cmdline) in \
                        /var/lib/gainsay/agent-*' serve /var/lib/gainsay '*) kill -KILL ${process#/proc/};; esac; done 2>/dev/null; :";
            for node in &self.nodes {
                let mut command = Command::new(&node.ssh[0]);
                let ended = command.args(&node.ssh[1..]).arg(kill).status().unwrap();
                // 255 is `ssh`'s own: nobody is there.
                assert!(matches!(ended.code(), Some(0 | 255)), "{ended}");
            }
        }
        run.kill().unwrap();
        run.wait().unwrap();
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.program.run(&["nodes", "down", &self.id]);
    }
}

/// What a history says of starts of faults that are over.
fn started(history: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(history).unwrap_or_default();
    let events = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let started = |event: &Value| event["f"] == "start" && event["type"] != "invoke";
    events.filter(started).collect()
}

/// The beginnings of lines that are others after a boot: the kernel counts its memory then, and of the page that its code of clocks is
/// in, only the beginning is that code.
const OF_A_BOOT: [&str; 4] = [
    "boot ",
    "Max processes",
    "Max pending signals",
    "code of clocks",
];

/// The lines of each that the other has not.
fn differences(one: &Look, other: &Look) -> Vec<String> {
    let mut found = Vec::new();
    for (node, text) in one {
        let (mut before, mut after): (Vec<&str>, Vec<&str>) =
            (text.lines().collect(), other[node].lines().collect());
        if before[0] != after[0] {
            let stays = |line: &&str| !OF_A_BOOT.iter().any(|it| line.starts_with(it));
            before.retain(stays);
            after.retain(stays);
        }
        let lost = before.iter().filter(|line| !after.contains(line));
        found.extend(lost.map(|line| format!("{node}: - {line}")));
        let new = after.iter().filter(|line| !before.contains(line));
        found.extend(new.map(|line| format!("{node}: + {line}")));
    }
    found
}

/// A schedule of faults that begin at once.
fn schedule(faults: &[&str]) -> String {
    let activity = |fault: &&str| {
        // etcd changes its members only when all have been connected for five seconds.
        let patience = fault.starts_with("membership:shrink");
        let at = if patience { "8s" } else { "500ms" };
        format!("[[activity]]\nat = \"{at}\"\nfor = \"280s\"\nnemesis = \"{fault}\"\n")
    };
    faults.iter().map(activity).collect()
}

/// Runs with faults, ends the run while they are in force, and sees each node become as it was.
fn put_into_force_and_undo(nodes: &Nodes, before: &Look, faults: &[&str], gone: Gone) {
    let mut run = nodes.start(&schedule(faults));
    let starts = nodes.in_force(&mut run, faults.len());
    assert!(
        starts.iter().all(|start| start["type"] == "ok"),
        "{faults:?}: {starts:#?}"
    );
    end_and_undo(
        nodes,
        before,
        run,
        gone,
        &format!("{faults:?}: {starts:#?}"),
    );
}

/// The same of one that is caught in the middle.
fn catch_and_undo(nodes: &Nodes, before: &Look, (fault, script): (&str, &str)) {
    for _ in 0..5 {
        let run = nodes.start(&schedule(&[fault]));
        if nodes.caught(&run, script) {
            return end_and_undo(nodes, before, run, Gone::All, fault);
        }
        nodes.end(run, Gone::All);
        nodes.heal();
    }
    panic!("{fault}: never is it so in the middle of it: {script}");
}

/// Ends a run whose faults are in force, and sees each node become as it was.
fn end_and_undo(nodes: &Nodes, before: &Look, mut run: Child, gone: Gone, what: &str) {
    let standing = differences(before, &nodes.look());
    assert!(
        run.try_wait().unwrap().is_none(),
        "{what}: the run has ended by itself"
    );
    assert!(
        standing.len() > 1,
        "{what}: nothing of it is seen on the nodes: {standing:#?}"
    );
    nodes.end(run, gone);
    match gone {
        Gone::All => assert!(nodes.heal().contains("undone"), "{what}"),
        Gone::Controller => {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !differences(before, &nodes.look()).is_empty() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
    let left = differences(before, &nodes.look());
    assert!(left.is_empty(), "{gone:?}: {left:#?}\nit was: {what}");
    // The lock of the run that is gone.
    nodes.heal();
}

#[test]
fn every_fault_is_undone_exactly_when_the_controller_is_killed() {
    let _alone = crate::ALONE.lock();
    if !crate::cluster::ready() {
        return;
    }
    let nodes = Nodes::up("etcd", &["3"]);
    let before = nodes.at_rest();
    for faults in FAULTS {
        put_into_force_and_undo(&nodes, &before, faults, Gone::All);
    }
    for faults in TOGETHER {
        put_into_force_and_undo(&nodes, &before, faults, Gone::Controller);
    }
}

#[test]
fn what_passes_is_undone_exactly_when_the_controller_is_killed_in_the_middle() {
    let _alone = crate::ALONE.lock();
    if !crate::cluster::ready() {
        return;
    }
    let nodes = Nodes::up("etcd", &["3"]);
    let before = nodes.at_rest();
    for passing in PASSING {
        catch_and_undo(&nodes, &before, passing);
    }
    // Two programs of the user's own, each with an entry in the journal.
    let program = |name: &str, contents: &str| {
        let file = nodes.program.folder.path().join(name);
        std::fs::write(&file, contents).unwrap();
        format!("script:file={}:target=all", file.display())
    };
    let first = program("packets.sh", PROGRAM);
    let second = program("routes.sh", ROUTES);
    for faults in [&[&*first][..], &[&*first, &*second]] {
        put_into_force_and_undo(&nodes, &before, faults, Gone::All);
    }
}

#[test]
fn what_nodes_with_their_own_kernels_know_is_undone_exactly_when_the_controller_is_killed() {
    let _alone = crate::ALONE.lock();
    if !crate::cluster::ready() {
        return;
    }
    let nodes = Nodes::up("etcd", &["3", "--kernel", "own"]);
    let before = nodes.at_rest();
    for fault in BY_TC {
        put_into_force_and_undo(&nodes, &before, &[fault], Gone::All);
    }
    let both = ["partition", "packet:delay:target=all"];
    put_into_force_and_undo(&nodes, &before, &both, Gone::Controller);
    for faults in OF_MACHINES {
        put_into_force_and_undo(&nodes, &before, faults, Gone::All);
    }
}

#[test]
fn a_member_that_was_taken_out_is_brought_in_when_the_controller_is_killed() {
    let _alone = crate::ALONE.lock();
    if !crate::cluster::ready() {
        return;
    }
    let nodes = Nodes::up("etcd", &["4"]);
    let before = nodes.at_rest();
    let shrink = ["membership:shrink:target=10.77.0.2"];
    put_into_force_and_undo(&nodes, &before, &shrink, Gone::All);
    put_into_force_and_undo(&nodes, &before, &shrink, Gone::Controller);
}

#[test]
fn a_member_of_a_replica_set_is_brought_in_when_the_controller_is_killed() {
    if !crate::systems::asked("mongodb") {
        return;
    }
    let _alone = crate::ALONE.lock();
    if !crate::cluster::ready() {
        return;
    }
    let nodes = Nodes::up("mongodb", &["4"]);
    let before = nodes.at_rest();
    for gone in [Gone::All, Gone::Controller] {
        let shrink = ["membership:shrink:target=10.77.0.2"];
        put_into_force_and_undo(&nodes, &before, &shrink, gone);
        let deadline = Instant::now() + Duration::from_secs(30);
        while nodes.take_part().len() < 4 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(nodes.take_part().len(), 4);
    }
}

#[test]
fn a_fault_of_a_systems_own_is_undone_when_the_controller_is_killed() {
    if !crate::systems::asked("mongodb") {
        return;
    }
    let _alone = crate::ALONE.lock();
    if !crate::cluster::ready() {
        return;
    }
    let nodes = Nodes::up("mongodb", &["3"]);
    let before = nodes.at_rest();
    for gone in [Gone::All, Gone::Controller] {
        let mut run = nodes.start(&schedule(&["system:fault=hold-back:target=all"]));
        let starts = nodes.in_force(&mut run, 1);
        assert_eq!(nodes.locked().len(), 2, "{starts:#?}");
        end_and_undo(&nodes, &before, run, gone, &format!("{starts:#?}"));
        assert!(nodes.locked().is_empty());
    }
}

/// Nobody listens at port 1.
#[test]
fn a_machine_that_does_not_answer_gets_power_and_is_waited_for() {
    let program = Program::new();
    let heal = |more: &[&str]| {
        let reach = ["heal", "--nodes", "127.0.0.1", "--ssh-port", "1"];
        let said = program.run(&[&reach[..], &["--ssh-config", "none"], more].concat());
        assert_eq!(said.code, 255, "{}{}", said.out, said.err);
        said.err
    };
    let without = heal(&[]);
    assert!(
        without.contains("--power-command") && without.contains("--wait"),
        "{without}"
    );
    assert!(heal(&["--wait", "1s"]).contains("is waited for, 1s at most"));
    let words = program.folder.path().join("words");
    let command = format!("echo >>{}", words.display());
    let given = heal(&["--power-command", &command, "--wait", "1s"]);
    assert!(given.contains("it was given power"), "{given}");
    assert_eq!(std::fs::read_to_string(words).unwrap(), "127.0.0.1 on\n");
    let refused = heal(&["--power-command", "echo no fuse >&2; false"]);
    assert!(
        refused.contains("got no power") && refused.contains("no fuse"),
        "{refused}"
    );
}
