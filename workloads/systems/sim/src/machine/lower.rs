//! From operations as they stand in a history to commands.

use harness::client::Op;
use store::Value;

use super::{Command, Key, Micro};

/// Functions that workloads know by other names: theirs mean something else here, too.
pub(crate) mod names {
    /// Reads all accounts.
    pub(crate) const BALANCES: &str = "balances";
    /// Whether an element is in the set.
    pub(crate) const CONTAINS: &str = "contains";
    /// Adds to the counter.
    pub(crate) const INCREASE: &str = "increase";
    /// Reads the counter.
    pub(crate) const COUNT: &str = "count";
    /// Replaces a document, whatever it is.
    pub(crate) const PUT: &str = "put";
    /// Replaces a document of a certain version: `[version, value]`.
    pub(crate) const PUT_IF: &str = "put-if";
    /// Reads a document.
    pub(crate) const GET: &str = "get";
    /// Reads a document as the node has it.
    pub(crate) const GET_LOCAL: &str = "get-local";
}

impl Command {
    /// The command that an operation asks for, or why there is none.
    pub(crate) fn lower(op: &Op) -> Result<Command, String> {
        let key = || {
            let key = op.key.as_ref().and_then(Value::as_i64);
            key.ok_or_else(|| "a key is a whole number".to_owned())
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
            (names::BALANCES, _) => Ok(Command::Balances),
            (names::CONTAINS, element) => Ok(Command::Contains(integer(element)?)),
            (names::INCREASE, amount) => Ok(Command::Increase(integer(amount)?)),
            (names::COUNT, _) => Ok(Command::Count),
            (names::PUT, value) => Ok(Command::Put {
                key: key()?,
                version: None,
                value: value.clone(),
            }),
            (names::PUT_IF, Value::Array(pair)) if pair.len() == 2 => Ok(Command::Put {
                key: key()?,
                version: Some(integer(&pair[0])?),
                value: pair[1].clone(),
            }),
            (names::GET, _) => Ok(Command::Get(key()?)),
            (names::GET_LOCAL, _) => Ok(Command::GetLocal(key()?)),
            (f, value) => Err(unknown(f, value)),
        }
    }

    /// Whether it changes nothing, so that it need not go through the log.
    pub(crate) fn is_read(&self) -> bool {
        match self {
            Command::Read(_)
            | Command::Elements
            | Command::Contains(_)
            | Command::Count
            | Command::Get(_)
            | Command::GetLocal(_)
            | Command::Balances => true,
            Command::Transaction(micros) => {
                micros.iter().all(|micro| matches!(micro, Micro::Read(_)))
            }
            Command::Noop
            | Command::Write(..)
            | Command::Cas(..)
            | Command::Add(_)
            | Command::Increase(_)
            | Command::Put { .. }
            | Command::Transfer { .. } => false,
        }
    }

    /// Whether a node answers it from what it has itself, without asking anyone.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Command::GetLocal(_))
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
