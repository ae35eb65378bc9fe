//! Proves that a healed cluster takes fresh writes and has them everywhere.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::recovery::RecoveryProbe;
use harness::{Name, Value, json};

use crate::client::{CONNECT_LIMIT, encode, value_of};
use crate::errors;
use workloads::kit::http::Connection;

/// One key for each node, outside of the workload's. A connection for each request.
pub(crate) struct EtcdProbe {
    /// Nodes and their servers.
    pub(crate) nodes: Vec<(Name, String)>,
    /// Tells this run's keys from others'.
    pub(crate) run: u64,
}

impl EtcdProbe {
    fn key(&self, owner: &Name) -> String {
        BASE64.encode(format!("/gainsay-recovery/{:x}/{owner}", self.run))
    }

    async fn request(&self, node: &Name, path: &str, body: &Value) -> Result<Value, String> {
        let found = self.nodes.iter().find(|(name, _)| name == node);
        let (_, server) = found.ok_or_else(|| format!("no node {node}"))?;
        let asked = async {
            let mut connection = Connection::open(server, CONNECT_LIMIT).await?;
            connection.post(path, body, "gainsay recovery").await
        };
        match asked.await {
            Ok((status, answer)) if status.is_success() => Ok(answer),
            Ok((_, answer)) => {
                let (_, error) = errors::classify(&answer);
                Err(format!("{}: {}", error.class, error.message))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn range(
        &self,
        node: &Name,
        owner: &Name,
        serializable: bool,
    ) -> Result<Option<u64>, String> {
        let body = json!({ "key": self.key(owner), "serializable": serializable });
        let answer = self.request(node, "/v3/kv/range", &body).await?;
        Ok(value_of(&answer)?.as_u64())
    }
}

#[async_trait]
impl RecoveryProbe for EtcdProbe {
    async fn write(&self, node: &Name, value: u64) -> Result<(), String> {
        let body = json!({ "key": self.key(node), "value": encode(&json!(value)) });
        self.request(node, "/v3/kv/put", &body).await.map(|_| ())
    }

    async fn read(&self, node: &Name) -> Result<Option<u64>, String> {
        self.range(node, node, false).await
    }

    async fn read_local(&self, node: &Name, owner: &Name) -> Result<Option<u64>, String> {
        self.range(node, owner, true).await
    }
}
