//! Runs that end as soon as a violation is proved.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Program, json, said};

/// A simulated run with these flags besides, and its code.
fn run(arguments: &[&str]) -> (Program, crate::program::Said) {
    let program = Program::new();
    let all = [
        &[
            "test",
            "sim",
            "--nemesis",
            "partition,kill,pause",
            "--seed",
            "3",
        ],
        arguments,
    ]
    .concat();
    let said = program.run(&all);
    (program, said)
}

fn history(program: &Program) -> Vec<Value> {
    let text = std::fs::read_to_string(program.latest().join("history.jsonl")).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_violation_ends_the_run_at_the_same_moment_each_time() {
    let wrong = ["--bug", "stale-reads", "--time-limit", "30s"];
    let stopping = [&wrong[..], &["--stop-on-violation"]].concat();
    let (program, said) = run(&stopping);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.err.contains("stopped after "), "{}", said.err);
    assert!(said.err.contains("linearizable"), "{}", said.err);
    let results = json(&program.latest().join("results.json"));
    assert_eq!(results["valid"], false);
    assert_eq!(results["stopped"]["by"], "linearizable");
    let at = results["stopped"]["at"].as_f64().unwrap();
    assert!((0.5..20.0).contains(&at), "{at}");
    let log = std::fs::read_to_string(program.latest().join("gainsay.log")).unwrap();
    assert!(log.contains("has proved a violation"), "{log}");
    // What was judged again knows it still.
    let again = program.run(&["analyze", "latest", "--json"]);
    let object: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(object["stopped"], results["stopped"]);

    let stopped = history(&program);
    let last = stopped.last().unwrap()["time"].as_u64().unwrap();
    assert!(last < ((at + 3.0) * 1e9) as u64, "{last}");
    assert_eq!(stopped, history(&run(&stopping).0));
    // Looking changes nothing: until then the run is the one that nobody watches.
    let whole = history(&run(&wrong).0);
    let before = |event: &&Value| event["time"].as_f64().unwrap() < at * 1e9;
    let before: Vec<&Value> = stopped.iter().take_while(before).collect();
    assert!(before.len() > 100);
    assert!(before.iter().copied().eq(whole.iter().take(before.len())));
}

#[test]
fn a_run_in_which_nothing_is_wrong_is_left_alone() {
    let right = ["--time-limit", "5s"];
    let (program, said) = run(&[&right[..], &["--stop-on-violation"]].concat());
    assert!([0, 2].contains(&said.code), "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    assert_eq!(results.get("stopped"), None);
    assert_eq!(results.get("notes"), None);
    assert_eq!(history(&program), history(&run(&right).0));
}

/// The processes that a process has started, with these words among their arguments.
fn children(parent: u32, word: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let read = |name| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let is_child = read("status").contains(&format!("PPid:\t{parent}\n"));
        if is_child && read("cmdline").split('\0').any(|argument| argument == word) {
            found.push(pid);
        }
    }
    found
}

#[test]
fn a_run_goes_on_when_the_checker_that_follows_it_dies() {
    let program = Program::new();
    let arguments = [
        "test",
        "sim",
        "--stop-on-violation",
        "--rate",
        "100",
        "--time-limit",
        "300s",
        "--nemesis",
        "kill",
        "--seed",
        "1",
    ];
    let mut command = program.command(&arguments);
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let follower = loop {
        match children(child.id(), "__check").first() {
            Some(pid) => break *pid,
            None => assert!(Instant::now() < deadline, "nothing follows the run"),
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let pid = nix::unistd::Pid::from_raw(follower);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let said = said(child.wait_with_output().unwrap());
    assert!([0, 2].contains(&said.code), "{}{}", said.out, said.err);
    assert!(
        said.err.contains("the run went on without it"),
        "{}",
        said.err
    );
    let results = json(&program.latest().join("results.json"));
    let note = results["notes"][0].as_str().unwrap();
    assert!(
        note.contains("linearizable") && note.contains("signal 9"),
        "{note}"
    );
    let last = history(&program).last().unwrap()["time"].as_u64().unwrap();
    assert!(last > 290_000_000_000, "{last}");
}

#[test]
fn a_checker_that_has_no_room_does_not_end_the_run() {
    let (program, said) = run(&[
        "--time-limit",
        "3s",
        "--stop-on-violation",
        "--check-memory",
        "1MB",
    ]);
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    let results = json(&program.latest().join("results.json"));
    let note = results["notes"][0].as_str().unwrap();
    assert!(note.contains("gave up"), "{note}");
}
