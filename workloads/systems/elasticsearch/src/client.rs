//! A client of one process, pinned to one node, over HTTP. Nothing is retried and nothing is pooled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkers::FINAL_READ;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation};
use harness::recovery::RecoveryProbe;
use harness::remote::Node;
use harness::{Name, OpError, Value};
use workloads::dirty_read::STRONG_READ;
use workloads::kit::Failure;
use workloads::kit::http::{Connection, Method};

use crate::db::server;
use crate::index::{self, Copy, Settings};
use crate::probe::ElasticsearchProbe;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The document of a set that is in one.
const SET: &str = "set";

/// What clients of a run do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A set, with a document for each element.
    Set,
    /// A set in a single document.
    SetInDocument,
    /// Linearizable registers.
    Register,
    /// Documents that are read while they are written.
    DirtyRead,
    /// Documents that many change at once.
    LostUpdate,
    /// Records of which every node has a copy.
    Divergence,
}

/// Opens clients on the nodes of a cluster.
pub(crate) struct ElasticsearchConnect {
    nodes: Vec<(Name, String)>,
    run: u64,
    shared: Arc<Shared>,
}

/// What all clients of a run share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    work: Work,
    /// The index of the workload.
    pub(crate) index: String,
}

impl ElasticsearchConnect {
    /// For these nodes; `run` tells this run's indices from others'.
    pub(crate) fn new(
        nodes: &[Node],
        run: u64,
        settings: Settings,
        work: Work,
    ) -> ElasticsearchConnect {
        let nodes = nodes.iter().map(|node| (node.name.clone(), server(node)));
        ElasticsearchConnect {
            nodes: nodes.collect(),
            run,
            shared: Arc::new(Shared {
                settings,
                work,
                index: index::of_workload(run),
            }),
        }
    }

    /// Makes the indices, unless they are there, by asking this server.
    async fn make(&self, server: &str) -> Result<(), String> {
        let opened = Connection::open(server, CONNECT_LIMIT).await;
        let mut connection = opened.map_err(|error| error.to_string())?;
        index::make(&mut connection, &self.shared.settings, self.run).await
    }
}

#[async_trait]
impl Connect for ElasticsearchConnect {
    async fn prepare(&self) -> Result<(), String> {
        let mut said = "there are no nodes".to_owned();
        for (_, server) in &self.nodes {
            match self.make(server).await {
                Ok(()) => return Ok(()),
                Err(why) => said = why,
            }
        }
        Err(said)
    }

    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let no_client = |message: String| OpError::new(OpError::NO_CLIENT, message);
        let found = self.nodes.iter().find(|(name, _)| *name == info.node);
        let (node, server) = found.ok_or_else(|| no_client(format!("no node {}", info.node)))?;
        let connection = Connection::open(server, CONNECT_LIMIT)
            .await
            .map_err(|error| no_client(error.to_string()))?;
        Ok(Box::new(ElasticsearchClient {
            node: node.clone(),
            server: server.clone(),
            shared: self.shared.clone(),
            connection: Some(connection),
            answered: false,
        }))
    }

    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        Some(Arc::new(ElasticsearchProbe {
            nodes: self.nodes.clone(),
            run: self.run,
            settings: self.shared.settings.clone(),
        }))
    }
}

/// A client of one process.
pub(crate) struct ElasticsearchClient {
    node: Name,
    server: String,
    pub(crate) shared: Arc<Shared>,
    /// Taken while a request is under way: a request that is dropped takes its connection along.
    connection: Option<Connection>,
    /// Whether anybody answered the last request.
    answered: bool,
}

#[async_trait]
impl Client for ElasticsearchClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let op = &invocation.op;
        let value = &op.value;
        let agent = format!("gainsay op={}", invocation.index);
        let id = op.key.as_ref().map(Value::to_string);
        let done = self.perform(&op.f, id.as_deref(), value, &agent).await;
        let completion = match done {
            Ok(value) => Completion::ok(value),
            // A read that failed has no effect, however it failed.
            Err(failure) if matches!(&*op.f, "read" | FINAL_READ | STRONG_READ) => {
                failure.of_read().completion(value)
            }
            Err(failure) => failure.completion(value),
        };
        match self.answered {
            true => completion.from_node(self.node.clone()),
            false => completion,
        }
    }
}

impl ElasticsearchClient {
    /// An operation on the document of a key, if it has one.
    async fn perform(
        &mut self,
        f: &str,
        id: Option<&str>,
        value: &Value,
        agent: &str,
    ) -> Result<Value, Failure> {
        // Of elements that are documents, each is its own id.
        let element = value.to_string();
        let done = match (self.shared.work, f, id) {
            (Work::Set, "add", None) | (Work::DirtyRead, "write", None) => {
                self.put(&element, value, &[], agent).await.map(drop)
            }
            (Work::Register, "write", Some(id)) => self.put(id, value, &[], agent).await.map(drop),
            (Work::Register, "cas", Some(id)) => self.compare_and_set(id, value, agent).await,
            (Work::SetInDocument, "add", None) => self.append(SET, value, agent).await,
            (Work::LostUpdate, "add", Some(id)) => self.append(id, value, agent).await,
            (Work::Divergence, "write", Some(id)) => {
                return self.write_record(id, value, agent).await;
            }
            _ => return self.read(f, id, &element, agent).await,
        };
        done.map(|()| value.clone())
    }

    async fn read(
        &mut self,
        f: &str,
        id: Option<&str>,
        element: &str,
        agent: &str,
    ) -> Result<Value, Failure> {
        let value = |(value, _)| value;
        match (self.shared.work, f, id) {
            (Work::Set, "read" | FINAL_READ, None) | (Work::DirtyRead, STRONG_READ, None) => {
                self.all(agent).await
            }
            (Work::SetInDocument, "read", None) => self.list(SET, Copy::Asked, agent).await,
            (Work::SetInDocument, FINAL_READ, None) => self.list(SET, Copy::Last, agent).await,
            (Work::Register, "read", Some(id)) => self.get(id, Copy::Asked, agent).await.map(value),
            (Work::DirtyRead, "read", None) => {
                self.get(element, Copy::Near, agent).await.map(value)
            }
            (Work::LostUpdate, "read", Some(id)) => self.list(id, Copy::Asked, agent).await,
            (Work::LostUpdate, FINAL_READ, Some(id)) => self.list(id, Copy::Last, agent).await,
            (Work::Divergence, "read" | FINAL_READ, Some(id)) => self.read_record(id, agent).await,
            (work, other, _) => Err(Failure::refused(
                "unsupported",
                format!("no operation {other:?} in {work:?}"),
            )),
        }
    }

    /// Sends one request: the status and the answer.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        agent: &str,
    ) -> Result<(u16, Value), Failure> {
        self.answered = false;
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(connection) => connection,
            None => Connection::open(&self.server, CONNECT_LIMIT).await?,
        };
        let (status, answer) = connection.send(method, path, body, agent).await?;
        self.answered = true;
        self.connection = Some(connection);
        Ok((status.as_u16(), answer))
    }
}
