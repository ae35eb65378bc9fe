//! From events to transactions of rows, and what there was of each row.

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType, Process};
use thiserror::Error;

use super::super::history::{Outcome, Transactions};
use super::super::values::NONE;

/// What a row is: a value, or `None` where there is none.
pub(super) type State = Option<Value>;

/// Which rows a predicate matches. A row that is not there matches none.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Predicate {
    True,
    Equals(Value),
    Modulo(i64, i64),
}

impl Predicate {
    pub(in super::super) fn of(value: &Value) -> Option<Predicate> {
        match value {
            Value::String(text) if text == "true" => Some(Predicate::True),
            Value::Bool(true) => Some(Predicate::True),
            Value::Array(parts) => match (parts.first()?.as_str()?, &parts[1..]) {
                ("=", [value]) => Some(Predicate::Equals(value.clone())),
                ("mod", [modulus, rest]) => {
                    let modulus = modulus.as_i64().filter(|modulus| *modulus > 0)?;
                    Some(Predicate::Modulo(modulus, rest.as_i64()?))
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(in super::super) fn matches(&self, state: Option<&Value>) -> bool {
        match (self, state) {
            (_, None) => false,
            (Predicate::True, Some(_)) => true,
            (Predicate::Equals(wanted), Some(value)) => wanted == value,
            (Predicate::Modulo(modulus, rest), Some(value)) => value
                .as_i64()
                .is_some_and(|value| value.rem_euclid(*modulus) == *rest),
        }
    }
}

/// A key as it is written where it is the key of a JSON object.
pub(in super::super) fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Clone, Debug)]
pub(super) enum Mop {
    Write(u32, State),
    Read(u32, State),
    Rows(Predicate, FxHashMap<u32, Value>),
    /// A read of which nothing is known.
    Nothing,
}

/// What makes an event no part of such a history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error(
        "event {0}: this function is {1:?}; a closed-predicate history has \"init\" and \"txn\" alone"
    )]
    Function(u64, String),
    #[error(
        "event {index}: {value} is no micro-operation; one is [\"insert\", key, value], [\"delete\", key], [\"w\", key, value], \
         [\"r\", key, value] or [\"rp\", predicate, {{key: value}}], a predicate \"true\", [\"=\", value] or [\"mod\", modulus, rest]"
    )]
    Micro { index: u64, value: String },
    #[error("event {0}: the value of \"init\" is an object with the value of each key")]
    Init(u64),
    #[error(
        "event {0}: there is one \"init\", before all else, and it must end ok: the universe is closed"
    )]
    Universe(u64),
}

/// All that was done.
#[derive(Default)]
pub(super) struct History {
    /// Who did it when; the micro-operations are in `mops`.
    pub(super) all: Transactions,
    pub(super) mops: Vec<Vec<Mop>>,
    /// As they were recorded.
    pub(super) values: Vec<Value>,
    pub(super) keys: Vec<String>,
    numbers: FxHashMap<String, u32>,
    /// The transaction that made the universe.
    pub(super) init: Option<u32>,
    /// By key, what it made.
    pub(super) base: Vec<State>,
    open: FxHashMap<u64, u32>,
    processes: FxHashMap<u64, u32>,
}

impl History {
    fn key(&mut self, key: &Value) -> u32 {
        let text = key_text(key);
        let next = self.keys.len() as u32;
        let number = *self.numbers.entry(text.clone()).or_insert(next);
        if number == next {
            self.keys.push(text);
            self.base.push(None);
        }
        number
    }

    fn begin(&mut self, process: u64, invoke: u32) -> u32 {
        let next = self.processes.len() as u32;
        let number = *self.processes.entry(process).or_insert(next);
        if number == next {
            self.all.processes.push(process);
        }
        self.all.process.push(number);
        self.all.invoke.push(invoke);
        self.all.complete.push(NONE);
        self.all.outcome.push(Outcome::Info);
        self.mops.push(Vec::new());
        self.values.push(Value::Null);
        self.mops.len() as u32 - 1
    }

    /// Takes an event in.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), Malformed> {
        let Process::Client(process) = event.process else {
            return Ok(());
        };
        let is_init = &*event.f == "init";
        if !is_init && &*event.f != "txn" {
            return Err(Malformed::Function(event.index, event.f.to_string()));
        }
        let index = event.index as u32;
        let open = self.open.remove(&process);
        let transaction = match open.filter(|_| !event.is_invoke()) {
            Some(open) => open,
            None => self.begin(process, if event.is_invoke() { index } else { NONE }),
        };
        if event.is_invoke() {
            self.open.insert(process, transaction);
        } else {
            self.all.complete[transaction as usize] = index;
            self.all.outcome[transaction as usize] = match event.kind {
                EventType::Ok => Outcome::Ok,
                EventType::Fail => Outcome::Fail,
                EventType::Info | EventType::Invoke => Outcome::Info,
            };
        }
        if is_init {
            return self.universe(transaction, event);
        }
        if event.value.is_null() || event.kind == EventType::Fail && open.is_some() {
            return Ok(());
        }
        let is_known = event.kind == EventType::Ok;
        let micro = event.value.as_array().map_or(&[][..], Vec::as_slice);
        let mops = micro.iter().map(|one| {
            self.mop(one, is_known).ok_or_else(|| Malformed::Micro {
                index: event.index,
                value: one.to_string(),
            })
        });
        self.mops[transaction as usize] = mops.collect::<Result<_, _>>()?;
        self.values[transaction as usize] = event.value.clone();
        Ok(())
    }

    fn universe(&mut self, transaction: u32, event: &Event) -> Result<(), Malformed> {
        let known = *self.init.get_or_insert(transaction);
        let fails = !event.is_invoke() && event.kind != EventType::Ok;
        if known != transaction || transaction != 0 || fails {
            return Err(Malformed::Universe(event.index));
        }
        let rows = event.value.as_object();
        for (key, value) in rows.ok_or(Malformed::Init(event.index))? {
            let key = self.key(&Value::String(key.clone()));
            self.base[key as usize] = Some(value.clone());
        }
        let named = self.keys.iter().zip(&self.base);
        self.values[transaction as usize] = named
            .map(|(key, value)| serde_json::json!(["init", key, value]))
            .collect();
        Ok(())
    }

    fn mop(&mut self, value: &Value, is_known: bool) -> Option<Mop> {
        let parts = value.as_array()?;
        Some(match (parts.first()?.as_str()?, &parts[1..]) {
            ("insert" | "w", [key, value]) => Mop::Write(
                self.key(key),
                Some(value.clone()).filter(|one| !one.is_null()),
            ),
            ("delete", [key] | [key, _]) => Mop::Write(self.key(key), None),
            ("r", [key] | [key, _]) if !is_known => {
                self.key(key);
                Mop::Nothing
            }
            ("r", [key, value]) => Mop::Read(
                self.key(key),
                Some(value.clone()).filter(|one| !one.is_null()),
            ),
            ("rp", [predicate] | [predicate, _]) if !is_known => {
                Predicate::of(predicate)?;
                Mop::Nothing
            }
            ("rp", [predicate, rows]) => {
                let predicate = Predicate::of(predicate)?;
                let rows = rows.as_object()?.iter();
                let rows =
                    rows.map(|(key, value)| (self.key(&Value::String(key.clone())), value.clone()));
                Mop::Rows(predicate, rows.collect())
            }
            _ => return None,
        })
    }

    /// What a transaction leaves of each key that it writes.
    pub(super) fn finals(&self, transaction: u32) -> FxHashMap<u32, &State> {
        let mops = self.mops[transaction as usize].iter();
        mops.filter_map(|mop| match mop {
            Mop::Write(key, state) => Some((*key, state)),
            _ => None,
        })
        .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.mops.len()
    }
}
