//! Why a run ended without a verdict, where it could still say so.

use std::fs::File;
use std::io::{Read, Write};

use super::{RunError, RunFolder, write_whole};

/// The most of it that is read, in bytes.
const LONGEST: u64 = 16 << 10;

impl RunFolder {
    /// Writes down why there will be no verdict.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_failure(&self, why: &str) -> Result<(), RunError> {
        write_whole(&self.failure_path(), |out| out.write_all(why.as_bytes()))
    }

    /// Why there is no verdict, if that was written down.
    pub fn failure(&self) -> Option<String> {
        let mut why = Vec::new();
        let file = File::open(self.failure_path()).ok()?;
        file.take(LONGEST).read_to_end(&mut why).ok()?;
        Some(String::from_utf8_lossy(&why).into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failure_is_kept_and_a_long_one_is_cut() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "sim-register", &json!({})).unwrap();
        assert_eq!(run.failure(), None);
        run.write_failure("n1: no route").unwrap();
        assert_eq!(run.failure().unwrap(), "n1: no route");
        run.write_failure(&"x".repeat(100_000)).unwrap();
        assert_eq!(run.failure().unwrap().len() as u64, LONGEST);
    }
}
