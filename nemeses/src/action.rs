//! What is done to nodes one by one: the trait, and what its implementations have in common.
//!
//! Whom an action strikes, what became of each node and what stands where is [`node_fault`](crate::node_fault)'s.

use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Disks, Environment, ProcessState, Processes};
use harness::seed::Rng;
use harness::time::{Clock, Nanos, nanos, sleep};
use harness::{Name, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use crate::holds::Hold;
use crate::outcome::message;

/// What is done to a node.
#[async_trait]
pub(crate) trait Action: Send + Sync + 'static {
    /// The fault's name in the history.
    fn name(&self) -> &str;

    /// Whether it can be done here, asked before the run. The error says why not.
    async fn probe(&self, env: &Environment) -> Result<(), String>;

    /// Does it to a node, as the start's value says.
    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError>;

    /// Undoes it on a node: what is seen then. The error says what still stands. Where another fault holds the node's system down,
    /// that is not started.
    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String>;

    /// What becomes of a node's system while it is in force, as the start's value says.
    fn hold(&self, _what: &Map<String, Value>) -> Hold {
        Hold::Free
    }

    /// Whether a node is down while it is in force.
    fn takes_down(&self) -> bool;

    /// Under which name the history has what was seen on each node.
    fn evidence(&self) -> &'static str;
}

/// What became of a node.
pub(crate) struct Struck {
    /// What was seen there at the end.
    pub(crate) seen: Value,
    /// Whether it is proved that this fault did that.
    pub(crate) effective: Proof,
    /// Whether the system may run again already, though it was [held](Hold).
    pub(crate) free: bool,
}

/// Whether it is proved that a fault took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It is.
    Seen,
    /// It is not.
    Missing,
    /// Only its end can tell.
    AtEnd,
}

impl From<bool> for Proof {
    fn from(seen: bool) -> Proof {
        if seen { Proof::Seen } else { Proof::Missing }
    }
}

/// What was seen of a node when it was let go.
pub(crate) struct Undone {
    /// What was seen there.
    pub(crate) seen: Value,
    /// Whether it is proved now that the fault took effect, where only its end can tell.
    pub(crate) effective: Option<bool>,
}

impl From<Value> for Undone {
    fn from(seen: Value) -> Undone {
        Undone {
            seen,
            effective: None,
        }
    }
}

/// Draws what an activity does besides whom it strikes, from its number.
pub(crate) type DrawWhat = Box<dyn Fn(u64, &mut Rng) -> Map<String, Value> + Send + Sync>;

/// What an activity does besides whom it strikes, as the value of its `start` has it.
pub(crate) fn fields(what: &impl Serialize) -> Map<String, Value> {
    match json!(what) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The same, read again.
pub(crate) fn read<T: DeserializeOwned>(what: &Map<String, Value>) -> Result<T, CapabilityError> {
    serde_json::from_value(Value::Object(what.clone()))
        .map_err(|error| CapabilityError::NotDone(error.to_string()))
}

/// A seed for each node.
pub(crate) fn seed_of(seed: u64, node: &Name) -> u64 {
    let bytes = node.bytes();
    bytes.fold(seed, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The system's processes.
pub(crate) fn processes(env: &Environment) -> Result<&dyn Processes, String> {
    let missing = "processes cannot be acted on here";
    env.processes.as_deref().ok_or_else(|| missing.to_owned())
}

/// The disks under the system's data.
pub(crate) fn disks(env: &Environment) -> Result<&dyn Disks, String> {
    let missing = "there are no disks here that could fail or lose anything";
    env.disks.as_deref().ok_or_else(|| missing.to_owned())
}

/// Sees that the system's processes are there, to be struck.
pub(crate) async fn present(processes: &dyn Processes, node: &Name) -> Result<(), CapabilityError> {
    // Looking changes nothing.
    let seen = processes.state(node).await;
    match seen.map_err(|error| CapabilityError::NotDone(message(error)))? {
        ProcessState::Absent => Err(CapabilityError::NotDone(format!(
            "{node}: the process was not there already"
        ))),
        ProcessState::Running | ProcessState::Stopped => Ok(()),
    }
}

/// Starts the system on a node again, unless another fault holds it down, which then does so. What is seen.
pub(crate) async fn start_again(
    env: &Environment,
    node: &Name,
    holder: Option<&Name>,
) -> Result<Value, String> {
    if let Some(holder) = holder {
        return Ok(json!(format!("held down by {holder}")));
    }
    match processes(env)?.start(node).await {
        Ok(ProcessState::Running) => Ok(json!(ProcessState::Running)),
        Ok(state) => Err(format!("the process is seen {state:?}").to_lowercase()),
        Err(error) => Err(message(error)),
    }
}

/// Looks at something that takes a while to show: pauses of which each is twice as long as the one before, until a limit.
pub(crate) struct Looks<'a> {
    clock: &'a dyn Clock,
    deadline: Nanos,
    pause: Duration,
}

impl<'a> Looks<'a> {
    /// The first pause, and the limit of all together.
    pub(crate) fn new(clock: &'a dyn Clock, first: Duration, limit: Duration) -> Looks<'a> {
        Looks {
            clock,
            deadline: clock.now().saturating_add(nanos(limit)),
            pause: first,
        }
    }

    /// Waits for the next look. False if it is too late for one.
    pub(crate) async fn again(&mut self) -> bool {
        if self.clock.now() >= self.deadline {
            return false;
        }
        sleep(self.clock, self.pause).await;
        self.pause *= 2;
        true
    }
}
