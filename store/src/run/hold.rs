//! Who writes into a run's folder.
//!
//! A lock of the kernel's on the folder itself: there is no file to be left behind, and it is gone with whoever held it, however
//! they ended.

use std::fs::{File, TryLockError};

use super::{RunError, RunFolder, io_error};

/// Says that this process writes into a run's folder, until it is dropped.
#[derive(Debug)]
pub struct RunHold {
    /// Locked.
    _folder: File,
}

impl RunFolder {
    /// Says that this process writes into the folder.
    ///
    /// # Errors
    /// [`RunError::Held`] when another one does, or this one already; or that the file system does not let the folder be locked.
    pub fn hold(&self) -> Result<RunHold, RunError> {
        let folder = File::open(self.path()).map_err(io_error("open", self.path()))?;
        match folder.try_lock() {
            Ok(()) => Ok(RunHold { _folder: folder }),
            Err(TryLockError::WouldBlock) => Err(RunError::Held(self.path().to_owned())),
            Err(TryLockError::Error(source)) => Err(io_error("lock", self.path())(source)),
        }
    }

    /// Whether some process [holds](RunFolder::hold) the folder: the run goes on, or is being checked.
    pub fn is_held(&self) -> bool {
        let Ok(folder) = File::open(self.path()) else {
            return false;
        };
        // Shared, so that two who ask do not see each other.
        matches!(folder.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_is_held_as_long_as_its_hold_lives() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "sim-register", &json!({})).unwrap();
        assert!(!run.is_held());
        let hold = run.hold().unwrap();
        assert!(run.is_held());
        assert!(matches!(run.hold(), Err(RunError::Held(_))));
        drop(hold);
        assert!(!run.is_held());
        run.hold().unwrap();
    }
}
