//! `results.json`, and those that came before it.

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    RunError, RunFolder, SAME_TIME_MAX, file_name, io_error, read_json, stamp_of, write_json,
};

impl RunFolder {
    /// Writes `results.json`.
    pub fn write_results(&self, results: &impl Serialize) -> Result<(), RunError> {
        write_json(&self.results_path(), results)
    }

    /// Reads `results.json`.
    pub fn read_results<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        read_json(&self.results_path())
    }

    /// Keeps the `results.json` that is there, under the name of the time when it was written, before another is. Says where;
    /// `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn keep_results(&self) -> Result<Option<PathBuf>, RunError> {
        let results = self.results_path();
        let written = match results.metadata().and_then(|metadata| metadata.modified()) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("look at", &results)(error)),
        };
        let stamp = stamp_of(Timestamp::try_from(written).unwrap_or(Timestamp::UNIX_EPOCH));
        for turn in 1..=SAME_TIME_MAX {
            let name = match turn {
                1 => format!("{BEFORE}{stamp}.json"),
                turn => format!("{BEFORE}{stamp}-{turn}.json"),
            };
            let kept = self.path().join(name);
            if kept.exists() {
                continue;
            }
            // The same file under another name, where the file system knows that: there is no moment without results.
            let linked = fs::hard_link(&results, &kept);
            let made = linked.or_else(|_| fs::copy(&results, &kept).map(drop));
            made.map_err(io_error("keep the earlier results as", &kept))?;
            return Ok(Some(kept));
        }
        let taken = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(io_error("keep the earlier", &results)(taken))
    }

    /// The results that were kept, oldest first.
    pub fn earlier_results(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).into_iter().flatten().flatten();
        let mut kept: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| {
                let name = file_name(path);
                name.starts_with(BEFORE) && name.ends_with(".json")
            })
            .collect();
        kept.sort();
        kept
    }
}

/// What the names of earlier results begin with.
const BEFORE: &str = "results-";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn earlier_results_are_never_lost() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "sim-register", &json!({})).unwrap();
        assert_eq!(run.keep_results().unwrap(), None);
        for n in 0..5 {
            run.keep_results().unwrap();
            run.write_results(&json!({"valid": n})).unwrap();
        }
        assert_eq!(run.read_results::<Value>().unwrap()["valid"], 4);
        let mut all: Vec<String> = run
            .earlier_results()
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        all.sort();
        let all: Vec<&str> = all.iter().map(|text| text.trim()).collect();
        let expected: Vec<String> = (0..4)
            .map(|n| format!("{{\n  \"valid\": {n}\n}}"))
            .collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn results_of_any_size_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "sim-register", &json!({})).unwrap();
        let file = fs::File::create(run.path().join("results.json")).unwrap();
        file.set_len(300 << 20).unwrap();
        let error = run.read_results::<Value>().unwrap_err().to_string();
        assert!(error.contains("file too large"), "{error}");
    }
}
