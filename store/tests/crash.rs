//! A recording process that is killed leaves a history that loads, and all that it had flushed.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use store::recorder::Options;
use store::{Draft, EventType, Process, Recorder, Value, load_history};

const PATH: &str = "GAINSAY_CRASH_TEST_HISTORY";

/// Not a test of its own: what the test below runs and kills. Without its file it does nothing.
#[test]
fn record_until_killed() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    let recorder = Recorder::create(path, Options::default()).unwrap();
    let start = Instant::now();
    for n in 0u64.. {
        for kind in [EventType::Invoke, EventType::Ok] {
            let draft = Draft::new(
                Process::Client(n % 10),
                kind,
                "read",
                Value::from("x".repeat(50)),
            );
            recorder.record(|| start.elapsed().as_nanos() as u64, draft);
        }
        if n % 1000 == 999 {
            recorder.flush().unwrap();
            println!("flushed {}", recorder.recorded());
        }
    }
}

/// Kills a recording after it said `rounds` times what it had flushed.
fn kill_after(rounds: usize, path: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "record_until_killed", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let flushed = lines
        .map(Result::unwrap)
        .filter_map(|line| line.rsplit_once("flushed ")?.1.parse::<u64>().ok())
        .nth(rounds);
    child.kill().unwrap();
    child.wait().unwrap();

    let loaded = load_history(path).unwrap();
    let events = loaded.history.events();
    assert!(events.len() as u64 >= flushed.unwrap());
    assert!(
        events
            .iter()
            .zip(0..)
            .all(|(event, index)| event.index == index)
    );
    assert!(events.windows(2).all(|pair| pair[0].time < pair[1].time));
}

#[test]
fn a_killed_recording_is_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    for rounds in [0, 1, 5, 20] {
        kill_after(rounds, &dir.path().join(format!("{rounds}.jsonl")));
    }
}
