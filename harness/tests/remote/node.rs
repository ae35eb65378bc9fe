//! Daemons, ports, the lock and the undo journal, on a node that is this machine.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harness::capability::{ProcessState, Signal};
use harness::node::daemon::{Daemon, Started};
use harness::node::facts;
use harness::node::lock::{Lock, LockError};
use harness::node::undo::{Healing, Journal, JournalError, ProcessId, Undo, heal_node_in};
use harness::node::{packages, ports};
use harness::remote::{Command, Remote};

use crate::sshd::{Sshd, can_run, free_port};

fn daemon(sshd: &Sshd, script: &str) -> Daemon {
    Daemon {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("WORD".into(), "it's two words".into())],
        folder: sshd.folder.path().display().to_string(),
        log: sshd.at("daemon.log").display().to_string(),
        pid_file: sshd.at("daemon.pid").display().to_string(),
        user: None,
    }
}

#[tokio::test]
async fn daemons_come_and_go() {
    if !can_run("daemons_come_and_go") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let script = "echo $WORD in $PWD; sleep 1000 & sleep 1001";
    let daemon = daemon(&sshd, script);
    assert_eq!(daemon.state(&remote).await.unwrap(), ProcessState::Absent);
    assert_eq!(daemon.start(&remote).await.unwrap(), Started::Started);
    assert_eq!(
        daemon.start(&remote).await.unwrap(),
        Started::AlreadyRunning
    );
    assert_eq!(daemon.state(&remote).await.unwrap(), ProcessState::Running);
    while daemon.pids(&remote).await.unwrap().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = fs::read_to_string(&daemon.log).unwrap();
    let folder = sshd.folder.path().display();
    assert_eq!(said, format!("it's two words in {folder}\n"));

    for (signal, state) in [
        (Signal::STOP, ProcessState::Stopped),
        (Signal::STOP, ProcessState::Stopped),
        (Signal::CONT, ProcessState::Running),
        (Signal::KILL, ProcessState::Absent),
        (Signal::KILL, ProcessState::Absent),
    ] {
        assert_eq!(daemon.signal(&remote, signal).await.unwrap(), state);
        assert_eq!(daemon.state(&remote).await.unwrap(), state);
    }
    assert_eq!(daemon.pids(&remote).await.unwrap(), Vec::<u32>::new());

    // Its children are found also when the first process is gone.
    daemon.start(&remote).await.unwrap();
    while daemon.pids(&remote).await.unwrap().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = fs::read_to_string(&daemon.pid_file).unwrap();
    let kill = Command::new(format!("kill -s KILL {}", first.trim()));
    remote.exec(kill).await.unwrap();
    while daemon.pids(&remote).await.unwrap().len() != 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(daemon.state(&remote).await.unwrap(), ProcessState::Running);
    daemon.signal(&remote, Signal::STOP).await.unwrap();
    daemon.stop(&remote, Duration::from_secs(5)).await.unwrap();
    assert_eq!(daemon.state(&remote).await.unwrap(), ProcessState::Absent);
    assert!(!sshd.at("daemon.pid").exists() && !sshd.at("daemon.pid.start").exists());
}

#[tokio::test]
async fn a_daemon_that_will_not_end_is_killed() {
    if !can_run("a_daemon_that_will_not_end_is_killed") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let daemon = daemon(&sshd, "trap '' TERM; echo up; while :; do sleep 0.1; done");
    daemon.start(&remote).await.unwrap();
    while !fs::read_to_string(&daemon.log).is_ok_and(|log| log.contains("up")) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let grace = Duration::from_millis(300);
    daemon.stop(&remote, grace).await.unwrap();
    assert_eq!(daemon.state(&remote).await.unwrap(), ProcessState::Absent);
}

#[tokio::test]
async fn a_recycled_pid_is_not_the_daemon() {
    if !can_run("a_recycled_pid_is_not_the_daemon") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let daemon = daemon(&sshd, "sleep 1000");
    let own = std::process::id();
    fs::write(&daemon.pid_file, format!("{own}\n")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let stat: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let (session, start) = (stat[3], stat[19]);
    for record in [
        // Our own pid, at another time, in another session.
        format!("{own} 1 4194303 {boot}"),
        // Our own process and session, as they were numbered in another boot.
        format!("{own} {start} {session} 01234567-89ab-cdef-0123-456789abcdef\n"),
    ] {
        fs::write(sshd.at("daemon.pid.start"), record).unwrap();
        assert_eq!(daemon.state(&remote).await.unwrap(), ProcessState::Absent);
        daemon.signal(&remote, Signal::KILL).await.unwrap();
    }
    let missing = Daemon {
        program: "/no/such/program".into(),
        ..daemon
    };
    let error = missing.start(&remote).await.unwrap_err();
    assert!(error.to_string().contains("not an executable"), "{error}");
}

#[tokio::test]
async fn ports_are_waited_for() {
    if !can_run("ports_are_waited_for") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let limit = Duration::from_secs(20);
    ports::wait_for_listener(&remote, sshd.port, limit)
        .await
        .unwrap();
    let short = Duration::from_millis(200);
    let error = ports::wait_for_listener(&remote, free_port(), short).await;
    assert!(error.unwrap_err().to_string().contains("nothing listens"));
}

#[tokio::test]
async fn versions_of_packages() {
    if !can_run("versions_of_packages") {
        return;
    }
    let sshd = Sshd::start();
    let remote = sshd.remote();
    let version = packages::installed_version(&remote, "dpkg").await.unwrap();
    assert!(version.unwrap().starts_with("1."));
    let version = packages::installed_version(&remote, "no-such-package").await;
    assert_eq!(version.unwrap(), None);
    packages::install(&remote, &["dpkg", "bash"]).await.unwrap();
}

#[tokio::test]
async fn a_node_belongs_to_one_run() {
    if !can_run("a_node_belongs_to_one_run") {
        return;
    }
    let sshd = Sshd::start();
    let remote: Arc<dyn Remote> = Arc::new(sshd.remote());
    let state = sshd.at("state");
    let folder = state.to_str().unwrap();
    let acquire =
        |run: &'static str, force| Lock::acquire_in(Arc::clone(&remote), folder, run, force);
    let first = acquire("run-1", false).await.unwrap();
    let error = acquire("run-2", false).await.err().unwrap();
    let text = error.to_string();
    eprintln!("{text}");
    assert!(matches!(error, LockError::Held { .. }));
    for part in [
        "n1: locked by run run-1",
        "since 20",
        "gainsay heal",
        "--force-unlock",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let second = acquire("run-2", true).await.unwrap();
    first.release().await.unwrap(); // no longer its own to release
    assert!(acquire("run-3", false).await.is_err());
    second.release().await.unwrap();
    assert!(!state.exists(), "nothing is left");

    // A holder on this machine that is gone.
    let lock = acquire("run-4", false).await.unwrap();
    let file = state.join("lock");
    let text = fs::read_to_string(&file).unwrap();
    let pid = format!("\"pid\":{}", std::process::id());
    assert!(text.contains(&pid));
    fs::write(&file, text.replace(&pid, "\"pid\":4194304")).unwrap();
    let taken = acquire("run-5", false).await.unwrap();
    lock.release().await.unwrap();
    assert!(file.exists());
    taken.release().await.unwrap();

    fs::create_dir_all(&state).unwrap();
    fs::write(&file, "rubbish").unwrap();
    let error = acquire("run-6", false).await.err().unwrap();
    assert!(matches!(error, LockError::Unreadable { .. }), "{error}");
    acquire("run-6", true)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    assert!(!state.exists(), "nothing is left");
}

#[tokio::test]
async fn of_many_runs_one_gets_the_node() {
    if !can_run("of_many_runs_one_gets_the_node") {
        return;
    }
    let sshd = Sshd::start();
    let remote: Arc<dyn Remote> = Arc::new(sshd.remote());
    let state = sshd.at("state").display().to_string();
    let runs = (0..12).map(|n| {
        let (remote, state) = (Arc::clone(&remote), state.clone());
        async move { Lock::acquire_in(remote, &state, &format!("run-{n}"), false).await }
    });
    let locks = futures::future::join_all(runs).await;
    assert_eq!(locks.iter().filter(|lock| lock.is_ok()).count(), 1);
}

/// A fault that is a file, so that it can be seen.
fn file_fault(sshd: &Sshd, name: &str) -> (Undo, Command, PathBuf) {
    let path = sshd.at(name);
    let shown = path.display();
    let log = sshd.at("order").display().to_string();
    let undo = Undo {
        fault: format!("fault '{name}' of a test"),
        undo: format!("rm -f {shown}; echo {name} >>{log} # it's gone"),
        verify: format!("[ ! -e {shown} ]"),
        survives_reboot: false,
        process: None,
    };
    (undo, Command::new(format!("echo x >{shown}")), path)
}

#[tokio::test]
async fn faults_are_undone_newest_first() {
    if !can_run("faults_are_undone_newest_first") {
        return;
    }
    let sshd = Sshd::start();
    let remote: Arc<dyn Remote> = Arc::new(sshd.remote());
    let state = sshd.at("state");
    let folder = state.to_str().unwrap();
    let journal = Journal::new_in(Arc::clone(&remote), "run-1", folder);
    let mut files = Vec::new();
    for name in ["a", "b", "c"] {
        let (undo, act, file) = file_fault(&sshd, name);
        let undo = Undo {
            survives_reboot: name == "b",
            ..undo
        };
        let (id, output) = journal.write_and_run(&undo, act).await.unwrap();
        assert_eq!(output.status, 0);
        assert!(file.exists());
        files.push((id, file));
    }
    let entries = journal.list().await.unwrap();
    let faults: Vec<&str> = entries.iter().map(|entry| entry.fault.as_str()).collect();
    assert_eq!(
        faults,
        ["c", "b", "a"].map(|name| format!("fault '{name}' of a test"))
    );
    assert!(entries[0].created.starts_with("20"), "{:?}", entries[0]);

    journal.undo(&files[1].0).await.unwrap();
    journal.undo(&files[1].0).await.unwrap();
    assert!(!files[1].1.exists() && files[0].1.exists());

    // Another run's entries are not this run's business, but heal's.
    let other = Journal::new_in(Arc::clone(&remote), "run-2", folder);
    let (undo, act, _) = file_fault(&sshd, "d");
    other.write_and_run(&undo, act).await.unwrap();
    let healed = journal.undo_all().await.unwrap();
    assert_eq!(healed.len(), 2);
    assert!(
        healed
            .iter()
            .all(|healed| healed.healing == Healing::Undone)
    );
    let healed = heal_node_in(&*remote, folder).await.unwrap();
    assert_eq!((healed.len(), healed[0].run.as_str()), (1, "run-2"));
    let order = fs::read_to_string(sshd.at("order")).unwrap();
    assert_eq!(order, "b\nc\na\nd\n");
    assert!(!state.exists(), "nothing is left");
    assert!(heal_node_in(&*remote, folder).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_undone_is_said_and_kept() {
    if !can_run("what_cannot_be_undone_is_said_and_kept") {
        return;
    }
    let sshd = Sshd::start();
    let remote: Arc<dyn Remote> = Arc::new(sshd.remote());
    let state = sshd.at("state");
    let folder = state.to_str().unwrap();
    let journal = Journal::new_in(Arc::clone(&remote), "run-1", folder);
    let (undo, act, _) = file_fault(&sshd, "good");
    journal.write_and_run(&undo, act).await.unwrap();
    let stands = Undo {
        undo: "echo cannot >&2; exit 5".into(),
        ..undo.clone()
    };
    let id = journal.write(&stands).await.unwrap();
    let unverified = Undo {
        verify: "exit 1".into(),
        ..undo
    };
    journal.write(&unverified).await.unwrap();
    fs::write(state.join("undo/zzz.json"), "{torn").unwrap();

    let error = journal.undo(&id).await.unwrap_err();
    assert!(matches!(error, JournalError::Stands { .. }), "{error}");
    assert!(error.to_string().contains("cannot"), "{error}");
    let healed = heal_node_in(&*remote, folder).await.unwrap();
    let kinds: Vec<&str> = healed
        .iter()
        .map(|healed| match &healed.healing {
            Healing::Undone => "undone",
            Healing::Stands { .. } => "stands",
            Healing::Unreadable { .. } => "unreadable",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["stands", "stands", "undone", "unreadable"]);
    assert_eq!(fs::read_dir(state.join("undo")).unwrap().count(), 3);
}

#[tokio::test]
async fn entries_of_another_boot_or_a_gone_process_are_dropped() {
    if !can_run("entries_of_another_boot_or_a_gone_process_are_dropped") {
        return;
    }
    let sshd = Sshd::start();
    let remote: Arc<dyn Remote> = Arc::new(sshd.remote());
    let state = sshd.at("state");
    let folder = state.to_str().unwrap();
    let journal = Journal::new_in(Arc::clone(&remote), "run-1", folder);
    let own = std::process::id();
    let stat = fs::read_to_string(format!("/proc/{own}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let started: u64 = fields[19].parse().unwrap();
    let mut ids = Vec::new();
    for (name, survives_reboot, process) in [
        ("reboot", false, None),
        ("survivor", true, None),
        (
            "gone",
            false,
            Some(ProcessId {
                pid: own,
                started: started + 1,
            }),
        ),
        ("there", false, Some(ProcessId { pid: own, started })),
    ] {
        let (undo, _, _) = file_fault(&sshd, name);
        let undo = Undo {
            survives_reboot,
            process,
            ..undo
        };
        ids.push(journal.write(&undo).await.unwrap());
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for id in &ids[..2] {
        let file = state.join(format!("undo/{id}.json"));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(boot.trim()));
        fs::write(&file, text.replace(boot.trim(), "another")).unwrap();
    }
    // What a crash may leave of those that were not forced to disk.
    let cut = |name: &str, left: &[u8]| fs::write(state.join("undo").join(name), left).unwrap();
    cut("00000000000000000007-machine-clock.json", b"");
    cut("00000000000000000008-freeze.json", &[0; 300]);
    let healed = heal_node_in(&*remote, folder).await.unwrap();
    let healing: Vec<&Healing> = healed.iter().map(|healed| &healed.healing).collect();
    assert_eq!(
        healing,
        [
            &Healing::Undone,
            &Healing::ProcessGone,
            &Healing::Undone,
            &Healing::Rebooted,
            &Healing::Rebooted,
            &Healing::Rebooted
        ]
    );
    let cut: Vec<&str> = healed[4..].iter().map(|it| &*it.fault).collect();
    assert_eq!(cut, ["freeze", "machine-clock"]);
    let order = fs::read_to_string(sshd.at("order")).unwrap();
    assert_eq!(order, "there\nsurvivor\n");
    assert!(!state.exists(), "nothing is left");
}

#[tokio::test]
async fn without_an_entry_there_is_no_fault() {
    if !can_run("without_an_entry_there_is_no_fault") {
        return;
    }
    let sshd = Sshd::start();
    let remote: Arc<dyn Remote> = Arc::new(sshd.remote());
    fs::write(sshd.at("state"), "a file where the folder should be").unwrap();
    let journal = Journal::new_in(
        Arc::clone(&remote),
        "run-1",
        sshd.at("state").to_str().unwrap(),
    );
    let (undo, act, file) = file_fault(&sshd, "a");
    let error = journal.write_and_run(&undo, act).await.unwrap_err();
    eprintln!("{error}");
    assert!(matches!(error, JournalError::NotWritten { .. }), "{error}");
    assert!(!file.exists(), "the fault was not done");

    // A fault that fails by itself keeps its entry: it may have done half.
    fs::remove_file(sshd.at("state")).unwrap();
    let fails = Command::new("exit 213");
    let (_, output) = journal.write_and_run(&undo, fails).await.unwrap();
    assert_eq!(output.status, 213);
    assert_eq!(journal.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_says_what_it_is() {
    if !can_run("a_node_says_what_it_is") {
        return;
    }
    let sshd = Sshd::start();
    let facts = facts::ask(&sshd.remote()).await.unwrap();
    // The node is this machine, so its clock is ours.
    let clock = facts.clock.unwrap();
    assert_eq!(clock.apart(), 0.0, "{clock:?}");
    let here = facts::here();
    assert!(here.kernel.is_some() && here.memory.is_some());
    let facts = facts::Facts {
        addresses: Vec::new(),
        clock: None,
        ..facts
    };
    assert_eq!(facts, here);
}
