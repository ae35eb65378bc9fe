//! The kernel's requests, answered.
//!
//! Nothing that is known of names and files is cached by the kernel (times to live are 0), so that after a power cut nobody
//! sees what is not there any more, and faults strike every operation. Pages are cached, and dropped when a file is opened for the first
//! time after a cut.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::sys::time::TimeSpec;

use super::control::Kind;
use super::rules::{Fate, Rules};
use super::store::{Found, Made, Maker, Store, Wanted};

/// Nothing is believed for longer than it takes to say it.
const NOW: Duration = Duration::ZERO;
/// The largest write that comes as one.
const WRITE_MOST: u32 = 1 << 20;

/// The file system.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) store: Arc<Store>,
    pub(crate) rules: Arc<Rules>,
    /// The path of the folder beneath, to be taken off paths.
    pub(crate) root: Arc<OsString>,
}

impl Disk {
    /// The path in the folder of what the kernel means by a number.
    fn path(&self, id: u64) -> OsString {
        let node = self.store.node(id).ok();
        let path = node.and_then(|node| node.path()).unwrap_or_default();
        let inside = Path::new(&path).strip_prefix(Path::new(&*self.root));
        inside.map_or_else(|_| path.clone(), |inside| inside.into())
    }

    fn path_of(&self, folder: u64, name: &OsStr) -> OsString {
        Path::new(&self.path(folder)).join(name).into()
    }

    /// Does something when its time has come, with what becomes of it.
    fn act<P: AsRef<OsStr>>(
        &self,
        kind: Kind,
        path: impl FnOnce() -> P,
        job: impl FnOnce(&Disk, Fate) + Send + 'static,
    ) {
        match self.rules.decide(kind, path) {
            (None, fate) => job(self, fate),
            // Others do not wait for it.
            (Some(wait), fate) => {
                let disk = self.clone();
                thread::spawn(move || {
                    let fate = disk.rules.wait(&wait, fate);
                    job(&disk, fate);
                });
            }
        }
    }

    /// What becomes of an operation that has no more to do with its fate than that it fails.
    fn judged<T>(
        &self,
        fate: Fate,
        needs_room: bool,
        deed: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match fate {
            Fate::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
            Fate::Full if needs_room => {
                self.rules.strike();
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            }
            _ => deed(),
        }
    }

    fn synced(&self, id: u64, data_only: bool, fate: Fate) -> io::Result<()> {
        match fate {
            Fate::Lie => Ok(()),
            Fate::LoseSync => {
                self.store.give_up(id)?;
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            fate => self.judged(fate, false, || self.store.sync(id, data_only)),
        }
    }
}

fn seconds(seconds: i64, nanos: i64) -> SystemTime {
    let part = Duration::from_nanos(nanos.unsigned_abs());
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds) + part,
        Err(_) => UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()) + part,
    }
}

fn file_type(kind: SFlag) -> FileType {
    match kind {
        SFlag::S_IFDIR => FileType::Directory,
        SFlag::S_IFLNK => FileType::Symlink,
        SFlag::S_IFIFO => FileType::NamedPipe,
        SFlag::S_IFSOCK => FileType::Socket,
        SFlag::S_IFCHR => FileType::CharDevice,
        SFlag::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn attributes(id: u64, stat: &FileStat) -> FileAttr {
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    FileAttr {
        ino: INodeNo(id),
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: seconds(stat.st_atime, stat.st_atime_nsec),
        mtime: seconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime: seconds(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev as u32,
        blksize: stat.st_blksize as u32,
        flags: 0,
    }
}

fn time(time: TimeOrNow) -> TimeSpec {
    match time {
        TimeOrNow::Now => TimeSpec::new(0, libc::UTIME_NOW),
        TimeOrNow::SpecificTime(time) => match time.duration_since(UNIX_EPOCH) {
            Ok(since) => TimeSpec::from_duration(since),
            Err(before) => TimeSpec::new(-(before.duration().as_secs() as i64), 0),
        },
    }
}

fn maker(request: &Request) -> Maker {
    Maker {
        user: request.uid(),
        group: request.gid(),
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits & 0o7777)
}

fn entry(reply: ReplyEntry, found: io::Result<Found>) {
    match found {
        Ok(Found { node, stat }) => reply.entry(&NOW, &attributes(node.id, &stat), Generation(0)),
        Err(error) => reply.error(error.into()),
    }
}

fn empty(reply: ReplyEmpty, done: io::Result<()>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.into()),
    }
}

fn attribute(reply: ReplyXattr, size: u32, value: io::Result<Vec<u8>>) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(error.into()),
    }
}

impl Filesystem for Disk {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What the kernel does not have is not needed.
        let _ = config.set_max_write(WRITE_MOST);
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let own = name.to_owned();
        let path = || self.path_of(parent.0, name);
        self.act(Kind::Stat, path, move |disk, fate| {
            entry(
                reply,
                disk.judged(fate, false, || disk.store.lookup(parent.0, &own)),
            );
        });
    }

    fn forget(&self, _: &Request, id: INodeNo, times: u64) {
        self.store.forget(id.0, times);
    }

    fn getattr(&self, _: &Request, id: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.act(
            Kind::Stat,
            || self.path(id.0),
            move |disk, fate| match disk.judged(fate, false, || disk.store.stat(id.0)) {
                Ok(stat) => reply.attr(&NOW, &attributes(id.0, &stat)),
                Err(error) => reply.error(error.into()),
            },
        );
    }

    fn setattr(
        &self,
        _: &Request,
        id: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let wanted = Wanted {
            mode,
            user,
            group,
            size,
            accessed: accessed.map(time),
            modified: modified.map(time),
        };
        let kind = if size.is_some() {
            Kind::Truncate
        } else {
            Kind::Attributes
        };
        self.act(
            kind,
            || self.path(id.0),
            move |disk, fate| {
                let full = fate == Fate::Full;
                let grows = full && size.is_some_and(|size| disk.store.grows(id.0, size));
                match disk.judged(fate, grows, || disk.store.change(id.0, wanted)) {
                    Ok(stat) => reply.attr(&NOW, &attributes(id.0, &stat)),
                    Err(error) => reply.error(error.into()),
                }
            },
        );
    }

    fn readlink(&self, _: &Request, id: INodeNo, reply: ReplyData) {
        match self.store.target(id.0) {
            Ok(target) => reply.data(std::os::unix::ffi::OsStrExt::as_bytes(&*target)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        bits: u32,
        _: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let (own, maker) = (name.to_owned(), maker(request));
        let path = || self.path_of(parent.0, name);
        self.act(Kind::Create, path, move |disk, fate| {
            let kind = SFlag::from_bits_truncate(bits & SFlag::S_IFMT.bits());
            let made = match kind {
                SFlag::S_IFREG => Made::File(mode(bits)),
                kind => Made::Special(kind, mode(bits), device.into()),
            };
            entry(
                reply,
                disk.judged(fate, true, || disk.store.make(parent.0, &own, made, maker)),
            );
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        bits: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (own, maker) = (name.to_owned(), maker(request));
        let path = || self.path_of(parent.0, name);
        self.act(Kind::Mkdir, path, move |disk, fate| {
            let made = Made::Folder(mode(bits));
            entry(
                reply,
                disk.judged(fate, true, || disk.store.make(parent.0, &own, made, maker)),
            );
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let own = name.to_owned();
        let path = || self.path_of(parent.0, name);
        self.act(Kind::Unlink, path, move |disk, fate| {
            empty(
                reply,
                disk.judged(fate, false, || disk.store.remove(parent.0, &own)),
            );
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, name, reply);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (own, target, maker) = (name.to_owned(), target.to_owned(), maker(request));
        let path = || self.path_of(parent.0, name);
        self.act(Kind::Create, path, move |disk, fate| {
            let made = Made::Symlink(target.as_os_str());
            entry(
                reply,
                disk.judged(fate, true, || disk.store.make(parent.0, &own, made, maker)),
            );
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (own, new) = (name.to_owned(), new.to_owned());
        let flags = nix::fcntl::RenameFlags::from_bits_truncate(flags.bits());
        let path = || self.path_of(parent.0, name);
        self.act(Kind::Rename, path, move |disk, fate| {
            let rename = || disk.store.rename((parent.0, &own), (to.0, &new), flags);
            empty(reply, disk.judged(fate, false, rename));
        });
    }

    fn link(&self, _: &Request, id: INodeNo, to: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let own = name.to_owned();
        let path = || self.path_of(to.0, name);
        self.act(Kind::Link, path, move |disk, fate| {
            entry(
                reply,
                disk.judged(fate, true, || disk.store.link(id.0, to.0, &own)),
            );
        });
    }

    fn open(&self, _: &Request, id: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.act(
            Kind::Open,
            || self.path(id.0),
            move |disk, fate| match disk.judged(fate, false, || disk.store.open_file(id.0)) {
                Ok(true) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
                Ok(false) => reply.opened(FileHandle(0), FopenFlags::empty()),
                Err(error) => reply.error(error.into()),
            },
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        bits: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let (own, maker) = (name.to_owned(), maker(request));
        let path = || self.path_of(parent.0, name);
        self.act(Kind::Create, path, move |disk, fate| {
            let made = Made::File(mode(bits));
            match disk.judged(fate, true, || disk.store.make(parent.0, &own, made, maker)) {
                Ok(Found { node, stat }) => reply.created(
                    &NOW,
                    &attributes(node.id, &stat),
                    Generation(0),
                    FileHandle(0),
                    FopenFlags::empty(),
                ),
                Err(error) => reply.error(error.into()),
            }
        });
    }

    fn read(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        at: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.act(
            Kind::Read,
            || self.path(id.0),
            move |disk, fate| match disk
                .judged(fate, false, || disk.store.read(id.0, at, size as usize))
            {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(error.into()),
            },
        );
    }

    fn write(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = move |disk: &Disk, fate, bytes: &[u8]| {
            let length = match fate {
                Fate::Short => bytes.len().div_ceil(2),
                _ => bytes.len(),
            };
            let grows = fate == Fate::Full && disk.store.grows(id.0, at + length as u64);
            let deed = || disk.store.write(id.0, at, &bytes[..length]);
            match disk.judged(fate, grows, deed) {
                Ok(()) => reply.written(length as u32),
                Err(error) => reply.error(error.into()),
            }
        };
        match self.rules.decide(Kind::Write, || self.path(id.0)) {
            (None, fate) => write(self, fate, bytes),
            (Some(wait), fate) => {
                let (disk, bytes) = (self.clone(), bytes.to_vec());
                thread::spawn(move || {
                    let fate = disk.rules.wait(&wait, fate);
                    write(&disk, fate, &bytes);
                });
            }
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Nothing is held back; the kernel does not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, id: INodeNo, _: FileHandle, data_only: bool, reply: ReplyEmpty) {
        self.act(
            Kind::Sync,
            || self.path(id.0),
            move |disk, fate| {
                empty(reply, disk.synced(id.0, data_only, fate));
            },
        );
    }

    fn fsyncdir(&self, _: &Request, id: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.act(
            Kind::Sync,
            || self.path(id.0),
            move |disk, fate| {
                empty(reply, disk.synced(id.0, false, fate));
            },
        );
    }

    fn opendir(&self, _: &Request, id: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.act(
            Kind::Open,
            || self.path(id.0),
            move |disk, fate| match disk.judged(fate, false, || disk.store.node(id.0)) {
                Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
                Err(error) => reply.error(error.into()),
            },
        );
    }

    fn readdir(&self, _: &Request, id: INodeNo, _: FileHandle, from: u64, reply: ReplyDirectory) {
        self.act(
            Kind::Readdir,
            || self.path(id.0),
            move |disk, fate| {
                let mut reply = reply;
                match disk.judged(fate, false, || disk.store.list(id.0)) {
                    Ok(entries) => {
                        for (at, (ino, kind, name)) in
                            entries.iter().enumerate().skip(from as usize)
                        {
                            if reply.add(INodeNo(*ino), at as u64 + 1, file_type(*kind), name) {
                                break;
                            }
                        }
                        reply.ok();
                    }
                    Err(error) => reply.error(error.into()),
                }
            },
        );
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let full = self.rules.say_full();
        match self.store.room() {
            Ok(room) => {
                let left = |blocks: u64| if full { 0 } else { blocks };
                reply.statfs(
                    room.blocks(),
                    left(room.blocks_free()),
                    left(room.blocks_available()),
                    room.files(),
                    room.files_free(),
                    room.block_size() as u32,
                    room.name_max() as u32,
                    room.fragment_size() as u32,
                );
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        id: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.to_owned(), value.to_vec());
        self.act(
            Kind::Attributes,
            || self.path(id.0),
            move |disk, fate| {
                let set = || disk.store.set_attribute(id.0, &name, Some(&value), flags);
                empty(reply, disk.judged(fate, true, set));
            },
        );
    }

    fn removexattr(&self, _: &Request, id: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.act(
            Kind::Attributes,
            || self.path(id.0),
            move |disk, fate| {
                let remove = || disk.store.set_attribute(id.0, &name, None, 0);
                empty(reply, disk.judged(fate, false, remove));
            },
        );
    }

    fn getxattr(&self, _: &Request, id: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.store.attribute(id.0, name);
        let value =
            value.and_then(|value| value.ok_or(io::Error::from_raw_os_error(libc::ENODATA)));
        attribute(reply, size, value);
    }

    fn listxattr(&self, _: &Request, id: INodeNo, size: u32, reply: ReplyXattr) {
        attribute(reply, size, self.store.attributes(id.0));
    }

    fn fallocate(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        at: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.act(
            Kind::Allocate,
            || self.path(id.0),
            move |disk, fate| {
                let deed = || disk.store.allocate(id.0, mode, at, length);
                empty(reply, disk.judged(fate, true, deed));
            },
        );
    }

    fn lseek(
        &self,
        _: &Request,
        id: INodeNo,
        _: FileHandle,
        at: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match self.store.seek(id.0, at, whence) {
            Ok(found) => reply.offset(found),
            Err(error) => reply.error(error.into()),
        }
    }
}
