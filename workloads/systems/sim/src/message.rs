//! What nodes say to each other.

use crate::machine::{Command, Output};

/// A node, by its position in the list of nodes.
pub(crate) type NodeId = usize;

/// A client's request, by a number that is never issued twice.
pub(crate) type RequestId = u64;

/// A term: a time with at most one leader.
pub(crate) type Term = u64;

/// A position in the log, from 1; 0 is before the first entry.
pub(crate) type Index = usize;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The term of the leader that received it.
    pub(crate) term: Term,
    /// The request that it came from; 0 for a leader's own no-op.
    pub(crate) request: RequestId,
    /// What to execute.
    pub(crate) command: Command,
}

/// Why a request was not executed, or may not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whether it is certain that it was not executed and never will be.
    pub(crate) certain: bool,
    /// The class of the error.
    pub(crate) class: &'static str,
    /// The error, for a person.
    pub(crate) message: &'static str,
    /// Whether it was a node that said so, and not the lack of one.
    pub(crate) answered: bool,
}

impl Refusal {
    /// It was not executed, and never will be.
    pub(crate) const fn never(class: &'static str, message: &'static str) -> Refusal {
        Refusal {
            certain: true,
            class,
            message,
            answered: true,
        }
    }

    /// Nobody knows.
    pub(crate) const fn unknown(class: &'static str, message: &'static str) -> Refusal {
        Refusal {
            certain: false,
            class,
            message,
            answered: true,
        }
    }

    /// No node said so.
    pub(crate) const fn said_by_nobody(mut self) -> Refusal {
        self.answered = false;
        self
    }
}

/// The answer to a request.
pub(crate) type Answer = Result<Output, Refusal>;

/// A message between nodes: those of Raft (Ongaro and Ousterhout, 2014, figure 2), and requests
/// that a node passes on to the leader with their answers.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A candidate asks for a vote.
    RequestVote {
        term: Term,
        last_index: Index,
        last_term: Term,
    },
    /// The answer to [`Message::RequestVote`].
    Vote { term: Term, granted: bool },
    /// A leader replicates entries; without entries, a heartbeat.
    Append {
        term: Term,
        /// The entry before the first of `entries`.
        prev_index: Index,
        prev_term: Term,
        entries: Vec<Entry>,
        commit: Index,
        /// The leader's count of rounds. The reply echoes it: whoever echoes a round recognised the
        /// leader after that round began, which is what a linearizable read needs.
        round: u64,
    },
    /// The answer to [`Message::Append`].
    Appended {
        term: Term,
        /// `Ok`: the logs agree up to here. `Err`: they differ; they may agree up to here.
        result: Result<Index, Index>,
        round: u64,
    },
    /// A node passes on a client's request.
    Forward {
        request: RequestId,
        command: Command,
    },
    /// The leader answers a request that was passed on.
    Answered { request: RequestId, answer: Answer },
}
