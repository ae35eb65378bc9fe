//! Reading a file of JSON lines, on several threads where it is large.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::BYTE_ORDER_MARK;
use super::parse::{NO_INDEX, Names, parse_event, what_is_wrong};
use crate::event::Event;
use crate::load::{LoadError, Place};

/// What reading may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a line. A longer one is an error.
    pub line_max: usize,
    /// Threads that read.
    pub threads_max: usize,
}

impl Default for Limits {
    /// 16 MiB a line; as many threads as the machine runs at once, and at most eight.
    fn default() -> Limits {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Limits {
            line_max: 16 << 20,
            threads_max: cores.min(8),
        }
    }
}

/// The events of a file, not yet paired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    /// In the order of the file.
    pub events: Vec<Event>,
    /// The last line, if it was cut.
    pub torn: Option<Torn>,
}

/// A last line that was cut in the writing, and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its number, from 1.
    pub line: u64,
    /// Its length.
    pub bytes: usize,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the last line ({}, {} bytes) was cut off and is left out",
            self.line, self.bytes
        )
    }
}

/// A part of a file smaller than this is not worth a thread.
pub(super) const PART_MIN: u64 = 4 << 20;

/// Events after which a part's number of events is estimated.
const SAMPLE: usize = 1000;

/// Bytes asked of the kernel at once.
const BLOCK: usize = 256 << 10;

/// Reads the events of a file.
///
/// # Errors
/// When it cannot be read, or at the first line that is no event, with its place.
pub fn read_events(path: &Path, limits: Limits) -> Result<Events, LoadError> {
    let io = |source| LoadError::io(path, source);
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_file() {
        join(read_parts(&file, metadata.len(), limits), path)
    } else {
        // A pipe has no positions.
        read_from(&file, path, limits)
    }
}

/// Reads the events of a source from its beginning to its end. `path` names it in errors.
pub(crate) fn read_from(
    source: impl Read,
    path: &Path,
    limits: Limits,
) -> Result<Events, LoadError> {
    join(vec![Part::read(source, 0..u64::MAX, 0, limits)], path)
}

/// Splits a file where lines begin, and reads each part on its own thread.
fn read_parts(file: &File, length: u64, limits: Limits) -> Vec<Part> {
    let threads = (limits.threads_max as u64).min(length / PART_MIN).max(1);
    let bounds: Vec<u64> = (0..=threads).map(|n| length * n / threads).collect();
    std::thread::scope(|scope| {
        let read = |n: usize| {
            // A file that still grows is read to where it ends now, by the last part.
            let last = n + 1 == threads as usize;
            let end = if last { u64::MAX } else { bounds[n + 1] };
            // The others' events are appended to the first part's.
            let size = if n == 0 { length } else { length / threads };
            let source = Positioned {
                file,
                at: bounds[n].saturating_sub(1),
            };
            Part::read(source, bounds[n]..end, size, limits)
        };
        let others: Vec<_> = (1..threads as usize)
            .map(|n| scope.spawn(move || read(n)))
            .collect();
        let mut parts = vec![read(0)];
        for other in others {
            match other.join() {
                Ok(part) => parts.push(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    })
}

/// Puts the parts together; the first thing that is wrong, in the order of the file, is the error.
fn join(parts: Vec<Part>, path: &Path) -> Result<Events, LoadError> {
    let mut all = Events::default();
    let mut lines = 0;
    let mut unnumbered = false;
    for part in parts {
        if let Some(stop) = part.stop {
            return Err(match stop {
                Stop::Io(source) => LoadError::io(path, source),
                Stop::Line { column, message } => LoadError::Format {
                    path: path.to_owned(),
                    place: Place {
                        line: lines + part.lines,
                        column,
                    },
                    message,
                },
            });
        }
        lines += part.lines;
        if let Some(bytes) = part.torn {
            all.torn = Some(Torn { line: lines, bytes });
        }
        unnumbered |= part.unnumbered;
        if all.events.is_empty() {
            all.events = part.events;
        } else {
            all.events.extend(part.events);
        }
    }
    if unnumbered {
        for (at, event) in all.events.iter_mut().enumerate() {
            if event.index == NO_INDEX {
                event.index = at as u64;
            }
        }
    }
    Ok(all)
}

/// A file read from a position, without moving anyone else's.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// What became of the lines that begin in one part of a file.
#[derive(Default)]
struct Part {
    events: Vec<Event>,
    /// Lines read, the one that stopped it included.
    lines: u64,
    /// Some event came without an index.
    unnumbered: bool,
    /// The length of the last line, if it was cut.
    torn: Option<usize>,
    stop: Option<Stop>,
}

enum Stop {
    Io(io::Error),
    Line { column: u64, message: String },
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl Part {
    /// Reads the lines that begin in a range of a file. The source stands at its start, or one byte
    /// before if there is one: only that byte tells whether a line begins at the start. `size` is
    /// how many bytes of events to expect.
    fn read(source: impl Read, range: Range<u64>, size: u64, limits: Limits) -> Part {
        let mut part = Part::default();
        let mut lines = Lines::new(source, range.start.saturating_sub(1), limits.line_max);
        if let Err(stop) = part.read_lines(&mut lines, range, size) {
            part.stop = Some(stop);
        }
        part
    }

    fn read_lines(
        &mut self,
        lines: &mut Lines<impl Read>,
        range: Range<u64>,
        size: u64,
    ) -> Result<(), Stop> {
        let mut names = Names::default();
        if range.start > 0 {
            // What is left of the line before belongs to the part before.
            lines.next()?;
        }
        let begin = lines.at;
        while lines.at < range.end {
            let first = lines.at == 0;
            self.lines += 1;
            let Some(line) = lines.next()? else {
                self.lines -= 1;
                break;
            };
            self.read_line(line, first, &mut names)?;
            if self.events.len() == SAMPLE {
                self.make_room(size, lines.at - begin);
            }
        }
        Ok(())
    }

    /// Makes room for the events of `size` bytes, given that the first took `sample` bytes, so that
    /// they need not move as they grow. A guess: without room they still only move.
    fn make_room(&mut self, size: u64, sample: u64) {
        let expected = size.saturating_mul(SAMPLE as u64) / sample.max(1);
        let expected = usize::try_from(expected + expected / 20).unwrap_or(0);
        if self
            .events
            .try_reserve(expected.saturating_sub(SAMPLE))
            .is_ok()
        {
            prefer_huge_pages(self.events.spare_capacity_mut());
        }
    }

    fn read_line(&mut self, line: Line, first: bool, names: &mut Names) -> Result<(), Stop> {
        let mut bytes = line.bytes;
        if first {
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        match parse_event(bytes, names) {
            Ok(event) => {
                self.unnumbered |= event.index == NO_INDEX;
                self.events.push(event);
                Ok(())
            }
            // After a power cut the end of a file may be zeros that were never written.
            Err(error) if !line.ended && (error.is_eof() || bytes.ends_with(b"\0")) => {
                self.torn = Some(bytes.len());
                Ok(())
            }
            Err(error) => Err(Stop::Line {
                column: (error.column() as u64).max(1),
                message: what_is_wrong(&error),
            }),
        }
    }
}

/// Asks the kernel for huge pages where a large history will stand. Filling it would otherwise take
/// a page fault for every 24 events, and half of the time that loading takes.
fn prefer_huge_pages(room: &mut [MaybeUninit<Event>]) {
    const PAGE: usize = 4096;
    let bytes = size_of_val(room);
    let start = room.as_mut_ptr().addr().next_multiple_of(PAGE);
    let end = (room.as_mut_ptr().addr() + bytes) / PAGE * PAGE;
    if end > start {
        // SAFETY: the pages lie within memory that is borrowed here, and the advice changes how it
        // is backed, not what it holds. Where the kernel refuses, nothing is lost but time.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
        }
    }
}

/// A line, without its line feed.
struct Line<'a> {
    bytes: &'a [u8],
    /// Whether there was a line feed.
    ended: bool,
}

/// Lines of a source, each borrowed from one buffer.
struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// The unread part of the buffer.
    from: usize,
    to: usize,
    /// The position of the next line in the file.
    at: u64,
    line_max: usize,
}

impl<R: Read> Lines<R> {
    fn new(source: R, at: u64, line_max: usize) -> Lines<R> {
        Lines {
            source,
            buffer: vec![0; BLOCK],
            from: 0,
            to: 0,
            at,
            line_max,
        }
    }

    fn next(&mut self) -> Result<Option<Line<'_>>, Stop> {
        let mut searched = self.from;
        loop {
            let found = memchr::memchr(b'\n', &self.buffer[searched..self.to]);
            if let Some(offset) = found {
                return self.take(searched + offset, true).map(Some);
            }
            let unread = self.to - self.from;
            if unread > self.line_max {
                return self.take(self.to, false).map(Some);
            }
            searched = unread;
            if self.fill()? == 0 {
                return match unread {
                    0 => Ok(None),
                    _ => self.take(self.to, false).map(Some),
                };
            }
        }
    }

    /// Takes what is unread up to a position as a line.
    fn take(&mut self, to: usize, ended: bool) -> Result<Line<'_>, Stop> {
        let from = self.from;
        self.from = to + usize::from(ended);
        self.at += (self.from - from) as u64;
        if to - from > self.line_max {
            return Err(Stop::Line {
                column: self.line_max as u64 + 1,
                message: format!("the line is longer than {} bytes", self.line_max),
            });
        }
        Ok(Line {
            bytes: &self.buffer[from..to],
            ended,
        })
    }

    /// Moves what is unread to the front, and reads more after it.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if self.buffer.len() - self.to < BLOCK / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.to..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => {
                    self.to += read;
                    return Ok(read);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::{EventType, Process};
    use crate::testing::{any_event, event};
    use crate::write_event;
    use proptest::prelude::*;
    use serde_json::json;

    const LIMITS: Limits = Limits {
        line_max: 1000,
        threads_max: 2,
    };

    fn read(bytes: &[u8]) -> Result<Events, LoadError> {
        read_from(bytes, Path::new("h.jsonl"), LIMITS)
    }

    fn lines(events: &[Event]) -> Vec<u8> {
        let mut out = Vec::new();
        events.iter().for_each(|event| write_event(&mut out, event));
        out
    }

    fn some_events(n: u64) -> Vec<Event> {
        (0..n)
            .map(|i| event(i, i % 7, EventType::Invoke, "write", json!([i, null])))
            .collect()
    }

    #[track_caller]
    fn error(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn foreign_files_may_lack_what_can_be_known() {
        let text = "\u{feff}{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\r\n\r\n  \n\
                    {\"type\": \"ok\", \"process\": \"nemesis\", \"f\": \"read\", \"value\": 1.5}";
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read.torn, None);
        assert_eq!(read.events.len(), 2);
        assert_eq!((read.events[0].index, read.events[1].index), (0, 1));
        assert_eq!(read.events[1].process, Process::Nemesis("nemesis".into()));
        assert_eq!(read.events[1].value, json!(1.5));
    }

    #[test]
    fn a_bad_line_is_named_with_its_place() {
        let good = "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}\n";
        assert_eq!(
            error(&format!(
                "{good}\n{good}{{\"process\":0,\"type\":\"okay\"}}\n{good}"
            )),
            "h.jsonl:4:26: unknown variant `okay`, expected one of `invoke`, `ok`, `fail`, `info`"
        );
        assert_eq!(
            error("{\"process\":true}"),
            "h.jsonl:1:15: invalid type: boolean `true`, expected a process number, or \"nemesis\" \
             or \"nemesis/<name>\""
        );
        // Cut in the middle of the file is no torn end.
        assert!(error(&format!("{{\"process\":\n{good}")).starts_with("h.jsonl:1:11: EOF"));
        assert!(error("hello").starts_with("h.jsonl:1:1: expected value"));
    }

    #[test]
    fn a_line_over_the_limit_is_refused() {
        let long = format!(
            "{{\"process\":0,\"type\":\"ok\",\"f\":\"{}\"}}",
            "x".repeat(1000)
        );
        assert_eq!(
            error(&long),
            "h.jsonl:1:1001: the line is longer than 1000 bytes"
        );
    }

    #[test]
    fn zeros_that_a_power_cut_left_are_a_torn_line() {
        let mut bytes = lines(&some_events(3));
        let good = bytes.len();
        bytes.extend_from_slice(&[0; 50]);
        let read = read(&bytes).unwrap();
        assert_eq!(read.events.len(), 3);
        assert_eq!(read.torn, Some(Torn { line: 4, bytes: 50 }));
        assert!(good > 0);
    }

    #[test]
    fn a_file_is_the_same_however_many_parts_it_is_read_in() {
        let events = some_events(40);
        let mut bytes = lines(&events);
        bytes.extend_from_slice(b"{\"index\":40,");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.jsonl");
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let torn = Some(Torn {
            line: 41,
            bytes: 12,
        });
        let length = bytes.len() as u64;
        for cut in 1..length {
            let source = |at: u64| Positioned { file: &file, at };
            let parts = vec![
                Part::read(source(0), 0..cut, length, LIMITS),
                Part::read(source(cut - 1), cut..u64::MAX, length, LIMITS),
            ];
            let read = join(parts, &path).unwrap();
            assert_eq!((read.events.len(), read.torn), (40, torn), "cut at {cut}");
            assert_eq!(read.events, events);
        }
    }

    #[test]
    fn the_first_bad_line_of_several_parts_has_its_number_in_the_file() {
        let mut bytes = lines(&some_events(20));
        let middle = bytes.len() as u64;
        bytes.extend_from_slice(b"{}\n");
        let source = |from: u64| &bytes[from as usize..];
        let parts = vec![
            Part::read(source(0), 0..middle, 0, LIMITS),
            Part::read(source(middle - 1), middle..u64::MAX, 0, LIMITS),
        ];
        let error = join(parts, Path::new("h.jsonl")).unwrap_err().to_string();
        assert_eq!(error, "h.jsonl:21:2: missing field `process`");
    }

    #[test]
    fn a_large_file_is_read_on_several_threads() {
        let events = some_events(100_000);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.jsonl");
        std::fs::write(&path, lines(&events)).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 2 * PART_MIN);
        let read = read_events(&path, LIMITS).unwrap();
        assert!(read.events == events);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_events(Path::new("/nonexistent/h.jsonl"), LIMITS).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot read /nonexistent/h.jsonl: No such file")
        );
    }

    proptest! {
        #[test]
        fn wherever_the_file_is_cut_whole_lines_are_kept(
            events in prop::collection::vec(any_event(), 1..5),
            at in any::<prop::sample::Index>(),
        ) {
            let bytes = lines(&events);
            let cut = &bytes[..at.index(bytes.len())];
            let limits = Limits { line_max: 1 << 20, ..LIMITS };
            let read = read_from(cut, Path::new("h.jsonl"), limits).unwrap();
            let whole = memchr::memchr_iter(b'\n', cut).count();
            // A line that lacks nothing but its line feed is whole.
            let complete = whole + usize::from(!cut.is_empty() && bytes[cut.len()..].starts_with(b"\n"));
            prop_assert_eq!(&read.events[..], &events[..complete]);
            prop_assert_eq!(read.torn.is_some(), complete == whole && !cut.is_empty() && !cut.ends_with(b"\n"));
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
