//! Reading a file of JSON lines while it is being written.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::parse::{NO_INDEX, Names, Wrong, parse_line};
use super::{Limits, Torn};
use crate::event::Event;
use crate::load::LoadError;

/// Bytes read at once. So few that the events of a block, which take several times as much, stay in the processor's caches.
const BLOCK: usize = 64 << 10;

/// A place in a growing file: reads the events that have been written since the last call.
///
/// A last line without its line feed is one that is still being written, and waits for the next call.
pub struct Tail {
    path: PathBuf,
    file: File,
    line_max: usize,
    names: Names,
    /// What was read of a line that has not ended yet.
    rest: Vec<u8>,
    block: Vec<u8>,
    /// Lines read.
    lines: u64,
    /// Events read.
    events: u64,
}

impl Tail {
    /// At the beginning of a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, limits: Limits) -> Result<Tail, LoadError> {
        let file = File::open(path).map_err(|source| LoadError::io(path, source))?;
        Ok(Tail {
            path: path.to_owned(),
            file,
            line_max: limits.line_max,
            names: Names::default(),
            rest: Vec::new(),
            block: vec![0; BLOCK],
            lines: 0,
            events: 0,
        })
    }

    /// Appends the next events, of at most 64 KiB of the file. `false` where the file has nothing more
    /// yet; `true` means to ask again, also if the one event that was read of has not ended.
    ///
    /// # Errors
    /// When the file cannot be read, or at the first line that is no event, with its place. There is no
    /// going on after that.
    pub fn read(&mut self, into: &mut Vec<Event>) -> Result<bool, LoadError> {
        let read = loop {
            match self.file.read(&mut self.block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => break read,
                Err(source) => return Err(LoadError::io(&self.path, source)),
            }
        };
        let block = std::mem::take(&mut self.block);
        let taken = self.take(&block[..read], into);
        self.block = block;
        taken.map(|()| read > 0)
    }

    /// What is left where the file has ended for good: a last line without its line feed is an event, or was cut in the
    /// writing.
    ///
    /// # Errors
    /// When that line is no event, however it might go on, or longer than a line may be.
    pub fn finish(mut self, into: &mut Vec<Event>) -> Result<Option<Torn>, LoadError> {
        let rest = std::mem::take(&mut self.rest);
        if rest.trim_ascii().is_empty() {
            return Ok(None);
        }
        match parse_line(&rest, self.line_max, &mut self.names) {
            Err(wrong) if wrong.cut => Ok(Some(Torn {
                line: self.lines + 1,
                bytes: rest.len(),
            })),
            _ => self.line(&rest, into).map(|()| None),
        }
    }

    fn take(&mut self, mut bytes: &[u8], into: &mut Vec<Event>) -> Result<(), LoadError> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            match self.rest.is_empty() {
                true => self.line(line, into)?,
                false => {
                    let mut whole = std::mem::take(&mut self.rest);
                    whole.extend_from_slice(line);
                    self.line(&whole, into)?;
                }
            }
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > self.line_max {
            return Err(self.too_long());
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], into: &mut Vec<Event>) -> Result<(), LoadError> {
        self.lines += 1;
        let read = parse_line(line, self.line_max, &mut self.names);
        let Some(mut event) = read.map_err(|wrong| wrong.at(&self.path, self.lines))? else {
            return Ok(());
        };
        if event.index == NO_INDEX {
            event.index = self.events;
        }
        self.events += 1;
        into.push(event);
        Ok(())
    }

    fn too_long(&self) -> LoadError {
        Wrong::too_long(self.line_max).at(&self.path, self.lines.max(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::jsonl::{read_events, write_event};
    use crate::testing::any_event;

    fn all(tail: &mut Tail) -> Result<Vec<Event>, LoadError> {
        let mut events = Vec::new();
        while tail.read(&mut events)? {}
        Ok(events)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn whatever_the_pieces_the_events_are_those_of_the_file(
            events in prop::collection::vec(any_event(), 1..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let mut bytes = Vec::new();
            events.iter().for_each(|event| write_event(&mut bytes, event));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let mut tail = Tail::open(file.path(), Limits::default()).unwrap();
            let (mut seen, mut from) = (Vec::new(), 0);
            for cut in cuts {
                file.write_all(&bytes[from..cut]).unwrap();
                from = cut;
                seen.extend(all(&mut tail).unwrap());
                let ended = memchr::memchr_iter(b'\n', &bytes[..cut]).count();
                prop_assert_eq!(seen.len(), ended);
            }
            let whole = read_events(file.path(), Limits::default()).unwrap();
            prop_assert_eq!(seen, whole.events);
        }

        #[test]
        fn a_file_that_has_ended_is_what_it_is_when_read_at_once(
            events in prop::collection::vec(any_event(), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            events.iter().for_each(|event| write_event(&mut bytes, event));
            bytes.truncate(cut.index(bytes.len() + 1));
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            let mut tail = Tail::open(file.path(), Limits::default()).unwrap();
            let mut seen = all(&mut tail).unwrap();
            let torn = tail.finish(&mut seen).unwrap();
            let whole = read_events(file.path(), Limits::default()).unwrap();
            prop_assert_eq!((seen, torn), (whole.events, whole.torn));
        }
    }

    #[test]
    fn lines_longer_than_a_block_are_read_and_longer_than_allowed_refused() {
        let line = |length: usize| {
            let value = "x".repeat(length);
            format!(r#"{{"process":1,"type":"invoke","f":"write","value":"{value}"}}"#) + "\n"
        };
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{}{}", line(10), line(3 * BLOCK)).unwrap();
        let mut tail = Tail::open(file.path(), Limits::default()).unwrap();
        let events = all(&mut tail).unwrap();
        let indexes: Vec<u64> = events.iter().map(|event| event.index).collect();
        assert_eq!(indexes, [0, 1]);

        let limits = Limits {
            line_max: 1000,
            ..Limits::default()
        };
        let mut tail = Tail::open(file.path(), limits).unwrap();
        let error = all(&mut tail).unwrap_err().to_string();
        assert!(error.contains("longer than 1000 bytes"), "{error}");
    }

    #[test]
    fn what_is_no_event_is_named_with_its_place() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{\"process\":1,\"type\":\"ok\",\"f\":\"read\"}\n{\"process\":\n")
            .unwrap();
        let mut tail = Tail::open(file.path(), Limits::default()).unwrap();
        let error = all(&mut tail).unwrap_err().to_string();
        assert!(error.contains(":2:"), "{error}");
    }
}
