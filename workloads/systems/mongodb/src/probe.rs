//! Proves that a healed replica set takes fresh writes and has them everywhere.

use std::sync::Arc;

use async_trait::async_trait;
use bson::{Document, doc};
use harness::Name;
use harness::recovery::RecoveryProbe;
use workloads::kit::Failure;

use crate::errors;
use crate::session::{ADMIN, CONNECT_LIMIT, Hello, Servers};
use crate::wire::Connection;

const COLLECTION: &str = "registers";

/// One document for each node, in a database of its own. A connection for each request.
pub(crate) struct MongoProbe {
    servers: Arc<Servers>,
    database: String,
}

impl MongoProbe {
    /// For these nodes; `run` tells this run's database from others'.
    pub(crate) fn new(servers: Arc<Servers>, run: u64) -> MongoProbe {
        MongoProbe {
            servers,
            database: format!("gainsay-recovery-{run:x}"),
        }
    }

    fn server(&self, node: &Name) -> Result<&str, String> {
        let found = self.servers.iter().find(|(name, _)| name == node);
        found
            .map(|(_, server)| server.as_str())
            .ok_or_else(|| format!("no node {node}"))
    }

    async fn ask(
        &self,
        server: &str,
        database: &str,
        command: Document,
    ) -> Result<Document, String> {
        let told = |failure: Failure| format!("{}: {}", failure.error.class, failure.error.message);
        let asked = async {
            let connection = Connection::open(server, CONNECT_LIMIT).await?;
            Ok(connection.ask(database, command).await?.0)
        };
        let answer = asked.await.map_err(told)?;
        errors::check(&answer).map_err(told)?;
        Ok(answer)
    }

    /// Who is the primary, as a node says.
    async fn primary(&self, node: &Name) -> Result<String, String> {
        let server = self.server(node)?;
        let hello = Hello::read(&self.ask(server, ADMIN, Hello::command()).await?);
        // A server that is alone names nobody.
        let own = hello.is_primary.then(|| server.to_owned());
        hello
            .primary
            .or(own)
            .ok_or_else(|| format!("{node} knows of no primary"))
    }

    async fn find(
        &self,
        server: &str,
        owner: &Name,
        level: &str,
        mode: &str,
    ) -> Result<Option<u64>, String> {
        let query = doc! {
            "find": COLLECTION, "filter": { "_id": owner.to_string() }, "limit": 1, "singleBatch": true,
            "readConcern": { "level": level }, "$readPreference": { "mode": mode },
        };
        let answer = self.ask(server, &self.database, query).await?;
        let cursor = answer
            .get_document("cursor")
            .map_err(|error| error.to_string())?;
        let found = cursor
            .get_array("firstBatch")
            .map_err(|error| error.to_string())?;
        let value = found
            .first()
            .and_then(|found| errors::number(found.as_document()?, "value"));
        Ok(value.and_then(|value| u64::try_from(value).ok()))
    }
}

#[async_trait]
impl RecoveryProbe for MongoProbe {
    // Only the primary takes writes: through a node means to whom the node takes for it.
    async fn write(&self, node: &Name, value: u64) -> Result<(), String> {
        let primary = self.primary(node).await?;
        let value = i64::try_from(value).map_err(|error| error.to_string())?;
        let update = doc! { "q": { "_id": node.to_string() }, "u": { "$set": { "value": value } }, "upsert": true };
        let command =
            doc! { "update": COLLECTION, "updates": [update], "writeConcern": { "w": "majority" } };
        self.ask(&primary, &self.database, command).await.map(drop)
    }

    async fn read(&self, node: &Name) -> Result<Option<u64>, String> {
        let primary = self.primary(node).await?;
        self.find(&primary, node, "linearizable", "primary").await
    }

    async fn read_local(&self, node: &Name, owner: &Name) -> Result<Option<u64>, String> {
        self.find(self.server(node)?, owner, "local", "nearest")
            .await
    }
}
