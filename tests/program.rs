//! Running the built program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The built program, with a store of its own and none of the caller's settings.
pub(crate) struct Program {
    /// Where runs go, and the working directory.
    pub(crate) folder: tempfile::TempDir,
}

/// What it said.
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Program {
    /// In a new folder.
    pub(crate) fn new() -> Program {
        Program {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A command that has not been started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gainsay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GAINSAY_")) {
            // The cache and the corpus are the machine's, not the caller's wishes.
            if name != "GAINSAY_CACHE" && name != "GAINSAY_CORPUS" {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("NO_COLOR", "1");
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// The folder of the last run.
    pub(crate) fn latest(&self) -> PathBuf {
        self.folder.path().join("runs/latest")
    }
}

/// What an ended program said.
pub(crate) fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Says loudly that a test cannot run, and on CI fails it: there everything must be able to run.
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(
        std::env::var_os("CI").is_none(),
        "on CI nothing is skipped: {why}"
    );
}
