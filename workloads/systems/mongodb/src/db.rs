//! MongoDB on a node: its program, its process, its data, and its replica set.
//!
//! Nothing of the node's is touched: the program lies in a folder of ours, and so do its data, under names that say whose they are.

use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use harness::Name;
use harness::capability::ProcessState;
use harness::db::steps::{self, LastWords};
use harness::db::{Db, DbError};
use harness::node::daemon::Daemon;
use harness::node::{files, packages};
use harness::remote::Node;
use workloads::kit::Shelf;

use crate::PORT;
use crate::errors;
use crate::release::{CURL, Release};
use crate::session::{ADMIN, Hello};
use crate::wire::Connection;

/// Everything of ours, the data included.
const HOME: &str = "/var/lib/gainsay-mongodb";
const LOG: &str = "/var/log/gainsay-mongodb.log";
/// The name of the replica set.
const SET: &str = "gainsay";

/// A tenth of MongoDB's default: many elections in a short run.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_millis(300);
/// How long a heartbeat may go unanswered. Whole seconds.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(1);
/// How long a transaction may be open. One that its client left holds its documents that long; a minute by default.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(10);

/// How long a question to a node about itself may take.
const STATUS_LIMIT: Duration = Duration::from_millis(500);
/// How long an answer to replSetInitiate may take: it asks all members first.
const INITIATE_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at whether a node is healthy.
const HEALTH_PAUSE: Duration = Duration::from_millis(100);

/// What its log says when it ended: errors are marked with `E` and fatal ones with `F`, in both forms of its log.
const LAST_WORDS: LastWords<'static> = LastWords {
    system: "mongod",
    log: LOG,
    telling: "grep -E '\"s\":\"[EF]\"|^[^ ]+ [EF] |error while loading'",
    lines: 2,
    otherwise: 5,
};

/// The code of an initiation of a set that there is: AlreadyInitialized.
const ALREADY_INITIALIZED: i64 = 23;

/// MongoDB on nodes.
pub(crate) struct MongoDb {
    shelf: Shelf,
    release: Release,
}

impl MongoDb {
    pub(crate) fn new(release: Release) -> MongoDb {
        MongoDb {
            shelf: Shelf::default(),
            release,
        }
    }

    /// The process of a member.
    fn member(&self) -> Daemon {
        Daemon {
            program: self.release.program(),
            args: arguments(),
            env: vec![("LD_LIBRARY_PATH".to_owned(), self.release.libraries())],
            ..process()
        }
    }
}

/// Where a node's server is, as the replica set knows it, too.
pub(crate) fn server(node: &Node) -> String {
    format!("{}:{PORT}", node.address)
}

fn data() -> String {
    format!("{HOME}/data")
}

fn arguments() -> Vec<String> {
    let flags = [
        ("replSet", SET.to_owned()),
        ("dbpath", data()),
        ("port", PORT.to_string()),
        // Listening takes addresses, not names.
        ("bind_ip", "0.0.0.0".to_owned()),
        // The least that it takes: many nodes share a machine.
        ("wiredTigerCacheSizeGB", "0.25".to_owned()),
        // Megabytes: enough for a run, or else a node that was away could not catch up.
        ("oplogSize", "256".to_owned()),
    ];
    let parameters = [
        // Statistics of its own, some megabytes for each start.
        "diagnosticDataCollectionEnabled=false".to_owned(),
        format!(
            "transactionLifetimeLimitSeconds={}",
            TRANSACTION_LIMIT.as_secs()
        ),
    ];
    let flags = flags
        .into_iter()
        .flat_map(|(flag, value)| [format!("--{flag}"), value]);
    let parameters = parameters
        .into_iter()
        .flat_map(|parameter| ["--setParameter".to_owned(), parameter]);
    let switches = ["--nounixsocket".to_owned(), "--quiet".to_owned()];
    flags.chain(parameters).chain(switches).collect()
}

/// The process, for what does not start it.
fn process() -> Daemon {
    Daemon {
        program: "mongod".to_owned(),
        log: LOG.to_owned(),
        pid_file: format!("{HOME}.pid"),
        ..Daemon::default()
    }
}

/// Sends a command about the server itself, on a connection of its own; what it answers if all is well, or what is wrong.
async fn ask(node: &Node, command: Document, limit: Duration) -> Result<Document, String> {
    let asked = async {
        let connection = Connection::open(&server(node), limit).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let answered = connection.ask(ADMIN, command).await;
        let (answer, _) = answered.map_err(|error| error.to_string())?;
        Ok(answer)
    };
    let answered = tokio::time::timeout(limit, asked).await;
    answered.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

/// What a node says of itself.
async fn hello(node: &Node) -> Option<Hello> {
    let answer = ask(node, Hello::command(), STATUS_LIMIT).await.ok()?;
    (errors::number(&answer, "ok") == Some(1)).then(|| Hello::read(&answer))
}

/// What the set is to be.
fn configuration(servers: &[String]) -> Document {
    let member = |(id, host): (i32, &String)| Bson::Document(doc! { "_id": id, "host": host });
    let members: Vec<Bson> = (0..).zip(servers).map(member).collect();
    let milliseconds = |duration: Duration| duration.as_millis() as i64;
    doc! {
        "_id": SET,
        "version": 1,
        "members": members,
        "settings": {
            "electionTimeoutMillis": milliseconds(ELECTION_TIMEOUT),
            "heartbeatIntervalMillis": milliseconds(HEARTBEAT),
            "heartbeatTimeoutSecs": HEARTBEAT_LIMIT.as_secs() as i64,
            // A new primary takes writes at once, without what others may have that is on no majority.
            "catchUpTimeoutMillis": 0_i64,
        },
    }
}

/// Makes the nodes a replica set, when all of them answer. The caller bounds it.
async fn initiate(node: &Node, nodes: &[Node]) -> Result<(), DbError> {
    let servers: Vec<String> = nodes.iter().map(server).collect();
    loop {
        let command = doc! { "replSetInitiate": configuration(&servers) };
        // It fails while a member does not answer yet.
        if let Ok(answer) = ask(node, command, INITIATE_LIMIT).await
            && (errors::number(&answer, "ok") == Some(1)
                || errors::number(&answer, "code") == Some(ALREADY_INITIALIZED))
        {
            return Ok(());
        }
        if process().state(&*node.remote).await? == ProcessState::Absent {
            return Err(LAST_WORDS.of(node).await?);
        }
        tokio::time::sleep(HEALTH_PAUSE).await;
    }
}

#[async_trait]
impl Db for MongoDb {
    async fn install(&self, node: &Node) -> Result<(), DbError> {
        packages::install(&*node.remote, &[CURL]).await?;
        self.shelf
            .bring_bundle(node, &self.release.bundle())
            .await?;
        Ok(())
    }

    async fn wipe(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await?;
        steps::need_port(
            node,
            PORT,
            "stop the mongod that runs there (systemctl stop mongod)",
        )
        .await
    }

    async fn start_fresh(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        self.start(node, nodes).await?;
        match nodes.first() {
            Some(first) if first.name == node.name => initiate(node, nodes).await,
            _ => Ok(()),
        }
    }

    async fn start(&self, node: &Node, _nodes: &[Node]) -> Result<(), DbError> {
        files::mkdir(&*node.remote, &data()).await?;
        self.member().start(&*node.remote).await?;
        Ok(())
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        // A member that takes part: the primary, or a secondary that knows of one.
        loop {
            if let Some(hello) = hello(node).await
                && (hello.is_primary || (hello.is_secondary && hello.primary.is_some()))
            {
                return Ok(());
            }
            if self.state(node).await? == ProcessState::Absent {
                return Err(LAST_WORDS.of(node).await?);
            }
            tokio::time::sleep(HEALTH_PAUSE).await;
        }
    }

    fn process(&self) -> Daemon {
        process()
    }

    fn revive_script(&self, _node: &Node, _nodes: &[Node]) -> Option<String> {
        Some(self.member().revive_script())
    }

    fn data_folders(&self) -> Vec<String> {
        vec![data()]
    }

    async fn teardown(&self, node: &Node) -> Result<(), DbError> {
        steps::remove(node, &process(), HOME).await
    }

    async fn primaries(&self, nodes: &[Node]) -> Vec<Name> {
        steps::those(nodes, |node| async {
            hello(node).await.is_some_and(|hello| hello.is_primary)
        })
        .await
    }

    fn log_files(&self) -> Vec<String> {
        vec![LOG.to_owned()]
    }

    fn election_timeout(&self) -> Duration {
        ELECTION_TIMEOUT
    }

    async fn version(&self, node: &Node) -> Result<String, DbError> {
        let answer = ask(node, doc! { "buildInfo": 1 }, STATUS_LIMIT)
            .await
            .unwrap_or_default();
        Ok(format!(
            "MongoDB {}",
            answer.get_str("version").unwrap_or("unknown")
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_has_all_nodes() {
        let servers = ["10.0.0.1:27017".to_owned(), "10.0.0.2:27017".to_owned()];
        let configuration = configuration(&servers);
        let members = configuration.get_array("members").unwrap();
        assert_eq!(
            members[1],
            Bson::Document(doc! { "_id": 1, "host": "10.0.0.2:27017" })
        );
        let settings = configuration.get_document("settings").unwrap();
        assert_eq!(settings.get_i64("electionTimeoutMillis").unwrap(), 1000);
    }
}
