//! Loading a history, whoever wrote it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::history::{History, HistoryError};
use crate::import::Format;
use crate::jsonl::{Limits, Torn, read_events};

/// A place in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: u64,
}

impl Place {
    /// The place behind a text that begins here.
    pub(crate) fn after(self, text: &[u8]) -> Place {
        let lines = memchr::memchr_iter(b'\n', text).count() as u64;
        Place {
            line: self.line + lines,
            column: match memchr::memrchr(b'\n', text) {
                Some(end) => (text.len() - end) as u64,
                None => self.column + text.len() as u64,
            },
        }
    }
}

/// Why a history could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What it holds is no event.
    #[error("{}:{}:{}: {message}", path.display(), place.line, place.column)]
    Format {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// It looks like no format that is known.
    #[error(
        "{}: not recognised as a history; name its format with --format (one of {})",
        .0.display(),
        Format::ALL.map(Format::name).join(", ")
    )]
    Unrecognised(PathBuf),
    /// Its events make no history.
    #[error("{}: {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HistoryError,
    },
}

impl LoadError {
    /// That a file cannot be read.
    pub(crate) fn io(path: &Path, source: io::Error) -> LoadError {
        LoadError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// A history, and what had to be left out.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The history.
    pub history: History,
    /// The last line, if it was cut.
    pub torn: Option<Torn>,
    /// What was mended to make it pair, a sentence each, for a person.
    pub notes: Vec<String>,
    /// How many mistakes a [`Linter`](crate::Linter) finds in it, as it was before. Nobody looks for them in a history of ours.
    pub findings: u64,
}

/// Loads a `history.jsonl`.
///
/// # Errors
/// When it cannot be read, at the first line that is no event, or when invocations and completions do
/// not pair.
pub fn load_history(path: &Path) -> Result<Loaded, LoadError> {
    let events = read_events(path, Limits::default())?;
    let history = History::new(events.events).map_err(|source| LoadError::History {
        path: path.to_owned(),
        source,
    })?;
    Ok(Loaded {
        history,
        torn: events.torn,
        notes: Vec::new(),
        findings: 0,
    })
}
