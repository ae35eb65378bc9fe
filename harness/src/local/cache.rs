//! The cache of base systems and package layers, and the place of running clusters' disks.
//!
//! ```text
//! <cache>/lock               held while something is built
//! <cache>/building/          what is being built; what is found there under the lock is rubbish
//! <cache>/base/<key>/        a base system: root/ for the nodes, apt/ to fetch more packages with
//! <cache>/layers/<key>/      packages for offline installation: root/ goes over a base's root/
//! <cache>/packages/<key>/    packages for nodes that cannot get them themselves
//! <cache>/disks/<key>/       a disk image of a base and a layer, for nodes with kernels of their own
//! <cache>/clusters/<id>/     a running cluster: keys, and for each node what it wrote
//! ```
//!
//! Entries are immutable and named by a fingerprint of their recipe, so running clusters can share
//! them, and a changed recipe gets a new entry. They appear whole, by renaming.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Progress;
use super::error::{Doing, LocalError};

/// A cache directory.
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens a cache, made if it does not exist.
    pub(super) fn open(dir: &Path) -> Result<Cache, LocalError> {
        let doing = || format!("making the cache {}", dir.display());
        fs::create_dir_all(dir).doing(doing)?;
        let dir = dir.canonicalize().doing(doing)?;
        if !dir.to_string_lossy().bytes().all(plain) {
            // The path goes into apt's configuration, which has no way to quote one.
            let message = "its path has characters other than letters, digits and /._+~@-";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message)).doing(doing);
        }
        for (name, mode) in [
            ("base", 0o755),
            ("layers", 0o755),
            ("packages", 0o755),
            ("disks", 0o755),
            ("clusters", 0o700),
        ] {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(mode)
                .create(dir.join(name))
                .doing(doing)?;
        }
        Ok(Cache { dir })
    }

    /// Its absolute path.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Finds the entry of a recipe, or builds it: `build` fills an empty directory, which then
    /// becomes the entry. Returns the entry's path relative to the cache.
    pub(super) fn obtain(
        &self,
        kind: &str,
        label: &str,
        recipe: &str,
        progress: Progress<'_>,
        build: impl FnOnce(&Path, Progress<'_>) -> Result<(), LocalError>,
    ) -> Result<PathBuf, LocalError> {
        let entry = Path::new(kind).join(format!("{label}-{:016x}", fingerprint(recipe)));
        let path = self.dir.join(&entry);
        if path.exists() {
            return Ok(entry);
        }
        let _lock = self.lock(progress)?;
        if path.exists() {
            return Ok(entry);
        }
        let building = self.dir.join("building");
        remove_tree(&building)?;
        let doing = || format!("building {}", path.display());
        fs::create_dir(&building).doing(doing)?;
        fs::set_permissions(&building, Permissions::from_mode(0o755)).doing(doing)?;
        let built = build(&building, progress).and_then(|()| {
            fs::write(building.join("recipe"), recipe).doing(doing)?;
            // After a power cut the entry must not be there with some of its files empty.
            sync_file_system(&building).doing(doing)?;
            fs::rename(&building, &path).doing(doing)
        });
        if built.is_err() {
            // The build's own error says more; the next build removes what this cannot.
            let _ = remove_tree(&building);
        }
        built.map(|()| entry)
    }

    /// Two builds at once would do the same work twice, and in the same place.
    fn lock(&self, progress: Progress<'_>) -> Result<File, LocalError> {
        let path = self.dir.join("lock");
        let doing = || format!("locking {}", path.display());
        let file = File::create(&path).doing(doing)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // Its builds have time limits, so this ends.
                progress("another controller is building nodes' files; waiting for it");
                file.lock().doing(doing)?;
            }
            Err(TryLockError::Error(error)) => return Err(error).doing(doing),
        }
        Ok(file)
    }
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._+~@-".contains(&byte)
}

/// Removes a directory tree; one that is not there counts as removed.
pub(super) fn remove_tree(path: &Path) -> Result<(), LocalError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.doing(|| format!("removing {}", path.display())),
    }
}

/// Makes a directory tree readable to everybody, as parts of a root file system are, whatever the
/// umask of who runs the controller. Only for trees without programs and links.
pub(super) fn open_to_all(path: &Path) -> io::Result<()> {
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let is_dir = fs::symlink_metadata(&path)?.is_dir();
        fs::set_permissions(
            &path,
            Permissions::from_mode(if is_dir { 0o755 } else { 0o644 }),
        )?;
        if is_dir {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

fn sync_file_system(dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    // SAFETY: syncfs(2) takes a descriptor, which is open until `dir` is dropped.
    match unsafe { libc::syncfs(dir.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits: stable across versions of everything, as a name on disk must
/// be, which the standard library's hashers do not promise.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_fingerprints() {
        // From the reference test vectors of FNV-1a.
        assert_eq!(fingerprint(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn built_once_and_by_recipe() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let mut builds = 0;
        let mut obtain = |recipe: &str| {
            let build = |dir: &Path, _: Progress<'_>| {
                builds += 1;
                fs::write(dir.join("file"), recipe).doing(|| "test")
            };
            cache
                .obtain("base", "x", recipe, &mut |_| {}, build)
                .unwrap()
        };
        let first = obtain("one");
        assert_eq!(obtain("one"), first);
        assert_ne!(obtain("two"), first);
        assert_eq!(builds, 2);
        assert_eq!(
            fs::read(dir.path().join(first).join("file")).unwrap(),
            b"one"
        );
    }

    #[test]
    fn a_broken_build_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        // As a controller leaves it that is killed in mid-build.
        fs::create_dir(dir.path().join("building")).unwrap();
        fs::write(dir.path().join("building/rubbish"), "").unwrap();
        let failing = |build: &Path, _: Progress<'_>| {
            assert_eq!(fs::read_dir(build).unwrap().count(), 0);
            fs::write(build.join("partial"), "").unwrap();
            Err(LocalError::Start("no".into()))
        };
        assert!(
            cache
                .obtain("base", "x", "r", &mut |_| {}, failing)
                .is_err()
        );
        assert!(!dir.path().join("building").exists());
        assert_eq!(fs::read_dir(dir.path().join("base")).unwrap().count(), 0);
    }

    #[test]
    fn trees_are_opened_to_all() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&inner)
            .unwrap();
        fs::write(inner.join("file"), "").unwrap();
        fs::set_permissions(inner.join("file"), Permissions::from_mode(0o600)).unwrap();
        open_to_all(dir.path()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&inner), 0o755);
        assert_eq!(mode(&inner.join("file")), 0o644);
    }

    #[test]
    fn paths_that_apt_cannot_be_told_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Cache::open(&dir.path().join("with space")).is_err());
    }
}
