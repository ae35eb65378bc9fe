//! What MongoDB's errors mean.
//!
//! A server says in four ways that something went wrong: the command failed (`ok: 0`, a `code`, perhaps `errorLabels`), a write of the
//! command failed (`writeErrors`), the write was executed but what was asked for its durability was not seen (`writeConcernError`), or
//! nothing at all is said. `docs/systems/mongodb.md` has the table.
//!
//! A read that failed is always `fail`: it has no effect. So is a transaction whose commit was never sent: nothing else commits it.

use bson::{Bson, Document};
use harness::OpError;
use workloads::kit::{Failure, Outcome};

use crate::wire::WireError;

use Outcome::{NotExecuted, Unknown};

/// The code of a create that found its collection there.
pub(crate) const NAMESPACE_EXISTS: i32 = 48;

/// A label of errors after which the whole transaction certainly had no effect: it was aborted, or refused.
const TRANSIENT: &str = "TransientTransactionError";

/// Codes, a class for each, and what it means for a write of one document, or for a statement.
const KNOWN: &[(&[i32], &str, Outcome)] = &[
    // NotWritablePrimary (10107), NotPrimaryNoSecondaryOk: looked at before anything is executed. A write that waited for others
    // when its server stepped down says so in a writeConcernError.
    (&[10107, 13435], "not-primary", NotExecuted),
    // NotPrimaryOrSecondary: the server recovers, rolls back or starts; looked at before anything is executed.
    (&[13436], "recovering", NotExecuted),
    // PrimarySteppedDown, InterruptedDueToReplStateChange: it was under way, and may be in the log.
    (&[189, 11602], "stepped-down", Unknown),
    // ShutdownInProgress, InterruptedAtShutdown: the same.
    (&[91, 11600], "shutting-down", Unknown),
    // MaxTimeMSExpired, ExceededTimeLimit: the limit may pass after the write.
    (&[50, 262], "server-timeout", Unknown),
    // WriteConcernFailed and the like: the write is in the log of one server at least.
    (&[64, 79, 100], "write-concern", Unknown),
    // WriteConflict: the storage engine rolled the statement back. Outside of transactions the server tries again by itself.
    (&[112], "write-conflict", NotExecuted),
    // LockTimeout: a lock was not had, before the write.
    (&[24], "lock-timeout", NotExecuted),
    // NoSuchTransaction: it was aborted before.
    (&[251], "no-transaction", NotExecuted),
    // SnapshotUnavailable, and ReadConcernMajorityNotAvailableYet: no view to read from.
    (&[246, 134], "no-snapshot", NotExecuted),
    // DuplicateKey: two upserts of one key at once; the index refuses the second.
    (&[11000], "duplicate-key", NotExecuted),
    // FailedToSatisfyReadPreference.
    (&[133], "no-such-server", NotExecuted),
    // BadValue, FailedToParse, TypeMismatch, IllegalOperation, CommandNotFound, InvalidOptions, NotImplemented,
    // OperationNotSupportedInTransaction: refused as it was read. A mistake of ours, or an option that this version does not know.
    (&[2, 9, 14, 20, 59, 72, 238, 263], "invalid", NotExecuted),
];

/// What a code means.
fn known(code: i32) -> (&'static str, Outcome) {
    let found = KNOWN.iter().find(|(codes, _, _)| codes.contains(&code));
    found.map_or(("server-error", Unknown), |(_, class, outcome)| {
        (*class, *outcome)
    })
}

/// Numbers come as any of three types.
pub(crate) fn number(document: &Document, key: &str) -> Option<i64> {
    match document.get(key)? {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    }
}

fn code(error: &Document) -> i32 {
    let code = number(error, "code").and_then(|code| i32::try_from(code).ok());
    code.unwrap_or_default()
}

/// An answer's own words.
pub(crate) fn message(error: &Document) -> String {
    let text = error.get_str("errmsg").unwrap_or("no message");
    let name = error.get_str("codeName").unwrap_or_default();
    let code = code(error);
    match name {
        "" => format!("{code}: {text}"),
        name => format!("{name} ({code}): {text}"),
    }
}

fn failure(error: &Document) -> Failure {
    let (class, outcome) = known(code(error));
    Failure {
        outcome,
        error: OpError::new(class, message(error)),
    }
}

/// Looks whether an answer says that all is well, and if not, what is known of the request.
pub(crate) fn check(answer: &Document) -> Result<(), Failure> {
    if number(answer, "ok") != Some(1) {
        return Err(failure(answer));
    }
    // Our requests write one document each: the first error is the only one.
    let refused = answer.get_array("writeErrors").ok();
    if let Some(Bson::Document(error)) = refused.and_then(|errors| errors.first()) {
        return Err(failure(error));
    }
    match answer.get_document("writeConcernError") {
        Err(_) => Ok(()),
        // Whatever its code: it was executed, and what becomes of it is open.
        Ok(error) => {
            let timed_out = error.get_document("errInfo");
            let timed_out =
                timed_out.is_ok_and(|info| info.get_bool("wtimeout").is_ok_and(|yes| yes));
            let class = match timed_out {
                true => "write-concern-timeout",
                false => "write-concern",
            };
            Err(Failure::unknown(class, message(error)))
        }
    }
}

/// The same of the answer to a commit: refused only if the server says that the transaction had no effect, or that it did not look at
/// the request, which is sent once.
pub(crate) fn check_commit(answer: &Document) -> Result<(), Failure> {
    let Err(mut failure) = check(answer) else {
        return Ok(());
    };
    let labels = answer.get_array("errorLabels");
    let transient = labels.is_ok_and(|labels| labels.contains(&Bson::from(TRANSIENT)));
    let unread = number(answer, "ok") != Some(1) && matches!(code(answer), 10107 | 13435 | 13436);
    failure.outcome = match !answer.contains_key("writeConcernError") && (transient || unread) {
        true => NotExecuted,
        false => Unknown,
    };
    Err(failure)
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Failure {
        match &error {
            WireError::Connect { .. } => Failure::refused("connect", error.to_string()),
            WireError::Broken { .. } => Failure::unknown("connection-lost", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bson::doc;

    fn outcome(checked: Result<(), Failure>) -> (String, Outcome) {
        let failure = checked.unwrap_err();
        (failure.error.class.into_owned(), failure.outcome)
    }

    #[test]
    fn commands_that_failed() {
        let failed = |code: i32| outcome(check(&doc! { "ok": 0.0, "errmsg": "x", "code": code }));
        assert_eq!(failed(10107), ("not-primary".into(), NotExecuted));
        assert_eq!(failed(13435), ("not-primary".into(), NotExecuted));
        assert_eq!(failed(13436), ("recovering".into(), NotExecuted));
        assert_eq!(failed(189), ("stepped-down".into(), Unknown));
        assert_eq!(failed(11602), ("stepped-down".into(), Unknown));
        assert_eq!(failed(91), ("shutting-down".into(), Unknown));
        assert_eq!(failed(50), ("server-timeout".into(), Unknown));
        assert_eq!(failed(64), ("write-concern".into(), Unknown));
        assert_eq!(failed(112), ("write-conflict".into(), NotExecuted));
        assert_eq!(failed(24), ("lock-timeout".into(), NotExecuted));
        assert_eq!(failed(251), ("no-transaction".into(), NotExecuted));
        assert_eq!(failed(246), ("no-snapshot".into(), NotExecuted));
        assert_eq!(failed(133), ("no-such-server".into(), NotExecuted));
        assert_eq!(failed(72), ("invalid".into(), NotExecuted));
        assert_eq!(failed(99_999), ("server-error".into(), Unknown));
        // A code of a type that servers do not use, and none at all.
        assert_eq!(outcome(check(&doc! { "ok": 0 })).1, Unknown);
        assert_eq!(outcome(check(&doc! {})).1, Unknown);
    }

    #[test]
    fn writes_that_failed_and_writes_that_may_be_lost() {
        assert_eq!(check(&doc! { "ok": 1.0, "n": 1 }), Ok(()));
        let refused = doc! { "ok": 1, "n": 0, "writeErrors": [{ "index": 0, "code": 11000, "errmsg": "E11000" }] };
        assert_eq!(
            outcome(check(&refused)),
            ("duplicate-key".into(), NotExecuted)
        );
        let late = doc! { "ok": 1, "n": 1, "writeConcernError": { "code": 64, "errmsg": "x", "errInfo": { "wtimeout": true } } };
        assert_eq!(
            outcome(check(&late)),
            ("write-concern-timeout".into(), Unknown)
        );
        // The code of one that was refused, on one that was executed.
        let lost = doc! { "ok": 1, "n": 1, "writeConcernError": { "code": 10107, "errmsg": "x" } };
        assert_eq!(outcome(check(&lost)), ("write-concern".into(), Unknown));
        // Refused, and nobody waited for: refused.
        let both = doc! {
            "ok": 1, "n": 0, "writeErrors": [{ "index": 0, "code": 11000, "errmsg": "E11000" }],
            "writeConcernError": { "code": 64, "errmsg": "x" },
        };
        assert_eq!(outcome(check(&both)).1, NotExecuted);
    }

    #[test]
    fn commits_that_failed() {
        assert_eq!(check_commit(&doc! { "ok": 1 }), Ok(()));
        let aborted = doc! { "ok": 0, "code": 251, "errmsg": "x", "errorLabels": [TRANSIENT] };
        assert_eq!(outcome(check_commit(&aborted)).1, NotExecuted);
        // Without the label it may be another server's answer, or one after a time-out.
        let unlabelled = doc! { "ok": 0, "code": 251, "errmsg": "x" };
        assert_eq!(outcome(check_commit(&unlabelled)).1, Unknown);
        let unread = doc! { "ok": 0, "code": 10107, "errmsg": "x" };
        assert_eq!(outcome(check_commit(&unread)).1, NotExecuted);
        let interrupted = doc! { "ok": 0, "code": 11602, "errmsg": "x" };
        assert_eq!(outcome(check_commit(&interrupted)).1, Unknown);
        let late = doc! { "ok": 1, "writeConcernError": { "code": 64, "errmsg": "x" } };
        assert_eq!(outcome(check_commit(&late)).1, Unknown);
        let both = doc! {
            "ok": 0, "code": 251, "errmsg": "x", "errorLabels": [TRANSIENT], "writeConcernError": { "code": 64, "errmsg": "x" },
        };
        assert_eq!(outcome(check_commit(&both)).1, Unknown);
    }

    #[test]
    fn no_answer() {
        let server = || "n1:27017".to_owned();
        let why = || "x".to_owned();
        let connect = Failure::from(WireError::Connect {
            server: server(),
            why: why(),
        });
        assert_eq!(connect.outcome, NotExecuted);
        let broken = Failure::from(WireError::Broken {
            server: server(),
            why: why(),
        });
        assert_eq!(broken.outcome, Unknown);
    }
}
