//! What PostgreSQL's errors mean.
//!
//! A transaction that was begun with `BEGIN` happens only if its `COMMIT` is executed, and nobody but its own session can send that. So
//! whatever goes wrong before the `COMMIT` is sent, the transaction did not happen. Of a `COMMIT`, and of a single statement that
//! commits by itself, the answer decides:
//!
//! | answer | outcome | why |
//! | --- | --- | --- |
//! | no connection; 57P03 (starting up), 53300 (too many clients) while connecting | `fail` | nothing was sent |
//! | anything before the `COMMIT` of an explicit transaction is sent | `fail` | what is not committed is rolled back |
//! | 40001 (serialization failure), 40P01 (deadlock), 40002 (a constraint at commit) | `fail` | rolled back: the answer itself says so |
//! | 25006 (read-only transaction: a standby) | `fail` | refused before anything was written |
//! | 23… (constraint), 22… (data), 42… (syntax, no such table), 0A000 (not supported), 53…, 54… (resources, limits), 55… (state) | `fail` | an `ERROR` aborts the statement and with it its transaction |
//! | 25P02 (the transaction is aborted already) | `fail` | it can only be rolled back |
//! | 57014 (canceled) | `info` | a cancel may come between commit and answer |
//! | 57P01, 57P02, 57P05 (shutdown, crash, and whatever else is `FATAL` or `PANIC`) | `info` | the session ended, perhaps after the commit record was written |
//! | 40003 (completion unknown), 58030 (input, output), XX… (internal) | `info` | not proved |
//! | connection lost, operation time limit | `info` | the commit may have been executed |
//! | anything else | `info` | not proved |
//!
//! A transaction that only reads is always `fail` if it failed: it has no effect.

use harness::OpError;
use tokio_postgres::error::Severity;
use workloads::kit::Outcome;

/// Where a transaction stands when something is sent for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its commit was not sent, or there is nothing to commit.
    Open,
    /// What was sent commits it.
    Deciding,
}

/// SQLSTATEs with a class of their own.
const CLASSES: &[(&str, &str)] = &[
    ("40001", "serialization-failure"),
    ("40P01", "deadlock"),
    ("23505", DUPLICATE_KEY),
    ("25006", "read-only"),
    ("57014", "canceled"),
    ("57P01", "shutdown"),
    ("57P02", "crash-shutdown"),
    ("57P03", "starting-up"),
    ("53300", "too-many-clients"),
    ("42P01", "no-such-table"),
    ("0A000", "not-supported"),
];
/// Beginnings of SQLSTATEs that an `ERROR` proves rolled back.
const ROLLED_BACK: &[&str] = &[
    "40001", "40P01", "40002", "25006", "25P02", "22", "23", "42", "0A", "53", "54", "55",
];

/// The class of a unique key that was there.
pub(crate) const DUPLICATE_KEY: &str = "duplicate-key";

/// An error that the server answered.
#[derive(Clone, Copy, Debug)]
struct Answer<'a> {
    /// Whether the session ended with it.
    ends_session: bool,
    sqlstate: &'a str,
}

/// Why something did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whether the transaction may have happened.
    pub(crate) outcome: Outcome,
    /// What is recorded.
    pub(crate) error: OpError,
    /// Whether the server answered.
    pub(crate) answered: bool,
    /// Whether the session can be used further.
    pub(crate) usable: bool,
}

impl Failure {
    /// Nothing was sent.
    pub(crate) fn connect(message: String) -> Failure {
        Failure {
            outcome: Outcome::NotExecuted,
            error: OpError::new("connect", message),
            answered: false,
            usable: false,
        }
    }

    /// The server answered, the session is in order, and the transaction does not happen.
    pub(crate) fn refused(class: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            outcome: Outcome::NotExecuted,
            error: OpError::new(class, message.into()),
            answered: true,
            usable: true,
        }
    }

    /// What the client library says about a statement.
    pub(crate) fn of(error: &tokio_postgres::Error, stage: Stage) -> Failure {
        let Some(db) = error.as_db_error() else {
            return Failure {
                outcome: unless_open(stage, Outcome::Unknown),
                error: OpError::new("connection-lost", error.to_string()),
                answered: false,
                usable: false,
            };
        };
        let answer = Answer {
            // What is not known to be an ordinary error is taken for the worse.
            ends_session: db.parsed_severity() != Some(Severity::Error),
            sqlstate: db.code().code(),
        };
        let message = format!("{}: {}", answer.sqlstate, db.message());
        Failure {
            outcome: unless_open(stage, outcome(answer)),
            error: OpError::new(class(answer.sqlstate), message),
            answered: true,
            usable: !answer.ends_session,
        }
    }
}

fn unless_open(stage: Stage, outcome: Outcome) -> Outcome {
    match stage {
        Stage::Open => Outcome::NotExecuted,
        Stage::Deciding => outcome,
    }
}

/// What an answer to a commit means.
fn outcome(answer: Answer<'_>) -> Outcome {
    let proves = |begin: &&str| answer.sqlstate.starts_with(*begin);
    match !answer.ends_session && ROLLED_BACK.iter().any(proves) {
        true => Outcome::NotExecuted,
        false => Outcome::Unknown,
    }
}

/// The class of a SQLSTATE: a word, or the code itself.
fn class(sqlstate: &str) -> String {
    let known = CLASSES.iter().find(|(code, _)| *code == sqlstate);
    known.map_or_else(
        || format!("sqlstate-{sqlstate}"),
        |(_, class)| (*class).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(sqlstate: &str) -> Outcome {
        outcome(Answer {
            ends_session: false,
            sqlstate,
        })
    }

    #[test]
    fn answers_to_a_commit() {
        for proof in [
            "40001", "40P01", "40002", "25006", "25P02", "23505", "42P01", "53100", "0A000",
        ] {
            assert_eq!(answered(proof), Outcome::NotExecuted, "{proof}");
        }
        for none in [
            "40003", "57014", "57P01", "58030", "XX000", "08006", "25001", "",
        ] {
            assert_eq!(answered(none), Outcome::Unknown, "{none}");
        }
    }

    #[test]
    fn the_end_of_a_session_proves_nothing_of_a_commit() {
        let fatal = Answer {
            ends_session: true,
            sqlstate: "40001",
        };
        assert_eq!(outcome(fatal), Outcome::Unknown);
    }

    #[test]
    fn what_is_not_committed_does_not_happen() {
        assert_eq!(
            unless_open(Stage::Open, Outcome::Unknown),
            Outcome::NotExecuted
        );
        assert_eq!(
            unless_open(Stage::Deciding, Outcome::Unknown),
            Outcome::Unknown
        );
    }

    #[test]
    fn classes() {
        assert_eq!(class("40001"), "serialization-failure");
        assert_eq!(class("55P03"), "sqlstate-55P03");
    }
}
