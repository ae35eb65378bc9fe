//! Programs built from Go modules, by the Go tool chain of this machine.
//!
//! A throw-away module requires the one that is asked for, and the tool chain gets it and what it needs through the module proxy
//! that this machine is set up for. The program is linked statically, so that it runs on a node whatever libraries it has.

use std::fs;
use std::path::Path;

use tokio::process::Command;

use super::tool::Tool;
use super::{KitError, here};

/// A program of a Go module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GoProgram {
    /// What the file is called: `etcd`.
    pub name: String,
    /// The module, such as `go.etcd.io/etcd/server/v3`.
    pub module: String,
    /// Its version, such as `v3.5.2`.
    pub version: String,
    /// The package of the program; most often the module's own.
    pub package: String,
}

impl GoProgram {
    /// Builds it into a folder, in another one that may be littered.
    pub(super) async fn build(&self, scratch: &Path, into: &Path) -> Result<(), KitError> {
        let GoProgram {
            name,
            module,
            version,
            package,
        } = self;
        tracing::info!("building {name} from the Go module {module} {version}");
        // From 1.17 on, dependencies have the versions that the module itself names, and not newer ones that some dependency of
        // theirs asks for.
        let text =
            format!("module gainsay.invalid/build\n\ngo 1.17\n\nrequire {module} {version}\n");
        let write = fs::write(scratch.join("go.mod"), text);
        write.map_err(|error| here("writing to", scratch, error))?;
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-o"])
            .arg(into.join(name))
            .arg(package)
            .env("GOFLAGS", "-mod=mod")
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0");
        let tool = Tool {
            what: format!("Go module {module} {version}"),
            folder: scratch,
            absent: "install Go on this machine (go.dev/dl, or Debian's golang-go), or give the path of a program",
            failed: "is there such a version? does `go env GOPROXY` reach its proxy? is this Go new enough for it?",
        };
        tool.run(go).await
    }
}
