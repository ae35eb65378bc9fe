//! Histories from elsewhere.
//!
//! [`load_any`] recognises a file by its content, reads it, and mends what would keep it from pairing;
//! what it did is in [`Loaded::notes`]. Our own histories it reads like [`load_history`], except that
//! it mends those too: a file of JSON lines may come from anyone.
//!
//! [`load_history`]: crate::load_history

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

pub mod edn;
mod jepsen;
mod json;
mod mend;
mod porcupine;

pub use jepsen::{events_of, write_edn};

use crate::history::History;
use crate::jsonl::{self, Events, Limits};
use crate::load::{LoadError, Loaded, Place};

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object a line: `history.jsonl`.
    JsonLines,
    /// One array of JSON objects, as elle-cli takes it.
    Json,
    /// Jepsen's EDN: maps, one after another or in one vector or list.
    Edn,
    /// The lines of a Jepsen log, `INFO  jepsen.util - 4 :invoke :read nil`.
    JepsenLog,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [
        Format::JsonLines,
        Format::Json,
        Format::Edn,
        Format::JepsenLog,
    ];

    /// The name that a person types: `jsonl`, `json`, `edn`, `jepsen-log`.
    pub fn name(self) -> &'static str {
        match self {
            Format::JsonLines => "jsonl",
            Format::Json => "json",
            Format::Edn => "edn",
            Format::JepsenLog => "jepsen-log",
        }
    }
}

/// What the content of a file does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// In Jepsen's EDN, clients' values are `[key value]`, of independent keys.
    pub keyed: bool,
}

/// Recognises a format by the beginning of a file. An empty history is in any format.
pub fn detect(beginning: &[u8]) -> Option<Format> {
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    if memchr::memmem::find(text, porcupine::MARKER.as_bytes()).is_some() {
        return Some(Format::JepsenLog);
    }
    let mut tokens = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace() && **byte != b',');
    match (tokens.next(), tokens.next(), tokens.next()) {
        (None, ..) | (Some(b'{'), Some(b'"'), _) => Some(Format::JsonLines),
        (Some(b'['), Some(b'{'), Some(b'"')) => Some(Format::Json),
        (Some(b'{'), Some(b':'), _) => Some(Format::Edn),
        (Some(b'['), Some(b'{' | b'#' | b';' | b'^' | b']'), _) => Some(Format::Edn),
        (Some(b'(' | b';' | b'#' | b'^'), ..) => Some(Format::Edn),
        _ => None,
    }
}

/// Bytes that are looked at to recognise a format.
const BEGINNING: u64 = 64 << 10;

/// Loads a history in a format, or in the one that it looks like.
///
/// # Errors
/// When the file cannot be read or recognised, or at the first thing in it that is no event.
pub fn load_any(
    path: &Path,
    format: Option<Format>,
    options: ImportOptions,
) -> Result<Loaded, LoadError> {
    let events = read_any(path, format, options)?;
    let (mended, notes) = mend::mend(events.events);
    let history = History::new(mended).map_err(|source| LoadError::History {
        path: path.to_owned(),
        source,
    })?;
    Ok(Loaded {
        history,
        torn: events.torn,
        notes,
    })
}

/// Reads the events of a history as they stand, for instance to [`lint`](crate::lint()) them.
///
/// # Errors
/// As [`load_any`], but for events that do not pair.
pub fn read_any(
    path: &Path,
    format: Option<Format>,
    options: ImportOptions,
) -> Result<Events, LoadError> {
    let io = |source| LoadError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    (&mut file)
        .take(BEGINNING)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    let format = format.or_else(|| detect(&bytes));
    let format = format.ok_or_else(|| LoadError::Unrecognised(path.to_owned()))?;
    if format == Format::JsonLines && file.rewind().is_ok() {
        return jsonl::read_events(path, Limits::default());
    }
    file.read_to_end(&mut bytes).map_err(io)?;
    read_bytes(&bytes, path, format, options)
}

fn read_bytes(
    bytes: &[u8],
    path: &Path,
    format: Format,
    options: ImportOptions,
) -> Result<Events, LoadError> {
    if format == Format::JsonLines {
        return jsonl::read_from(bytes, path, Limits::default());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| LoadError::Format {
        path: path.to_owned(),
        place: Place::of(bytes, error.valid_up_to()),
        message: "this is no UTF-8".to_owned(),
    })?;
    match format {
        Format::JsonLines => unreachable!("read above"),
        Format::Json => json::read(text, path),
        Format::Edn => jepsen::read(text, path, options),
        Format::JepsenLog => porcupine::read(text, path),
    }
}
