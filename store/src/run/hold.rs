//! Who writes into a run's folder.
//!
//! A lock of the kernel's on the folder itself: there is no file to be left behind, and it is gone with whoever held it, however
//! they ended.

use std::fs::{File, TryLockError};
use std::thread::sleep;
use std::time::Duration;

use super::{RunError, RunFolder, io_error};

/// How often a folder that somebody has locked is tried.
const ATTEMPTS: u32 = 20;
/// How long between two attempts.
const PAUSE: Duration = Duration::from_millis(2);

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
        for attempt in 1.. {
            match folder.try_lock() {
                Ok(()) => break,
                // It may be someone who only asks whether it is held.
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(RunError::Held(self.path().to_owned()));
                }
                Err(TryLockError::Error(source)) => {
                    return Err(io_error("lock", self.path())(source));
                }
            }
        }
        Ok(RunHold { _folder: folder })
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

    #[test]
    fn whoever_asks_is_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "sim-register", &json!({})).unwrap();
        let asks = File::open(run.path()).unwrap();
        asks.try_lock_shared().unwrap();
        let gone = std::thread::spawn(move || {
            sleep(PAUSE * 3);
            drop(asks);
        });
        run.hold().unwrap();
        gone.join().unwrap();
    }
}
