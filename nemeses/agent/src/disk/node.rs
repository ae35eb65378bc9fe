//! The things beneath: files and directories, held by descriptors that follow them through renames.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, readlinkat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fstat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};

use super::content::Unsynced;

/// What tells things beneath apart: device and inode.
pub(crate) type Key = (u64, u64);

/// A file, a directory or anything else beneath.
pub(crate) struct Node {
    /// Its number in the kernel's requests.
    pub(crate) id: u64,
    /// It, whatever its name. The number of the descriptor stays when a lost thing is made anew.
    handle: OwnedFd,
    kind: SFlag,
    /// The content, once somebody wanted it.
    file: OnceLock<File>,
    /// What is not synced of it.
    pub(crate) unsynced: Mutex<Unsynced>,
    /// The mark of the last operation on entries that concerns it; 0 if none does.
    pub(crate) touched: AtomicU64,
    /// The mark of the operation that made it; 0 if it was there.
    pub(crate) born: AtomicU64,
    /// How often all pages had become wrong when it was last opened.
    seen: AtomicU64,
}

impl Node {
    pub(crate) fn new(id: u64, handle: OwnedFd, stat: &FileStat) -> Node {
        Node {
            id,
            handle,
            kind: SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()),
            file: OnceLock::new(),
            unsynced: Mutex::default(),
            touched: AtomicU64::new(0),
            born: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.kind == SFlag::S_IFDIR
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind == SFlag::S_IFREG
    }

    pub(crate) fn stat(&self) -> io::Result<FileStat> {
        Ok(fstat(self.fd())?)
    }

    /// A path that leads to it for as long as it is held.
    pub(crate) fn proc_path(&self) -> String {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd())
    }

    /// Where it is now.
    pub(crate) fn path(&self) -> Option<OsString> {
        std::fs::read_link(self.proc_path()).ok().map(Into::into)
    }

    pub(crate) fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its content, to be read and, where that is possible at all, written.
    pub(crate) fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let path = self.proc_path();
        let mut options = File::options();
        let file = match options.read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(_) => File::open(&path)?,
        };
        Ok(self.file.get_or_init(|| file))
    }

    /// Whether the kernel's pages of it are right: none became wrong since it was last opened.
    pub(crate) fn fresh(&self, stale: u64) -> bool {
        self.seen.swap(stale, Ordering::AcqRel) == stale
    }

    /// The directory, opened anew, to be read.
    pub(crate) fn folder(&self) -> io::Result<nix::dir::Dir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(nix::dir::Dir::openat(self.fd(), ".", flags, Mode::empty())?)
    }

    /// Stands for another thing from now on: what was lost was made anew.
    fn become_(&self, new: &OwnedFd) -> io::Result<()> {
        replace(self.fd(), new.as_fd())?;
        if let Some(file) = self.file.get() {
            let again = File::options()
                .read(true)
                .write(true)
                .open(self.proc_path())?;
            replace(file.as_fd(), again.as_fd())?;
        }
        Ok(())
    }

    /// Puts it back under a name of a folder: as a link, or, where nothing links to it any more, made anew.
    pub(crate) fn revive(&self, folder: &Node, name: &OsStr) -> io::Result<()> {
        let stat = self.stat()?;
        if !self.is_folder() && stat.st_nlink > 0 {
            return link(self, folder, name);
        }
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
        match self.kind {
            SFlag::S_IFDIR => make_folder(folder, name, mode)?,
            SFlag::S_IFLNK => symlinkat(target(self)?.as_os_str(), folder.fd(), name)?,
            SFlag::S_IFREG => {
                let mut copy = make_file(folder, name, mode)?;
                io::copy(&mut File::open(self.proc_path())?, &mut copy)?;
            }
            kind => make_special(folder, name, kind, mode, stat.st_rdev)?,
        }
        let new = open_in(folder, name)?;
        own(new.as_fd(), Some(stat.st_uid), Some(stat.st_gid))?;
        self.become_(&new)?;
        if self.kind != SFlag::S_IFLNK {
            self.chmod(mode)?;
            let times = (
                TimeSpec::new(stat.st_atime, stat.st_atime_nsec),
                TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
            );
            self.set_times(&times.0, &times.1)?;
        }
        Ok(())
    }

    pub(crate) fn chmod(&self, mode: Mode) -> io::Result<()> {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode.bits());
        std::fs::set_permissions(self.proc_path(), permissions)
    }

    pub(crate) fn set_times(&self, access: &TimeSpec, change: &TimeSpec) -> io::Result<()> {
        match self.kind {
            // The path above would lead to where the link leads.
            SFlag::S_IFLNK => Ok(()),
            _ => Ok(utimensat(
                AT_FDCWD,
                self.proc_path().as_str(),
                access,
                change,
                UtimensatFlags::FollowSymlink,
            )?),
        }
    }
}

/// Lets a descriptor mean what another does.
fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open, and `dup3` closes the old meaning itself; whoever holds the number goes on holding it.
    match unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Holds what a folder has under a name.
pub(crate) fn open_in(folder: &Node, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(folder.fd(), name, flags, Mode::empty())?)
}

pub(crate) fn make_file(folder: &Node, name: &OsStr, mode: Mode) -> io::Result<File> {
    let flags =
        OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(File::from(openat(folder.fd(), name, flags, mode)?))
}

pub(crate) fn make_folder(folder: &Node, name: &OsStr, mode: Mode) -> io::Result<()> {
    Ok(mkdirat(folder.fd(), name, mode)?)
}

pub(crate) fn make_special(
    folder: &Node,
    name: &OsStr,
    kind: SFlag,
    mode: Mode,
    device: u64,
) -> io::Result<()> {
    Ok(mknodat(folder.fd(), name, kind, mode, device)?)
}

pub(crate) fn make_symlink(folder: &Node, name: &OsStr, target: &OsStr) -> io::Result<()> {
    Ok(symlinkat(target, folder.fd(), name)?)
}

pub(crate) fn target(node: &Node) -> io::Result<OsString> {
    Ok(readlinkat(node.fd(), "")?)
}

pub(crate) fn link(node: &Node, folder: &Node, name: &OsStr) -> io::Result<()> {
    let empty = AtFlags::AT_EMPTY_PATH;
    Ok(linkat(node.fd(), "", folder.fd(), name, empty)?)
}

pub(crate) fn remove(folder: &Node, name: &OsStr, is_folder: bool) -> io::Result<()> {
    let flags = match is_folder {
        true => UnlinkatFlags::RemoveDir,
        false => UnlinkatFlags::NoRemoveDir,
    };
    Ok(unlinkat(folder.fd(), name, flags)?)
}

pub(crate) fn rename(
    from: (&Node, &OsStr),
    to: (&Node, &OsStr),
    flags: RenameFlags,
) -> io::Result<()> {
    Ok(renameat2(from.0.fd(), from.1, to.0.fd(), to.1, flags)?)
}

pub(crate) fn own(fd: BorrowedFd<'_>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
    Ok(fchownat(fd, "", user, group, AtFlags::AT_EMPTY_PATH)?)
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn checked(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// The value of an extended attribute; none if there is no such.
pub(crate) fn attribute(node: &Node, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let (path, name) = (c_string(node.proc_path().as_ref())?, c_string(name)?);
    // The longest that Linux has.
    let mut value = vec![0; 64 << 10];
    // SAFETY: both are strings that end with 0, and the buffer is as long as is said.
    let count = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    match checked(count) {
        Ok(count) => {
            value.truncate(count);
            Ok(Some(value))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of all extended attributes, each with 0 after it.
pub(crate) fn attributes(node: &Node) -> io::Result<Vec<u8>> {
    let path = c_string(node.proc_path().as_ref())?;
    let mut names = vec![0; 64 << 10];
    // SAFETY: a string that ends with 0, and a buffer as long as is said.
    let count = unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(checked(count)?);
    Ok(names)
}

/// Sets an extended attribute, or removes it.
pub(crate) fn set_attribute(
    node: &Node,
    name: &OsStr,
    value: Option<&[u8]>,
    flags: i32,
) -> io::Result<()> {
    let (path, name) = (c_string(node.proc_path().as_ref())?, c_string(name)?);
    // SAFETY: strings that end with 0, and a value as long as is said.
    let done = unsafe {
        match value {
            Some(value) => libc::setxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                flags,
            ),
            None => libc::removexattr(path.as_ptr(), name.as_ptr()),
        }
    };
    checked(done as isize).map(drop)
}

pub(crate) fn allocate(file: &File, mode: i32, offset: u64, length: u64) -> io::Result<()> {
    let (offset, length) = (offset as libc::off_t, length as libc::off_t);
    // SAFETY: the descriptor is open.
    let done = unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) };
    checked(done as isize).map(drop)
}

pub(crate) fn seek(file: &File, offset: i64, whence: i32) -> io::Result<i64> {
    // SAFETY: the descriptor is open, and nobody uses its position.
    match unsafe { libc::lseek(file.as_raw_fd(), offset, whence) } {
        -1 => Err(io::Error::last_os_error()),
        found => Ok(found),
    }
}

/// The name of an entry of a directory.
pub(crate) fn name_of(entry: &nix::dir::Entry) -> OsString {
    OsString::from_vec(entry.file_name().to_bytes().to_vec())
}

/// A folder, to begin with.
pub(crate) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    let path = c_string(path.as_os_str())?;
    // SAFETY: a string that ends with 0.
    let fd = unsafe {
        libc::open(
            path.as_ptr(),
            libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC,
        )
    };
    match fd {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: it was just opened, and nobody else has it.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}
