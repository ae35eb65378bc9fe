//! Packages for other systems than this machine: for nodes that cannot get them themselves, and of older releases.
//!
//! They are fetched by this machine's apt, which holds them to the signatures of the distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::apt::{self, Target};
use super::cache::Cache;
use super::error::{Doing, LocalError};
use super::program::{self, Job};
use super::sources::{self, Sources};
use super::{Progress, cache_of, layer};

/// How long one run of apt may take.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// Where releases of Debian go that the mirrors no longer have.
const ARCHIVE: &str = "http://archive.debian.org/debian";

/// A system that packages are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The distribution, as `ID` in `/etc/os-release` has it, such as `debian`.
    pub distribution: String,
    /// The code name of its release, such as `bookworm`.
    pub release: String,
    /// Its architecture, as dpkg calls it, such as `amd64`.
    pub architecture: String,
}

impl System {
    /// A release of Debian, for this machine's architecture.
    ///
    /// # Errors
    /// If this machine has no dpkg.
    pub fn debian(release: &str) -> Result<System, LocalError> {
        Ok(System {
            distribution: "debian".to_owned(),
            release: release.to_owned(),
            architecture: apt::architecture()?,
        })
    }

    fn name(&self) -> String {
        format!("{}-{}", self.release, self.architecture)
    }
}

/// Fetches a package alone, without what it depends on, into a folder that is there: its file. Releases that the mirrors no longer have
/// are looked for in Debian's archive.
///
/// # Errors
/// If there is none, or this machine cannot fetch it.
pub fn fetch_alone(system: &System, package: &str, into: &Path) -> Result<PathBuf, LocalError> {
    let here = sources::read(Path::new("/"))?;
    let mut entries = vec![entry(&here, system)];
    if system.distribution == "debian" {
        entries.push(Ok(elsewhere(ARCHIVE, system)));
    }
    let mut failed = None;
    for entry in entries {
        let fetched = entry.and_then(|entry| {
            let fetch = Fetch {
                folder: into,
                system,
                entry: &entry,
                status: "",
            };
            fetch.run(&["download", package], &mut |_| {})
        });
        match fetched {
            Ok(()) => {
                let debs = layer::debs(into).doing(|| "collecting what was fetched")?;
                let found = debs.into_iter().next();
                return found.ok_or_else(|| LocalError::Sources("nothing came".into()));
            }
            // What this machine's own mirror said tells more than what an archive did.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.unwrap_or_else(|| LocalError::Sources("there are none".into())))
}

/// Packages with all that they depend on which a system lacks: their files, in the cache, where they are found again for any system that
/// has the same. `status` is its `/var/lib/dpkg/status`.
///
/// # Errors
/// If one of them is unknown or this machine cannot fetch it: it is of another distribution, has no apt, or no network.
pub fn fetch_missing(
    system: &System,
    packages: &[String],
    status: &str,
    progress: Progress<'_>,
) -> Result<Vec<PathBuf>, LocalError> {
    let mut names = packages.to_vec();
    names.sort();
    names.dedup();
    if let Some(bad) = names.iter().find(|name| !layer::is_package(name)) {
        return Err(LocalError::PackageName(bad.clone()));
    }
    let entry = entry(&sources::read(Path::new("/"))?, system)?;
    let cache = Cache::open(&cache_of("")?)?;
    let recipe = format!(
        "system {}\npackages {}\n\n{entry}\n\n{status}",
        system.name(),
        names.join(" ")
    );
    let found = cache.obtain(
        "packages",
        &system.name(),
        &recipe,
        progress,
        |folder, progress| {
            let fetch = Fetch {
                folder,
                system,
                entry: &entry,
                status,
            };
            let mut arguments = vec!["install", "--download-only", "--no-install-recommends"];
            arguments.extend(names.iter().map(String::as_str));
            fetch.run(&arguments, progress)
        },
    )?;
    let folder = cache.dir().join(found);
    layer::debs(&folder).doing(|| format!("reading {}", folder.display()))
}

/// The package sources of a system, in deb822 format: this machine's own where it has the same release, or else what its mirror has.
fn entry(here: &Sources, system: &System) -> Result<String, LocalError> {
    if here.distribution != system.distribution {
        return Err(LocalError::Sources(format!(
            "packages of {} {} cannot be fetched on a machine with {}",
            system.distribution, system.release, here.distribution
        )));
    }
    Ok(match here.release == system.release {
        true => here.deb822.clone(),
        false => elsewhere(&here.mirror, system),
    })
}

fn elsewhere(mirror: &str, system: &System) -> String {
    // The archive's lists are as old as the releases are.
    format!(
        "Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: main\nCheck-Valid-Until: no\n\
         Signed-By: /usr/share/keyrings/{}-archive-keyring.gpg\n",
        system.release, system.distribution
    )
}

/// A run of apt for another system.
struct Fetch<'a> {
    /// Where packages go.
    folder: &'a Path,
    system: &'a System,
    entry: &'a str,
    status: &'a str,
}

impl Fetch<'_> {
    /// Updates the lists, and has apt do something that brings packages. They alone stay in the folder.
    fn run(&self, arguments: &[&str], progress: Progress<'_>) -> Result<(), LocalError> {
        let doing = || "preparing apt";
        let work = self.folder.join("apt");
        fs::create_dir_all(work.join("lists/partial")).doing(doing)?;
        let (sources, status) = (work.join("node.sources"), work.join("status"));
        fs::write(&sources, self.entry).doing(doing)?;
        fs::write(&status, self.status).doing(doing)?;
        let target = Target {
            architecture: &self.system.architecture,
            sources: &sources,
            lists: &work.join("lists"),
            status: &status,
            archives: &work.join("archives"),
        };
        let config = work.join("apt.conf");
        apt::write_config(&config, &target)?;
        let job = Job {
            doing: "fetching packages",
            limit: LIMIT,
            hint: "is there such a package in that release, and does `apt-get update` work on this machine? Its mirror (/etc/apt) is \
                   asked, and the keys are those of the distribution's package of keys",
        };
        let fetched = [&["update"], arguments]
            .into_iter()
            .try_for_each(|arguments| {
                let mut command = apt::get(&config);
                // All lists are needed, and no translations.
                command.args(["-o", "APT::Update::Error-Mode=any"]);
                command.args(["-o", "Acquire::Languages=none"]);
                command.args(arguments).current_dir(self.folder);
                program::run(command, &job, progress)
            });
        let brought = fetched.and_then(|()| layer::collect(&work.join("archives"), self.folder));
        fs::remove_dir_all(&work).doing(|| "removing apt's lists")?;
        brought
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn here() -> Sources {
        Sources {
            distribution: "debian".to_owned(),
            release: "bookworm".to_owned(),
            mirror: "http://mirror.example/debian".to_owned(),
            deb822: "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n".to_owned(),
        }
    }

    fn system(distribution: &str, release: &str) -> System {
        System {
            distribution: distribution.to_owned(),
            release: release.to_owned(),
            architecture: "amd64".to_owned(),
        }
    }

    #[test]
    fn where_packages_of_a_system_are_looked_for() {
        let own = entry(&here(), &system("debian", "bookworm")).unwrap();
        assert_eq!(own, here().deb822);
        let other = entry(&here(), &system("debian", "trixie")).unwrap();
        assert!(
            other.contains("URIs: http://mirror.example/debian\nSuites: trixie\n"),
            "{other}"
        );
        assert!(other.contains("debian-archive-keyring"), "{other}");
        let error = entry(&here(), &system("ubuntu", "noble"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ubuntu noble") && error.contains("with debian"),
            "{error}"
        );
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let names = ["--download-only".to_owned()];
        let refused = fetch_missing(&system("debian", "bookworm"), &names, "", &mut |_| {});
        assert!(matches!(refused, Err(LocalError::PackageName(_))));
    }
}
