//! Loads for real, measured from outside, and gone without a trace. Needs root for control groups.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use agent::Outcome;
use agent::modules::load::{Amount, Load, Request, Seen, Task};

use common::Agent;

fn ask(agent: &mut Agent, request: &Request) -> Outcome {
    agent.ask_module("load", request)
}

fn done(outcome: Outcome) -> Seen {
    common::done(outcome)
}

fn task(load: Load, folder: &Path) -> Task {
    Task {
        load,
        low: false,
        folders: vec![folder.join("data")],
    }
}

fn name(test: &str) -> String {
    format!("test-{}-{test}", std::process::id())
}

/// The processes that are at work for an agent.
fn workers(agent: &Agent) -> Vec<i32> {
    let parent = agent.pid().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let works = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(&format!("work-load\0{parent}\0"))
    };
    pids.filter(works).collect()
}

/// A number in a file of `/proc/PID`.
fn kernels(pid: i32, file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let rest = text.lines().find_map(|line| line.strip_prefix(field));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Ticks of CPU time that a process has used.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let words = after.split_whitespace().skip(11).take(2);
    words.filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// Until something is so, or the patience is over.
fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Control groups of ours that a name is part of, and mounts.
fn traces(name: &str) -> (Vec<String>, String) {
    let found = Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name"])
        .arg(format!("*{name}*"))
        .output()
        .unwrap();
    let groups = String::from_utf8_lossy(&found.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    (groups, fs::read_to_string("/proc/self/mounts").unwrap())
}

/// Begins a load, looks at its process from outside until it shows, and ends it; nothing is left.
fn loaded(test: &str, load: Load, low: bool, shows: impl Fn(i32) -> bool) -> Seen {
    let mut agent = Agent::start("600");
    let folder = agent.folder().to_owned();
    let (name, before) = (name(test), traces(test));
    let task = Task {
        low,
        ..task(load, &folder)
    };
    done(ask(&mut agent, &Request::Probe(task.clone())));
    let begin = Request::Begin {
        name: name.clone(),
        task,
    };
    let first = done(ask(&mut agent, &begin));
    let again = ask(&mut agent, &begin);
    assert!(matches!(again, Outcome::NotDone(why) if why.contains("in force already")));
    let [pid] = workers(&agent)[..] else {
        panic!("one process works");
    };
    if first.grouped {
        assert!(!traces(&name).0.is_empty());
    }
    let nice = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let nice = nice
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(16)
        .unwrap()
        .to_owned();
    assert_eq!(nice, if low { "19" } else { "0" });
    assert!(eventually(|| shows(pid)), "it does not show");
    let look = Request::Look { name: name.clone() };
    assert!(eventually(|| done(ask(&mut agent, &look)).effective));
    let seen = done(ask(&mut agent, &Request::End { name: name.clone() }));
    assert!(seen.effective && seen.trouble.is_none(), "{seen:?}");
    assert!(workers(&agent).is_empty());
    assert_eq!(traces(test), before);
    let left = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|it| it.unwrap().file_name()).collect()
    };
    assert_eq!(left(&agent.state()), ["agent-test"]);
    assert_eq!(left(&folder), ["state"]);
    // Ending what is not there is fine.
    let nothing = done(ask(&mut agent, &Request::End { name }));
    assert_eq!(nothing, Seen::default());
    seen
}

#[test]
fn processors_are_busy() {
    let load = Load::Cpu {
        workers: Some(2),
        share: 100,
    };
    let seen = loaded("cpu", load, false, |pid| {
        kernels(pid, "status", "Threads:") == 3 && ticks(pid) > 20
    });
    assert!(seen.cpu_ms >= 200 && seen.workers == 2, "{seen:?}");
    if Path::new("/proc/pressure/cpu").exists() {
        assert!(seen.pressure.contains_key("cpu"), "{seen:?}");
    }
}

#[test]
fn a_share_is_no_more_than_that() {
    let load = Load::Cpu {
        workers: Some(1),
        share: 20,
    };
    let seen = loaded("share", load, true, |pid| ticks(pid) > 10);
    // On a busy machine it gets less. A tick or two are those of the look.
    assert!(seen.cpu_ms <= seen.elapsed_ms / 4 + 60, "{seen:?}");
}

#[test]
fn memory_is_taken_and_stays_in_memory() {
    let bytes = 96 << 20;
    let load = Load::Memory {
        amount: Amount::Bytes(bytes),
        oom: false,
    };
    let seen = loaded("memory", load, false, |pid| {
        kernels(pid, "status", "VmRSS:") << 10 >= bytes
    });
    assert!(seen.resident >= bytes && seen.resident < bytes + (32 << 20));
}

#[test]
fn what_is_not_there_is_not_taken() {
    let mut agent = Agent::start("600");
    let folder = agent.folder().to_owned();
    let loads = [
        Load::Memory {
            amount: Amount::Percent(100),
            oom: false,
        },
        Load::Io {
            workers: 1,
            bytes: 1 << 50,
        },
    ];
    for load in loads {
        let begin = Request::Begin {
            name: name("too-much"),
            task: task(load, &folder),
        };
        let refused = ask(&mut agent, &begin);
        assert!(
            matches!(&refused, Outcome::NotDone(why) if why.contains("hint: ask for less")),
            "{refused:?}"
        );
        assert!(workers(&agent).is_empty());
    }
}

#[test]
fn disks_are_busy() {
    let load = Load::Io {
        workers: 2,
        bytes: 4 << 20,
    };
    let seen = loaded("io", load, false, |pid| {
        kernels(pid, "io", "wchar:") > 1 << 20
    });
    assert!(
        seen.syncs > 0 && seen.synced == seen.syncs << 16,
        "{seen:?}"
    );
    assert!(seen.read > 0);
}

#[test]
fn it_dies_with_its_agent_and_the_program_clears_up() {
    let mut agent = Agent::start("600");
    let folder = agent.folder().to_owned();
    let (name, before) = (name("orphan"), traces("orphan"));
    let load = Load::Io {
        workers: 1,
        bytes: 1 << 20,
    };
    done(ask(
        &mut agent,
        &Request::Begin {
            name: name.clone(),
            task: task(load, &folder),
        },
    ));
    let [pid] = workers(&agent)[..] else {
        panic!("one process works");
    };
    agent.kill();
    assert!(eventually(|| !Path::new(&format!("/proc/{pid}")).exists()));
    let program = env!("CARGO_BIN_EXE_gainsay-agent");
    let run = |verb: &str| {
        let status = Command::new(program)
            .arg(verb)
            .arg(agent.state())
            .arg(&name)
            .status();
        status.unwrap().success()
    };
    assert!(!run("load-ended"));
    assert!(run("end-load") && run("load-ended") && run("end-load"));
    assert_eq!(traces("orphan"), before);
}

#[test]
fn it_ends_when_its_controller_is_gone() {
    let mut agent = Agent::start("600");
    let folder = agent.folder().to_owned();
    let name = name("hang-up");
    let load = Load::Cpu {
        workers: Some(1),
        share: 10,
    };
    let state = agent.state();
    let call = |verb: &str| {
        format!(
            "{}/agent-test {verb} {} {name}",
            state.display(),
            state.display()
        )
    };
    let entry =
        serde_json::json!({"id": "1", "undo": call("end-load"), "verify": call("load-ended")});
    let request = agent::Request {
        id: 1,
        module: "load".to_owned(),
        request: serde_json::to_value(Request::Begin {
            name: name.clone(),
            task: task(load, &folder),
        })
        .unwrap(),
        notes: vec![agent::Note {
            id: "1".to_owned(),
            entry: entry.as_object().unwrap().clone(),
        }],
        forget: Vec::new(),
    };
    done(agent.ask(&request));
    assert_eq!(workers(&agent).len(), 1);
    agent.hang_up();
    assert!(agent.ended());
    assert!(!state.exists());
    assert!(traces(&name).0.is_empty());
}
