//! How to reach a node over SSH.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A password. Shown as `***`, so that it reaches no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(password: impl Into<String>) -> Secret {
        Secret(password.into())
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What to do about a server's host key.
///
/// A key that *changed* is refused whatever the policy, except under [`HostKeyPolicy::Off`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// The key must be in a known-hosts file.
    Strict,
    /// The key of a host never seen before is accepted and added to the first known-hosts file.
    AcceptNew,
    /// Any key is accepted. Whoever sits between here and the node can read and change everything.
    Off,
    /// The key must be this one, in the form of a public key file: `ssh-ed25519 AAAA…`. No file is
    /// read.
    Exactly(String),
}

/// Which OpenSSH client configuration to honour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// `~/.ssh/config`, then `/etc/ssh/ssh_config`.
    Default,
    /// This file alone, which must exist.
    Path(PathBuf),
    /// None.
    None,
}

/// How to reach nodes over SSH. What is `None` comes from the OpenSSH configuration, or else is
/// OpenSSH's own default.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// The login user. Without one here or in the configuration: `root`.
    pub user: Option<String>,
    /// The TCP port; 22 by default.
    pub port: Option<u16>,
    /// Private keys to try before any other, in order.
    pub private_keys: Vec<PathBuf>,
    /// Whether to ask the agent at `SSH_AUTH_SOCK`.
    pub agent: bool,
    /// The login password, tried last.
    pub password: Option<Secret>,
    /// The password that `sudo` asks for, where the login user is not root. Without one, `sudo` must
    /// not ask.
    pub sudo_password: Option<Secret>,
    /// What to do about host keys; strict by default.
    pub host_keys: Option<HostKeyPolicy>,
    /// Known-hosts files instead of the configured ones. The first is the one that accepted keys
    /// are added to.
    pub known_hosts: Vec<PathBuf>,
    /// Which OpenSSH configuration to honour.
    pub config: ConfigFile,
    /// The limit on opening a session: name resolution, jump hosts, handshake and authentication.
    pub connect_timeout: Option<Duration>,
    /// How often an idle session says that it is alive. Zero: never.
    pub keepalive: Duration,
    /// The limit on one upload or download.
    pub transfer_timeout: Duration,
    /// How many ordinary commands may run on a node at once, each on a session of its own. The
    /// session for quick commands is not among them.
    pub sessions: usize,
}

/// The limit on opening a session where nothing else is said.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl Default for SshOptions {
    fn default() -> SshOptions {
        SshOptions {
            user: None,
            port: None,
            private_keys: Vec::new(),
            agent: true,
            password: None,
            sudo_password: None,
            host_keys: None,
            known_hosts: Vec::new(),
            config: ConfigFile::Default,
            connect_timeout: None,
            keepalive: Duration::from_secs(15),
            transfer_timeout: Duration::from_secs(600),
            sessions: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let options = SshOptions {
            password: Some(Secret::new("hunter2")),
            ..SshOptions::default()
        };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
