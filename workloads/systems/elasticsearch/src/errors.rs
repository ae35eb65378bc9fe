//! What Elasticsearch's errors mean.
//!
//! | answer | outcome of a write | why |
//! | --- | --- | --- |
//! | no connection | `fail` | nothing was sent |
//! | 409, version conflict | `info` | another version was there: perhaps that of an earlier attempt, see below |
//! | 400 | `fail` | refused for what it asks, before it was executed |
//! | 400 or 403 of an index that is closed, 403 of one that is blocked for writes | `info` | may come from a later attempt: see below |
//! | 404, no such index | `info` | as for 503: see below |
//! | 413 | `fail` | refused before it was read |
//! | 429, `es_rejected_execution` | `info` | may come from a later attempt: see below |
//! | 503, no master or not recovered (`cluster_block`, `MasterNotDiscovered`) | `info` | may come from a later attempt: see below |
//! | 503, `unavailable_shards`, not enough active copies | `info` | may come from a later attempt: see below |
//! | 500, `node_disconnected`, `NodeClosed` and the like | `info` | the node with the primary may have it |
//! | 502, 504, time-outs | `info` | it may be executed later |
//! | acknowledged, but copies failed (`_shards.failed`) | `ok` | the primary has it, and Elasticsearch reports those copies to the master as failed |
//! | connection lost, operation time limit | `info` | it may have arrived |
//! | anything else | `info` | not proved |
//!
//! A node that gets a write sends it on to the node with the primary, and when that connection breaks, waits for a new cluster state and tries
//! again by itself, for a minute. What it says in the end is about its last attempt: "no master" does not prove that an earlier
//! attempt was not executed; and a conditional write whose first attempt was executed finds at its second one that the document is not
//! any more as it wants it.
//!
//! A read that failed is always `fail`: it has no effect.

use harness::{OpError, Value};
use workloads::kit::Outcome;

use Outcome::{NotExecuted, Unknown};

/// A status, a part of the error's text where one status has several reasons, a class, and what it means for a write. The first that fits
/// counts. Exceptions are written in two ways, `ClusterBlockException` in 1.x and `cluster_block_exception` later; both are compared
/// without underscores and capitals.
const KNOWN: &[(u16, &str, &str, Outcome)] = &[
    (409, "", "version-conflict", Unknown),
    (400, "indexclosed", "index-closed", Unknown),
    (400, "", "invalid", NotExecuted),
    (403, "indexclosed", "index-closed", Unknown),
    (403, "index closed", "index-closed", Unknown),
    (403, "clusterblock", "blocked", Unknown),
    (404, "", "not-found", Unknown),
    (413, "", "too-large", NotExecuted),
    (429, "", "rejected", Unknown),
    (503, "clusterblock", "no-master", Unknown),
    (503, "masternotdiscovered", "no-master", Unknown),
    (503, "unavailableshards", "unavailable-shards", Unknown),
    (503, "noshardavailable", "no-shard", Unknown),
    (503, "rejectedexecution", "rejected", Unknown),
    (504, "", "server-timeout", Unknown),
];

/// What is in the text of exceptions that say that a node was lost on the way, whatever their status.
const LOST: [&str; 5] = [
    "nodedisconnected",
    "nodenotconnected",
    "nodeclosed",
    "sendrequesttransport",
    "receivetimeout",
];

/// Classifies an answer whose status is not a success.
pub(crate) fn classify(status: u16, answer: &Value) -> (Outcome, OpError) {
    let message = message(answer);
    let plain: String = message
        .chars()
        .filter(|char| *char != '_')
        .map(|char| char.to_ascii_lowercase())
        .collect();
    let message = format!("{status}: {message}");
    for (code, part, class, outcome) in KNOWN {
        if *code == status && plain.contains(part) {
            return (*outcome, OpError::new(*class, message));
        }
    }
    match LOST.iter().any(|part| plain.contains(part)) {
        true => (Unknown, OpError::new("node-lost", message)),
        false => (Unknown, OpError::new("server-error", message)),
    }
}

/// The text of an error: a string in 1.x, an object with a type and a reason later.
fn message(answer: &Value) -> String {
    let error = answer.get("error").unwrap_or(answer);
    let text = |name| error.get(name).and_then(Value::as_str);
    let whole = match (text("type"), text("reason")) {
        (Some(kind), Some(reason)) => format!("{kind}: {reason}"),
        (Some(kind), None) => kind.to_owned(),
        _ => match error.as_str() {
            Some(text) => text.to_owned(),
            None => error.to_string(),
        },
    };
    // Some hold whole stack traces.
    whole.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::json;

    fn class(status: u16, answer: Value) -> (Outcome, String) {
        let (outcome, error) = classify(status, &answer);
        (outcome, error.class.into_owned())
    }

    #[test]
    fn classes_of_old_versions() {
        let answer = |text: &str, status: u16| json!({"error": text, "status": status});
        let conflict = "RemoteTransportException[[n2][inet[/10.0.0.2:9300]][index]]; nested: \
                        VersionConflictEngineException[[i][0] [doc][1]: version conflict, current [2], provided [1]]; ";
        assert_eq!(
            class(409, answer(conflict, 409)),
            (Unknown, "version-conflict".into())
        );
        let block = "ClusterBlockException[blocked by: [SERVICE_UNAVAILABLE/2/no master];]";
        assert_eq!(
            class(503, answer(block, 503)),
            (Unknown, "no-master".into())
        );
        let closed = "ClusterBlockException[blocked by: [FORBIDDEN/4/index closed];]";
        assert_eq!(
            class(403, answer(closed, 403)),
            (Unknown, "index-closed".into())
        );
        let shards = "UnavailableShardsException[[i][2] Primary shard is not active or isn't assigned is a known node. Timeout: [1m]";
        assert_eq!(
            class(503, answer(shards, 503)),
            (Unknown, "unavailable-shards".into())
        );
        let lost = "NodeDisconnectedException[[n1][inet[/10.0.0.1:9300]][index] disconnected]";
        assert_eq!(class(500, answer(lost, 500)), (Unknown, "node-lost".into()));
        assert_eq!(
            class(500, answer("NullPointerException[null]", 500)),
            (Unknown, "server-error".into())
        );
    }

    #[test]
    fn classes_of_new_versions() {
        let answer = |kind: &str, reason: &str| json!({"error": {"type": kind, "reason": reason}});
        let conflict = answer(
            "version_conflict_engine_exception",
            "[1]: version conflict, required seqNo [0]",
        );
        assert_eq!(class(409, conflict), (Unknown, "version-conflict".into()));
        let block = answer(
            "cluster_block_exception",
            "blocked by: [SERVICE_UNAVAILABLE/2/no master];",
        );
        assert_eq!(class(503, block), (Unknown, "no-master".into()));
        let block = answer(
            "cluster_block_exception",
            "index [i] blocked by: [FORBIDDEN/8/index write (api)];",
        );
        assert_eq!(class(403, block), (Unknown, "blocked".into()));
        let closed = answer("index_closed_exception", "closed");
        assert_eq!(class(400, closed), (Unknown, "index-closed".into()));
        let master = answer("master_not_discovered_exception", "no master");
        assert_eq!(class(503, master), (Unknown, "no-master".into()));
        let shards = answer(
            "unavailable_shards_exception",
            "[i][0] primary shard is not active Timeout: [1m]",
        );
        assert_eq!(class(503, shards), (Unknown, "unavailable-shards".into()));
        let full = answer(
            "es_rejected_execution_exception",
            "rejected execution of primary operation",
        );
        assert_eq!(class(429, full), (Unknown, "rejected".into()));
        let mapping = answer("mapper_parsing_exception", "failed to parse");
        assert_eq!(class(400, mapping), (NotExecuted, "invalid".into()));
        assert_eq!(
            class(
                404,
                answer("index_not_found_exception", "no such index [i]")
            ),
            (Unknown, "not-found".into())
        );
        assert_eq!(
            class(502, json!("Bad Gateway")),
            (Unknown, "server-error".into())
        );
    }

    #[test]
    fn long_messages_are_cut() {
        let (_, error) = classify(500, &json!({"error": "x".repeat(5000)}));
        assert!(error.message.len() < 400);
    }
}
