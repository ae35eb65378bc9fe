//! Reading one operation quickly.
//!
//! This parser knows the maps that Jepsen and most others write: keywords, whole numbers, plain strings, vectors, maps. For anything
//! else it gives up without judging, and the general reader reads the map, or says what is wrong with it and where. A property test
//! holds the two together.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::read::{Fields, kind_named};
use crate::event::{EventType, Process};
use crate::import::edn::ends_token;
use crate::jsonl::Names;

/// Nesting that this parser follows.
const DEPTH_MAX: usize = 16;

/// What stands before a map that is printed as a record.
const RECORD: &str = "#jepsen.history.Op";

/// What the operation at the beginning of a text says, and how long it is. `None` if this parser does not understand it, or the text
/// ends before it does.
pub(super) fn fields<'a>(text: &'a str, names: &mut Names) -> Option<(Fields<'a>, usize)> {
    let mut scan = Scanner { text, at: 0 };
    if text.starts_with(RECORD) {
        scan.at = RECORD.len();
    }
    scan.token(b'{')?;
    let mut fields = Fields::default();
    let mut seen = 0;
    while scan.next()? != b'}' {
        scan.token(b':')?;
        let name = scan.name()?;
        let bit = field(&mut fields, name, &mut scan, names)?;
        // The first of two counts; the general reader knows.
        if seen & bit != 0 {
            return None;
        }
        seen |= bit;
    }
    scan.at += 1;
    Some((fields, scan.at))
}

/// Reads the value of a field. Every field that is known has a bit of its own.
fn field<'a>(
    fields: &mut Fields<'a>,
    name: &str,
    scan: &mut Scanner<'a>,
    names: &mut Names,
) -> Option<u32> {
    Some(match name {
        "index" => {
            fields.index = scan.unsigned()?;
            1
        }
        "time" => {
            fields.time = scan.unsigned()?;
            1 << 1
        }
        "type" => {
            fields.kind = Some(scan.kind()?);
            1 << 2
        }
        "process" => {
            fields.process = Some(scan.process(names)?);
            1 << 3
        }
        "f" => {
            fields.f = Some(scan.text()?);
            1 << 4
        }
        "value" => {
            fields.value = scan.value(DEPTH_MAX)?;
            1 << 5
        }
        "key" => {
            fields.key = Some(scan.value(DEPTH_MAX)?);
            1 << 6
        }
        "error" => {
            fields.error = Some(scan.value(DEPTH_MAX)?);
            1 << 7
        }
        "node" => {
            fields.node = Some(scan.text()?);
            1 << 8
        }
        "event" => {
            fields.event = kind_named(&scan.text()?);
            1 << 9
        }
        "fault" => {
            fields.fault = Some(scan.text()?);
            1 << 10
        }
        "keyed" => {
            fields.keyed = scan.value(DEPTH_MAX)? == Value::Bool(true);
            1 << 11
        }
        _ => {
            scan.value(DEPTH_MAX)?;
            0
        }
    })
}

/// What is left of a text.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is neither white space nor a comma, left in place.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            match byte {
                b' ' | b',' | b'\t' | b'\n' | b'\r' | 0x0c => self.at += 1,
                _ => return Some(byte),
            }
        }
    }

    /// Takes a byte.
    #[inline]
    fn token(&mut self, wanted: u8) -> Option<()> {
        let found = self.next()? == wanted;
        self.at += usize::from(found);
        found.then_some(())
    }

    /// Takes the longest text that could be a symbol, keyword or number, and that something ends.
    #[inline]
    fn name(&mut self) -> Option<&'a str> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| ends_token(*byte))?;
        let name = self.text.get(self.at..self.at + length)?;
        self.at += length;
        (length > 0).then_some(name)
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.token(b'"')?;
        let rest = &self.text.as_bytes()[self.at..];
        let length = memchr::memchr2(b'"', b'\\', rest)?;
        if rest[length] == b'\\' {
            return None;
        }
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(text)
    }

    /// The text of a keyword or a string.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        match self.next()? {
            b':' => {
                self.at += 1;
                self.name().map(Cow::Borrowed)
            }
            _ => self.string().map(Cow::Borrowed),
        }
    }

    fn kind(&mut self) -> Option<EventType> {
        self.token(b':')?;
        kind_named(self.name()?)
    }

    fn process(&mut self, names: &mut Names) -> Option<Process> {
        match self.next()? {
            b':' => {
                self.at += 1;
                Some(Process::Nemesis(names.intern(self.name()?)))
            }
            _ => u64::try_from(self.integer()?).ok().map(Process::Client),
        }
    }

    /// A number that is unknown if it is negative.
    fn unsigned(&mut self) -> Option<Option<u64>> {
        self.next()?;
        Some(u64::try_from(self.integer()?).ok())
    }

    /// A whole number of at most 18 digits.
    #[inline]
    fn integer(&mut self) -> Option<i64> {
        let bytes = &self.text.as_bytes()[self.at..];
        let negative = bytes.first() == Some(&b'-');
        let begin = usize::from(negative);
        let mut end = begin;
        let mut number = 0i64;
        loop {
            let digit = bytes.get(end)?.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if end - begin == 18 {
                return None;
            }
            number = number * 10 + i64::from(digit);
            end += 1;
        }
        let leading_zero = end - begin > 1 && bytes[begin] == b'0';
        if end == begin || leading_zero || !ends_token(bytes[end]) {
            return None;
        }
        self.at += end;
        Some(if negative { -number } else { number })
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.next()? {
            b':' => {
                self.at += 1;
                self.name().map(Value::from)
            }
            b'"' => self.string().map(Value::from),
            b'[' => self.elements(b']', depth.checked_sub(1)?),
            b'(' => self.elements(b')', depth.checked_sub(1)?),
            b'{' => self.map(depth.checked_sub(1)?),
            b'-' | b'0'..=b'9' => self.integer().map(Value::from),
            _ => match self.name()? {
                "nil" => Some(Value::Null),
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            },
        }
    }

    /// The elements of a vector or a list.
    fn elements(&mut self, close: u8, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            if self.next()? == close {
                self.at += 1;
                return Some(Value::Array(values));
            }
            values.push(self.value(depth)?);
        }
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut map = Map::new();
        loop {
            if self.next()? == b'}' {
                self.at += 1;
                return Some(Value::Object(map));
            }
            let key = match self.value(0)? {
                Value::String(text) => text,
                other => other.to_string(),
            };
            if map.insert(key, self.value(depth)?).is_some() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;
    use crate::import::ImportOptions;
    use crate::import::edn::Reader;
    use crate::import::jepsen::{events_of, read, write_edn};
    use crate::testing::any_event;
    use proptest::prelude::*;

    const KEYED: ImportOptions = ImportOptions { keyed: true };

    #[test]
    fn ordinary_operations_take_the_fast_path() {
        for text in [
            "{:index 0, :time 3291485317, :type :invoke, :process 0, :f :write, :value 3}",
            "{:type :info :process :nemesis :f :kill/start :value {\"n1\" :killed, 2 nil} :event :fail}",
            "#jepsen.history.Op{:type :ok :process 1 :f :txn :value [[:append \"x\" -1] (:r 1 [1 2])] :clock-offsets {}}",
            "{:type :fail, :process 7, :f \"cas\", :value [0 [1 2]], :error [:timeout \"é\"], :time -1 :node \"n1\"}",
        ] {
            let (_, length) = fields(text, &mut Names::default()).unwrap();
            assert_eq!(length, text.len(), "{text}");
            agree(text);
            for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                assert_eq!(fields(&text[..cut], &mut Names::default()), None);
            }
        }
    }

    /// What the fast path reads, the general reader reads too, and the same.
    #[track_caller]
    fn agree(text: &str) {
        let Some((_, length)) = fields(text, &mut Names::default()) else {
            return;
        };
        for options in [KEYED, ImportOptions::default()] {
            let mut reader = Reader::new(text);
            let value = reader.next_value().unwrap().unwrap();
            assert_eq!(reader.offset(), length, "{text}");
            let vector = crate::import::edn::Edn::Vector(vec![value]);
            let general = events_of(&vector, options);
            let read = read(&text[..length], Path::new("h"), options);
            match (general, read) {
                (Ok(general), Ok(read)) => assert_eq!(general, read.events, "{text}"),
                (general, read) => assert!(general.is_err() && read.is_err(), "{text}"),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_alike(event in any_event()) {
            let mut text = String::new();
            write_edn(&mut text, &event);
            agree(&text);
        }

        #[test]
        fn damaged_text_is_read_alike(
            event in any_event(),
            at in any::<prop::sample::Index>(),
            junk in r#"[\[\](){}#:"\\ a-z0-9,;^+.-]{0,4}"#,
        ) {
            let mut text = String::new();
            write_edn(&mut text, &event);
            let mut at = at.index(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
            text.replace_range(at..end, &junk);
            agree(&text);
        }

        #[test]
        fn text_of_edn_is_read_alike(inner in r#"(:(type|process|f|value|index|time|keyed|x) |:ok |:(a/b|nemesis) |[0-9-]{1,3} |[\[\](){}#,;^"a:\\.N ]){0,20}"#) {
            agree(&format!("{{:type :ok {inner}}}"));
        }
    }
}
