//! Reading.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::{DEFAULT_F, fast};
use crate::batch::{Batcher, Flow};
use crate::event::{Event, EventType, Process};
use crate::import::ImportOptions;
use crate::import::edn::{Edn, EdnError, Reader};
use crate::import::window::Window;
use crate::jsonl::{Names, Torn};
use crate::load::LoadError;

/// Reads the events of a text, and says what was cut off at its end.
pub(in crate::import) fn each(
    source: impl Read,
    path: &Path,
    options: ImportOptions,
    batcher: &mut Batcher<'_>,
) -> Result<Option<Torn>, LoadError> {
    let mut window = Window::new(source, path)?;
    let mut reading = Reading {
        place: State::Begin,
        converter: Converter::new(options),
        count: 0,
    };
    loop {
        let (text, ended) = window.text()?;
        let mut stretch = Stretch {
            reader: Reader::new(text),
            text,
            ended,
            line: window.line(),
            counted: 0,
        };
        let (upto, pause) = match reading.read(&mut stretch, batcher) {
            Ok(paused) => paused,
            Err(error) => return Err(window.error(error.offset, error.message)),
        };
        match pause {
            Pause::More => window.advance(upto)?,
            Pause::Done => return Ok(None),
            Pause::Torn => {
                let (line, bytes) = (stretch.line_at(upto), text.len() - upto);
                return Ok(Some(Torn { line, bytes }));
            }
        }
    }
}

/// What is read at once of a text.
struct Stretch<'a> {
    reader: Reader<'a>,
    text: &'a str,
    /// Nothing follows it.
    ended: bool,
    /// The line of what was counted last.
    line: u64,
    /// How far lines were counted.
    counted: usize,
}

impl Stretch<'_> {
    /// The line of a place behind all that were asked for.
    fn line_at(&mut self, offset: usize) -> u64 {
        let between = &self.text.as_bytes()[self.counted..offset];
        self.line += memchr::memchr_iter(b'\n', between).count() as u64;
        self.counted = offset;
        self.line
    }
}

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before everything.
    Begin,
    /// Among operations: in a vector or list that this byte closes, or where they stand alone.
    Among(Option<u8>),
    /// Behind the vector.
    End,
}

/// Why reading does not go on.
enum Pause {
    /// The next thing is not whole in this stretch.
    More,
    /// There is nothing more, or it is not wanted.
    Done,
    /// The last operation was cut in the writing.
    Torn,
}

struct Reading {
    place: State,
    converter: Converter,
    count: u64,
}

impl Reading {
    /// Reads the operations of a stretch. Says how far it came, and why not further.
    fn read(
        &mut self,
        stretch: &mut Stretch<'_>,
        batcher: &mut Batcher<'_>,
    ) -> Result<(usize, Pause), EdnError> {
        let wrong = |offset, message: &str| {
            let message = message.to_owned();
            Err(EdnError {
                offset,
                message,
                cut: false,
            })
        };
        loop {
            let from = stretch.reader.offset();
            let begin = match stretch.reader.next_offset() {
                Err(error) if error.cut && !stretch.ended => return Ok((from, Pause::More)),
                begin => begin?,
            };
            let Some(byte) = stretch.reader.peek() else {
                return match self.place {
                    _ if !stretch.ended => Ok((from, Pause::More)),
                    State::Among(Some(_)) => {
                        wrong(begin, "the text ends before the history's vector does")
                    }
                    _ => Ok((begin, Pause::Done)),
                };
            };
            match (self.place, byte) {
                (State::Begin, b'[' | b'(') => {
                    self.place = State::Among(Some(if byte == b'[' { b']' } else { b')' }));
                    stretch.reader.go_to(begin + 1);
                    continue;
                }
                (State::Begin, _) => self.place = State::Among(None),
                (State::Among(Some(close)), _) if byte == close => {
                    self.place = State::End;
                    stretch.reader.go_to(begin + 1);
                    continue;
                }
                (State::End, _) => return wrong(begin, "something follows the history's vector"),
                _ => {}
            }
            let event = match self.operation(stretch, begin)? {
                Ok(event) => event,
                Err(pause) => return Ok((begin, pause)),
            };
            self.count += 1;
            let line = stretch.line_at(begin);
            if batcher.push(event, line) == Flow::Break(()) {
                return Ok((begin, Pause::Done));
            }
        }
    }

    /// The operation that begins at a place, or why it cannot be read now.
    fn operation(
        &mut self,
        stretch: &mut Stretch<'_>,
        begin: usize,
    ) -> Result<Result<Event, Pause>, EdnError> {
        let known = fast::fields(&stretch.text[begin..], &mut self.converter.names);
        if let Some((fields, length)) = known
            && let Ok(event) = self.converter.event(fields, self.count)
        {
            stretch.reader.go_to(begin + length);
            return Ok(Ok(event));
        }
        let value = match stretch.reader.next_value() {
            Err(error) if error.cut && !stretch.ended => return Ok(Err(Pause::More)),
            // Maps that stand alone were appended as they happened.
            Err(error) if error.cut && self.place == State::Among(None) && self.count > 0 => {
                return Ok(Err(Pause::Torn));
            }
            value => value?,
        };
        let value = value.unwrap_or(Edn::Nil);
        let whole = matches!(value, Edn::Map(_) | Edn::Tagged(..));
        if !whole && !stretch.ended && stretch.reader.offset() == stretch.text.len() {
            return Ok(Err(Pause::More));
        }
        let event = self.converter.fields(&value);
        let event = event.and_then(|fields| self.converter.event(fields, self.count));
        event.map(Ok).map_err(|message| EdnError {
            offset: begin,
            message,
            cut: false,
        })
    }
}

/// Reads the events of a history that is already EDN, such as one inside of a test case.
///
/// # Errors
/// What is wrong with the first value that is no operation.
pub fn events_of(history: &Edn, options: ImportOptions) -> Result<Vec<Event>, String> {
    let operations = history
        .elements()
        .ok_or("a history is a vector of operations")?;
    let mut converter = Converter::new(options);
    let numbered = operations.iter().zip(0..);
    numbered
        .map(|(operation, position)| {
            let fields = converter.fields(operation)?;
            converter.event(fields, position)
        })
        .collect()
}

/// What an operation's map says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a> {
    pub(super) index: Option<u64>,
    pub(super) time: Option<u64>,
    pub(super) process: Option<Process>,
    pub(super) kind: Option<EventType>,
    pub(super) f: Option<Cow<'a, str>>,
    pub(super) key: Option<Value>,
    pub(super) value: Value,
    pub(super) error: Option<Value>,
    pub(super) node: Option<Cow<'a, str>>,
    /// The value is of one of several keys, `[key value]`.
    pub(super) keyed: bool,
    /// Which end of a fault's activity it really is.
    pub(super) event: Option<EventType>,
    /// The fault, where its name cannot be a part of the function's.
    pub(super) fault: Option<Cow<'a, str>>,
}

/// Makes events of maps.
struct Converter {
    options: ImportOptions,
    names: Names,
}

impl Converter {
    fn new(options: ImportOptions) -> Converter {
        Converter {
            options,
            names: Names::default(),
        }
    }

    fn fields<'a>(&mut self, operation: &'a Edn<'a>) -> Result<Fields<'a>, String> {
        if !matches!(operation, Edn::Map(_) | Edn::Tagged(_, _)) {
            return Err("an operation is a map".to_owned());
        }
        let text = |keyword| {
            operation
                .get(keyword)
                .and_then(Edn::text)
                .map(Cow::Borrowed)
        };
        let json = |keyword| operation.get(keyword).map(Edn::to_json).transpose();
        let value = operation.get("value");
        Ok(Fields {
            index: unsigned(operation, "index")?,
            time: unsigned(operation, "time")?,
            process: self.process(operation)?,
            kind: kind(operation)?,
            f: f(operation)?,
            key: json("key")?,
            value: json("value")?.unwrap_or(Value::Null),
            error: json("error")?,
            node: text("node"),
            keyed: matches!(value, Some(Edn::Tagged(tag, _)) if tag.to_lowercase().ends_with("tuple"))
                || operation.get("keyed") == Some(&Edn::Bool(true)),
            event: text("event").and_then(|name| kind_named(&name)),
            fault: text("fault"),
        })
    }

    fn process(&mut self, operation: &Edn) -> Result<Option<Process>, String> {
        match operation.get("process") {
            None | Some(Edn::Nil) => Ok(None),
            Some(Edn::Int(n)) if *n >= 0 => Ok(Some(Process::Client(*n as u64))),
            Some(Edn::Big(text)) => match text.parse() {
                Ok(n) => Ok(Some(Process::Client(n))),
                Err(_) => Err(format!("{text} is no process number")),
            },
            Some(Edn::Keyword(name)) => Ok(Some(Process::Nemesis(self.names.intern(name)))),
            Some(other) => Err(format!("a :process is a number or :nemesis, not {other:?}")),
        }
    }

    /// The event of fields that stand at a position of the history.
    fn event(&mut self, fields: Fields, position: u64) -> Result<Event, String> {
        let mut kind = fields.kind.ok_or("the operation has no :type")?;
        let mut process = fields.process.unwrap_or(Process::Client(0));
        let mut f = fields.f.as_deref().unwrap_or(DEFAULT_F);
        if let Process::Nemesis(_) = process {
            let named = match &fields.fault {
                Some(fault) => Some((&**fault, f)),
                None => f.split_once('/'),
            };
            // A fault without a name cannot be written down.
            if let Some((fault, activity)) = named.filter(|(fault, _)| !fault.is_empty()) {
                process = Process::Nemesis(self.names.intern(fault));
                f = activity;
            }
            kind = fields.event.unwrap_or(kind);
        }
        let asked = self.options.keyed && process.is_client() && !fields.value.is_null();
        let (key, value) = match (fields.keyed || asked, fields.value) {
            (false, value) => (fields.key, value),
            (true, Value::Array(pair)) => match <[Value; 2]>::try_from(pair) {
                Ok([key, value]) => (Some(key), value),
                Err(_) => return Err(NO_PAIR.to_owned()),
            },
            (true, _) => return Err(NO_PAIR.to_owned()),
        };
        Ok(Event {
            index: fields.index.unwrap_or(position),
            time: fields.time.unwrap_or(0),
            process,
            kind,
            f: self.names.intern(f),
            key: key.filter(|key| !key.is_null()),
            value,
            error: fields.error.filter(|error| !error.is_null()),
            node: fields.node.map(|node| self.names.intern(&node)),
        })
    }
}

const NO_PAIR: &str = "the :value of a keyed operation is [key value]";

fn f<'a>(operation: &'a Edn<'a>) -> Result<Option<Cow<'a, str>>, String> {
    match operation.get("f") {
        None | Some(Edn::Nil) => Ok(None),
        Some(f) => match f.text() {
            Some(text) => Ok(Some(text.into())),
            None => Ok(Some(f.to_json()?.to_string().into())),
        },
    }
}

/// The type of event that a keyword names.
pub(super) fn kind_named(name: &str) -> Option<EventType> {
    match name {
        "invoke" => Some(EventType::Invoke),
        "ok" => Some(EventType::Ok),
        "fail" => Some(EventType::Fail),
        "info" => Some(EventType::Info),
        _ => None,
    }
}

fn kind(operation: &Edn) -> Result<Option<EventType>, String> {
    let Some(name) = operation.get("type").and_then(Edn::text) else {
        return Ok(None);
    };
    match kind_named(name) {
        Some(kind) => Ok(Some(kind)),
        None => Err(format!(
            "a :type is :invoke, :ok, :fail or :info, not {name:?}"
        )),
    }
}

/// A number that is not negative; Jepsen writes -1 for one that is not known.
fn unsigned(operation: &Edn, keyword: &str) -> Result<Option<u64>, String> {
    match operation.get(keyword) {
        None | Some(Edn::Nil) => Ok(None),
        Some(Edn::Int(n)) => Ok(u64::try_from(*n).ok()),
        Some(Edn::Big(text)) => match text.parse() {
            Ok(n) => Ok(Some(n)),
            Err(_) => Err(format!("{text} is too large for :{keyword}")),
        },
        Some(other) => Err(format!(":{keyword} is a whole number, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::import::jepsen::read;
    use crate::jsonl::Events;
    use proptest::prelude::*;
    use serde_json::json;

    const KEYED: ImportOptions = ImportOptions { keyed: true };
    const PLAIN: ImportOptions = ImportOptions { keyed: false };

    fn events(text: &str, options: ImportOptions) -> Events {
        read(text, Path::new("h.edn"), options).unwrap()
    }

    #[track_caller]
    fn error(text: &str) -> String {
        read(text, Path::new("h.edn"), PLAIN)
            .unwrap_err()
            .to_string()
    }

    const LINES: &str = "{:index 5, :time 7, :type :invoke, :process 1, :f :write, :value 3}\n\
                         #jepsen.history.Op{:index 6 :type :fail :process 1 :f :write :value 3 \
                         :error [:timeout \"x\"] :node \"n1\", :clock-offsets {}}\n";

    #[test]
    fn maps_alone_in_a_vector_and_in_a_list_are_one_history() {
        let alone = events(LINES, PLAIN).events;
        assert_eq!(alone[0].time, 7);
        assert_eq!((alone[1].index, alone[1].time), (6, 0));
        assert_eq!(alone[1].error, Some(json!(["timeout", "x"])));
        assert_eq!(alone[1].error_class(), Some("timeout"));
        assert_eq!(alone[1].node.as_deref(), Some("n1"));
        assert_eq!(events(&format!("[{LINES}] ; end"), PLAIN).events, alone);
        assert_eq!(events(&format!("; hello\n({LINES})"), PLAIN).events, alone);
    }

    #[test]
    fn what_is_missing_is_filled_in() {
        let read = events(
            "[{:type :invoke, :value [[:r 1 nil]]} {:type :ok :time -1 :index -1}]",
            PLAIN,
        );
        assert_eq!(&*read.events[0].f, "txn");
        assert_eq!(read.events[0].process, Process::Client(0));
        assert_eq!((read.events[1].index, read.events[1].time), (1, 0));
        assert_eq!(read.events[1].value, Value::Null);
    }

    #[test]
    fn a_fault_has_a_name() {
        for f in ["\"/start\"", "start, :fault \"\""] {
            let text = format!("{{:type :info, :process :nemesis, :f {f}}}");
            let read = events(&text, PLAIN).events;
            assert_eq!(read[0].process, Process::Nemesis("nemesis".into()));
        }
    }

    #[test]
    fn tuples_are_taken_apart_when_tagged_or_asked_for() {
        let text = "{:type :invoke, :process 0, :f :cas, :value [7 [1 2]]}\n\
                    {:type :info, :process :nemesis, :f :start, :value [1 2]}\n\
                    {:type :invoke, :process 1, :f :read, :value #jepsen.independent.Tuple[7 nil]}\n\
                    {:type :invoke, :process 2, :f :read}";
        let keys = |options| -> Vec<_> {
            events(text, options)
                .events
                .into_iter()
                .map(|e| (e.key, e.value))
                .collect()
        };
        let seven = Some(json!(7));
        assert_eq!(
            keys(KEYED),
            [
                (seven.clone(), json!([1, 2])),
                (None, json!([1, 2])),
                (seven.clone(), Value::Null),
                (None, Value::Null)
            ]
        );
        assert_eq!(
            keys(PLAIN),
            [
                (None, json!([7, [1, 2]])),
                (None, json!([1, 2])),
                (seven, Value::Null),
                (None, Value::Null)
            ]
        );
        let wrong = read(
            "{:type :ok, :process 0, :f :read, :value 3}",
            Path::new("h.edn"),
            KEYED,
        );
        assert_eq!(
            wrong.unwrap_err().to_string(),
            "h.edn:1:1: the :value of a keyed operation is [key value]"
        );
    }

    #[test]
    fn the_last_of_maps_that_stand_alone_may_be_torn() {
        let cut = &LINES[..LINES.len() - 20];
        let read = events(cut, PLAIN);
        assert_eq!(read.events.len(), 1);
        assert_eq!(read.torn.map(|torn| torn.line), Some(2));
        assert_eq!(error(&format!("[{cut}")), "h.edn:2:19: no '}' closes this");
        assert_eq!(
            error(&format!("[{LINES}")),
            "h.edn:3:1: the text ends before the history's vector does"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(
            error("\n {:type :okay}"),
            "h.edn:2:2: a :type is :invoke, :ok, :fail or :info, not \"okay\""
        );
        assert_eq!(
            error("[{:process 1}]"),
            "h.edn:1:2: the operation has no :type"
        );
        assert_eq!(error("[7]"), "h.edn:1:2: an operation is a map");
        assert_eq!(
            error("[] []"),
            "h.edn:1:4: something follows the history's vector"
        );
        assert_eq!(
            error("{:type :ok :process -1}"),
            "h.edn:1:1: a :process is a number or :nemesis, not Int(-1)"
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in ".{0,80}") {
            let _ = read(&text, Path::new("h.edn"), KEYED);
        }

        #[test]
        fn a_damaged_history_never_panics(at in any::<prop::sample::Index>(), junk in r#"[\[\](){}#:"\\ a-z0-9]{0,4}"#) {
            let mut text = LINES.to_owned();
            let at = at.index(text.len());
            text.replace_range(at..at + 1, &junk);
            let _ = read(&text, Path::new("h.edn"), PLAIN);
        }
    }
}
