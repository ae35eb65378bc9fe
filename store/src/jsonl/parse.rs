//! Reading one line of a history.
//!
//! Two parsers. The fast one knows the lines that we and most others write: plain strings, integers,
//! arrays, objects. For anything else it gives up without judging, and serde reads the line, or says
//! what is wrong with it and where. A property test holds the two together.

use std::path::Path;

use rustc_hash::FxHashSet;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::event::{Event, EventType, Name, Process};
use crate::load::{LoadError, Place};

/// The index of an event that came without one, until its position is known.
pub(crate) const NO_INDEX: u64 = u64::MAX;

/// Names that are kept for sharing. A file with more is not a history that sharing would help.
const NAMES_MAX: usize = 10_000;

/// Nesting that the fast parser follows; serde knows to stop at 128.
const FAST_DEPTH_MAX: usize = 16;

/// Room for more elements than this is not made in advance.
const COMMAS_MAX: usize = 1024;

/// Names seen so far, so that equal names are one allocation.
#[derive(Default)]
pub(crate) struct Names(FxHashSet<Name>);

impl Names {
    /// The shared copy of a name.
    pub(crate) fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.0.get(text) {
            return name.clone();
        }
        let name = Name::from(text);
        if self.0.len() < NAMES_MAX {
            self.0.insert(name.clone());
        }
        name
    }
}

/// Reads an event. One without an index gets [`NO_INDEX`].
pub(crate) fn parse_event(line: &[u8], names: &mut Names) -> Result<Event, serde_json::Error> {
    match fast(line, names) {
        Some(event) => Ok(event),
        None => slow(line, names),
    }
}

/// Why a line is no event, and where in it.
pub(super) struct Wrong {
    pub(super) column: u64,
    pub(super) message: String,
    /// The line may be right as far as it goes.
    pub(super) cut: bool,
}

/// Reads a line, without its line feed. A blank one holds nothing.
pub(super) fn parse_line(
    line: &[u8],
    line_max: usize,
    names: &mut Names,
) -> Result<Option<Event>, Wrong> {
    if line.len() > line_max {
        return Err(Wrong::too_long(line_max));
    }
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    match parse_event(line, names) {
        Ok(event) => Ok(Some(event)),
        Err(error) => Err(Wrong {
            column: (error.column() as u64).max(1),
            message: what_is_wrong(&error),
            // After a power cut the end of a file may be zeros that were never written.
            cut: error.is_eof() || line.ends_with(b"\0"),
        }),
    }
}

impl Wrong {
    /// A line is longer than a line may be.
    pub(super) fn too_long(line_max: usize) -> Wrong {
        Wrong {
            column: line_max as u64 + 1,
            message: format!("the line is longer than {line_max} bytes"),
            cut: false,
        }
    }

    /// The error, of a line by its number.
    pub(super) fn at(self, path: &Path, line: u64) -> LoadError {
        LoadError::Format {
            path: path.to_owned(),
            place: Place {
                line,
                column: self.column,
            },
            message: self.message,
        }
    }
}

/// An event as anyone may have written it.
#[derive(Deserialize)]
struct Line<'a> {
    index: Option<u64>,
    time: Option<u64>,
    process: Process,
    #[serde(rename = "type")]
    kind: EventType,
    #[serde(borrow)]
    f: std::borrow::Cow<'a, str>,
    key: Option<Value>,
    #[serde(default)]
    value: Value,
    error: Option<Value>,
    #[serde(borrow)]
    node: Option<std::borrow::Cow<'a, str>>,
}

impl Line<'_> {
    /// The event, with an index if it came without one.
    fn event(self, index: u64, names: &mut Names) -> Event {
        Event {
            index: self.index.unwrap_or(index),
            time: self.time.unwrap_or(0),
            process: self.process,
            kind: self.kind,
            f: names.intern(&self.f),
            key: self.key,
            value: self.value,
            error: self.error,
            node: self.node.map(|node| names.intern(&node)),
        }
    }
}

fn slow(line: &[u8], names: &mut Names) -> Result<Event, serde_json::Error> {
    let line: Line = serde_json::from_slice(line)?;
    Ok(line.event(NO_INDEX, names))
}

/// What serde says, without its own idea of the place.
pub(crate) fn what_is_wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// The event, or `None` if this parser does not understand the line.
fn fast(line: &[u8], names: &mut Names) -> Option<Event> {
    let mut scan = Scanner { rest: line };
    let mut fields = Fields::default();
    scan.token(b'{')?;
    loop {
        let name = scan.string()?;
        scan.token(b':')?;
        fields.read(name, &mut scan, names)?;
        match scan.next_token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    scan.end()?;
    fields.event()
}

/// The fields read so far. A field that comes twice is left to serde, which refuses it.
#[derive(Default)]
struct Fields {
    index: Option<u64>,
    time: Option<u64>,
    process: Option<Process>,
    kind: Option<EventType>,
    f: Option<Name>,
    key: Option<Value>,
    value: Option<Value>,
    error: Option<Value>,
    node: Option<Name>,
}

impl Fields {
    fn read(&mut self, name: &[u8], scan: &mut Scanner, names: &mut Names) -> Option<()> {
        match name {
            b"index" => once(&mut self.index, scan.unsigned()?),
            b"time" => once(&mut self.time, scan.unsigned()?),
            b"process" => once(&mut self.process, scan.process(names)?),
            b"type" => once(&mut self.kind, scan.kind()?),
            b"f" => once(&mut self.f, names.intern(scan.text()?)),
            b"key" => once(&mut self.key, scan.value(FAST_DEPTH_MAX)?),
            b"value" => once(&mut self.value, scan.value(FAST_DEPTH_MAX)?),
            b"error" => once(&mut self.error, scan.value(FAST_DEPTH_MAX)?),
            b"node" => once(&mut self.node, names.intern(scan.text()?)),
            _ => scan.value(FAST_DEPTH_MAX).map(drop),
        }
    }

    fn event(self) -> Option<Event> {
        Some(Event {
            index: self.index.unwrap_or(NO_INDEX),
            time: self.time.unwrap_or(0),
            process: self.process?,
            kind: self.kind?,
            f: self.f?,
            key: self.key.filter(|key| !key.is_null()),
            value: self.value.unwrap_or(Value::Null),
            error: self.error.filter(|error| !error.is_null()),
            node: self.node,
        })
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// What is left of a line.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// The next byte that is not white space, taken.
    #[inline]
    fn next_token(&mut self) -> Option<u8> {
        let byte = self.peek_token()?;
        self.rest = &self.rest[1..];
        Some(byte)
    }

    /// The next byte that is not white space, left in place.
    #[inline]
    fn peek_token(&mut self) -> Option<u8> {
        loop {
            match self.rest {
                [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] => self.rest = rest,
                [byte, ..] => return Some(*byte),
                [] => return None,
            }
        }
    }

    fn token(&mut self, wanted: u8) -> Option<()> {
        (self.next_token()? == wanted).then_some(())
    }

    fn end(&mut self) -> Option<()> {
        self.peek_token().is_none().then_some(())
    }

    /// A string of printable ASCII without escapes.
    #[inline]
    fn string(&mut self) -> Option<&'a [u8]> {
        self.token(b'"')?;
        let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && *byte != b'"' && *byte != b'\\';
        let length = self.rest.iter().position(|byte| !plain(byte))?;
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest.strip_prefix(b"\"")?;
        Some(text)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    /// A whole number of at most 18 digits, not negative.
    #[inline]
    fn unsigned(&mut self) -> Option<u64> {
        self.peek_token()?;
        let digits = self
            .rest
            .iter()
            .take(19)
            .map(|byte| byte.wrapping_sub(b'0'));
        let mut length = 0;
        let mut number = 0u64;
        for digit in digits.take_while(|digit| *digit < 10) {
            number = number * 10 + u64::from(digit);
            length += 1;
        }
        let leading_zero = length > 1 && self.rest[0] == b'0';
        if length == 0 || length > 18 || leading_zero {
            return None;
        }
        self.rest = &self.rest[length..];
        // A fraction or an exponent is another kind of number.
        match self.rest.first() {
            Some(b'.' | b'e' | b'E') => None,
            _ => Some(number),
        }
    }

    fn process(&mut self, names: &mut Names) -> Option<Process> {
        if self.peek_token()? != b'"' {
            return self.unsigned().map(Process::Client);
        }
        match self.text()? {
            name @ "nemesis" => Some(Process::Nemesis(names.intern(name))),
            text => match text.strip_prefix("nemesis/")? {
                "" => None,
                name => Some(Process::Nemesis(names.intern(name))),
            },
        }
    }

    fn kind(&mut self) -> Option<EventType> {
        match self.string()? {
            b"invoke" => Some(EventType::Invoke),
            b"ok" => Some(EventType::Ok),
            b"fail" => Some(EventType::Fail),
            b"info" => Some(EventType::Info),
            _ => None,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.peek_token()? {
            b'n' => self.word(b"null", Value::Null),
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'"' => self.text().map(Value::from),
            b'[' => self.array(depth.checked_sub(1)?),
            b'{' => self.object(depth.checked_sub(1)?),
            b'-' => {
                self.token(b'-')?;
                // White space may not follow, and minus zero is a float.
                let digit = self.rest.first()?;
                if !matches!(digit, b'1'..=b'9') {
                    return None;
                }
                let number = i64::try_from(self.unsigned()?).ok()?;
                Some(Value::from(-number))
            }
            _ => self.unsigned().map(Value::from),
        }
    }

    fn word(&mut self, word: &[u8], value: Value) -> Option<Value> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(value)
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.token(b'[')?;
        match self.peek_token()? {
            b']' => {
                self.token(b']')?;
                Some(Value::Array(Vec::new()))
            }
            // Growing step by step is most of what a long list costs.
            _ => self.elements(depth, self.commas() + 1),
        }
    }

    /// How many commas there are before the next bracket: one less than the elements of a list of plain values.
    fn commas(&self) -> usize {
        let end = memchr::memchr2(b'[', b']', self.rest).unwrap_or(0);
        memchr::memchr_iter(b',', &self.rest[..end])
            .count()
            .min(COMMAS_MAX)
    }

    /// The elements of an array that is not empty, of which there are about so many.
    fn elements(&mut self, depth: usize, about: usize) -> Option<Value> {
        let mut values = Vec::with_capacity(about);
        loop {
            values.push(self.value(depth)?);
            match self.next_token()? {
                b',' => {}
                b']' => return Some(Value::Array(values)),
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.token(b'{')?;
        let mut map = Map::new();
        if self.peek_token()? == b'}' {
            self.token(b'}')?;
            return Some(Value::Object(map));
        }
        loop {
            let name = self.text()?;
            self.token(b':')?;
            map.insert(name.to_owned(), self.value(depth)?);
            match self.next_token()? {
                b',' => {}
                b'}' => return Some(Value::Object(map)),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::any_event;
    use proptest::prelude::*;

    fn both(line: &str) -> (Option<Event>, Result<Event, String>) {
        let mut names = Names::default();
        let slow = slow(line.as_bytes(), &mut names).map_err(|error| error.to_string());
        (fast(line.as_bytes(), &mut names), slow)
    }

    #[track_caller]
    fn agree(line: &str) {
        let (fast, slow) = both(line);
        if let Some(event) = fast {
            assert_eq!(Ok(event), slow, "{line}");
        }
    }

    #[test]
    fn ordinary_lines_take_the_fast_path() {
        for line in [
            r#"{"index":0,"time":1,"process":3,"type":"invoke","f":"read","key":7,"value":null}"#,
            r#"{"process":"nemesis/kill","type":"ok","f":"start","value":{"n1":["killed"]}}"#,
            r#" { "process" : 3, "type" : "fail", "f" : "cas", "value" : [ -1 , 2 ], "error":["timeout","x"],"node":"n1" } "#,
            r#"{"process":1,"type":"ok","f":"txn","value":[["append","x",1],["r",1,[1,2]]],"extra":{}}"#,
        ] {
            assert!(both(line).0.is_some(), "{line}");
            agree(line);
        }
    }

    #[test]
    fn the_fast_path_accepts_nothing_that_serde_refuses_or_reads_otherwise() {
        let line = |field: &str| format!(r#"{{"process":1,"type":"ok","f":"read",{field}}}"#);
        for field in [
            r#""value":01"#,
            r#""value":-0"#,
            r#""value":- 1"#,
            r#""value":1.5"#,
            r#""value":1e3"#,
            r#""value":18446744073709551616"#,
            r#""value":123456789012345678901"#,
            r#""value":999999999999999999"#,
            r#""value":"a\nb""#,
            r#""value":"é""#,
            r#""value":nulls"#,
            r#""value":[1,]"#,
            r#""value":{"a":1,"a":2}"#,
            r#""value":1 2"#,
            r#""index":-1"#,
            r#""index":null"#,
            r#""time":1.0"#,
            r#""f":"twice""#,
            r#""value":1,"value":2"#,
            r#""node":null"#,
            r#""key":null,"error":null"#,
            r#""process":2"#,
            r#""other":1,"other":2"#,
        ] {
            agree(&line(field));
        }
        for line in [
            "",
            "{}",
            "{",
            "[]",
            "null",
            r#"{"process":"nemesis/","type":"ok","f":""}"#,
        ] {
            agree(line);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (_, slow) = both(r#"{"process":1,"type":"maybe","f":"read"}"#);
        let error = slow.unwrap_err();
        assert!(error.contains("unknown variant `maybe`"), "{error}");
        let (_, slow) = both(r#"{"process":1,"type":"ok"}"#);
        assert!(slow.unwrap_err().contains("missing field `f`"));
    }

    proptest! {
        #[test]
        fn the_two_parsers_agree_on_events(event in any_event()) {
            agree(&serde_json::to_string(&event).unwrap());
        }

        #[test]
        fn the_two_parsers_agree_on_damaged_lines(
            event in any_event(),
            at in any::<prop::sample::Index>(),
            junk in r#"[-{}\[\]",:.0-9a-z \\]{0,3}"#,
        ) {
            let mut line = serde_json::to_string(&event).unwrap();
            let mut from = at.index(line.len());
            while !line.is_char_boundary(from) {
                from -= 1;
            }
            let to = (from + 1..=line.len()).find(|&to| line.is_char_boundary(to)).unwrap();
            line.replace_range(from..to, &junk);
            agree(&line);
        }
    }
}
