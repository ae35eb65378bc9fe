//! Programs and archives of the user's own.

use std::fmt;
use std::path::PathBuf;

use super::{Source, here, sum};

/// A file on this machine that `--version` names, and what names its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// Where it is.
    pub file: PathBuf,
    /// The first digits of its sum: `file-ba7816bf8f01`. So another file is another version.
    pub name: String,
}

impl OwnFile {
    /// Reads what the user wrote, if it is a path: it has a slash in it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(text: &str) -> Result<Option<OwnFile>, String> {
        if !text.contains('/') {
            return Ok(None);
        }
        let file = PathBuf::from(text);
        match sum(&file) {
            Ok(sum) => Ok(Some(OwnFile {
                file,
                name: format!("file-{}", &sum[..12]),
            })),
            Err(error) => Err(here("reading", &file, error).to_string()),
        }
    }

    /// As where something comes from.
    pub fn source(&self) -> Source {
        Source::File(self.file.clone())
    }
}

impl fmt::Display for OwnFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())
    }
}
