//! The node's undo journal, as the agent keeps it: entries written before anything is done, and taken back.
//!
//! The entries are the controller's, which also reads them (`gainsay heal`), so that there is one format and one meaning. The agent
//! adds what only the node knows, and makes each entry complete from the moment it exists: written
//! beside its place, and renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::protocol::Note;
use crate::shell::shell;

/// The journal, with the entries that this agent wrote and nobody has taken back.
pub(crate) struct Journal {
    folder: PathBuf,
    standing: Vec<Note>,
}

impl Journal {
    /// The journal in a folder of records.
    pub(crate) fn new(folder: &Path) -> Journal {
        Journal {
            folder: folder.join("undo"),
            standing: Vec::new(),
        }
    }

    /// Writes entries: all, or none.
    pub(crate) fn write(&mut self, notes: &[Note]) -> io::Result<()> {
        for (at, note) in notes.iter().enumerate() {
            if let Err(error) = self.write_one(note) {
                for written in &notes[..=at] {
                    self.forget(&written.id);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn write_one(&mut self, note: &Note) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut entry = note.entry.clone();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        entry.insert("created".to_owned(), now.to_string().into());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        entry.insert("boot_id".to_owned(), boot.trim().into());
        let survives = entry.get("survives_reboot") == Some(&Value::Bool(true));
        let (place, new) = (
            self.file(&note.id),
            self.folder.join(format!("{}.new", note.id)),
        );
        // Known from before it exists: an error below may have come after that.
        self.standing.push(note.clone());
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&entry)?)?;
        file.write_all(b"\n")?;
        if survives {
            file.sync_all()?;
        }
        fs::rename(&new, &place)?;
        if survives {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Takes an entry back: what it is about is undone.
    pub(crate) fn forget(&mut self, id: &str) {
        self.standing.retain(|note| note.id != id);
        // One that is not there is fine.
        let _ = fs::remove_file(self.folder.join(format!("{id}.new")));
        let _ = fs::remove_file(self.file(id));
    }

    /// Undoes all that stands, newest first, and takes back what is seen to be gone. Whether that is all.
    pub(crate) fn undo_all(&mut self) -> bool {
        for note in self.standing.clone().into_iter().rev() {
            let script = |name: &str| note.entry.get(name).and_then(Value::as_str).unwrap_or(":");
            if self.file(&note.id).exists() && !(runs(script("undo")) && runs(script("verify"))) {
                continue;
            }
            self.forget(&note.id);
        }
        let clean = self.standing.is_empty();
        if clean {
            let _ = fs::remove_dir(&self.folder);
        }
        clean
    }
}

/// Whether a script succeeds.
fn runs(script: &str) -> bool {
    let status = shell(script)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn note(id: &str, undo: &str, verify: &str) -> Note {
        let entry = json!({"id": id, "undo": undo, "verify": verify, "survives_reboot": true});
        Note {
            id: id.to_owned(),
            entry: entry.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn what_stands_is_undone_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let mark = mark.display();
        let mut journal = Journal::new(folder.path());
        let notes = [
            note("1", &format!("echo first >>{mark}"), "true"),
            note("2", &format!("echo second >>{mark}"), "false"),
            note("3", &format!("echo third >>{mark}"), "true"),
            note("4", &format!("echo fourth >>{mark}"), "true"),
        ];
        journal.write(&notes).unwrap();
        let text = fs::read_to_string(folder.path().join("undo/1.json")).unwrap();
        let entry: Value = serde_json::from_str(&text).unwrap();
        assert!(entry["boot_id"].as_str().unwrap().len() > 30);
        assert!(entry["created"].as_str().unwrap().ends_with('Z'));
        journal.forget("4");
        assert!(!journal.undo_all(), "the second still stands");
        assert_eq!(
            fs::read_to_string(folder.path().join("mark")).unwrap(),
            "third\nsecond\nfirst\n"
        );
        let left: Vec<_> = fs::read_dir(folder.path().join("undo")).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn all_entries_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path());
        journal.write(&[note("1", ":", ":")]).unwrap();
        let notes = [note("2", ":", ":"), note("no/where", ":", ":")];
        assert!(journal.write(&notes).is_err());
        let left: Vec<_> = fs::read_dir(folder.path().join("undo")).unwrap().collect();
        assert_eq!(left.len(), 1);
        assert!(journal.undo_all());
        assert!(!folder.path().join("undo").exists());
    }
}
