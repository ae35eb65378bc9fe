//! Why no order explains some transactions, step by step.

use serde::{Deserialize, Serialize};

use super::observations::INITIAL;
use super::{Level, Model, Moment};

/// A read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Read {
    /// Who read.
    pub reader: u32,
    /// Which of its reads it is, from 0.
    pub place: u32,
    /// What it read.
    pub key: u32,
}

/// Why one moment comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A transaction begins before it commits.
    Inside,
    /// They are in a session in this order.
    Session,
    /// One ended before the other began.
    RealTime,
    /// The second saw what the first wrote.
    Saw {
        /// The read that shows it.
        read: Read,
    },
    /// The first saw the initial value of what the second wrote.
    Initial {
        /// The read that shows it.
        read: Read,
    },
    /// The second read a list of the key that has what the first appended.
    Shows {
        /// The key.
        key: u32,
    },
    /// The first read a list of the key without what the second appended.
    Lacks {
        /// The key.
        key: u32,
    },
    /// Both appended to the key, and the lists that were read show in which order.
    Ordered {
        /// The key.
        key: u32,
    },
    /// It was shown by an earlier step, or is taken for granted in this case.
    Shown,
}

/// One moment comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// The earlier.
    pub from: Moment,
    /// The later.
    pub to: Moment,
    /// Why.
    pub why: Reason,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// One moment comes before another.
    Before(Moment, Moment),
    /// A read saw what this transaction wrote, or the initial value.
    Saw(Read, u32),
    /// It did not.
    NotSaw(Read, u32),
}

/// Of a few things one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "choice")]
pub enum Choice {
    /// The read saw what `writer` wrote, and `other` wrote the key too (another value): before the one or after the other.
    Between {
        /// The read.
        read: Read,
        /// Whom it saw.
        writer: u32,
        /// Who else wrote the key.
        other: u32,
    },
    /// Both wrote the key, so one commits before the other begins.
    Exclusive {
        /// The key.
        key: u32,
        /// A writer of it.
        one: u32,
        /// Another.
        other: u32,
    },
    /// The read saw one of those that wrote its value.
    Source {
        /// The read.
        read: Read,
    },
}

impl Choice {
    /// Of which one must be, in the order in which arguments take them, whomever a read may have seen being known.
    pub(in crate::transactions) fn possibilities(
        self,
        model: Model,
        candidates: impl FnOnce(Read) -> Vec<u32>,
    ) -> Vec<Fact> {
        match self {
            Choice::Between {
                read,
                writer,
                other,
            } => {
                let commit = Moment::Commit(other);
                let begin = match model {
                    Model::Serializable => Moment::Commit(read.reader),
                    Model::SnapshotIsolation | Model::Prefix => Moment::Begin(read.reader),
                };
                let enter = match model {
                    Model::SnapshotIsolation => Moment::Begin(writer),
                    Model::Serializable | Model::Prefix => Moment::Commit(writer),
                };
                let earlier = (writer != INITIAL).then_some(Fact::Before(commit, enter));
                earlier
                    .into_iter()
                    .chain([Fact::Before(begin, commit)])
                    .collect()
            }
            Choice::Exclusive { one, other, .. } => vec![
                Fact::Before(Moment::Commit(one), Moment::Begin(other)),
                Fact::Before(Moment::Commit(other), Moment::Begin(one)),
            ],
            Choice::Source { read } => {
                let all = candidates(read).into_iter();
                all.map(|one| Fact::Saw(read, one)).collect()
            }
        }
    }
}

/// A step of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// All possibilities but one close a cycle.
    Forced {
        /// The possibilities.
        choice: Choice,
        /// The one that is left.
        fact: Fact,
        /// For each of the others, in order, that says what comes before what: how it comes after, by other ways. Those
        /// that say who was seen were excluded earlier.
        refuted: Vec<Vec<Link>>,
    },
    /// A read did not see a candidate.
    Excluded {
        /// The read.
        read: Read,
        /// The candidate.
        candidate: u32,
        /// Who would have overwritten it by then. `None`: the read came first.
        by: Option<u32>,
        /// With `by`: how that comes after the candidate (unless that is the initial value) and how it comes before the read.
        /// Otherwise: how the candidate comes after the read.
        paths: Vec<Vec<Link>>,
    },
}

/// How an argument ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "end")]
pub enum Conclusion {
    /// Each of these comes before the next, and the last before the first.
    Cycle {
        /// The links.
        links: Vec<Link>,
    },
    /// All whom the read may have seen are excluded.
    NoSource {
        /// The read.
        read: Read,
    },
    /// Each of these reads is by another transaction, which then overwrote the very version of the key that it had read; and they
    /// can have seen fewer versions, between them, than they are.
    TooFew {
        /// The reads.
        reads: Vec<Read>,
    },
    /// Whomever these reads saw made one of them: none of these transactions can have begun first.
    NoBeginning {
        /// The reads.
        reads: Vec<Read>,
    },
    /// Each possibility is contradictory.
    Cases {
        /// The possibilities.
        choice: Choice,
        /// An argument for each, in order.
        cases: Vec<Argument>,
    },
}

/// An argument that something is impossible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Argument {
    /// What is shown, one after the other.
    pub steps: Vec<Step>,
    /// Why that is impossible.
    pub end: Conclusion,
}

/// Transactions that no order explains. Numbers are those of the observations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proof {
    /// What they violate.
    pub level: Level,
    /// All that the argument is about, ascending.
    pub transactions: Vec<u32>,
    /// Whether none of them could be left out.
    pub minimal: bool,
    /// Why they are impossible.
    pub argument: Argument,
}
