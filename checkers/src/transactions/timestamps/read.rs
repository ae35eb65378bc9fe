//! Transactions with timestamps, as they are told.

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType, Process};

/// A transaction.
pub(super) struct Transaction {
    pub(super) process: u64,
    pub(super) invoke: Option<u64>,
    pub(super) complete: Option<u64>,
    pub(super) outcome: EventType,
    pub(super) value: Value,
    /// Start and commit.
    pub(super) stamps: Option<(i64, i64)>,
}

/// The timestamps among micro-operations.
pub(super) fn stamps(value: &Value) -> Option<(i64, i64)> {
    let mut all = value.as_array()?.iter().filter_map(Value::as_array);
    all.find_map(|one| match &one[..] {
        [f, start, commit] if f == "timestamps" => Some((start.as_i64()?, commit.as_i64()?)),
        _ => None,
    })
}

/// Reads and writes, as function, key and value.
pub(super) fn micro(value: &Value) -> impl DoubleEndedIterator<Item = (&str, &Value, &Value)> {
    let all = value.as_array().map_or(&[][..], Vec::as_slice).iter();
    all.filter_map(|one| {
        let f = one.get(0)?.as_str().filter(|f| *f != "timestamps")?;
        Some((f, one.get(1)?, one.get(2).unwrap_or(&Value::Null)))
    })
}

impl Transaction {
    pub(super) fn micro(&self) -> impl DoubleEndedIterator<Item = (&str, &Value, &Value)> {
        micro(&self.value)
    }

    pub(super) fn is_ok(&self) -> bool {
        self.outcome == EventType::Ok
    }

    pub(super) fn is_failed(&self) -> bool {
        self.outcome == EventType::Fail
    }

    pub(super) fn reads_any(&self) -> bool {
        self.micro().next().is_some()
    }

    pub(super) fn start(&self) -> i64 {
        self.stamps.map_or(0, |(start, _)| start)
    }

    pub(super) fn commit(&self) -> i64 {
        self.stamps.map_or(0, |(_, commit)| commit)
    }

    /// An event of it.
    pub(super) fn event(&self) -> u64 {
        self.complete.or(self.invoke).unwrap_or_default()
    }
}

/// All transactions, in order of invocation.
#[derive(Default)]
pub(super) struct Told {
    pub(super) transactions: Vec<Transaction>,
    open: FxHashMap<u64, usize>,
}

impl Told {
    /// Takes an event in.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), String> {
        let Process::Client(process) = event.process else {
            return Ok(());
        };
        if &*event.f != "txn" {
            return Err(format!(
                "event {}: this function is {:?}; a history with timestamps has \"txn\" alone",
                event.index, event.f
            ));
        }
        let open = self.open.remove(&process).filter(|_| !event.is_invoke());
        let at = open.unwrap_or_else(|| {
            self.transactions.push(Transaction {
                process,
                invoke: event.is_invoke().then_some(event.index),
                complete: None,
                outcome: EventType::Info,
                value: event.value.clone(),
                stamps: None,
            });
            self.transactions.len() - 1
        });
        if event.is_invoke() {
            self.open.insert(process, at);
            return Ok(());
        }
        let one = &mut self.transactions[at];
        one.complete = Some(event.index);
        one.outcome = event.kind;
        if event.kind == EventType::Ok {
            one.value = event.value.clone();
            one.stamps = stamps(&event.value);
            if one.stamps.is_some_and(|(start, commit)| start > commit) {
                return Err(format!(
                    "event {}: it committed before its start",
                    event.index
                ));
            }
        }
        Ok(())
    }
}
