//! Changes of single constants in single classes, without which a version does not start here. No compiler is needed.
//!
//! A class file has its names and numbers in a table: names with their length before them, numbers in as many bytes as their
//! kind takes. Code refers to them by their place in the table, so one of them can be another one, and nothing else moves. Changed classes
//! lie in a folder of their own, where Java is told to look first. Versions 5 to 7 refuse to have a class twice: for them the whole
//! jar is there twice, as it was and changed, and one of the two is used. What is changed:
//!
//! - **1.x, always.** When it starts, the class `JvmInfo` asks Java for its boot class path, only to show it among a node's facts.
//!   Java has none since version 9 and refuses the question, and Elasticsearch ends; no Java that is old enough is packaged any more.
//!   The name `getBootClassPath` becomes `getSpecName`, which takes as little and also gives text.
//! - **5.x and later, where the node's limits are low.** On an address that others reach, Elasticsearch refuses to start with fewer than
//!   65,536 open files to a process, which not even root may raise in a container without `CAP_SYS_RESOURCE`. The class
//!   `FileDescriptorCheck` is made to ask for 4,096. In 5.x `MaxMapCountCheck` is changed as well: it wants a setting of the whole
//!   machine (`vm.max_map_count`) even if no files are mapped. Later versions let it pass then, and older ones check nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// The folder of a bundle that changed classes are put in.
pub(crate) const CLASSES: &str = "patch";
/// The folder of the jar as it was, in 5.x to 7.x.
pub(crate) const ORIGINAL: &str = "original";
/// The folder of the same jar with changed classes.
pub(crate) const CHANGED: &str = "changed";

/// One constant of one class.
struct Change {
    class: &'static str,
    /// As the table of the class file has it: what is there is one of these.
    old: &'static [&'static [u8]],
    new: &'static [u8],
}

/// A name is its kind, its length and its letters.
const JVM_INFO: Change = Change {
    class: "org/elasticsearch/monitor/jvm/JvmInfo.class",
    old: &[b"\x01\x00\x10getBootClassPath"],
    new: b"\x01\x00\x0bgetSpecName",
};
/// A number is its kind and four bytes: 65,536 or 65,535 become 4,096.
const OPEN_FILES: Change = Change {
    class: "org/elasticsearch/bootstrap/BootstrapChecks$FileDescriptorCheck.class",
    old: &[b"\x03\x00\x01\x00\x00", b"\x03\x00\x00\xff\xff"],
    new: b"\x03\x00\x00\x10\x00",
};
/// A long one has eight: 262,144 becomes 1.
const MAP_COUNT: Change = Change {
    class: "org/elasticsearch/bootstrap/BootstrapChecks$MaxMapCountCheck.class",
    old: &[b"\x05\x00\x00\x00\x00\x00\x04\x00\x00"],
    new: b"\x05\x00\x00\x00\x00\x00\x00\x00\x01",
};

/// Puts the changed class of 1.x beside its jars.
pub(crate) fn for_newer_java(bundle: &Path) -> io::Result<()> {
    change(bundle, &[JVM_INFO]).map(drop)
}

/// Puts the changed class of 8.x beside its jars.
pub(crate) fn for_few_files(bundle: &Path) -> io::Result<()> {
    change(bundle, &[OPEN_FILES]).map(drop)
}

/// Has the jar of 6.x or 7.x twice.
pub(crate) fn jar_for_few_files(bundle: &Path) -> io::Result<()> {
    double(bundle, &[OPEN_FILES])
}

/// Has the jar of 5.x twice.
pub(crate) fn jar_for_few_files_and_maps(bundle: &Path) -> io::Result<()> {
    double(bundle, &[OPEN_FILES, MAP_COUNT])
}

/// Puts changed classes beside the jars: their names and what is in them.
fn change(bundle: &Path, changes: &[Change]) -> io::Result<BTreeMap<&'static str, Vec<u8>>> {
    let mut jar = open(&jar(&bundle.join("lib"))?)?;
    let mut classes = BTreeMap::new();
    for change in changes {
        let mut class = Vec::new();
        let mut entry = jar.by_name(change.class).map_err(io::Error::other)?;
        entry.read_to_end(&mut class)?;
        let mut changed = change
            .old
            .iter()
            .filter_map(|old| replace(&class, old, change.new));
        let (Some(changed), None) = (changed.next(), changed.next()) else {
            let message = format!(
                "{} does not have what is to be changed exactly once",
                change.class
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        let file = bundle.join(CLASSES).join(change.class);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, &changed)?;
        classes.insert(change.class, changed);
    }
    Ok(classes)
}

/// Moves the jar out of the folder of all jars, and makes another one with changed classes.
fn double(bundle: &Path, changes: &[Change]) -> io::Result<()> {
    let classes = change(bundle, changes)?;
    let jar = jar(&bundle.join("lib"))?;
    let name = jar.file_name().unwrap_or_default().to_owned();
    for folder in [ORIGINAL, CHANGED] {
        fs::create_dir_all(bundle.join(folder))?;
    }
    let original = bundle.join(ORIGINAL).join(&name);
    fs::rename(&jar, &original)?;
    let mut from = open(&original)?;
    let mut to = ZipWriter::new(fs::File::create(bundle.join(CHANGED).join(&name))?);
    for index in 0..from.len() {
        let entry = from.by_index_raw(index).map_err(io::Error::other)?;
        let copied = match classes.get(entry.name()) {
            None => to.raw_copy_file(entry),
            Some(class) => {
                let name = entry.name().to_owned();
                to.start_file(name, SimpleFileOptions::default())
                    .and_then(|()| Ok(to.write_all(class)?))
            }
        };
        copied.map_err(io::Error::other)?;
    }
    to.finish().map(drop).map_err(io::Error::other)
}

fn open(jar: &Path) -> io::Result<ZipArchive<fs::File>> {
    ZipArchive::new(fs::File::open(jar)?).map_err(io::Error::other)
}

/// The jar of Elasticsearch itself, which is named by its version; others are named by what they are for.
fn jar(lib: &Path) -> io::Result<PathBuf> {
    for entry in fs::read_dir(lib)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let version = name
            .strip_prefix("elasticsearch-")
            .and_then(|rest| rest.strip_suffix(".jar"));
        if version.is_some_and(|version| version.starts_with(|char: char| char.is_ascii_digit())) {
            return Ok(entry.path());
        }
    }
    let message = format!("no jar of Elasticsearch in {}", lib.display());
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

/// The bytes with some of them replaced. None if those are not there exactly once.
fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let mut places = bytes
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| *window == old);
    let (Some((at, _)), None) = (places.next(), places.next()) else {
        return None;
    };
    Some([&bytes[..at], new, &bytes[at + old.len()..]].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A bundle with a jar that has a class of these bytes.
    fn bundle(class: &str, bytes: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let lib = folder.path().join("lib");
        fs::create_dir(&lib).unwrap();
        fs::write(lib.join("elasticsearch-core-1.5.0.jar"), "").unwrap();
        let jar = fs::File::create(lib.join("elasticsearch-1.5.0.jar")).unwrap();
        let mut jar = ZipWriter::new(jar);
        for (name, bytes) in [("A.class", &b"A"[..]), (class, bytes)] {
            jar.start_file(name, SimpleFileOptions::default()).unwrap();
            jar.write_all(bytes).unwrap();
        }
        jar.finish().unwrap();
        folder
    }

    #[test]
    fn a_name_and_its_length_are_replaced() {
        let folder = bundle(JVM_INFO.class, b"\xca\xfe\x01\x00\x10getBootClassPath\x07");
        for_newer_java(folder.path()).unwrap();
        let changed = fs::read(folder.path().join(CLASSES).join(JVM_INFO.class)).unwrap();
        assert_eq!(changed, b"\xca\xfe\x01\x00\x0bgetSpecName\x07");
    }

    #[test]
    fn a_number_is_replaced_in_either_form() {
        for old in OPEN_FILES.old {
            let folder = bundle(OPEN_FILES.class, old);
            for_few_files(folder.path()).unwrap();
            let changed = fs::read(folder.path().join(CLASSES).join(OPEN_FILES.class)).unwrap();
            assert_eq!(changed, b"\x03\x00\x00\x10\x00");
        }
    }

    #[test]
    fn the_jar_is_there_twice() {
        let folder = bundle(OPEN_FILES.class, OPEN_FILES.old[0]);
        jar_for_few_files(folder.path()).unwrap();
        let read = |of: &str, entry: &str| {
            let mut jar = open(&folder.path().join(of).join("elasticsearch-1.5.0.jar")).unwrap();
            let mut bytes = Vec::new();
            jar.by_name(entry).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(ORIGINAL, OPEN_FILES.class), OPEN_FILES.old[0]);
        assert_eq!(read(CHANGED, OPEN_FILES.class), OPEN_FILES.new);
        assert_eq!(read(CHANGED, "A.class"), b"A");
        assert!(jar(&folder.path().join("lib")).is_err());
    }

    #[test]
    fn what_is_not_there_once_is_an_error() {
        let twice = [OPEN_FILES.old[0], OPEN_FILES.old[1]].concat();
        for bytes in [&b"\x03\x00\x00\x00\x01"[..], &twice, b""] {
            assert!(for_few_files(bundle(OPEN_FILES.class, bytes).path()).is_err());
        }
        let other = bundle(JVM_INFO.class, b"");
        assert!(for_few_files(other.path()).is_err());
    }
}
