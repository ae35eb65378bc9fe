//! Reading a large file of JSON lines a piece at a time, parsed on other threads while the pieces before are taken in.
//!
//! Whole lines of the file make *blocks*. Block after block goes to the threads in turn, and comes back from them in
//! turn, so that events are in order without being sorted. A block that was taken in returns to its thread with its events:
//! what a thread allocates, it also frees.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::parse::{NO_INDEX, Names, Wrong, parse_line};
use super::read::PART_MIN;
use super::{BYTE_ORDER_MARK, Limits, Torn};
use crate::batch::{Batch, Flow};
use crate::event::Event;
use crate::load::LoadError;

/// Bytes read at once. So few that the events of all blocks, which take several times as much, stay in the processor's caches:
/// with large ones, handing them to another thread costs more than parsing them.
const BLOCK: usize = 16 << 10;

/// Blocks that each thread has: one that it parses, and one that is taken in or waits.
const BLOCKS_EACH: usize = 2;

/// Hands on the events of a source of about that length in order, some hundred at a time, until `take` has enough. Says what was
/// cut off at the end. `path` names it in errors.
///
/// # Errors
/// When the file cannot be read, or at the first line that is no event, with its place. `take` may have got events before.
pub(crate) fn read_each(
    source: impl Read,
    length: u64,
    path: &Path,
    limits: Limits,
    take: &mut dyn FnMut(Batch<'_>) -> Flow,
) -> Result<Option<Torn>, LoadError> {
    if limits.threads_max > 1 && length >= 2 * PART_MIN {
        return read_ahead(source, path, limits, take);
    }
    let mut source = Source::new(source, limits.line_max);
    let mut counts = Counts::default();
    let (mut names, mut block) = (Names::default(), Block::default());
    while source
        .fill(&mut block.bytes)
        .map_err(|error| LoadError::io(path, error))?
    {
        block.parse(&mut names, limits.line_max);
        if let ControlFlow::Break(torn) = counts.hand_on(&mut block, path, take)? {
            return Ok(torn);
        }
    }
    Ok(None)
}

fn read_ahead(
    source: impl Read,
    path: &Path,
    limits: Limits,
    take: &mut dyn FnMut(Batch<'_>) -> Flow,
) -> Result<Option<Torn>, LoadError> {
    std::thread::scope(|scope| {
        let begin = |_| {
            let ((to, jobs), (done, from)) = (channel(), channel());
            scope.spawn(move || parse_all(&jobs, &done, limits.line_max));
            (to, from)
        };
        let threads: Vec<(Sender<Block>, Receiver<Block>)> =
            (0..limits.threads_max).map(begin).collect();
        let mut source = Source::new(source, limits.line_max);
        let mut fill = |mut block: Block, to: &Sender<Block>| {
            let more = source.fill(&mut block.bytes);
            // A thread that is gone has panicked, and the scope will say so.
            Ok(more? && to.send(block).is_ok())
        };
        let io = |error| LoadError::io(path, error);
        let mut open = 0;
        for (to, _) in (0..BLOCKS_EACH).flat_map(|_| &threads) {
            open += usize::from(fill(Block::default(), to).map_err(io)?);
        }
        let mut counts = Counts::default();
        for (to, from) in threads.iter().cycle() {
            if open == 0 {
                break;
            }
            let Ok(mut block) = from.recv() else { break };
            if let ControlFlow::Break(torn) = counts.hand_on(&mut block, path, take)? {
                return Ok(torn);
            }
            open -= usize::from(!fill(block, to).map_err(io)?);
        }
        Ok(None)
    })
}

/// What came before a block.
#[derive(Default)]
struct Counts {
    lines: u64,
    events: u64,
}

impl Counts {
    /// Hands on the events of the next block. Breaks, with what was cut off, where there is nothing to come.
    fn hand_on(
        &mut self,
        block: &mut Block,
        path: &Path,
        take: &mut dyn FnMut(Batch<'_>) -> Flow,
    ) -> Result<ControlFlow<Option<Torn>>, LoadError> {
        if let Some(wrong) = block.wrong.take() {
            return Err(wrong.at(path, self.lines + block.lines));
        }
        for line in &mut block.at {
            *line += self.lines;
        }
        self.lines += block.lines;
        if block.unnumbered {
            for (event, at) in block.events.iter_mut().zip(self.events..) {
                if event.index == NO_INDEX {
                    event.index = at;
                }
            }
        }
        self.events += block.events.len() as u64;
        let flow = take(Batch {
            events: &block.events,
            lines: &block.at,
        });
        let line = self.lines;
        let torn = block.torn.map(|bytes| Torn { line, bytes });
        Ok(match (flow, torn) {
            (Flow::Continue(()), None) => ControlFlow::Continue(()),
            (Flow::Break(()), _) => ControlFlow::Break(None),
            (_, torn) => ControlFlow::Break(torn),
        })
    }
}

/// A stretch of a file, and what stands in it.
#[derive(Default)]
struct Block {
    /// Lines with their line feeds; the last one of the file may have none.
    bytes: Vec<u8>,
    events: Vec<Event>,
    /// The line of each, from 1 for the block's first.
    at: Vec<u64>,
    /// Lines read, one that is wrong included.
    lines: u64,
    /// Some event came without an index.
    unnumbered: bool,
    /// The length of the last line, if it was cut.
    torn: Option<usize>,
    /// What is wrong with the last line read.
    wrong: Option<Wrong>,
}

impl Block {
    fn parse(&mut self, names: &mut Names, line_max: usize) {
        self.events.clear();
        self.at.clear();
        (self.lines, self.unnumbered) = (0, false);
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            rest = end.map_or(&[][..], |end| &rest[end + 1..]);
            self.lines += 1;
            match parse_line(line, line_max, names) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    self.unnumbered |= event.index == NO_INDEX;
                    self.events.push(event);
                    self.at.push(self.lines);
                }
                Err(wrong) if end.is_none() && wrong.cut => self.torn = Some(line.len()),
                Err(wrong) => {
                    self.wrong = Some(wrong);
                    break;
                }
            }
        }
    }
}

fn parse_all(blocks: &Receiver<Block>, done: &Sender<Block>, line_max: usize) {
    let mut names = Names::default();
    for mut block in blocks {
        block.parse(&mut names, line_max);
        if done.send(block).is_err() {
            break;
        }
    }
}

/// Cuts a file into blocks.
struct Source<R> {
    source: R,
    /// What was read of the next block.
    rest: Vec<u8>,
    begun: bool,
    ended: bool,
    line_max: usize,
}

impl<R: Read> Source<R> {
    fn new(source: R, line_max: usize) -> Source<R> {
        Source {
            source,
            rest: Vec::new(),
            begun: false,
            ended: false,
            line_max,
        }
    }

    /// Reads the next whole lines; what is left at the end of the file, or of a line that is too long, is one of them. `false`
    /// where there is nothing more.
    fn fill(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        bytes.clear();
        bytes.append(&mut self.rest);
        while !self.ended {
            let before = bytes.len();
            let mut piece = (&mut self.source).take(BLOCK as u64);
            self.ended = piece.read_to_end(bytes)? == 0 || bytes.len() > self.line_max + BLOCK;
            if !self.begun && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            self.begun = true;
            if let Some(end) = memchr::memrchr(b'\n', &bytes[before..]) {
                self.rest.extend_from_slice(&bytes[before + end + 1..]);
                bytes.truncate(before + end + 1);
                return Ok(true);
            }
        }
        Ok(!bytes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::EventType;
    use crate::jsonl::read_from;
    use crate::testing::{any_event, event};
    use crate::write_event;
    use proptest::prelude::*;
    use serde_json::json;

    const LIMITS: Limits = Limits {
        line_max: 300_000,
        threads_max: 2,
    };

    fn ahead(bytes: &[u8]) -> Result<(Vec<Event>, Option<Torn>), String> {
        let mut events = Vec::new();
        let take = &mut |some: Batch<'_>| {
            events.extend_from_slice(some.events);
            Flow::Continue(())
        };
        let torn = read_ahead(bytes, Path::new("h"), LIMITS, take).map_err(|e| e.to_string())?;
        Ok((events, torn))
    }

    fn at_once(bytes: &[u8]) -> Result<(Vec<Event>, Option<Torn>), String> {
        let all = read_from(bytes, Path::new("h"), LIMITS).map_err(|error| error.to_string())?;
        Ok((all.events, all.torn))
    }

    /// Events of many blocks, one of them longer than a block.
    fn many() -> Vec<u8> {
        let mut bytes = Vec::new();
        for i in 0..20_000 {
            let length = if i == 9000 {
                2 * BLOCK
            } else {
                i as usize % 100
            };
            let event = event(i, i % 7, EventType::Ok, "read", json!("x".repeat(length)));
            write_event(&mut bytes, &event);
        }
        assert!(bytes.len() > 10 * BLOCK);
        bytes
    }

    #[test]
    fn blocks_come_in_the_order_of_the_file() {
        let mut bytes = many();
        assert_eq!(ahead(&bytes), at_once(&bytes));
        bytes.extend_from_slice(b"{\"process\":0,");
        let (events, torn) = ahead(&bytes).unwrap();
        assert_eq!(events.len(), 20_000);
        assert_eq!(
            torn,
            Some(Torn {
                line: 20_001,
                bytes: 13
            })
        );
        assert_eq!(ahead(b""), Ok((Vec::new(), None)));
    }

    #[test]
    fn events_without_an_index_have_their_position() {
        let bytes = b"{\"process\":0,\"type\":\"ok\",\"f\":\"read\"}\n\n".repeat(20_000);
        let (events, _) = ahead(&bytes).unwrap();
        assert!((0..).zip(&events).all(|(at, event)| event.index == at));
        assert_eq!(events.len(), 20_000);
    }

    #[test]
    fn the_first_bad_line_is_named_with_its_place() {
        let mut bytes = many();
        bytes.extend_from_slice(b"{}\n");
        bytes.extend_from_slice(&many());
        bytes.extend_from_slice(b"[]\n");
        let error = ahead(&bytes).unwrap_err();
        assert_eq!(error, "h:20001:2: missing field `process`");
        assert_eq!(at_once(&bytes).unwrap_err(), error);
    }

    #[test]
    fn a_line_over_the_limit_is_refused() {
        let mut bytes = many();
        bytes.extend_from_slice(&b"x".repeat(1 << 20));
        let error = "h:20001:300001: the line is longer than 300000 bytes";
        assert_eq!(ahead(&bytes).unwrap_err(), error);
        bytes.extend_from_slice(b"\n{}\n");
        assert_eq!(ahead(&bytes).unwrap_err(), error);
    }

    proptest! {
        #[test]
        fn what_is_read_ahead_is_what_is_read_at_once(
            events in prop::collection::vec(any_event(), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            events.iter().for_each(|event| write_event(&mut bytes, event));
            bytes.truncate(cut.index(bytes.len() + 1));
            prop_assert_eq!(ahead(&bytes), at_once(&bytes));
        }
    }
}
