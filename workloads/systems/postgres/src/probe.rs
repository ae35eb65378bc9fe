//! Proves that healed servers take fresh writes, and that standbys follow.

use async_trait::async_trait;
use harness::Name;
use harness::recovery::RecoveryProbe;
use tokio_postgres::types::Type;

use crate::client::Server;
use crate::errors::{Failure, Stage};
use crate::isolation::Isolation;
use crate::session::{Session, column};

/// A row for each node, in a table of its own. A session for each call.
pub(crate) struct PgProbe {
    /// Nodes and their addresses, the primary first.
    pub(crate) nodes: Vec<Server>,
    /// Tells this run's table from others'.
    pub(crate) run: u64,
}

fn table(run: u64) -> String {
    format!("gainsay_{run:x}_recovery")
}

/// The statement that makes the probe's table.
pub(crate) fn probe_schema(run: u64) -> String {
    let table = table(run);
    format!("CREATE TABLE IF NOT EXISTS {table} (owner text PRIMARY KEY, value bigint NOT NULL);")
}

impl PgProbe {
    async fn session(&self, server: Option<&Server>) -> Result<Session, String> {
        let (_, address) = server.ok_or("no such node")?;
        let opened = Session::open(address, "gainsay recovery", Isolation::ReadCommitted).await;
        opened.map_err(message)
    }

    async fn look(&self, session: Session, owner: &Name) -> Result<Option<u64>, String> {
        let sql = format!("SELECT value FROM {} WHERE owner = $1", table(self.run));
        let owner = owner.to_string();
        let rows = session
            .query(&sql, &[(&owner, Type::TEXT)])
            .await
            .map_err(message)?;
        match rows.first() {
            None => Ok(None),
            Some(row) => {
                let value: i64 = column(row, 0).map_err(message)?;
                Ok(u64::try_from(value).ok())
            }
        }
    }
}

fn message(failure: Failure) -> String {
    format!("{}: {}", failure.error.class, failure.error.message)
}

#[async_trait]
impl RecoveryProbe for PgProbe {
    async fn write(&self, node: &Name, value: u64) -> Result<(), String> {
        // A standby takes no writes: its row comes through the primary.
        let session = self.session(self.nodes.first()).await?;
        let sql = format!(
            "INSERT INTO {} VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE SET value = $2",
            table(self.run)
        );
        let (owner, value) = (
            node.to_string(),
            i64::try_from(value).map_err(|error| error.to_string())?,
        );
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&owner, Type::TEXT), (&value, Type::INT8)];
        let written = session.execute(&sql, &parameters, Stage::Deciding).await;
        written.map(drop).map_err(message)
    }

    async fn read(&self, node: &Name) -> Result<Option<u64>, String> {
        let session = self.session(self.nodes.first()).await?;
        self.look(session, node).await
    }

    async fn read_local(&self, node: &Name, owner: &Name) -> Result<Option<u64>, String> {
        let server = self.nodes.iter().find(|(name, _)| name == node);
        let session = self.session(server).await?;
        self.look(session, owner).await
    }
}
