//! A client of one process, pinned to one node, over HTTP. Nothing is retried and nothing is pooled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkers::FINAL_READ;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation};
use harness::recovery::RecoveryProbe;
use harness::remote::Node;
use harness::{Name, OpError, Value, json};
use tokio::sync::OnceCell;
use workloads::kit::Failure;
use workloads::kit::http::{Connection, Method};

use crate::db::server;
use crate::errors;
use crate::index::{self, Settings};
use crate::probe::ElasticsearchProbe;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How many documents an answer to a search holds.
const PAGE: usize = 5000;

/// Opens clients on the nodes of a cluster.
pub(crate) struct ElasticsearchConnect {
    nodes: Vec<(Name, String)>,
    run: u64,
    shared: Arc<Shared>,
}

/// What all clients of a run share.
struct Shared {
    settings: Settings,
    /// The index of the workload.
    index: String,
    /// Whether the indices of the run were made.
    made: OnceCell<()>,
}

impl ElasticsearchConnect {
    /// For these nodes; `run` tells this run's indices from others'.
    pub(crate) fn new(nodes: &[Node], run: u64, settings: Settings) -> ElasticsearchConnect {
        let nodes = nodes.iter().map(|node| (node.name.clone(), server(node)));
        ElasticsearchConnect {
            nodes: nodes.collect(),
            run,
            shared: Arc::new(Shared {
                settings,
                index: index::of_workload(run),
                made: OnceCell::new(),
            }),
        }
    }
}

#[async_trait]
impl Connect for ElasticsearchConnect {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let no_client = |message: String| OpError::new(OpError::NO_CLIENT, message);
        let found = self.nodes.iter().find(|(name, _)| *name == info.node);
        let (node, server) = found.ok_or_else(|| no_client(format!("no node {}", info.node)))?;
        let mut connection = Connection::open(server, CONNECT_LIMIT)
            .await
            .map_err(|error| no_client(error.to_string()))?;
        let shared = &self.shared;
        // Once in a run. Should the time for this client end before, the next one goes on with it.
        let make = index::make(&mut connection, &shared.settings, self.run);
        shared
            .made
            .get_or_try_init(|| make)
            .await
            .map_err(no_client)?;
        Ok(Box::new(ElasticsearchClient {
            node: node.clone(),
            server: server.clone(),
            shared: shared.clone(),
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

struct ElasticsearchClient {
    node: Name,
    server: String,
    shared: Arc<Shared>,
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
        let done = match (&*op.f, id) {
            ("add", None) => self
                .put(&value.to_string(), value, &[], &agent)
                .await
                .map(|()| value.clone()),
            ("read" | FINAL_READ, None) => self.all(&agent).await,
            ("read", Some(id)) => self.get(&id, &agent).await.map(|(value, _)| value),
            ("write", Some(id)) => self
                .put(&id, value, &[], &agent)
                .await
                .map(|()| value.clone()),
            ("cas", Some(id)) => self
                .compare_and_set(&id, value, &agent)
                .await
                .map(|()| value.clone()),
            (other, _) => Err(Failure::refused(
                "unsupported",
                format!("no operation {other:?} here"),
            )),
        };
        let completion = match done {
            Ok(value) => Completion::ok(value),
            // A read that failed has no effect, however it failed.
            Err(failure) if matches!(&*op.f, "read" | FINAL_READ) => {
                Completion::fail(Value::Null, failure.error)
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
    /// Writes a document, on a condition if there is one.
    async fn put(
        &mut self,
        id: &str,
        value: &Value,
        condition: &[String],
        agent: &str,
    ) -> Result<(), Failure> {
        let path = self
            .shared
            .settings
            .write(&self.shared.index, id, condition);
        let body = json!({ "value": value });
        let (status, answer) = self.request(Method::PUT, &path, Some(&body), agent).await?;
        match status {
            200..300 => Ok(()),
            _ => Err(answered(status, &answer)),
        }
    }

    /// The value of a document, null where there is none, and what the server says of it.
    async fn get(&mut self, id: &str, agent: &str) -> Result<(Value, Value), Failure> {
        let path = self.shared.settings.read_of(&self.shared.index, id);
        let (status, answer) = self.request(Method::GET, &path, None, agent).await?;
        match (answer.get("found"), answer.pointer("/_source/value")) {
            (Some(Value::Bool(true)), Some(value)) => Ok((value.clone(), answer)),
            (Some(Value::Bool(false)), _) => Ok((Value::Null, answer)),
            _ if status < 300 => Err(bad_answer(&answer.to_string())),
            _ => Err(answered(status, &answer)),
        }
    }

    /// Reads a document, and if it holds what is expected, writes it provided that it has not changed since.
    async fn compare_and_set(
        &mut self,
        id: &str,
        value: &Value,
        agent: &str,
    ) -> Result<(), Failure> {
        let Some([from, to]) = value.as_array().map(Vec::as_slice) else {
            return Err(Failure::refused(
                "unsupported",
                "a cas takes [from, to]".to_owned(),
            ));
        };
        // Nothing was written if this fails.
        let (found, answer) = self.get(id, agent).await.map_err(Failure::of_read)?;
        if found != *from {
            return Err(Failure::refused(
                OpError::PRECONDITION,
                format!("the value was {found}"),
            ));
        }
        let Some(condition) = self.shared.settings.condition(&answer) else {
            return Err(Failure::refused(
                "bad-answer",
                format!("no version in {answer}"),
            ));
        };
        self.put(id, to, &condition, agent).await
    }

    /// Makes searches see all documents, and reads them all, page by page, as they are when the first page is read.
    async fn all(&mut self, agent: &str) -> Result<Value, Failure> {
        let index = self.shared.index.clone();
        let path = format!("/{index}/_refresh");
        let (status, answer) = self.request(Method::POST, &path, None, agent).await?;
        if status != 200 || shards(&answer, "failed") != Some(0) {
            return Err(answered(status, &answer));
        }
        let path = format!("/{index}/_search?scroll=1m&size={PAGE}");
        let first = json!({"query": {"match_all": {}}});
        let mut asked = self
            .request(Method::POST, &path, Some(&first), agent)
            .await?;
        let mut elements = BTreeSet::new();
        loop {
            let (status, answer) = &asked;
            let hits = answer.pointer("/hits/hits").and_then(Value::as_array);
            // A shard that nobody has is counted among all, and not among those that failed.
            let whole = shards(answer, "failed") == Some(0)
                && shards(answer, "successful") == shards(answer, "total");
            let (200, Some(hits), true) = (
                *status,
                hits,
                whole && answer.get("timed_out") == Some(&Value::Bool(false)),
            ) else {
                return Err(answered(*status, answer));
            };
            if hits.is_empty() {
                return Ok(elements.into_iter().collect());
            }
            for hit in hits {
                let element = hit.pointer("/_source/value").and_then(Value::as_i64);
                let bad = || bad_answer(&format!("not a document of ours: {hit}"));
                elements.insert(element.ok_or_else(bad)?);
            }
            let scroll = answer.get("_scroll_id").and_then(Value::as_str);
            let scroll = scroll.ok_or_else(|| bad_answer("no _scroll_id"))?;
            asked = match self.shared.settings.release.major {
                1 => {
                    let path = format!("/_search/scroll?scroll=1m&scroll_id={scroll}");
                    self.request(Method::GET, &path, None, agent).await?
                }
                _ => {
                    let next = json!({"scroll": "1m", "scroll_id": scroll});
                    self.request(Method::POST, "/_search/scroll", Some(&next), agent)
                        .await?
                }
            };
        }
    }

    /// Sends one request: the status and the answer.
    async fn request(
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

/// A count of shards in an answer.
fn shards(answer: &Value, which: &str) -> Option<u64> {
    answer.get("_shards")?.get(which)?.as_u64()
}

/// What an answer means that is not a success.
fn answered(status: u16, answer: &Value) -> Failure {
    let (outcome, error) = errors::classify(status, answer);
    Failure { outcome, error }
}

/// An answer that is not as it should be, of which not too much is shown.
fn bad_answer(message: &str) -> Failure {
    Failure::unknown("bad-answer", message.chars().take(300).collect::<String>())
}
