//! Which etcd: Debian's, any release since 3.4 as the project published it or (since 3.5) built from its Go module, or a program of the
//! user's own.

use std::fmt;
use std::io;
use std::path::Path;

use workloads::VersionInfo;
use workloads::kit::{Bundle, Checksum, Finish, GoProgram, OwnFile, Shelf, Source, find_program};

/// What `--version` takes for the nodes' own package.
pub(crate) const DEBIAN: &str = "debian";
/// Where the package puts the program.
const PACKAGED: &str = "/usr/bin/etcd";

/// What the program is called that is built here.
const PROGRAM: &str = "etcd";

/// All there are, for listings.
pub(crate) fn known() -> Vec<VersionInfo> {
    vec![
        VersionInfo::new(DEBIAN, "the nodes' own package (the default)"),
        VersionInfo::new(
            "3.4.0 and later, such as 3.5.2",
            "the project's archive on GitHub; since 3.5.0, where that cannot be had, built on this machine from the Go module",
        ),
        VersionInfo::new(
            "FILE",
            "a program that you have, or an archive with one; also as --package, which takes addresses, too",
        ),
    ]
}

/// A version of etcd, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Of the nodes' own package sources.
    Debian,
    /// `3.5.2` and the like.
    Numbered {
        /// As it is written.
        version: String,
        /// Whether its server is a module that can be required: earlier ones are not.
        is_module: bool,
    },
    /// A program, or an archive with one, named by what is in it.
    File(OwnFile),
}

impl Release {
    /// Reads what the user wrote. The error says what there is.
    pub(crate) fn read(text: &str) -> Result<Release, String> {
        if text == DEBIAN {
            return Ok(Release::Debian);
        }
        if let Some(own) = OwnFile::read(text)? {
            return Ok(Release::File(own));
        }
        let numbers: Vec<Option<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        match numbers[..] {
            [Some(3), Some(minor), Some(_)] if minor >= 4 => Ok(Release::Numbered {
                version: text.to_owned(),
                is_module: minor >= 5,
            }),
            _ => Err(format!(
                "no etcd `{text}`; there are: {DEBIAN} (the nodes' own package), 3.4.0 and later, such as 3.5.2, \
                 or (with --package) the path of an etcd program or of an archive with one"
            )),
        }
    }

    /// Where its program comes from; none for the nodes' package.
    pub(crate) fn bundle(&self) -> Option<Bundle> {
        let sources = match self {
            Release::Debian => return None,
            Release::Numbered { version, is_module } => {
                let module = is_module.then(|| module(version));
                [published(version)].into_iter().chain(module).collect()
            }
            Release::File(own) => vec![own.source()],
        };
        Some(Bundle::of(self.label(), sources, [find as Finish]))
    }

    /// What names it among the programs on nodes.
    pub(crate) fn label(&self) -> String {
        match self {
            Release::Debian => "etcd".to_owned(),
            Release::Numbered { version, .. } => format!("etcd-{version}"),
            Release::File(own) => format!("etcd-{}", own.name),
        }
    }

    /// Where its program is on nodes.
    pub(crate) fn program(&self) -> String {
        match self {
            Release::Debian => PACKAGED.to_owned(),
            Release::Numbered { .. } | Release::File(_) => {
                format!("{}/{PROGRAM}", Shelf::place(&self.label()))
            }
        }
    }
}

/// The archive that the project publishes, for machines like this one.
fn published(version: &str) -> Source {
    let folder = format!("https://github.com/etcd-io/etcd/releases/download/v{version}");
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Source::Url {
        url: format!("{folder}/etcd-v{version}-linux-{machine}.tar.gz"),
        checksum: Checksum::Published(format!("{folder}/SHA256SUMS")),
    }
}

/// The same, built here.
fn module(version: &str) -> Source {
    Source::Go(GoProgram {
        name: PROGRAM.to_owned(),
        module: "go.etcd.io/etcd/server/v3".to_owned(),
        version: format!("v{version}"),
        package: "go.etcd.io/etcd/server/v3".to_owned(),
        adds: Vec::new(),
    })
}

fn find(folder: &Path) -> io::Result<()> {
    find_program(folder, PROGRAM)
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::Debian => f.write_str(DEBIAN),
            Release::Numbered { version, .. } => f.write_str(version),
            Release::File(own) => own.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn versions_are_read_and_written() {
        let release = Release::read("3.5.2").unwrap();
        assert_eq!(release.program(), "/opt/gainsay/etcd-3.5.2/etcd");
        assert_eq!(release.to_string(), "3.5.2");
        assert_eq!(Release::read("debian").unwrap().program(), PACKAGED);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etcd");
        fs::write(&file, "abc").unwrap();
        let own = Release::read(file.to_str().unwrap()).unwrap();
        assert_eq!(own.label(), "etcd-file-ba7816bf8f01");
        assert_eq!(own.to_string(), file.display().to_string());
    }

    #[test]
    fn what_the_project_publishes_comes_first() {
        let sources = |text: &str| {
            let bundle = Release::read(text).unwrap().bundle().unwrap();
            let sources = bundle.parts[0].sources.iter();
            sources.map(Source::describe).collect::<Vec<_>>()
        };
        let machine = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let archive = |version: &str| {
            format!(
                "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{machine}.tar.gz"
            )
        };
        assert_eq!(sources("3.4.3"), [archive("3.4.3")]);
        let module = "the Go module go.etcd.io/etcd/server/v3 v3.5.2".to_owned();
        assert_eq!(sources("3.5.2"), [archive("3.5.2"), module]);
    }

    #[test]
    fn programs_are_found() {
        for file in ["my-etcd", "etcd", "etcd-v3.5.2-linux-amd64/etcd"] {
            let folder = tempfile::tempdir().unwrap();
            let bundle = folder.path().join("bundle");
            let given = bundle.join(file);
            fs::create_dir_all(given.parent().unwrap()).unwrap();
            fs::write(&given, "abc").unwrap();
            find(&bundle).unwrap();
            assert_eq!(fs::read(bundle.join("etcd")).unwrap(), b"abc", "{file}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(find(empty.path()).is_err());
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["3.3.27", "3.5", "latest", "4.0.0", "", "/nonexistent/etcd"] {
            assert!(Release::read(text).is_err(), "{text}");
        }
    }
}
