//! Sessions to nodes.
//!
//! A [`Remote`] runs commands on one node and moves files. Commands are shell scripts; what a user
//! or a node can influence is quoted with [`quote`].

pub mod ssh;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use store::Name;
use thiserror::Error;
use tokio::net::UnixStream;

/// The time limit of a command that does not name one.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// A command for a node.
#[derive(Clone, Debug)]
pub struct Command {
    /// A POSIX shell script.
    pub script: String,
    /// What it reads on standard input.
    pub stdin: Vec<u8>,
    /// How long it may take. When it passes, the command is killed and the session reopened.
    pub timeout: Duration,
    /// Whether running it twice does no harm: only then is it retried after a lost connection.
    pub idempotent: bool,
    /// Whether it is short (milliseconds) and must not wait for others: it then goes over the node's
    /// open shell channel.
    pub quick: bool,
    /// Whether to run it as root where the login user is not.
    pub root: bool,
}

impl Command {
    /// A script run as root, once, with the default time limit.
    pub fn new(script: impl Into<String>) -> Command {
        Command {
            script: script.into(),
            stdin: Vec::new(),
            timeout: COMMAND_TIMEOUT,
            idempotent: false,
            quick: false,
            root: true,
        }
    }

    /// With standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Command {
        self.stdin = bytes.into();
        self
    }

    /// With a time limit.
    pub fn timeout(mut self, timeout: Duration) -> Command {
        self.timeout = timeout;
        self
    }

    /// May be run twice.
    pub fn idempotent(mut self) -> Command {
        self.idempotent = true;
        self
    }

    /// Goes over the open shell channel.
    pub fn quick(mut self) -> Command {
        self.quick = true;
        self
    }

    /// As the login user.
    pub fn as_login_user(mut self) -> Command {
        self.root = false;
        self
    }
}

/// What a command said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 + n when it died of signal n.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, without the trailing newline.
    pub fn text(&self) -> Cow<'_, str> {
        let bytes = self.stdout.strip_suffix(b"\n").unwrap_or(&self.stdout);
        String::from_utf8_lossy(bytes)
    }
}

/// What went wrong between here and a node. Every message names the node and says what to do next.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// No session could be opened.
    #[error("{node}: cannot connect: {message}\n  hint: {hint}")]
    Connect {
        /// The node.
        node: Name,
        /// What failed.
        message: String,
        /// What to check.
        hint: String,
        /// Whether nothing answered there: it may be down, or booting.
        unanswered: bool,
    },
    /// The session is there, but commands are refused: no shell, no way to become root. Nothing ran.
    #[error("{node}: {message}\n  hint: {hint}")]
    Refused {
        /// The node.
        node: Name,
        /// What was said.
        message: String,
        /// What to check.
        hint: String,
    },
    /// The command ran and failed.
    #[error("{node}: command failed with exit code {status}: {command}{}", tail(.stderr))]
    Failed {
        /// The node.
        node: Name,
        /// The script, shortened to its first line.
        command: String,
        /// Its exit status.
        status: i32,
        /// The end of its standard error.
        stderr: String,
    },
    /// The command did not end in time. It was killed; what it did is unknown.
    #[error("{node}: command did not end within {limit:?}: {command}")]
    Timeout {
        /// The node.
        node: Name,
        /// The script, shortened to its first line.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// The session was lost while the command ran; what it did is unknown.
    #[error(
        "{node}: connection lost during: {command}: {message}\n  hint: the node went down, its sshd was \
         stopped, or the network broke; is it there? Try: ping, ssh, and its console"
    )]
    Lost {
        /// The node.
        node: Name,
        /// The script, shortened to its first line.
        command: String,
        /// What was seen.
        message: String,
    },
    /// A local file could not be read or written.
    #[error("{node}: transfer of {path}: {message}")]
    Transfer {
        /// The node.
        node: Name,
        /// The path concerned.
        path: String,
        /// What failed.
        message: String,
    },
}

impl RemoteError {
    /// Whether the command certainly did not run.
    pub fn not_run(&self) -> bool {
        matches!(
            self,
            RemoteError::Connect { .. } | RemoteError::Refused { .. }
        )
    }

    /// Whether nothing answered where the node should be: it may be down, or booting.
    pub fn unanswered(&self) -> bool {
        matches!(
            self,
            RemoteError::Connect {
                unanswered: true,
                ..
            }
        )
    }
}

fn tail(stderr: &str) -> String {
    if stderr.is_empty() {
        return String::new();
    }
    let hint = match stderr {
        _ if stderr.contains("No space left on device") => {
            "\n  hint: a disk of the node is full: df -h; df -i"
        }
        _ if stderr.contains("Read-only file system") => {
            "\n  hint: a file system of the node is read-only: dmesg, mount"
        }
        _ => "",
    };
    format!("\n  stderr: {}{hint}", stderr.trim_end())
}

/// The error of a command that ran and failed.
pub(crate) fn failed(node: &Name, command: String, output: &Output) -> RemoteError {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let from = stderr.char_indices().rev().nth(999).map_or(0, |(at, _)| at);
    RemoteError::Failed {
        node: node.clone(),
        command,
        status: output.status,
        stderr: stderr[from..].to_owned(),
    }
}

/// A session to one node.
#[async_trait]
pub trait Remote: Send + Sync {
    /// The node's name.
    fn node(&self) -> &Name;

    /// Runs a command and returns what it said, whatever its exit status.
    async fn run(&self, command: Command) -> Result<Output, RemoteError>;

    /// Writes a file on the node, atomically (a temporary file beside it, renamed), with a mode such
    /// as `0o644`.
    async fn write(&self, path: &str, contents: Vec<u8>, mode: u32) -> Result<(), RemoteError>;

    /// Copies a local file to the node.
    async fn upload(
        &self,
        local: &std::path::Path,
        remote: &str,
        mode: u32,
    ) -> Result<(), RemoteError>;

    /// Copies a file of the node to a local path.
    async fn download(&self, remote: &str, local: &std::path::Path) -> Result<(), RemoteError>;

    /// Starts a script that is talked to while it runs: what is written to the stream is its standard input, and what it
    /// says, on both outputs, is read from there, after whatever the login shell says. It reads the end of its input when the
    /// stream is dropped. Its time limit and standard input are not used.
    async fn talk(&self, command: Command) -> Result<UnixStream, RemoteError>;

    /// Gives up what is open to the node, which was started anew: it would take long to be seen to lead nowhere. Commands that are under
    /// way are lost; new ones go over what is opened then.
    fn renew(&self) {}

    /// Runs a command that must succeed.
    async fn exec(&self, command: Command) -> Result<Output, RemoteError> {
        let shown = first_line(&command.script);
        let output = self.run(command).await?;
        match output.status {
            0 => Ok(output),
            _ => Err(failed(self.node(), shown, &output)),
        }
    }
}

/// A node of the run: its name, where clients reach it, and a session to it.
#[derive(Clone)]
pub struct Node {
    /// The name the user gave.
    pub name: Name,
    /// The address that clients and other nodes use: a host name or an IP address.
    pub address: String,
    /// The session.
    pub remote: Arc<dyn Remote>,
}

/// The first line of a script, for messages.
pub fn first_line(script: &str) -> String {
    let mut lines = script.trim().lines();
    let first = lines.next().unwrap_or_default();
    let short: String = first.chars().take(120).collect();
    if lines.next().is_some() || short.len() < first.len() {
        format!("{short} …")
    } else {
        short
    }
}

/// Quotes a word for a POSIX shell.
pub fn quote(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote("a-b/c.d"), "a-b/c.d");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
