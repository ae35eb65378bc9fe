//! Histories from elsewhere.
//!
//! [`load_any`] recognises a file by its content, reads it, and mends what would keep it from pairing;
//! what it did is in [`Loaded::notes`]. Our own histories it reads like [`load_history`], except that
//! it mends those too: a file of JSON lines may come from anyone.
//!
//! [`load_history`]: crate::load_history

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

mod awdit;
pub mod edn;
mod jepsen;
mod json;
mod lines;
mod log;
mod mend;
mod plume;
mod window;

pub use jepsen::{events_of, write_edn};
pub use mend::{Mender, client_after};

use crate::batch::{Batch, Batcher, Flow};
use crate::event::Event;
use crate::history::History;
use crate::jsonl::{self, BYTE_ORDER_MARK, Events, Limits, Torn};
use crate::lint::Linter;
use crate::load::{LoadError, Loaded};

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
    /// Jepsen's and Maelstrom's `history.txt`, `4 :invoke :read nil` with tabs between.
    JepsenText,
    /// Lines `r(key,value,session,transaction)` and `w(…)` of register transactions, as Plume and AWDIT take them.
    Plume,
    /// Lines `r key value` and `w key value`, transactions with dashes between, sessions with equals signs: AWDIT's tests.
    Awdit,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 7] = [
        Format::JsonLines,
        Format::Json,
        Format::Edn,
        Format::JepsenLog,
        Format::JepsenText,
        Format::Plume,
        Format::Awdit,
    ];

    /// The name that a person types: `jsonl`, `json`, `edn`, `jepsen-log`, `jepsen-txt`, `plume`, `awdit`.
    pub fn name(self) -> &'static str {
        match self {
            Format::JsonLines => "jsonl",
            Format::Json => "json",
            Format::Edn => "edn",
            Format::JepsenLog => "jepsen-log",
            Format::JepsenText => "jepsen-txt",
            Format::Plume => "plume",
            Format::Awdit => "awdit",
        }
    }

    /// Whether it is a text in which checkers of isolation hand down what committed, session by session: without
    /// invocations and without times, so that the order of sessions is all the order there is.
    pub fn is_of_sessions(self) -> bool {
        matches!(self, Format::Plume | Format::Awdit)
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
        _ if log::is_table(text) => Some(Format::JepsenText),
        _ if awdit::is_text(text) => Some(Format::Awdit),
        _ if log::is_log(text) => Some(Format::JepsenLog),
        _ => None,
    }
}

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

/// Loads a history to look at it: as [`load_any`], but where nothing at all is invoked, as in the texts of tools that have sessions of
/// transactions, each completion begins the operation that it ends. Both events have its index. Nobody knows when they were, and so
/// this is nothing to judge.
///
/// # Errors
/// As [`load_any`].
pub fn load_to_look(
    path: &Path,
    format: Option<Format>,
    options: ImportOptions,
) -> Result<Loaded, LoadError> {
    let mut events = read_any(path, format, options)?;
    if !events.events.iter().any(Event::is_invoke) {
        events.events = mend::begun(events.events);
    }
    pair(events, path)
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
    let format = recognise(&bytes[..bytes.len().min(BEGINNING)], name, format)?;
    let events = match format {
        Format::JsonLines => jsonl::read_from(bytes, name, Limits::default())?,
        format => collect(|take| each(bytes, name, format, options, take))?,
    };
    pair(events, name)
}

fn pair(events: Events, path: &Path) -> Result<Loaded, LoadError> {
    let mut linter = Linter::new(0);
    linter.look_at_all(&events.events);
    let findings = linter.finish().total();
    let (mended, notes) = mend::mend(events.events);
    let history = History::new(mended).map_err(|source| LoadError::History {
        path: path.to_owned(),
        source,
    })?;
    Ok(Loaded {
        history,
        torn: events.torn,
        notes,
        findings,
    })
}

fn recognise(beginning: &[u8], path: &Path, format: Option<Format>) -> Result<Format, LoadError> {
    let format = format.or_else(|| detect(beginning));
    format.ok_or_else(|| LoadError::Unrecognised(path.to_owned()))
}

/// Reads the events of a history as they stand.
///
/// # Errors
/// As [`load_any`], but for events that do not pair.
pub fn read_any(
    path: &Path,
    format: Option<Format>,
    options: ImportOptions,
) -> Result<Events, LoadError> {
    let opened = Opened::new(path, format)?;
    if opened.format == Format::JsonLines && opened.length.is_some() {
        return jsonl::read_events(path, Limits::default());
    }
    collect(|take| opened.each(path, options, take))
}

/// Reads the events of a history as they stand, some hundred at a time, so that they need not all be in memory: `take` gets
/// them in order, until it has enough. Says what was cut off at the end, if that was reached.
///
/// # Errors
/// As [`read_any`]. `take` may have got events before.
pub fn read_each(
    path: &Path,
    format: Option<Format>,
    options: ImportOptions,
    take: &mut dyn FnMut(Batch<'_>) -> Flow,
) -> Result<Option<Torn>, LoadError> {
    Opened::new(path, format)?.each(path, options, take)
}

/// All events of a history.
fn collect(
    each: impl FnOnce(&mut dyn FnMut(Batch<'_>) -> Flow) -> Result<Option<Torn>, LoadError>,
) -> Result<Events, LoadError> {
    let mut events = Vec::new();
    let torn = each(&mut |batch| {
        events.extend_from_slice(batch.events);
        Flow::Continue(())
    })?;
    Ok(Events { events, torn })
}

/// A file whose format is known.
struct Opened {
    file: File,
    /// What was read of it.
    beginning: Vec<u8>,
    format: Format,
    /// How long it is, unless it is a pipe.
    length: Option<u64>,
}

impl Opened {
    fn new(path: &Path, format: Option<Format>) -> Result<Opened, LoadError> {
        let io = |source| LoadError::io(path, source);
        let mut file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
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
            length: metadata.is_file().then_some(metadata.len()),
        })
    }

    fn each(
        self,
        path: &Path,
        options: ImportOptions,
        take: &mut dyn FnMut(Batch<'_>) -> Flow,
    ) -> Result<Option<Torn>, LoadError> {
        let source = Cursor::new(self.beginning).chain(self.file);
        match (self.format, self.length) {
            (Format::JsonLines, Some(length)) => {
                jsonl::read_each(source, length, path, Limits::default(), take)
            }
            (format, _) => each(source, path, format, options, take),
        }
    }
}

/// Reads the events of any text.
fn each(
    source: impl Read,
    path: &Path,
    format: Format,
    options: ImportOptions,
    take: &mut dyn FnMut(Batch<'_>) -> Flow,
) -> Result<Option<Torn>, LoadError> {
    let mut batcher = Batcher::new(take);
    let mut torn = None;
    match format {
        Format::JsonLines => {
            return jsonl::read_each(source, 0, path, Limits::default(), take);
        }
        Format::Edn => torn = jepsen::each(source, path, options, &mut batcher)?,
        Format::Json => json::each(source, path, &mut batcher)?,
        Format::JepsenLog => log::each(source, path, &mut batcher)?,
        Format::JepsenText => log::each_of_table(source, path, &mut batcher)?,
        Format::Plume => plume::each(source, path, &mut batcher)?,
        Format::Awdit => awdit::each(source, path, &mut batcher)?,
    }
    // There is nothing to come in any case.
    let _ = batcher.flush();
    Ok(torn)
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
            (
                "2021-02-26 11:42:48,806{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:ok\t:r\t1",
                Some(Format::JepsenLog),
            ),
            ("4\t:invoke\t:read\tnil", Some(Format::JepsenText)),
            (
                "\n:nemesis\t:info\t:start\tnil\r\n",
                Some(Format::JepsenText),
            ),
            ("4\t:maybe\t:read\tnil", None),
            ("r(1,2,3,4)", Some(Format::Plume)),
            ("w(-1,2,3,4)", Some(Format::Plume)),
            ("\n=====\nw 1 2\n", Some(Format::Awdit)),
            ("r -1 2\r\n-----", Some(Format::Awdit)),
            ("r 1 2 3", None),
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
        let edn = "{:process 0, :type :ok, :value 1}\n".repeat(1000);
        let json = "{\"process\":0,\"type\":\"ok\",\"f\":\"txn\"}\n".repeat(3);
        let array = "[{\"process\":0,\"type\":\"ok\",\"f\":\"txn\"}]".to_owned();
        for (text, torn) in [(edn, "{:process"), (json, "{\"proc"), (array, "")] {
            std::fs::write(&path, format!("{text}{torn}")).unwrap();
            let options = ImportOptions::default();
            let mut events = Vec::new();
            let cut = read_each(&path, None, options, &mut |batch| {
                events.extend_from_slice(batch.events);
                Flow::Continue(())
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
            "x.bin: not recognised as a history; name its format with --format (one of jsonl, json, edn, jepsen-log, jepsen-txt, plume, awdit)"
        );
        assert_eq!(
            load(b"{:a\n \xff").unwrap_err().to_string(),
            "x.bin:2:2: this is no UTF-8"
        );
    }

    #[test]
    fn whoever_has_enough_gets_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h");
        let json = "{\"process\":0,\"type\":\"ok\",\"f\":\"r\"}";
        let array = format!("[{}{json}]", format!("{json},\n").repeat(100_000));
        for text in [
            format!("{json}\n").repeat(300_000),
            array,
            "{:process 0, :type :ok}\n".repeat(100_000),
            "0\t:ok\t:r\t1\n".repeat(100_000),
            "w(1,2,3,-1)\n".repeat(100_000),
            "w 1 2\n-----\n".repeat(100_000),
        ] {
            std::fs::write(&path, &text).unwrap();
            let mut batches = 0;
            let enough = &mut |batch: Batch<'_>| {
                assert_eq!(batch.lines[0], 1);
                batches += 1;
                Flow::Break(())
            };
            read_each(&path, None, ImportOptions::default(), enough).unwrap();
            assert_eq!(batches, 1, "{}", &text[..20]);
        }
    }

    #[test]
    fn every_event_has_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h");
        let json = "{\"process\":0,\"type\":\"ok\",\"f\":\"r\"}";
        for (text, lines) in [
            (format!("{json}\n\n{json}\n{json}"), &[1, 3, 4][..]),
            (format!("[\n{json},{json},\n\n{json}]"), &[2, 2, 4]),
            (
                "{:type :ok} {:type\n:ok}\n; x\n{:type :ok}".to_owned(),
                &[1, 1, 4],
            ),
            ("\n0\t:ok\t:r\t1\n0\t:ok\t:r\t1\n".to_owned(), &[2, 3]),
            (
                "w(1,1,0,0)\nw(1,2,1,1)\nw(1,3,0,0)\nw(1,4,1,2)".to_owned(),
                &[1, 2, 4],
            ),
            ("w 1 1\nw 1 2\n-\n\nr 1 1\n=\nr 1 1".to_owned(), &[1, 5, 7]),
        ] {
            std::fs::write(&path, &text).unwrap();
            let mut found = Vec::new();
            let take = &mut |batch: Batch<'_>| {
                found.extend_from_slice(batch.lines);
                Flow::Continue(())
            };
            read_each(&path, None, ImportOptions::default(), take).unwrap();
            assert_eq!(found, lines, "{text}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            format in prop::sample::select(&Format::ALL[..]),
            start in prop::sample::select(&["", "[", "{:type :ok ", "{\"process\":0,", "jepsen.util: ", "1\t:ok\t:r\t", "w(1,2,", "w 1 2\n-\n"][..]),
        ) {
            let bytes = [start.as_bytes(), &bytes].concat();
            let options = ImportOptions { keyed: true };
            let _ = load_bytes(&bytes, Path::new("x"), Some(format), options);
            let _ = load_bytes(&bytes, Path::new("x"), None, options);
        }
    }
}
