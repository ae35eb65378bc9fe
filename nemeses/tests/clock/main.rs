//! Clocks of a real process through a system's `Db`, with the undo journal.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used)]

mod mariadb;
#[path = "../common/part.rs"]
mod part;
#[path = "../common/shell.rs"]
mod shell;
#[path = "../common/skip.rs"]
mod skip;
mod waits;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use harness::Name;
use harness::capability::{
    CapabilityError, ClockChange, ClockKind, ClockScope, ClockSetting, Clocks, ProcessState,
};
use harness::db::DbError;
use harness::node::undo::{Healing, heal_node_in};
use harness::remote::{Node, Remote};
use nemeses::ssh::{Journaled, NodeClocks};

use part::{Part, System};
use shell::Shell;
use skip::skip;

/// A system that says what time it is.
struct Speaking {
    child: Child,
    ends: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _folder: tempfile::TempDir,
}

impl Drop for Speaking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this machine lets us change a process's clocks. Said loudly where it does not.
fn possible(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    there_is(root, test, "ptrace of other processes needs root")
}

fn there_is(something: bool, test: &str, why_not: &str) -> bool {
    if !something {
        skip(test, why_not);
    }
    something
}

impl Speaking {
    /// One, unless it is skipped.
    fn start(test: &str) -> Option<Arc<System<Speaking>>> {
        possible(test).then(|| Speaking::start_after(Path::new("/none")))
    }

    /// One that is started as a daemon is: after the lines in a file, if it is there.
    fn start_after(environment: &Path) -> Arc<System<Speaking>> {
        // A program of its own: programs are what is watched.
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("perl");
        // Copied by another process: what this one has open for writing, children of other tests have too.
        let mut copy = Process::new("sh");
        copy.args(["-c", "cp \"$(command -v perl)\" \"$0\""])
            .arg(&program);
        assert!(copy.status().unwrap().success());
        let start = "[ ! -r \"$0\" ] || . \"$0\"; exec \"$@\"";
        let mut child = Process::new("sh")
            .args(["-c", start])
            .arg(environment)
            .arg(&program)
            .args(["-e", r#"$| = 1; while (<STDIN>) { print time, "\n" }"#])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let ends = Mutex::new((child.stdin.take().unwrap(), output));
        let speaking = Arc::new(System(Speaking {
            child,
            ends,
            _folder: folder,
        }));
        // It has begun when it speaks.
        assert!(speaking.ahead().abs() < SLACK);
        speaking
    }

    /// How many seconds it is ahead.
    fn ahead(&self) -> i64 {
        let (input, output) = &mut *self.ends.lock().unwrap();
        input.write_all(b"\n").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        line.trim().parse::<i64>().unwrap() - now.as_secs() as i64
    }

    /// What it has mapped, and its vDSO's bytes.
    fn memory(&self) -> (String, Vec<u8>) {
        use std::os::unix::fs::FileExt;
        let pid = self.child.id();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let vdso = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
        let (start, end) = vdso.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut image = vec![0; (end - start) as usize];
        let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
        memory.read_exact_at(&mut image, start).unwrap();
        (maps, image)
    }
}

/// In seconds: much more than a loaded machine needs, much less than an hour.
const SLACK: i64 = 120;
const HOUR: i64 = 3600;

#[async_trait]
impl Part for Speaking {
    async fn state(&self, _: &Node) -> Result<ProcessState, DbError> {
        Ok(ProcessState::Running)
    }

    fn pids_script(&self, _: &Node) -> Option<String> {
        Some(format!("echo {}", self.child.id()))
    }
}

fn node(name: &str, folder: &str) -> Journaled {
    let node = Node {
        name: name.into(),
        address: "127.0.0.1".into(),
        remote: Arc::new(Shell::new(name.into(), &[])),
    };
    Journaled::new_in(&node, &format!("test-{}", std::process::id()), folder)
}

fn skew(offset_ms: i64) -> ClockSetting {
    ClockSetting {
        scope: ClockScope::Process,
        clocks: ClockKind::Realtime,
        change: ClockChange::Skew { offset_ms },
    }
}

#[tokio::test]
async fn clocks_are_changed_looked_at_and_made_as_they_were() {
    let Some(db) = Speaking::start("clocks_are_changed") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = node("changed", folder.path().to_str().unwrap());
    let clocks = NodeClocks::new(std::slice::from_ref(&at), db.clone());
    clocks.probe(ClockScope::Process).await.unwrap();
    let before = db.memory();
    let name = Name::from("changed");
    for hours in [1, -2, 3] {
        let seen = clocks
            .change(&name, &skew(hours * HOUR * 1000))
            .await
            .unwrap();
        assert!(seen.len() == 1 && seen[0].effective, "{seen:?}");
        assert!(seen[0].whose.starts_with("perl["));
        let during = seen[0].during.unwrap();
        assert!(
            (during.realtime / 1000.0 - (hours * HOUR) as f64).abs() < 1.0,
            "{during:?}"
        );
        assert!(during.monotonic.abs() < 1000.0, "{during:?}");
        assert!((db.ahead() - hours * HOUR).abs() < SLACK);
    }
    assert_eq!(at.journal.list().await.unwrap().len(), 3);
    let frozen = ClockSetting {
        change: ClockChange::Freeze,
        ..skew(0)
    };
    clocks.change(&name, &frozen).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let seen = clocks.look(&name).await.unwrap();
    assert!(
        seen[0].effective && seen[0].during.unwrap().realtime < -49.0,
        "{seen:?}"
    );
    let seen = clocks.restore(&name).await.unwrap();
    assert!(
        seen[0].effective && seen[0].after.unwrap().realtime.abs() < 1000.0,
        "{seen:?}"
    );
    assert!(db.ahead().abs() < SLACK);
    assert_eq!(db.memory(), before);
    assert_eq!(at.journal.list().await.unwrap(), []);
    at.agent.leave().await;
}

#[tokio::test]
async fn the_journal_restores_what_a_dead_controller_changed() {
    let Some(db) = Speaking::start("the_journal_restores") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let at = node("healed", folder);
    let clocks = NodeClocks::new(std::slice::from_ref(&at), db.clone());
    let before = db.memory();
    clocks
        .change(&"healed".into(), &skew(HOUR * 1000))
        .await
        .unwrap();
    assert!((db.ahead() - HOUR).abs() < SLACK);
    drop(clocks);
    let remote: &dyn Remote = &*at.node.remote;
    let healed = heal_node_in(remote, folder).await.unwrap();
    assert_eq!(healed.len(), 1);
    assert_eq!(
        (&*healed[0].fault, &healed[0].healing),
        ("clock", &Healing::Undone)
    );
    assert!(db.ahead().abs() < SLACK);
    assert_eq!(db.memory(), before);
}

#[tokio::test]
async fn clocks_are_as_they_were_when_the_controller_is_gone() {
    let Some(db) = Speaking::start("clocks_are_as_they_were") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let at = node("gone", state.to_str().unwrap());
    let clocks = NodeClocks::new(std::slice::from_ref(&at), db.clone());
    let before = db.memory();
    clocks
        .change(&"gone".into(), &skew(HOUR * 1000))
        .await
        .unwrap();
    assert!((db.ahead() - HOUR).abs() < SLACK);
    at.agent.leave().await;
    assert!(db.ahead().abs() < SLACK);
    assert_eq!(db.memory(), before);
    assert!(!state.exists());
    // Nobody is there whose clock could be changed.
    let refused = clocks
        .change(&"nowhere".into(), &skew(1))
        .await
        .unwrap_err();
    assert!(matches!(refused, CapabilityError::NotDone(_)), "{refused}");
}

#[tokio::test]
async fn libfaketime_skews_what_is_started_under_it() {
    let installed = Process::new("dpkg").args(["-s", "libfaketime"]).output();
    let installed = installed.is_ok_and(|output| output.status.success());
    if !there_is(
        installed,
        "libfaketime_skews",
        "needs the package libfaketime",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (environment, state) = (state.join("environment"), state.to_str().unwrap());
    let without = Speaking::start_after(&environment);
    let at = node("faked", state);
    let nodes = std::slice::from_ref(&at);
    let clocks = NodeClocks::new(nodes, without.clone());
    clocks.prepare(ClockScope::Libfaketime).await.unwrap();
    let (name, hours) = (Name::from("faked"), 2);
    let setting = ClockSetting {
        scope: ClockScope::Libfaketime,
        ..skew(hours * HOUR * 1000)
    };
    // Who was there before does not notice, and nobody says that it did.
    let seen = clocks.change(&name, &setting).await.unwrap();
    assert!(seen.len() == 1 && !seen[0].effective, "{seen:?}");
    assert!(without.ahead().abs() < SLACK);
    clocks.restore(&name).await.unwrap();

    let db = Speaking::start_after(&environment);
    let clocks_of_db = NodeClocks::new(nodes, db.clone());
    clocks_of_db.probe(ClockScope::Libfaketime).await.unwrap();
    for hours in [hours, -3] {
        let setting = ClockSetting {
            scope: ClockScope::Libfaketime,
            ..skew(hours * HOUR * 1000)
        };
        let seen = clocks_of_db.change(&name, &setting).await.unwrap();
        assert!(seen[0].effective && seen[0].before.is_some(), "{seen:?}");
        assert!((db.ahead() - hours * HOUR).abs() < SLACK);
    }
    let seen = clocks_of_db.restore(&name).await.unwrap();
    assert!(seen[0].effective && seen[0].after.is_some(), "{seen:?}");
    assert!(db.ahead().abs() < SLACK);

    // The controller is gone while it is in force.
    clocks_of_db.change(&name, &setting).await.unwrap();
    assert!((db.ahead() - hours * HOUR).abs() < SLACK);
    drop((clocks_of_db, clocks));
    let remote: &dyn Remote = &*at.node.remote;
    let healed = heal_node_in(remote, state).await.unwrap();
    let undone = healed.iter().all(|it| it.healing == Healing::Undone);
    assert!(healed.len() == 2 && undone, "{healed:?}");
    assert!(db.ahead().abs() < SLACK && !environment.exists());
}
