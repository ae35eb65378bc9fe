//! What etcd's errors mean.
//!
//! | answer | outcome of a write | why |
//! | --- | --- | --- |
//! | no connection | `fail` | nothing was sent |
//! | `raft proposal dropped` | `fail` | raft refused to take the proposal |
//! | `etcdserver: too many requests` | `fail` | refused before it was proposed |
//! | `etcdserver: request is too large`, `… key is not provided`, gRPC code 3 (invalid argument) | `fail` | refused before it was proposed |
//! | `etcdserver: request timed out` (all three forms) | `info` | proposed; it may commit later |
//! | `etcdserver: leader changed` | `info` | proposed; the new leader may have it |
//! | `etcdserver: no leader`, `server stopped`, `transport is closing` | `info` | etcd does not promise that it was not proposed |
//! | connection lost, operation time limit | `info` | it may have arrived |
//! | anything else | `info` | not proved |
//!
//! A read that failed is always `fail`: it has no effect.

use harness::{OpError, Value};
use workloads::kit::Outcome;

/// gRPC's INVALID_ARGUMENT.
const INVALID_ARGUMENT: i64 = 3;

/// Part of the message, a class for it, and what it means for a write.
const KNOWN: &[(&str, &str, Outcome)] = &[
    (
        "raft proposal dropped",
        "proposal-dropped",
        Outcome::NotExecuted,
    ),
    (
        "too many requests",
        "too-many-requests",
        Outcome::NotExecuted,
    ),
    ("request is too large", "too-large", Outcome::NotExecuted),
    ("request timed out", "server-timeout", Outcome::Unknown),
    ("leader changed", "leader-changed", Outcome::Unknown),
    ("no leader", "no-leader", Outcome::Unknown),
    ("server stopped", "server-stopped", Outcome::Unknown),
    // What the gateway hears from a server that stops.
    ("transport is closing", "server-stopped", Outcome::Unknown),
    (
        "context deadline exceeded",
        "server-timeout",
        Outcome::Unknown,
    ),
];

/// Classifies the JSON of an answer whose status is not a success.
pub(crate) fn classify(answer: &Value) -> (Outcome, OpError) {
    let text = |name| answer.get(name).and_then(Value::as_str);
    let message = match text("message").or_else(|| text("error")) {
        Some(message) => message.to_owned(),
        None => answer.to_string(),
    };
    for (part, class, outcome) in KNOWN {
        if message.contains(part) {
            return (*outcome, OpError::new(*class, message));
        }
    }
    match answer.get("code").and_then(Value::as_i64) {
        Some(INVALID_ARGUMENT) => (Outcome::NotExecuted, OpError::new("invalid", message)),
        _ => (Outcome::Unknown, OpError::new("server-error", message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::json;

    #[test]
    fn classes() {
        let classify = |answer| {
            let (outcome, error) = classify(&answer);
            (outcome, error.class.into_owned())
        };
        let timed_out = json!({"error": "etcdserver: request timed out", "code": 14});
        assert_eq!(
            classify(timed_out),
            (Outcome::Unknown, "server-timeout".into())
        );
        let dropped = json!({"error": "raft proposal dropped", "code": 2});
        assert_eq!(
            classify(dropped),
            (Outcome::NotExecuted, "proposal-dropped".into())
        );
        let invalid = json!({"message": "etcdserver: key is not provided", "code": 3});
        assert_eq!(classify(invalid), (Outcome::NotExecuted, "invalid".into()));
        assert_eq!(
            classify(json!("Bad Gateway")),
            (Outcome::Unknown, "server-error".into())
        );
    }
}
