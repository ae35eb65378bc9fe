//! Jepsen's logs of its etcd test of 2014, as Porcupine and others hand them down.
//!
//! ```text
//! INFO  jepsen.util - 4  :invoke  :cas  [1 0]
//! INFO  jepsen.util - 4  :fail  :cas  [1 0]
//! INFO  jepsen.util - 0  :info  :write  :timed-out
//! ```
//!
//! Process, type, function and value, with tabs between. A keyword in the place of the value is an
//! error, and no value was seen. A compare-and-set that failed showing its arguments saw another
//! value than the expected: it gets the error class [`OpError::PRECONDITION`], which says so.
//! Lines of other kinds are the log's own business and skipped.

use std::path::Path;

use serde_json::Value;

use super::edn::{Edn, Reader};
use crate::event::{Event, EventType, OpError, Process};
use crate::jsonl::{Events, Names};
use crate::load::{LoadError, Place};

/// What stands before each operation.
pub(super) const MARKER: &str = "jepsen.util - ";

/// Reads the events of a log.
pub(super) fn read(text: &str, path: &Path) -> Result<Events, LoadError> {
    let mut all = Events::default();
    let mut names = Names::default();
    for (line, number) in text.lines().zip(1..) {
        let Some((before, operation)) = line.split_once(MARKER) else {
            continue;
        };
        let mut fields = operation.split('\t');
        let (Some(process), Some(kind), Some(f)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let rest = fields.next();
        let event = event(process.trim(), kind, f, rest, &mut names).map_err(|message| {
            LoadError::Format {
                path: path.to_owned(),
                place: Place {
                    line: number,
                    column: (before.len() + MARKER.len() + 1) as u64,
                },
                message,
            }
        })?;
        all.events.push(Event {
            index: all.events.len() as u64,
            ..event
        });
    }
    Ok(all)
}

fn event(
    process: &str,
    kind: &str,
    f: &str,
    value: Option<&str>,
    names: &mut Names,
) -> Result<Event, String> {
    let process = match (process.strip_prefix(':'), process.parse()) {
        (Some(name), _) => Process::Nemesis(names.intern(name)),
        (None, Ok(n)) => Process::Client(n),
        (None, Err(_)) => return Err(format!("{process:?} is no process")),
    };
    let kind = match kind {
        ":invoke" => EventType::Invoke,
        ":ok" => EventType::Ok,
        ":fail" => EventType::Fail,
        ":info" => EventType::Info,
        _ => return Err(format!("{kind:?} is no type of event")),
    };
    let f = f
        .strip_prefix(':')
        .ok_or_else(|| format!("{f:?} is no function"))?;
    let mut reader = Reader::new(value.unwrap_or("nil"));
    let read = reader.next_value().map_err(|error| error.message)?;
    let (value, error) = match read.unwrap_or(Edn::Nil) {
        Edn::Keyword(class) if process.is_client() => (Value::Null, Some(Value::from(class))),
        Edn::Vector(arguments) if kind == EventType::Fail && f == "cas" => {
            let value = Edn::Vector(arguments).to_json()?;
            (value, Some(Value::from(OpError::PRECONDITION)))
        }
        other => (other.to_json()?, None),
    };
    Ok(Event {
        index: 0,
        time: 0,
        process,
        kind,
        f: names.intern(f),
        key: None,
        value,
        error,
        node: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read_log(text: &str) -> Result<Vec<Event>, String> {
        read(text, Path::new("etcd.log"))
            .map(|read| read.events)
            .map_err(|error| error.to_string())
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
        }
    }
}
