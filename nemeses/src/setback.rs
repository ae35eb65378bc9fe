//! Data that goes back, or away, as a whole, across a stop of the system: variants of [`corrupt`](crate::corrupt).
//!
//! A node that is restored from an older backup, or that comes back with an empty disk, has forgotten what it acknowledged and
//! whom it voted for. No protocol whose nodes are to have stable storage survives that with the usual number of nodes: with three,
//! an entry that is on two of them is lost when one of these forgets it. etcd notices that its log is too short, and ends. So
//! neither is ever drawn.

use std::time::Duration;

use harness::capability::{CapabilityError, Disks, Environment, ProcessState, Processes, Signal};
use harness::time::{Clock, sleep};
use harness::{Name, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::action::{disks, present, processes, start_again};
use crate::outcome::message;

/// What becomes of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Setback {
    /// It is again what it was some time before.
    Restore,
    /// It is gone.
    Wipe,
}

impl Setback {
    pub(crate) const ALL: [Setback; 2] = [Setback::Restore, Setback::Wipe];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Setback::Restore => "restore",
            Setback::Wipe => "wipe",
        }
    }

    pub(crate) fn summary(self) -> &'static str {
        match self {
            Setback::Restore => {
                "The node is restored from a backup: stopped, copied and started; and after the time `back` stopped, given the copy in the \
                 place of its data, and started. Never drawn: few systems are made to survive it."
            }
            Setback::Wipe => {
                "The node loses its disk: stopped, all its data deleted, and started with none, as the member that it was. Never drawn: few \
                 systems are made to survive it (see membership:rejoin for how it should be done)."
            }
        }
    }

    /// Does it to a node. What is different then.
    pub(crate) async fn strike(
        self,
        env: &Environment,
        clock: &dyn Clock,
        node: &Name,
        back: Duration,
    ) -> Result<Value, CapabilityError> {
        let processes = processes(env).map_err(CapabilityError::NotDone)?;
        let disks = disks(env).map_err(CapabilityError::NotDone)?;
        present(processes, node).await?;
        stop(processes, node).await?;
        // It is down from here on, whatever comes.
        let done = match self {
            Setback::Restore => restore(processes, disks, clock, node, back).await,
            Setback::Wipe => wipe(processes, disks, node).await,
        };
        done.map_err(|error| CapabilityError::Indeterminate(message(error)))
    }

    /// What is left to be undone: whatever went wrong on the way.
    pub(crate) async fn undo(
        self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Value, String> {
        disks(env)?.discard(node).await.map_err(message)?;
        start_again(env, node, holder).await
    }
}

async fn stop(processes: &dyn Processes, node: &Name) -> Result<(), CapabilityError> {
    match processes.signal(node, Signal::KILL).await? {
        ProcessState::Absent => Ok(()),
        state => Err(CapabilityError::Indeterminate(
            format!("{node}: killed, the process is still {state:?}").to_lowercase(),
        )),
    }
}

async fn restore(
    processes: &dyn Processes,
    disks: &dyn Disks,
    clock: &dyn Clock,
    node: &Name,
    back: Duration,
) -> Result<Value, CapabilityError> {
    disks.keep(node).await?;
    processes.start(node).await?;
    sleep(clock, back).await;
    stop(processes, node).await?;
    let different = disks.put_back(node).await?;
    processes.start(node).await?;
    Ok(different)
}

async fn wipe(
    processes: &dyn Processes,
    disks: &dyn Disks,
    node: &Name,
) -> Result<Value, CapabilityError> {
    let lost = disks.wipe(node).await?;
    let state = processes.start_empty(node).await?;
    Ok(
        json!({"bytes": lost["bytes"], "files": lost["files"], "examples": lost["examples"], "then": state}),
    )
}
