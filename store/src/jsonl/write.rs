//! Writing one line of a history.
//!
//! Written by hand, since every operation of a run passes here twice: serde's derived code asks about
//! each field of each event what this function knows. What it writes, [`Event`]'s `Deserialize`
//! reads back; a property test holds the two together.

use serde_json::{Number, Value};

use crate::event::{Event, Process};

/// Appends an event as one line of JSON, with its line feed.
pub fn write_event(out: &mut Vec<u8>, event: &Event) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"index\":");
    out.extend_from_slice(digits.format(event.index).as_bytes());
    out.extend_from_slice(b",\"time\":");
    out.extend_from_slice(digits.format(event.time).as_bytes());
    out.extend_from_slice(b",\"process\":");
    match &event.process {
        Process::Client(n) => out.extend_from_slice(digits.format(*n).as_bytes()),
        Process::Nemesis(_) => write_string(out, &event.process.to_string()),
    }
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(event.kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"f\":");
    write_string(out, &event.f);
    if let Some(key) = &event.key {
        out.extend_from_slice(b",\"key\":");
        write_value(out, key);
    }
    out.extend_from_slice(b",\"value\":");
    write_value(out, &event.value);
    if let Some(error) = &event.error {
        out.extend_from_slice(b",\"error\":");
        write_value(out, error);
    }
    if let Some(node) = &event.node {
        out.extend_from_slice(b",\"node\":");
        write_string(out, node);
    }
    out.extend_from_slice(b"}\n");
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text),
        other => write_json(out, other),
    }
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    if let Some(n) = number.as_i64() {
        out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    } else {
        write_json(out, number);
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        write_json(out, text);
    }
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing to memory cannot fail, and neither can JSON values and strings.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{any_event, event};
    use proptest::prelude::*;
    use serde_json::json;

    fn line(event: &Event) -> String {
        let mut out = Vec::new();
        write_event(&mut out, event);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_line_of_the_design() {
        let mut event = event(0, 3, crate::EventType::Invoke, "read", Value::Null);
        event.time = 123_456_789;
        event.key = Some(json!(7));
        assert_eq!(
            line(&event),
            "{\"index\":0,\"time\":123456789,\"process\":3,\"type\":\"invoke\",\"f\":\"read\",\"key\":7,\"value\":null}\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_reads(event in any_event()) {
            let text = line(&event);
            prop_assert!(text.ends_with('\n'));
            prop_assert_eq!(text.matches('\n').count(), 1);
            let back: Event = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back, event);
        }
    }
}
