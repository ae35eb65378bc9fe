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
mod plume;
mod porcupine;

pub use jepsen::{events_of, write_edn};

use crate::event::Event;
use crate::history::History;
use crate::jsonl::{self, Events, Limits, Torn};
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
    /// Lines `r(key,value,session,transaction)` and `w(…)` of register transactions, as Plume and AWDIT take them.
    Plume,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 5] = [
        Format::JsonLines,
        Format::Json,
        Format::Edn,
        Format::JepsenLog,
        Format::Plume,
    ];

    /// The name that a person types: `jsonl`, `json`, `edn`, `jepsen-log`, `plume`.
    pub fn name(self) -> &'static str {
        match self {
            Format::JsonLines => "jsonl",
            Format::Json => "json",
            Format::Edn => "edn",
            Format::JepsenLog => "jepsen-log",
            Format::Plume => "plume",
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
    let text = beginning.strip_prefix(BYTE_ORDER_MARK).unwrap_or(beginning);
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
        (Some(b'r' | b'w'), Some(b'('), Some(b'-' | b'0'..=b'9')) => Some(Format::Plume),
        _ => None,
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes that are looked at to recognise a format.
const BEGINNING: usize = 64 << 10;

/// The format of a file, as its beginning shows it.
///
/// # Errors
/// When the file cannot be read or recognised.
pub fn format_of(path: &Path) -> Result<Format, LoadError> {
    Opened::new(path, None).map(|opened| opened.format)
}

/// Loads a history in a format, or in the one that it looks like.
///
/// # Errors
/// When the file cannot be read or recognised, or at the first thing in it that is no event.
pub fn load_any(
    path: &Path,
    format: Option<Format>,
    options: ImportOptions,
) -> Result<Loaded, LoadError> {
    pair(read_any(path, format, options)?, path)
}

/// Loads a history from memory, as [`load_any`] does from a file. `name` stands for it in errors.
///
/// # Errors
/// As [`load_any`].
pub fn load_bytes(
    bytes: &[u8],
    name: &Path,
    format: Option<Format>,
    options: ImportOptions,
) -> Result<Loaded, LoadError> {
    let format = recognise(bytes, name, format)?;
    pair(read_bytes(bytes, name, format, options)?, name)
}

fn pair(events: Events, path: &Path) -> Result<Loaded, LoadError> {
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

fn recognise(bytes: &[u8], path: &Path, format: Option<Format>) -> Result<Format, LoadError> {
    let beginning = &bytes[..bytes.len().min(BEGINNING)];
    let format = format.or_else(|| detect(beginning));
    format.ok_or_else(|| LoadError::Unrecognised(path.to_owned()))
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
    let mut opened = Opened::new(path, format)?;
    if opened.format == Format::JsonLines && opened.file.rewind().is_ok() {
        return jsonl::read_events(path, Limits::default());
    }
    let format = opened.format;
    read_bytes(&opened.all(path)?, path, format, options)
}

/// A file whose format is known.
struct Opened {
    file: File,
    /// What was read of it.
    beginning: Vec<u8>,
    format: Format,
}

impl Opened {
    fn new(path: &Path, format: Option<Format>) -> Result<Opened, LoadError> {
        let io = |source| LoadError::io(path, source);
        let mut file = File::open(path).map_err(io)?;
        let mut beginning = Vec::new();
        (&mut file)
            .take(BEGINNING as u64)
            .read_to_end(&mut beginning)
            .map_err(io)?;
        let format = recognise(&beginning, path, format)?;
        Ok(Opened {
            file,
            beginning,
            format,
        })
    }

    /// All of its bytes.
    fn all(mut self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let read = self.file.read_to_end(&mut self.beginning);
        read.map_err(|source| LoadError::io(path, source))?;
        Ok(self.beginning)
    }
}

/// Events that are handed on at once by [`read_each`]. So few that they stay in the processor's caches.
const BATCH: usize = 256;

/// Reads the events of a history as they stand, some hundred at a time, so that they need not all be in memory: `take` gets
/// them in order. Says what was cut off at the end.
///
/// # Errors
/// As [`read_any`]. `take` may have got events before.
pub fn read_each(
    path: &Path,
    format: Option<Format>,
    options: ImportOptions,
    take: &mut dyn FnMut(&[Event]),
) -> Result<Option<Torn>, LoadError> {
    let opened = Opened::new(path, format)?;
    let format = opened.format;
    let mut batch = Vec::with_capacity(BATCH);
    let torn = match format {
        Format::JsonLines if !opened.beginning.starts_with(BYTE_ORDER_MARK) => {
            return jsonl::read_each(path, Limits::default(), take);
        }
        Format::Edn | Format::Plume => {
            let bytes = opened.all(path)?;
            let text = text_of(&bytes, path)?;
            let mut push = |event| {
                batch.push(event);
                if batch.len() == BATCH {
                    take(&batch);
                    batch.clear();
                }
            };
            match format {
                Format::Plume => plume::each(text, path, &mut push).map(|()| None)?,
                _ => jepsen::each(text, path, options, &mut push)?,
            }
        }
        Format::JsonLines | Format::Json | Format::JepsenLog => {
            let all = read_bytes(&opened.all(path)?, path, format, options)?;
            batch = all.events;
            all.torn
        }
    };
    take(&batch);
    Ok(torn)
}

fn text_of<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, LoadError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| LoadError::Format {
        path: path.to_owned(),
        place: Place::of(bytes, error.valid_up_to()),
        message: "this is no UTF-8".to_owned(),
    })
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
    let text = text_of(bytes, path)?;
    match format {
        Format::JsonLines => unreachable!("read above"),
        Format::Json => json::read(text, path),
        Format::Edn => jepsen::read(text, path, options),
        Format::JepsenLog => porcupine::read(text, path),
        Format::Plume => {
            let mut all = Events::default();
            plume::each(text, path, &mut |event| all.events.push(event))?;
            Ok(all)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formats_are_recognised_by_their_beginning() {
        for (text, format) in [
            ("", Some(Format::JsonLines)),
            (" \n{ \"process\": 0", Some(Format::JsonLines)),
            ("\u{feff}{\"index\":0", Some(Format::JsonLines)),
            ("[\n {\"type\"", Some(Format::Json)),
            ("{:type :invoke}", Some(Format::Edn)),
            ("[{:type :invoke}]", Some(Format::Edn)),
            ("; a comment\n[", Some(Format::Edn)),
            ("({:type", Some(Format::Edn)),
            ("#jepsen.history.Op{:index 0", Some(Format::Edn)),
            ("[]", Some(Format::Edn)),
            (
                "INFO  jepsen.util - 4\t:invoke\t:read\tnil",
                Some(Format::JepsenLog),
            ),
            ("r(1,2,3,4)", Some(Format::Plume)),
            ("w(-1,2,3,4)", Some(Format::Plume)),
            ("r(x", None),
            ("hello", None),
            ("\u{0}\u{1}", None),
        ] {
            assert_eq!(detect(text.as_bytes()), format, "{text}");
        }
    }

    #[test]
    fn a_file_and_its_bytes_are_the_same_history() {
        let text = "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n\
                    {\"process\":0,\"type\":\"ok\",\"f\":\"read\",\"value\":1}\n\
                    {\"process\":0,\"type\":\"ok\",\"f\":\"read\",\"value\":2}\n{\"pro";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h");
        std::fs::write(&path, text).unwrap();
        let options = ImportOptions::default();
        let from_file = load_any(&path, None, options).unwrap();
        let from_bytes = load_bytes(text.as_bytes(), &path, None, options).unwrap();
        for loaded in [from_file, from_bytes] {
            assert_eq!(loaded.history.events().len(), 2);
            assert_eq!(
                loaded.torn.map(|torn| (torn.line, torn.bytes)),
                Some((4, 5))
            );
            assert_eq!(loaded.notes.len(), 1);
        }
    }

    #[test]
    fn events_come_in_batches_as_they_stand() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h");
        let edn = "{:process 0, :type :ok, :value 1}\n".repeat(BATCH + 1);
        let json = "{\"process\":0,\"type\":\"ok\",\"f\":\"txn\"}\n".repeat(3);
        let array = "[{\"process\":0,\"type\":\"ok\",\"f\":\"txn\"}]".to_owned();
        for (text, torn) in [(edn, "{:process"), (json, "{\"proc"), (array, "")] {
            std::fs::write(&path, format!("{text}{torn}")).unwrap();
            let options = ImportOptions::default();
            let mut events = Vec::new();
            let cut = read_each(&path, None, options, &mut |batch| {
                events.extend_from_slice(batch)
            })
            .unwrap();
            let whole = read_any(&path, None, options).unwrap();
            assert_eq!((events, cut), (whole.events, whole.torn));
            assert_eq!(cut.is_some(), !torn.is_empty());
        }
    }

    #[test]
    fn what_is_no_history_is_refused_by_name() {
        let load =
            |text: &[u8]| load_bytes(text, Path::new("x.bin"), None, ImportOptions::default());
        assert_eq!(
            load(b"hello").unwrap_err().to_string(),
            "x.bin: not recognised as a history; name its format with --format (one of jsonl, json, edn, jepsen-log, plume)"
        );
        assert_eq!(
            load(b"{:a\n \xff").unwrap_err().to_string(),
            "x.bin:2:2: this is no UTF-8"
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            format in prop::sample::select(&Format::ALL[..]),
            start in prop::sample::select(&["", "[", "{:type :ok ", "{\"process\":0,", porcupine::MARKER, "w(1,2,"][..]),
        ) {
            let bytes = [start.as_bytes(), &bytes].concat();
            let options = ImportOptions { keyed: true };
            let _ = load_bytes(&bytes, Path::new("x"), Some(format), options);
            let _ = load_bytes(&bytes, Path::new("x"), None, options);
        }
    }
}
