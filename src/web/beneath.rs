//! The only way to a file of a run: component by component from the store's folder down, each opened in the one before it, links
//! never followed. So no name, however it is written, leads out, and nothing that is swapped meanwhile does.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use percent_encoding::percent_decode_str;

use super::error::WebError;
use crate::catalog::RunEntry;

/// Folders in folders before a path is too deep.
const DEPTH_MAX: usize = 32;
/// Names in a folder that are listed.
pub(super) const NAMES_MAX: usize = 10_000;

/// Something that was opened.
pub(super) enum Opened {
    /// A folder.
    Folder(Folder),
    /// A file, at its beginning.
    File(File, Metadata),
}

/// An open folder of a run, or one in it.
pub(super) struct Folder(File);

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A link, a pipe, a device: it is not opened.
    Other,
}

/// A name in a folder.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: OsString,
    pub(super) kind: Kind,
    /// In bytes.
    pub(super) size: u64,
    /// When it was changed, in seconds since 1970.
    pub(super) changed: i64,
}

/// The components of a path as it stands in an address, each decoded once.
///
/// # Errors
/// At one that cannot be a name in a folder.
pub(super) fn components(path: &str) -> Result<Vec<OsString>, WebError> {
    let mut components = Vec::new();
    let path = path.strip_suffix('/').unwrap_or(path);
    for part in path.split('/').filter(|_| !path.is_empty()) {
        let name: Vec<u8> = percent_decode_str(part).collect();
        if name.is_empty()
            || name == b"."
            || name == b".."
            || name.contains(&b'/')
            || name.contains(&0)
        {
            return Err(WebError::refused(format!("{part:?} is no name of a file")));
        }
        components.push(OsString::from_vec(name));
    }
    match components.len() {
        0..=DEPTH_MAX => Ok(components),
        _ => Err(WebError::refused("this path is too deep")),
    }
}

/// The folder of a run.
pub(super) fn run(root: &Path, entry: &RunEntry) -> Result<Folder, WebError> {
    let root = Folder(File::open(root)?);
    let mut folder = root;
    for name in entry.name.split('/') {
        folder = folder.folder(OsStr::new(name))?;
    }
    Ok(folder)
}

impl Folder {
    /// Opens what a path in this folder leads to.
    pub(super) fn walk(self, path: &[OsString]) -> Result<Opened, WebError> {
        let Some((last, folders)) = path.split_last() else {
            return Ok(Opened::Folder(self));
        };
        let mut folder = self;
        for name in folders {
            folder = folder.folder(name)?;
        }
        folder.open(last)
    }

    /// Opens a folder in this one.
    pub(super) fn folder(&self, name: &OsStr) -> Result<Folder, WebError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        Ok(Folder(File::from(self.openat(name, flags)?)))
    }

    /// Opens a file or folder in this one.
    pub(super) fn open(&self, name: &OsStr) -> Result<Opened, WebError> {
        // Only looking at a device may already do something.
        if self
            .look(name)
            .is_some_and(|named| named.kind == Kind::Other)
        {
            return Err(WebError::refused(
                "this is neither a file nor a folder, and is not followed",
            ));
        }
        // A pipe that took its place in between is not waited for.
        let file = File::from(self.openat(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            Ok(Opened::Folder(Folder(file)))
        } else if metadata.is_file() {
            Ok(Opened::File(file, metadata))
        } else {
            Err(WebError::refused("this is neither a file nor a folder"))
        }
    }

    fn openat(&self, name: &OsStr, flags: OFlag) -> Result<OwnedFd, WebError> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.0, name, flags, Mode::empty()).map_err(|error| match error {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => {
                WebError::missing("there is no such file in this run")
            }
            Errno::ELOOP => WebError::refused("this is a link, and links are not followed"),
            error => WebError::broken(format!("this file cannot be opened: {}", error.desc())),
        })
    }

    fn look(&self, name: &OsStr) -> Option<Named> {
        let found = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        Some(Named {
            name: name.to_owned(),
            kind: match kind {
                SFlag::S_IFDIR => Kind::Folder,
                SFlag::S_IFREG => Kind::File,
                _ => Kind::Other,
            },
            size: u64::try_from(found.st_size).unwrap_or(0),
            changed: found.st_mtime,
        })
    }

    /// What is in this folder, sorted by name, and whether there is more.
    pub(super) fn list(&self) -> Result<(Vec<Named>, bool), WebError> {
        let again = openat(
            &self.0,
            c".",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let mut open = again.and_then(Dir::from_fd).map_err(std::io::Error::from)?;
        let mut names: Vec<CString> = Vec::new();
        for entry in open.iter() {
            let entry = entry.map_err(std::io::Error::from)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
            if names.len() > NAMES_MAX {
                break;
            }
        }
        let more = names.len() > NAMES_MAX;
        names.truncate(NAMES_MAX);
        names.sort();
        let found = names
            .iter()
            .filter_map(|name| self.look(OsStr::from_bytes(name.to_bytes())));
        Ok((found.collect(), more))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refused(path: &str) -> bool {
        components(path).is_err()
    }

    #[test]
    fn what_is_no_name_is_refused_however_it_is_written() {
        for path in [
            "..",
            "../x",
            "a/..",
            "a/../b",
            "%2e%2e",
            "%2E%2E/x",
            ".%2e",
            "a//b",
            "/etc/passwd",
            "%2fetc",
            "a%2fb",
            "a%00b",
            "%00",
            ".",
            "a/./b",
            "%2e",
        ] {
            assert!(refused(path), "{path}");
        }
        let names = |path: &str| components(path).unwrap();
        // Decoded once: what is left is a name like any other.
        assert_eq!(names("%252e%252e"), ["%2e%2e"]);
        assert_eq!(names("n1/db.log"), ["n1", "db.log"]);
        assert_eq!(names("n1/"), ["n1"]);
        assert_eq!(names("a%0ab"), ["a\nb"]);
        assert_eq!(names("%ff"), [OsString::from_vec(vec![0xff])]);
        assert!(names("").is_empty());
        assert!(refused(&"a/".repeat(40)));
    }
}
