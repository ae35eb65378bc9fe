//! Sessions to nodes over SSH.
//!
//! An [`SshRemote`] keeps a few sessions to its node: some for ordinary commands and transfers, each
//! on a channel of its own, and one with an open shell for quick ones, which cost a round trip and a
//! fork. They are opened when first needed, kept, and reopened when they broke.
//!
//! What happens to a command is never guessed (`exchange`): it *ran*, it *certainly did not
//! start*, or its session was lost and *nobody knows*. Only a command that did not start, or that is
//! idempotent, is tried again.
//!
//! The layers, from the outside in: `pool` (threads and queues), `worker` (one session and its
//! jobs), `exchange` (one script over one channel), `frame` (how a script and its output are
//! wrapped), and for opening a session `config`, `connect`, `known_hosts`, `auth` and `proxy`. A script that
//! is talked to while it runs (`talk`) has a session of its own, whose channel becomes a socket (`pump`).

mod auth;
mod config;
mod connect;
mod exchange;
mod frame;
mod known_hosts;
mod options;
mod pool;
mod proxy;
mod pump;
mod talk;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use store::Name;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

pub use options::{CONNECT_TIMEOUT, ConfigFile, HostKeyPolicy, Secret, SshOptions};

use super::{Command, Output, Remote, RemoteError, failed, first_line, quote};
use pool::{Job, Kind, Payload, Pool, Profile};

/// The most standard input that goes over the open shell; more goes over a channel of its own.
const QUICK_STDIN_MAX: usize = 64 << 10;

/// What a session's thread may take beyond all its own limits.
const SLACK: Duration = Duration::from_secs(20);

/// A node over SSH.
pub struct SshRemote {
    profile: Arc<Profile>,
    ordinary: Pool,
    quick: Pool,
}

impl SshRemote {
    /// A node by its name and its address, `[user@]host[:port]`, where the host may be an alias of
    /// the SSH configuration. Nothing is connected yet; the first command does that.
    pub fn new(node: Name, address: &str, options: SshOptions) -> Result<SshRemote, RemoteError> {
        let target =
            config::resolve(address, &options).map_err(|failure| failure.into_error(&node))?;
        let sessions = options.sessions;
        let profile = Arc::new(Profile::new(node, target, options));
        Ok(SshRemote {
            ordinary: Pool::new(Arc::clone(&profile), Kind::Ordinary, sessions),
            quick: Pool::new(Arc::clone(&profile), Kind::Quick, 1),
            profile,
        })
    }

    /// The host behind the address, as the SSH configuration has it.
    pub fn host(&self) -> &str {
        &self.profile.target.host
    }

    /// Opens the session for quick commands, so that the first of them need not.
    pub async fn warm(&self) -> Result<(), RemoteError> {
        let nothing = Command::new(":").quick().idempotent();
        self.exec(nothing).await.map(drop)
    }

    async fn submit(&self, pool: &Pool, task: Task) -> Result<Output, RemoteError> {
        let (reply, answer) = oneshot::channel();
        let label = task.label.clone();
        pool.submit(Job {
            script: task.script,
            label: task.label,
            payload: task.payload,
            timeout: task.timeout,
            idempotent: task.idempotent,
            root: task.root,
            queued: Instant::now(),
            reply,
        });
        // The thread keeps the time; but what it calls may hang, such as an agent.
        let limit = task.timeout + self.profile.target.connect_timeout * 3 + SLACK;
        let silent = |message: &str| {
            Err(RemoteError::Lost {
                node: self.profile.node.clone(),
                command: label.clone(),
                message: message.into(),
            })
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => silent("the session's thread ended"),
            Err(_) => silent("the session's thread hangs"),
        }
    }

    /// Writes a file from a payload of so many bytes: beside its place, checked, then renamed.
    async fn put(
        &self,
        path: &str,
        mode: u32,
        size: u64,
        payload: Payload,
    ) -> Result<(), RemoteError> {
        let (place, template) = (quote(path), format!("{path}.gainsay.XXXXXX"));
        let script = format!(
            "t=$(mktemp -- {}) || exit; cat >\"$t\" && [ \"$(wc -c <\"$t\")\" -eq {size} ] && \
             chmod {mode:o} \"$t\" && mv -fT -- \"$t\" {place} || {{ rm -f -- \"$t\"; exit 1; }}",
            quote(&template)
        );
        self.transfer(script, format!("write {path}"), payload)
            .await
    }

    async fn transfer(
        &self,
        script: String,
        label: String,
        payload: Payload,
    ) -> Result<(), RemoteError> {
        let task = Task {
            script,
            label: label.clone(),
            payload,
            timeout: self.profile.options.transfer_timeout,
            idempotent: true,
            root: true,
        };
        let output = self.submit(&self.ordinary, task).await?;
        match output.status {
            0 => Ok(()),
            _ => Err(failed(&self.profile.node, label, &output)),
        }
    }
}

/// A job before it is queued.
struct Task {
    script: String,
    label: String,
    payload: Payload,
    timeout: Duration,
    idempotent: bool,
    root: bool,
}

#[async_trait]
impl Remote for SshRemote {
    fn node(&self) -> &Name {
        &self.profile.node
    }

    fn renew(&self) {
        self.profile.renew();
    }

    async fn run(&self, command: Command) -> Result<Output, RemoteError> {
        if command.script.contains('\0') {
            return Err(RemoteError::Refused {
                node: self.profile.node.clone(),
                message: "a script cannot contain a NUL byte".into(),
                hint: "send binary data on standard input".into(),
            });
        }
        // The open shell is root's.
        let root = command.root || self.profile.target.user == "root";
        let quick = command.quick && root && command.stdin.len() <= QUICK_STDIN_MAX;
        let pool = if quick { &self.quick } else { &self.ordinary };
        let task = Task {
            label: first_line(&command.script),
            script: command.script,
            payload: Payload::Input(command.stdin),
            timeout: command.timeout,
            idempotent: command.idempotent,
            root: command.root,
        };
        self.submit(pool, task).await
    }

    async fn write(&self, path: &str, contents: Vec<u8>, mode: u32) -> Result<(), RemoteError> {
        let size = contents.len() as u64;
        self.put(path, mode, size, Payload::Input(contents)).await
    }

    async fn upload(&self, local: &Path, remote: &str, mode: u32) -> Result<(), RemoteError> {
        let size = match std::fs::metadata(local) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Err(self.local_failure(local, "not a file")),
            Err(error) => return Err(self.local_failure(local, &error.to_string())),
        };
        self.put(remote, mode, size, Payload::Upload(local.to_owned()))
            .await
    }

    async fn download(&self, remote: &str, local: &Path) -> Result<(), RemoteError> {
        let script = format!("cat -- {}", quote(remote));
        let payload = Payload::Download(local.to_owned());
        self.transfer(script, format!("read {remote}"), payload)
            .await
    }

    async fn talk(&self, command: Command) -> Result<UnixStream, RemoteError> {
        let profile = Arc::clone(&self.profile);
        let label = first_line(&command.script);
        let lost = |message: String| RemoteError::Lost {
            node: self.profile.node.clone(),
            command: label.clone(),
            message,
        };
        let opened = tokio::task::spawn_blocking(move || talk::talk(&profile, &command)).await;
        let stream = opened.map_err(|error| lost(error.to_string()))??;
        let stream = stream.set_nonblocking(true).map(|()| stream);
        stream
            .and_then(UnixStream::from_std)
            .map_err(|error| lost(error.to_string()))
    }
}

impl SshRemote {
    fn local_failure(&self, path: &Path, message: &str) -> RemoteError {
        RemoteError::Transfer {
            node: self.profile.node.clone(),
            path: path.to_string_lossy().into_owned(),
            message: message.to_owned(),
        }
    }
}

/// Why no session could be opened, and what to check.
#[derive(Clone, Debug)]
struct Failure {
    message: String,
    hint: String,
    /// Whether nothing answered at the host itself.
    unanswered: bool,
}

impl Failure {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            hint: hint.into(),
            unanswered: false,
        }
    }

    /// The same, where nothing answered.
    fn unanswered(self) -> Failure {
        Failure {
            unanswered: true,
            ..self
        }
    }

    /// Of another host, on the way there.
    fn via(self, whom: &str) -> Failure {
        Failure {
            message: format!("{whom}: {}", self.message),
            unanswered: false,
            ..self
        }
    }

    fn into_error(self, node: &Name) -> RemoteError {
        RemoteError::Connect {
            node: node.clone(),
            message: self.message,
            hint: self.hint,
            unanswered: self.unanswered,
        }
    }
}

/// What to say when the other side would not run a script.
fn refused(profile: &Profile, said: &str) -> RemoteError {
    let user = &profile.target.user;
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let hint = if has(&["password is required", "terminal is required"]) {
        format!(
            "let {user} use sudo without a password ({user} ALL=(ALL) NOPASSWD: ALL), or give it \
             with --password-file"
        )
    } else if has(&["incorrect password", "Sorry, try again"]) {
        "the sudo password is wrong".into()
    } else if has(&["not in the sudoers", "not allowed to execute"]) {
        format!("add {user} to the sudoers, or log in as root")
    } else if said.contains("sudo") && has(&["not found", "No such file"]) {
        "install sudo on the node, or log in as root".into()
    } else {
        format!("{user} needs a login shell that runs commands: getent passwd {user}")
    };
    RemoteError::Refused {
        node: profile.node.clone(),
        message: format!("commands are refused: {said}"),
        hint,
    }
}
