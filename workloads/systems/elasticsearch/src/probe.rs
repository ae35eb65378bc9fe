//! Proves that a healed cluster takes fresh writes and has them everywhere.

use std::time::Duration;

use async_trait::async_trait;
use harness::recovery::RecoveryProbe;
use harness::{Name, Value, json};
use workloads::kit::http::{Connection, HttpError, Method};

use crate::index::Settings;
use crate::{errors, index};

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// One document for each node, in an index of their own that every node has a copy of. A connection for each request.
pub(crate) struct ElasticsearchProbe {
    /// Nodes and their servers.
    pub(crate) nodes: Vec<(Name, String)>,
    /// Tells this run's index from others'.
    pub(crate) run: u64,
    /// How documents are written.
    pub(crate) settings: Settings,
}

impl ElasticsearchProbe {
    async fn connect(&self, node: &Name) -> Result<Connection, String> {
        let found = self.nodes.iter().find(|(name, _)| name == node);
        let (_, server) = found.ok_or_else(|| format!("no node {node}"))?;
        let opened = Connection::open(server, CONNECT_LIMIT).await;
        opened.map_err(|error| error.to_string())
    }

    async fn get(&self, node: &Name, owner: &Name, copy: &str) -> Result<Option<u64>, String> {
        let path = self.settings.document(&index::of_recovery(self.run), owner);
        let mut connection = self.connect(node).await?;
        let answer = connection.get(&format!("{path}?preference={copy}")).await;
        let (status, answer) = answer.map_err(|error: HttpError| error.to_string())?;
        match answer.get("found") {
            Some(Value::Bool(true)) => Ok(answer.pointer("/_source/value").and_then(Value::as_u64)),
            Some(Value::Bool(false)) => Ok(None),
            _ => {
                let (_, error) = errors::classify(status.as_u16(), &answer);
                Err(format!("{}: {}", error.class, error.message))
            }
        }
    }
}

#[async_trait]
impl RecoveryProbe for ElasticsearchProbe {
    async fn write(&self, node: &Name, value: u64) -> Result<(), String> {
        let path = self.settings.document(&index::of_recovery(self.run), node);
        let mut connection = self.connect(node).await?;
        let answer = connection
            .send(
                Method::PUT,
                &path,
                Some(&json!({ "value": value })),
                "gainsay recovery",
            )
            .await;
        let (status, answer) = answer.map_err(|error: HttpError| error.to_string())?;
        match status.is_success() {
            true => Ok(()),
            false => {
                let (_, error) = errors::classify(status.as_u16(), &answer);
                Err(format!("{}: {}", error.class, error.message))
            }
        }
    }

    async fn read(&self, node: &Name) -> Result<Option<u64>, String> {
        // Through 6.x a primary can be asked for. Later any copy answers that is in sync, which has all that was acknowledged.
        let copy = match self.settings.release.major {
            ..7 => "_primary",
            7.. => "_local",
        };
        self.get(node, node, copy).await
    }

    async fn read_local(&self, node: &Name, owner: &Name) -> Result<Option<u64>, String> {
        self.get(node, owner, "_only_local").await
    }
}
