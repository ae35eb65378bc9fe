//! Writing.

use std::fmt::Write as _;

use serde_json::Value;

use super::DEFAULT_F;
use crate::event::{Event, Process};

/// Appends an event as one line of EDN, as Jepsen would write it.
///
/// A keyed operation's value becomes `[key value]`. All of a fault's events become `:info` of the
/// process `:nemesis`, its name a part of `:f`, as in `:partition/start`. Two keys that Jepsen passes over make it read back as it
/// was: `:keyed true` with `[key value]`, and of a fault `:event`, which of both ends it is.
pub fn write_edn(out: &mut String, event: &Event) {
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "{{:index {}, :time {}, :type ",
        event.index, event.time
    );
    match &event.process {
        Process::Client(n) => {
            let _ = write!(out, ":{}, :process {n}, :f ", event.kind.as_str());
            write_name(out, &event.f);
        }
        Process::Nemesis(name) => {
            out.push_str(":info, :process :nemesis, :f ");
            write_activity(out, name, &event.f);
            let _ = write!(out, ", :event :{}", event.kind.as_str());
        }
    }
    out.push_str(", :value ");
    if let Some(key) = &event.key {
        out.push('[');
        write_value(out, key);
        out.push(' ');
        write_argument(out, event);
        out.push_str("], :keyed true");
    } else {
        write_argument(out, event);
    }
    if let Some(error) = &event.error {
        out.push_str(", :error ");
        write_tagged(out, error);
    }
    if let Some(node) = &event.node {
        out.push_str(", :node ");
        write_string(out, node);
    }
    out.push_str("}\n");
}

/// A fault and what it does: `:partition/start`, or two fields where one would not be read as that.
fn write_activity(out: &mut String, fault: &str, f: &str) {
    if fault == "nemesis" && !f.contains('/') {
        write_name(out, f);
    } else if is_name(fault) && is_name(f) {
        let _ = write!(out, ":{fault}/{f}");
    } else {
        write_string(out, f);
        out.push_str(", :fault ");
        write_string(out, fault);
    }
}

/// A value, or a transaction: a vector of micro-operations.
fn write_argument(out: &mut String, event: &Event) {
    match &event.value {
        Value::Array(micro_operations) if &*event.f == DEFAULT_F => {
            write_vector(out, micro_operations, write_tagged);
        }
        value => write_value(out, value),
    }
}

/// A vector whose first element says what it is: a micro-operation, an error.
fn write_tagged(out: &mut String, value: &Value) {
    match value {
        Value::String(name) => write_name(out, name),
        Value::Array(parts) => match parts.split_first() {
            Some((Value::String(name), rest)) => {
                out.push('[');
                write_name(out, name);
                for part in rest {
                    out.push(' ');
                    write_value(out, part);
                }
                out.push(']');
            }
            _ => write_value(out, value),
        },
        value => write_value(out, value),
    }
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("nil"),
        Value::Bool(_) => {
            let _ = write!(out, "{value}");
        }
        Value::Number(number) => {
            let _ = write!(out, "{number}");
            if number.is_u64() && !number.is_i64() {
                out.push('N');
            }
        }
        Value::String(text) => write_string(out, text),
        Value::Array(values) => write_vector(out, values, write_value),
        Value::Object(map) => {
            out.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                let integer = key.parse::<i64>().is_ok_and(|n| n.to_string() == *key);
                if integer {
                    out.push_str(key);
                } else {
                    write_name(out, key);
                }
                out.push(' ');
                write_value(out, value);
            }
            out.push('}');
        }
    }
}

fn write_vector(out: &mut String, values: &[Value], write: fn(&mut String, &Value)) {
    out.push('[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        write(out, value);
    }
    out.push(']');
}

/// A keyword, or a string where no keyword can say it.
fn write_name(out: &mut String, name: &str) {
    if is_name(name) {
        out.push(':');
        out.push_str(name);
    } else {
        write_string(out, name);
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.?!*+<>=".contains(&byte))
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", char as u32);
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;
    use crate::import::ImportOptions;
    use crate::import::jepsen::read;
    use crate::testing::any_event;
    use proptest::prelude::*;

    fn read_back(text: &str) -> Event {
        let mut events = read(text, Path::new("h.edn"), ImportOptions::default()).unwrap();
        events.events.remove(0)
    }

    #[test]
    fn events_are_written_as_jepsen_would() {
        let line = |text: &str| {
            let event: Event = serde_json::from_str(text).unwrap();
            let mut out = String::new();
            write_edn(&mut out, &event);
            out
        };
        assert_eq!(
            line(
                r#"{"index":1,"time":2,"process":3,"type":"ok","f":"txn","key":7,"value":[["append","x",1],["r",2,[1]]],"node":"n1"}"#
            ),
            "{:index 1, :time 2, :type :ok, :process 3, :f :txn, :value [7 [[:append \"x\" 1] [:r 2 [1]]]], :keyed true, :node \"n1\"}\n"
        );
        assert_eq!(
            line(
                r#"{"index":1,"process":"nemesis/kill","type":"ok","f":"start","value":{"n1":"killed","2":null}}"#
            ),
            "{:index 1, :time 0, :type :info, :process :nemesis, :f :kill/start, :event :ok, :value {2 nil, :n1 \"killed\"}}\n"
        );
        assert_eq!(
            line(
                r#"{"index":1,"process":3,"type":"info","f":"read","value":null,"error":["timeout","a\nb"]}"#
            ),
            "{:index 1, :time 0, :type :info, :process 3, :f :read, :value nil, :error [:timeout \"a\\nb\"]}\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(event in any_event()) {
            let mut text = String::new();
            write_edn(&mut text, &event);
            prop_assert_eq!(read_back(&text), event);
        }
    }
}
