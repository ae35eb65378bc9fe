//! The versions of Elasticsearch that are known, where each comes from, and how they differ.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use workloads::VersionInfo;
use workloads::kit::{Bundle, Finish, OwnFile, Part, Source};

use crate::patch;

/// The version that is tested where none is asked for: the newest that is known.
pub(crate) const DEFAULT: &str = "8.19.21";
/// Those that were tried.
pub(crate) const KNOWN: [&str; 8] = [
    "1.1.0", "1.5.0", "1.7.6", "2.4.6", "5.6.16", "6.8.23", "7.17.29", "8.19.21",
];

/// The newest of which it is known how it is started.
const MAJOR_MAX: u32 = 8;

/// All there are, for listings.
pub(crate) fn known() -> Vec<VersionInfo> {
    let source = |version: &str| match version.starts_with("1.") {
        true => "from Maven's central repository; the class JvmInfo is changed, for a newer Java",
        false => "from Maven's central repository",
    };
    let known = KNOWN
        .iter()
        .map(|version| VersionInfo::new(*version, source(version)));
    let own = VersionInfo::new(
        "FILE",
        "an archive of a distribution, called elasticsearch-VERSION…; also as --package, which takes addresses, too",
    );
    known.chain([own]).collect()
}

/// A version, such as 1.5.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) major: u32,
    minor: u32,
    patch: u32,
    /// An archive of the user's own, which its name says the version of.
    own: Option<OwnFile>,
}

impl Release {
    /// Reads what the user wrote. The error says what there is.
    pub(crate) fn read(text: &str) -> Result<Release, String> {
        let own = OwnFile::read(text)?;
        let numbers = match own {
            None => KNOWN.contains(&text).then(|| numbers(text)).flatten(),
            Some(_) => named(text).and_then(numbers),
        };
        match numbers {
            Some([major @ 1..=MAJOR_MAX, minor, patch]) => Ok(Release {
                major,
                minor,
                patch,
                own,
            }),
            Some(_) => Err(format!(
                "`{text}`: nothing is known of Elasticsearch after {MAJOR_MAX}"
            )),
            None if own.is_some() => Err(format!(
                "`{text}`: how it is started depends on its version: let the file be called elasticsearch-VERSION…, such as \
                 elasticsearch-8.19.21-linux-x86_64.tar.gz"
            )),
            None => Err(format!(
                "no Elasticsearch `{text}`; there are: {}, or (with --package) the path of an archive",
                KNOWN.join(", ")
            )),
        }
    }

    /// Whether writes can be conditional on a sequence number and a primary term (since 6.6), which tell copies of a document
    /// apart that a version number does not.
    pub(crate) fn has_sequence_numbers(&self) -> bool {
        (self.major, self.minor) >= (6, 6)
    }

    /// Whether a write may wait for a number of active copies (`wait_for_active_shards`, since 5.0), and not for a word
    /// (`consistency`).
    pub(crate) fn counts_active_shards(&self) -> bool {
        self.major >= 5
    }

    /// What stands for a mapping type in paths of documents. There are no others since 7.0.
    pub(crate) fn doc_type(&self) -> &'static str {
        match self.major {
            ..7 => "doc",
            7.. => "_doc",
        }
    }

    /// Its files. All come from Maven's central repository: the library with what it needs for 1.x, which was published as one,
    /// and later the distributions that Elasticsearch's own tests start.
    pub(crate) fn bundle(&self) -> Bundle {
        let maven = |artifact: String, dependencies: bool, into: &str| Part {
            into: into.to_owned(),
            sources: vec![Source::Maven {
                artifact,
                dependencies,
            }],
        };
        let zip = |group: &str| {
            let artifact =
                format!("org.elasticsearch.distribution.{group}:elasticsearch:zip:{self}");
            vec![maven(artifact, false, "")]
        };
        if let Some(own) = &self.own {
            let finish: Finish = match self.major {
                1 => |bundle: &Path| raise(bundle).and_then(|()| patch::for_newer_java(bundle)),
                major => finish_of(major),
            };
            return Bundle {
                finish: Some(finish),
                ..Bundle::of(self.label(), own.source())
            };
        }
        let (parts, finish): (_, Finish) = match self.major {
            1 => {
                let library = format!("org.elasticsearch:elasticsearch:{self}");
                let log4j = "log4j:log4j:1.2.17".to_owned();
                (
                    vec![maven(library, true, "lib"), maven(log4j, false, "lib")],
                    patch::for_newer_java,
                )
            }
            2 => (zip("zip"), finish_of(2)),
            major => (zip("integ-test-zip"), finish_of(major)),
        };
        Bundle {
            label: self.label(),
            parts,
            finish: Some(finish),
        }
    }

    /// What names it among the programs on nodes.
    fn label(&self) -> String {
        match &self.own {
            None => format!("elasticsearch-{self}"),
            Some(own) => format!("elasticsearch-{}", own.name),
        }
    }

    /// Where its files are on nodes.
    pub(crate) fn home(&self) -> String {
        format!("/opt/gainsay/{}", self.label())
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.own {
            None => write!(f, "{}.{}.{}", self.major, self.minor, self.patch),
            Some(own) => own.fmt(f),
        }
    }
}

/// The three numbers of a version.
fn numbers(text: &str) -> Option<[u32; 3]> {
    let numbers: Vec<u32> = text
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// The version in the name of an archive, as in `elasticsearch-7.10.2-linux-x86_64.tar.gz` and `elasticsearch-1.5.0.zip`.
fn named(path: &str) -> Option<&str> {
    let file = path.split('#').next()?.rsplit('/').next()?;
    let rest = file.strip_prefix("elasticsearch-")?;
    let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.');
    Some(rest[..end.unwrap_or(rest.len())].trim_end_matches('.'))
}

/// What is done to a distribution, from 2.x on.
fn finish_of(major: u32) -> Finish {
    match major {
        ..5 => raise,
        5 => |bundle: &Path| raise(bundle).and_then(|()| patch::jar_for_few_files_and_maps(bundle)),
        6 | 7 => |bundle: &Path| raise(bundle).and_then(|()| patch::jar_for_few_files(bundle)),
        8.. => |bundle: &Path| raise(bundle).and_then(|()| patch::for_few_files(bundle)),
    }
}

/// Takes what is in the single folder of an archive out of it.
fn raise(folder: &Path) -> io::Result<()> {
    let inner = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    let [inner] = &inner[..] else {
        return Ok(()); // The archive has none, or it was done already.
    };
    // Its own name may be among what is in it.
    let aside = folder.join(".archive");
    std::fs::rename(inner, &aside)?;
    for entry in std::fs::read_dir(&aside)? {
        let entry = entry?;
        std::fs::rename(entry.path(), folder.join(entry.file_name()))?;
    }
    std::fs::remove_dir(&aside)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn versions_are_read_and_written() {
        for known in KNOWN {
            assert_eq!(Release::read(known).unwrap().to_string(), known);
        }
        assert!(KNOWN.contains(&DEFAULT));
        for text in ["1.5", "9.0.0", "latest", "", "1.5.0.1", "01.5.0"] {
            assert!(Release::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn archives_of_the_users_own_say_their_version() {
        let version = |name: &str| named(name).and_then(numbers);
        let linux = "/tmp/elasticsearch-8.19.21-linux-x86_64.tar.gz";
        assert_eq!(version(linux), Some([8, 19, 21]));
        assert_eq!(version("./elasticsearch-1.5.0.zip"), Some([1, 5, 0]));
        let address = "https://host/x/elasticsearch-7.10.2.tar.gz#sha256=ab/elasticsearch-1.0.0";
        assert_eq!(version(address), Some([7, 10, 2]));
        for none in [
            "/tmp/es.zip",
            "/tmp/elasticsearch-new.zip",
            "/tmp/elasticsearch-8.1.zip",
        ] {
            assert_eq!(version(none), None, "{none}");
        }

        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, "abc").unwrap();
            Release::read(file.to_str().unwrap())
        };
        let own = read("elasticsearch-7.10.2.zip").unwrap();
        assert!(own.has_sequence_numbers());
        assert_eq!(own.home(), "/opt/gainsay/elasticsearch-file-ba7816bf8f01");
        // As it was written, so that it can be read again.
        assert_eq!(Release::read(&own.to_string()), Ok(own));
        assert!(read("elasticsearch-9.0.0.zip").is_err());
        assert!(
            read("es.zip")
                .unwrap_err()
                .contains("elasticsearch-VERSION")
        );
    }

    #[test]
    fn versions_differ() {
        let has = |text| Release::read(text).unwrap().has_sequence_numbers();
        assert!(!has("5.6.16") && has("6.8.23") && has("7.17.29"));
        assert_eq!(Release::read("6.8.23").unwrap().doc_type(), "doc");
        assert_eq!(Release::read("8.19.21").unwrap().doc_type(), "_doc");
    }

    #[test]
    fn an_archive_with_one_folder_is_raised_once() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("elasticsearch-2.4.6");
        std::fs::create_dir_all(inner.join("lib")).unwrap();
        std::fs::create_dir_all(inner.join("elasticsearch-2.4.6")).unwrap();
        for _ in 0..2 {
            raise(folder.path()).unwrap();
            assert!(folder.path().join("lib").is_dir());
            assert!(folder.path().join("elasticsearch-2.4.6").is_dir());
        }
    }
}
