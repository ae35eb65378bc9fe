//! Faults of disks on a node of its own mounts, seen by programs that know nothing of them.
#![allow(clippy::unwrap_used)]

#[path = "common/files.rs"]
mod files;
#[path = "common/part.rs"]
mod part;
#[path = "common/shell.rs"]
mod shell;
#[path = "common/skip.rs"]
mod skip;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::Name;
use harness::capability::{
    CapabilityError, Corruption, Damage, DiskEffect, DiskRule, Disks, Survival,
};
use harness::node::undo::{Healing, heal_node_in};
use harness::remote::{Node, Remote};
use nemeses::ssh::{DbDisks, Journaled};
use tempfile::TempDir;

use files::Files;
use part::System;
use shell::Shell;
use skip::skip;

/// A node with a mount namespace of its own.
struct Stage {
    /// Holds the namespace.
    holder: Child,
    folder: TempDir,
    at: Journaled,
    disks: DbDisks,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Stage {
    /// None where this machine cannot have one, which is said loudly.
    fn new(test: &str) -> Option<Stage> {
        let root = nix::unistd::geteuid().is_root();
        if !root || !Path::new("/dev/fuse").exists() {
            skip(test, "needs root and /dev/fuse");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data/old")).unwrap();
        fs::write(folder.path().join("data/old/kept"), "from before").unwrap();
        let mut holder = Process::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("echo there; exec sleep 600")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says so once it is in its own.
        let mut said = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
        let pid = holder.id().to_string();
        let words = ["nsenter", "--mount", "--target", &pid].map(str::to_owned);
        let node = Node {
            name: "n1".into(),
            address: "127.0.0.1".into(),
            remote: Arc::new(Shell::new("n1".into(), &words)),
        };
        let path = |name: &str| folder.path().join(name).display().to_string();
        let at = Journaled::new_in(&node, "test", &path("state"));
        let db = Arc::new(System(Files {
            data: path("data"),
            pid_file: path("pid"),
        }));
        let disks = DbDisks::new(std::slice::from_ref(&at), db);
        Some(Stage {
            holder,
            folder,
            at,
            disks,
        })
    }

    /// A file of the data, as processes on the node see it.
    fn seen(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("data").join(name);
        format!("/proc/{}/root{}", self.holder.id(), path.display()).into()
    }

    /// The plain file beneath.
    fn beneath(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    /// The folder of its records.
    fn at_folder(&self) -> String {
        self.folder.path().join("state").display().to_string()
    }

    fn mounts(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mounts", self.holder.id())).unwrap()
    }

    /// The processes of the file system.
    fn servers(&self) -> Vec<u32> {
        let data = self.folder.path().join("data").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let serves = |pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("serve") && line.contains(&data)
        };
        pids.filter(serves).collect()
    }

    async fn gone(&self) {
        for _ in 0..1000 {
            if self.servers().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still there: {:?}", self.servers());
    }

    async fn rule(&self, kinds: &[&str], glob: Option<&str>, effect: DiskEffect) {
        let rule = DiskRule {
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            glob: glob.map(str::to_owned),
            probability: 1.0,
            effect,
        };
        let status = self.disks.rule(&"n1".into(), &[rule], 1).await.unwrap();
        assert_eq!(status.rules, 1);
    }

    async fn calm(&self) -> u64 {
        let status = self.disks.calm(&"n1".into()).await.unwrap();
        assert_eq!(status.rules, 0);
        status.struck
    }
}

/// Makes a file with a synced content.
fn synced(path: &Path, content: &[u8]) -> File {
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
    file.sync_all().unwrap();
    file
}

fn number(result: std::io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[tokio::test]
async fn a_power_cut_takes_what_is_not_synced_and_nothing_else() {
    let Some(stage) = Stage::new("power cut") else {
        return;
    };
    let before = stage.mounts();
    stage.disks.interpose().await.unwrap();
    assert_ne!(stage.mounts(), before);
    assert_eq!(
        fs::read_to_string(stage.seen("old/kept")).unwrap(),
        "from before"
    );

    let file = synced(&stage.seen("wal"), b"acknowledged");
    file.write_all_at(b"only written", 0).unwrap();
    file.write_all_at(b" and appended", 12).unwrap();
    fs::write(stage.seen("new"), "never synced").unwrap();
    fs::rename(stage.seen("old/kept"), stage.seen("renamed")).unwrap();
    fs::create_dir(stage.seen("folder")).unwrap();
    fs::remove_dir(stage.seen("old")).unwrap();
    drop(file);
    assert_eq!(
        fs::read_to_string(stage.seen("wal")).unwrap(),
        "only written and appended"
    );
    let mut victim = Process::new("sleep").arg("600").spawn().unwrap();
    fs::write(stage.folder.path().join("pid"), victim.id().to_string()).unwrap();

    let lost = stage
        .disks
        .cut_power(&"n1".into(), Survival::Nothing, 1)
        .await
        .unwrap();
    assert!(!victim.wait().unwrap().success());
    assert_eq!((lost.entries, lost.files), (4, 2));
    for see in [Stage::seen, Stage::beneath] {
        let read = |name: &str| fs::read_to_string(see(&stage, name));
        assert_eq!(read("wal").unwrap(), "acknowledged");
        assert_eq!(read("old/kept").unwrap(), "from before");
        for name in ["new", "renamed", "folder"] {
            assert!(!see(&stage, name).exists(), "{name}");
        }
        assert_eq!(fs::read_dir(see(&stage, "")).unwrap().count(), 2);
    }

    // With a sync of the folder, names stay.
    fs::rename(stage.seen("wal"), stage.seen("wal-2")).unwrap();
    File::open(stage.seen("")).unwrap().sync_all().unwrap();
    let lost = stage
        .disks
        .cut_power(&"n1".into(), Survival::Nothing, 1)
        .await
        .unwrap();
    assert_eq!(lost.entries, 0);
    assert!(stage.seen("wal-2").exists());

    stage.disks.withdraw().await.unwrap();
    assert_eq!(stage.mounts(), before);
    assert_eq!(
        fs::read_to_string(stage.seen("wal-2")).unwrap(),
        "acknowledged"
    );
    stage.gone().await;
    assert_eq!(stage.at.journal.list().await.unwrap(), []);
    stage.at.agent.leave().await;
    assert!(!stage.folder.path().join("state").exists());
}

#[tokio::test]
async fn programs_meet_the_errors_of_the_disk() {
    let Some(stage) = Stage::new("errors") else {
        return;
    };
    stage.disks.interpose().await.unwrap();
    let (log, other) = (
        synced(&stage.seen("a.log"), b"log"),
        synced(&stage.seen("b"), b"other"),
    );
    for errno in [5, 28, 30, 122] {
        stage
            .rule(&["write"], Some("*.log"), DiskEffect::Fail { errno })
            .await;
        assert_eq!(number(log.write_at(b"x", 0)), Some(errno));
        other.write_all_at(b"x", 0).unwrap();
        assert_eq!(stage.calm().await, 1);
        log.write_all_at(b"y", 0).unwrap();
    }
    stage
        .rule(&["write", "create", "mkdir"], None, DiskEffect::Full)
        .await;
    log.write_all_at(b"zzz", 0).unwrap();
    assert_eq!(number(log.write_at(b"more", 3)), Some(28));
    assert_eq!(number(File::create(stage.seen("c"))), Some(28));
    assert_eq!(number(fs::create_dir(stage.seen("d"))), Some(28));
    assert_eq!(stage.calm().await, 3);
    stage.rule(&["write"], None, DiskEffect::Short).await;
    assert_eq!(log.write_at(b"ten bytes!", 0).unwrap(), 5);
    stage.calm().await;
    // What the page cache has is read from the disk again, and fails.
    fs::read(stage.seen("b")).unwrap();
    stage
        .rule(&["read"], None, DiskEffect::Fail { errno: 5 })
        .await;
    assert_eq!(number(fs::read(stage.seen("b"))), Some(5));
    stage.calm().await;
    assert_eq!(fs::read(stage.seen("b")).unwrap(), b"xther");
    drop((log, other));
    stage.disks.withdraw().await.unwrap();
    stage.gone().await;
}

#[tokio::test]
async fn a_sync_that_lies_or_fails_makes_nothing_durable() {
    let Some(stage) = Stage::new("syncs") else {
        return;
    };
    stage.disks.interpose().await.unwrap();
    let name = Name::from("n1");
    let cut = async || {
        stage
            .disks
            .cut_power(&name, Survival::Nothing, 1)
            .await
            .unwrap()
    };
    let read = || fs::read_to_string(stage.seen("wal")).unwrap();

    synced(&stage.seen("wal"), b"one");
    stage.rule(&["sync"], None, DiskEffect::Lie).await;
    synced(&stage.seen("wal"), b"two");
    assert_eq!(stage.calm().await, 1);
    cut().await;
    assert_eq!(read(), "one");

    let file = OpenOptions::new()
        .write(true)
        .open(stage.seen("wal"))
        .unwrap();
    file.write_all_at(b"two", 0).unwrap();
    stage.rule(&["sync"], None, DiskEffect::LoseSync).await;
    assert_eq!(number(file.sync_all()), Some(5));
    stage.calm().await;
    // As on Linux: the next one has nothing to write, and is fine.
    file.sync_all().unwrap();
    drop(file);
    assert_eq!(read(), "two");
    cut().await;
    assert_eq!(read(), "one");

    // Synced by every write.
    let mut options = OpenOptions::new();
    let options = options.write(true);
    let file = std::os::unix::fs::OpenOptionsExt::custom_flags(options, 0o4010000);
    let file = file.open(stage.seen("wal")).unwrap();
    file.write_all_at(b"six", 0).unwrap();
    drop(file);
    cut().await;
    assert_eq!(read(), "six");
    stage.disks.withdraw().await.unwrap();
    stage.gone().await;
}

#[tokio::test]
async fn what_is_slow_or_stands_still_is_done_in_the_end() {
    let Some(stage) = Stage::new("stall") else {
        return;
    };
    stage.disks.interpose().await.unwrap();
    let file = synced(&stage.seen("wal"), b"one");
    let slow = DiskEffect::Delay {
        ms: 300,
        jitter_ms: 0,
    };
    stage.rule(&["sync"], None, slow).await;
    let started = std::time::Instant::now();
    file.sync_all().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
    stage.rule(&["sync"], None, DiskEffect::Stall).await;
    let path = stage.seen("wal");
    let stalled = std::thread::spawn(move || file.sync_all());
    while stage.disks.status(&"n1".into()).await.unwrap().struck == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Others go on meanwhile.
    assert_eq!(fs::read(&path).unwrap(), b"one");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!stalled.is_finished());
    stage.calm().await;
    stalled.join().unwrap().unwrap();
    stage.disks.withdraw().await.unwrap();
    stage.gone().await;
}

#[tokio::test]
async fn what_stands_still_when_the_power_is_cut_is_never_done() {
    let Some(stage) = Stage::new("stalled cut") else {
        return;
    };
    stage.disks.interpose().await.unwrap();
    synced(&stage.seen("wal"), b"one");
    stage.rule(&["write"], None, DiskEffect::Stall).await;
    let mut writer = Process::new("dd")
        .args(["conv=notrunc", "status=none"])
        .arg(format!("of={}", stage.seen("wal").display()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(b"two").unwrap();
    fs::write(stage.folder.path().join("pid"), writer.id().to_string()).unwrap();
    while stage.disks.status(&"n1".into()).await.unwrap().struck == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage
        .disks
        .cut_power(&"n1".into(), Survival::Nothing, 1)
        .await
        .unwrap();
    assert!(!writer.wait().unwrap().success());
    stage.calm().await;
    assert_eq!(fs::read(stage.seen("wal")).unwrap(), b"one");
    stage.disks.withdraw().await.unwrap();
    stage.gone().await;
}

#[tokio::test]
async fn memory_that_is_mapped_is_the_file() {
    let Some(stage) = Stage::new("mmap") else {
        return;
    };
    stage.disks.interpose().await.unwrap();
    synced(&stage.seen("db"), &[1; 8192]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(stage.seen("db"))
        .unwrap();
    // SAFETY: two pages of a file that stays as long as they are used.
    unsafe {
        let (length, both) = (8192, libc::PROT_READ | libc::PROT_WRITE);
        let mapped = libc::mmap(
            std::ptr::null_mut(),
            length,
            both,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(mapped, libc::MAP_FAILED);
        let bytes = std::slice::from_raw_parts_mut(mapped.cast::<u8>(), length);
        file.write_all_at(&[2; 4096], 0).unwrap();
        assert_eq!((bytes[0], bytes[4096]), (2, 1));
        bytes[4096..].fill(3);
        assert_eq!(libc::msync(mapped, length, libc::MS_SYNC), 0);
        bytes[4096..].fill(4);
        libc::munmap(mapped, length);
    }
    drop(file);
    stage
        .disks
        .cut_power(&"n1".into(), Survival::Nothing, 1)
        .await
        .unwrap();
    let after = fs::read(stage.seen("db")).unwrap();
    assert_eq!((after[0], after[4096]), (2, 3));
    stage.disks.withdraw().await.unwrap();
    stage.gone().await;
}

#[tokio::test]
async fn a_dead_controller_leaves_plain_files() {
    let Some(stage) = Stage::new("heal") else {
        return;
    };
    let before = stage.mounts();
    stage.disks.interpose().await.unwrap();
    let open = synced(&stage.seen("wal"), b"one");
    stage
        .rule(&["write"], None, DiskEffect::Fail { errno: 5 })
        .await;
    assert_eq!(number(open.write_at(b"x", 0)), Some(5));
    assert_eq!(stage.at.journal.list().await.unwrap().len(), 2);
    let remote: &dyn Remote = &*stage.at.node.remote;
    let state = stage.folder.path().join("state").display().to_string();
    let healed = heal_node_in(remote, &state).await.unwrap();
    assert!(
        healed.iter().all(|it| it.healing == Healing::Undone),
        "{healed:?}"
    );
    assert_eq!(healed.len(), 2);
    assert_eq!(stage.mounts(), before);
    // What a system has open it keeps, without faults; and it is the plain file.
    open.write_all_at(b"two", 0).unwrap();
    assert_eq!(fs::read(stage.beneath("wal")).unwrap(), b"two");
    assert!(!stage.servers().is_empty());
    drop(open);
    stage.gone().await;
}

#[tokio::test]
async fn writes_that_stand_still_are_in_nobodys_way() {
    let Some(stage) = Stage::new("busy") else {
        return;
    };
    stage.disks.interpose().await.unwrap();
    // There is much to forget before what is written comes up.
    let many: Vec<File> = (0..1000)
        .map(|number| synced(&stage.seen(&format!("old-{number}")), b"old"))
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let write = |number: usize| {
        let (path, over) = (stage.seen(&format!("wal-{number}")), over.clone());
        std::thread::spawn(move || {
            let file = File::create(path).unwrap();
            while !over.load(Ordering::Relaxed) {
                file.write_all_at(&[7; 8192], 0).unwrap();
            }
        })
    };
    let writers: Vec<_> = (0..4).map(write).collect();
    // Writes begin while the kernel is told to forget what it has read, for which it waits for them.
    for _ in 0..20 {
        let all = ["read", "write", "sync"];
        stage.rule(&all, None, DiskEffect::Stall).await;
        stage.calm().await;
    }
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    drop(many);
    stage.disks.withdraw().await.unwrap();
    stage.gone().await;
}

#[tokio::test]
async fn no_mount_is_left_without_its_process() {
    let Some(stage) = Stage::new("killed") else {
        return;
    };
    let before = stage.mounts();
    stage.disks.interpose().await.unwrap();
    synced(&stage.seen("wal"), b"one");
    // The one that serves is a child of the one that waits.
    let servers = stage.servers();
    let parent = |pid: u32| -> u32 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after = stat.rsplit(") ").next().unwrap();
        after.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let serving = servers
        .iter()
        .find(|pid| servers.contains(&parent(**pid)))
        .unwrap();
    let killed = Process::new("kill")
        .args(["-KILL", &serving.to_string()])
        .status();
    assert!(killed.unwrap().success());
    stage.gone().await;
    assert_eq!(stage.mounts(), before);
    assert_eq!(fs::read(stage.seen("wal")).unwrap(), b"one");
    // It can be put there again.
    stage.disks.interpose().await.unwrap();
    assert_eq!(fs::read(stage.seen("wal")).unwrap(), b"one");
    // Both are gone: a mount that answers nobody, which heals all the same.
    for pid in stage.servers() {
        let _ = Process::new("kill")
            .args(["-STOP", &pid.to_string()])
            .status();
    }
    for pid in stage.servers() {
        let _ = Process::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status();
    }
    stage.gone().await;
    // Who asks while the last one is still ending is sent away a little later than who asks afterwards.
    let error = fs::read(stage.seen("wal")).unwrap_err();
    let nobody = [ErrorKind::NotConnected, ErrorKind::ConnectionAborted];
    assert!(nobody.contains(&error.kind()), "{error}");
    let remote: &dyn Remote = &*stage.at.node.remote;
    let state = stage.folder.path().join("state").display().to_string();
    heal_node_in(remote, &state).await.unwrap();
    assert_eq!(stage.mounts(), before);
    assert_eq!(fs::read(stage.seen("wal")).unwrap(), b"one");
}

#[tokio::test]
async fn damage_is_read_back_and_is_where_it_is_said_to_be() {
    let Some(stage) = Stage::new("corrupt") else {
        return;
    };
    let before = vec![7; 40_000];
    fs::write(stage.seen("x.db"), &before).unwrap();
    fs::write(stage.seen("y"), &before).unwrap();
    let corruption = Corruption {
        damage: Damage::Bitflip { probability: 1e-4 },
        glob: "*.db".to_owned(),
        files: 5,
        from: 0,
        to: None,
        chunk: 4096,
        every: (0, 1),
        older_ms: 0,
        seed: 3,
    };
    let name = Name::from("n1");
    let evidence = stage.disks.corrupt(&name, &corruption).await.unwrap();
    let after = fs::read(stage.seen("x.db")).unwrap();
    let different = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(different > 0);
    assert_eq!(evidence["bytes"], different);
    assert_eq!(fs::read(stage.seen("y")).unwrap(), before);
    let nothing = Corruption {
        glob: "*.nothing".to_owned(),
        ..corruption
    };
    let refused = stage.disks.corrupt(&name, &nothing).await.unwrap_err();
    assert!(matches!(refused, CapabilityError::NotDone(_)), "{refused}");
}

#[tokio::test]
async fn data_goes_back_through_the_file_system_for_good() {
    let Some(stage) = Stage::new("keep and put back") else {
        return;
    };
    let node: Name = "n1".into();
    for interposed in [false, true] {
        if interposed {
            stage.disks.interpose().await.unwrap();
        }
        drop(synced(&stage.seen("wal"), b"yesterday"));
        stage.disks.keep(&node).await.unwrap();
        let noted = stage.at.journal.list().await.unwrap();
        assert!(
            noted
                .iter()
                .any(|entry| entry.fault == "a copy of the data")
        );
        drop(synced(&stage.seen("wal"), b"today"));
        drop(synced(&stage.seen("new"), b"acknowledged"));
        let different = stage.disks.put_back(&node).await.unwrap();
        assert_eq!(different["files"], 2);
        let read = |name: &str| fs::read_to_string(stage.seen(name));
        assert_eq!(read("wal").unwrap(), "yesterday");
        assert!(read("new").is_err());
        if interposed {
            // It was put back durably.
            stage
                .disks
                .cut_power(&node, Survival::Nothing, 1)
                .await
                .unwrap();
            assert_eq!(read("wal").unwrap(), "yesterday");
            assert!(read("new").is_err());
        }
        let lost = stage.disks.wipe(&node).await.unwrap();
        assert_eq!(lost["files"], 1 + u64::from(!interposed));
        assert_eq!(fs::read_dir(stage.seen("")).unwrap().count(), 0);
    }
    stage
        .disks
        .cut_power(&node, Survival::Nothing, 1)
        .await
        .unwrap();
    assert_eq!(fs::read_dir(stage.seen("")).unwrap().count(), 0);

    // A copy that nobody puts back goes with the controller.
    drop(synced(&stage.seen("wal"), b"x"));
    stage.disks.keep(&node).await.unwrap();
    let copy = stage.folder.path().join("state/copy-of-data");
    assert!(copy.exists());
    stage.disks.discard(&node).await.unwrap();
    assert!(!copy.exists());
    stage.disks.keep(&node).await.unwrap();
    let healed = heal_node_in(&*stage.at.node.remote, &stage.at_folder())
        .await
        .unwrap();
    assert!(
        healed.iter().all(|it| it.healing == Healing::Undone),
        "{healed:?}"
    );
    assert!(!copy.exists());
    stage.gone().await;
}

#[tokio::test]
async fn what_is_removed_beneath_a_mount_stays_removed() {
    let Some(stage) = Stage::new("removal") else {
        return;
    };
    let node: Name = "n1".into();
    stage.disks.interpose().await.unwrap();
    fs::create_dir_all(stage.seen("member/wal")).unwrap();
    drop(synced(
        &stage.seen("member/wal/0"),
        b"of a member that is no more",
    ));
    let data = stage.folder.path().join("data");
    let remote = &*stage.at.node.remote;
    harness::node::files::remove(remote, data.to_str().unwrap())
        .await
        .unwrap();
    stage
        .disks
        .cut_power(&node, Survival::Nothing, 1)
        .await
        .unwrap();
    assert_eq!(fs::read_dir(stage.seen("")).unwrap().count(), 0);
    stage.disks.withdraw().await.unwrap();
    stage.gone().await;
}
