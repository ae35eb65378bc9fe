//! Hosts over SSH, and what a person sees when they misbehave. The hosts are local nodes that stay,
//! reached as any hosts are: by address, with a key, from their network.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::program::{Program, Said, json, said};

const NODES: &str = "10.77.0.1,10.77.0.2,10.77.0.3";

/// Three hosts, and where they are reached from.
struct Hosts {
    program: Program,
    id: String,
    register: Value,
    keys: PathBuf,
}

impl Hosts {
    /// Brings them up; `None` where that cannot be.
    fn up() -> Option<Hosts> {
        if !crate::cluster::ready() {
            return None;
        }
        let program = Program::new();
        let up = program.run(&["nodes", "up", "3", "--setup"]);
        assert_eq!(up.code, 0, "{}", up.err);
        let id = up.out.lines().next().unwrap().to_owned();
        let register = json(Path::new(&format!("/run/gainsay/{id}.json")));
        let keys = Path::new(register["dir"].as_str().unwrap()).join("keys");
        Some(Hosts {
            program,
            id,
            register,
            keys,
        })
    }

    /// A program in the hosts' network.
    fn inside(&self, program: &str) -> Command {
        let switch = &self.register["processes"]["switch"]["pid"];
        let mut command = self.program.command(&[]);
        let environment: Vec<_> = command
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        command = Command::new("nsenter");
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .arg(format!("--net=/proc/{switch}/ns/net"))
            .arg(program)
            .current_dir(self.program.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `gainsay` on the hosts, with their key unless another is given.
    fn gainsay(&self, arguments: &[&str]) -> Command {
        let mut command = self.inside(env!("CARGO_BIN_EXE_gainsay"));
        command.args(arguments);
        let mut default = |flag: &str, value: &str| {
            if !arguments.contains(&flag) {
                command.args([flag, value]);
            }
        };
        default("--nodes", NODES);
        default("--ssh-private-key", &self.key());
        default("--ssh-config", "none");
        default("--host-key-checking", "off");
        command
    }

    fn key(&self) -> String {
        self.keys.join("id_ed25519").display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Said {
        said(self.gainsay(arguments).output().unwrap())
    }

    /// Fails, with this code, and mentions all this.
    fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let said = self.run(arguments);
        let all = format!("{}{}", said.out, said.err);
        assert_eq!(said.code, code, "{arguments:?}: {all}");
        assert!(!all.contains("panicked"), "{all}");
        for word in words {
            assert!(all.contains(word), "{arguments:?}: no {word:?} in: {all}");
        }
    }

    /// What a script on a host says.
    fn on(&self, host: u32, script: &str) -> String {
        let known = format!(
            "UserKnownHostsFile={}",
            self.keys.join("known_hosts").display()
        );
        let ran = self
            .inside("ssh")
            .args(["-i", &self.key(), "-o", &known, "-o", "BatchMode=yes"])
            .args([&format!("root@10.77.0.{host}"), script])
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Starts a run with a store of its own, and waits until its history is well under way.
    fn started(&self, store: &str, arguments: &[&str]) -> Child {
        let arguments = [arguments, &["--store", store]].concat();
        let child = self.gainsay(&arguments).spawn().unwrap();
        let history = self.latest(store).join("history.jsonl");
        wait("the run does not get going", || {
            history.metadata().map_or(0, |file| file.len()) >= 100_000
        });
        child
    }

    /// The folder of the last run in a store.
    fn latest(&self, store: &str) -> PathBuf {
        self.program.folder.path().join(store).join("latest")
    }

    /// What was recorded in a store is checked, and nothing is wrong with it.
    fn analyzed(&self, store: &str) {
        let judged = (self.program).run(&["analyze", "--json", "--store", store]);
        let verdict: Value = serde_json::from_str(&judged.out).expect(&judged.err);
        assert_ne!(verdict["valid"], false, "{verdict:#}");
    }

    /// Nothing of a run is left on these hosts.
    fn clean(&self, hosts: &[u32]) {
        for host in hosts {
            let left = "ls -d /var/lib/gainsay*; pgrep -x etcd; nft list tables | grep gainsay";
            assert_eq!(self.on(*host, left), "", "host {host}");
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.program.run(&["nodes", "down", &self.id]);
    }
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
}

#[test]
fn hosts_that_cannot_be_used_are_named_with_the_reason() {
    let _alone = crate::ALONE.lock();
    let Some(hosts) = Hosts::up() else { return };
    let test = |arguments: &[&'static str]| [&["test", "etcd"], arguments].concat();
    hosts.fails(
        &test(&["--ssh-port", "2222"]),
        255,
        &[
            "3 of 3 nodes",
            "10.77.0.3: cannot connect: connection refused",
            "hint:",
        ],
    );
    hosts.fails(
        &test(&["--nodes", "10.77.0.1,10.77.0.99", "--connect-timeout", "2s"]),
        255,
        &["1 of 2 nodes", "10.77.0.99: cannot connect", "hint:"],
    );
    hosts.fails(&test(&["--ssh-private-key", "nokey"]), 254, &["nokey"]);
    hosts.fails(
        &test(&["--host-key-checking", "strict"]),
        255,
        &["host key of 10.77.0.2 is not known", "accept-new"],
    );
    // A key that nobody knows, as that of the user and as the one that a host had.
    let folder = hosts.program.folder.path();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(folder.join("other"))
        .status();
    assert!(made.unwrap().success());
    hosts.fails(
        &test(&["--ssh-private-key", "other"]),
        255,
        &[
            "10.77.0.1:22 does not let us in: tried key",
            "other (not accepted)",
        ],
    );
    let other = std::fs::read_to_string(folder.join("other.pub")).unwrap();
    std::fs::write(folder.join("known"), format!("10.77.0.2 {other}")).unwrap();
    let known = folder.join("known").display().to_string();
    std::fs::write(
        folder.join("config"),
        format!("UserKnownHostsFile {known}\n"),
    )
    .unwrap();
    hosts.fails(
        &test(&["--ssh-config", "config", "--host-key-checking", "strict"]),
        255,
        &[
            "THE HOST KEY OF 10.77.0.2 HAS CHANGED",
            &format!("{known}:1"),
        ],
    );
    let disk = "mkdir /var/lib/gainsay; mount -t tmpfs -o size=4k none /var/lib/gainsay; \
                cp /bin/true /var/lib/gainsay/";
    hosts.on(2, disk);
    hosts.fails(&test(&[]), 255, &["10.77.0.2:", "No space left", "df -h"]);
    hosts.on(2, "umount /var/lib/gainsay; rmdir /var/lib/gainsay");
    hosts.clean(&[1, 2, 3]);
}

#[test]
fn a_lost_node_is_named_and_the_others_are_left_clean() {
    let _alone = crate::ALONE.lock();
    let Some(hosts) = Hosts::up() else { return };
    let arguments = [
        "test",
        "etcd",
        "--time-limit",
        "8",
        "--nemesis",
        "partition",
    ];
    let child = hosts.started("runs", &arguments);
    let init = hosts.register["processes"]["nodes"][1]["pid"]
        .as_i64()
        .unwrap();
    kill(Pid::from_raw(init as i32), Signal::SIGKILL).unwrap();
    let said = said(child.wait_with_output().unwrap());
    assert_eq!(said.code, 255, "{}{}", said.out, said.err);
    assert!(said.out.contains("10.77.0.2 was lost"), "{}", said.out);
    let results = json(&hosts.latest("runs").join("results.json"));
    assert_ne!(results["valid"], true, "{results:#}");
    hosts.clean(&[1, 3]);
}

#[test]
fn locks_interrupts_and_a_killed_controller() {
    let _alone = crate::ALONE.lock();
    let Some(hosts) = Hosts::up() else { return };
    let arguments = [
        "test",
        "etcd",
        "--time-limit",
        "60",
        "--nemesis",
        "pause:interval=1s",
    ];
    let child = hosts.started("interrupted", &arguments);
    let other = ["test", "etcd", "--store", "others"];
    hosts.fails(&other, 255, &["10.77.0.1: locked by run", "gainsay heal"]);
    hosts.fails(&["heal"], 255, &["is at work there", "nothing was undone"]);
    // Twice: it heals and leaves, and says how to check.
    interrupt(&child);
    std::thread::sleep(Duration::from_millis(100));
    interrupt(&child);
    let left = said(child.wait_with_output().unwrap());
    // Between the two it may have come to its end.
    assert!([130, 2, 0].contains(&left.code), "{}{}", left.out, left.err);
    hosts.clean(&[1, 2, 3]);
    hosts.analyzed("interrupted");

    // While the nodes are set up: nothing to check, nothing left.
    let mut setting_up = hosts.gainsay(&["test", "etcd", "--store", "early"]);
    let child = setting_up.spawn().unwrap();
    let log = hosts.latest("early").join("gainsay.log");
    wait("the run does not begin", || log.exists());
    interrupt(&child);
    let left = said(child.wait_with_output().unwrap());
    assert_eq!(left.code, 130, "{}{}", left.out, left.err);
    assert!(
        left.err.contains("before anything was recorded"),
        "{}",
        left.err
    );
    hosts.clean(&[1, 2, 3]);

    // Killed with faults in force: `heal` undoes them and breaks the dead run's lock.
    let mut child = hosts.started("killed", &arguments);
    child.kill().unwrap();
    child.wait().unwrap();
    hosts.analyzed("killed");
    let healed = hosts.run(&["heal"]);
    assert_eq!(healed.code, 0, "{}{}", healed.out, healed.err);
    assert!(
        healed.out.contains("which is gone, is broken"),
        "{}",
        healed.out
    );
    let stopped =
        "for p in $(pgrep -x etcd); do grep -q '^State:.T' /proc/$p/status && echo $p; done";
    for host in [1, 2, 3] {
        assert_eq!(hosts.on(host, stopped), "");
        assert_eq!(
            hosts.on(host, "ls -d /var/lib/gainsay; nft list tables"),
            ""
        );
    }
    let next = hosts.run(&["test", "etcd", "--time-limit", "5"]);
    assert!([0, 2].contains(&next.code), "{}{}", next.out, next.err);
    hosts.clean(&[1, 2, 3]);
}
