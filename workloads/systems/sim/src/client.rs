//! Clients of the simulated store.

use async_trait::async_trait;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use store::{Name, OpError};

use crate::handle::Handle;
use crate::machine::Command;
use crate::message::{NodeId, Refusal};

/// Opens clients.
pub(crate) struct Connector(pub(crate) Handle);

#[async_trait]
impl Connect for Connector {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let unknown = || OpError::new("unknown-node", format!("there is no node {}", info.node));
        let node = self.0.with(|cluster| cluster.node(&info.node));
        Ok(Box::new(SimClient {
            handle: self.0.clone(),
            node: node.ok_or_else(unknown)?,
            name: info.node.clone(),
        }))
    }
}

/// A client of one node. Opening it costs nothing: whether anyone listens shows with the first
/// request, which is then not sent.
struct SimClient {
    handle: Handle,
    node: NodeId,
    name: Name,
}

#[async_trait]
impl Client for SimClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let op = &invocation.op;
        let command = match Command::lower(op) {
            Ok(command) => command,
            Err(why) => {
                return Completion::fail(op.value.clone(), OpError::new("unsupported", why));
            }
        };
        let is_read = command.is_read();
        let (completion, answered) = match self.handle.request(self.node, command).await {
            Ok(output) => (output.raise(op), true),
            Err(refusal) => (refuse(op, refusal, is_read), refusal.answered),
        };
        match answered {
            true => completion.from_node(self.name.clone()),
            false => completion,
        }
    }
}

/// How a refused operation ends.
fn refuse(op: &Op, refusal: Refusal, is_read: bool) -> Completion {
    let error = OpError::new(refusal.class, refusal.message);
    // A read that was not answered did nothing, whatever became of it.
    match refusal.certain || is_read {
        true => Completion::fail(op.value.clone(), error),
        false => Completion::info(op.value.clone(), error),
    }
}
