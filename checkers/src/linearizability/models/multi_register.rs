//! Several registers, read and written together.
//!
//! | function | invocation | `ok` |
//! | --- | --- | --- |
//! | `txn` (`read`, `write`) | a list of `["read", register, null]` and `["write", register, value]` | the same, with what was read |
//!
//! `"r"` and `"w"` will do. All of a transaction's parts happen at one moment, in their order. The registers hold `null` first,
//! or what an object `{register: value}` says.

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use super::super::options::NullRead;
use super::{Call, Model, Outcome, Touched, Touches, Values};

/// Registers by name.
#[derive(Clone, Debug)]
pub struct MultiRegister {
    initial: Map<String, Value>,
    null_read: NullRead,
}

/// A part of a transaction, in numbers of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MicroOp {
    /// The register held the value.
    Read(u32, u32),
    /// The register was given the value.
    Write(u32, u32),
}

/// The registers that do not hold `null`, ascending by number, with the numbers of their values.
type Registers = Box<[(u32, u32)]>;

impl MultiRegister {
    /// Registers that hold first what an object says, others `null`. `None` if it is no object.
    pub fn new(initial: &Value, null_read: NullRead) -> Option<MultiRegister> {
        let initial = match initial {
            Value::Null => Map::new(),
            Value::Object(fields) => fields.clone(),
            _ => return None,
        };
        Some(MultiRegister { initial, null_read })
    }

    fn part(
        &self,
        part: &Value,
        known: bool,
        values: &mut Values,
    ) -> Result<Option<MicroOp>, String> {
        let wrong = || {
            format!(
                "a transaction's parts are [\"read\", register, value] or [\"write\", register, value], not {part}"
            )
        };
        let Some([f, register, value]) = part.as_array().map(Vec::as_slice) else {
            return Err(wrong());
        };
        let register = values.number(&name(register));
        match f.as_str() {
            Some("read" | "r") => {
                let says_nothing = value.is_null() && self.null_read == NullRead::MatchesAnything;
                Ok((known && !says_nothing).then(|| MicroOp::Read(register, values.number(value))))
            }
            Some("write" | "w") => Ok(Some(MicroOp::Write(register, values.number(value)))),
            _ => Err(wrong()),
        }
    }
}

/// Registers are called the same whether as a key of an object or as a value.
fn name(register: &Value) -> Value {
    match register {
        Value::String(_) => register.clone(),
        other => other.to_string().into(),
    }
}

impl Model for MultiRegister {
    type State = Registers;
    type Op = Box<[MicroOp]>;

    fn name(&self) -> &str {
        "multi-register"
    }

    fn initial(&self, values: &mut Values) -> Registers {
        let held = self.initial.iter().filter(|(_, value)| !value.is_null());
        let mut held: Vec<(u32, u32)> = held
            .map(|(register, value)| {
                let register = values.number(&register.as_str().into());
                (register, values.number(value))
            })
            .collect();
        held.sort_unstable();
        held.into()
    }

    fn read(&self, call: &Call<'_>, values: &mut Values) -> Result<Option<Box<[MicroOp]>>, String> {
        if !matches!(call.f, "txn" | "read" | "write") {
            return Err(call.unknown_function("txn"));
        }
        let known = matches!(call.outcome, Outcome::Ok(_));
        let list = match call.outcome {
            Outcome::Ok(seen) if !seen.is_null() => seen,
            _ => call.value,
        };
        let parts = list
            .as_array()
            .ok_or_else(|| format!("a transaction is a list of reads and writes, not {list}"))?;
        let parts = parts
            .iter()
            .filter_map(|part| self.part(part, known, values).transpose());
        let parts = parts.collect::<Result<Box<[MicroOp]>, String>>()?;
        Ok((call.outcome != Outcome::Refused && !parts.is_empty()).then_some(parts))
    }

    fn step(&self, state: &Registers, op: &Box<[MicroOp]>) -> Option<Registers> {
        let mut written: FxHashMap<u32, u32> = FxHashMap::default();
        for part in op {
            match *part {
                MicroOp::Read(register, value) => {
                    let held = written.get(&register).copied().or_else(|| {
                        let at = state.binary_search_by_key(&register, |(it, _)| *it);
                        at.ok().map(|at| state[at].1)
                    });
                    if held.unwrap_or(Values::NULL) != value {
                        return None;
                    }
                }
                MicroOp::Write(register, value) => {
                    written.insert(register, value);
                }
            }
        }
        if written.is_empty() {
            return Some(state.clone());
        }
        let kept = state
            .iter()
            .filter(|(register, _)| !written.contains_key(register));
        let mut after: Vec<(u32, u32)> = kept.copied().collect();
        after.extend(
            written
                .iter()
                .map(|(register, value)| (*register, *value))
                .filter(|(_, value)| *value != Values::NULL),
        );
        after.sort_unstable();
        Some(after.into())
    }

    fn is_observation(&self, op: &Box<[MicroOp]>) -> bool {
        op.iter().all(|part| matches!(part, MicroOp::Read(..)))
    }

    /// A read needs those that wrote the value to the register.
    fn touches(&self, op: &Box<[MicroOp]>) -> Touches {
        let (mut provides, mut needs) = (Vec::new(), Vec::new());
        for part in op {
            let (list, register, value) = match *part {
                MicroOp::Read(register, value) => (&mut needs, register, value),
                MicroOp::Write(register, value) => (&mut provides, register, value),
            };
            list.push(u64::from(register) << 32 | u64::from(value));
        }
        let touched = |mut list: Vec<u64>| {
            list.sort_unstable();
            list.dedup();
            match list.is_empty() {
                true => Touched::Nothing,
                false => Touched::These(list.into()),
            }
        };
        Touches {
            provides: touched(provides),
            needs: touched(needs),
        }
    }

    fn is_repeatable(&self, _op: &Box<[MicroOp]>) -> bool {
        true
    }

    fn bytes(&self, state: &Registers) -> usize {
        size_of_val(state) + size_of_val(&**state)
    }

    fn describe(&self, state: &Registers, values: &Values) -> Value {
        let fields = state.iter().map(|(register, value)| {
            let name = values.value(*register).as_str().unwrap_or_default();
            (name.to_owned(), values.value(*value).clone())
        });
        fields.collect::<Map<String, Value>>().into()
    }
}
