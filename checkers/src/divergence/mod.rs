//! Divergence: do all nodes hold the same in the end, and the same in each version?
//!
//! | `op.f` | `op.key` | `op.value` | an `ok` returns |
//! | --- | --- | --- | --- |
//! | `write` | a record | what it shall hold | the same |
//! | `read` | a record | `null` | what it holds, as the node that was asked has it |
//! | `final-read` | a record | `null` | the same, when all is healed |
//!
//! What a record holds is any JSON, `null` where there is none, or `{"value": …, "version": …}` where the system says which
//! version that is; an `ok` of a write may say it, too. This asks nothing of *when* a node sees a write, only that those that
//! took part in the same writes end up alike:
//!
//! | finding | what it is | verdict |
//! | --- | --- | --- |
//! | version | one version of a record had two values, whenever and wherever they were read | invalid |
//! | divergent | two final reads of a record, which no write in between explains | invalid |
//! | lost | a final read finds no record, though a write to it was acknowledged | invalid |
//! | aborted | a value was read of which each write failed | invalid |
//! | unexpected | a value was read that nobody had begun to write | invalid |
//! | explained | final reads differ, and a write of unknown outcome may have taken effect between them | unknown |
//!
//! A *final* read began when all writes to its record had ended; of each node the last one counts (of each process, where reads
//! do not say who answered). A write whose outcome is unknown may take effect then. So a value is *settled* if no write of it is
//! unknown: no record can come to hold it any more. Two final reads that found different settled values contradict each other,
//! and so does one that found a settled value after another one had found something else. Nothing is ever deleted.
//!
//! What was written is kept, and of each version who first saw what.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType, Name};

use crate::budget::{Budget, Exhausted, feed_clients};
use crate::transactions::values::Interner;
use crate::{CheckResult, Checker, FINAL_READ, Feed, Valid};

mod findings;
mod report;

/// What a value of a record, or a version of it, costs in memory, about.
const VALUE_BYTES: usize = 160;
/// What a final read costs in memory, about.
const READ_BYTES: usize = 128;

/// The indexes of the events that an operation begins and ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    begun: u64,
    ended: u64,
}

/// What a record held: numbers of the value and of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    value: u32,
    version: Option<u32>,
}

impl State {
    /// Whether a record cannot be both at once. A version that is not said says nothing.
    fn differs(self, other: State) -> bool {
        let versions = self.version.zip(other.version);
        self.value != other.value || versions.is_some_and(|(one, other)| one != other)
    }
}

/// What became of a value of a record.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    /// When a write of it began first.
    begun: Option<u64>,
    /// Writes that may still take effect: under way, or of unknown outcome.
    unsettled: u32,
    /// Writes that did not fail.
    writes: u32,
    /// The write that failed last.
    failed: Option<Span>,
    /// The first read that shows it.
    shown: Option<Span>,
    /// Whether that ended before any write of it began.
    unexpected: bool,
}

/// The end of a record, as somebody saw it.
#[derive(Clone, Debug)]
struct Last {
    read: Span,
    node: Option<Name>,
    state: State,
}

/// A record.
#[derive(Debug, Default)]
struct Record {
    values: BTreeMap<u32, Written>,
    /// By version, what it is and who first saw it.
    versions: FxHashMap<u32, (u32, Span)>,
    /// The first write that was acknowledged.
    acknowledged: Option<Span>,
    /// When a write ended last.
    last_write: Option<u64>,
    /// By process, its last final read.
    finals: BTreeMap<u64, Last>,
}

/// One version with two values.
#[derive(Clone, Copy, Debug)]
struct Split {
    record: u32,
    version: u32,
    values: [u32; 2],
    seen: [Span; 2],
}

/// An operation that has not ended.
#[derive(Clone, Copy, Debug)]
enum Open {
    Write { begun: u64, record: u32, value: u32 },
    Read { begun: u64, record: u32 },
}

/// The checker of records that must end up alike on all nodes.
#[derive(Default)]
pub struct Divergence {
    keys: Interner,
    values: Interner,
    /// By number of the key.
    records: Vec<Record>,
    open: FxHashMap<u64, Open>,
    splits: Vec<Split>,
    split_count: u64,
    attempts: u64,
    acknowledgements: u64,
    reads: u64,
    impossible: bool,
    malformed: Option<(u64, String)>,
    exhausted: Option<Exhausted>,
}

/// Versions with two values that are kept.
const KEPT: usize = 100;

impl Divergence {
    /// A checker that has seen nothing.
    pub fn new() -> Divergence {
        Divergence::default()
    }

    fn malformed(&mut self, event: &Event, why: String) {
        self.malformed.get_or_insert((event.index, why));
    }

    fn record(&mut self, key: &Value, budget: &dyn Budget) -> Result<u32, Exhausted> {
        let number = self.keys.number(key);
        if number as usize == self.records.len() {
            budget.charge(size_of::<Record>() + VALUE_BYTES)?;
            self.records.push(Record::default());
        }
        Ok(number)
    }

    /// What became of a value of a record.
    fn written(
        &mut self,
        record: u32,
        value: u32,
        budget: &dyn Budget,
    ) -> Result<&mut Written, Exhausted> {
        let values = &mut self.records[record as usize].values;
        if !values.contains_key(&value) {
            budget.charge(VALUE_BYTES)?;
        }
        Ok(values.entry(value).or_default())
    }

    fn take(&mut self, event: &Event, process: u64, budget: &dyn Budget) -> Result<(), Exhausted> {
        if event.kind == EventType::Invoke {
            return self.begin(event, process, budget);
        }
        let now = event.index;
        match self.open.remove(&process) {
            Some(Open::Write {
                begun,
                record,
                value,
            }) => {
                let span = Span { begun, ended: now };
                let written = self.written(record, value, budget)?;
                match event.kind {
                    EventType::Ok => written.unsettled -= 1,
                    EventType::Fail => {
                        written.unsettled -= 1;
                        written.writes -= 1;
                        written.failed = Some(span);
                    }
                    EventType::Info | EventType::Invoke => {}
                }
                let whole = &mut self.records[record as usize];
                whole.last_write = Some(now);
                if event.kind == EventType::Ok {
                    self.acknowledgements += 1;
                    whole.acknowledged.get_or_insert(span);
                    if let Some((_, version)) = versioned(&event.value) {
                        self.see(record, version, value, span, budget)?;
                    }
                }
            }
            Some(Open::Read { begun, record }) if event.kind == EventType::Ok => {
                let span = Span { begun, ended: now };
                self.read(event, process, record, span, budget)?;
            }
            Some(Open::Read { .. }) | None => {}
        }
        Ok(())
    }

    fn begin(&mut self, event: &Event, process: u64, budget: &dyn Budget) -> Result<(), Exhausted> {
        let begun = event.index;
        let key = event.key.as_ref().unwrap_or(&Value::Null);
        let open = match &*event.f {
            "write" if event.value.is_null() => {
                self.malformed(event, "nothing is written: null is no record".to_owned());
                return Ok(());
            }
            "write" => {
                let (record, value) = (self.record(key, budget)?, self.values.number(&event.value));
                self.attempts += 1;
                let written = self.written(record, value, budget)?;
                written.begun.get_or_insert(begun);
                written.unsettled += 1;
                written.writes += 1;
                Open::Write {
                    begun,
                    record,
                    value,
                }
            }
            "read" | FINAL_READ => Open::Read {
                begun,
                record: self.record(key, budget)?,
            },
            f => {
                let why = format!("a record has write, read and {FINAL_READ}, not {f}");
                self.malformed(event, why);
                return Ok(());
            }
        };
        self.open.insert(process, open);
        Ok(())
    }

    fn read(
        &mut self,
        event: &Event,
        process: u64,
        record: u32,
        span: Span,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.reads += 1;
        let (value, version) = match versioned(&event.value) {
            Some((value, version)) => (value, Some(version)),
            None => (&event.value, None),
        };
        let number = self.values.number(value);
        if !value.is_null() {
            let written = self.written(record, number, budget)?;
            if written.shown.is_none() {
                written.shown = Some(span);
                written.unexpected = written.begun.is_none();
            }
            let unexpected = written.unexpected;
            self.impossible |= unexpected;
        }
        let version = match version {
            Some(version) => Some(self.see(record, version, number, span, budget)?),
            None => None,
        };
        if &*event.f == FINAL_READ {
            let last = Last {
                read: span,
                node: event.node.clone(),
                state: State {
                    value: number,
                    version,
                },
            };
            let finals = &mut self.records[record as usize].finals;
            if finals.insert(process, last).is_none() {
                budget.charge(READ_BYTES)?;
            }
        }
        Ok(())
    }

    /// A version of a record was seen to be a value. Returns its number.
    fn see(
        &mut self,
        record: u32,
        version: &Value,
        value: u32,
        span: Span,
        budget: &dyn Budget,
    ) -> Result<u32, Exhausted> {
        let version = self.values.number(version);
        let versions = &mut self.records[record as usize].versions;
        let Some((first, seen)) = versions.get(&version).copied() else {
            budget.charge(VALUE_BYTES)?;
            versions.insert(version, (value, span));
            return Ok(version);
        };
        if first != value {
            self.impossible = true;
            self.split_count += 1;
            if self.splits.len() < KEPT {
                self.splits.push(Split {
                    record,
                    version,
                    values: [first, value],
                    seen: [seen, span],
                });
            }
        }
        Ok(version)
    }
}

/// The value and the version of what says which version it is.
fn versioned(held: &Value) -> Option<(&Value, &Value)> {
    let held = held.as_object().filter(|held| held.len() == 2)?;
    Some((held.get("value")?, held.get("version")?))
}

impl Checker for Divergence {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.exhausted = feed_clients(self.exhausted, events, |event, process| {
            self.take(event, process, budget)
        });
        Feed::of(self.exhausted, self.impossible)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        if let Some(why) = self.exhausted {
            return CheckResult::new(Valid::Unknown, why.to_string());
        }
        match findings::find(self, budget) {
            Ok(found) => report::report(self, &found),
            Err(why) => CheckResult::new(Valid::Unknown, why.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
