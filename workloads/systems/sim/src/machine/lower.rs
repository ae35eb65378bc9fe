//! From operations as they stand in a history to commands.

use harness::client::Op;
use store::Value;

use super::{Command, Key, Micro};

/// The function of a read of all accounts: a bank's `read`, told from a set's.
pub(crate) const BALANCES: &str = "balances";

impl Command {
    /// The command that an operation asks for, or why there is none.
    pub(crate) fn lower(op: &Op) -> Result<Command, String> {
        let key = || {
            let key = op.key.as_ref().and_then(Value::as_i64);
            key.ok_or_else(|| "a register's key is a whole number".to_owned())
        };
        match (&*op.f, &op.value) {
            ("read", _) if op.key.is_none() => Ok(Command::Elements),
            ("read", _) => Ok(Command::Read(key()?)),
            ("write", value) => Ok(Command::Write(key()?, integer(value)?)),
            ("cas", Value::Array(pair)) if pair.len() == 2 => {
                Ok(Command::Cas(key()?, integer(&pair[0])?, integer(&pair[1])?))
            }
            ("txn", Value::Array(micros)) => {
                let micros: Result<_, _> = micros.iter().map(micro).collect();
                Ok(Command::Transaction(micros?))
            }
            ("add", element) => Ok(Command::Add(integer(element)?)),
            ("transfer", value) => transfer(value),
            (BALANCES, _) => Ok(Command::Balances),
            (f, value) => Err(unknown(f, value)),
        }
    }

    /// Whether it changes nothing, so that it need not go through the log.
    pub(crate) fn is_read(&self) -> bool {
        match self {
            Command::Read(_) | Command::Elements | Command::Balances => true,
            Command::Transaction(micros) => {
                micros.iter().all(|micro| matches!(micro, Micro::Read(_)))
            }
            Command::Noop
            | Command::Write(..)
            | Command::Cas(..)
            | Command::Add(_)
            | Command::Transfer { .. } => false,
        }
    }
}

fn unknown(f: &str, value: &Value) -> String {
    format!("the simulated store does not know {f} {value}")
}

fn micro(value: &Value) -> Result<Micro, String> {
    let parts = value.as_array().map_or(&[][..], Vec::as_slice);
    let [f, key, value] = parts else {
        return Err(unknown("txn of", value));
    };
    let key: Key = integer(key)?;
    match f.as_str() {
        Some("r") => Ok(Micro::Read(key)),
        Some("append") => Ok(Micro::Append(key, integer(value)?)),
        Some("w") => Ok(Micro::Write(key, integer(value)?)),
        _ => Err(unknown("txn of", f)),
    }
}

fn transfer(value: &Value) -> Result<Command, String> {
    let part = |name: &str| integer(value.get(name).unwrap_or(&Value::Null));
    Ok(Command::Transfer {
        from: part("from")?,
        to: part("to")?,
        amount: part("amount")?,
    })
}

fn integer(value: &Value) -> Result<i64, String> {
    value
        .as_i64()
        .ok_or_else(|| format!("the simulated store holds whole numbers, not {value}"))
}
