//! The nodes' base system: a small Debian (or Ubuntu) of this machine's own release, with an SSH server
//! and the tools that faults and suites use. Built once by `mmdebstrap`, then cached.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cache::{Cache, open_to_all};
use super::error::{Doing, LocalError};
use super::program::{self, Job};
use super::sources::{self, Sources};
use super::{Progress, apt, tools};

/// Changes when the way a base system is built or finished does, so that old ones are not used.
const FORMAT: u32 = 2;

/// How long a build may take; 40 s are usual, slow mirrors take minutes.
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// What nodes have beyond Debian's essential packages.
const PACKAGES: [&str; 16] = [
    "ca-certificates",
    "curl",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "lsof",
    "netcat-openbsd",
    "nftables",
    "openssh-server",
    "procps",
    "psmisc",
    "sudo",
    "tcpdump",
    "util-linux",
    "xz-utils",
];

/// Documentation and translations, which nobody reads on a node. Packages' scripts expect some of the
/// directories, which [`finish`] makes.
const LEFT_OUT: [&str; 4] = [
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
];

/// Tells packages' scripts not to start services: suites start systems themselves, configured.
const POLICY: &str = "#!/bin/sh\n# Services are started by the tests, not by packages.\nexit 101\n";

/// A base system in the cache.
pub(super) struct Base {
    /// Its entry, relative to the cache.
    pub(super) entry: PathBuf,
    /// dpkg's name of the architecture.
    pub(super) architecture: String,
}

/// Finds the base system in the cache, or builds it.
pub(super) fn obtain(cache: &Cache, progress: Progress<'_>) -> Result<Base, LocalError> {
    let sources = sources::read(Path::new("/"))?;
    let architecture = apt::architecture()?;
    let recipe = format!(
        "format {FORMAT}\nrelease {}\narchitecture {architecture}\npackages {}\nleft out {}\n\n{}",
        sources.release,
        PACKAGES.join(" "),
        LEFT_OUT.join(" "),
        sources.deb822,
    );
    let label = format!("{}-{architecture}", sources.release);
    let entry = cache.obtain("base", &label, &recipe, progress, |dir, progress| {
        tools::require()?;
        progress(&format!(
            "building the nodes' base system ({label}); once, about a minute"
        ));
        build(dir, &sources, progress)?;
        finish(dir).doing(|| "finishing the nodes' base system")
    })?;
    Ok(Base {
        entry,
        architecture,
    })
}

fn build(dir: &Path, sources: &Sources, progress: Progress<'_>) -> Result<(), LocalError> {
    let apt_dir = dir.join("apt");
    fs::create_dir(&apt_dir).doing(|| "making a directory for package sources")?;
    let sources_file = apt_dir.join("gainsay.sources");
    fs::write(&sources_file, &sources.deb822).doing(|| "writing package sources")?;
    let settings_file = dir.join("apt.conf");
    apt::write_private(&settings_file, &apt::download_settings()?)?;

    // Its mounts and processes stay in namespaces of their own, and go with it whatever happens.
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--mount-proc",
    ]);
    command.args([
        "--fork",
        "--kill-child=KILL",
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
    ]);
    // The package lists are kept, to fetch packages with later.
    command.args(["--format=directory", "--skip=cleanup/apt/lists"]);
    command.arg(format!("--include={}", PACKAGES.join(",")));
    command.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    // Nodes live for minutes: flushing each unpacked file to disk gains nothing.
    command.arg("--dpkgopt=force-unsafe-io");
    command.arg(format!("--aptopt={}", settings_file.display()));
    command.arg(
        "--customize-hook=echo debconf debconf/frontend select Noninteractive | \
         chroot \"$1\" debconf-set-selections",
    );
    command
        .arg(&sources.release)
        .arg(dir.join("root"))
        .arg(&sources_file);
    let job = Job {
        doing: "building the nodes' base system",
        limit: BUILD_LIMIT,
        hint: "`apt-get update` and `apt-get install` must work on this machine, and the disk must \
               have 500 MB free",
    };
    program::run(command, &job, progress)?;
    fs::remove_file(&settings_file).doing(|| "removing the build's settings")
}

/// Makes a node's system of a bootstrapped one. Package sources and lists are set aside: a node has no
/// network, so they would only make apt slow, and name packages that it cannot get.
fn finish(dir: &Path) -> std::io::Result<()> {
    let root = dir.join("root");
    fs::remove_file(root.join("etc/apt/apt.conf.d/99mmdebstrap"))?;
    for entry in fs::read_dir(root.join("etc/apt/sources.list.d"))? {
        fs::remove_file(entry?.path())?;
    }
    fs::write(root.join("etc/apt/sources.list"), "")?;
    fs::rename(root.join("var/lib/apt/lists"), dir.join("apt/lists"))?;
    fs::create_dir_all(root.join("var/lib/apt/lists/partial"))?;
    for section in 1..=9 {
        fs::create_dir_all(root.join(format!("usr/share/man/man{section}")))?;
    }
    open_to_all(&root.join("usr/share/man"))?;
    for entry in fs::read_dir(root.join("etc/ssh"))? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("ssh_host_"))
        {
            fs::remove_file(path)?;
        }
    }
    // What mmdebstrap copied of this machine; each node gets its own.
    for file in ["etc/hostname", "etc/resolv.conf", "etc/hosts"] {
        fs::write(root.join(file), "")?;
        open_to_all(&root.join(file))?;
    }
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, POLICY)?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))
}
