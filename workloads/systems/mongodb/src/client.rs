//! The operations of the workloads, as commands of MongoDB.
//!
//! | workload | collection | a document | operations |
//! | --- | --- | --- | --- |
//! | register | `registers` | `{_id: key, value}` | `find`, `update` with `upsert`, `findAndModify` with the expected value in the query |
//! | set | `elements` | `{_id: element}` | `insert`, `find` of all |
//! | append | `lists` | `{_id: key, v: [..]}` | transactions of `find` and `update` with `$push` and `upsert` |
//! | rw-register | `registers` | `{_id: key, value}` | transactions of `find` and `update` with `upsert` |
//! | long-fork, write-skew | as rw-register | | |
//! | causal | `registers` | `{_id: key, value}` | a `find` or an `update` with `upsert`, in a causal session |
//! | monotonic-reads | `lists` | `{_id: key, v: [..]}` | `update` with `$push` and `upsert`, `find`; the last at `linearizable`, of the primary |
//! | divergence | `registers` | `{_id: key, value}` | `update` with `upsert`; `find` at `local`, of the client's own node |
//! | bank | `accounts` | `{_id: account, balance}` | transactions of two `find`s and two `update`s with `$inc`; of one `find` of all |

use std::sync::Arc;

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use checkers::FINAL_READ;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation, Op};
use harness::recovery::RecoveryProbe;
use harness::remote::Node;
use harness::{OpError, Value, json};
use workloads::kit::Failure;

use crate::db::server;
use crate::errors::{self, NAMESPACE_EXISTS};
use crate::probe::MongoProbe;
use crate::session::{Servers, Session, whole};
use crate::settings::{LINEARIZABLE, LOCAL, ReadPreference, Settings};
use crate::txn::{list, upsert};

pub(crate) const REGISTERS: &str = "registers";
const ELEMENTS: &str = "elements";
pub(crate) const LISTS: &str = "lists";
pub(crate) const ACCOUNTS: &str = "accounts";
/// All of them. A transaction of 4.2 cannot make one.
const COLLECTIONS: [&str; 4] = [REGISTERS, ELEMENTS, LISTS, ACCOUNTS];

/// How many documents servers may send at once, if they are small enough.
pub(crate) const BATCH: i32 = 1_000_000;

/// What clients of a run do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Linearizable registers.
    Register,
    /// A set.
    Set,
    /// Lists in transactions.
    Append,
    /// Registers in transactions.
    Registers,
    /// Accounts in transactions: each and what it begins with.
    Bank(Vec<(i64, i64)>),
    /// Registers, each operation by itself, in sessions that are causally consistent.
    Causal,
    /// Lists, each operation by itself.
    Lists,
    /// Registers that are written, and read as each node has them.
    Records,
}

/// Opens clients on the nodes of a cluster.
pub(crate) struct MongoConnect {
    servers: Arc<Servers>,
    settings: Arc<Settings>,
    work: Arc<Work>,
    run: u64,
}

impl MongoConnect {
    /// For these nodes; `run` tells this run from others.
    pub(crate) fn new(nodes: &[Node], settings: Settings, work: Work, run: u64) -> MongoConnect {
        let servers = nodes.iter().map(|node| (node.name.clone(), server(node)));
        MongoConnect {
            servers: Arc::new(servers.collect()),
            settings: Arc::new(settings),
            work: Arc::new(work),
            run,
        }
    }

    /// A session of a process whose own node is this one, connected.
    async fn session(&self, own: usize, process: u64) -> Result<Session, Failure> {
        let mut session = Session::new(
            self.servers.clone(),
            own,
            self.settings.clone(),
            self.run,
            process,
        );
        session.connect().await?;
        if *self.work == Work::Causal && self.settings.causal_sessions {
            session.keep_causal();
        }
        Ok(session)
    }
}

#[async_trait]
impl Connect for MongoConnect {
    async fn prepare(&self) -> Result<(), String> {
        let mut said = "there are no nodes".to_owned();
        // Clients that talk to their own node alone find the primary so.
        for own in 0..self.servers.len() {
            let made = async { prepare(&mut self.session(own, 0).await?, &self.work).await };
            match made.await {
                Ok(()) => return Ok(()),
                Err(failure) => said = failure.error.message,
            }
        }
        Err(said)
    }

    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let refused = |message: String| OpError::new(OpError::NO_CLIENT, message);
        let own = self.servers.iter().position(|(name, _)| *name == info.node);
        let own = own.ok_or_else(|| refused(format!("no node {}", info.node)))?;
        let session = self.session(own, info.process).await;
        let session = session.map_err(|failure| refused(failure.error.message))?;
        Ok(Box::new(MongoClient {
            session,
            work: self.work.clone(),
        }))
    }

    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        Some(Arc::new(MongoProbe::new(self.servers.clone(), self.run)))
    }
}

/// Makes the collections and the accounts, where they are not there. On a majority, or else a new primary might not have them.
async fn prepare(session: &mut Session, work: &Work) -> Result<(), Failure> {
    let at = session.writer().await?;
    let concern =
        doc! { "w": "majority", "wtimeout": crate::settings::milliseconds(session.settings.limit) };
    for collection in COLLECTIONS {
        let created = session
            .command(
                at,
                doc! { "create": collection, "writeConcern": concern.clone() },
            )
            .await;
        match created {
            Err(failure)
                if !failure
                    .error
                    .message
                    .contains(&format!("({NAMESPACE_EXISTS})")) =>
            {
                return Err(failure);
            }
            _ => {}
        }
    }
    if let Work::Bank(accounts) = work {
        let updates = accounts.iter().map(|(account, balance)| {
            let document = doc! { "q": { "_id": account }, "u": { "$setOnInsert": { "balance": balance } }, "upsert": true };
            Bson::Document(document)
        });
        let updates: Vec<Bson> = updates.collect();
        session
            .command(
                at,
                doc! { "update": ACCOUNTS, "updates": updates, "writeConcern": concern },
            )
            .await?;
    }
    Ok(())
}

/// A client of one process.
pub(crate) struct MongoClient {
    pub(crate) session: Session,
    pub(crate) work: Arc<Work>,
}

#[async_trait]
impl Client for MongoClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let op = &invocation.op;
        self.session.begin();
        let done = match (&*self.work, &*op.f) {
            (Work::Register, "read") => self.read(op).await,
            (Work::Register, "write") => self.write(op).await,
            (Work::Register, "cas") => self.compare_and_set(op).await,
            (Work::Set, "add") => self.add(&op.value).await,
            (Work::Set, "read" | FINAL_READ) => self.read_set().await,
            (Work::Append | Work::Registers, "txn") => self.transact(&op.value).await,
            (Work::Causal, "txn") => self.in_session(&op.value).await,
            (Work::Lists, "add") => self.push(op).await,
            (Work::Lists, "read") => self.read_list(op).await,
            (Work::Lists, FINAL_READ) => self.read_list_at_last(op).await,
            (Work::Records, "write") => self.write(op).await,
            (Work::Records, "read" | FINAL_READ) => self.read_own(op).await,
            (Work::Bank(_), "transfer") => self.transfer(&op.value).await,
            (Work::Bank(_), "read") => self.read_accounts().await,
            (_, other) => Err(unsupported(format!("there is no operation {other:?} here"))),
        };
        let completion = match done {
            Ok(value) => Completion::ok(value),
            // A read that failed has no effect, however it failed.
            Err(failure) if matches!(&*op.f, "read" | FINAL_READ) => {
                failure.of_read().completion(&op.value)
            }
            Err(failure) => failure.completion(&op.value),
        };
        match self.session.answered() {
            Some(node) => completion.from_node(node.clone()),
            None => completion,
        }
    }
}

pub(crate) fn unsupported(message: impl Into<String>) -> Failure {
    Failure::refused("unsupported", message)
}

pub(crate) fn bad_answer(answer: &Document) -> Failure {
    Failure::unknown("bad-answer", answer.to_string())
}

/// A whole number of an operation's.
pub(crate) fn argument(value: Option<&Value>) -> Result<i64, Failure> {
    let number = value.and_then(Value::as_i64);
    number.ok_or_else(|| unsupported("keys and values are whole numbers"))
}

/// The documents of a first batch, and the number of the cursor for more.
pub(crate) fn batch<'a>(
    answer: &'a Document,
    name: &str,
) -> Result<(Vec<&'a Document>, i64), Failure> {
    let cursor = answer
        .get_document("cursor")
        .map_err(|_| bad_answer(answer))?;
    let more = errors::number(cursor, "id").ok_or_else(|| bad_answer(answer))?;
    let documents = cursor.get_array(name).map_err(|_| bad_answer(answer))?;
    let documents = documents
        .iter()
        .map(|document| document.as_document().ok_or_else(|| bad_answer(answer)));
    Ok((documents.collect::<Result<_, _>>()?, more))
}

/// The first document of an answer, if any.
pub(crate) fn first(answer: &Document) -> Result<Option<&Document>, Failure> {
    Ok(batch(answer, "firstBatch")?.0.first().copied())
}

/// A whole number of a document of ours.
pub(crate) fn field(document: &Document, name: &str) -> Result<i64, Failure> {
    document
        .get(name)
        .and_then(whole)
        .ok_or_else(|| bad_answer(document))
}

impl MongoClient {
    async fn read(&mut self, op: &Op) -> Result<Value, Failure> {
        let key = argument(op.key.as_ref())?;
        register(first(&self.find(REGISTERS, key).await?)?)
    }

    /// Asks for a document, outside of transactions.
    pub(crate) async fn find(&mut self, collection: &str, key: i64) -> Result<Document, Failure> {
        let at = self.session.reader().await?;
        let settings = &self.session.settings;
        let concern = match *self.work {
            Work::Causal => settings.read_concern_below_linearizable(),
            _ => settings.read_concern.as_str(),
        };
        let (concern, preference) = (concern.to_owned(), settings.read_preference);
        self.find_at(at, collection, key, &concern, preference)
            .await
    }

    /// Asks a server for a document.
    async fn find_at(
        &mut self,
        at: usize,
        collection: &str,
        key: i64,
        read_concern: &str,
        preference: ReadPreference,
    ) -> Result<Document, Failure> {
        let filter = doc! { "_id": key };
        let mut query = self
            .session
            .query(collection, filter, read_concern, preference);
        query.insert("limit", 1);
        query.insert("singleBatch", true);
        self.session.command(at, query).await
    }

    /// What the client's own node has, whatever others have.
    async fn read_own(&mut self, op: &Op) -> Result<Value, Failure> {
        let (key, at) = (argument(op.key.as_ref())?, self.session.own());
        let answer = self.find_at(at, REGISTERS, key, LOCAL, ReadPreference::Nearest);
        register(first(&answer.await?)?)
    }

    async fn push(&mut self, op: &Op) -> Result<Value, Failure> {
        let (key, element) = (argument(op.key.as_ref())?, argument(Some(&op.value))?);
        let change = doc! { "$push": { "v": element } };
        self.update(upsert(LISTS, key, change)).await?;
        Ok(op.value.clone())
    }

    async fn read_list(&mut self, op: &Op) -> Result<Value, Failure> {
        let key = argument(op.key.as_ref())?;
        let answer = self.find(LISTS, key).await?;
        Ok(json!(list(first(&answer)?)?))
    }

    /// A list with all that was acknowledged.
    async fn read_list_at_last(&mut self, op: &Op) -> Result<Value, Failure> {
        let (key, at) = (argument(op.key.as_ref())?, self.session.writer().await?);
        let answer = self.find_at(at, LISTS, key, LINEARIZABLE, ReadPreference::Primary);
        Ok(json!(list(first(&answer.await?)?)?))
    }

    /// Updates a document, outside of transactions.
    pub(crate) async fn update(&mut self, mut command: Document) -> Result<(), Failure> {
        let concern = self.session.settings.write_concern.clone();
        command.insert("writeConcern", concern);
        let at = self.session.writer().await?;
        let answer = self.session.command(at, command).await?;
        match errors::number(&answer, "n") {
            Some(1) => Ok(()),
            _ => Err(bad_answer(&answer)),
        }
    }

    async fn write(&mut self, op: &Op) -> Result<Value, Failure> {
        let (key, value) = (argument(op.key.as_ref())?, argument(Some(&op.value))?);
        let change = doc! { "$set": { "value": value } };
        self.update(upsert(REGISTERS, key, change)).await?;
        Ok(op.value.clone())
    }

    async fn compare_and_set(&mut self, op: &Op) -> Result<Value, Failure> {
        let key = argument(op.key.as_ref())?;
        let (from, to) = (argument(op.value.get(0))?, argument(op.value.get(1))?);
        let command = doc! {
            "findAndModify": REGISTERS, "query": { "_id": key, "value": from }, "update": { "$set": { "value": to } },
            "writeConcern": self.session.settings.write_concern.clone(),
        };
        let at = self.session.writer().await?;
        let answer = self.session.command(at, command).await?;
        let matched = answer
            .get_document("lastErrorObject")
            .ok()
            .and_then(|last| errors::number(last, "n"));
        match matched {
            Some(1) => Ok(op.value.clone()),
            Some(0) => Err(self.mismatch(op, from).await),
            _ => Err(bad_answer(&answer)),
        }
    }

    /// What a compare-and-set that matched nothing shows. It was not executed; but that the value was different is said by a server that
    /// may have been deposed: where nothing was written it waits for nobody, and MongoDB promises nothing of it. So it is asked again as
    /// a read, and what that says counts.
    async fn mismatch(&mut self, op: &Op, from: i64) -> Failure {
        match self.read(op).await {
            Ok(value) if value != json!(from) => {
                Failure::refused(OpError::PRECONDITION, "the value was different")
            }
            Ok(_) => Failure::refused(
                "no-match",
                "the value was different, and was the same when read",
            ),
            Err(failure) => {
                let why = format!(
                    "the value was different, but could not be read: {}",
                    failure.error.message
                );
                Failure::refused("no-match", why)
            }
        }
    }

    async fn add(&mut self, element: &Value) -> Result<Value, Failure> {
        let document = doc! { "_id": argument(Some(element))? };
        let command = doc! {
            "insert": ELEMENTS, "documents": [document], "writeConcern": self.session.settings.write_concern.clone(),
        };
        let at = self.session.writer().await?;
        let answer = self.session.command(at, command).await?;
        match errors::number(&answer, "n") {
            Some(1) => Ok(element.clone()),
            _ => Err(bad_answer(&answer)),
        }
    }

    /// All elements, in as many answers as the server makes of them.
    async fn read_set(&mut self) -> Result<Value, Failure> {
        let at = self.session.reader().await?;
        let mut query = self.session.query(
            ELEMENTS,
            doc! {},
            self.session.settings.read_concern_below_linearizable(),
            self.session.settings.read_preference,
        );
        query.insert("batchSize", BATCH);
        let mut answer = self.session.command(at, query).await?;
        let mut elements = Vec::new();
        let mut name = "firstBatch";
        loop {
            let (documents, more) = batch(&answer, name)?;
            for document in documents {
                elements.push(json!(field(document, "_id")?));
            }
            if more == 0 {
                return Ok(Value::Array(elements));
            }
            let next = doc! { "getMore": more, "collection": ELEMENTS, "batchSize": BATCH };
            answer = self.session.command(at, next).await?;
            name = "nextBatch";
        }
    }
}

/// The value of a register's document; null where there is no document.
pub(crate) fn register(document: Option<&Document>) -> Result<Value, Failure> {
    match document {
        None => Ok(Value::Null),
        Some(document) => Ok(json!(field(document, "value")?)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_of_queries() {
        let answer = doc! { "cursor": { "id": 0_i64, "ns": "x.y", "firstBatch": [{ "_id": 1, "v": [] }] }, "ok": 1.0 };
        let document = first(&answer).unwrap().unwrap();
        assert_eq!(field(document, "_id"), Ok(1));
        assert!(field(document, "v").is_err());
        let none = doc! { "cursor": { "id": 7_i64, "nextBatch": [] }, "ok": 1.0 };
        assert_eq!(batch(&none, "nextBatch"), Ok((vec![], 7)));
        assert!(batch(&none, "firstBatch").is_err());
        assert!(first(&doc! { "ok": 1.0 }).is_err());
    }
}
