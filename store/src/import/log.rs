//! Lines that Jepsen writes for people: its logs, and `history.txt`.
//!
//! ```text
//! 2021-02-26 11:42:48,806{GMT}  INFO  [jepsen worker 1] jepsen.util: 1  :invoke  :txn  [[:r 1 nil]]
//! INFO  jepsen.util - 0  :info  :write  :timed-out
//! 1  :invoke  :txn  [[:r 1 nil]]
//! 1  :info    :txn  [[:r 1 nil]]  :net-timeout
//! ```
//!
//! Process, type, function, value and error, with tabs between. In logs (the first two) they stand behind a marker, and lines of
//! other kinds are the log's own business and skipped; `history.txt` (the others; Maelstrom's too) has nothing else. Times are not read:
//! logs have them in another clock's milliseconds.
//!
//! Logs of 2014, as Porcupine and others hand them down (the second line), have no errors. There a keyword in the place of the value is an
//! error, and no value was seen; and a compare-and-set that failed showing its arguments saw another value than the expected: it gets
//! the error class [`OpError::PRECONDITION`], which says so.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::edn::{Edn, Reader};
use super::lines::{Wrong, each_line, first_line};
use crate::batch::{Batcher, Flow};
use crate::event::{Event, EventType, OpError, Process};
use crate::jsonl::Names;
use crate::load::LoadError;

/// What stands before each operation in a log of 2014.
const OLD_MARKER: &str = "jepsen.util - ";

/// And today.
const MARKER: &str = "jepsen.util: ";

/// Whether a text looks like the beginning of a log.
pub(super) fn is_log(beginning: &[u8]) -> bool {
    [OLD_MARKER, MARKER]
        .iter()
        .any(|marker| memchr::memmem::find(beginning, marker.as_bytes()).is_some())
}

/// Whether a text looks like the beginning of a `history.txt`.
pub(super) fn is_table(beginning: &[u8]) -> bool {
    let fields = first_line(beginning).and_then(Fields::of);
    fields.is_some_and(|fields| {
        process(fields.process, &mut Names::default()).is_ok() && kind(fields.kind).is_ok()
    })
}

/// Reads the events of a log.
pub(super) fn each(
    source: impl Read,
    path: &Path,
    batcher: &mut Batcher<'_>,
) -> Result<(), LoadError> {
    let mut names = Names::default();
    let mut count = 0;
    each_line(source, path, &mut |line, number| {
        let found = [(OLD_MARKER, true), (MARKER, false)]
            .into_iter()
            .find_map(|(marker, old)| Some((line.find(marker)? + marker.len(), old)));
        let Some((at, old)) = found else {
            return Ok(Flow::Continue(()));
        };
        let Some(fields) = Fields::of(&line[at..]) else {
            return Ok(Flow::Continue(()));
        };
        let event = event(&fields, old, count, &mut names).map_err(|message| Wrong {
            column: at as u64 + 1,
            message,
        })?;
        count += 1;
        Ok(batcher.push(event, number))
    })
}

/// Reads the events of a `history.txt`.
pub(super) fn each_of_table(
    source: impl Read,
    path: &Path,
    batcher: &mut Batcher<'_>,
) -> Result<(), LoadError> {
    let mut names = Names::default();
    let mut count = 0;
    // An error is printed as it is, with line feeds that it may have.
    let mut after_error = false;
    each_line(source, path, &mut |line, number| {
        if line.trim().is_empty() {
            return Ok(Flow::Continue(()));
        }
        let fields = Fields::of(line).filter(|fields| kind(fields.kind).is_ok());
        let fields = match fields {
            Some(fields) => fields,
            None if after_error => return Ok(Flow::Continue(())),
            None => {
                return Err(Wrong {
                    column: 1,
                    message: "this is no process, type, function and value with tabs between"
                        .to_owned(),
                });
            }
        };
        let event = event(&fields, false, count, &mut names)
            .map_err(|message| Wrong { column: 1, message })?;
        after_error = event.error.is_some();
        count += 1;
        Ok(batcher.push(event, number))
    })
}

/// The fields of an operation, as they stand.
struct Fields<'a> {
    process: &'a str,
    kind: &'a str,
    f: &'a str,
    value: &'a str,
    error: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Option<Fields<'a>> {
        let mut fields = text.splitn(5, '\t').map(str::trim);
        Some(Fields {
            process: fields.next()?,
            kind: fields.next()?,
            f: fields.next()?,
            value: fields.next().unwrap_or_default(),
            error: fields.next().filter(|error| !error.is_empty()),
        })
    }
}

fn process(text: &str, names: &mut Names) -> Result<Process, String> {
    match (text.strip_prefix(':'), text.parse()) {
        (Some(name), _) if !name.is_empty() => Ok(Process::Nemesis(names.intern(name))),
        (None, Ok(n)) => Ok(Process::Client(n)),
        _ => Err(format!("{text:?} is no process")),
    }
}

fn kind(text: &str) -> Result<EventType, String> {
    match text {
        ":invoke" => Ok(EventType::Invoke),
        ":ok" => Ok(EventType::Ok),
        ":fail" => Ok(EventType::Fail),
        ":info" => Ok(EventType::Info),
        _ => Err(format!("{text:?} is no type of event")),
    }
}

fn event(fields: &Fields, old: bool, index: u64, names: &mut Names) -> Result<Event, String> {
    let process = process(fields.process, names)?;
    let kind = kind(fields.kind)?;
    let f = fields.f.strip_prefix(':');
    let f = f.ok_or_else(|| format!("{:?} is no function", fields.f))?;
    let read = Reader::new(fields.value).next_value();
    let read = read.map_err(|error| error.message)?.unwrap_or(Edn::Nil);
    let (value, error) = match read {
        Edn::Keyword(class) if old && process.is_client() => {
            (Value::Null, Some(Value::from(class)))
        }
        Edn::Vector(arguments) if old && kind == EventType::Fail && f == "cas" => {
            let value = Edn::Vector(arguments).to_json()?;
            (value, Some(Value::from(OpError::PRECONDITION)))
        }
        other => (other.to_json()?, fields.error.map(error)),
    };
    Ok(Event {
        index,
        time: 0,
        process,
        kind,
        f: names.intern(f),
        key: None,
        value,
        error: error.filter(|error| !error.is_null()),
        node: None,
    })
}

/// An error: EDN, or what is left of it when it is printed for people.
fn error(text: &str) -> Value {
    let mut reader = Reader::new(text);
    match (reader.next_value(), reader.next_value()) {
        (Ok(Some(value)), Ok(None)) => value.to_json().unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::collect;
    use proptest::prelude::*;
    use serde_json::json;

    fn all(
        read: impl FnOnce(&mut Batcher<'_>) -> Result<(), LoadError>,
    ) -> Result<Vec<Event>, String> {
        let read = collect(read).map_err(|error| error.to_string())?;
        Ok(read.0)
    }

    fn read_log(text: &str) -> Result<Vec<Event>, String> {
        all(|batcher| each(text.as_bytes(), Path::new("etcd.log"), batcher))
    }

    fn read_table(text: &str) -> Result<Vec<Event>, String> {
        all(|batcher| each_of_table(text.as_bytes(), Path::new("history.txt"), batcher))
    }

    #[test]
    fn todays_logs_have_errors_of_their_own() {
        let text = "2021-02-26 11:42:48,806{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:invoke\t:txn\t[[:r 1 nil] [:append 9 11]]\n\
                    2021-02-26 11:42:48,813{GMT}\tINFO\t[jepsen node n1] jepsen.db: up\n\
                    2021-02-26 11:42:49,813{GMT}\tINFO\t[jepsen worker 1] jepsen.util: 1\t:info\t:txn\t[[:r 1 nil]]\t:net-timeout\n";
        assert!(is_log(text.as_bytes()) && !is_table(text.as_bytes()));
        let events = read_log(text).unwrap();
        assert_eq!(events[0].value, json!([["r", 1, null], ["append", 9, 11]]));
        assert_eq!(events[1].error_class(), Some("net-timeout"));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn a_table_is_nothing_but_operations() {
        let text = "0\t:invoke\t:read\tnil\n\
                    :nemesis\t:info\t:start-partition\t{\"n1\" #{\"n2\"}}\n\
                    0\t:info\t:read\tnil\t[:timeout read timed out]\n\
                    1\t:fail\t:cas\t[1 2]\tcannot do\nthat\n\n\
                    2\t:ok\t:read\t:unknown\n";
        assert!(is_table(text.as_bytes()) && !is_log(text.as_bytes()));
        let events = read_table(text).unwrap();
        assert_eq!(events.len(), 5);
        assert_eq!(events[1].process, Process::Nemesis("nemesis".into()));
        assert_eq!(events[1].value, json!({"n1": ["n2"]}));
        let error = json!(["timeout", "read", "timed", "out"]);
        assert_eq!(events[2].error, Some(error));
        assert_eq!(events[3].error, Some(json!("cannot do")));
        assert_eq!((events[4].index, &events[4].value), (4, &json!("unknown")));
        assert_eq!(
            read_table(":\t:invoke\t:start").unwrap_err(),
            "history.txt:1:1: \":\" is no process"
        );
        assert_eq!(
            read_table("0\t:ok\t:read\t1\nhello\n").unwrap_err(),
            "history.txt:2:1: this is no process, type, function and value with tabs between"
        );
    }

    #[test]
    fn operations_are_read_and_other_lines_skipped() {
        let text = "INFO  jepsen.os.debian - :n1 setting up debian\n\
                    INFO  jepsen.util - 4\t:invoke\t:cas\t[1 0]\n\
                    INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\
                    2014-06-05 INFO  jepsen.util - 4\t:fail\t:cas\t[1 0]\r\n\
                    INFO  jepsen.util - 0\t:info\t:write\t:timed-out\n\
                    INFO  jepsen.util - 0\t:fail\t:read\t:timed-out\n\
                    INFO  jepsen.util - 10\t:ok\t:read\t3";
        let events = read_log(text).unwrap();
        assert_eq!(events.len(), 6);
        assert_eq!((events[0].index, &events[0].value), (0, &json!([1, 0])));
        assert_eq!(events[1].process, Process::Nemesis("nemesis".into()));
        assert_eq!(events[2].error_class(), Some(OpError::PRECONDITION));
        assert_eq!(
            (&events[3].value, events[3].error_class()),
            (&Value::Null, Some("timed-out"))
        );
        assert_eq!(events[4].kind, EventType::Fail);
        assert_eq!((events[5].index, &events[5].value), (5, &json!(3)));
    }

    #[test]
    fn a_broken_operation_is_an_error_with_its_place() {
        let error = read_log("x\nINFO  jepsen.util - 4\t:maybe\t:read\tnil\n").unwrap_err();
        assert_eq!(error, "etcd.log:2:21: \":maybe\" is no type of event");
        let error = read_log("INFO  jepsen.util - 4\t:ok\t:read\t[1\n").unwrap_err();
        assert_eq!(error, "etcd.log:1:21: no ']' closes this");
    }

    proptest! {
        #[test]
        fn random_fields_never_panic(fields in ".{0,40}") {
            let _ = read_log(&format!("{MARKER}{fields}"));
            let _ = read_log(&format!("{MARKER}0\t:ok\t:read\t{fields}"));
            let _ = read_table(&format!("0\t:ok\t:read\t{fields}"));
        }
    }
}
