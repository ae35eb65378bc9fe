//! Reading.

use std::path::Path;

use serde_json::Value;

use super::DEFAULT_F;
use crate::event::{Event, EventType, Process};
use crate::import::ImportOptions;
use crate::import::edn::{Edn, EdnError, Reader};
use crate::jsonl::{Events, Names, Torn};
use crate::load::{LoadError, Place};

/// Reads the events of a text.
pub(in crate::import) fn read(
    text: &str,
    path: &Path,
    options: ImportOptions,
) -> Result<Events, LoadError> {
    let mut events = Vec::new();
    let torn = each(text, path, options, &mut |event| events.push(event))?;
    Ok(Events { events, torn })
}

/// Reads the events of a text one by one, and says what was cut off at its end.
pub(in crate::import) fn each(
    text: &str,
    path: &Path,
    options: ImportOptions,
    take: &mut dyn FnMut(Event),
) -> Result<Option<Torn>, LoadError> {
    let mut reader = Reader::new(text);
    let mut converter = Converter::new(options);
    let mut count = 0;
    let failed = |error: EdnError| LoadError::Format {
        path: path.to_owned(),
        place: Place::of(text.as_bytes(), error.offset),
        message: error.message,
    };
    let close = reader.enter().map_err(failed)?;
    loop {
        if let Some(close) = close
            && reader.leave(close).map_err(failed)?
        {
            break;
        }
        let offset = reader.next_offset().map_err(failed)?;
        let value = match reader.next_value() {
            Ok(Some(value)) => value,
            Ok(None) if close.is_none() => return Ok(None),
            Ok(None) => {
                return Err(failed(EdnError {
                    offset,
                    message: "the text ends before the history's vector does".to_owned(),
                    cut: true,
                }));
            }
            // Maps that stand alone were appended as they happened.
            Err(error) if error.cut && close.is_none() && count > 0 => {
                return Ok(Some(Torn {
                    line: Place::of(text.as_bytes(), offset).line,
                    bytes: text.len() - offset,
                }));
            }
            Err(error) => return Err(failed(error)),
        };
        let event = converter.event(&value, count);
        let event = event.map_err(|message| {
            failed(EdnError {
                offset,
                message,
                cut: false,
            })
        })?;
        count += 1;
        take(event);
    }
    let offset = reader.next_offset().map_err(failed)?;
    match reader.next_value().map_err(failed)? {
        None => Ok(None),
        Some(_) => Err(failed(EdnError {
            offset,
            message: "something follows the history's vector".to_owned(),
            cut: false,
        })),
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
        .map(|(operation, position)| converter.event(operation, position))
        .collect()
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

    fn event(&mut self, operation: &Edn, position: u64) -> Result<Event, String> {
        if !matches!(operation, Edn::Map(_) | Edn::Tagged(_, _)) {
            return Err("an operation is a map".to_owned());
        }
        let (mut process, mut f) = (self.process(operation)?, self.f(operation)?);
        if let (Process::Nemesis(_), Some((fault, activity))) = (&process, f.split_once('/')) {
            process = Process::Nemesis(self.names.intern(fault));
            f = activity.to_owned();
        }
        let (key, value) = self.key_and_value(operation, &process)?;
        let error = operation.get("error").map(Edn::to_json).transpose()?;
        let node = operation.get("node").and_then(Edn::text);
        Ok(Event {
            index: unsigned(operation, "index")?.unwrap_or(position),
            time: unsigned(operation, "time")?.unwrap_or(0),
            process,
            kind: kind(operation)?,
            f: self.names.intern(&f),
            key: key.filter(|key| !key.is_null()),
            value,
            error: error.filter(|error| !error.is_null()),
            node: node.map(|node| self.names.intern(node)),
        })
    }

    fn process(&mut self, operation: &Edn) -> Result<Process, String> {
        match operation.get("process") {
            None | Some(Edn::Nil) => Ok(Process::Client(0)),
            Some(Edn::Int(n)) if *n >= 0 => Ok(Process::Client(*n as u64)),
            Some(Edn::Big(text)) => match text.parse() {
                Ok(n) => Ok(Process::Client(n)),
                Err(_) => Err(format!("{text} is no process number")),
            },
            Some(Edn::Keyword(name)) => Ok(Process::Nemesis(self.names.intern(name))),
            Some(other) => Err(format!("a :process is a number or :nemesis, not {other:?}")),
        }
    }

    fn f(&self, operation: &Edn) -> Result<String, String> {
        match operation.get("f") {
            None | Some(Edn::Nil) => Ok(DEFAULT_F.to_owned()),
            Some(f) => match f.text() {
                Some(text) => Ok(text.to_owned()),
                None => Ok(f.to_json()?.to_string()),
            },
        }
    }

    fn key_and_value(
        &self,
        operation: &Edn,
        process: &Process,
    ) -> Result<(Option<Value>, Value), String> {
        let key = operation.get("key").map(Edn::to_json).transpose()?;
        let Some(value) = operation.get("value") else {
            return Ok((key, Value::Null));
        };
        let tagged = matches!(value, Edn::Tagged(tag, _) if tag.to_lowercase().ends_with("tuple"));
        let keyed = tagged || self.options.keyed && process.is_client() && *value != Edn::Nil;
        if !keyed {
            return Ok((key, value.to_json()?));
        }
        match value.elements() {
            Some([key, value]) => Ok((Some(key.to_json()?), value.to_json()?)),
            _ => Err("the :value of a keyed operation is [key value]".to_owned()),
        }
    }
}

fn kind(operation: &Edn) -> Result<EventType, String> {
    match operation.get("type").and_then(Edn::text) {
        Some("invoke") => Ok(EventType::Invoke),
        Some("ok") => Ok(EventType::Ok),
        Some("fail") => Ok(EventType::Fail),
        Some("info") => Ok(EventType::Info),
        Some(other) => Err(format!(
            "a :type is :invoke, :ok, :fail or :info, not {other:?}"
        )),
        None => Err("the operation has no :type".to_owned()),
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
