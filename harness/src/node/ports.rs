//! TCP ports on a node.

use std::time::Duration;

use crate::remote::{Command, Remote, RemoteError};

/// Whether something on the node listens on a TCP port, at any of its addresses.
pub async fn has_listener(remote: &dyn Remote, port: u16) -> Result<bool, RemoteError> {
    let script = format!(
        "grep -qs ':{port:04X} [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6 && echo yes || echo no"
    );
    let output = remote
        .exec(Command::new(script).quick().idempotent())
        .await?;
    Ok(output.text() == "yes")
}

/// Waits until something on the node listens on a TCP port, at any of its addresses. Nothing is
/// connected to it.
pub async fn wait_for_listener(
    remote: &dyn Remote,
    port: u16,
    limit: Duration,
) -> Result<(), RemoteError> {
    let script = format!(
        "# wait for port {port}\n\
         end=$(($(date +%s%N) / 1000000 + {millis}))\n\
         until grep -qs ':{port:04X} [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6; do\n\
         [ $(($(date +%s%N) / 1000000)) -lt $end ] || \
         {{ echo 'nothing listens on port {port} after {limit:?}' >&2; exit 1; }}\n\
         sleep 0.05\ndone",
        millis = limit.as_millis(),
    );
    let command = Command::new(script).idempotent();
    let command = command.timeout(limit + Duration::from_secs(10));
    remote.exec(command).await.map(drop)
}
