//! Programs built from Go modules, by the Go tool chain of this machine.
//!
//! A throw-away module requires the one that is asked for, and the tool chain gets it and what it needs through the module proxy
//! that this machine is set up for. The program is linked statically, so that it runs on a node whatever libraries it has.

use std::fs;
use std::path::Path;

use tokio::process::Command;

use super::tool::Tool;
use super::{KitError, here};

/// The folder of a module's copy.
const COPY: &str = "copy";

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
    /// Files that are not in the module, and must be for it to build or to start: path and text. Releases are made with them.
    pub adds: Vec<(String, String)>,
}

impl GoProgram {
    /// Builds it into a folder, in another one that may be littered.
    pub(super) async fn build(&self, scratch: &Path, into: &Path) -> Result<(), KitError> {
        let GoProgram {
            name,
            module,
            version,
            package,
            adds,
        } = self;
        tracing::info!("building {name} from the Go module {module} {version}");
        let tool = Tool {
            what: format!("Go module {module} {version}"),
            folder: scratch,
            absent: "install Go on this machine (go.dev/dl, or Debian's golang-go), or give the path of a program",
            failed: "is there such a version? does `go env GOPROXY` reach its proxy? is this Go new enough for it?",
        };
        let needs =
            format!("module gainsay.invalid/build\n\ngo 1.17\n\nrequire {module} {version}\n");
        let file = scratch.join("go.mod");
        let write =
            |text: &str| fs::write(&file, text).map_err(|error| here("writing", &file, error));
        write(&needs)?;
        if !adds.is_empty() {
            self.copy(scratch, &tool).await?;
            write(&format!("{needs}\nreplace {module} => ./{COPY}\n"))?;
        }
        let mut build = go();
        build
            .args(["build", "-trimpath", "-o"])
            .arg(into.join(name))
            .arg(package);
        tool.run(build).await
    }

    /// Makes a copy of the module, with the files that are not in it.
    async fn copy(&self, scratch: &Path, tool: &Tool<'_>) -> Result<(), KitError> {
        let mut get = go();
        get.args(["mod", "download", &self.module]);
        tool.run(get).await?;
        let mut find = go();
        find.args(["list", "-m", "-f", "{{.Dir}}", &self.module]);
        let original = tool.ask(find).await?;
        let copy = scratch.join(COPY);
        let mut cp = Command::new("cp");
        // Go keeps modules without the right to write.
        cp.args(["--recursive", "--no-preserve=mode", &original])
            .arg(&copy);
        tool.run(cp).await?;
        for (path, text) in &self.adds {
            let path = copy.join(path);
            fs::write(&path, text).map_err(|error| here("writing", &path, error))?;
        }
        Ok(())
    }
}

/// The tool chain, for a throw-away module.
fn go() -> Command {
    let mut go = Command::new("go");
    go.env("GOFLAGS", "-mod=mod")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0");
    go
}
