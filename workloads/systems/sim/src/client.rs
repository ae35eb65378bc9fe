//! Clients of the simulated store.

use std::sync::Arc;

use async_trait::async_trait;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation, Op, SharedConnect};
use harness::recovery::RecoveryProbe;
use store::{EventType, Name, OpError, Value, json};

use crate::handle::Handle;
use crate::machine::{Command, Output, names};
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

    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        Some(Arc::new(Probe(self.0.clone())))
    }
}

/// Opens clients of workloads that call by other names what the store can do.
pub(crate) struct Renamed {
    pub(crate) connect: SharedConnect,
    /// What the workload calls it, and what the store does.
    pub(crate) names: &'static [(&'static str, &'static str)],
}

#[async_trait]
impl Connect for Renamed {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        Ok(Box::new(Translator {
            client: self.connect.open(info).await?,
            names: self.names,
        }))
    }

    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        self.connect.recovery_probe()
    }
}

struct Translator {
    client: Box<dyn Client>,
    names: &'static [(&'static str, &'static str)],
}

#[async_trait]
impl Client for Translator {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let mut invocation = invocation.clone();
        let mut names = self.names.iter();
        if let Some((_, name)) = names.find(|(name, _)| *name == &*invocation.op.f) {
            invocation.op.f = (*name).into();
        }
        self.client.invoke(&invocation).await
    }
}

/// Opens clients that keep lists in documents: to add to one, they read it, and write it back if its version is still the same.
pub(crate) struct Documents(pub(crate) SharedConnect);

#[async_trait]
impl Connect for Documents {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        Ok(Box::new(Editor(self.0.open(info).await?)))
    }

    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        self.0.recovery_probe()
    }
}

struct Editor(Box<dyn Client>);

#[async_trait]
impl Client for Editor {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let asked = &invocation.op;
        let mut invocation = invocation.clone();
        invocation.op = Op {
            f: names::GET.into(),
            key: asked.key.clone(),
            value: Value::Null,
        };
        let found = self.0.invoke(&invocation).await;
        if found.kind != EventType::Ok {
            // Nothing was written, whatever became of the read.
            return Completion {
                value: asked.value.clone(),
                ..found
            };
        }
        let list = found.value.get("value").cloned();
        let mut list = list.unwrap_or_else(|| json!([]));
        if &*asked.f != "add" {
            return Completion {
                value: list,
                ..found
            };
        }
        if let Some(list) = list.as_array_mut() {
            list.push(asked.value.clone());
        }
        let version = found.value.get("version").cloned();
        let version = version.unwrap_or_else(|| json!(0));
        invocation.op.f = names::PUT_IF.into();
        invocation.op.value = json!([version, list]);
        Completion {
            value: asked.value.clone(),
            ..self.0.invoke(&invocation).await
        }
    }
}

/// Writes and reads a register of each node's own, outside of the workload's.
struct Probe(Handle);

impl Probe {
    fn node(&self, name: &Name) -> Result<NodeId, String> {
        let node = self.0.with(|cluster| cluster.node(name));
        node.ok_or_else(|| format!("there is no node {name}"))
    }

    /// Workloads' registers are numbered from 0.
    fn register(owner: NodeId) -> i64 {
        -1 - owner as i64
    }

    async fn request(&self, node: NodeId, command: Command) -> Result<Output, String> {
        let answer = self.0.request(node, command).await;
        answer.map_err(|refusal| format!("{}: {}", refusal.class, refusal.message))
    }
}

#[async_trait]
impl RecoveryProbe for Probe {
    async fn write(&self, node: &Name, value: u64) -> Result<(), String> {
        let node = self.node(node)?;
        let command = Command::Write(Probe::register(node), value as i64);
        self.request(node, command).await.map(|_| ())
    }

    async fn read(&self, node: &Name) -> Result<Option<u64>, String> {
        let node = self.node(node)?;
        match self
            .request(node, Command::Read(Probe::register(node)))
            .await?
        {
            Output::Value(value) => Ok(value.and_then(|value| value.try_into().ok())),
            other => Err(format!("a read was answered by {other:?}")),
        }
    }

    async fn read_local(&self, node: &Name, owner: &Name) -> Result<Option<u64>, String> {
        let (node, register) = (self.node(node)?, Probe::register(self.node(owner)?));
        let value = self.0.with(|cluster| cluster.local_value(node, register));
        Ok(value.and_then(|value| value.try_into().ok()))
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
