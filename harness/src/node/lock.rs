//! A node belongs to one run at a time.
//!
//! The lock is a file on the node that says who holds it. It is created atomically with its
//! contents (a hard link to a finished file), so there is no moment at which it exists and says
//! nothing. A lock whose holder was a process of this very machine that is gone, is taken over;
//! whether a process on another machine still lives cannot be known, so such a lock is respected
//! until somebody breaks it.

use std::fs;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::Name;
use thiserror::Error;

use super::{BOOT_RECORDS, STATE_FOLDER};
use crate::remote::{Command, Output, Remote, RemoteError, quote};

/// How often the lock is tried where others come in between.
const ATTEMPTS_MAX: u32 = 5;

/// The exit status of a script that found the lock taken.
const TAKEN: i32 = 17;

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run: String,
    /// The host name of the controller.
    pub host: String,
    /// When it was taken, by the controller's clock.
    pub since: String,
    /// The controller's process.
    pub pid: u32,
    /// When that process started, in clock ticks since boot.
    pub started: u64,
    /// The pid namespace in which the process is meant.
    pub namespace: String,
    /// The boot of the controller's kernel.
    pub boot: String,
    /// The controller's machine id.
    pub machine: String,
}

/// Why a node was not locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another run has it.
    #[error(
        "{node}: locked by run {} of {}, process {}, since {}\n  hint: wait for that run to end; if \
         it is dead, `gainsay heal` restores the node and breaks its lock, or --force-unlock does \
         only the latter",
        .holder.run, .holder.host, .holder.pid, .holder.since
    )]
    Held {
        /// The node.
        node: Name,
        /// Who has it.
        holder: Box<Holder>,
    },
    /// There is a lock file that is not ours to judge.
    #[error(
        "{node}: {STATE_FOLDER}/lock is not a lock that can be read: {contents:?}\n  hint: \
         --force-unlock replaces it"
    )]
    Unreadable {
        /// The node.
        node: Name,
        /// The beginning of what it says.
        contents: String,
    },
    /// The node could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// A lock that is held.
pub struct Lock {
    remote: Arc<dyn Remote>,
    folder: String,
    contents: String,
}

impl Lock {
    /// Locks a node for a run. With `force`, whoever has it loses it.
    pub async fn acquire(
        remote: Arc<dyn Remote>,
        run: &str,
        force: bool,
    ) -> Result<Lock, LockError> {
        Lock::acquire_in(remote, STATE_FOLDER, run, force).await
    }

    /// Like [`Lock::acquire`], with the lock file in another folder.
    pub async fn acquire_in(
        remote: Arc<dyn Remote>,
        folder: &str,
        run: &str,
        force: bool,
    ) -> Result<Lock, LockError> {
        let lock = Lock {
            contents: serde_json::json!(Holder::of_this_process(run)).to_string(),
            folder: folder.to_owned(),
            remote,
        };
        let mut attempt = 1;
        loop {
            let output = lock.try_create().await?;
            let found = output.text();
            if output.status == 0 {
                return Ok(lock);
            }
            let node = lock.remote.node().clone();
            if attempt == ATTEMPTS_MAX || output.status != TAKEN {
                let label = format!("lock the node for run {run}");
                return Err(crate::remote::failed(&node, label, &output).into());
            }
            let holder = serde_json::from_str::<Holder>(&found);
            match holder {
                // A command that was tried again after its session was lost.
                _ if found == lock.contents => return Ok(lock),
                _ if found.is_empty() => {} // released this moment
                Ok(holder) if force || holder.is_gone() => {
                    tracing::warn!(%node, ?holder, force, "taking over a lock");
                    lock.break_it(&found).await?;
                }
                Ok(holder) => {
                    let holder = Box::new(holder);
                    return Err(LockError::Held { node, holder });
                }
                Err(_) if force => lock.break_it(&found).await?,
                Err(_) => {
                    let contents = found.chars().take(200).collect();
                    return Err(LockError::Unreadable { node, contents });
                }
            }
            attempt += 1;
        }
    }

    /// Creates the lock file, or says what is in the one that is there.
    async fn try_create(&self) -> Result<Output, RemoteError> {
        let script = format!(
            "# lock the node\n\
             mkdir -p -- {folder} && new=$(mktemp -- {template}) && cat >\"$new\" || exit\n\
             if ln -- \"$new\" {file} 2>/dev/null; then rm -f -- \"$new\"; exit 0; fi\n\
             rm -f -- \"$new\"; cat -- {file} 2>/dev/null; exit {TAKEN}",
            folder = quote(&self.folder),
            template = quote(&format!("{}/lock.XXXXXX", self.folder)),
            file = quote(&self.file()),
        );
        let command = Command::new(script).idempotent();
        self.remote.run(command.stdin(self.contents.as_str())).await
    }

    /// Moves a lock away if it still says what it said. Of several that try, one succeeds.
    async fn break_it(&self, found: &str) -> Result<(), RemoteError> {
        let script = format!(
            "# break a lock\n\
             old={old}.$$; mv -fT -- {file} \"$old\" || exit 0\n\
             [ \"$(cat -- \"$old\")\" = {found} ] || ln -- \"$old\" {file}\nrm -f -- \"$old\"",
            old = quote(&format!("{}.broken", self.file())),
            file = quote(&self.file()),
            found = quote(found),
        );
        self.remote.exec(Command::new(script)).await.map(drop)
    }

    /// Gives the node back. A lock that is no longer ours is left alone.
    pub async fn release(self) -> Result<(), RemoteError> {
        let script = format!(
            "# unlock the node\n\
             [ \"$(cat -- {file} 2>/dev/null)\" != {ours} ] || rm -f -- {file}\n{tidy}",
            file = quote(&self.file()),
            ours = quote(&self.contents),
            tidy = tidy(&self.folder),
        );
        let command = Command::new(script).idempotent();
        self.remote.exec(command).await.map(drop)
    }

    fn file(&self) -> String {
        format!("{}/lock", self.folder)
    }
}

/// Who holds a node's lock, if anybody does and says so legibly.
pub async fn holder(remote: &dyn Remote) -> Result<Option<Holder>, RemoteError> {
    let script = format!("cat -- {STATE_FOLDER}/lock 2>/dev/null || true");
    let output = remote.exec(Command::new(script).quick().idempotent()).await;
    Ok(serde_json::from_str(&output?.text()).ok())
}

/// Removes a node's lock, whoever holds it.
pub async fn break_lock(remote: &dyn Remote) -> Result<(), RemoteError> {
    let script = format!("rm -f -- {STATE_FOLDER}/lock\n{}", tidy(STATE_FOLDER));
    let command = Command::new(script).quick().idempotent();
    remote.exec(command).await.map(drop)
}

/// Removes the folder of our records if nothing is left in it.
pub(super) fn tidy(folder: &str) -> String {
    let undo = format!("{folder}/undo");
    let (undo, folder) = (quote(&undo), quote(folder));
    // An agent that was killed could not remove itself. While entries stand, they may need it, the user's scripts and records.
    let files: String = ["agent-*", "script-*"]
        .iter()
        .chain(&BOOT_RECORDS)
        .map(|files| format!(" {folder}/{files}"))
        .collect();
    format!(
        "rmdir -- {undo} 2>/dev/null; [ -e {undo} ] || rm -f --{files}; \
         rmdir -- {folder} 2>/dev/null; true"
    )
}

impl Holder {
    fn of_this_process(run: &str) -> Holder {
        let pid = std::process::id();
        Holder {
            run: run.to_owned(),
            host: nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            since: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            pid,
            started: start_time(pid).unwrap_or_default(),
            namespace: pid_namespace(),
            boot: line("/proc/sys/kernel/random/boot_id"),
            machine: line("/etc/machine-id"),
        }
    }

    /// Whether it is a process of this machine that certainly lives.
    pub fn lives(&self) -> bool {
        self.boot == line("/proc/sys/kernel/random/boot_id")
            && self.namespace == pid_namespace()
            && start_time(self.pid) == Some(self.started)
    }

    /// Whether it was a process of this machine that certainly is gone.
    pub fn is_gone(&self) -> bool {
        if self.boot == line("/proc/sys/kernel/random/boot_id") {
            self.namespace == pid_namespace() && start_time(self.pid) != Some(self.started)
        } else {
            let here = Holder::of_this_process("");
            !self.machine.is_empty() && self.machine == here.machine && self.host == here.host
        }
    }
}

fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

fn pid_namespace() -> String {
    fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// When a process of this machine started, in clock ticks since boot; `None` if it is gone.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    // The start time is field 22; the state was field 3.
    let started = fields.nth(18)?.parse().ok()?;
    (state != "Z").then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_not_gone() {
        let here = Holder::of_this_process("r");
        assert!(here.lives() && !here.is_gone());
        let another_start = Holder {
            started: here.started + 1,
            ..here.clone()
        };
        assert!(another_start.is_gone() && !another_start.lives());
        let another_machine = Holder {
            boot: "other".into(),
            machine: "other".into(),
            ..here.clone()
        };
        assert!(!another_machine.is_gone());
        let before_reboot = Holder {
            boot: "other".into(),
            machine: "m".into(),
            ..here
        };
        assert_eq!(before_reboot.is_gone(), line("/etc/machine-id") == "m");
    }
}
