//! Faults of a system's own, whose system is a file.
#![allow(clippy::unwrap_used)]

#[path = "common/alone.rs"]
mod alone;
#[path = "common/part.rs"]
mod part;
#[path = "common/shell.rs"]
mod shell;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, SystemSeen};
use harness::client::Op;
use harness::db::{DbFault, DbFaults, DbUndo};
use harness::fault::FaultOutcome;
use harness::json;
use harness::node::undo::Healing;
use harness::remote::Node;
use nemeses::ssh::NodeSystemFaults;
use nemeses::{Package, parse};

use alone::{Alone, installed, package};
use part::{Part, System};

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
    alone: Alone,
    env: Environment,
    package: Package,
}

fn stage(fault: &str) -> Stage {
    let alone = Alone::new();
    let db = Arc::new(System(Marks(alone.folder().join("mark"))));
    let faults = NodeSystemFaults::new(&[alone.journaled()], db);
    Stage {
        env: Environment {
            nodes: vec![alone::NAME.into()],
            system_faults: Some(Arc::new(faults)),
            ..Environment::default()
        },
        package: package(&format!("system:fault={fault}:target=all")),
        alone,
    }
}

impl Stage {
    async fn invoke(&mut self, f: &str) -> FaultOutcome {
        let op = Op::new(f, self.package.planned[0].value.clone());
        self.package.fault.invoke(&self.env, &op).await
    }

    /// Whether the file is there, and how many entries the journal has.
    fn seen(&self) -> (bool, usize) {
        let mark = self.alone.folder().join("mark");
        (mark.exists(), self.alone.entries())
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
    let healed = stage.alone.heal().await;
    assert_eq!(healed[0].healing, Healing::Undone, "{healed:?}");
    assert_eq!(healed[0].fault, "mark");
    assert_eq!(stage.seen(), (false, 0));
    assert!(stage.alone.is_clean());
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
