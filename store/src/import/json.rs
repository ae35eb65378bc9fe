//! A history as one JSON array of objects, as elle-cli takes it.

use std::io::Read;
use std::path::Path;

use super::window::Window;
use crate::batch::{Batcher, Flow};
use crate::jsonl::{NO_INDEX, Names, parse_event, what_is_wrong};
use crate::load::LoadError;

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    /// An operation may come, or the end where there was none yet.
    First,
    /// An operation must come.
    Operation,
    /// A comma or the end must come.
    After,
    End,
}

/// Reads the events of a text.
pub(super) fn each(
    source: impl Read,
    path: &Path,
    batcher: &mut Batcher<'_>,
) -> Result<(), LoadError> {
    let mut window = Window::new(source, path)?;
    let mut names = Names::default();
    let mut state = State::Begin;
    let mut count = 0;
    loop {
        let (text, ended) = window.text()?;
        let (mut at, mut line, mut counted) = (0, window.line(), 0);
        loop {
            let rest = text.as_bytes()[at..].trim_ascii_start();
            at = text.len() - rest.len();
            let Some(byte) = rest.first() else { break };
            state = match (state, byte) {
                (State::Begin, b'[') => State::First,
                (State::First | State::After, b']') => State::End,
                (State::After, b',') => State::Operation,
                (State::First | State::Operation, b'{') => {
                    let Some(length) = length(rest) else { break };
                    let object = &rest[..length];
                    let mut event = parse_event(object, &mut names).map_err(|error| {
                        let offset = offset(object, error.line(), error.column());
                        window.error(at + offset, what_is_wrong(&error))
                    })?;
                    if event.index == NO_INDEX {
                        event.index = count;
                    }
                    count += 1;
                    line +=
                        memchr::memchr_iter(b'\n', &text.as_bytes()[counted..at]).count() as u64;
                    counted = at;
                    if batcher.push(event, line) == Flow::Break(()) {
                        return Ok(());
                    }
                    at += length - 1;
                    State::After
                }
                (State::Begin, _) => return Err(window.error(at, "a history is an array")),
                (State::End, _) => {
                    return Err(window.error(at, "something follows the history's array"));
                }
                (State::After, _) => return Err(window.error(at, "a comma or ] should be here")),
                _ => return Err(window.error(at, "an operation is an object")),
            };
            at += 1;
        }
        match (ended, state) {
            (false, _) => window.advance(at)?,
            (true, State::End) => return Ok(()),
            (true, _) => {
                let message = "the text ends before the history's array does";
                return Err(window.error(text.len(), message));
            }
        }
    }
}

/// The length of the object at the beginning of a text, if its end is there.
fn length(text: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'"' => at = end_of_string(text, at + 1)?,
            _ => {}
        }
        at += 1;
    }
}

/// The place of the quote that ends a string.
fn end_of_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// The place of a line and column, each from 1, in a text.
fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let begin = match line {
        0 | 1 => 0,
        line => memchr::memchr_iter(b'\n', text)
            .nth(line - 2)
            .map_or(text.len(), |end| end + 1),
    };
    (begin + column.saturating_sub(1)).min(text.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::Event;
    use crate::testing::collect;

    fn read(text: &str) -> Result<(Vec<Event>, Vec<u64>), String> {
        let read = collect(|batcher| each(text.as_bytes(), Path::new("h.json"), batcher));
        let (events, lines, ()) = read.map_err(|error| error.to_string())?;
        Ok((events, lines))
    }

    #[test]
    fn an_array_is_a_history() {
        let text = r#"[{"type":"invoke","f":"txn","value":[["r","x",null]],"process":0,"index":4},
                       {"type":"ok","f":"txn","process":0}]"#;
        let (events, lines) = read(text).unwrap();
        assert_eq!((events[0].index, events[1].index), (4, 1));
        assert_eq!(lines, [1, 2]);
        assert_eq!(read(" [ ]\n").unwrap().0, []);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |text: &str| read(text).unwrap_err();
        let okay = error("[\n{\"f\":1,\n\"type\":\"okay\"}]");
        assert!(okay.starts_with("h.json:2:6: invalid type"), "{okay}");
        let okay = error("[\n{\"process\":1,\n\"type\":\"okay\"}]");
        assert!(
            okay.starts_with("h.json:3:13: unknown variant `okay`"),
            "{okay}"
        );
        assert_eq!(
            error("[] []"),
            "h.json:1:4: something follows the history's array"
        );
        assert_eq!(error("[7]"), "h.json:1:2: an operation is an object");
        assert_eq!(error("7"), "h.json:1:1: a history is an array");
        let one = "{\"process\":1,\"type\":\"ok\",\"f\":\"}\\\"\"}";
        assert_eq!(
            error(&format!("[{one},]")),
            format!("h.json:1:{}: an operation is an object", one.len() + 3)
        );
        assert_eq!(
            error(&format!("[{one}{one}]")),
            format!("h.json:1:{}: a comma or ] should be here", one.len() + 2)
        );
        assert_eq!(
            error("[{\"process\":1"),
            "h.json:1:14: the text ends before the history's array does"
        );
    }
}
