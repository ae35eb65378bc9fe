//! The text of AWDIT's own tests (Møldrup and Pavlogiannis, 2025): register transactions, session after session.
//!
//! ```text
//! w 3 7
//! r 4 1
//! -----
//! w 3 8
//! =====
//! r 3 8
//! ```
//!
//! `r` or `w`, a key and a value. Dashes end a transaction, equals signs a session; of how many does not matter, and what is empty is none. All
//! transactions committed, and no value is the initial one. A transaction becomes one event, its end, of the process that its session is.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::lines::{Wrong, each_line, first_line};
use crate::batch::{Batcher, Flow};
use crate::event::{Event, EventType, Name, Process};
use crate::load::LoadError;

/// What a line is.
enum Line {
    Micro(&'static str, i64, i64),
    EndOfTransaction,
    EndOfSession,
    Empty,
}

/// Reads the events of a history, and hands each on.
pub(super) fn each(
    source: impl Read,
    path: &Path,
    batcher: &mut Batcher<'_>,
) -> Result<(), LoadError> {
    let mut reader = Reader::default();
    let mut enough = false;
    each_line(source, path, &mut |text, number| {
        let flow = reader.take(line(text)?, number, batcher);
        enough = flow == Flow::Break(());
        Ok(flow)
    })?;
    if !enough {
        // There is nothing to come in any case.
        let _ = reader.end_transaction(batcher);
    }
    Ok(())
}

/// The transactions so far.
struct Reader {
    f: Name,
    index: u64,
    session: u64,
    /// Whether the session has a transaction.
    begun: bool,
    /// What the transaction did so far, and the line that it begins in.
    micro: Vec<Value>,
    at: u64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            f: Name::from("txn"),
            index: 0,
            session: 0,
            begun: false,
            micro: Vec::new(),
            at: 0,
        }
    }
}

impl Reader {
    fn take(&mut self, line: Line, number: u64, batcher: &mut Batcher<'_>) -> Flow {
        match line {
            Line::Micro(f, key, value) => {
                if self.micro.is_empty() {
                    self.at = number;
                }
                self.micro
                    .push(Value::Array(vec![f.into(), key.into(), value.into()]));
                Flow::Continue(())
            }
            Line::EndOfTransaction => self.end_transaction(batcher),
            Line::EndOfSession => {
                let flow = self.end_transaction(batcher);
                self.session += u64::from(std::mem::take(&mut self.begun));
                flow
            }
            Line::Empty => Flow::Continue(()),
        }
    }

    fn end_transaction(&mut self, batcher: &mut Batcher<'_>) -> Flow {
        if self.micro.is_empty() {
            return Flow::Continue(());
        }
        let event = Event {
            index: self.index,
            time: 0,
            process: Process::Client(self.session),
            kind: EventType::Ok,
            f: self.f.clone(),
            key: None,
            value: std::mem::take(&mut self.micro).into(),
            error: None,
            node: None,
        };
        self.index += 1;
        self.begun = true;
        batcher.push(event, self.at)
    }
}

/// Whether a text begins with a line of this format.
pub(super) fn is_text(beginning: &[u8]) -> bool {
    first_line(beginning).is_some_and(|text| line(text).is_ok())
}

fn line(text: &str) -> Result<Line, Wrong> {
    let text = text.trim();
    let only = |sign: char| text.chars().all(|one| one == sign);
    if text.is_empty() {
        return Ok(Line::Empty);
    }
    if only('-') {
        return Ok(Line::EndOfTransaction);
    }
    if only('=') {
        return Ok(Line::EndOfSession);
    }
    micro(text).ok_or_else(|| Wrong {
        column: 1,
        message: format!(
            "{:?} is neither r or w with a key and a value, whole numbers, nor a line of dashes or equals signs",
            text.chars().take(80).collect::<String>()
        ),
    })
}

fn micro(text: &str) -> Option<Line> {
    let mut words = text.split_ascii_whitespace();
    let f = match words.next()? {
        "r" => "r",
        "w" => "w",
        _ => return None,
    };
    let key = words.next()?.parse().ok()?;
    let value = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Line::Micro(f, key, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::collect;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Vec<Event>, String> {
        let read = collect(|batcher| each(text.as_bytes(), Path::new("h.txt"), batcher));
        read.map(|(events, ..)| events)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn sessions_and_transactions_are_taken_apart() {
        let text = "\n===\nw 3 7\n r  4\t0 \r\n-----\n-----\nw 3 8\n=====\n=====\n-\nr 3 -8";
        let told: Vec<(u64, Process, String)> = read(text)
            .unwrap()
            .into_iter()
            .map(|event| (event.index, event.process, event.value.to_string()))
            .collect();
        let expected = [
            (0, 0, json!([["w", 3, 7], ["r", 4, 0]])),
            (1, 0, json!([["w", 3, 8]])),
            (2, 1, json!([["r", 3, -8]])),
        ];
        let expected = expected
            .map(|(index, session, value)| (index, Process::Client(session), value.to_string()));
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_no_line_is_an_error_with_its_place() {
        for wrong in [
            "x 1 2",
            "r 1",
            "r 1 2 3",
            "w a 2",
            "-----=",
            "r(1,2,3,4)",
            "w 1 99999999999999999999",
        ] {
            assert_eq!(
                read(&format!("w 1 1\n{wrong}\n")).unwrap_err(),
                format!(
                    "h.txt:2:1: {wrong:?} is neither r or w with a key and a value, whole numbers, nor a line of dashes or equals signs"
                )
            );
        }
    }

    proptest! {
        /// Whatever sessions there are, what is written down is read again.
        #[test]
        fn what_is_written_is_read(
            sessions in prop::collection::vec(
                prop::collection::vec(prop::collection::vec((any::<bool>(), 0i64..9, 0i64..9), 1..4), 1..4),
                0..4,
            )
        ) {
            let line = |(is_write, key, value): &(bool, i64, i64)| {
                format!("{} {key} {value}\n", if *is_write { "w" } else { "r" })
            };
            let transaction = |micro: &Vec<(bool, i64, i64)>| micro.iter().map(line).collect::<String>();
            let session = |all: &Vec<Vec<_>>| all.iter().map(transaction).collect::<Vec<_>>().join("-----\n");
            let text = sessions.iter().map(session).collect::<Vec<_>>().join("=====\n");
            let events = read(&text).unwrap();
            let mut expected = Vec::new();
            for (number, session) in (0..).zip(&sessions) {
                for micro in session {
                    let micro: Vec<Value> = micro
                        .iter()
                        .map(|(is_write, key, value)| json!([if *is_write { "w" } else { "r" }, key, value]))
                        .collect();
                    expected.push((Process::Client(number), Value::from(micro)));
                }
            }
            let told: Vec<_> = events.into_iter().map(|event| (event.process, event.value)).collect();
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn random_lines_never_panic(text in "[rw0-9 =\n-]{0,40}") {
            let _ = read(&text);
        }
    }
}
