//! All data of a system that does not run: kept, put back later, or taken away.
//!
//! What is put back is durable when the answer is given, and so is its absence when it is taken away. What was there before is
//! gone, and cannot be had back. Owners, modes and times of files are kept; extended attributes are not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use super::Failure;

/// The module's name.
pub const NAME: &str = "backup";

/// What to do with folders of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The folders.
    pub folders: Vec<PathBuf>,
    /// Where the copy of them is, or is to be.
    pub copy: PathBuf,
    /// What to do.
    pub deed: Deed,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Make a copy, in the place of an earlier one.
    Keep,
    /// Make the folders what they were then, and remove the copy.
    PutBack,
    /// Remove the copy alone.
    Discard,
    /// Remove all that is in the folders.
    Wipe,
}

/// What was kept, or is different.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Files that were kept; or that are other than before, or gone, or there again.
    pub files: u64,
    /// How long they are, or were, whichever is more.
    pub bytes: u64,
    /// The first of them, in the folders.
    pub examples: Vec<PathBuf>,
}

/// The most examples that are told.
const EXAMPLES: usize = 8;

pub(crate) fn handle(request: Request) -> Result<Answer, Failure> {
    let Request {
        folders,
        copy,
        deed,
    } = request;
    let begun = |error: io::Error| Failure::Indeterminate(error.to_string());
    match deed {
        Deed::Keep => keep(&folders, &copy).map_err(|error| {
            let _ = remove(&copy);
            Failure::NotDone(error.to_string())
        }),
        Deed::PutBack => {
            let different =
                compared(&folders, &copy).map_err(|error| Failure::NotDone(error.to_string()))?;
            put_back(&folders, &copy).map_err(begun)?;
            remove(&copy).map_err(begun)?;
            Ok(different)
        }
        Deed::Discard => remove(&copy).map(|()| Answer::default()).map_err(begun),
        Deed::Wipe => {
            let mut lost = Answer::default();
            for folder in &folders {
                for (path, entry) in tree(folder).map_err(begun)? {
                    lost.tell(path, entry.length());
                }
                empty(folder).map_err(begun)?;
            }
            Ok(lost)
        }
    }
}

fn remove(copy: &Path) -> io::Result<()> {
    match fs::remove_dir_all(copy) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Where the copy of a folder is.
fn part(copy: &Path, number: usize) -> PathBuf {
    copy.join(number.to_string())
}

fn keep(folders: &[PathBuf], copy: &Path) -> io::Result<Answer> {
    remove(copy)?;
    fs::create_dir_all(copy)?;
    let mut kept = Answer::default();
    for folder in folders {
        for (path, entry) in tree(folder)? {
            kept.tell(path, entry.length());
        }
    }
    let disk = statvfs(copy)?;
    let (unit, all) = (disk.fragment_size(), disk.blocks());
    let spare = (disk.blocks_available() * unit).saturating_sub(all * unit / 20);
    if kept.bytes > spare {
        return Err(io::Error::other(format!(
            "{}: a copy of {} MiB does not fit there",
            copy.display(),
            kept.bytes >> 20
        )));
    }
    for (number, folder) in folders.iter().enumerate() {
        let part = part(copy, number);
        fs::create_dir(&part)?;
        copied(folder, &part)?;
    }
    Ok(kept)
}

fn put_back(folders: &[PathBuf], copy: &Path) -> io::Result<()> {
    for (number, folder) in folders.iter().enumerate() {
        empty(folder)?;
        copied(&part(copy, number), folder)?;
        // From the leaves to the root, so that no name is durable before what it names.
        for (path, entry) in tree(folder)?.into_iter().rev() {
            if !matches!(entry, Entry::Link(_)) {
                File::open(folder.join(path))?.sync_all()?;
            }
        }
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes all that is in a folder, for good.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    File::open(folder)?.sync_all()
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    File(u64),
    Link(PathBuf),
}

impl Entry {
    /// The length of a file.
    fn length(&self) -> Option<u64> {
        match self {
            Entry::File(length) => Some(*length),
            Entry::Folder | Entry::Link(_) => None,
        }
    }
}

/// All that is in a folder, by its path in it: what is inside of something after it. What is neither file, folder nor link is left out.
fn tree(root: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let metadata = fs::symlink_metadata(entry.path())?;
            let kind = metadata.file_type();
            let entry = if kind.is_dir() {
                folders.push(path.clone());
                Entry::Folder
            } else if kind.is_file() {
                Entry::File(metadata.len())
            } else if kind.is_symlink() {
                Entry::Link(fs::read_link(entry.path())?)
            } else {
                continue;
            };
            found.insert(path, entry);
        }
    }
    Ok(found)
}

fn copied(from: &Path, to: &Path) -> io::Result<()> {
    let entries = tree(from)?;
    for (path, entry) in &entries {
        let (old, new) = (from.join(path), to.join(path));
        match entry {
            Entry::Folder => fs::create_dir(&new)?,
            Entry::File(_) => drop(fs::copy(&old, &new)?),
            Entry::Link(target) => symlink(target, &new)?,
        }
        let metadata = fs::symlink_metadata(&old)?;
        lchown(&new, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    // Folders last of all: what is put into them changes their times, and they may not be writable.
    for (path, entry) in entries.iter().rev() {
        if matches!(entry, Entry::Link(_)) {
            continue;
        }
        let metadata = fs::symlink_metadata(from.join(path))?;
        let new = to.join(path);
        fs::set_permissions(&new, metadata.permissions())?;
        File::open(&new)?.set_modified(metadata.modified()?)?;
    }
    Ok(())
}

/// What is different between folders and their copies.
fn compared(folders: &[PathBuf], copy: &Path) -> io::Result<Answer> {
    let mut different = Answer::default();
    for (number, folder) in folders.iter().enumerate() {
        let part = part(copy, number);
        let (now, then) = (tree(folder)?, tree(&part)?);
        let all: BTreeMap<&PathBuf, ()> =
            now.keys().chain(then.keys()).map(|it| (it, ())).collect();
        for path in all.into_keys() {
            let (a, b) = (now.get(path), then.get(path));
            let length = |entry: Option<&Entry>| entry.and_then(Entry::length);
            let same = a == b
                && (length(a).is_none() || same_bytes(&folder.join(path), &part.join(path))?);
            if !same {
                different.tell(path.clone(), length(a).max(length(b)));
            }
        }
    }
    Ok(different)
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = one.read(&mut a)?;
        if count == 0 {
            return Ok(other.read(&mut b)? == 0);
        }
        match other.read_exact(&mut b[..count]) {
            Ok(()) if a[..count] == b[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

impl Answer {
    /// Of files: folders and links have no length.
    fn tell(&mut self, path: PathBuf, length: Option<u64>) {
        let Some(length) = length else {
            return;
        };
        self.files += 1;
        self.bytes += length;
        if self.examples.len() < EXAMPLES && path.as_os_str().as_bytes().len() < 1000 {
            self.examples.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ask(place: &Path, deed: Deed) -> Result<Answer, Failure> {
        handle(Request {
            folders: vec![place.join("data")],
            copy: place.join("state/copy"),
            deed,
        })
    }

    fn names(answer: &Answer) -> Vec<&str> {
        answer
            .examples
            .iter()
            .map(|it| it.to_str().unwrap())
            .collect()
    }

    #[test]
    fn data_is_what_it_was_when_it_was_kept() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        fs::create_dir_all(data.join("wal/deep")).unwrap();
        fs::write(data.join("wal/0.wal"), b"old").unwrap();
        fs::write(data.join("wal/deep/same"), b"same").unwrap();
        fs::write(data.join("gone"), b"will be gone").unwrap();
        fs::set_permissions(data.join("gone"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(data.join("wal"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("wal/0.wal", data.join("link")).unwrap();
        let time = fs::metadata(data.join("wal/0.wal"))
            .unwrap()
            .modified()
            .unwrap();
        let kept = ask(place.path(), Deed::Keep).unwrap();
        assert_eq!((kept.files, kept.bytes), (3, 19));

        fs::write(data.join("wal/0.wal"), b"newer").unwrap();
        fs::remove_file(data.join("gone")).unwrap();
        fs::write(data.join("new"), b"1234").unwrap();
        let different = ask(place.path(), Deed::PutBack).unwrap();
        assert_eq!(names(&different), ["gone", "new", "wal/0.wal"]);
        assert_eq!(different.bytes, 12 + 4 + 5);
        assert_eq!(fs::read(data.join("wal/0.wal")).unwrap(), b"old");
        assert_eq!(fs::read(data.join("link")).unwrap(), b"old");
        assert_eq!(fs::read(data.join("gone")).unwrap(), b"will be gone");
        assert!(!data.join("new").exists() && !place.path().join("state/copy").exists());
        let metadata = |name: &str| fs::metadata(data.join(name)).unwrap();
        assert_eq!(metadata("gone").mode() & 0o777, 0o640);
        assert_eq!(metadata("wal").mode() & 0o777, 0o700);
        assert_eq!(metadata("wal/0.wal").modified().unwrap(), time);
        // There is no copy any more.
        assert!(matches!(
            ask(place.path(), Deed::PutBack),
            Err(Failure::NotDone(_))
        ));
        assert_eq!(fs::read(data.join("wal/0.wal")).unwrap(), b"old");
    }

    #[test]
    fn data_is_wiped() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("data/a/b")).unwrap();
        fs::write(place.path().join("data/a/b/c"), b"xyz").unwrap();
        let lost = ask(place.path(), Deed::Wipe).unwrap();
        assert_eq!((lost.files, lost.bytes), (1, 3));
        assert_eq!(fs::read_dir(place.path().join("data")).unwrap().count(), 0);
        assert_eq!(ask(place.path(), Deed::Wipe).unwrap().files, 0);
        assert!(ask(place.path(), Deed::Discard).is_ok());
    }
}
