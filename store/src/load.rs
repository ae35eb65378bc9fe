//! Loading a history, whoever wrote it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::history::{History, HistoryError};
use crate::jsonl::{Events, Limits, Torn, read_events};

/// A place in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: u64,
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
    /// Its events make no history.
    #[error("{}: {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HistoryError,
    },
}

/// A history, and what had to be left out.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The history.
    pub history: History,
    /// The last line, if it was cut.
    pub torn: Option<Torn>,
}

impl Loaded {
    /// Pairs the events of a file.
    pub(crate) fn new(events: Events, path: &Path) -> Result<Loaded, LoadError> {
        let history = History::new(events.events).map_err(|source| LoadError::History {
            path: path.to_owned(),
            source,
        })?;
        Ok(Loaded {
            history,
            torn: events.torn,
        })
    }
}

/// Loads a `history.jsonl`.
///
/// # Errors
/// When it cannot be read, at the first line that is no event, or when invocations and completions do
/// not pair.
pub fn load_history(path: &Path) -> Result<Loaded, LoadError> {
    Loaded::new(read_events(path, Limits::default())?, path)
}
