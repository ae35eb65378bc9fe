//! TOML files that users write, with the places of what stands in them.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use toml::Spanned;
use toml::de::DeTable;

/// A file that was read.
pub(super) struct TomlFile {
    path: PathBuf,
    text: String,
}

impl TomlFile {
    /// Reads it.
    pub(super) fn read(path: &Path) -> io::Result<TomlFile> {
        let text = std::fs::read_to_string(path)?;
        Ok(TomlFile {
            path: path.to_owned(),
            text,
        })
    }

    /// The file and the line of a byte, as `gainsay.toml:3`.
    pub(super) fn place(&self, at: usize) -> String {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }

    /// What it holds.
    ///
    /// # Errors
    /// The first place that is not TOML.
    pub(super) fn table(&self) -> Result<Spanned<DeTable<'_>>> {
        DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            anyhow!("{}: not valid TOML: {}", self.place(at), error.message())
        })
    }
}
