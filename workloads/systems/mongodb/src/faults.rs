//! Faults of MongoDB's own: what it offers to those who run it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use harness::capability::{CapabilityError, ProcessState, SystemSeen};
use harness::db::{Db, DbFault, DbFaults, DbUndo};
use harness::remote::Node;
use harness::{Value, json};

use crate::admin::{self, command, digits, member_of, reconfigure, script};
use crate::db::{MongoDb, hello, server};
use crate::errors;

const STEP_DOWN: &str = "step-down";
const HOLD_BACK: &str = "hold-back";
const PRIORITY: &str = "priority";

/// All of them.
pub(crate) const FAULTS: &[DbFault] = &[
    DbFault {
        name: STEP_DOWN,
        summary: "A primary steps down at once, without waiting for others to have what it has, and stands for no election meanwhile \
                  (replSetStepDown; best with target=primary). It must say that it is no primary any more. At the end it may stand again.",
        spares_leaders: false,
    },
    DbFault {
        name: HOLD_BACK,
        summary: "A secondary applies nothing of what the others write (fsync with lock). It must say that it is locked. At the end it is \
                  unlocked, and how far it was behind is told.",
        spares_leaders: true,
    },
    DbFault {
        name: PRIORITY,
        summary: "A node is preferred to all others, so that it takes over as primary (priority 10 instead of 1, by replSetReconfig). It \
                  must be the primary in the end. At the end all are alike again.",
        spares_leaders: true,
    },
];

/// How long a primary that stepped down does not stand, unless it is freed before, in seconds.
const AWAY: i64 = 30;
/// How long a preferred node may take to be elected: it waits for an election time-out, and catches up.
const TAKEOVER: Duration = Duration::from_secs(6);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The priority of a preferred node; the others have 1.
const PREFERRED: f64 = 10.0;
/// How often a server is unlocked at most: locks are counted.
const UNLOCKS: usize = 20;
/// The version of a configuration that is forced on a set. The server adds some ten thousands to it.
const FORCED: i64 = 1_000_000;

fn not_done<T>(node: &Node, why: &str) -> Result<T, CapabilityError> {
    Err(CapabilityError::NotDone(format!("{}: {why}", node.name)))
}

/// Whether a server says that it is locked.
async fn is_locked(node: &Node) -> Result<bool, CapabilityError> {
    let answer = command(node, look_for_lock()).await?;
    Ok(answer.get_bool("fsyncLock").is_ok_and(|yes| yes))
}

/// What the server does that is about its lock, which is little.
fn look_for_lock() -> Document {
    doc! { "currentOp": 1, "desc": "fsyncLockWorker" }
}

/// When what a server has applied was written, in milliseconds since 1970.
async fn applied(node: &Node) -> Option<i64> {
    let status = command(node, doc! { "replSetGetStatus": 1 }).await.ok()?;
    let times = status.get_document("optimes").ok()?;
    let time = times.get_datetime("lastAppliedWallTime").ok()?;
    Some(time.timestamp_millis())
}

async fn step_down(node: &Node) -> Result<SystemSeen, CapabilityError> {
    let down = doc! { "replSetStepDown": AWAY, "secondaryCatchUpPeriodSecs": 0_i64, "force": true };
    command(node, down).await?;
    let still = hello(node).await.map(|hello| hello.is_primary);
    Ok(SystemSeen {
        seen: json!({ "primary": still }),
        effective: Some(still == Some(false)),
    })
}

async fn hold_back(node: &Node) -> Result<SystemSeen, CapabilityError> {
    match hello(node).await {
        Some(hello) if hello.is_secondary => {}
        _ => return not_done(node, "it is no secondary"),
    }
    command(node, doc! { "fsync": 1, "lock": true }).await?;
    // It is locked: what is not known now may be.
    let locked = is_locked(node).await;
    let locked = locked.map_err(|error| CapabilityError::Indeterminate(error.to_string()))?;
    Ok(SystemSeen {
        seen: json!({ "locked": locked }),
        effective: Some(locked),
    })
}

/// Unlocks a server for good.
async fn unlock(node: &Node, nodes: &[Node]) -> Result<SystemSeen, CapabilityError> {
    let locked = is_locked(node).await?;
    let (here, there) = match admin::primary(nodes).await {
        Ok(primary) => (applied(node).await, applied(primary).await),
        Err(_) => (None, None),
    };
    let behind = here.zip(there).map(|(here, there)| (there - here).max(0));
    for _ in 0..UNLOCKS {
        if !is_locked(node).await? {
            return Ok(SystemSeen {
                seen: json!({ "was-locked": locked, "behind-ms": behind }),
                effective: None,
            });
        }
        command(node, doc! { "fsyncUnlock": 1 }).await?;
    }
    Err(CapabilityError::Indeterminate(format!(
        "{}: it is still locked",
        node.name
    )))
}

/// Prefers a server to the others, or none.
async fn prefer(node: &Node, nodes: &[Node], priority: f64) -> Result<Document, CapabilityError> {
    let host = server(node);
    reconfigure(nodes, |members| {
        if let Some(member) = member_of(members, &host) {
            member.insert("priority", priority);
        }
    })
    .await
}

/// What a configuration says of a server's priority.
fn priority_in(configuration: &Document, host: &str) -> Option<f64> {
    let members = configuration.get_array("members").ok()?;
    let mut members = members.iter().filter_map(Bson::as_document);
    let member = members.find(|member| member.get_str("host").is_ok_and(|is| is == host))?;
    let whole = errors::number(member, "priority").map(|number| number as f64);
    member.get_f64("priority").ok().or(whole)
}

async fn take_over(node: &Node, nodes: &[Node]) -> Result<SystemSeen, CapabilityError> {
    let before = hello(node).await.is_some_and(|hello| hello.is_primary);
    let host = server(node);
    let votes = priority_in(&admin::configuration_of(node).await?, &host);
    if votes.is_none_or(|priority| priority < 1.0) {
        return not_done(node, "it may not be elected");
    }
    prefer(node, nodes, PREFERRED).await?;
    let begun = Instant::now();
    let mut primary = before;
    while !primary && begun.elapsed() < TAKEOVER {
        tokio::time::sleep(LOOK).await;
        primary = hello(node).await.is_some_and(|hello| hello.is_primary);
    }
    Ok(SystemSeen {
        seen: json!({ "was-primary": before, "primary": primary, "after-ms": begun.elapsed().as_millis() as u64 }),
        effective: Some(primary && !before),
    })
}

/// No server is preferred any more.
async fn alike(node: &Node, nodes: &[Node]) -> Result<SystemSeen, CapabilityError> {
    let host = server(node);
    let now = admin::configuration_of(admin::primary(nodes).await?).await?;
    if priority_in(&now, &host).is_some_and(|priority| priority > 1.0) {
        prefer(node, nodes, 1.0).await?;
    }
    let seen = admin::configuration_of(admin::primary(nodes).await?).await?;
    let priority = priority_in(&seen, &host);
    match priority {
        Some(high) if high > 1.0 => Err(CapabilityError::Indeterminate(format!(
            "{}: its priority is still {high}",
            node.name
        ))),
        _ => Ok(SystemSeen {
            seen: json!({ "priority": priority }),
            effective: None,
        }),
    }
}

#[async_trait]
impl DbFaults for MongoDb {
    fn known(&self) -> &'static [DbFault] {
        FAULTS
    }

    fn undo_script(&self, fault: &str, _node: &Node, nodes: &[Node]) -> DbUndo {
        let silent = |command: Document| format!("{} >/dev/null 2>&1 || true", script(command));
        match fault {
            HOLD_BACK => {
                let unlock = script(doc! { "fsyncUnlock": 1 });
                let ok = digits("ok", 1, &1.0_f64.to_le_bytes());
                let locked = digits("fsyncLock", 8, &[1]);
                let look = script(look_for_lock());
                DbUndo {
                    undo: format!(
                        "n=0; while [ $n -lt {UNLOCKS} ] && {unlock} 2>/dev/null | grep -q {ok}; do n=$((n + 1)); done"
                    ),
                    // Where nobody listens nothing is locked.
                    verify: format!("! {look} 2>/dev/null | grep -q {locked}"),
                }
            }
            PRIORITY => {
                let mut configuration = self.configuration(nodes);
                configuration.insert("version", FORCED);
                let forced = doc! { "replSetReconfig": configuration, "force": true };
                let high = digits("priority", 1, &PREFERRED.to_le_bytes());
                let look = script(doc! { "replSetGetConfig": 1 });
                DbUndo {
                    undo: silent(forced),
                    verify: format!("! {look} 2>/dev/null | grep -q {high}"),
                }
            }
            // It runs out by itself, too.
            _ => DbUndo {
                undo: silent(doc! { "replSetFreeze": 0_i32 }),
                verify: ":".to_owned(),
            },
        }
    }

    async fn strike(
        &self,
        fault: &str,
        node: &Node,
        nodes: &[Node],
    ) -> Result<SystemSeen, CapabilityError> {
        match fault {
            STEP_DOWN => step_down(node).await,
            HOLD_BACK => hold_back(node).await,
            PRIORITY => take_over(node, nodes).await,
            other => not_done(node, &format!("there is no fault {other}")),
        }
    }

    async fn undo(
        &self,
        fault: &str,
        node: &Node,
        nodes: &[Node],
    ) -> Result<SystemSeen, CapabilityError> {
        let runs = self.state(node).await;
        if fault != PRIORITY && matches!(runs, Ok(ProcessState::Absent)) {
            // What was in its memory is gone.
            return Ok(SystemSeen {
                seen: Value::from("it does not run"),
                effective: None,
            });
        }
        match fault {
            HOLD_BACK => unlock(node, nodes).await,
            PRIORITY => alike(node, nodes).await,
            _ => match command(node, doc! { "replSetFreeze": 0_i32 }).await {
                Ok(_) => Ok(SystemSeen {
                    seen: json!({ "may-stand": true }),
                    effective: None,
                }),
                // Refused by one that answers: it was elected again.
                Err(CapabilityError::NotDone(why)) if hello(node).await.is_some() => {
                    Ok(SystemSeen {
                        seen: json!({ "may-stand": why }),
                        effective: None,
                    })
                }
                Err(error) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn priorities_are_read_as_any_number() {
        let configuration = doc! { "members": [
            { "_id": 0, "host": "a:1", "priority": 10.0 }, { "_id": 1, "host": "b:1", "priority": 1_i32 }, { "_id": 2, "host": "c:1", "priority": 0.5 },
        ] };
        assert_eq!(priority_in(&configuration, "a:1"), Some(10.0));
        assert_eq!(priority_in(&configuration, "b:1"), Some(1.0));
        assert_eq!(priority_in(&configuration, "c:1"), Some(0.5));
        assert_eq!(priority_in(&configuration, "d:1"), None);
    }
}
