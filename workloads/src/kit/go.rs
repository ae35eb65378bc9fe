//! Programs built from Go modules, by the Go tool chain of this machine.
//!
//! A throw-away module requires the one that is asked for, and the tool chain gets it and what it needs through the module proxy
//! that this machine is set up for. The program is linked statically, so that it runs on a node whatever libraries it has.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use harness::local;
use tokio::process::Command;
use tokio::runtime::Handle;

use super::{KitError, here};

/// How long a build may take, downloads included.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// How much of what a failed build said is shown.
const SAID: usize = 1500;

/// A program of a Go module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoProgram {
    /// What it is called, with its version: `etcd-3.5.2`.
    pub label: String,
    /// The module, such as `go.etcd.io/etcd/server/v3`.
    pub module: String,
    /// Its version, such as `v3.5.2`.
    pub version: String,
    /// The package of the program; most often the module's own.
    pub package: String,
}

impl GoProgram {
    /// Builds it into a folder, unless it is there: the file.
    pub(super) async fn obtain(&self, programs: &Path) -> Result<PathBuf, KitError> {
        let file = programs.join(format!("{}-go", self.label));
        if file.exists() {
            return Ok(file);
        }
        let lock = programs.join("lock");
        // Another controller may be building it.
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::create(&lock)?;
            file.lock().map(|()| file)
        });
        let _lock = locked
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| here("locking", programs, error))?;
        if !file.exists() {
            let folder = tempfile::tempdir_in(programs);
            let folder = folder.map_err(|error| here("writing to", programs, error))?;
            let built = self.build(folder.path()).await?;
            fs::rename(&built, &file).map_err(|error| here("making", &file, error))?;
        }
        Ok(file)
    }

    async fn build(&self, folder: &Path) -> Result<PathBuf, KitError> {
        let GoProgram {
            module,
            version,
            package,
            ..
        } = self;
        tracing::info!(
            "building {} from the Go module {module} {version}",
            self.label
        );
        let text =
            format!("module gainsay.invalid/build\n\ngo 1.16\n\nrequire {module} {version}\n");
        let write = fs::write(folder.join("go.mod"), text);
        write.map_err(|error| here("writing to", folder, error))?;
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-o", "program", package])
            .current_dir(folder)
            .env("GOFLAGS", "-mod=mod")
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let failed = |said: String, hint| KitError::Build {
            what: format!("{} (Go module {module} {version})", self.label),
            said,
            hint,
        };
        go.stdout(Stdio::null()).stderr(Stdio::piped());
        let runtime = Handle::current();
        // Local nodes have no way out, and we may be among them.
        let started = local::outside(|| {
            let _runtime = runtime.enter();
            go.spawn()
        });
        let ran = async { started.flatten()?.wait_with_output().await };
        let ran = match tokio::time::timeout(BUILD_LIMIT, ran).await {
            Ok(Ok(ran)) => ran,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                let hint = "install Go on this machine (go.dev/dl, or Debian's golang-go), or give the path of a program";
                return Err(failed("there is no Go tool chain (`go`)".to_owned(), hint));
            }
            Ok(Err(error)) => return Err(here("running go in", folder, error)),
            Err(_) => {
                return Err(failed(
                    format!("not done within {BUILD_LIMIT:?}"),
                    "try `go env GOPROXY` and the network",
                ));
            }
        };
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            let from = said.floor_char_boundary(said.len().saturating_sub(SAID));
            let hint = "is there such a version? does `go env GOPROXY` reach its proxy? is this Go new enough for it?";
            return Err(failed(said[from..].trim().to_owned(), hint));
        }
        Ok(folder.join("program"))
    }
}
