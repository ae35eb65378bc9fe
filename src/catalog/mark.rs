//! Whether files are what they were when they were read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use store::RunFolder;

/// A file may change again within one tick of its file system's clock, and keep its size: what changed less than
/// this many nanoseconds before it was looked at may be something else the next time.
const TICK: i128 = 2_000_000_000;

/// What the folder of a run and the files that are read of it looked like. The folder itself changes whenever a file is made,
/// removed or replaced in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    folder: Look,
    /// `test.json`, `results.json`, `labels.json`, those that are there.
    files: [Option<Look>; 3],
    /// Whether all that was long enough ago to be told from any change since.
    settled: bool,
}

/// What one of them looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    changed: i64,
}

impl Look {
    fn of(path: &Path) -> Option<Look> {
        let metadata = path.symlink_metadata().ok()?;
        Some(Look {
            inode: metadata.ino(),
            size: metadata.size(),
            changed: changed(&metadata),
        })
    }
}

fn changed(metadata: &Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

impl Mark {
    /// The mark of a run as it is now, before it is read. `None` where its folder is not there any more.
    pub(super) fn of(run: &RunFolder) -> Option<Mark> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos() as i128);
        let folder = Look::of(run.path())?;
        let paths = [run.test_path(), run.results_path(), run.labels_path()];
        let files = paths.map(|path| Look::of(&path));
        let all = files.iter().flatten().chain([&folder]);
        let last = all.map(|look| look.changed).max().unwrap_or_default();
        Some(Mark {
            folder,
            files,
            settled: i128::from(last) + TICK < now,
        })
    }

    /// Whether what was read under this mark is what would be read under another one now.
    pub(super) fn still_is(&self, now: &Mark) -> bool {
        self.settled && self.folder == now.folder && self.files == now.files
    }
}
