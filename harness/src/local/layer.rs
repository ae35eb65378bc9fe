//! Packages for nodes without a network: fetched here with their dependencies, and offered to the nodes
//! as a small package source of their own, so that a suite's `apt-get install` works on a local node as it
//! does on any other.
//!
//! A node's apt knows these packages and no others. That also makes it quick: it reads an index of a
//! few packages where the distribution's has tens of thousands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::apt::Target;
use super::cache::{Cache, open_to_all};
use super::error::{Doing, LocalError};
use super::image::Base;
use super::program::{self, Job};
use super::{Progress, apt, tools};

/// Changes when the way a layer is built does.
const FORMAT: u32 = 1;

/// How long fetching packages may take.
const FETCH_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How long making the index may take.
const INDEX_LIMIT: Duration = Duration::from_secs(2 * 60);

/// Where the packages are on a node.
const PACKAGES_DIR: &str = "usr/share/gainsay/packages";

/// Finds the layer of a set of packages in the cache, or builds it. None for no packages.
pub(super) fn obtain(
    cache: &Cache,
    base: &Base,
    packages: &[String],
    progress: Progress<'_>,
) -> Result<Option<PathBuf>, LocalError> {
    let mut names = packages.to_vec();
    names.sort();
    names.dedup();
    if let Some(bad) = names.iter().find(|name| !is_package(name)) {
        return Err(LocalError::PackageName(bad.clone()));
    }
    let Some(first) = names.first() else {
        return Ok(None);
    };
    let recipe = format!(
        "format {FORMAT}\nbase {}\npackages {}\n",
        base.entry.display(),
        names.join(" ")
    );
    let label: String = first
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let entry = cache.obtain("layers", &label, &recipe, progress, |dir, progress| {
        tools::require()?;
        let build = Build {
            cache: cache.dir(),
            base,
            dir,
        };
        build.fetch(&names, progress)?;
        build.index()?;
        build.publish_to_apt(progress)
    })?;
    Ok(Some(entry))
}

/// A package's name, with `=version` or `/suite` if wanted.
pub(super) fn is_package(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.:=~/".contains(&byte))
}

struct Build<'a> {
    cache: &'a Path,
    base: &'a Base,
    dir: &'a Path,
}

impl Build<'_> {
    fn packages_dir(&self) -> PathBuf {
        self.dir.join("root").join(PACKAGES_DIR)
    }

    /// Downloads the packages and what they depend on beyond the base system.
    fn fetch(&self, names: &[String], progress: Progress<'_>) -> Result<(), LocalError> {
        let (config, archives) = (self.dir.join("apt.conf"), self.dir.join("archives"));
        let base = self.cache.join(&self.base.entry);
        let target = Target {
            architecture: &self.base.architecture,
            sources: &base.join("apt/gainsay.sources"),
            lists: &base.join("apt/lists"),
            status: &base.join("root/var/lib/dpkg/status"),
            archives: &archives,
        };
        apt::write_config(&config, &target)?;
        progress(&format!("fetching {} for the nodes", names.join(" ")));
        let hint = "a name that this machine's package sources do not have, or `apt-get update` \
                    fails here too";
        let job = Job {
            doing: "fetching packages for the nodes",
            limit: FETCH_LIMIT,
            hint,
        };
        let download = || {
            let mut command = apt::get(&config);
            command.args(["--download-only", "--no-install-recommends", "install"]);
            command.args(names);
            command
        };
        // The lists are as old as the base system. A mirror drops packages that were superseded since.
        if let Err(first) = program::run(download(), &job, progress) {
            progress("refreshing package lists");
            let mut update = apt::get(&config);
            update.arg("update");
            program::run(update, &job, progress).map_err(|_| first)?;
            program::run(download(), &job, progress)?;
        }
        let packages = self.packages_dir();
        fs::create_dir_all(&packages).doing(|| "making a place for packages")?;
        collect(&archives, &packages)?;
        fs::remove_file(&config).doing(|| "removing apt's configuration")
    }

    /// Writes the index that makes a directory of packages a package source.
    fn index(&self) -> Result<(), LocalError> {
        let doing = || "indexing fetched packages";
        let packages = self.packages_dir();
        let mut index = String::new();
        for deb in debs(&packages).doing(doing)? {
            let control = apt::output(Command::new("dpkg-deb").arg("--field").arg(&deb))?;
            let sum = apt::output(Command::new("sha256sum").arg("--binary").arg(&deb))?;
            let hash = sum
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .trim_start_matches('\\');
            let size = deb.metadata().doing(doing)?.len();
            let name = deb.file_name().unwrap_or_default().to_string_lossy();
            index.push_str(&format!(
                "{control}\nFilename: ./{name}\nSize: {size}\nSHA256: {hash}\n\n"
            ));
        }
        fs::write(packages.join("Packages"), index).doing(doing)?;
        let sources = self.dir.join("root/etc/apt/sources.list.d");
        fs::create_dir_all(&sources).doing(doing)?;
        // Trusted, since apt verified the packages here, when it fetched them.
        let line = format!("deb [trusted=yes lang=none] file:/{PACKAGES_DIR} ./\n");
        fs::write(sources.join("gainsay.list"), line).doing(doing)?;
        open_to_all(&self.dir.join("root")).doing(doing)
    }

    /// Has the base system's own apt read the index, with the layer over the base as a node will see
    /// it: apt's state files then are in the layer, and `apt-get update` is not needed on nodes.
    fn publish_to_apt(&self, progress: Progress<'_>) -> Result<(), LocalError> {
        for name in ["work", "merged"] {
            fs::create_dir(self.dir.join(name)).doing(|| "joining base system and packages")?;
        }
        let script = "cd \"$1\" && mount -t overlay \
                      -o \"lowerdir=$2/root,upperdir=building/root,workdir=building/work\" \
                      overlay building/merged && \
                      exec chroot building/merged apt-get -o APT::Sandbox::User=root -qq update";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.arg(self.cache).arg(&self.base.entry);
        let job = Job {
            doing: "indexing packages for the nodes",
            limit: INDEX_LIMIT,
            hint: "the cache must be on a file system that overlayfs can write to, such as ext4 or \
                   xfs; set GAINSAY_CACHE",
        };
        program::run(command, &job, progress)?;
        for name in ["work", "merged"] {
            let path = self.dir.join(name);
            fs::remove_dir_all(&path).doing(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Moves the packages that apt fetched, and removes the folder that they were in.
pub(super) fn collect(archives: &Path, into: &Path) -> Result<(), LocalError> {
    let doing = || "collecting fetched packages";
    for deb in debs(archives).doing(doing)? {
        // apt writes a version's `:` as `%3a`, and a URI would have it decoded.
        let name = deb
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .replace("%3a", "_");
        fs::rename(&deb, into.join(name)).doing(doing)?;
    }
    fs::remove_dir_all(archives).doing(doing)
}

/// The packages in a directory, by name.
pub(super) fn debs(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names() {
        for good in [
            "etcd-server",
            "libstdc++6",
            "redis-server=5:7.0.15-1~deb12u1",
            "x/bookworm",
        ] {
            assert!(is_package(good), "{good}");
        }
        for bad in ["", "-o", "--yes", "a b", "a;b", "$(x)", "/etc/passwd"] {
            assert!(!is_package(bad), "{bad}");
        }
    }
}
