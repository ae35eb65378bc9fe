//! Waits of a program whose clocks are changed, in all the ways that the C library has.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use harness::capability::{ClockChange, ClockKind, ClockScope, ClockSetting, Clocks};
use harness::node::undo::{Healing, heal_node_in};
use harness::remote::{Node, Remote};
use nemeses::ssh::NodeClocks;

use crate::part::{Part, System};
use crate::{HOUR, node, possible};

/// How long each wait is meant to be, in milliseconds.
const LENGTH: u64 = 60;
/// What shows the library among what a process has mapped.
const LIBRARY: &str = "/state/waits-";
/// In how many ways.
const WAYS: usize = 27;

/// A program that waits when it is told to, in every way.
struct Waiting {
    child: Child,
    ends: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Waiting {
    /// Starts it as a daemon is started: after the lines in a file, if it is there.
    fn start(program: &str, environment: &Path) -> Arc<System<Waiting>> {
        let script = "[ ! -r \"$0\" ] || . \"$0\"; exec \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(environment).arg(program);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let ends = Mutex::new((child.stdin.take().unwrap(), output));
        let waiting = Waiting { child, ends };
        // It has begun when it has waited.
        is_true(&waiting.waits(), "at first");
        Arc::new(System(waiting))
    }

    /// Has it wait: in which ways, and how long each time, in milliseconds.
    fn waits(&self) -> Vec<(String, u64)> {
        let (input, output) = &mut *self.ends.lock().unwrap();
        input.write_all(b"w").unwrap();
        let mut waits = Vec::new();
        for line in output.lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["cancelled", done] => {
                    assert_eq!(done, "1", "a thread that waits is not cancelled");
                    return waits;
                }
                [name, length, ..] => waits.push((name.to_owned(), length.parse().unwrap())),
                _ => panic!("{line}"),
            }
        }
        panic!("a wait that did not end, after {waits:?}");
    }

    fn maps(&self, what: &str) -> bool {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.child.id()));
        maps.unwrap().contains(what)
    }
}

#[async_trait]
impl Part for Waiting {
    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(format!("echo {}", self.child.id()))
    }
}

/// Builds the program.
fn built(folder: &Path) -> String {
    let program = folder.join("waiting").display().to_string();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clock/waiting.c");
    let mut cc = Command::new("cc");
    cc.arg(format!("-DLENGTH={LENGTH}"));
    cc.args(["-O1", "-pthread", "-o", &program, source, "-lrt"]);
    assert!(cc.status().unwrap().success());
    program
}

/// Whether it waited for so long, in every way.
fn is_true(waited: &[(String, u64)], when: &str) {
    assert_eq!(waited.len(), WAYS);
    for (name, length) in waited {
        // A busy machine may take its time.
        let fits = (LENGTH - 2..20_000).contains(length);
        assert!(fits, "{when}: {name}: {length} ms");
    }
}

fn skew(hours: i64, clocks: ClockKind) -> ClockSetting {
    ClockSetting {
        scope: ClockScope::Process,
        clocks,
        change: ClockChange::Skew {
            offset_ms: hours * HOUR * 1000,
        },
    }
}

#[tokio::test]
async fn waits_are_as_long_as_a_process_means_them() {
    if !possible("waits_are_as_long") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = built(folder.path());
    let state = folder.path().join("state");
    let (state, environment) = (state.to_str().unwrap(), state.join("environment"));
    let name = "waits".into();
    let without = Waiting::start(&program, &environment);
    assert!(!without.maps(LIBRARY));
    let at = node("waits", state);
    let clocks = NodeClocks::new(std::slice::from_ref(&at), without.clone());
    clocks.prepare(ClockScope::Process).await.unwrap();
    // Who was there before goes on as it did: where it is late, it does not wait at all.
    clocks
        .change(&name, &skew(-1, ClockKind::Realtime))
        .await
        .unwrap();
    let waited = without.waits();
    let none = waited.iter().filter(|(_, length)| *length < LENGTH / 2);
    let none: Vec<&str> = none.map(|(name, _)| name.as_str()).collect();
    let own_calls = [
        "timer_settime",
        "futex",
        "futex_waitv",
        "clock_nanosleep/call",
    ];
    let all_of_these = own_calls.iter().all(|name| none.contains(name));
    assert!(none.len() >= 10 && all_of_these, "{waited:?}");
    clocks.restore(&name).await.unwrap();
    clocks.dismantle().await.unwrap();
    assert!(!environment.exists());
    at.agent.leave().await;

    let at = node("waits", state);
    let nobody = NodeClocks::new(std::slice::from_ref(&at), without);
    nobody.prepare(ClockScope::Process).await.unwrap();
    let with = Waiting::start(&program, &environment);
    assert!(with.maps(LIBRARY));
    let clocks = NodeClocks::new(std::slice::from_ref(&at), with.clone());
    for (hours, which) in [
        (1, ClockKind::Realtime),
        (-1, ClockKind::Realtime),
        (2, ClockKind::Both),
        (-2, ClockKind::Monotonic),
    ] {
        let seen = clocks.change(&name, &skew(hours, which)).await.unwrap();
        assert!(seen[0].effective, "{seen:?}");
        is_true(&with.waits(), &format!("{which:?} by {hours} h"));
    }
    // The controller is gone.
    drop((clocks, nobody));
    let remote: &dyn Remote = &*at.node.remote;
    let healed = heal_node_in(remote, state).await.unwrap();
    let undone = healed.iter().all(|it| it.healing == Healing::Undone);
    assert!(undone, "{healed:?}");
    assert!(!environment.exists() && !with.maps("gainsay-clock"));
    is_true(&with.waits(), "afterwards");
}
