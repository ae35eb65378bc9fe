//! The files beneath, as the operations on them see them, and what of them is not synced.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use nix::fcntl::RenameFlags;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statvfs::{Statvfs, fstatvfs};
use nix::sys::time::TimeSpec;

use super::content::Unsynced;
use super::control::{Lost, Survival};
use super::dice::Dice;
use super::entries::{Change, Entries, Place};
use super::node::{self, Key, Node};

/// The number of the root in the kernel's requests.
pub(crate) const ROOT: u64 = 1;

/// The most bytes of the past that are kept of one file. One whose next write would exceed it is written back.
pub(crate) const KEPT_MOST: u64 = 64 << 20;

/// A folder with all in it.
pub(crate) struct Store {
    /// Operations hold it together, a cut alone.
    gate: RwLock<()>,
    table: RwLock<Table>,
    entries: Mutex<Entries>,
    /// Files with content that is not synced.
    unsynced: Mutex<BTreeMap<u64, Arc<Node>>>,
    /// How often all pages that the kernel may have became wrong.
    stale: AtomicU64,
    device: u64,
    next: AtomicU64,
}

/// What the kernel knows.
#[derive(Default)]
struct Table {
    /// With how often the kernel has been told of each.
    known: HashMap<u64, (Arc<Node>, u64)>,
    /// All that anybody holds.
    held: HashMap<Key, Weak<Node>>,
}

/// What is found under a name.
pub(crate) struct Found {
    pub(crate) node: Arc<Node>,
    pub(crate) stat: FileStat,
}

/// What `setattr` may change.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) mode: Option<u32>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) accessed: Option<TimeSpec>,
    pub(crate) modified: Option<TimeSpec>,
}

/// Who makes something.
#[derive(Clone, Copy)]
pub(crate) struct Maker {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// What is made.
#[derive(Clone, Copy)]
pub(crate) enum Made<'a> {
    File(Mode),
    Folder(Mode),
    Symlink(&'a OsStr),
    Special(SFlag, Mode, u64),
}

fn error<T>(number: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(number))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(stat: &FileStat) -> Key {
    (stat.st_dev, stat.st_ino)
}

impl Store {
    /// The folder at a path, as it is beneath whatever is put over it later.
    pub(crate) fn open(path: &Path) -> io::Result<Store> {
        let handle = node::open_root(path)?;
        let stat = fstat(&handle)?;
        let root = Arc::new(Node::new(ROOT, handle, &stat));
        let mut table = Table::default();
        table.held.insert(key(&stat), Arc::downgrade(&root));
        table.known.insert(ROOT, (root, 1));
        Ok(Store {
            gate: RwLock::new(()),
            table: RwLock::new(table),
            entries: Mutex::default(),
            unsynced: Mutex::default(),
            stale: AtomicU64::new(0),
            device: stat.st_dev,
            next: AtomicU64::new(1 << 63),
        })
    }

    fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the kernel means by a number.
    pub(crate) fn node(&self, id: u64) -> io::Result<Arc<Node>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        match table.known.get(&id) {
            Some((node, _)) => Ok(Arc::clone(node)),
            None => error(libc::ESTALE),
        }
    }

    /// The numbers of all that the kernel knows.
    pub(crate) fn known(&self) -> Vec<u64> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.known.keys().copied().collect()
    }

    /// The one node of a thing that was opened.
    fn node_of(&self, handle: OwnedFd) -> io::Result<Found> {
        let stat = fstat(&handle)?;
        let mut table = self.table();
        let held = table.held.get(&key(&stat)).and_then(Weak::upgrade);
        let node = held.unwrap_or_else(|| {
            // Its own number, where that is nobody else's.
            let own = stat.st_dev == self.device && stat.st_ino != ROOT;
            let id = match own && !table.known.contains_key(&stat.st_ino) {
                true => stat.st_ino,
                false => self.next.fetch_add(1, Ordering::Relaxed),
            };
            let node = Arc::new(Node::new(id, handle, &stat));
            table.held.insert(key(&stat), Arc::downgrade(&node));
            node
        });
        Ok(Found { node, stat })
    }

    fn find(&self, folder: &Node, name: &OsStr) -> io::Result<Found> {
        self.node_of(node::open_in(folder, name)?)
    }

    /// The kernel is told of it once more.
    fn tell(&self, found: Found) -> Found {
        let mut table = self.table();
        let node = &found.node;
        let known = (table.known.entry(node.id)).or_insert_with(|| (Arc::clone(node), 0));
        known.1 += 1;
        found
    }

    pub(crate) fn lookup(&self, folder: u64, name: &OsStr) -> io::Result<Found> {
        let _in = self.enter();
        let folder = self.node(folder)?;
        Ok(self.tell(self.find(&folder, name)?))
    }

    /// The kernel forgets that it was told so often.
    pub(crate) fn forget(&self, id: u64, times: u64) {
        let mut table = self.table();
        let Some((node, told)) = table.known.get_mut(&id) else {
            return;
        };
        *told = told.saturating_sub(times);
        if *told == 0 && id != ROOT {
            let key = node.stat().map(|stat| key(&stat));
            let gone = table.known.remove(&id);
            // Something that is not durable may still hold it.
            if let (Some((node, _)), Ok(key)) = (gone, key)
                && Arc::strong_count(&node) == 1
            {
                table.held.remove(&key);
            }
        }
    }

    pub(crate) fn stat(&self, id: u64) -> io::Result<FileStat> {
        let _in = self.enter();
        self.node(id)?.stat()
    }

    pub(crate) fn change(&self, id: u64, wanted: Wanted) -> io::Result<FileStat> {
        let _in = self.enter();
        let node = self.node(id)?;
        let before = node.stat()?;
        if wanted.mode.or(wanted.user).or(wanted.group).is_some() {
            let mut entries = locked(&self.entries);
            if wanted.user.or(wanted.group).is_some() {
                node::own(node.fd(), wanted.user, wanted.group)?;
            }
            if let Some(mode) = wanted.mode {
                node.chmod(Mode::from_bits_truncate(mode & 0o7777))?;
            }
            entries.push(Change::Attributes {
                node: Arc::clone(&node),
                user: before.st_uid,
                group: before.st_gid,
                mode: before.st_mode,
            });
        }
        if let Some(size) = wanted.size {
            self.truncate(&node, size)?;
        }
        if wanted.accessed.or(wanted.modified).is_some() {
            let same = TimeSpec::new(0, libc::UTIME_OMIT);
            node.set_times(
                &wanted.accessed.unwrap_or(same),
                &wanted.modified.unwrap_or(same),
            )?;
        }
        node.stat()
    }

    fn truncate(&self, node: &Arc<Node>, size: u64) -> io::Result<()> {
        let keep = |unsynced: &mut Unsynced, file: &File| unsynced.before_length(file, size);
        self.changing(node, (size, u64::MAX), keep, |file| file.set_len(size))
    }

    /// Changes a range of a file, having kept what it was. Where that would be too much, what is not synced is written back first;
    /// and where it still is, the change is durable at once.
    fn changing(
        &self,
        node: &Arc<Node>,
        (from, to): (u64, u64),
        keep: impl FnOnce(&mut Unsynced, &File) -> io::Result<()>,
        change: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = node.file()?;
        // Held until it is changed, so that no sync comes in between.
        let mut unsynced = node.unsynced();
        if !unsynced.would_fit(file, from, to, KEPT_MOST)? {
            file.sync_data()?;
            unsynced.synced(file)?;
            if !unsynced.would_fit(file, from, to, KEPT_MOST)? {
                change(file)?;
                return file.sync_data();
            }
        }
        let was_clean = unsynced.is_clean();
        keep(&mut unsynced, file)?;
        if was_clean {
            locked(&self.unsynced).insert(node.id, Arc::clone(node));
        }
        change(file)
    }

    /// Opens a file. Whether the pages of it that the kernel may have are right.
    pub(crate) fn open_file(&self, id: u64) -> io::Result<bool> {
        let _in = self.enter();
        let node = self.node(id)?;
        node.file()?;
        Ok(node.fresh(self.stale.load(Ordering::Acquire)))
    }

    pub(crate) fn read(&self, id: u64, at: u64, size: usize) -> io::Result<Vec<u8>> {
        let _in = self.enter();
        let node = self.node(id)?;
        let mut bytes = vec![0; size];
        let mut done = 0;
        while done < size {
            match node.file()?.read_at(&mut bytes[done..], at + done as u64)? {
                0 => break,
                count => done += count,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    pub(crate) fn write(&self, id: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        let _in = self.enter();
        let node = self.node(id)?;
        let end = at + bytes.len() as u64;
        let keep = |unsynced: &mut Unsynced, file: &File| unsynced.before_write(file, at, end);
        self.changing(&node, (at, end), keep, |file| file.write_all_at(bytes, at))
    }

    pub(crate) fn allocate(&self, id: u64, mode: i32, at: u64, length: u64) -> io::Result<()> {
        let _in = self.enter();
        let node = self.node(id)?;
        let known =
            libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        if mode & !known != 0 {
            return error(libc::EOPNOTSUPP);
        }
        // Only holes and zeros change what is there; what is longer afterwards is not durably so yet.
        let end = at.saturating_add(length);
        let from = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => end,
            _ => at,
        };
        let keep = |unsynced: &mut Unsynced, file: &File| unsynced.before_write(file, from, end);
        let allocate = |file: &File| node::allocate(file, mode, at, length);
        self.changing(&node, (from, end), keep, allocate)
    }

    pub(crate) fn seek(&self, id: u64, at: i64, whence: i32) -> io::Result<i64> {
        let _in = self.enter();
        node::seek(self.node(id)?.file()?, at, whence)
    }

    /// Whether a write needs more room than the file has.
    pub(crate) fn grows(&self, id: u64, end: u64) -> bool {
        self.stat(id).is_ok_and(|stat| end > stat.st_size as u64)
    }

    /// Makes a file durable, with the operations on entries that go with it.
    pub(crate) fn sync(&self, id: u64, data_only: bool) -> io::Result<()> {
        let _in = self.enter();
        let node = self.node(id)?;
        if node.is_folder() {
            // A handle that is only a path cannot be synced.
            File::open(node.proc_path())?.sync_all()?;
            locked(&self.entries).durable(node.touched.load(Ordering::Relaxed));
            return Ok(());
        }
        let file = node.file()?;
        let mut unsynced = node.unsynced();
        match data_only {
            true => file.sync_data()?,
            false => file.sync_all()?,
        }
        unsynced.synced(file)?;
        if unsynced.is_clean() {
            locked(&self.unsynced).remove(&id);
        }
        drop(unsynced);
        let mark = if data_only { &node.born } else { &node.touched };
        locked(&self.entries).durable(mark.load(Ordering::Relaxed));
        Ok(())
    }

    /// A sync of a file failed.
    pub(crate) fn give_up(&self, id: u64) -> io::Result<()> {
        let _in = self.enter();
        let node = self.node(id)?;
        match node.is_file() {
            true => node.unsynced().given_up(node.file()?),
            false => Ok(()),
        }
    }

    /// Makes something under a name.
    pub(crate) fn make(
        &self,
        folder: u64,
        name: &OsStr,
        made: Made<'_>,
        maker: Maker,
    ) -> io::Result<Found> {
        let _in = self.enter();
        let folder = self.node(folder)?;
        let mut entries = locked(&self.entries);
        match made {
            Made::File(mode) => drop(node::make_file(&folder, name, mode)?),
            Made::Folder(mode) => node::make_folder(&folder, name, mode)?,
            Made::Symlink(target) => node::make_symlink(&folder, name, target)?,
            Made::Special(kind, mode, device) => {
                node::make_special(&folder, name, kind, mode, device)?;
            }
        }
        let mut found = self.find(&folder, name)?;
        let mark = entries.push(Change::Added(
            (Arc::clone(&folder), name.to_owned()),
            Arc::clone(&found.node),
        ));
        found.node.born.store(mark, Ordering::Relaxed);
        // It belongs to who asked for it; its group may be that of the folder.
        let inherits = folder.stat()?.st_mode & libc::S_ISGID != 0;
        let group = (!inherits).then_some(maker.group);
        node::own(found.node.fd(), Some(maker.user), group)?;
        found.stat = found.node.stat()?;
        Ok(self.tell(found))
    }

    pub(crate) fn link(&self, id: u64, folder: u64, name: &OsStr) -> io::Result<Found> {
        let _in = self.enter();
        let (node, folder) = (self.node(id)?, self.node(folder)?);
        let mut entries = locked(&self.entries);
        node::link(&node, &folder, name)?;
        entries.push(Change::Added((folder, name.to_owned()), Arc::clone(&node)));
        let stat = node.stat()?;
        Ok(self.tell(Found { node, stat }))
    }

    pub(crate) fn remove(&self, folder: u64, name: &OsStr) -> io::Result<()> {
        let _in = self.enter();
        let folder = self.node(folder)?;
        let mut entries = locked(&self.entries);
        let found = self.find(&folder, name)?.node;
        node::remove(&folder, name, found.is_folder())?;
        entries.push(Change::Removed((folder, name.to_owned()), found));
        Ok(())
    }

    pub(crate) fn rename(
        &self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        flags: RenameFlags,
    ) -> io::Result<()> {
        let _in = self.enter();
        if flags.contains(RenameFlags::RENAME_WHITEOUT) {
            return error(libc::EINVAL);
        }
        let place = |(folder, name): (u64, &OsStr)| -> io::Result<Place> {
            Ok((self.node(folder)?, name.to_owned()))
        };
        let (from, to) = (place(from)?, place(to)?);
        let mut entries = locked(&self.entries);
        let node = self.find(&from.0, &from.1)?.node;
        let replaced = self.find(&to.0, &to.1).ok().map(|found| found.node);
        node::rename((&from.0, &from.1), (&to.0, &to.1), flags)?;
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            entries.push(Change::Exchanged(from, to));
        } else if replaced
            .as_ref()
            .is_none_or(|replaced| replaced.id != node.id)
        {
            entries.push(Change::Renamed {
                from,
                to,
                node,
                replaced,
            });
        }
        Ok(())
    }

    pub(crate) fn target(&self, id: u64) -> io::Result<OsString> {
        let _in = self.enter();
        node::target(&*self.node(id)?)
    }

    /// The entries of a folder, the two dots included.
    pub(crate) fn list(&self, id: u64) -> io::Result<Vec<(u64, SFlag, OsString)>> {
        let _in = self.enter();
        let mut folder = self.node(id)?.folder()?;
        let mut list = Vec::new();
        for entry in folder.iter() {
            let entry = entry?;
            let kind = match entry.file_type() {
                Some(nix::dir::Type::Directory) => SFlag::S_IFDIR,
                Some(nix::dir::Type::Symlink) => SFlag::S_IFLNK,
                Some(nix::dir::Type::Fifo) => SFlag::S_IFIFO,
                Some(nix::dir::Type::Socket) => SFlag::S_IFSOCK,
                Some(nix::dir::Type::CharacterDevice) => SFlag::S_IFCHR,
                Some(nix::dir::Type::BlockDevice) => SFlag::S_IFBLK,
                Some(nix::dir::Type::File) | None => SFlag::S_IFREG,
            };
            list.push((entry.ino(), kind, node::name_of(&entry)));
        }
        Ok(list)
    }

    pub(crate) fn attribute(&self, id: u64, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
        let _in = self.enter();
        node::attribute(&*self.node(id)?, name)
    }

    pub(crate) fn attributes(&self, id: u64) -> io::Result<Vec<u8>> {
        let _in = self.enter();
        node::attributes(&*self.node(id)?)
    }

    pub(crate) fn set_attribute(
        &self,
        id: u64,
        name: &OsStr,
        value: Option<&[u8]>,
        flags: i32,
    ) -> io::Result<()> {
        let _in = self.enter();
        let node = self.node(id)?;
        let mut entries = locked(&self.entries);
        let before = node::attribute(&node, name)?;
        node::set_attribute(&node, name, value, flags)?;
        entries.push(Change::Extended {
            node,
            name: name.to_owned(),
            value: before,
        });
        Ok(())
    }

    pub(crate) fn room(&self) -> io::Result<Statvfs> {
        Ok(fstatvfs(self.node(ROOT)?.fd())?)
    }

    /// How many files and operations on entries are not durable.
    pub(crate) fn not_durable(&self) -> (u64, u64) {
        let files = locked(&self.unsynced).len() as u64;
        (files, locked(&self.entries).len())
    }

    /// Loses what is not synced. Nobody else does anything meanwhile.
    pub(crate) fn cut(&self, survival: Survival, seed: u64) -> Lost {
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.stale.fetch_add(1, Ordering::AcqRel);
        let (mut dice, mut lost) = (Dice::new(seed), Lost::default());
        let unsynced = std::mem::take(&mut *locked(&self.unsynced));
        for node in unsynced.into_values() {
            let restored = node.file().and_then(|file| {
                node.unsynced()
                    .restore(file, survival, &mut dice, &mut lost)
            });
            if let Err(error) = restored {
                let path = node.path().unwrap_or_default();
                lost.errors.push(format!("{}: {error}", path.display()));
            }
        }
        locked(&self.entries).cut(survival, &mut dice, &mut lost);
        // What was made anew is another thing beneath.
        let mut table = self.table();
        let known = table.known.values();
        let held =
            known.filter_map(|(node, _)| Some((key(&node.stat().ok()?), Arc::downgrade(node))));
        table.held = held.collect();
        lost
    }
}
