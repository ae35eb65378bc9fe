//! Processes confined for real, and let go exactly as they were. Needs root.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::Outcome;
use agent::modules::confine::{Answer, Bounds, Request};
use serde_json::json;

use common::Agent;

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
    fn circumstances(&self) -> [String; 3] {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let groups = self.read("cgroup");
        let groups = groups.lines().filter(|line| !line.contains(":memory:"));
        [groups.collect(), self.read("limits"), mounts]
    }
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
        eprintln!("\nSKIPPED {test}: {why}\n");
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
    assert!(victim.circumstances() == before);
    let left: Vec<_> = fs::read_dir(agent.state())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, ["agent-test"]);
    // A shell that cannot fork ends.
    let ended = victim.read("stat").contains(") Z ");
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
        eprintln!("\nSKIPPED the_program_lets_go_without_a_controller: {why}\n");
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
