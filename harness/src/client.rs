//! What talks to the system under test.

use std::sync::Arc;

use async_trait::async_trait;
use store::{EventType, Name, OpError, Value};

use crate::recovery::RecoveryProbe;

/// What to do: an operation without who and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// The function: `read`, `write`, `cas`, `start` …
    pub f: Name,
    /// The key, for workloads of independent keys.
    pub key: Option<Value>,
    /// The arguments.
    pub value: Value,
}

impl Op {
    /// An operation without a key.
    pub fn new(f: impl Into<Name>, value: Value) -> Op {
        Op {
            f: f.into(),
            key: None,
            value,
        }
    }

    /// The same operation on a key.
    pub fn on_key(mut self, key: Value) -> Op {
        self.key = Some(key);
        self
    }
}

/// An operation as a client receives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// The index of its `invoke` event. Sent along where the protocol allows, so that a server's log
    /// can be searched for one operation.
    pub index: u64,
    /// What to do.
    pub op: Op,
}

/// How an operation ended, as the client saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// `Ok`, `Fail` or `Info`; never `Invoke`.
    pub kind: EventType,
    /// The result of a read; for anything else usually the arguments again.
    pub value: Value,
    /// Why it did not end `Ok`.
    pub error: Option<OpError>,
    /// The node that answered, as the client saw it.
    pub node: Option<Name>,
}

impl Completion {
    /// It happened.
    pub fn ok(value: Value) -> Completion {
        Completion {
            kind: EventType::Ok,
            value,
            error: None,
            node: None,
        }
    }

    /// It did not happen, and provably never will.
    pub fn fail(value: Value, error: OpError) -> Completion {
        Completion {
            kind: EventType::Fail,
            value,
            error: Some(error),
            node: None,
        }
    }

    /// Nobody knows.
    pub fn info(value: Value, error: OpError) -> Completion {
        Completion {
            kind: EventType::Info,
            value,
            error: Some(error),
            node: None,
        }
    }

    /// The same completion, with the node that answered.
    pub fn from_node(mut self, node: Name) -> Completion {
        self.node = Some(node);
        self
    }
}

/// A client of one process. It performs one operation at a time, never retries in secret, and is
/// dropped when an operation ends `info`: nothing of it is reused by the next process.
#[async_trait]
pub trait Client: Send {
    /// Performs an operation. An error that is not provably "did not happen" is `info`.
    ///
    /// The interpreter bounds it by the operation time limit and drops the future when that passes.
    async fn invoke(&mut self, invocation: &Invocation) -> Completion;

    /// Says goodbye to the server, if there is anything to say. Bounded by a time limit.
    async fn close(&mut self) {}
}

/// Who a client is opened for.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The worker, from 0. Worker `i` is pinned to node `i mod n`.
    pub worker: usize,
    /// The process.
    pub process: u64,
    /// The node that the worker is pinned to.
    pub node: Name,
}

/// Opens clients.
#[async_trait]
pub trait Connect: Send + Sync {
    /// A fresh client, with connections of its own. An error means that nothing was sent.
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError>;

    /// Makes what clients need to be there: an index, tables. It is done when every node is healthy, before the first client is opened and
    /// any fault begins; tried again for a while where it fails, so it must not mind what an earlier try has made. By default there is
    /// nothing to make. Not asked of simulated systems.
    ///
    /// # Errors
    /// What could not be made, and why.
    async fn prepare(&self) -> Result<(), String> {
        Ok(())
    }

    /// What proves, after all faults are healed, that the system takes fresh writes and shows them on every
    /// node. Without it, a node counts as recovered when it says that it is healthy.
    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        None
    }
}

/// Opens clients, shared by all workers.
pub type SharedConnect = Arc<dyn Connect>;
