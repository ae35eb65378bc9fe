//! What a history is of: registers, which the search knows by heart, or objects of any model.

use serde_json::Value;
use store::{Event, OpError};
use thiserror::Error;

use crate::budget::{Budget, Exhausted};

use super::evidence::{DeadEnd, OperationView, Prefix};
use super::intake::Key;
use super::log::{Ending, Log, LoggedOp};
use super::model::Machine;
use super::models::Part;
use super::options::FailedCas;
use super::portfolio::Opinion;
use super::track::Track;
use super::verify::Refutation;
use super::witness::Hint;

/// Why events are not a history of the model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error(
        "event {index}: the linearizability checker knows read, write and cas, but not {f:?}; \
         choose the model that fits the workload"
    )]
    UnknownFunction { index: u64, f: String },
    #[error("event {index}: a cas needs a value [from, to], not {value}")]
    CasValue { index: u64, value: String },
    #[error("event {index}: {message}")]
    Operation { index: u64, message: String },
    #[error(
        "event {index}: process {process} invokes an operation while its last one is still open"
    )]
    Overlap { index: u64, process: u64 },
    #[error("event {index}: process {process} completes an operation that it did not invoke")]
    Unmatched { index: u64, process: u64 },
}

/// The operations of a subject.
pub(super) type OpOf<S> = <<S as Subject>::Machine as Machine>::Op;

/// The remembered operations of a subject.
pub(super) type LoggedOf<S> = LoggedOp<OpOf<S>, <S as Subject>::Told>;

/// An operation whose outcome is known, unless it says nothing.
pub(super) struct Landed<S: Subject> {
    pub(super) op: OpOf<S>,
    pub(super) told: S::Told,
    pub(super) ending: Ending,
}

/// How the events of a history are read, and what is said of them.
pub(super) trait Subject: Sized + Send {
    /// What the search moves from state to state.
    type Machine: Machine<Op: Send> + Clone + Send;
    /// What was asked, while the operation is open.
    type Asked: Copy + Send;
    /// What is kept of an operation so that it can be shown.
    type Told: Copy + Send;

    /// What a person calls it: `the register`.
    fn noun(&self) -> String;

    /// An operation begins.
    fn ask(&mut self, event: &Event, process: u64) -> Result<Self::Asked, Malformed>;

    /// An operation ends, `ok`, or `fail` if it was refused.
    fn complete(
        &mut self,
        asked: Self::Asked,
        event: &Event,
    ) -> Result<Option<Landed<Self>>, Malformed>;

    /// Nobody knows what became of an operation.
    fn unknown(&mut self, asked: Self::Asked) -> Option<Landed<Self>>;

    /// About how many bytes is kept of all values and operations that were met.
    fn bytes(&self) -> usize;

    /// Operations were forgotten: nothing is kept any more of values that only they had, where that can be told.
    fn forget_values(&mut self, _keys: &mut [Key<Self>]) {}

    /// A new object in its first state.
    fn object(&mut self) -> (Self::Machine, u32);

    /// Which of the objects that one consists of an operation is on.
    fn part(&self, op: OpOf<Self>) -> Part;

    /// An operation as evidence shows it.
    fn view(&self, logged: &LoggedOf<Self>) -> OperationView;

    /// What a monitor says of a log of which nothing was forgotten, when the event `now` had happened.
    fn opinion(
        &self,
        log: &Log<LoggedOf<Self>>,
        now: u64,
        budget: &dyn Budget,
    ) -> Result<Opinion, Exhausted>;

    /// The positions of the operations without which some of these, by positions, could not have happened,
    /// and they themselves: ascending. All if these cannot be told apart.
    fn closed(&self, log: &Log<LoggedOf<Self>>, some: &[usize]) -> Vec<usize>;

    /// An operation as it is when only some elements are looked at; `None` if it has to do with none of them.
    fn restrict(&self, _op: &LoggedOf<Self>, _elements: &[u32]) -> Option<LoggedOf<Self>> {
        None
    }

    /// An order of the operations, by the events that began them, where a monitor can make one.
    fn order(
        &self,
        _log: &Log<LoggedOf<Self>>,
        _budget: &dyn Budget,
    ) -> Result<Option<Vec<u64>>, Exhausted> {
        Ok(None)
    }

    /// What helps to find an order, by operation; nothing if nothing does.
    fn hints(&self, _log: &Log<LoggedOf<Self>>) -> Vec<Option<Hint>> {
        Vec::new()
    }

    /// A proof that there is no order, if one can be found: the search found none at the event `at`.
    fn dead_end(
        &self,
        key: &Key<Self>,
        track: &Track<Self>,
        at: u64,
        budget: &dyn Budget,
    ) -> Option<DeadEnd>;

    /// What happened, in a sentence without its end.
    fn summary(&self, dead_end: &DeadEnd) -> String;

    /// The longest beginnings of orders of a dead end's operations.
    fn prefixes(&self, dead_end: &DeadEnd) -> Vec<Prefix>;

    /// Proves a dead end again, by other means, with all operations of its key at hand, apart from
    /// those that returned at `forgotten` or before.
    fn prove(
        &self,
        dead_end: &DeadEnd,
        all: &[OperationView],
        forgotten: Option<u64>,
    ) -> Result<(), Refutation>;
}

/// Whether an operation that failed was refused, which says something of the state.
pub(super) fn is_refused(event: &Event, failed_cas: FailedCas) -> bool {
    let precondition = event.error_class() == Some(OpError::PRECONDITION);
    match failed_cas {
        _ if &*event.f != "cas" => precondition,
        FailedCas::Precondition => precondition,
        FailedCas::Observes => true,
        FailedCas::Dropped => false,
    }
}

/// A key in a sentence: what is on it, or the only object there is.
pub(super) fn describe_key(key: Option<&Value>, noun: &str) -> String {
    match key {
        Some(key) => format!("key {key}"),
        None => noun.to_owned(),
    }
}
