//! Client workers: each performs operations through one client at a time.

use std::sync::Arc;
use std::time::Duration;

use store::{Draft, EventType, Name, OpError, Process, Value};

use super::attempt::{Attempts, Ended, discard};
use super::desk::{Assignment, Desk, Job};
use super::outbox::{Completed, Outbox, Times};
use super::{INTERRUPTED, PANIC};
use crate::client::{Client, ClientInfo, Completion, Invocation, Op, SharedConnect};
use crate::generator::Thread;
use crate::time::{Nanos, nanos};

/// The class of an error for which the client is to blame.
const CLIENT_BUG: &str = "client-bug";

/// A worker: a thread in the sense of generators, a task in the sense of the clock.
pub(super) struct ClientWorker {
    pub(super) thread: Thread,
    pub(super) node: Name,
    pub(super) process: u64,
    /// How many numbers the next process is further on: the number of client workers.
    pub(super) process_step: u64,
    pub(super) connect: SharedConnect,
    pub(super) client: Option<Box<dyn Client>>,
    pub(super) op_timeout: Duration,
    pub(super) open_timeout: Duration,
    pub(super) desk: Arc<Desk>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) attempts: Attempts,
}

impl ClientWorker {
    /// Works until told to quit.
    pub(super) async fn work(mut self) {
        loop {
            match self.desk.next().await {
                Job::Perform(assignment) => self.perform(assignment).await,
                Job::Heal => {}
                Job::Quit => break,
            }
        }
        self.close().await;
        self.outbox.leave();
    }

    async fn perform(&mut self, assignment: Assignment) {
        let Assignment { op, planned, due } = assignment;
        let (client, opened) = match self.client.take() {
            Some(client) => (Ok(client), None),
            None => {
                let began = self.outbox.now();
                (self.open().await, Some(began))
            }
        };
        let stamp = self.outbox.invoke(Draft {
            key: op.key.clone(),
            ..self.draft(EventType::Invoke, &op, op.value.clone())
        });
        let mut times = Times {
            planned,
            due,
            taken: opened.unwrap_or(stamp.time),
            invoked: stamp.time,
            ..Times::default()
        };
        let mut client = match client {
            Ok(client) => client,
            Err(error) => {
                let completion = Completion::fail(op.value.clone(), error);
                return self.complete(op, completion, times);
            }
        };
        let invocation = Invocation {
            index: stamp.index,
            op,
        };
        let deadline = stamp.time.saturating_add(nanos(self.op_timeout));
        let attempt = async { client.invoke(&invocation).await };
        let ended = self.attempts.run(deadline, attempt).await;
        let op = invocation.op;
        let completion = match ended {
            Ended::Done(completion, woken) => {
                times.woken = woken;
                validated(completion)
            }
            Ended::TimedOut => {
                let message = format!("no answer within {:?}", self.op_timeout);
                unknown(&op, OpError::TIMEOUT, message)
            }
            Ended::Abandoned => unknown(&op, INTERRUPTED, "the run was ended".to_owned()),
            Ended::Panicked(message) => unknown(&op, PANIC, message),
        };
        if completion.kind == EventType::Info {
            // The stamp comes first, so that a slow destructor is not part of the operation.
            self.complete(op, completion, times);
            discard(client);
        } else {
            self.client = Some(client);
            self.complete(op, completion, times);
        }
    }

    /// A fresh client, or why there is none. Nothing of the operation was sent then.
    async fn open(&mut self) -> Result<Box<dyn Client>, OpError> {
        let info = ClientInfo {
            worker: self.thread,
            process: self.process,
            node: self.node.clone(),
        };
        let deadline = self.deadline(self.open_timeout);
        let attempt = async { self.connect.open(&info).await };
        let reason = match self.attempts.run(deadline, attempt).await {
            Ended::Done(Ok(client), _) => return Ok(client),
            Ended::Done(Err(error), _) => error.to_string(),
            Ended::TimedOut => format!("not open within {:?}", self.open_timeout),
            Ended::Abandoned => "the run was ended while the client was being opened".to_owned(),
            Ended::Panicked(message) => format!("opening it panicked: {message}"),
        };
        Err(OpError::new(OpError::NO_CLIENT, reason))
    }

    fn complete(&mut self, op: Op, completion: Completion, times: Times) {
        let Completion {
            kind,
            value,
            error,
            node,
        } = completion;
        let refused = kind == EventType::Fail
            && node.is_none()
            && error
                .as_ref()
                .is_none_or(|error| error.class != OpError::PRECONDITION);
        let draft = Draft {
            key: op.key.clone(),
            error: error.as_ref().map(OpError::to_value),
            node,
            ..self.draft(kind, &op, value.clone())
        };
        if kind == EventType::Info {
            self.process += self.process_step;
        }
        let completed = Completed {
            thread: self.thread,
            op,
            kind,
            value,
            error,
            times,
            refused,
        };
        self.outbox.complete(draft, completed);
    }

    fn draft(&self, kind: EventType, op: &Op, value: Value) -> Draft {
        Draft::new(Process::Client(self.process), kind, op.f.clone(), value)
    }

    fn deadline(&self, limit: Duration) -> Nanos {
        self.outbox.now().saturating_add(nanos(limit))
    }

    async fn close(&mut self) {
        if let Some(mut client) = self.client.take() {
            let deadline = self.deadline(self.open_timeout);
            let attempt = async { client.close().await };
            self.attempts.run(deadline, attempt).await;
            discard(client);
        }
    }
}

/// A completion as a client may make one. Any other is a defect of the client, and nobody knows what
/// it did.
fn validated(completion: Completion) -> Completion {
    if completion.kind != EventType::Invoke {
        return completion;
    }
    let message = "the client completed an operation with `invoke`";
    Completion {
        kind: EventType::Info,
        error: Some(OpError::new(CLIENT_BUG, message)),
        ..completion
    }
}

fn unknown(op: &Op, class: &'static str, message: String) -> Completion {
    Completion::info(op.value.clone(), OpError::new(class, message))
}
