//! The replicated state machine: what is stored, and what can be done to it.
//!
//! Nothing else in the store knows what a command means. A new data type is a variant of
//! [`Command`] and of [`Output`], an arm of [`Command::lower`] and of [`Output::raise`] (between
//! those and the JSON of a history), and an arm of [`Machine::apply`].

use std::collections::BTreeMap;

use harness::client::{Completion, Op};
use store::{OpError, Value, json};

/// Registers are named by numbers.
pub(crate) type Key = i64;

/// An operation on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing. A new leader commits one to learn what is committed.
    Noop,
    Read(Key),
    Write(Key, i64),
    /// Compare-and-set: from, to.
    Cas(Key, i64, i64),
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// It was done.
    Done,
    /// What was read; `None` where nothing was ever written.
    Value(Option<i64>),
    /// A compare-and-set saw this instead of what it expected, and did nothing.
    Mismatch(Option<i64>),
}

impl Command {
    /// The command that an operation asks for, or why there is none.
    pub(crate) fn lower(op: &Op) -> Result<Command, String> {
        let key = op
            .key
            .as_ref()
            .and_then(Value::as_i64)
            .ok_or("a register's key is a whole number")?;
        match (&*op.f, &op.value) {
            ("read", _) => Ok(Command::Read(key)),
            ("write", value) => integer(value).map(|value| Command::Write(key, value)),
            ("cas", Value::Array(pair)) if pair.len() == 2 => {
                Ok(Command::Cas(key, integer(&pair[0])?, integer(&pair[1])?))
            }
            (f, value) => Err(format!("the simulated store does not know {f} {value}")),
        }
    }

    /// Whether it changes nothing, so that it need not go through the log.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Command::Read(_))
    }
}

fn integer(value: &Value) -> Result<i64, String> {
    value
        .as_i64()
        .ok_or_else(|| format!("a register holds whole numbers, not {value}"))
}

impl Output {
    /// The completion of an operation with this output.
    pub(crate) fn raise(self, op: &Op) -> Completion {
        match self {
            Output::Done => Completion::ok(op.value.clone()),
            Output::Value(value) => Completion::ok(json!(value)),
            Output::Mismatch(found) => Completion::fail(
                op.value.clone(),
                OpError::new(
                    OpError::PRECONDITION,
                    format!("the value is {}", json!(found)),
                ),
            ),
        }
    }
}

/// The state that commands act on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    registers: BTreeMap<Key, i64>,
}

impl Machine {
    /// What a register holds.
    pub(crate) fn value(&self, key: Key) -> Option<i64> {
        self.registers.get(&key).copied()
    }

    /// Executes a command.
    pub(crate) fn apply(&mut self, command: &Command) -> Output {
        match *command {
            Command::Noop => Output::Done,
            Command::Read(key) => Output::Value(self.value(key)),
            Command::Write(key, value) => {
                self.registers.insert(key, value);
                Output::Done
            }
            Command::Cas(key, from, to) => match self.registers.get_mut(&key) {
                Some(value) if *value == from => {
                    *value = to;
                    Output::Done
                }
                found => Output::Mismatch(found.copied()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use store::EventType;

    fn run(machine: &mut Machine, f: &str, value: Value) -> Completion {
        let op = Op::new(f, value).on_key(json!(1));
        machine.apply(&Command::lower(&op).unwrap()).raise(&op)
    }

    #[test]
    fn registers_read_write_and_compare() {
        let mut machine = Machine::default();
        assert_eq!(run(&mut machine, "read", Value::Null).value, Value::Null);
        let absent = run(&mut machine, "cas", json!([0, 1]));
        assert_eq!(absent.kind, EventType::Fail);
        assert_eq!(absent.error.unwrap().class, OpError::PRECONDITION);
        assert_eq!(run(&mut machine, "write", json!(3)).kind, EventType::Ok);
        assert_eq!(
            run(&mut machine, "cas", json!([2, 4])).kind,
            EventType::Fail
        );
        assert_eq!(run(&mut machine, "cas", json!([3, 4])).kind, EventType::Ok);
        assert_eq!(run(&mut machine, "read", Value::Null).value, json!(4));
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for (key, f, value) in [
            (json!("a"), "read", Value::Null),
            (json!(1), "write", json!("x")),
            (json!(1), "cas", json!([1])),
            (json!(1), "append", json!(1)),
        ] {
            assert!(Command::lower(&Op::new(f, value).on_key(key)).is_err());
        }
        assert!(Command::lower(&Op::new("read", Value::Null)).is_err());
    }
}
