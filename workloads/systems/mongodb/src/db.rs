//! MongoDB on a node: its program, its process, its data, and its replica set.
//!
//! Nothing of the node's is touched: the program lies in a folder of ours, and so do its data, under names that say whose they are.

use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use harness::Name;
use harness::db::steps::{self, LastWords};
use harness::db::{Db, DbError, DbFaults, DbMembership, DbVersions, Finding};
use harness::node::daemon::Daemon;
use harness::node::{files, packages};
use harness::remote::Node;
use workloads::kit::{Chosen, Shelf};

use crate::PORT;
use crate::errors;
use crate::release::{CURL, Release};
use crate::rollback;
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
pub(crate) const STATUS_LIMIT: Duration = Duration::from_millis(500);
/// How long an answer to replSetInitiate may take: it asks all members first.
const INITIATE_LIMIT: Duration = Duration::from_secs(20);
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
    releases: Chosen<Release>,
    /// So many nodes, the last ones, are hidden: they have the data, and neither vote nor lead.
    hidden: usize,
}

impl MongoDb {
    pub(crate) fn new(release: Release, hidden: usize) -> MongoDb {
        MongoDb {
            shelf: Shelf::default(),
            releases: Chosen::new(release),
            hidden,
        }
    }

    /// What the replica set of these nodes begins with.
    pub(crate) fn configuration(&self, nodes: &[Node]) -> Document {
        let servers: Vec<String> = nodes.iter().map(server).collect();
        configuration(&servers, self.hidden)
    }

    /// Makes the nodes a replica set, when all of them answer. The caller bounds it.
    async fn initiate(&self, node: &Node, nodes: &[Node]) -> Result<(), DbError> {
        steps::until(node, &process(), &LAST_WORDS, || async {
            let command = doc! { "replSetInitiate": self.configuration(nodes) };
            // It fails while a member does not answer yet.
            let answer = ask(node, command, INITIATE_LIMIT).await.unwrap_or_default();
            errors::number(&answer, "ok") == Some(1)
                || errors::number(&answer, "code") == Some(ALREADY_INITIALIZED)
        })
        .await
    }

    /// The process of a member.
    pub(crate) fn member(&self, node: &Node) -> Daemon {
        let release = self.releases.of(node);
        Daemon {
            program: release.program(),
            args: arguments(),
            env: vec![("LD_LIBRARY_PATH".to_owned(), release.libraries())],
            ..process()
        }
    }
}

/// Where a node's server is, as the replica set knows it, too.
pub(crate) fn server(node: &Node) -> String {
    format!("{}:{PORT}", node.address)
}

pub(crate) fn data() -> String {
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
pub(crate) fn process() -> Daemon {
    Daemon {
        program: "mongod".to_owned(),
        log: LOG.to_owned(),
        pid_file: format!("{HOME}.pid"),
        ..Daemon::default()
    }
}

/// Sends a command about the server itself, on a connection of its own; what it answers if all is well, or what is wrong.
pub(crate) async fn ask(
    node: &Node,
    command: Document,
    limit: Duration,
) -> Result<Document, String> {
    ask_of(node, ADMIN, command, limit).await
}

/// The same about one of its databases.
pub(crate) async fn ask_of(
    node: &Node,
    database: &str,
    command: Document,
    limit: Duration,
) -> Result<Document, String> {
    let asked = async {
        let connection = Connection::open(&server(node), limit).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let answered = connection.ask(database, command).await;
        let (answer, _) = answered.map_err(|error| error.to_string())?;
        Ok(answer)
    };
    let answered = tokio::time::timeout(limit, asked).await;
    answered.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

/// What a node says of itself.
pub(crate) async fn hello(node: &Node) -> Option<Hello> {
    let answer = ask(node, Hello::command(), STATUS_LIMIT).await.ok()?;
    (errors::number(&answer, "ok") == Some(1)).then(|| Hello::read(&answer))
}

/// What the set is to be.
fn configuration(servers: &[String], hidden: usize) -> Document {
    let seen = servers.len().saturating_sub(hidden);
    let member = |(id, (place, host)): (i32, (usize, &String))| {
        let mut member = doc! { "_id": id, "host": host, "priority": 1.0, "votes": 1_i32 };
        if place >= seen {
            member.extend(doc! { "priority": 0.0, "votes": 0_i32, "hidden": true });
        }
        Bson::Document(member)
    };
    let members: Vec<Bson> = (0..).zip(servers.iter().enumerate()).map(member).collect();
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

#[async_trait]
impl DbVersions for MongoDb {
    async fn bring(&self, node: &Node, version: &str) -> Result<(), DbError> {
        let read = Release::read(version);
        let release = read.map_err(|message| DbError::System {
            node: node.name.clone(),
            message,
            hint: "see `gainsay list systems`".to_owned(),
        })?;
        let bundle = release.bundle();
        self.shelf.bring_bundle(node, &bundle).await.map(drop)
    }

    fn choose(&self, node: &Node, version: &str) {
        // What is none was refused when it was to be brought.
        if let Ok(release) = Release::read(version) {
            self.releases.choose(node, release);
        }
    }

    fn chosen(&self, node: &Node) -> String {
        self.releases.of(node).to_string()
    }
}

#[async_trait]
impl Db for MongoDb {
    async fn install(&self, node: &Node) -> Result<(), DbError> {
        packages::install(&*node.remote, &[CURL]).await?;
        self.shelf
            .bring_bundle(node, &self.releases.first.bundle())
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
            Some(first) if first.name == node.name => self.initiate(node, nodes).await,
            _ => Ok(()),
        }
    }

    async fn start(&self, node: &Node, _nodes: &[Node]) -> Result<(), DbError> {
        files::mkdir(&*node.remote, &data()).await?;
        self.member(node).start(&*node.remote).await?;
        Ok(())
    }

    async fn healthy(&self, node: &Node) -> Result<(), DbError> {
        // A member that takes part: the primary, or a secondary that knows of one.
        steps::until(node, &process(), &LAST_WORDS, || async {
            let hello = hello(node).await;
            hello.is_some_and(|it| it.is_primary || (it.is_secondary && it.primary.is_some()))
        })
        .await
    }

    fn process(&self) -> Daemon {
        process()
    }

    fn revive_script(&self, node: &Node, _nodes: &[Node]) -> Option<String> {
        Some(self.member(node).revive_script())
    }

    fn data_folders(&self) -> Vec<String> {
        vec![data()]
    }

    fn membership(&self) -> Option<&dyn DbMembership> {
        Some(self)
    }

    fn versions(&self) -> Option<&dyn DbVersions> {
        Some(self)
    }

    fn faults(&self) -> Option<&dyn DbFaults> {
        Some(self)
    }

    async fn findings(&self, node: &Node) -> Result<Option<Finding>, DbError> {
        rollback::look(node, &data()).await
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
        let configuration = configuration(&servers, 1);
        let members = configuration.get_array("members").unwrap();
        let first = doc! { "_id": 0, "host": "10.0.0.1:27017", "priority": 1.0, "votes": 1 };
        assert_eq!(members[0], Bson::Document(first));
        let hidden = doc! { "_id": 1, "host": "10.0.0.2:27017", "priority": 0.0, "votes": 0, "hidden": true };
        assert_eq!(members[1], Bson::Document(hidden));
        let settings = configuration.get_document("settings").unwrap();
        assert_eq!(settings.get_i64("electionTimeoutMillis").unwrap(), 1000);
    }
}
