//! The main job, on a real etcd cluster of local nodes: as root, in namespaces.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Program, json, said, skip};

/// Whether local nodes can be had; says loudly where not.
pub(crate) fn ready() -> bool {
    let said = Program::new().run(&["doctor"]);
    if said.code != 0 {
        skip(&format!("local nodes cannot be had here:\n{}", said.out));
    }
    said.code == 0
}

/// What a run could leave behind on this machine, outside its folder and the cache.
pub(crate) fn traces() -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mut look = |what: &str, text: String| {
        traces.extend(text.lines().map(|line| format!("{what}: {line}")));
    };
    look(
        "mount",
        std::fs::read_to_string("/proc/self/mounts").unwrap(),
    );
    for folder in [
        "/sys/class/net",
        "/run/gainsay",
        "/var/lib/gainsay",
        "/run/netns",
    ] {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        look(folder, names.join("\n"));
    }
    look("firewall", output(&["nft", "list", "ruleset"]));
    for process in std::fs::read_dir("/proc").unwrap() {
        let process = process.unwrap().path();
        let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        // By what runs, for others may have these words among their arguments.
        let mut first = words.split_whitespace();
        let (program, role) = (first.next().unwrap_or_default(), first.next());
        let program = Path::new(program).file_name().unwrap_or_default();
        let program = program.to_string_lossy();
        let systems = ["etcd", "sshd", "mongod", "ferretdb", "postgres", "java"];
        if systems.contains(&program.trim_end_matches(':'))
            || matches!(role, Some("__node" | "__switch"))
        {
            look("process", format!("{} {words}", process.display()));
        }
    }
    traces
}

fn output(words: &[&str]) -> String {
    let ran = Command::new(words[0]).args(&words[1..]).output();
    ran.map_or_else(
        |_| String::new(),
        |ran| String::from_utf8_lossy(&ran.stdout).into_owned(),
    )
}

/// Everything of ours is gone once orphans are.
pub(crate) fn assert_same(before: &BTreeSet<String>) {
    // Processes that were killed take a moment to be gone.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left: Vec<String> = traces().difference(before).cloned().collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn count(history: &Path, pattern: &[&str]) -> usize {
    let text = std::fs::read_to_string(history).unwrap();
    text.lines()
        .filter(|line| pattern.iter().all(|part| line.contains(part)))
        .count()
}

#[test]
fn etcd_keeps_its_promise_under_partitions_kills_and_pauses() {
    let _alone = crate::ALONE.lock();
    if !ready() {
        return;
    }
    let before = traces();
    let program = Program::new();
    let said = program.run(&[
        "test",
        "etcd",
        "--setup",
        "--local",
        "5",
        "--workload",
        "register",
        "--nemesis",
        "partition,kill,pause",
        "--time-limit",
        "15",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    assert_eq!(results["valid"], true, "{results:#}");
    let history = program.latest().join("history.jsonl");
    assert!(count(&history, &[r#""type":"ok""#, r#""f":"read""#]) > 100);
    assert!(count(&history, &[r#""type":"ok""#, r#""f":"write""#]) > 30);
    let elected = [r#""process":"nemesis/leaders""#, r#""elected":["n"#];
    assert!(count(&history, &elected) >= 2);
    assert_eq!(results["recovery"]["proof"], "fresh-writes");
    assert!(results["recovery"]["recovered_after"].is_f64());
    for node in ["n1", "n2", "n3", "n4", "n5"] {
        let log = program.latest().join(node).join("gainsay-etcd.log");
        assert!(
            log.metadata().is_ok_and(|log| log.len() > 0),
            "{}",
            log.display()
        );
    }
    let test = json(&program.latest().join("test.json"));
    let found = test["found"].as_array().unwrap();
    assert_eq!(found.len(), 5);
    for node in found {
        assert!(
            node["system"].as_str().unwrap().starts_with("etcd 3"),
            "{node}"
        );
        assert!(
            node["kernel"].as_str().unwrap().starts_with("Linux "),
            "{node}"
        );
        assert!(node["memory"].as_u64().unwrap() > 0, "{node}");
        let address = &node["address"];
        assert!(
            node["addresses"].as_array().unwrap().contains(address),
            "{node}"
        );
        // They are this machine, so its clock is theirs.
        let clock = &node["clock"];
        assert!(
            clock["ahead"].as_f64().unwrap().abs() <= clock["within"].as_f64().unwrap() + 0.001,
            "{node}"
        );
    }
    assert_same(&before);
}

/// A power cut of all nodes while a member that lost its disk is out; a slow disk whose end comes while the power is off, and
/// must not start what that holds down; and a load when all is well again.
const TOGETHER: &str = r#"
[[activity]]
at = "2s"
for = "5s"
nemesis = "membership:rejoin:target=primary"

[[activity]]
at = "4s"
for = "1s"
nemesis = "disk:slow:target=primary"

[[activity]]
at = "4500ms"
for = "2s"
nemesis = "power:target=all"

[[activity]]
at = "18s"
for = "1s"
nemesis = "load:io:target=primary"
"#;

#[test]
fn what_is_held_down_comes_back_once_and_the_cluster_recovers() {
    let _alone = crate::ALONE.lock();
    if !ready() {
        return;
    }
    let before = traces();
    let program = Program::new();
    std::fs::write(program.folder.path().join("together.toml"), TOGETHER).unwrap();
    let said = program.run(&[
        "test",
        "etcd",
        "--setup",
        "--local",
        "5",
        "--schedule",
        "together.toml",
        "--time-limit",
        "20",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    assert_eq!(results["valid"], true, "{results:#}");
    assert!(results["harness_failure"].is_null(), "{results:#}");
    assert_eq!(results["recovery"]["proof"], "fresh-writes");
    let history = program.latest().join("history.jsonl");
    for fault in ["membership", "power", "disk", "load"] {
        let process = format!(r#""process":"nemesis/{fault}""#);
        let effective = [&*process, r#""type":"ok""#, r#""effective":true"#];
        assert!(count(&history, &effective) >= 1, "{fault}");
        let stopped = [&*process, r#""type":"ok""#, r#""f":"stop""#];
        assert!(count(&history, &stopped) >= 1, "{fault}");
    }
    assert_eq!(count(&history, &["held down by power"]), 1);
    assert_same(&before);
}

#[test]
fn a_violation_ends_the_run_and_the_cluster_is_proved_to_recover() {
    let _alone = crate::ALONE.lock();
    if !ready() {
        return;
    }
    let before = traces();
    let program = Program::new();
    let said = program.run(&[
        "test",
        "etcd",
        "--setup",
        "--local",
        "5",
        "--serializable-reads",
        "--stop-on-violation",
        "--nemesis",
        "partition:primaries:duration=4s:interval=8s",
        "--time-limit",
        "120",
    ]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.err.contains("stopped after "), "{}", said.err);
    let results = json(&program.latest().join("results.json"));
    assert_eq!(results["stopped"]["by"], "linearizable");
    assert!(
        results["stopped"]["at"].as_f64().unwrap() < 110.0,
        "{results:#}"
    );
    let recovery = &results["recovery"];
    assert_eq!(recovery["proof"], "fresh-writes");
    for node in ["n1", "n2", "n3", "n4", "n5"] {
        assert!(recovery["nodes"][node].is_f64(), "{recovery}");
    }
    // Two rounds, an election time-out apart.
    assert!(
        recovery["recovered_after"].as_f64().unwrap() >= 0.5,
        "{recovery}"
    );
    assert_same(&before);
}

#[test]
fn serializable_reads_are_stale_under_a_partition() {
    let _alone = crate::ALONE.lock();
    if !ready() {
        return;
    }
    let before = traces();
    let program = Program::new();
    let said = program.run(&[
        "test",
        "etcd",
        "--setup",
        "--local",
        "5",
        "--workload",
        "register",
        "--serializable-reads",
        "--nemesis",
        "partition",
        "--time-limit",
        "15",
    ]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    let checkers = results["checkers"].as_array().unwrap();
    let linear = checkers
        .iter()
        .find(|report| report["checker"] == "linearizable")
        .unwrap();
    assert_eq!(linear["valid"], false);
    assert_eq!(linear["evidence"][0]["kind"], "dead-end");
    let report = std::fs::read_to_string(program.latest().join("report.html")).unwrap();
    assert!(report.contains("What went wrong"));
    assert_same(&before);
}

#[test]
fn a_killed_controller_leaves_a_history_and_no_nodes() {
    let _alone = crate::ALONE.lock();
    if !ready() {
        return;
    }
    let before = traces();
    let program = Program::new();
    let arguments = [
        "test",
        "etcd",
        "--setup",
        "--local",
        "3",
        "--nemesis",
        "partition,pause",
        "--time-limit",
        "60",
    ];
    let mut child = program.command(&arguments).spawn().unwrap();
    let history = program.latest().join("history.jsonl");
    let deadline = Instant::now() + Duration::from_secs(120);
    while std::fs::metadata(&history).map_or(0, |file| file.len()) < 200_000 {
        assert!(Instant::now() < deadline, "the run does not get going");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let judged = program.run(&["analyze", "latest", "--json"]);
    let object: Value = serde_json::from_str(&judged.out).unwrap();
    assert_ne!(object["valid"], false, "{}{}", judged.out, judged.err);
    let healed = program.run(&["heal"]);
    assert_eq!(healed.code, 0, "{}{}", healed.out, healed.err);
    // The next run needs no help; it removes the orphans first.
    let next = program.run(&["test", "etcd", "--local", "3", "--time-limit", "3"]);
    assert!([0, 2].contains(&next.code), "{}{}", next.out, next.err);
    assert_same(&before);
}

#[test]
fn one_ctrl_c_stops_heals_and_checks() {
    let _alone = crate::ALONE.lock();
    if !ready() {
        return;
    }
    let before = traces();
    let program = Program::new();
    let arguments = [
        "test",
        "etcd",
        "--setup",
        "--local",
        "3",
        "--nemesis",
        "pause",
        "--time-limit",
        "120",
    ];
    let mut command = program.command(&arguments);
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let history = program.latest().join("history.jsonl");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(&history).map_or(0, |file| file.len()) < 200_000 {
        assert!(Instant::now() < deadline, "the run does not get going");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let said = said(child.wait_with_output().unwrap());
    assert!([0, 2].contains(&said.code), "{}{}", said.out, said.err);
    assert!(program.latest().join("results.json").exists());
    assert_same(&before);
}
