//! A client of one process, pinned to one node, over etcd's own JSON gateway.
//!
//! The gateway is part of every etcd server: requests are the gRPC messages as JSON, with keys and
//! values in base64. Nothing is retried, nothing is pooled, and the member that answers is checked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use checkers::FINAL_READ;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation};
use harness::recovery::RecoveryProbe;
use harness::remote::Node;
use harness::{Name, OpError, Value, json};

use crate::CLIENT_PORT;
use crate::errors;
use crate::probe::EtcdProbe;
use workloads::kit::Failure;
use workloads::kit::http::Connection;

/// How long a connection may take to be made.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Opens clients on the nodes of a cluster.
pub(crate) struct EtcdConnect {
    nodes: Vec<(Name, String)>,
    run: u64,
    settings: Arc<Settings>,
}

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Whether reads are answered by the node itself, without consensus.
    pub(crate) serializable_reads: bool,
    /// Whether values are told with their versions: the revision of the store that wrote them.
    pub(crate) versions: bool,
    /// How many comparisons come before a write, in one transaction with it. They always hold, and cost the members time.
    pub(crate) compares: i64,
}

/// What all clients of a run share.
pub(crate) struct Settings {
    /// Before every key, so that runs do not see each other's data.
    prefix: String,
    work: Work,
}

impl EtcdConnect {
    /// For these nodes; `run` tells this run's keys from others'.
    pub(crate) fn new(nodes: &[Node], run: u64, work: Work) -> EtcdConnect {
        let nodes = nodes
            .iter()
            .map(|node| (node.name.clone(), format!("{}:{CLIENT_PORT}", node.address)))
            .collect();
        let prefix = format!("/gainsay/{run:x}/");
        EtcdConnect {
            nodes,
            run,
            settings: Arc::new(Settings { prefix, work }),
        }
    }
}

#[async_trait]
impl Connect for EtcdConnect {
    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let found = self.nodes.iter().find(|(name, _)| *name == info.node);
        let Some((node, server)) = found else {
            return Err(OpError::new(
                OpError::NO_CLIENT,
                format!("no node {}", info.node),
            ));
        };
        let connection = Connection::open(server, CONNECT_LIMIT)
            .await
            .map_err(|error| OpError::new(OpError::NO_CLIENT, error.to_string()))?;
        Ok(Box::new(EtcdClient {
            node: node.clone(),
            server: server.clone(),
            settings: self.settings.clone(),
            connection: Some(connection),
            member: None,
            answered: false,
        }))
    }

    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        Some(Arc::new(EtcdProbe {
            nodes: self.nodes.clone(),
            run: self.run,
        }))
    }
}

struct EtcdClient {
    node: Name,
    server: String,
    settings: Arc<Settings>,
    /// Taken while a request is under way: a request that is dropped takes its connection along.
    connection: Option<Connection>,
    /// Who answered first. Another answer later would mean that we talk to somebody else.
    member: Option<String>,
    /// Whether anybody answered the last request.
    answered: bool,
}

#[async_trait]
impl Client for EtcdClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let op = &invocation.op;
        let key = self.key(op.key.as_ref());
        let agent = format!("gainsay op={}", invocation.index);
        let completion = match &*op.f {
            "read" => {
                let local = self.settings.work.serializable_reads;
                self.read(&key, local, &agent).await
            }
            // What this very member has, in the end.
            FINAL_READ => self.read(&key, true, &agent).await,
            "write" => self.write(&key, &op.value, &agent).await,
            "cas" => self.compare_and_set(&key, &op.value, &agent).await,
            other => {
                let error = OpError::new("unsupported", format!("etcd has no operation {other:?}"));
                Completion::fail(op.value.clone(), error)
            }
        };
        match self.answered {
            true => completion.from_node(self.node.clone()),
            false => completion,
        }
    }
}

impl EtcdClient {
    fn key(&self, key: Option<&Value>) -> String {
        let key = key.map(Value::to_string).unwrap_or_default();
        BASE64.encode(format!("{}{key}", self.settings.prefix))
    }

    async fn read(&mut self, key: &str, local: bool, agent: &str) -> Completion {
        let request = json!({ "key": key, "serializable": local });
        let versions = self.settings.work.versions;
        match self.request("/v3/kv/range", &request, agent).await {
            Ok(answer) => match read_of(&answer, versions) {
                Ok(value) => Completion::ok(value),
                Err(message) => Completion::fail(Value::Null, OpError::new("bad-answer", message)),
            },
            // A read that failed has no effect, however it failed.
            Err(failure) => Completion::fail(Value::Null, failure.error),
        }
    }

    async fn write(&mut self, key: &str, value: &Value, agent: &str) -> Completion {
        let put = json!({ "key": key, "value": encode(value) });
        let Work {
            versions, compares, ..
        } = self.settings.work;
        let answered = match compares {
            0 => self.request("/v3/kv/put", &put, agent).await,
            compares => {
                let holds = json!({ "key": key, "target": "VERSION", "result": "GREATER", "version": "-1" });
                let all: Vec<&Value> = (0..compares).map(|_| &holds).collect();
                let request = json!({ "compare": all, "success": [{ "requestPut": put }] });
                self.request("/v3/kv/txn", &request, agent).await
            }
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(failure) => return failure.completion(value),
        };
        // The revision of the store once it was written.
        match (
            versions,
            answer.pointer("/header/revision").and_then(number),
        ) {
            (true, Some(revision)) => {
                Completion::ok(json!({ "value": value, "version": revision }))
            }
            _ => Completion::ok(value.clone()),
        }
    }

    async fn compare_and_set(&mut self, key: &str, value: &Value, agent: &str) -> Completion {
        let (from, to) = match value.as_array().map(Vec::as_slice) {
            Some([from, to]) => (from, to),
            _ => {
                let error = OpError::new("unsupported", "a cas takes [from, to]");
                return Completion::fail(value.clone(), error);
            }
        };
        let request = json!({
            "compare": [{ "key": key, "target": "VALUE", "result": "EQUAL", "value": encode(from) }],
            "success": [{ "requestPut": { "key": key, "value": encode(to) } }],
        });
        match self.request("/v3/kv/txn", &request, agent).await {
            // The gateway leaves fields out that are false.
            Ok(answer) if answer.get("succeeded") == Some(&Value::Bool(true)) => {
                Completion::ok(value.clone())
            }
            Ok(_) => Completion::fail(
                value.clone(),
                OpError::new(OpError::PRECONDITION, "the value was different"),
            ),
            Err(failure) => failure.completion(value),
        }
    }

    /// Sends one request and classifies what comes back.
    async fn request(&mut self, path: &str, body: &Value, agent: &str) -> Result<Value, Failure> {
        self.answered = false;
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(connection) => connection,
            None => Connection::open(&self.server, CONNECT_LIMIT)
                .await
                .map_err(Failure::from)?,
        };
        let (status, answer) = connection.post(path, body, agent).await?;
        self.answered = true;
        if !status.is_success() {
            // An answer, if a bad one: the connection is still in order.
            self.connection = Some(connection);
            return Err(answered(&answer));
        }
        self.check_member(&answer)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn check_member(&mut self, answer: &Value) -> Result<(), Failure> {
        let Some(member) = answer.pointer("/header/member_id").and_then(Value::as_str) else {
            return Err(Failure::unknown(
                "bad-answer",
                format!("no member_id in {answer}"),
            ));
        };
        match &self.member {
            None => self.member = Some(member.to_owned()),
            Some(first) if first != member => {
                let message = format!("member {member} answered instead of {first}");
                return Err(Failure::unknown("wrong-node", message));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// What an answer means that is not a success.
fn answered(answer: &Value) -> Failure {
    let (outcome, error) = errors::classify(answer);
    Failure { outcome, error }
}

/// A value as etcd stores it: its JSON text.
pub(crate) fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

/// A number as the gateway writes it: in quotes.
fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

/// What was read of one key: its value, with its version if that is asked for; null where the key is absent.
fn read_of(answer: &Value, versions: bool) -> Result<Value, String> {
    let value = value_of(answer)?;
    match answer.pointer("/kvs/0/mod_revision") {
        Some(revision) if versions => {
            let revision = number(revision).ok_or_else(|| format!("no revision: {revision}"))?;
            Ok(json!({ "value": value, "version": revision }))
        }
        _ => Ok(value),
    }
}

/// The value in the answer to a range request of one key; null where the key is absent.
pub(crate) fn value_of(answer: &Value) -> Result<Value, String> {
    let Some(entry) = answer.pointer("/kvs/0") else {
        return Ok(Value::Null);
    };
    let text = entry
        .get("value")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let bytes = BASE64
        .decode(text)
        .map_err(|error| format!("{text:?} is not base64: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("not a value of ours: {error}"))
}

#[cfg(test)]
mod provoked;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_of_answers() {
        assert_eq!(value_of(&json!({"header": {}})), Ok(Value::Null));
        assert_eq!(
            value_of(&json!({"kvs": [{"value": BASE64.encode("3")}]})),
            Ok(json!(3))
        );
        assert!(value_of(&json!({"kvs": [{"value": "%"}]})).is_err());
    }

    #[test]
    fn versions_are_revisions() {
        let answer = json!({"kvs": [{"value": BASE64.encode("3"), "mod_revision": "17"}]});
        assert_eq!(
            read_of(&answer, true),
            Ok(json!({"value": 3, "version": 17}))
        );
        assert_eq!(read_of(&answer, false), Ok(json!(3)));
        assert_eq!(read_of(&json!({"header": {}}), true), Ok(Value::Null));
        let wrong = json!({"kvs": [{"value": BASE64.encode("3"), "mod_revision": 1.5}]});
        assert!(read_of(&wrong, true).is_err());
    }
}
