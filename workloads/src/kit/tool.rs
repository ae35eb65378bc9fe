//! Programs of this machine that get other programs: pip, mvn, go, apt-get.
//!
//! Registries are reached as this machine is set up for them: with its own proxies, mirrors and passwords.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::local;
use tokio::process::Command;
use tokio::runtime::Handle;

use super::{KitError, here};

/// How long one of them may take, downloads and builds included.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// How much of what a failed one said is shown.
const SAID: usize = 1500;

/// What is run, and what to say if it does not work.
pub(super) struct Tool<'a> {
    /// What is wanted, such as `etcd-3.5.2 (Go module … v3.5.2)`.
    pub(super) what: String,
    /// Where the program runs.
    pub(super) folder: &'a Path,
    /// What would help where there is no such program.
    pub(super) absent: &'static str,
    /// What would help where it failed.
    pub(super) failed: &'static str,
}

impl Tool<'_> {
    /// Runs a program to its end.
    pub(super) async fn run(&self, command: Command) -> Result<(), KitError> {
        self.ask(command).await.map(drop)
    }

    /// The same, for what it says.
    pub(super) async fn ask(&self, mut command: Command) -> Result<String, KitError> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        command
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let runtime = Handle::current();
        // Local nodes have no way out, and we may be among them.
        let started = local::outside(|| {
            let _runtime = runtime.enter();
            command.spawn()
        });
        let ran = async { started.flatten()?.wait_with_output().await };
        let ran = match tokio::time::timeout(LIMIT, ran).await {
            Ok(Ok(ran)) => ran,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.refused(
                    format!("there is no `{program}` on this machine"),
                    self.absent,
                ));
            }
            Ok(Err(error)) => {
                return Err(here(&format!("running {program} in"), self.folder, error));
            }
            Err(_) => {
                return Err(self.refused(
                    format!("{program} was not done within {LIMIT:?}"),
                    "try the network",
                ));
            }
        };
        if ran.status.success() {
            return Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
        }
        // Some say on one stream what went wrong, some on the other.
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let from = said.floor_char_boundary(said.len().saturating_sub(SAID));
        Err(self.refused(said[from..].trim().to_owned(), self.failed))
    }

    fn refused(&self, said: String, hint: &'static str) -> KitError {
        KitError::Tool {
            what: self.what.clone(),
            said,
            hint,
        }
    }
}
