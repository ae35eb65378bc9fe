//! Faults of Elasticsearch's own: what it offers to those who run it.
//!
//! Each is a program for a node's shell (`faults/`), so that whoever comes can undo it without us. It has the verbs `start`, `verify` and `undo`;
//! `start` ends with 75 where nothing was done.

use async_trait::async_trait;
use harness::capability::{CapabilityError, SystemSeen};
use harness::db::{DbFault, DbFaults, DbUndo};
use harness::node::files;
use harness::remote::{Command, Node, Output, quote};
use harness::{Value, json};

use crate::config::HOME;
use crate::db::ElasticsearchDb;

const REOPEN: &str = "reopen";
const RELOCATE: &str = "relocate";

/// All of them.
pub(crate) const FAULTS: &[DbFault] = &[
    DbFault {
        name: REOPEN,
        summary: "Closes the workload's index, on all nodes, and opens it again. The cluster's state must say that it is closed, and at the end that \
                  it is open.",
        spares_leaders: false,
    },
    DbFault {
        name: RELOCATE,
        summary: "Moves the copies of shards that a node has to others. One must be seen to move, or to be gone. At the end they may come back.",
        spares_leaders: false,
    },
];

/// How `start` ends where nothing was done.
const NOTHING_DONE: i32 = 75;
/// Characters of what a program says that are kept.
const SAID_MAX: usize = 1000;

fn program(fault: &str) -> Option<&'static str> {
    match fault {
        REOPEN => Some(concat!(
            include_str!("faults/common.sh"),
            include_str!("faults/reopen.sh")
        )),
        RELOCATE => Some(concat!(
            include_str!("faults/common.sh"),
            include_str!("faults/relocate.sh")
        )),
        _ => None,
    }
}

/// Where a fault's program is on a node.
fn place(fault: &str) -> String {
    format!("{HOME}/faults/{fault}")
}

/// What runs a verb.
fn call(fault: &str, node: &Node, verb: &str) -> String {
    let place = place(fault);
    format!(
        "GAINSAY_NODE={} {} {verb}",
        quote(&node.name),
        quote(&place)
    )
}

/// What a program said on both outputs, as much as is kept.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    text.trim().chars().take(SAID_MAX).collect()
}

/// Runs a verb. That it could not be run tells nothing.
async fn run(fault: &str, node: &Node, verb: &str) -> Result<Output, CapabilityError> {
    let command = Command::new(call(fault, node, verb));
    let output = node.remote.run(command).await;
    output.map_err(|error| CapabilityError::Indeterminate(error.to_string()))
}

#[async_trait]
impl DbFaults for ElasticsearchDb {
    fn known(&self) -> &'static [DbFault] {
        FAULTS
    }

    fn undo_script(&self, fault: &str, node: &Node, _: &[Node]) -> DbUndo {
        // Where there is no program, nothing was begun.
        let absent = format!("[ ! -e {} ]", quote(&place(fault)));
        DbUndo {
            undo: format!("{absent} || {}", call(fault, node, "undo")),
            verify: format!("{absent} || ! {}", call(fault, node, "verify")),
        }
    }

    async fn strike(
        &self,
        fault: &str,
        node: &Node,
        _: &[Node],
    ) -> Result<SystemSeen, CapabilityError> {
        let not_done = |why: String| CapabilityError::NotDone(format!("{}: {why}", node.name));
        let program = program(fault).ok_or_else(|| not_done(format!("no fault {fault:?}")))?;
        let folder = files::mkdir(&*node.remote, &format!("{HOME}/faults")).await;
        folder.map_err(|error| not_done(error.to_string()))?;
        let place = place(fault);
        let put = node.remote.write(&place, program.into(), 0o755).await;
        put.map_err(|error| not_done(error.to_string()))?;
        let started = run(fault, node, "start").await?;
        match started.status {
            0 => {}
            NOTHING_DONE => return Err(not_done(said(&started))),
            status => {
                let why = format!("{}: exit code {status}: {}", node.name, said(&started));
                return Err(CapabilityError::Indeterminate(why));
            }
        }
        let verified = run(fault, node, "verify").await?;
        Ok(SystemSeen {
            seen: json!(said(&verified)),
            effective: Some(verified.status == 0),
        })
    }

    async fn undo(
        &self,
        fault: &str,
        node: &Node,
        nodes: &[Node],
    ) -> Result<SystemSeen, CapabilityError> {
        let script = self.undo_script(fault, node, nodes).undo;
        let output = node.remote.run(Command::new(script)).await;
        let output = output.map_err(|error| CapabilityError::Indeterminate(error.to_string()))?;
        match output.status {
            0 => Ok(SystemSeen {
                seen: Value::Null,
                effective: None,
            }),
            status => Err(CapabilityError::Indeterminate(format!(
                "{}: exit code {status}: {}",
                node.name,
                said(&output)
            ))),
        }
    }
}
