//! Programs of the user's own, put on nodes and run there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::try_join_all;
use harness::Name;
use harness::capability::{CapabilityError, Script, Scripts};
use harness::node::undo::Undo;
use harness::remote::{Command, Output, quote};

use super::journaled::{Journaled, Standing, find, no_answer, started};

/// The exit code that says that nothing was done: `EX_TEMPFAIL`.
const NOTHING_DONE: i32 = 75;
/// The status of a start that was not followed by a proof.
const UNPROVED: i32 = 76;
/// How much of what it says is kept.
const SAID_MAX: usize = 1000;

/// Runs programs on these nodes.
pub struct NodeScripts {
    nodes: Vec<Journaled>,
    /// By the program's name: one that ends must not take back what another has written down.
    standing: Mutex<BTreeMap<String, Arc<Standing>>>,
}

impl NodeScripts {
    /// Programs on these nodes.
    pub fn new(nodes: &[Journaled]) -> NodeScripts {
        NodeScripts {
            nodes: nodes.to_vec(),
            standing: Mutex::default(),
        }
    }

    fn standing(&self, script: &Script) -> Arc<Standing> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(standing.entry(script.name.clone()).or_default())
    }

    /// What runs a verb.
    fn call(&self, at: &Journaled, script: &Script, verb: &str) -> String {
        let nodes: Vec<&str> = self.nodes.iter().map(|at| &*at.node.name).collect();
        format!(
            "GAINSAY_NODE={} GAINSAY_NODES={} {} {verb}",
            quote(&at.node.name),
            quote(&nodes.join(" ")),
            quote(&place(at, script))
        )
    }

    async fn put(&self, at: &Journaled, script: &Script) -> Result<(), String> {
        let place = place(at, script);
        let folder = Command::new(format!("mkdir -p -- {}", quote(&at.folder))).idempotent();
        let remote = &at.node.remote;
        remote
            .exec(folder)
            .await
            .map_err(|error| error.to_string())?;
        let put = remote.write(&place, script.contents.to_vec(), 0o755).await;
        put.map_err(|error| error.to_string())?;
        let probe = Command::new(self.call(at, script, "probe"));
        let output = remote.run(probe).await.map_err(|error| error.to_string())?;
        match output.status {
            0 => Ok(()),
            status => Err(format!(
                "{}: {} probe says no (exit code {status}): {}",
                at.node.name,
                script.name,
                said(&output)
            )),
        }
    }
}

fn place(at: &Journaled, script: &Script) -> String {
    format!("{}/{}", at.folder, script.name)
}

/// What a program said on both outputs, as much as is kept.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    text.trim().chars().take(SAID_MAX).collect()
}

#[async_trait]
impl Scripts for NodeScripts {
    async fn probe(&self, script: &Script) -> Result<(), String> {
        let put = self.nodes.iter().map(|at| self.put(at, script));
        try_join_all(put).await?;
        started(&self.nodes).await
    }

    async fn start(&self, script: &Script, node: &Name) -> Result<Option<String>, CapabilityError> {
        let at = find(&self.nodes, node)?;
        let verify = self.call(at, script, "verify");
        let undo = Undo {
            fault: script.name.clone(),
            undo: self.call(at, script, "undo"),
            verify: format!("! {verify}"),
            survives_reboot: true,
            process: None,
        };
        let start = self.call(at, script, "start");
        let act = Command::new(format!(
            "{start} >&2 || exit $?; {verify} || exit {UNPROVED}"
        ));
        let standing = self.standing(script);
        standing.note(at, &undo).await?;
        let output = match at.node.remote.run(act).await.map_err(no_answer) {
            Err(CapabilityError::NotDone(why)) => {
                standing.settle(at).await?;
                return Err(CapabilityError::NotDone(why));
            }
            known => known?,
        };
        match output.status {
            0 => {
                let proof = output.text().trim().chars().take(SAID_MAX).collect();
                Ok(Some(proof))
            }
            UNPROVED => Ok(None),
            NOTHING_DONE => {
                standing.settle(at).await?;
                let why = format!("{node}: {} did nothing: {}", script.name, said(&output));
                Err(CapabilityError::NotDone(why))
            }
            status => {
                let said = said(&output);
                let why = format!("{node}: {} start: exit code {status}: {said}", script.name);
                Err(CapabilityError::Indeterminate(why))
            }
        }
    }

    async fn undo(&self, script: &Script, node: &Name) -> Result<(), CapabilityError> {
        let at = find(&self.nodes, node)?;
        let undo = self.call(at, script, "undo");
        let verify = self.call(at, script, "verify");
        let act = Command::new(format!("{undo} && ! {verify}"));
        let standing = self.standing(script);
        let output = standing.undo(at, act).await.map_err(|error| match error {
            CapabilityError::NotDone(why) => CapabilityError::Indeterminate(why),
            other => other,
        })?;
        match output.status {
            0 => Ok(()),
            status => {
                let said = said(&output);
                let why = format!(
                    "{} is still in force, or says so: exit code {status}: {said}",
                    script.name
                );
                Err(CapabilityError::Indeterminate(why))
            }
        }
    }
}
