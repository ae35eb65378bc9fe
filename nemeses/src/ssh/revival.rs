//! Starting a system again that a fault has ended: what is written down on a node before.

use std::time::Duration;

use harness::db::Db;
use harness::remote::{Node, quote};

/// How long a process that is killed may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// A script that starts the system again where it is down but was not stopped. It succeeds also if the system ends again:
/// then its data or its log say why, and no fault stands.
pub(super) fn revive(db: &dyn Db, node: &Node, nodes: &[Node]) -> Option<String> {
    let script = db.revive_script(node, nodes)?;
    Some(format!("( eval {} ) || true", quote(&script)))
}

/// A script that kills the system's processes and waits until they are gone.
pub(super) fn kill(pids: &str) -> String {
    format!(
        "left={tries}; while pids=$({pids}) && [ -n \"$pids\" ]; do kill -KILL $pids 2>/dev/null; \
         left=$((left - 1)); [ $left -gt 0 ] || break; sleep 0.05; done",
        tries = GONE.as_millis() / 50,
    )
}
