//! Faults of a system's own, whose system is a file.
#![allow(clippy::unwrap_used)]

#[path = "common/part.rs"]
mod part;
#[path = "common/shell.rs"]
mod shell;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, SystemSeen};
use harness::client::Op;
use harness::db::{DbFault, DbFaults, DbUndo};
use harness::fault::FaultOutcome;
use harness::node::undo::{Healing, heal_node_in};
use harness::remote::Node;
use harness::seed::Seed;
use harness::time::RealClock;
use harness::{Name, Value, json};
use nemeses::ssh::{Journaled, NodeSystemFaults};
use nemeses::{BuildContext, Composition, Package, build, parse};
use tempfile::TempDir;

use part::{Part, System};
use shell::Shell;

const KNOWN: &[DbFault] = &[
    DbFault {
        name: "mark",
        summary: "Makes a file.",
        spares_leaders: false,
    },
    DbFault {
        name: "never",
        summary: "Does nothing.",
        spares_leaders: false,
    },
];

/// Makes a file, and removes it.
struct Marks(PathBuf);

impl Part for Marks {
    fn faults(&self) -> Option<&dyn DbFaults> {
        Some(self)
    }
}

#[async_trait]
impl DbFaults for Marks {
    fn known(&self) -> &'static [DbFault] {
        KNOWN
    }

    fn undo_script(&self, _: &str, _: &Node, _: &[Node]) -> DbUndo {
        let mark = self.0.display();
        DbUndo {
            undo: format!("rm -f {mark}"),
            verify: format!("[ ! -e {mark} ]"),
        }
    }

    async fn strike(
        &self,
        fault: &str,
        _: &Node,
        _: &[Node],
    ) -> Result<SystemSeen, CapabilityError> {
        if fault == "never" {
            return Err(CapabilityError::NotDone("not today".to_owned()));
        }
        std::fs::write(&self.0, "x").unwrap();
        Ok(SystemSeen {
            seen: json!("made"),
            effective: Some(true),
        })
    }

    async fn undo(&self, _: &str, _: &Node, _: &[Node]) -> Result<SystemSeen, CapabilityError> {
        std::fs::remove_file(&self.0).unwrap();
        Ok(SystemSeen {
            seen: json!("removed"),
            effective: None,
        })
    }
}

struct Stage {
    folder: TempDir,
    env: Environment,
    package: Package,
    node: Node,
}

fn stage(fault: &str) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let name = Name::from("n1");
    let node = Node {
        name: name.clone(),
        address: "127.0.0.1".into(),
        remote: Arc::new(Shell::new(name.clone(), &[])),
    };
    let state = folder.path().join("state");
    let at = Journaled::new_in(&node, "test", state.to_str().unwrap());
    let ctx = BuildContext {
        seed: Seed::new(1),
        time_limit: Duration::from_secs(60),
        election_timeout: Duration::ZERO,
        leaders: false,
        nodes: vec![name.clone()],
        zones: nemeses::Zones::default(),
        clock: Arc::new(RealClock::start()),
        composition: Composition::default(),
    };
    let text = format!("system:fault={fault}:target=all");
    let mut packages = build(&parse(&text).unwrap(), &ctx).unwrap();
    let db = Arc::new(System(Marks(folder.path().join("mark"))));
    Stage {
        env: Environment {
            nodes: vec![name],
            system_faults: Some(Arc::new(NodeSystemFaults::new(&[at], db))),
            ..Environment::default()
        },
        package: packages.remove(0),
        folder,
        node,
    }
}

impl Stage {
    async fn invoke(&mut self, f: &str) -> FaultOutcome {
        let op = Op::new(f, self.package.planned[0].value.clone());
        self.package.fault.invoke(&self.env, &op).await
    }

    /// Whether the file is there, and how many entries the journal has.
    fn seen(&self) -> (bool, usize) {
        let folder: &Path = self.folder.path();
        let entries = std::fs::read_dir(folder.join("state/undo"));
        (
            folder.join("mark").exists(),
            entries.map_or(0, Iterator::count),
        )
    }
}

fn installed(outcome: FaultOutcome) -> Value {
    match outcome {
        FaultOutcome::Installed(value) => value,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_acts_with_an_entry_in_the_journal_and_is_undone() {
    let mut stage = stage("mark");
    assert_eq!(&*stage.package.name, "system-mark");
    stage.package.fault.probe(&stage.env).await.unwrap();
    let started = installed(stage.invoke("start").await);
    assert_eq!(started["effective"], true);
    assert_eq!(started["seen"]["n1"], "made");
    assert_eq!(stage.seen(), (true, 1));
    let stopped = installed(stage.invoke("stop").await);
    assert_eq!(stopped["seen"]["n1"], "removed");
    assert_eq!(stage.seen(), (false, 0));
}

#[tokio::test]
async fn whoever_comes_undoes_it() {
    let mut stage = stage("mark");
    installed(stage.invoke("start").await);
    let state = stage.folder.path().join("state");
    let healed = heal_node_in(&*stage.node.remote, state.to_str().unwrap()).await;
    let healed = healed.unwrap();
    assert_eq!(healed[0].healing, Healing::Undone, "{healed:?}");
    assert_eq!(healed[0].fault, "mark");
    assert_eq!(stage.seen(), (false, 0));
}

#[tokio::test]
async fn what_the_system_does_not_have_is_refused_and_what_did_nothing_leaves_nothing() {
    let mut unknown = stage("nothing");
    let refused = unknown.package.fault.probe(&unknown.env).await;
    let why = refused.unwrap_err();
    assert!(
        why.contains("no fault `nothing`; it has mark, never"),
        "{why}"
    );
    let mut never = stage("never");
    let skipped = never.invoke("start").await;
    assert!(matches!(skipped, FaultOutcome::Skipped(_)), "{skipped:?}");
    assert_eq!(never.seen(), (false, 0));
    // Without a name there is nothing to do.
    assert!(parse("system").is_ok());
}
