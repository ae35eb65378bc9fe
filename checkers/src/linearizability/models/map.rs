//! A map from keys to values.
//!
//! | function | invocation | `ok` |
//! | --- | --- | --- |
//! | `get` (`read`) | `null` | the value; `null`: there is none |
//! | `put` (`write`) | the value | anything |
//! | `append` | a string to put at the end of the one that is there, or an element for the list that is there | anything |
//! | `delete` | `null` | anything |
//! | `cas` | `[from, to]` | anything |
//!
//! Each operation is on the key that its event names, and keys are searched one by one. A `put` that
//! failed with the class `precondition` says nothing; a `cas` that did found another value. Where there
//! is no value, `append` of a string begins with an empty one, and of anything else with an empty list.

use serde_json::{Value, json};

use super::super::monitors::register::RegisterKind;
use super::super::options::NullRead;
use super::{Call, Model, Monitored, Outcome, Role, Touched, Touches, Values};

/// What a map holds under one key.
#[derive(Clone, Debug)]
pub struct Map {
    initial: Value,
    null_read: NullRead,
}

/// A value with its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Numbered {
    number: u32,
    value: Value,
}

/// An operation with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MapOp {
    /// The value was this.
    Saw(Numbered),
    /// The value was not this.
    Differs(Numbered),
    /// The value became this.
    Put(Numbered),
    /// This was put at the end of the value.
    Append(Value),
    /// The value became the second in place of the first.
    Cas(Numbered, Numbered),
}

impl Map {
    /// A map that holds the value under every key first.
    pub fn new(initial: &Value, null_read: NullRead) -> Map {
        Map {
            initial: initial.clone(),
            null_read,
        }
    }
}

fn numbered(value: &Value, values: &mut Values) -> Numbered {
    Numbered {
        number: values.number(value),
        value: value.clone(),
    }
}

fn append(state: &Value, more: &Value) -> Option<Value> {
    match (state, more) {
        (Value::Null, Value::String(_)) => Some(more.clone()),
        (Value::String(text), Value::String(more)) => Some(format!("{text}{more}").into()),
        (Value::Null, _) => Some(json!([more])),
        (Value::Array(list), _) => Some(list.iter().chain([more]).cloned().collect()),
        _ => None,
    }
}

impl Model for Map {
    type State = Value;
    type Op = MapOp;

    fn name(&self) -> &str {
        "map"
    }

    fn initial(&self, _values: &mut Values) -> Value {
        self.initial.clone()
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<MapOp>, String> {
        let happened = call.outcome != Outcome::Refused;
        Ok(match call.f {
            "get" | "read" => call
                .outcome
                .ok()
                .filter(|seen| !seen.is_null() || self.null_read == NullRead::Absent)
                .map(|seen| MapOp::Saw(numbered(seen, values))),
            "put" | "write" => happened.then(|| MapOp::Put(numbered(call.value, values))),
            "delete" => happened.then(|| MapOp::Put(numbered(&Value::Null, values))),
            "append" => happened.then(|| MapOp::Append(call.value.clone())),
            "cas" => match call.value.as_array().map(Vec::as_slice) {
                Some([from, _]) if !happened => Some(MapOp::Differs(numbered(from, values))),
                Some([from, to]) if from == to => {
                    let seen = call.outcome.ok();
                    seen.map(|_| MapOp::Saw(numbered(from, values)))
                }
                Some([from, to]) => Some(MapOp::Cas(numbered(from, values), numbered(to, values))),
                _ => {
                    return Err(format!(
                        "a cas needs a value [from, to], not {}",
                        call.value
                    ));
                }
            },
            _ => return Err(call.unknown_function("get, put, append, delete and cas")),
        })
    }

    fn step(&self, state: &Value, op: &MapOp) -> Option<Value> {
        match op {
            MapOp::Saw(seen) => (seen.value == *state).then(|| state.clone()),
            MapOp::Differs(not) => (not.value != *state).then(|| state.clone()),
            MapOp::Put(put) => Some(put.value.clone()),
            MapOp::Append(more) => append(state, more),
            MapOp::Cas(from, to) => (from.value == *state).then(|| to.value.clone()),
        }
    }

    fn monitored(&self) -> Option<Monitored> {
        Some(Monitored::Register)
    }

    fn role(&self, op: &MapOp) -> Option<Role> {
        // The monitor calls the first value 0, so the two change places with the numbers that they have.
        let value = |numbered: &Numbered| match numbered.number {
            _ if numbered.value == self.initial => 0,
            0 => u32::MAX,
            number => number,
        };
        let (kind, value) = match op {
            MapOp::Saw(seen) => (RegisterKind::Read, value(seen)),
            MapOp::Put(put) => (RegisterKind::Write, value(put)),
            MapOp::Cas(from, to) => (RegisterKind::Cas { from: value(from) }, value(to)),
            MapOp::Differs(not) => (RegisterKind::Differs, value(not)),
            MapOp::Append(_) => return None,
        };
        Some(Role::Register(kind, value))
    }

    fn is_observation(&self, op: &MapOp) -> bool {
        matches!(op, MapOp::Saw(_) | MapOp::Differs(_))
    }

    fn is_overwrite(&self, op: &MapOp) -> bool {
        matches!(op, MapOp::Put(_))
    }

    /// What was seen needs what put it there.
    fn touches(&self, op: &MapOp) -> Touches {
        match op {
            MapOp::Saw(seen) => Touches::needs(Touched::one(seen.number)),
            MapOp::Differs(_) => Touches::needs(Touched::Everything),
            MapOp::Put(put) => Touches {
                provides: Touched::one(put.number),
                needs: Touched::Nothing,
            },
            MapOp::Append(_) => Touches::both(Touched::Everything),
            MapOp::Cas(from, to) => Touches {
                provides: Touched::one(to.number),
                needs: Touched::one(from.number),
            },
        }
    }

    fn is_repeatable(&self, op: &MapOp) -> bool {
        !matches!(op, MapOp::Append(_))
    }

    fn bytes(&self, state: &Value) -> usize {
        size_of::<Value>()
            + match state {
                Value::String(text) => text.len(),
                Value::Array(list) => list.len() * size_of::<Value>(),
                _ => 0,
            }
    }

    fn describe(&self, state: &Value, _values: &Values) -> Value {
        state.clone()
    }
}
