//! Writing files and links so that nobody ever sees half of one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RunError, file_name, io_error};

/// Points a link at a target, in one step for whoever looks.
pub(super) fn link(link: &Path, target: &Path) -> Result<(), RunError> {
    let fresh = beside(link);
    let made = symlink(target, &fresh).and_then(|()| fs::rename(&fresh, link));
    made.map_err(|error| {
        let _ = fs::remove_file(&fresh);
        io_error("update the link", link)(error)
    })
}

/// A path in the same folder that nobody else uses, not even a process that died and left it.
pub(super) fn beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = file_name(path);
    let (process, now) = (std::process::id(), Timestamp::now().as_nanosecond());
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{process}.{now}.{next}"))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    write_whole(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// Writes a file so that it is never seen half: beside its place, synced, renamed.
///
/// # Errors
/// When it cannot be written; what was there is then still there.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), RunError> {
    let fresh = beside(path);
    let write_fresh = || {
        let mut out = BufWriter::new(File::create_new(&fresh)?);
        write(&mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&fresh, path)
    };
    write_fresh().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        io_error("write", path)(error)
    })
}

/// Larger than this is no file of ours: specifications and results are bounded, and are read as a whole.
const LARGEST: u64 = 256 << 20;

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let read = || {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        match file.take(LARGEST + 1).read_to_end(&mut bytes)? as u64 {
            length if length > LARGEST => Err(io::ErrorKind::FileTooLarge.into()),
            _ => Ok(bytes),
        }
    };
    let bytes = read().map_err(io_error("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| RunError::Json {
        path: path.to_owned(),
        source,
    })
}
