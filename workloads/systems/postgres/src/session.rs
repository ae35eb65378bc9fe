//! One connection to one server: nothing is retried, nothing is pooled.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, NoTls, Row};

use crate::errors::{Failure, Stage};
use crate::isolation::Isolation;
use crate::{DATABASE, PORT, USER};

/// How long a connection may take to be made.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A parameter of a statement and its type.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A session with a server. Dropped, it closes its connection at once, whatever is under way.
pub(crate) struct Session {
    client: tokio_postgres::Client,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // By itself it would wait for the answers to what was sent.
        self.connection.abort();
    }
}

impl Session {
    /// Connects. `name` is shown in the server's log and its list of sessions.
    pub(crate) async fn open(
        address: &str,
        name: &str,
        isolation: Isolation,
    ) -> Result<Session, Failure> {
        let mut config = Config::new();
        config
            .host(address)
            .port(PORT)
            .user(USER)
            .dbname(DATABASE)
            .application_name(name)
            .options(format!(
                "-c default_transaction_isolation={}",
                isolation.sql().to_lowercase().replace(' ', "\\ ")
            ));
        match tokio::time::timeout(CONNECT_LIMIT, config.connect(NoTls)).await {
            Ok(Ok((client, connection))) => Ok(Session {
                client,
                // Its error is the end of the connection, which the client's next call tells.
                connection: tokio::spawn(async move { drop(connection.await) }),
            }),
            Ok(Err(error)) if error.as_db_error().is_some() => {
                Err(Failure::of(&error, Stage::Open))
            }
            Ok(Err(error)) => Err(Failure::connect(error.to_string())),
            Err(_) => Err(Failure::connect(format!(
                "no session within {CONNECT_LIMIT:?}"
            ))),
        }
    }

    /// Whether the server has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Executes a statement; how many rows it touched.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        stage: Stage,
    ) -> Result<u64, Failure> {
        let done = self.client.execute_typed(sql, parameters).await;
        done.map_err(|error| Failure::of(&error, stage))
    }

    /// Executes a statement that only reads; its rows.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let rows = self.client.query_typed(sql, parameters).await;
        rows.map_err(|error| Failure::of(&error, Stage::Open))
    }

    /// Executes statements without results, separated by semicolons, as one transaction if they hold no `BEGIN`.
    pub(crate) async fn batch(&self, sql: &str, stage: Stage) -> Result<(), Failure> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| Failure::of(&error, stage))
    }
}

/// A value of a column, or an answer that is none of ours.
pub(crate) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    at: usize,
) -> Result<T, Failure> {
    row.try_get(at)
        .map_err(|error| Failure::refused("bad-answer", error.to_string()))
}
