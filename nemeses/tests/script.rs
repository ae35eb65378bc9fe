//! A fault that is a program of the user's own, on this machine's shell.
#![allow(clippy::unwrap_used)]

#[path = "common/alone.rs"]
mod alone;
#[path = "common/shell.rs"]
mod shell;

use std::sync::Arc;

use harness::Value;
use harness::capability::Environment;
use harness::client::Op;
use harness::fault::FaultOutcome;
use harness::node::undo::Healing;
use nemeses::Package;
use nemeses::ssh::NodeScripts;

use alone::{Alone, installed, package};

/// A node with a program of the user's.
struct Stage {
    alone: Alone,
    env: Environment,
    package: Package,
    value: Value,
}

/// Each word of `broken` makes a verb do something else.
fn stage(broken: &str) -> Stage {
    let alone = Alone::new();
    let mark = alone.folder().join("mark");
    let program = format!(
        "#!/bin/sh\n\
         case $1-{broken} in\n\
         probe-refuses) echo 'no such luck' >&2; exit 1;;\n\
         start-nothing) echo 'not today'; exit 75;;\n\
         start-half) echo half >{mark}; exit 1;;\n\
         verify-silent) exit 1;;\n\
         esac\n\
         case $1 in\n\
         start) echo \"$GAINSAY_NODE of $GAINSAY_NODES\" >{mark};;\n\
         verify) cat {mark} 2>/dev/null;;\n\
         undo) rm -f {mark};;\n\
         esac\n",
        mark = mark.display()
    );
    let file = alone.folder().join("Disk hog.sh");
    std::fs::write(&file, program).unwrap();
    let package = package(&format!("script:file={}:target=all", file.display()));
    Stage {
        env: Environment {
            nodes: vec![alone::NAME.into()],
            scripts: Some(Arc::new(NodeScripts::new(&[alone.journaled()]))),
            ..Environment::default()
        },
        value: package.planned[0].value.clone(),
        package,
        alone,
    }
}

impl Stage {
    async fn invoke(&mut self, f: &str) -> FaultOutcome {
        let op = Op::new(f, self.value.clone());
        self.package.fault.invoke(&self.env, &op).await
    }

    fn mark(&self) -> Option<String> {
        std::fs::read_to_string(self.alone.folder().join("mark")).ok()
    }
}

/// Another program of the same kind beside the first, and its fault.
fn second(stage: &Stage) -> (Package, std::path::PathBuf) {
    let folder = stage.alone.folder();
    let mark = folder.join("second-mark");
    let first = std::fs::read_to_string(folder.join("Disk hog.sh")).unwrap();
    let ours = first.replace(
        &folder.join("mark").display().to_string(),
        &mark.display().to_string(),
    );
    let file = folder.join("second.sh");
    std::fs::write(&file, ours).unwrap();
    let package = package(&format!("script:file={}:target=all", file.display()));
    (package, mark)
}

/// Two programs in force on a node, and the mark of the second.
async fn two_in_force() -> (Stage, Package, std::path::PathBuf) {
    let mut stage = stage("");
    let (mut other, others_mark) = second(&stage);
    stage.package.fault.probe(&stage.env).await.unwrap();
    other.fault.probe(&stage.env).await.unwrap();
    installed(stage.invoke("start").await);
    let start = Op::new("start", other.planned[0].value.clone());
    installed(other.fault.invoke(&stage.env, &start).await);
    (stage, other, others_mark)
}

#[tokio::test]
async fn two_programs_at_once_are_undone_each_by_itself() {
    // The first to begin ends first, and then the last.
    for first_ends in [true, false] {
        let (mut stage, mut other, others_mark) = two_in_force().await;
        assert_eq!(stage.alone.entries(), 2);
        if first_ends {
            installed(stage.invoke("stop").await);
        } else {
            let stop = Op::new("stop", Value::Null);
            installed(other.fault.invoke(&stage.env, &stop).await);
        }
        let (ended, stands) = (stage.mark().is_none(), others_mark.exists());
        assert_eq!((ended, stands), (first_ends, first_ends));
        // What still stands is on record, and the program that undoes it is there.
        assert_eq!(stage.alone.entries(), 1);
        let healed = stage.alone.heal().await;
        let healed: Vec<&Healing> = healed.iter().map(|it| &it.healing).collect();
        assert_eq!(healed, [&Healing::Undone]);
        assert!(stage.mark().is_none() && !others_mark.exists());
        assert!(stage.alone.is_clean());
    }
}

#[tokio::test]
async fn two_programs_of_a_controller_that_is_gone_are_undone() {
    let (stage, _other, others_mark) = two_in_force().await;
    let healed = stage.alone.heal().await;
    let healed: Vec<(&str, &Healing)> = healed.iter().map(|it| (&*it.fault, &it.healing)).collect();
    let undone = ["script-second", "script-disk-hog"].map(|it| (it, &Healing::Undone));
    assert_eq!(healed, undone);
    assert!(stage.mark().is_none() && !others_mark.exists());
    assert!(stage.alone.is_clean());
}

#[tokio::test]
async fn it_acts_proves_it_and_is_undone() {
    let mut stage = stage("");
    assert_eq!(&*stage.package.name, "script-disk-hog");
    stage.package.fault.probe(&stage.env).await.unwrap();
    let value = installed(stage.invoke("start").await);
    assert_eq!(value["effective"], true);
    assert_eq!(value["proof"]["n1"], "n1 of n1");
    assert_eq!(stage.mark().unwrap(), "n1 of n1\n");
    assert_eq!(stage.alone.entries(), 1);
    installed(stage.invoke("stop").await);
    assert_eq!((stage.mark(), stage.alone.entries()), (None, 0));
}

#[tokio::test]
async fn without_proof_it_did_not_take_effect() {
    let mut stage = stage("silent");
    stage.package.fault.probe(&stage.env).await.unwrap();
    let value = installed(stage.invoke("start").await);
    assert_eq!(
        (&value["effective"], &value["proof"]["n1"]),
        (&Value::Bool(false), &Value::Null)
    );
    installed(stage.invoke("stop").await);
    assert_eq!(stage.alone.entries(), 0);
}

#[tokio::test]
async fn what_says_no_is_not_run_and_what_did_nothing_is_skipped() {
    let mut refusing = stage("refuses");
    let why = refusing
        .package
        .fault
        .probe(&refusing.env)
        .await
        .unwrap_err();
    assert!(why.contains("no such luck"), "{why}");
    let mut nothing = stage("nothing");
    nothing.package.fault.probe(&nothing.env).await.unwrap();
    let outcome = nothing.invoke("start").await;
    assert!(matches!(outcome, FaultOutcome::Skipped(error) if error.message.contains("not today")));
    assert_eq!(nothing.alone.entries(), 0);
}

#[tokio::test]
async fn what_was_done_by_half_or_by_a_controller_that_is_gone_is_undone() {
    for broken in ["half", ""] {
        let mut stage = stage(broken);
        stage.package.fault.probe(&stage.env).await.unwrap();
        let outcome = stage.invoke("start").await;
        assert_eq!(
            matches!(outcome, FaultOutcome::Indeterminate(_)),
            broken == "half"
        );
        assert!(stage.mark().is_some());
        let healed = stage.alone.heal().await;
        assert_eq!(healed.len(), 1);
        assert_eq!(healed[0].healing, Healing::Undone);
        assert_eq!(stage.mark(), None);
        // Nothing of ours is left.
        assert!(stage.alone.is_clean());
    }
}
