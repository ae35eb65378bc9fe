//! Who turns nodes' power off and on: a command of the user's, or the local cluster.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::PowerSwitch;
use harness::local::LocalCluster;
use nemeses::ssh::PowerSwitches;
use store::Name;
use tokio::process::Command;

use crate::spec::SshSpec;

/// How long the command may take: less than an activity of a fault.
const LIMIT: Duration = Duration::from_secs(15);

/// The switches of a local cluster's nodes: none where they share this machine's kernel.
pub(crate) fn of_cluster(cluster: &LocalCluster) -> PowerSwitches {
    let names = cluster
        .nodes()
        .into_iter()
        .map(|node| Name::from(node.name));
    let power = cluster.power().into_iter().flatten();
    let switch = |power| Arc::new(power) as Arc<dyn PowerSwitch>;
    names.zip(power.map(switch)).collect()
}

/// The switches of hosts' power, if there is a command.
pub(crate) fn of_hosts(ssh: &SshSpec) -> PowerSwitches {
    let Some(command) = &ssh.power_command else {
        return PowerSwitches::new();
    };
    let switch = |host: &String| {
        let switch = CommandSwitch {
            command: command.clone(),
            host: host.clone(),
        };
        (
            host.as_str().into(),
            Arc::new(switch) as Arc<dyn PowerSwitch>,
        )
    };
    ssh.hosts.iter().map(switch).collect()
}

/// Turns a host's power by a command of the user's.
struct CommandSwitch {
    command: String,
    host: String,
}

impl CommandSwitch {
    async fn turn(&self, word: &str) -> Result<(), String> {
        let mut command = Command::new("sh");
        // What follows are its arguments, however it takes them.
        command.args([
            "-c",
            &format!("{} \"$@\"", self.command),
            "sh",
            &self.host,
            word,
        ]);
        command
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let what = format!("--power-command: {} {} {word}", self.command, self.host);
        let output = tokio::time::timeout(LIMIT, command.output()).await;
        let output = output.map_err(|_| format!("{what}: did not end within {LIMIT:?}"))?;
        let output = output.map_err(|error| format!("{what}: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "{what}: {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )),
        }
    }
}

#[async_trait]
impl PowerSwitch for CommandSwitch {
    async fn cut(&self) -> Result<(), String> {
        self.turn("off").await
    }

    async fn on(&self) -> Result<(), String> {
        self.turn("on").await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_command_gets_the_host_and_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("said");
        let turn = |command: String| CommandSwitch {
            command,
            host: "db 1".to_owned(),
        };
        let says = turn(format!("printf '%s|' >>{}", file.display()));
        says.cut().await.unwrap();
        says.on().await.unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "db 1|off|db 1|on|");
        let refused = turn("echo no >&2; false".to_owned())
            .cut()
            .await
            .unwrap_err();
        assert!(
            refused.contains("no") && refused.contains("off"),
            "{refused}"
        );
    }
}
