//! Fault workers: each performs the activities of one fault, beside the others.

use std::sync::Arc;
use std::time::Duration;

use store::{Draft, EventType, Name, OpError, Process, Value};

use super::attempt::{Attempts, Ended};
use super::desk::{Assignment, Desk, Job};
use super::outbox::{Completed, Outbox, Times};
use super::{HEAL, INTERRUPTED, PANIC};
use crate::capability::Environment;
use crate::client::Op;
use crate::fault::{Fault, FaultOutcome};
use crate::generator::Thread;
use crate::time::nanos;

/// A worker for one fault.
pub(super) struct FaultWorker {
    pub(super) thread: Thread,
    pub(super) name: Name,
    pub(super) fault: Box<dyn Fault>,
    pub(super) environment: Environment,
    pub(super) timeout: Duration,
    pub(super) desk: Arc<Desk>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) attempts: Attempts,
}

impl FaultWorker {
    /// Works until told to quit.
    pub(super) async fn work(mut self) {
        loop {
            match self.desk.next().await {
                Job::Perform(assignment) => self.perform(assignment).await,
                Job::Heal => self.heal().await,
                Job::Quit => break,
            }
        }
        self.outbox.leave();
    }

    async fn perform(&mut self, assignment: Assignment) {
        let Assignment { op, planned, due } = assignment;
        let times = self.invoke(&op, planned, due);
        let deadline = times.invoked.saturating_add(nanos(self.timeout));
        let (fault, environment) = (&mut self.fault, &self.environment);
        let attempt = async { fault.invoke(environment, &op).await };
        let outcome = self.attempts.run(deadline, attempt).await;
        let outcome = match self.unless_given_up(outcome) {
            Ok(outcome) => outcome,
            Err(error) => FaultOutcome::Indeterminate(error),
        };
        self.complete(op, outcome, times);
    }

    /// Undoes the fault; part of the history like all that is done to the system.
    async fn heal(&mut self) {
        let op = Op::new(HEAL, Value::Null);
        let now = self.outbox.now();
        let times = self.invoke(&op, now, now);
        let deadline = times.invoked.saturating_add(nanos(self.timeout));
        let (fault, environment) = (&mut self.fault, &self.environment);
        let attempt = async { fault.heal(environment).await };
        let ended = self.attempts.run(deadline, attempt).await;
        let outcome = match self.unless_given_up(ended) {
            Ok(Ok(())) => FaultOutcome::Installed(Value::Null),
            Ok(Err(error)) | Err(error) => FaultOutcome::Indeterminate(error),
        };
        self.complete(op, outcome, times);
    }

    fn unless_given_up<T>(&self, ended: Ended<T>) -> Result<T, OpError> {
        match ended {
            Ended::Done(outcome, _) => Ok(outcome),
            Ended::TimedOut => {
                let message = format!("not done within {:?}", self.timeout);
                Err(OpError::new(OpError::TIMEOUT, message))
            }
            Ended::Abandoned => Err(OpError::new(INTERRUPTED, "the run was ended")),
            Ended::Panicked(message) => Err(OpError::new(PANIC, message)),
        }
    }

    fn invoke(&self, op: &Op, planned: u64, due: u64) -> Times {
        let stamp = self
            .outbox
            .invoke(self.draft(EventType::Invoke, op, op.value.clone()));
        Times {
            planned,
            due,
            taken: stamp.time,
            invoked: stamp.time,
            ..Times::default()
        }
    }

    fn complete(&self, op: Op, outcome: FaultOutcome, times: Times) {
        let (kind, value, error) = match outcome {
            FaultOutcome::Installed(evidence) => (EventType::Ok, evidence, None),
            FaultOutcome::Skipped(error) => (EventType::Fail, op.value.clone(), Some(error)),
            FaultOutcome::Indeterminate(error) => (EventType::Info, op.value.clone(), Some(error)),
        };
        let draft = Draft {
            error: error.as_ref().map(OpError::to_value),
            ..self.draft(kind, &op, value.clone())
        };
        let completed = Completed {
            thread: self.thread,
            op,
            kind,
            value,
            error,
            times,
            refused: false,
        };
        self.outbox.complete(draft, completed);
    }

    fn draft(&self, kind: EventType, op: &Op, value: Value) -> Draft {
        Draft {
            key: op.key.clone(),
            ..Draft::new(
                Process::Nemesis(self.name.clone()),
                kind,
                op.f.clone(),
                value,
            )
        }
    }
}
