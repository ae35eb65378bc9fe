//! A history as one JSON array of objects, as elle-cli takes it.

use std::path::Path;

use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::event::Event;
use crate::jsonl::{Events, Line, Names, what_is_wrong};
use crate::load::{LoadError, Place};

/// Reads the events of a text.
pub(super) fn read(text: &str, path: &Path) -> Result<Events, LoadError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_seq(Array).and_then(|events| {
        json.end()?;
        Ok(events)
    });
    match read {
        Ok(events) => Ok(Events { events, torn: None }),
        Err(error) => Err(LoadError::Format {
            path: path.to_owned(),
            place: Place {
                line: error.line() as u64,
                column: (error.column() as u64).max(1),
            },
            message: what_is_wrong(&error),
        }),
    }
}

struct Array;

impl<'de> Visitor<'de> for Array {
    type Value = Vec<Event>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of operations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<Event>, A::Error> {
        let mut names = Names::default();
        let mut events = Vec::new();
        while let Some(line) = array.next_element::<Line<'de>>()? {
            events.push(line.event(events.len() as u64, &mut names));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_array_is_a_history() {
        let text = r#"[{"type":"invoke","f":"txn","value":[["r","x",null]],"process":0,"index":4},
                       {"type":"ok","f":"txn","process":0}]"#;
        let events = read(text, Path::new("h.json")).unwrap().events;
        assert_eq!((events[0].index, events[1].index), (4, 1));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |text: &str| read(text, Path::new("h.json")).unwrap_err().to_string();
        assert!(
            error("[\n{\"type\":\"okay\"}]").starts_with("h.json:2:14: unknown variant `okay`")
        );
        assert!(error("[] []").starts_with("h.json:1:4: trailing characters"));
        assert!(error("[{\"process\":1").starts_with("h.json:1:13: EOF"));
    }
}
