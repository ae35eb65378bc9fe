//! One line of a history: who, what, when, and whether it is the beginning or the end.
//!
//! ```text
//! {"index":0,"time":123456789,"process":3,"type":"invoke","f":"read","key":7,"value":null}
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A short shared string: a function, a node, a fault. Cheap to clone.
pub type Name = Arc<str>;

/// Who performed an operation.
///
/// A client process is a number; it is retired when one of its operations ends `info`, and its
/// worker goes on under a new number. Each fault is a process of its own, written
/// `"nemesis/<name>"`, with one activity open at a time, so that its events pair like a client's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// A logical client, single-threaded by definition.
    Client(u64),
    /// A fault, by its name without the `nemesis/` prefix.
    Nemesis(Name),
}

const NEMESIS_PREFIX: &str = "nemesis/";

impl Process {
    /// Whether this is a client, that is, whether its operations count for checkers.
    pub fn is_client(&self) -> bool {
        matches!(self, Process::Client(_))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Process::Client(n) => write!(f, "{n}"),
            Process::Nemesis(name) => write!(f, "{NEMESIS_PREFIX}{name}"),
        }
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Process::Client(n) => serializer.serialize_u64(*n),
            Process::Nemesis(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Process;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a process number, or \"nemesis\" or \"nemesis/<name>\"")
            }

            fn visit_u64<E>(self, n: u64) -> Result<Process, E> {
                Ok(Process::Client(n))
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Process, E> {
                u64::try_from(n).map(Process::Client).map_err(|_| {
                    E::invalid_value(serde::de::Unexpected::Signed(n), &"a process number")
                })
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Process, E> {
                match text.strip_prefix(NEMESIS_PREFIX) {
                    Some(name) if !name.is_empty() => Ok(Process::Nemesis(name.into())),
                    None if text == "nemesis" => Ok(Process::Nemesis(text.into())),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What an event says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// The operation begins.
    Invoke,
    /// It happened.
    Ok,
    /// It did not happen, and never will.
    Fail,
    /// Nobody knows: it may take effect at any later time, or never.
    Info,
}

impl EventType {
    /// The word used on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Invoke => "invoke",
            EventType::Ok => "ok",
            EventType::Fail => "fail",
            EventType::Info => "info",
        }
    }
}

/// Why an operation ended `fail` or `info`: a short class to group by, and details for a person.
///
/// On disk an error is any JSON; ours is `[class, message]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpError {
    /// A short stable word such as `timeout` or `no-leader`.
    pub class: Cow<'static, str>,
    /// What happened, in the words of whoever said it.
    pub message: String,
}

impl OpError {
    /// The class of a compare-and-set that saw another value than expected: it did not write, but
    /// it is an observation that the value was different.
    pub const PRECONDITION: &'static str = "precondition";
    /// The class of an operation whose answer did not come within its time limit.
    pub const TIMEOUT: &'static str = "timeout";
    /// The class of an operation that was never sent, because no client could be opened for it.
    pub const NO_CLIENT: &'static str = "no-client";

    /// An error of a class.
    pub fn new(class: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        OpError {
            class: class.into(),
            message: message.into(),
        }
    }

    /// As it stands in a history.
    pub fn to_value(&self) -> Value {
        Value::Array(vec![
            self.class.as_ref().into(),
            self.message.as_str().into(),
        ])
    }

    /// The class of an error read from a history, whoever wrote it.
    pub fn class_of(error: &Value) -> &str {
        match error {
            Value::String(text) => text,
            Value::Array(parts) => parts.first().and_then(Value::as_str).unwrap_or("other"),
            Value::Object(map) => map.get("class").and_then(Value::as_str).unwrap_or("other"),
            _ => "other",
        }
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

/// One line of a history.
///
/// Index order, file order and time order are one order. Checkers use the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the history of the run, from 0.
    pub index: u64,
    /// Nanoseconds since the run began, strictly increasing.
    #[serde(default)]
    pub time: u64,
    /// Who.
    pub process: Process,
    /// Beginning or end, and which end.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// What: `read`, `write`, `cas`, `start` …
    pub f: Name,
    /// The key, for workloads of independent keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// Arguments on an invocation, results on a completion. `null` means absent.
    #[serde(default)]
    pub value: Value,
    /// Why it did not end `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// The node that answered, as the client saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
}

impl Event {
    /// Whether this event begins an operation.
    pub fn is_invoke(&self) -> bool {
        self.kind == EventType::Invoke
    }

    /// Whether this is a client's event.
    pub fn is_client(&self) -> bool {
        self.process.is_client()
    }

    /// The class of this event's error, if it has one.
    pub fn error_class(&self) -> Option<&str> {
        self.error.as_ref().map(OpError::class_of)
    }
}
