//! A client of one process, pinned to one node.
//!
//! Transactions that write go to the primary, whatever the node. With reads on standbys, those that only read go to the worker's own node.
//! One session a server, opened when it is needed; it is dropped with a transaction of unknown outcome.

use std::sync::Arc;

use async_trait::async_trait;
use harness::client::{Client, ClientInfo, Completion, Connect, Invocation};
use harness::recovery::RecoveryProbe;
use harness::remote::Node;
use harness::{Name, OpError, Value};
use workloads::kit::Outcome;

use crate::bank::{self, Transfer};
use crate::errors::{Failure, Stage};
use crate::isolation::Isolation;
use crate::probe::{PgProbe, probe_schema};
use crate::session::Session;
use crate::txn::{self, Transaction, filled};

/// What clients do.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Transactions(txn::Settings),
    Bank(bank::Settings),
}

impl Work {
    fn isolation(&self) -> Isolation {
        match self {
            Work::Transactions(settings) => settings.isolation,
            Work::Bank(settings) => settings.isolation,
        }
    }

    fn schema(&self) -> String {
        match self {
            Work::Transactions(settings) => settings.schema(),
            Work::Bank(settings) => settings.schema(),
        }
    }
}

/// A server: its node and its address.
pub(crate) type Server = (Name, String);

/// Opens clients on the nodes of a cluster.
pub(crate) struct PgConnect {
    /// The primary is the first.
    nodes: Vec<Server>,
    run: u64,
    work: Arc<Work>,
    standby_reads: bool,
}

impl PgConnect {
    /// For these nodes; `run` tells this run's tables from others'.
    pub(crate) fn new(nodes: &[Node], run: u64, work: Work, standby_reads: bool) -> PgConnect {
        let server = |node: &Node| (node.name.clone(), node.address.clone());
        PgConnect {
            nodes: nodes.iter().map(server).collect(),
            run,
            work: Arc::new(work),
            standby_reads,
        }
    }

    /// Makes the tables of this run, in one transaction.
    async fn make(&self, primary: &Server) -> Result<(), Failure> {
        let session = Session::open(&primary.1, "gainsay setup", Isolation::ReadCommitted).await?;
        let schema = self.work.schema() + &probe_schema(self.run);
        session.batch(&schema, Stage::Deciding).await
    }
}

#[async_trait]
impl Connect for PgConnect {
    async fn prepare(&self) -> Result<(), String> {
        let primary = self.nodes.first().ok_or("there are no nodes")?;
        let made = self.make(primary).await;
        made.map_err(|failure| failure.error.message)
    }

    async fn open(&self, info: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        let no_client = |message: String| OpError::new(OpError::NO_CLIENT, message);
        let own = self.nodes.iter().find(|(name, _)| *name == info.node);
        let (Some(own), Some(primary)) = (own, self.nodes.first()) else {
            return Err(no_client(format!("no node {}", info.node)));
        };
        let reads = self
            .standby_reads
            .then(|| Link::to(own))
            .filter(|_| own.0 != primary.0);
        let mut client = PgClient {
            name: format!("gainsay process={}", info.process),
            work: self.work.clone(),
            primary: Link::to(primary),
            reads,
        };
        for link in [Some(&mut client.primary), client.reads.as_mut()]
            .into_iter()
            .flatten()
        {
            let opened = Session::open(&link.server.1, &client.name, self.work.isolation()).await;
            link.session = Some(opened.map_err(|failure| no_client(failure.error.message))?);
        }
        Ok(Box::new(client))
    }

    fn recovery_probe(&self) -> Option<Arc<dyn RecoveryProbe>> {
        Some(Arc::new(PgProbe {
            nodes: self.nodes.clone(),
            run: self.run,
        }))
    }
}

/// A server and the session with it.
struct Link {
    server: Server,
    /// Taken while a transaction is under way: one that is dropped takes its session along.
    session: Option<Session>,
}

impl Link {
    fn to(server: &Server) -> Link {
        Link {
            server: server.clone(),
            session: None,
        }
    }
}

struct PgClient {
    /// What the servers know it by.
    name: String,
    work: Arc<Work>,
    primary: Link,
    /// Where transactions go that only read, if not to the primary.
    reads: Option<Link>,
}

/// What is to be done.
enum Task {
    Transaction(Transaction),
    ReadAccounts,
    Transfer(Transfer),
}

impl Task {
    fn of(invocation: &Invocation, work: &Work) -> Result<Task, OpError> {
        let op = &invocation.op;
        match (work, &*op.f) {
            (Work::Transactions(_), "txn") => Transaction::read(&op.value).map(Task::Transaction),
            (Work::Bank(_), "read") => Ok(Task::ReadAccounts),
            (Work::Bank(_), "transfer") => Transfer::read(&op.value).map(Task::Transfer),
            (_, other) => Err(OpError::new(
                "unsupported",
                format!("no operation {other:?} here"),
            )),
        }
    }

    fn only_reads(&self) -> bool {
        match self {
            Task::Transaction(transaction) => transaction.only_reads(),
            Task::ReadAccounts => true,
            Task::Transfer(_) => false,
        }
    }

    /// Performs it; the operation's value when it is `ok`.
    async fn perform(
        &self,
        session: &Session,
        work: &Work,
        invocation: &Invocation,
    ) -> Result<Value, Failure> {
        let index = invocation.index;
        let asked = &invocation.op.value;
        match (self, work) {
            (Task::Transaction(transaction), Work::Transactions(settings)) => {
                let read = transaction.perform(session, settings, index).await?;
                Ok(filled(asked, read))
            }
            (Task::Transfer(transfer), Work::Bank(settings)) => settings
                .transfer(session, index, *transfer)
                .await
                .map(|()| asked.clone()),
            (Task::ReadAccounts, Work::Bank(settings)) => settings.read(session, index).await,
            _ => Err(Failure::refused(
                "unsupported",
                "a task of another workload",
            )),
        }
    }
}

#[async_trait]
impl Client for PgClient {
    async fn invoke(&mut self, invocation: &Invocation) -> Completion {
        let asked = invocation.op.value.clone();
        let task = match Task::of(invocation, &self.work) {
            Ok(task) => task,
            Err(error) => return Completion::fail(asked, error),
        };
        let only_reads = task.only_reads();
        let link = match &mut self.reads {
            Some(reads) if only_reads => reads,
            _ => &mut self.primary,
        };
        let node = link.server.0.clone();
        let session = match link.session.take().filter(|session| !session.is_closed()) {
            Some(session) => Ok(session),
            None => Session::open(&link.server.1, &self.name, self.work.isolation()).await,
        };
        let done = match session {
            Ok(session) => {
                let done = task.perform(&session, &self.work, invocation).await;
                if done
                    .as_ref()
                    .map_or_else(|failure| failure.usable, |_| true)
                {
                    link.session = Some(session);
                }
                done
            }
            Err(failure) => Err(failure),
        };
        match done {
            Ok(value) => Completion::ok(value).from_node(node),
            Err(failure) => {
                let answered = failure.answered;
                let completion = match failure.outcome {
                    Outcome::NotExecuted => Completion::fail(asked, failure.error),
                    // What only reads has no effect.
                    Outcome::Unknown if only_reads => Completion::fail(asked, failure.error),
                    Outcome::Unknown => Completion::info(asked, failure.error),
                };
                match answered {
                    true => completion.from_node(node),
                    false => completion,
                }
            }
        }
    }
}
