//! Which etcd: Debian's, any release since 3.5 by its Go module, or a program of the user's own.

use std::fmt;
use std::io;
use std::path::Path;

use workloads::VersionInfo;
use workloads::kit::{Bundle, Finish, GoProgram, OwnFile, Shelf, Source, find_program};

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
            "3.5.0 and later",
            "built on this machine from the Go module",
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
    /// `3.5.2` and the like, built from the module of the server.
    Module(String),
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
            // Earlier ones are no module that can be required.
            [Some(3), Some(minor), Some(_)] if minor >= 5 => Ok(Release::Module(text.to_owned())),
            _ => Err(format!(
                "no etcd `{text}`; there are: {DEBIAN} (the nodes' own package), 3.5.0 and later (built here from their Go module), \
                 or (with --package) the path of an etcd program or of an archive with one"
            )),
        }
    }

    /// Where its program comes from; none for the nodes' package.
    pub(crate) fn bundle(&self) -> Option<Bundle> {
        let source = match self {
            Release::Debian => return None,
            Release::Module(version) => Source::Go(GoProgram {
                name: PROGRAM.to_owned(),
                module: "go.etcd.io/etcd/server/v3".to_owned(),
                version: format!("v{version}"),
                package: "go.etcd.io/etcd/server/v3".to_owned(),
                adds: Vec::new(),
            }),
            Release::File(own) => own.source(),
        };
        let finish: Option<Finish> = match self {
            Release::File(_) => Some(find),
            _ => None,
        };
        Some(Bundle {
            finish,
            ..Bundle::of(self.label(), source)
        })
    }

    /// What names it among the programs on nodes.
    pub(crate) fn label(&self) -> String {
        match self {
            Release::Debian => "etcd".to_owned(),
            Release::Module(version) => format!("etcd-{version}"),
            Release::File(own) => format!("etcd-{}", own.name),
        }
    }

    /// Where its program is on nodes.
    pub(crate) fn program(&self) -> String {
        match self {
            Release::Debian => PACKAGED.to_owned(),
            Release::Module(_) | Release::File(_) => {
                format!("{}/{PROGRAM}", Shelf::place(&self.label()))
            }
        }
    }
}

fn find(folder: &Path) -> io::Result<()> {
    find_program(folder, PROGRAM)
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::Debian => f.write_str(DEBIAN),
            Release::Module(version) => f.write_str(version),
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
        for text in ["3.4.3", "3.5", "latest", "4.0.0", "", "/nonexistent/etcd"] {
            assert!(Release::read(text).is_err(), "{text}");
        }
    }
}
