//! Loads on this machine, as on a node that is reached over SSH: begun, measured, ended; and undone by whoever comes.
#![allow(clippy::unwrap_used)]

#[path = "common/files.rs"]
mod files;
#[path = "common/part.rs"]
mod part;
#[path = "common/shell.rs"]
mod shell;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::Name;
use harness::capability::{CapabilityError, Load, LoadKind, LoadSeen, Loads, MemoryAmount};
use harness::node::undo::{Healing, heal_node_in};
use harness::remote::Node;
use nemeses::ssh::{Journaled, NodeLoads};
use tempfile::TempDir;

use files::Files;
use part::System;
use shell::Shell;

struct Stage {
    folder: TempDir,
    at: Journaled,
    loads: NodeLoads,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(path("data")).unwrap();
        let node = Node {
            name: "n1".into(),
            address: "127.0.0.1".into(),
            remote: Arc::new(Shell::new("n1".into(), &[])),
        };
        // What names it on the machine is its own.
        let run = format!("test-{}", folder.path().file_name().unwrap().display());
        let at = Journaled::new_in(&node, &run, &path("state"));
        let db = Arc::new(System(Files {
            data: path("data"),
            pid_file: path("pid"),
        }));
        Stage {
            loads: NodeLoads::new(std::slice::from_ref(&at), db),
            folder,
            at,
        }
    }

    async fn shown(&self) -> LoadSeen {
        for _ in 0..1000 {
            let seen = self.loads.look(&"n1".into()).await.unwrap();
            if seen.effective {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not show");
    }

    /// The processes that have to do with this stage's agent, but for the agent.
    fn workers(&self) -> usize {
        let state = self.folder.path().join("state").display().to_string();
        let lines = fs::read_dir("/proc").unwrap().flatten();
        let lines = lines.filter_map(|it| fs::read_to_string(it.path().join("cmdline")).ok());
        lines
            .filter(|line| line.starts_with(&state) && line.contains("work-load"))
            .count()
    }

    fn entries(&self, name: &str) -> usize {
        let folder = self.folder.path().join(name);
        fs::read_dir(folder).map_or(0, |entries| entries.count())
    }
}

fn load(load: LoadKind) -> Load {
    Load { load, low: true }
}

#[tokio::test]
async fn each_kind_is_measured_and_gone_afterwards() {
    let kinds = [
        LoadKind::Cpu {
            workers: None,
            share: 30,
        },
        LoadKind::Memory {
            amount: MemoryAmount::Bytes(32 << 20),
            oom: false,
        },
        LoadKind::Io {
            workers: 1,
            bytes: 1 << 20,
        },
    ];
    let stage = Stage::new();
    let node: Name = "n1".into();
    for kind in kinds {
        let load = load(kind);
        stage.loads.probe(&load).await.unwrap();
        stage.loads.begin(&node, &load).await.unwrap();
        let noted = stage.at.journal.list().await.unwrap();
        assert_eq!(noted[0].fault, "load");
        let again = stage.loads.begin(&node, &load).await;
        assert!(matches!(again, Err(CapabilityError::NotDone(_))));
        let seen = stage.shown().await;
        match load.load {
            LoadKind::Cpu { .. } => assert!(seen.cpu_ms > 0 && seen.workers > 0),
            LoadKind::Memory { .. } => assert!(seen.resident >= 32 << 20),
            LoadKind::Io { .. } => assert!(seen.synced > 0 && seen.syncs > 0),
        }
        assert_eq!(stage.workers(), 1);
        // Its files have no names.
        assert_eq!(stage.entries("data"), 0);
        assert!(stage.loads.end(&node).await.unwrap().effective);
        assert_eq!(stage.workers(), 0);
        assert_eq!(stage.at.journal.list().await.unwrap(), []);
    }
    stage.at.agent.leave().await;
    assert_eq!(fs::read_dir(stage.folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn whoever_comes_ends_it() {
    let stage = Stage::new();
    let node: Name = "n1".into();
    let load = load(LoadKind::Io {
        workers: 1,
        bytes: 1 << 20,
    });
    stage.loads.begin(&node, &load).await.unwrap();
    stage.shown().await;
    let state = stage.folder.path().join("state").display().to_string();
    let healed = heal_node_in(&*stage.at.node.remote, &state).await.unwrap();
    assert_eq!(healed.len(), 1);
    assert_eq!(healed[0].healing, Healing::Undone);
    assert_eq!(stage.workers(), 0);
    let groups = |folder: &str| {
        let name = stage
            .folder
            .path()
            .file_name()
            .unwrap()
            .display()
            .to_string();
        let entries = fs::read_dir(Path::new("/sys/fs/cgroup").join(folder));
        let entries = entries.into_iter().flatten().flatten();
        let mut names = entries.map(|it| it.file_name().to_string_lossy().into_owned());
        names.any(|it| it.contains(name.trim_start_matches('.')))
    };
    assert!(!groups("cpu") && !groups(""));
}

#[tokio::test]
async fn what_a_node_cannot_spare_is_refused_before_the_run() {
    let stage = Stage::new();
    let load = load(LoadKind::Memory {
        amount: MemoryAmount::Percent(100),
        oom: false,
    });
    let error = stage.loads.probe(&load).await.unwrap_err();
    assert!(
        error.starts_with("n1: ") && error.contains("oom=yes"),
        "{error}"
    );
}
