//! The versions of Elasticsearch, where each comes from, and how they differ.
//!
//! A version is the same wherever it comes from. Maven's central repository has what Elasticsearch's own tests start since 5.1: the server,
//! and of its modules only those without which it does not work. So of the vendor's archives the same is taken.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use workloads::VersionInfo;
use workloads::kit::{Bundle, Checksum, Finish, OwnFile, Source};

use crate::patch;

/// The version that is tested where none is asked for: the newest that is known.
pub(crate) const DEFAULT: &str = "8.19.21";
/// Those that were tried.
pub(crate) const TRIED: [&str; 8] = [
    "1.1.0", "1.5.0", "1.7.6", "2.4.6", "5.6.16", "6.8.23", "7.17.29", "8.19.21",
];

/// The modules that distributions in Maven's central repository have since 5.1.
const NEEDED: [&str; 5] = [
    "apm",
    "transport-netty3",
    "transport-netty4",
    "x-pack-core",
    "x-pack-security",
];

/// The newest of which it is known how it is started.
const MAJOR_MAX: u32 = 8;

/// All there are, for listings.
pub(crate) fn known() -> Vec<VersionInfo> {
    let source = |version: &str| match version.starts_with("1.") {
        true => {
            "the vendor's archive, or else from Maven; the class JvmInfo is changed, for a newer Java"
        }
        false => "the vendor's archive, or else from Maven",
    };
    let tried = TRIED
        .iter()
        .map(|version| VersionInfo::new(*version, source(version)));
    let others = VersionInfo::new("others up to 8", "the same; they were not tried");
    let own = VersionInfo::new(
        "FILE",
        "an archive of a distribution, called elasticsearch-VERSION…; also as --package, which takes addresses, too",
    );
    tried.chain([others, own]).collect()
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
            // What is written in another way would be the same release under another name.
            None => numbers(text)
                .filter(|numbers| numbers.map(|number| number.to_string()).join(".") == text),
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
                "no Elasticsearch `{text}`; there are: {}, other releases up to {MAJOR_MAX} by their three numbers, or (with --package) the \
                 path of an archive",
                TRIED.join(", ")
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

    /// Its files. What is not an archive of the user's own comes from the vendor, or else from Maven's central repository: the library with
    /// what it needs for 1.x, which was published as one, and later distributions.
    pub(crate) fn bundle(&self) -> Bundle {
        let sources = match &self.own {
            Some(own) => vec![own.source()],
            None => vec![self.published(), self.artifacts()],
        };
        let mut finish: Vec<Finish> = vec![raise];
        if self.own.is_none() {
            finish.push(bare);
        }
        finish.extend(match self.major {
            1 => Some(patch::for_newer_java as Finish),
            ..5 => None,
            5 => Some(patch::jar_for_few_files_and_maps as Finish),
            6 | 7 => Some(patch::jar_for_few_files as Finish),
            8.. => Some(patch::for_few_files as Finish),
        });
        Bundle::of(self.label(), sources, finish)
    }

    /// The archive that the vendor publishes. Where, how it is called and how its sum is told changed over the years.
    fn published(&self) -> Source {
        let old = "https://download.elastic.co/elasticsearch";
        let (folder, machine, sum) = match self.major {
            1 => (format!("{old}/elasticsearch"), String::new(), "sha1.txt"),
            2 => {
                let folder = format!(
                    "{old}/release/org/elasticsearch/distribution/tar/elasticsearch/{self}"
                );
                (folder, String::new(), "sha1")
            }
            major => {
                let machine = match major {
                    ..7 => String::new(),
                    7.. => format!("-linux-{}", std::env::consts::ARCH),
                };
                let folder = "https://artifacts.elastic.co/downloads/elasticsearch".to_owned();
                (folder, machine, "sha512")
            }
        };
        let url = format!("{folder}/elasticsearch-{self}{machine}.tar.gz");
        Source::Url {
            checksum: Checksum::Published(format!("{url}.{sum}")),
            url,
        }
    }

    /// The artefacts of Maven's central repository.
    fn artifacts(&self) -> Source {
        let (artifacts, dependencies) = match self.major {
            1 => {
                let library = format!("org.elasticsearch:elasticsearch:{self}");
                (vec![library, "log4j:log4j:1.2.17".to_owned()], true)
            }
            major => {
                let kind = match major {
                    ..5 => "zip",
                    5.. => "integ-test-zip",
                };
                let zip = format!("org.elasticsearch.distribution.{kind}:elasticsearch:zip:{self}");
                (vec![zip], false)
            }
        };
        Source::Maven {
            artifacts,
            dependencies,
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

/// Takes what is in the single folder of an archive out of it.
fn raise(folder: &Path) -> io::Result<()> {
    let [inner] = &entries(folder)?[..] else {
        return Ok(()); // The archive has none, or it was done already.
    };
    // Its own name may be among what is in it.
    let aside = folder.join(".archive");
    fs::rename(inner, &aside)?;
    for entry in fs::read_dir(&aside)? {
        let entry = entry?;
        fs::rename(entry.path(), folder.join(entry.file_name()))?;
    }
    fs::remove_dir(&aside)
}

/// Leaves of a version the same, wherever it came from: a library's jars alone are put where a distribution has them, and a distribution is
/// without modules that the server does not need, and without a Java of its own.
fn bare(folder: &Path) -> io::Result<()> {
    let lib = folder.join("lib");
    for entry in entries(folder)? {
        if let (Some(name), Some("jar")) = (
            entry.file_name(),
            entry.extension().and_then(|ending| ending.to_str()),
        ) {
            fs::create_dir_all(&lib)?;
            fs::rename(&entry, lib.join(name))?;
        }
    }
    let (java, modules) = (folder.join("jdk"), folder.join("modules"));
    if java.is_dir() {
        fs::remove_dir_all(java)?;
    }
    if !modules.is_dir() {
        return Ok(());
    }
    for module in entries(&modules)? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        if !NEEDED.contains(&name.as_ref()) {
            fs::remove_dir_all(module)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn versions_are_read_and_written() {
        for known in TRIED.into_iter().chain(["7.10.2", "5.0.0"]) {
            assert_eq!(Release::read(known).unwrap().to_string(), known);
        }
        assert!(TRIED.contains(&DEFAULT));
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
            fs::write(&file, "abc").unwrap();
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
        fs::create_dir_all(inner.join("lib")).unwrap();
        fs::create_dir_all(inner.join("elasticsearch-2.4.6")).unwrap();
        for _ in 0..2 {
            raise(folder.path()).unwrap();
            assert!(folder.path().join("lib").is_dir());
            assert!(folder.path().join("elasticsearch-2.4.6").is_dir());
        }
    }

    #[test]
    fn what_the_vendor_publishes_comes_first() {
        let sources = |text: &str| {
            let bundle = Release::read(text).unwrap().bundle();
            let Source::Url { url, checksum } = &bundle.parts[0].sources[0] else {
                panic!("{text} does not come from the vendor");
            };
            let Checksum::Published(sum) = checksum else {
                panic!("{text} has no published sum");
            };
            let kind = sum.strip_prefix(&format!("{url}.")).unwrap();
            let maven = bundle.parts[0].sources[1].describe();
            (url.clone(), kind.to_owned(), maven)
        };
        let machine = std::env::consts::ARCH;
        let old = "https://download.elastic.co/elasticsearch";
        let new = "https://artifacts.elastic.co/downloads/elasticsearch";
        let zip = "from Maven org.elasticsearch.distribution";
        let cases = [
            (
                "1.5.0",
                format!("{old}/elasticsearch/elasticsearch-1.5.0.tar.gz"),
                "sha1.txt",
                "from Maven org.elasticsearch:elasticsearch:1.5.0 and log4j:log4j:1.2.17"
                    .to_owned(),
            ),
            (
                "2.4.6",
                format!(
                    "{old}/release/org/elasticsearch/distribution/tar/elasticsearch/2.4.6/elasticsearch-2.4.6.tar.gz"
                ),
                "sha1",
                format!("{zip}.zip:elasticsearch:zip:2.4.6"),
            ),
            (
                "6.8.23",
                format!("{new}/elasticsearch-6.8.23.tar.gz"),
                "sha512",
                format!("{zip}.integ-test-zip:elasticsearch:zip:6.8.23"),
            ),
            (
                "8.19.21",
                format!("{new}/elasticsearch-8.19.21-linux-{machine}.tar.gz"),
                "sha512",
                format!("{zip}.integ-test-zip:elasticsearch:zip:8.19.21"),
            ),
        ];
        for (version, url, sum, maven) in cases {
            assert_eq!(sources(version), (url, sum.to_owned(), maven));
        }
    }

    #[test]
    fn a_version_is_the_same_from_everywhere() {
        let made = |files: &[&str], finish: &[fn(&Path) -> io::Result<()>]| {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let file = folder.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "x").unwrap();
            }
            for finish in finish {
                finish(folder.path()).unwrap();
            }
            let mut left = Vec::new();
            for kind in ["", "lib", "modules"] {
                let entries = entries(&folder.path().join(kind)).unwrap_or_default();
                left.extend(entries.into_iter().map(|path| {
                    let path = path.strip_prefix(folder.path()).unwrap();
                    path.display().to_string()
                }));
            }
            left.sort();
            left
        };
        let vendor = [
            "es-8/lib/server.jar",
            "es-8/jdk/bin/java",
            "es-8/modules/x-pack-core/a.jar",
            "es-8/modules/x-pack-ml/a.jar",
            "es-8/modules/ingest-geoip/a.jar",
        ];
        let maven = ["es-8/lib/server.jar", "es-8/modules/x-pack-core/a.jar"];
        let all = ["lib", "lib/server.jar", "modules", "modules/x-pack-core"];
        assert_eq!(made(&vendor, &[raise, bare]), all);
        assert_eq!(made(&maven, &[raise, bare]), all);
        // 1.x: a distribution, and a library with what it needs.
        let distribution = ["es-1/lib/es.jar", "es-1/lib/log4j.jar"];
        let library = ["es.jar", "log4j.jar"];
        let all = ["lib", "lib/es.jar", "lib/log4j.jar"];
        assert_eq!(made(&distribution, &[raise, bare]), all);
        assert_eq!(made(&library, &[raise, bare]), all);
    }
}
