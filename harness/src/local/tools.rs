//! What a local cluster needs of this machine, and how to get it.
//!
//! It is little: the nodes' network is set up with the `ip` of their own base system, their keys are made
//! with its `ssh-keygen`; only what builds that base system must be here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Progress;
use super::error::LocalError;
use super::program::{self, Job};

/// How long installing may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A program that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The program.
    pub tool: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What it is needed for.
    pub why: &'static str,
}

const NEEDED: [Missing; 5] = [
    Missing {
        tool: "mmdebstrap",
        package: "mmdebstrap",
        why: "builds the nodes' base system from this machine's package sources",
    },
    Missing {
        tool: "apt-get",
        package: "apt",
        why: "downloads the packages that suites install",
    },
    Missing {
        tool: "dpkg-deb",
        package: "dpkg",
        why: "reads the packages that suites install",
    },
    Missing {
        tool: "unshare",
        package: "util-linux",
        why: "keeps the build's mounts private",
    },
    Missing {
        tool: "mount",
        package: "mount",
        why: "joins base system and packages",
    },
];

/// What nodes with kernels of their own need besides.
const NEEDED_FOR_OWN_KERNELS: [Missing; 2] = [
    Missing {
        tool: super::machine::PROGRAM,
        package: "user-mode-linux",
        why: "is the kernel of nodes that have one of their own",
    },
    Missing {
        tool: "mke2fs",
        package: "e2fsprogs",
        why: "makes their disks",
    },
];

/// The programs that building nodes needs and this machine lacks. They are not needed where base
/// system and packages are cached.
pub fn missing_tools() -> Vec<Missing> {
    missing_of(&NEEDED)
}

/// The programs that nodes with kernels of their own need besides, and this machine lacks.
pub fn missing_for_own_kernels() -> Vec<Missing> {
    missing_of(&NEEDED_FOR_OWN_KERNELS)
}

fn missing_of(needed: &[Missing]) -> Vec<Missing> {
    let missing = needed.iter().filter(|needed| !in_path(needed.tool));
    missing.cloned().collect()
}

/// Fails with all that building nodes needs and is missing, if something is.
pub(super) fn require() -> Result<(), LocalError> {
    refuse(missing_tools())
}

/// Fails with all that nodes with kernels of their own need besides and is missing, if something is.
pub(super) fn require_own_kernels() -> Result<(), LocalError> {
    refuse(missing_for_own_kernels())
}

fn refuse(missing: Vec<Missing>) -> Result<(), LocalError> {
    if missing.is_empty() {
        Ok(())
    } else {
        Err(LocalError::MissingTools(missing))
    }
}

/// Installs what [`missing_tools`] or [`missing_for_own_kernels`] reported, with this machine's package manager (`--setup`).
///
/// # Errors
/// If this machine has no `apt-get`, or it fails.
pub fn install_tools(missing: &[Missing], progress: Progress<'_>) -> Result<(), LocalError> {
    if missing.is_empty() {
        return Ok(());
    }
    if !in_path("apt-get") {
        return Err(LocalError::MissingTools(missing.to_vec()));
    }
    let mut update = apt_get();
    update.arg("update");
    let hint = "`apt-get update` and `apt-get install` must work on this machine";
    let job = Job {
        doing: "refreshing package lists",
        limit: INSTALL_LIMIT,
        hint,
    };
    program::run(update, &job, progress)?;
    let mut install = apt_get();
    install.args(["install", "--yes", "--no-install-recommends"]);
    install.args(missing.iter().map(|tool| tool.package));
    let job = Job {
        doing: "installing tools",
        limit: INSTALL_LIMIT,
        hint,
    };
    program::run(install, &job, progress)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .arg("--quiet")
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn in_path(tool: &str) -> bool {
    // Where root's login shell looks; `su` without `-` leaves the sbin directories out of PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(Into::into))
        .any(|dir| is_file(&dir.join(tool)))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file())
}
