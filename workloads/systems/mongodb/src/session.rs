//! What a client talks through: its connections, whom it asks, and its transactions.
//!
//! A client knows one node, its own. With [`Routing::Primary`] it sends what concerns the primary to whom its own node takes for the
//! primary, as a driver would that had only this node for a seed; it asks anew every [`ROUTE_AGE`]. So on both sides of a partition there
//! are clients, and each side's go where that side would send them. Nothing is ever sent twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, Timestamp, doc};
use harness::Name;
use workloads::kit::Failure;

use crate::errors;
use crate::settings::{ReadPreference, Routing, Settings, milliseconds};
use crate::wire::{Connection, WireError};

/// How long a connection may take to be made.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long a client goes by what its node said of the others. Drivers are told at once (since 4.4).
const ROUTE_AGE: Duration = Duration::from_millis(100);
/// How long a transaction that failed may take to be aborted. What is left of it ends by itself, later.
const ABORT_LIMIT: Duration = Duration::from_millis(500);

/// The database of commands that concern a server and not data.
pub(crate) const ADMIN: &str = "admin";

/// What a node says of itself and the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// It believes to be the primary, and takes writes.
    pub(crate) is_primary: bool,
    /// It is a secondary, and answers reads.
    pub(crate) is_secondary: bool,
    /// Where the primary is, as far as it knows.
    pub(crate) primary: Option<String>,
}

impl Hello {
    /// The command, in the form that all versions know.
    pub(crate) fn command() -> Document {
        doc! { "isMaster": 1 }
    }

    /// What was answered.
    pub(crate) fn read(answer: &Document) -> Hello {
        let says = |key| answer.get_bool(key).is_ok_and(|yes| yes);
        Hello {
            is_primary: says("ismaster"),
            is_secondary: says("secondary"),
            primary: answer.get_str("primary").ok().map(str::to_owned),
        }
    }
}

/// The nodes of a cluster and where their servers are.
pub(crate) type Servers = Vec<(Name, String)>;

/// A client's way to the servers.
pub(crate) struct Session {
    servers: Arc<Servers>,
    /// The client's own node.
    own: usize,
    pub(crate) settings: Arc<Settings>,
    /// One at most for each server. Taken while a request is under way: one that is dropped takes its connection along.
    connections: BTreeMap<usize, Connection>,
    /// What the own node said, and when.
    known: Option<(Instant, Hello)>,
    /// Who answered last, unless the last request got no answer.
    answered: Option<usize>,
    /// The session of the server's that transactions belong to.
    id: Document,
    /// The number of the last transaction.
    transaction: i64,
    /// What it goes by, if it is causally consistent.
    causal: Option<Causal>,
}

/// What a causally consistent session has seen of the cluster's time. Servers tell both with every answer.
#[derive(Clone, Debug, Default, PartialEq)]
struct Causal {
    /// When the last operation took place: reads wait until their server has come so far.
    operation_time: Option<Timestamp>,
    /// The newest time that any server has told of, signed by it, for others to know.
    cluster_time: Option<Document>,
}

impl Causal {
    /// Has a command say what is known.
    fn mark(&self, command: &mut Document) {
        if let Some(time) = &self.cluster_time {
            command.insert("$clusterTime", time.clone());
        }
        if let (Some(time), Ok(concern)) =
            (self.operation_time, command.get_document_mut("readConcern"))
        {
            concern.insert("afterClusterTime", time);
        }
    }

    /// Learns from an answer, also from one that says that something went wrong.
    fn note(&mut self, answer: &Document) {
        let later = |told: Timestamp, known: Option<Timestamp>| {
            known.is_none_or(|known| (told.time, told.increment) > (known.time, known.increment))
        };
        if let Ok(told) = answer.get_timestamp("operationTime")
            && later(told, self.operation_time)
        {
            self.operation_time = Some(told);
        }
        let time = |of: &Document| of.get_timestamp("clusterTime").ok();
        if let Ok(told) = answer.get_document("$clusterTime")
            && let Some(at) = time(told)
            && later(at, self.cluster_time.as_ref().and_then(time))
        {
            self.cluster_time = Some(told.clone());
        }
    }
}

impl Session {
    /// For a client of a node; `run` and `process` tell its transactions from all others'.
    pub(crate) fn new(
        servers: Arc<Servers>,
        own: usize,
        settings: Arc<Settings>,
        run: u64,
        process: u64,
    ) -> Session {
        let bytes = [run.to_be_bytes(), process.to_be_bytes()].concat();
        let id = Binary {
            subtype: BinarySubtype::Uuid,
            bytes,
        };
        Session {
            servers,
            own,
            settings,
            connections: BTreeMap::new(),
            known: None,
            answered: None,
            id: doc! { "id": id },
            transaction: 0,
            causal: None,
        }
    }

    /// Makes it causally consistent: each operation sees what those before it have done and seen.
    pub(crate) fn keep_causal(&mut self) {
        self.causal = Some(Causal::default());
    }

    /// The client's own node.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// Connects to the own node.
    pub(crate) async fn connect(&mut self) -> Result<(), WireError> {
        let connection = Connection::open(&self.servers[self.own].1, CONNECT_LIMIT).await?;
        self.connections.insert(self.own, connection);
        Ok(())
    }

    /// Forgets who answered: an operation begins.
    pub(crate) fn begin(&mut self) {
        self.answered = None;
    }

    /// Who answered last, if the last request was answered.
    pub(crate) fn answered(&self) -> Option<&Name> {
        self.answered.map(|at| &self.servers[at].0)
    }

    /// Sends a command to a server, once, and returns the answer, whatever it says.
    async fn ask(
        &mut self,
        at: usize,
        database: &str,
        command: Document,
    ) -> Result<Document, Failure> {
        self.answered = None;
        let connection = match self.connections.remove(&at).filter(|open| !open.is_spent()) {
            Some(connection) => connection,
            None => Connection::open(&self.servers[at].1, CONNECT_LIMIT).await?,
        };
        let (answer, connection) = connection.ask(database, command).await?;
        self.connections.insert(at, connection);
        self.answered = Some(at);
        Ok(answer)
    }

    /// The same for data. An answer that says that something went wrong is an error.
    pub(crate) async fn command(
        &mut self,
        at: usize,
        mut command: Document,
    ) -> Result<Document, Failure> {
        let database = self.settings.database.clone();
        if let Some(causal) = &self.causal {
            command.insert("lsid", self.id.clone());
            causal.mark(&mut command);
        }
        let answer = self.ask(at, &database, command).await?;
        if let Some(causal) = &mut self.causal {
            causal.note(&answer);
        }
        let checked = errors::check(&answer);
        self.look(checked).map(|()| answer)
    }

    /// A failure may mean that the primary is another one now: the next operation asks.
    fn look<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err() {
            self.known = None;
        }
        result
    }

    async fn hello(&mut self) -> Result<Hello, Failure> {
        if let Some((asked, hello)) = &self.known
            && asked.elapsed() < ROUTE_AGE
        {
            return Ok(hello.clone());
        }
        self.known = None;
        let asked = self.ask(self.own, ADMIN, Hello::command()).await;
        // Nothing that the operation is about was sent.
        let answer = asked.map_err(Failure::of_read)?;
        let hello = Hello::read(&answer);
        self.known = Some((Instant::now(), hello.clone()));
        Ok(hello)
    }

    /// Where writes go.
    pub(crate) async fn writer(&mut self) -> Result<usize, Failure> {
        if self.settings.routing == Routing::Own {
            return Ok(self.own);
        }
        let hello = self.hello().await?;
        if hello.is_primary {
            return Ok(self.own);
        }
        let known = hello.primary.and_then(|primary| {
            self.servers
                .iter()
                .position(|(_, server)| *server == primary)
        });
        known.ok_or_else(|| {
            Failure::refused(
                "no-primary",
                format!("{} knows of no primary", self.servers[self.own].0),
            )
        })
    }

    /// Where reads go.
    pub(crate) async fn reader(&mut self) -> Result<usize, Failure> {
        match (self.settings.routing, self.settings.read_preference) {
            (Routing::Own, _) | (_, ReadPreference::Nearest) => Ok(self.own),
            (_, ReadPreference::Primary) => self.writer().await,
            // The clients of the primary ask its neighbour.
            (_, ReadPreference::Secondary) => match self.hello().await?.is_primary {
                true => Ok((self.own + 1) % self.servers.len()),
                false => Ok(self.own),
            },
        }
    }

    /// A query.
    pub(crate) fn query(
        &self,
        collection: &str,
        filter: Document,
        read_concern: &str,
        preference: ReadPreference,
    ) -> Document {
        doc! {
            "find": collection,
            "filter": filter,
            "readConcern": { "level": read_concern },
            "maxTimeMS": milliseconds(self.settings.limit),
            "$readPreference": preference.document(),
        }
    }

    /// Begins a transaction at the primary. Nothing is sent before its first statement.
    pub(crate) async fn transaction(&mut self) -> Result<Transaction<'_>, Failure> {
        let at = self.writer().await?;
        self.transaction += 1;
        Ok(Transaction {
            session: self,
            at,
            begun: false,
            wrote: false,
        })
    }
}

/// A transaction under way. It is committed with [`Transaction::commit`] or not at all: a statement that fails aborts it, and one that is
/// dropped is aborted by the server, later.
pub(crate) struct Transaction<'a> {
    session: &'a mut Session,
    at: usize,
    begun: bool,
    /// Whether it did more than read.
    wrote: bool,
}

impl Transaction<'_> {
    /// What makes a command part of it.
    fn mark(&self, command: &mut Document) {
        command.insert("lsid", self.session.id.clone());
        command.insert("txnNumber", self.session.transaction);
        command.insert("autocommit", false);
    }

    /// Sends a statement. An error means that the transaction certainly has no effect: its commit was not sent, and never will be.
    pub(crate) async fn statement(&mut self, mut command: Document) -> Result<Document, Failure> {
        self.mark(&mut command);
        if !self.begun {
            command.insert("startTransaction", true);
            let level = self.session.settings.txn_read_concern.as_str();
            command.insert("readConcern", doc! { "level": level });
        }
        self.begun = true;
        match self.session.command(self.at, command).await {
            Ok(answer) => Ok(answer),
            Err(failure) => {
                // Without an answer there is nobody to ask.
                if self.session.answered.is_some() {
                    self.abort().await;
                }
                // Its commit was not sent: it has no more effect than a read.
                Err(failure.of_read())
            }
        }
    }

    /// The same for a statement that writes.
    pub(crate) async fn write(&mut self, command: Document) -> Result<(), Failure> {
        self.wrote = true;
        self.statement(command).await.map(drop)
    }

    /// Tells the server that it will not be committed, in case it does not know, so that nobody waits for its locks.
    pub(crate) async fn abort(&mut self) {
        if !self.begun {
            return;
        }
        let mut command = doc! { "abortTransaction": 1 };
        self.mark(&mut command);
        let answered = self.session.answered;
        let asked = self.session.ask(self.at, ADMIN, command);
        // Whatever comes of it: the transaction has no effect.
        let _ = tokio::time::timeout(ABORT_LIMIT, asked).await;
        self.session.answered = answered;
    }

    /// Commits, once.
    pub(crate) async fn commit(self) -> Result<(), Failure> {
        let settings = &self.session.settings;
        let mut command = doc! { "commitTransaction": 1 };
        if self.wrote || settings.concern_of_reads {
            command.insert("writeConcern", settings.txn_write_concern.clone());
        }
        self.mark(&mut command);
        let answer = self.session.ask(self.at, ADMIN, command).await?;
        let checked = errors::check_commit(&answer);
        self.session.look(checked)
    }
}

/// A whole number of a document's, as the history has it; none where it is something else.
pub(crate) fn whole(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causal_session_says_the_latest_that_it_was_told() {
        let at = |time, increment| Timestamp { time, increment };
        let told = |operation, cluster| {
            doc! { "ok": 1.0, "operationTime": operation, "$clusterTime": { "clusterTime": cluster, "signature": 0 } }
        };
        let mut causal = Causal::default();
        let read = || doc! { "find": "x", "readConcern": { "level": "majority" } };
        let mut first = read();
        causal.mark(&mut first);
        assert_eq!(first, read());
        causal.note(&told(at(5, 2), at(5, 3)));
        // A server that is behind; a failure that tells of something later; an answer that tells nothing.
        causal.note(&told(at(5, 1), at(4, 9)));
        causal.note(&doc! { "ok": 0.0, "code": 10107, "operationTime": at(5, 4) });
        causal.note(&doc! { "ok": 1.0 });
        let mut next = read();
        causal.mark(&mut next);
        let concern = doc! { "level": "majority", "afterClusterTime": at(5, 4) };
        assert_eq!(next.get_document("readConcern").ok(), Some(&concern));
        let cluster = doc! { "clusterTime": at(5, 3), "signature": 0 };
        assert_eq!(next.get_document("$clusterTime").ok(), Some(&cluster));
        // A write waits for nothing.
        let mut write = doc! { "update": "x" };
        causal.mark(&mut write);
        assert!(write.contains_key("$clusterTime") && !write.contains_key("readConcern"));
    }

    #[test]
    fn what_nodes_say_of_themselves() {
        let primary =
            doc! { "ismaster": true, "secondary": false, "primary": "10.0.0.1:27017", "ok": 1.0 };
        let expected = Hello {
            is_primary: true,
            is_secondary: false,
            primary: Some("10.0.0.1:27017".to_owned()),
        };
        assert_eq!(Hello::read(&primary), expected);
        let starting =
            doc! { "ismaster": false, "secondary": false, "isreplicaset": true, "ok": 1.0 };
        assert_eq!(Hello::read(&starting), Hello::default());
    }
}
