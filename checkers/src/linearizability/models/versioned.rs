//! A register that counts its writes.
//!
//! | function | invocation | `ok` |
//! | --- | --- | --- |
//! | `read` | anything | `[version, value]` |
//! | `write` | `[null, value]` | `[version, value]`: the version that it made |
//! | `cas` | `[null, [from, to]]` | `[version, [from, to]]` |
//!
//! A version that is `null` says nothing. The register holds version 0 first; each write and each
//! successful `cas` makes the next version. This is how Jepsen's tests of etcd have it, except that a
//! read of `null` says that there is no value, unless [`NullRead`] says otherwise.

use serde_json::{Value, json};

use super::super::options::NullRead;
use super::{Call, Model, Outcome, Values};

/// A versioned register.
#[derive(Clone, Debug)]
pub struct VersionedRegister {
    initial: Value,
    null_read: NullRead,
}

/// An operation with its result, in numbers of values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VersionedOp {
    /// What it held, as far as was seen.
    Read(Option<u64>, Option<u32>),
    /// It did not hold the value.
    Differs(u32),
    /// It was given the value, and made the version.
    Write(Option<u64>, u32),
    /// It was given the second value in place of the first, and made the version.
    Cas(Option<u64>, u32, u32),
}

impl VersionedRegister {
    /// A register that holds the value first, as version 0.
    pub fn new(initial: &Value, null_read: NullRead) -> VersionedRegister {
        VersionedRegister {
            initial: initial.clone(),
            null_read,
        }
    }
}

/// A version and what belongs to it.
fn pair(value: &Value) -> Result<(Option<u64>, &Value), String> {
    match value.as_array().map(Vec::as_slice) {
        Some([version, value]) if version.is_null() || version.is_u64() => {
            Ok((version.as_u64(), value))
        }
        _ => Err(format!(
            "values of a versioned register are [version, value], not {value}"
        )),
    }
}

impl Model for VersionedRegister {
    type State = (u64, u32);
    type Op = VersionedOp;

    fn name(&self) -> &str {
        "versioned register"
    }

    fn initial(&self, values: &mut Values) -> (u64, u32) {
        (0, values.number(&self.initial))
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<VersionedOp>, String> {
        if call.f == "read" {
            let Some(seen) = call.outcome.ok() else {
                return Ok(None);
            };
            let (version, value) = pair(seen)?;
            let says_nothing = value.is_null() && self.null_read == NullRead::MatchesAnything;
            let value = (!says_nothing).then(|| values.number(value));
            return Ok(
                (version.is_some() || value.is_some()).then_some(VersionedOp::Read(version, value))
            );
        }
        let (_, asked) = pair(call.value)?;
        let version = match call.outcome {
            Outcome::Ok(seen) if !seen.is_null() => pair(seen)?.0,
            _ => None,
        };
        match (call.f, asked.as_array().map(Vec::as_slice)) {
            ("write", _) if call.outcome == Outcome::Refused => Ok(None),
            ("write", _) => Ok(Some(VersionedOp::Write(version, values.number(asked)))),
            ("cas", Some([from, to])) => {
                let (from, to) = (values.number(from), values.number(to));
                Ok(Some(match call.outcome {
                    Outcome::Refused => VersionedOp::Differs(from),
                    _ => VersionedOp::Cas(version, from, to),
                }))
            }
            ("cas", _) => Err(format!(
                "a cas of a versioned register is of [version, [from, to]], not {}",
                call.value
            )),
            _ => Err(call.unknown_function("read, write and cas")),
        }
    }

    fn step(&self, &(version, held): &(u64, u32), op: &VersionedOp) -> Option<(u64, u32)> {
        let agrees = |seen: Option<u64>, version: u64| seen.is_none_or(|seen| seen == version);
        let next = version.saturating_add(1);
        match *op {
            VersionedOp::Read(seen, value) => {
                let same = agrees(seen, version) && value.is_none_or(|value| value == held);
                same.then_some((version, held))
            }
            VersionedOp::Differs(value) => (value != held).then_some((version, held)),
            VersionedOp::Write(seen, value) => agrees(seen, next).then_some((next, value)),
            VersionedOp::Cas(seen, from, to) => {
                (from == held && agrees(seen, next)).then_some((next, to))
            }
        }
    }

    fn is_observation(&self, op: &VersionedOp) -> bool {
        matches!(op, VersionedOp::Read(..) | VersionedOp::Differs(_))
    }

    fn describe(&self, &(version, held): &(u64, u32), values: &Values) -> Value {
        json!([version, values.value(held)])
    }
}
