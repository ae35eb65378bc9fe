//! EDN, the notation of Clojure's data: as much of it as histories and test cases are written in.
//!
//! Read: `nil`, booleans, numbers (`7 -1 7N 0x1f 1.5 1.5M 1/3 ##NaN`), strings, characters,
//! keywords, symbols, lists, vectors, sets, maps, tagged values. Skipped: white space, commas,
//! comments, discarded forms (`#_`), metadata (`^`). Not read: namespaced maps (`#:a{…}`).

use std::borrow::Cow;

use serde_json::{Map, Number, Value};
use thiserror::Error;

/// Nesting beyond which a text is refused: reading is recursive, and the stack is finite.
pub const DEPTH_MAX: usize = 128;

/// A value, borrowing from its text where it can.
#[derive(Clone, Debug, PartialEq)]
pub enum Edn<'a> {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// A whole number of more, or a ratio, as written.
    Big(&'a str),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string, or a regular expression.
    String(Cow<'a, str>),
    /// A character.
    Char(char),
    /// A keyword, without its colon.
    Keyword(&'a str),
    /// A symbol.
    Symbol(&'a str),
    /// `(…)`
    List(Vec<Edn<'a>>),
    /// `[…]`
    Vector(Vec<Edn<'a>>),
    /// `#{…}`, in the order written.
    Set(Vec<Edn<'a>>),
    /// `{…}`, in the order written.
    Map(Vec<(Edn<'a>, Edn<'a>)>),
    /// `#tag value`
    Tagged(&'a str, Box<Edn<'a>>),
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct EdnError {
    /// Where, in bytes.
    pub offset: usize,
    /// What.
    pub message: String,
    /// The text ends in the middle of a value.
    pub cut: bool,
}

impl<'a> Edn<'a> {
    /// The value of a keyword in a map, tagged or not.
    pub fn get(&self, keyword: &str) -> Option<&Edn<'a>> {
        match self {
            Edn::Map(entries) => entries
                .iter()
                .find(|(key, _)| *key == Edn::Keyword(keyword))
                .map(|(_, value)| value),
            Edn::Tagged(_, value) => value.get(keyword),
            _ => None,
        }
    }

    /// The elements of a list, vector or set, tagged or not.
    pub fn elements(&self) -> Option<&[Edn<'a>]> {
        match self {
            Edn::List(elements) | Edn::Vector(elements) | Edn::Set(elements) => Some(elements),
            Edn::Tagged(_, value) => value.elements(),
            _ => None,
        }
    }

    /// The text of a keyword, symbol or string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Edn::Keyword(text) | Edn::Symbol(text) => Some(text),
            Edn::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON: keywords, symbols and characters become strings, all collections arrays,
    /// the keys of maps strings; tags are left out; numbers that JSON has not become strings.
    ///
    /// # Errors
    /// When two keys of a map would become one.
    pub fn to_json(&self) -> Result<Value, String> {
        Ok(match self {
            Edn::Nil => Value::Null,
            Edn::Bool(bool) => Value::Bool(*bool),
            Edn::Int(int) => Value::from(*int),
            Edn::Big(text) => text
                .parse::<u64>()
                .map_or_else(|_| Value::from(*text), Value::from),
            Edn::Float(float) => {
                Number::from_f64(*float).map_or_else(|| float.to_string().into(), Value::Number)
            }
            Edn::String(text) => Value::from(text.as_ref()),
            Edn::Char(char) => Value::from(char.to_string()),
            Edn::Keyword(text) | Edn::Symbol(text) => Value::from(*text),
            Edn::List(elements) | Edn::Vector(elements) | Edn::Set(elements) => Value::Array(
                elements
                    .iter()
                    .map(Edn::to_json)
                    .collect::<Result<_, _>>()?,
            ),
            Edn::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let key = key.to_key()?;
                    let value = value.to_json()?;
                    if map.insert(key.clone(), value).is_some() {
                        return Err(format!("two keys of a map would both be {key:?} in JSON"));
                    }
                }
                Value::Object(map)
            }
            Edn::Tagged(_, value) => value.to_json()?,
        })
    }

    fn to_key(&self) -> Result<String, String> {
        Ok(match self.to_json()? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

/// Reads one value after another from a text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of a text.
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0 }
    }

    /// The next value, or `None` at the end.
    pub fn next_value(&mut self) -> Result<Option<Edn<'a>>, EdnError> {
        self.skip(DEPTH_MAX)?;
        match self.peek() {
            None => Ok(None),
            Some(_) => self.value(DEPTH_MAX).map(Some),
        }
    }

    /// The beginning of the next value, in bytes, or the end of the text.
    pub(super) fn next_offset(&mut self) -> Result<usize, EdnError> {
        self.skip(DEPTH_MAX)?;
        Ok(self.at)
    }

    /// Where it stands, in bytes.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Goes on from another place, between two characters.
    pub(super) fn go_to(&mut self, offset: usize) {
        self.at = offset;
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error<T>(&self, offset: usize, message: impl Into<String>) -> Result<T, EdnError> {
        Err(EdnError {
            offset,
            message: message.into(),
            cut: self.at >= self.text.len(),
        })
    }

    /// Skips all that is no value.
    fn skip(&mut self, depth: usize) -> Result<(), EdnError> {
        loop {
            let rest = self.rest().as_bytes();
            match rest {
                [b' ' | b',' | b'\t' | b'\n' | b'\r' | 0x0c, ..] => self.at += 1,
                [b';', ..] | [b'#', b'!', ..] => {
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                // The form that follows is discarded, or describes the one after it.
                [b'#', b'_', ..] => {
                    self.at += 2;
                    self.nested(depth)?;
                }
                [b'^', ..] => {
                    self.at += 1;
                    self.nested(depth)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// A value inside of another.
    fn nested(&mut self, depth: usize) -> Result<Edn<'a>, EdnError> {
        match depth.checked_sub(1) {
            Some(depth) => self.value(depth),
            None => Err(EdnError {
                offset: self.at,
                message: format!("nested deeper than {DEPTH_MAX}"),
                cut: false,
            }),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Edn<'a>, EdnError> {
        self.skip(depth)?;
        let start = self.at;
        let Some(byte) = self.peek() else {
            return self.error(start, "the text ends where a value should be");
        };
        match byte {
            b'(' | b'[' | b'{' | b'"' | b'\\' | b'#' | b':' => self.at += 1,
            b')' | b']' | b'}' => {
                let message = format!("nothing here is closed by {:?}", char::from(byte));
                return self.error(start, message);
            }
            _ => return self.atom(),
        }
        match byte {
            b'(' => self.until(b')', start, depth).map(Edn::List),
            b'[' => self.until(b']', start, depth).map(Edn::Vector),
            b'{' => self.map(start, depth),
            b'"' => self.string(start).map(Edn::String),
            b'\\' => self.char(start),
            b'#' => self.dispatch(start, depth),
            _ => match self.token() {
                "" => self.error(start, "a keyword without a name"),
                name => Ok(Edn::Keyword(name)),
            },
        }
    }

    fn until(&mut self, close: u8, start: usize, depth: usize) -> Result<Vec<Edn<'a>>, EdnError> {
        let mut elements = Vec::new();
        loop {
            self.skip(depth)?;
            match self.peek() {
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(elements);
                }
                Some(_) => elements.push(self.nested(depth)?),
                None => {
                    return self.error(start, format!("no {:?} closes this", char::from(close)));
                }
            }
        }
    }

    fn map(&mut self, start: usize, depth: usize) -> Result<Edn<'a>, EdnError> {
        let mut elements = self.until(b'}', start, depth)?.into_iter();
        let mut entries = Vec::with_capacity(elements.len() / 2);
        while let Some(key) = elements.next() {
            match elements.next() {
                Some(value) => entries.push((key, value)),
                None => {
                    return Err(EdnError {
                        offset: start,
                        message: "a key of this map has no value".to_owned(),
                        cut: false,
                    });
                }
            }
        }
        Ok(Edn::Map(entries))
    }

    /// What follows a `#`.
    fn dispatch(&mut self, start: usize, depth: usize) -> Result<Edn<'a>, EdnError> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                self.until(b'}', start, depth).map(Edn::Set)
            }
            Some(b'"') => {
                self.at += 1;
                self.raw_string(start).map(|text| Edn::String(text.into()))
            }
            Some(b'#') => {
                self.at += 1;
                match self.token() {
                    "Inf" => Ok(Edn::Float(f64::INFINITY)),
                    "-Inf" => Ok(Edn::Float(f64::NEG_INFINITY)),
                    "NaN" => Ok(Edn::Float(f64::NAN)),
                    _ => self.error(start, "a symbolic value is ##Inf, ##-Inf or ##NaN"),
                }
            }
            Some(b':') => self.error(start, "namespaced maps are not read"),
            _ => match self.token() {
                "" => self.error(start, "a tag without a name"),
                tag => Ok(Edn::Tagged(tag, Box::new(self.nested(depth)?))),
            },
        }
    }

    /// Takes the longest text that could be a symbol, keyword or number.
    fn token(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().position(ends_token).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn atom(&mut self) -> Result<Edn<'a>, EdnError> {
        let start = self.at;
        let token = self.token();
        let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
        if unsigned.starts_with(|first: char| first.is_ascii_digit()) {
            return match number(token) {
                Some(number) => Ok(number),
                None => self.error(start, format!("{token:?} is no number")),
            };
        }
        match token {
            "" => {
                let char = self.rest().chars().next().unwrap_or(' ');
                self.error(start, format!("{char:?} begins no value"))
            }
            "nil" => Ok(Edn::Nil),
            "true" => Ok(Edn::Bool(true)),
            "false" => Ok(Edn::Bool(false)),
            symbol => Ok(Edn::Symbol(symbol)),
        }
    }

    fn char(&mut self, start: usize) -> Result<Edn<'a>, EdnError> {
        let Some(first) = self.rest().chars().next() else {
            return self.error(start, "the text ends in a character");
        };
        let from = self.at;
        self.at += first.len_utf8();
        self.token();
        let char = match &self.text[from..self.at] {
            "newline" => Some('\n'),
            "space" => Some(' '),
            "tab" => Some('\t'),
            "return" => Some('\r'),
            "backspace" => Some('\u{8}'),
            "formfeed" => Some('\u{c}'),
            name if name.len() == first.len_utf8() => Some(first),
            name => name
                .strip_prefix('u')
                .filter(|digits| digits.len() == 4)
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32),
        };
        match char {
            Some(char) => Ok(Edn::Char(char)),
            None => self.error(start, "no such character"),
        }
    }

    /// The text up to the closing quote, escapes as they stand.
    fn raw_string(&mut self, start: usize) -> Result<&'a str, EdnError> {
        let from = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match memchr::memchr2(b'"', b'\\', &bytes[self.at..]) {
                Some(offset) if bytes[self.at + offset] == b'"' => {
                    let to = self.at + offset;
                    self.at = to + 1;
                    return Ok(&self.text[from..to]);
                }
                // Whatever is escaped, its first byte is not the closing quote.
                Some(offset) if self.at + offset + 2 <= bytes.len() => self.at += offset + 2,
                _ => {
                    self.at = bytes.len();
                    return self.error(start, "no quote closes this string");
                }
            }
        }
    }

    fn string(&mut self, start: usize) -> Result<Cow<'a, str>, EdnError> {
        let raw = self.raw_string(start)?;
        if !raw.contains('\\') {
            return Ok(Cow::Borrowed(raw));
        }
        match unescape(raw) {
            Some(text) => Ok(Cow::Owned(text)),
            None => Err(EdnError {
                offset: start,
                message:
                    "an escape in this string is none of \\t \\n \\r \\b \\f \\\\ \\\" \\uXXXX"
                        .to_owned(),
                cut: false,
            }),
        }
    }
}

/// Whether a byte ends a symbol, keyword or number.
pub(super) fn ends_token(byte: u8) -> bool {
    ENDS_TOKEN[usize::from(byte)]
}

static ENDS_TOKEN: [bool; 256] = {
    let mut ends = [false; 256];
    let bytes = b" \t\n\r\x0c,;\"^\\@`~()[]{}";
    let mut at = 0;
    while at < bytes.len() {
        ends[bytes[at] as usize] = true;
        at += 1;
    }
    ends
};

fn number(token: &str) -> Option<Edn<'_>> {
    let (negative, digits) = match token.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, token.strip_prefix('+').unwrap_or(token)),
    };
    let sign = if negative { -1 } else { 1 };
    if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        return i64::from_str_radix(hex, 16)
            .ok()
            .map(|n| Edn::Int(sign * n));
    }
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = digits.strip_suffix('N').unwrap_or(digits);
    if plain(whole) {
        // A leading zero would make it octal for some readers and decimal for others.
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let signed = token.strip_suffix('N').unwrap_or(token);
        return Some(signed.parse().map_or(Edn::Big(signed), Edn::Int));
    }
    if let Some((numerator, denominator)) = digits.split_once('/') {
        return (plain(numerator) && plain(denominator)).then_some(Edn::Big(token));
    }
    let decimal = digits.strip_suffix('M').unwrap_or(digits);
    if !decimal
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return None;
    }
    decimal
        .parse()
        .ok()
        .map(|n: f64| Edn::Float(f64::from(sign as i32) * n))
}

fn unescape(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            text.push(char);
            continue;
        }
        text.push(match chars.next()? {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            '\\' => '\\',
            '"' => '"',
            'u' => {
                let unit = code_unit(&mut chars)?;
                match char::decode_utf16([unit]).next()? {
                    Ok(char) => char,
                    Err(_) => surrogate(unit, &mut chars)?,
                }
            }
            _ => return None,
        });
    }
    Some(text)
}

fn code_unit(chars: &mut std::str::Chars) -> Option<u16> {
    let digits = chars.as_str().get(..4)?;
    *chars = chars.as_str()[4..].chars();
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The character that a high surrogate begins.
fn surrogate(high: u16, chars: &mut std::str::Chars) -> Option<char> {
    *chars = chars.as_str().strip_prefix("\\u")?.chars();
    let low = code_unit(chars)?;
    char::decode_utf16([high, low]).next()?.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(text: &str) -> Edn<'_> {
        let mut reader = Reader::new(text);
        let value = reader.next_value().unwrap().unwrap();
        assert_eq!(reader.next_value(), Ok(None), "{text}");
        value
    }

    fn json(text: &str) -> Value {
        one(text).to_json().unwrap()
    }

    #[track_caller]
    fn error(text: &str) -> EdnError {
        Reader::new(text).next_value().unwrap_err()
    }

    #[test]
    fn atoms() {
        assert_eq!(json("[nil true false]"), json!([null, true, false]));
        assert_eq!(json("[0 7 -7 +7 7N -0x1F]"), json!([0, 7, -7, 7, 7, -31]));
        assert_eq!(
            json("[1.5 -1.5e3 2.5M 1E2]"),
            json!([1.5, -1500.0, 2.5, 100.0])
        );
        assert_eq!(json("[1/3 -1/3]"), json!(["1/3", "-1/3"]));
        assert_eq!(
            json("[9223372036854775807 9223372036854775808N 99999999999999999999999]"),
            json!([
                i64::MAX,
                9_223_372_036_854_775_808_u64,
                "99999999999999999999999"
            ])
        );
        assert_eq!(json("[##Inf ##-Inf ##NaN]"), json!(["inf", "-inf", "NaN"]));
        assert_eq!(
            json("[:a :a/b :can't sym - + .x]"),
            json!(["a", "a/b", "can't", "sym", "-", "+", ".x"])
        );
        assert_eq!(
            json(r#"["" "a\n\"\u00e9\ud83d\ude00" "é"]"#),
            json!(["", "a\n\"é😀", "é"])
        );
        assert_eq!(
            json(r"[\a \newline \u0041 \é \( ]"),
            json!(["a", "\n", "A", "é", "("])
        );
    }

    #[test]
    fn collections_and_what_is_skipped() {
        assert_eq!(json("(1, [2 #{3 4}] ())"), json!([1, [2, [3, 4]], []]));
        assert_eq!(
            json("{:a 1, \"b\" {2 3} nil 4 [1 2] 5}"),
            json!({"a": 1, "b": {"2": 3}, "null": 4, "[1,2]": 5})
        );
        assert_eq!(
            json("; hello\n [1 ; two\n #_2 #_ #_ 3 4 ^:meta 5 ^{:a 1} [6]]"),
            json!([1, 5, [6]])
        );
        assert_eq!(json("#jepsen.history.Op{:index 1}"), json!({"index": 1}));
        assert_eq!(json("#inst \"2026-11-22\""), json!("2026-11-22"));
        assert_eq!(
            json(r#"#object[elle.BitRels 0x73f94bf8 "x"]"#)[1],
            json!(0x73f9_4bf8)
        );
        assert_eq!(json(r##"#"a\"b""##), json!(r#"a\"b"#));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let at = |text: &str| (error(text).offset, error(text).cut);
        assert_eq!(at("[1 2"), (0, true));
        assert_eq!(at("{:a \"x"), (4, true));
        assert_eq!(at("  ]"), (2, false));
        assert_eq!(at("[1 )"), (3, false));
        assert_eq!(at("{:a}"), (0, false));
        assert_eq!(at("[12x]"), (1, false));
        assert_eq!(at("[007]"), (1, false));
        assert_eq!(at("[1 :]"), (3, false));
        assert_eq!(at("#:a{:b 1}"), (0, false));
        assert_eq!(error("12x ").to_string(), "\"12x\" is no number");
        let clash = one("{:a 1 \"a\" 2}").to_json().unwrap_err();
        assert_eq!(clash, "two keys of a map would both be \"a\" in JSON");
    }

    #[test]
    fn deep_nesting_is_refused_rather_than_overflow_the_stack() {
        for open in ["[", "(", "{", "#{", "#_", "^", "#a ", "{:a ", "[#_"] {
            let text = open.repeat(100_000);
            let error = error(&text);
            assert!(
                error.message.starts_with("nested deeper"),
                "{open}: {error}"
            );
        }
        let fits = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        one(&fits);
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in ".{0,60}") {
            let _ = Reader::new(&text).next_value();
        }

        #[test]
        fn text_of_edn_never_panics(text in r#"[\[\](){}#^_":;\\a-f0-9nN./+x '\n-]{0,40}"#) {
            let mut reader = Reader::new(&text);
            while let Ok(Some(value)) = reader.next_value() {
                let _ = value.to_json();
            }
        }

        #[test]
        fn json_is_almost_edn(value in crate::testing::any_value()) {
            // Colons are the one thing that JSON has between values and EDN has not; commas may stay.
            let text = without_colons(&value);
            prop_assert_eq!(json(&text), value);
        }
    }

    fn without_colons(value: &Value) -> String {
        match value {
            Value::Null => "nil".to_owned(),
            Value::Array(values) => {
                let values: Vec<_> = values.iter().map(without_colons).collect();
                format!("[{}]", values.join(", "))
            }
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| {
                    format!("{} {}", Value::from(key.as_str()), without_colons(value))
                };
                let entries: Vec<_> = map.iter().map(entry).collect();
                format!("{{{}}}", entries.join(", "))
            }
            other => other.to_string(),
        }
    }
}
