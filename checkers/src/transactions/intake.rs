//! From events to transactions in columns.

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType};
use thiserror::Error;

use super::evidence::Objects;
use super::history::{Key, Mop, OddList, Outcome, Seen, Transactions};
use super::values::NONE;

impl Objects {
    /// What a history of them is called.
    fn name(self) -> &'static str {
        match self {
            Objects::Lists => "list-append",
            Objects::Registers => "rw-register",
            Objects::Rows => "closed-predicate",
            Objects::Sets => "set-add",
            Objects::Counters => "counter-inc",
        }
    }

    /// The function that changes one.
    pub(super) fn write(self) -> &'static str {
        match self {
            Objects::Lists => "append",
            Objects::Registers | Objects::Rows => "w",
            Objects::Sets => "add",
            Objects::Counters => "inc",
        }
    }

    /// What micro-operations look like.
    fn shape(self) -> &'static str {
        match self {
            Objects::Lists => r#"["append", key, element] or ["r", key, list]"#,
            Objects::Registers => {
                r#"["w", key, value] or ["r", key, value], or either with a version, a whole number, behind the value"#
            }
            Objects::Rows => r#"["w", key, value] or ["r", key, value]"#,
            Objects::Sets => r#"["add", key, element] or ["r", key, elements]"#,
            Objects::Counters => r#"["inc", key, n] or ["r", key, value]"#,
        }
    }
}

/// What makes an event no part of a history of transactions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error("event {index}: this function is {f:?}; a {} history has \"txn\" alone", objects.name())]
    Function {
        index: u64,
        f: String,
        objects: Objects,
    },
    #[error("event {index}: a transaction is a list of micro-operations, not {value}")]
    Transaction { index: u64, value: String },
    #[error("event {index}: micro-operation {at} is {value}; one is {}", objects.shape())]
    Micro {
        index: u64,
        at: usize,
        value: String,
        objects: Objects,
    },
    #[error("event {index}: the read of key {key} returned {value}, which is no list")]
    List {
        index: u64,
        key: String,
        value: String,
    },
    #[error("event {index}: indexes of events must ascend, and the one before is {before}")]
    Order { index: u64, before: u64 },
    #[error("event {index}: a history holds at most {} events and as many micro-operations", u32::MAX / 2)]
    TooLong { index: u64 },
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// This transaction began.
    Begun(u32),
    /// This transaction ended. It may be one that never began.
    Ended(u32),
}

/// Takes events in, in order.
#[derive(Default)]
pub(super) struct Intake {
    pub(super) transactions: Transactions,
    objects: Objects,
    /// By process: its number.
    numbers: FxHashMap<u64, u32>,
    /// By process number: its open transaction.
    open: Vec<u32>,
    /// Bytes of lists, which grow elsewhere than in columns.
    list_bytes: usize,
    /// The last index, plus one.
    next_index: u64,
    /// How many transactions were begun while their process had another open. The earlier ones are taken as open for ever.
    pub(super) overlapping: u64,
}

/// The beginning of a value, for a message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

impl Intake {
    /// One that has taken nothing.
    pub(super) fn of(objects: Objects) -> Intake {
        Intake {
            objects,
            ..Intake::default()
        }
    }

    /// Takes an event of a client.
    pub(super) fn take(&mut self, event: &Event, process: u64) -> Result<Taken, Malformed> {
        let index = event.index;
        if index < self.next_index {
            let before = self.next_index - 1;
            return Err(Malformed::Order { index, before });
        }
        if index >= u64::from(u32::MAX / 2) || self.transactions.mops.len() as u32 >= u32::MAX / 2 {
            return Err(Malformed::TooLong { index });
        }
        self.next_index = index + 1;
        if &*event.f != "txn" {
            let (f, objects) = (event.f.to_string(), self.objects);
            return Err(Malformed::Function { index, f, objects });
        }
        let process = self.process(process);
        let open = std::mem::replace(&mut self.open[process as usize], NONE);
        if event.is_invoke() {
            self.overlapping += u64::from(open != NONE);
            let transaction = self.begin(process, index as u32);
            self.open[process as usize] = transaction;
            self.micro(event)?;
            self.transactions.end[transaction as usize] = self.transactions.mops.len() as u32;
            return Ok(Taken::Begun(transaction));
        }
        // A history may have completions alone: what they say of reads and writes is the same.
        let transaction = match open {
            NONE => self.begin(process, NONE),
            open => open,
        };
        self.complete(transaction, event)?;
        Ok(Taken::Ended(transaction))
    }

    fn process(&mut self, process: u64) -> u32 {
        let next = self.open.len() as u32;
        let number = *self.numbers.entry(process).or_insert(next);
        if number == next {
            self.open.push(NONE);
            self.transactions.processes.push(process);
        }
        number
    }

    fn begin(&mut self, process: u32, invoke: u32) -> u32 {
        let all = &mut self.transactions;
        let number = all.len() as u32;
        all.process.push(process);
        all.invoke.push(invoke);
        all.complete.push(NONE);
        all.outcome.push(Outcome::Info);
        all.begin.push(all.mops.len() as u32);
        all.end.push(all.mops.len() as u32);
        number
    }

    fn complete(&mut self, transaction: u32, event: &Event) -> Result<(), Malformed> {
        let at = transaction as usize;
        self.transactions.complete[at] = event.index as u32;
        self.transactions.outcome[at] = match event.kind {
            EventType::Ok => Outcome::Ok,
            EventType::Fail => Outcome::Fail,
            EventType::Info | EventType::Invoke => Outcome::Info,
        };
        // What ended otherwise is what was asked; if nobody asked, it is what the end says.
        let known = self.transactions.invoke[at] != NONE;
        if event.value.is_null() || known && event.kind != EventType::Ok {
            return Ok(());
        }
        let before = self.transactions.mops.len();
        self.micro(event)?;
        let (begin, end) = (
            self.transactions.begin[at] as usize,
            self.transactions.end[at] as usize,
        );
        let mops = &mut self.transactions.mops;
        let same = end - begin == mops.len() - before
            && (begin..end).zip(before..).all(|(old, new)| {
                mops[old].key() == mops[new].key() && mops[old].element() == mops[new].element()
            });
        if same {
            let begin = begin as u32;
            self.transactions.replace(begin, before as u32);
        } else {
            self.transactions.begin[at] = before as u32;
            self.transactions.end[at] = mops.len() as u32;
        }
        if event.kind == EventType::Ok {
            self.read_all(transaction, event)?;
        }
        Ok(())
    }

    /// Adds the micro-operations of an event, with reads of which nothing is known.
    fn micro(&mut self, event: &Event) -> Result<(), Malformed> {
        let index = event.index;
        let micro = match &event.value {
            Value::Null => return Ok(()),
            Value::Array(micro) => micro,
            other => {
                let value = brief(other);
                return Err(Malformed::Transaction { index, value });
            }
        };
        for (at, one) in micro.iter().enumerate() {
            let parts = one.as_array().map_or(&[][..], Vec::as_slice);
            let f = parts.first().and_then(Value::as_str);
            let (parts, given) = self.versioned(parts);
            let mop = match (f, parts) {
                (Some("r"), [_, key] | [_, key, _]) => Mop::read(self.key(key), Seen::Unknown),
                (Some(f), [_, key, element]) if f == self.objects.write() => {
                    Mop::write(self.key(key), self.transactions.elements.code(element))
                }
                _ => {
                    return Err(Malformed::Micro {
                        index,
                        at,
                        value: brief(one),
                        objects: self.objects,
                    });
                }
            };
            let number = self.transactions.mops.len() as u32;
            self.transactions.mops.push(mop);
            self.transactions.give(number, given);
        }
        Ok(())
    }

    /// A micro-operation without its version, if it is one that can have one.
    fn versioned<'a>(&self, parts: &'a [Value]) -> (&'a [Value], Option<i64>) {
        match parts {
            [_, _, _, version] if self.objects == Objects::Registers => {
                let given = version.as_i64();
                match given.is_some() || version.is_null() {
                    true => (&parts[..3], given),
                    false => (parts, None),
                }
            }
            _ => (parts, None),
        }
    }

    fn key(&mut self, key: &Value) -> u32 {
        let all = &mut self.transactions;
        let number = all.key_names.number(key);
        if number as usize == all.keys.len() {
            all.keys.push(Key {
                order: Vec::new(),
                reader: NONE,
                agreed: NONE,
            });
        }
        number
    }

    /// Takes in what a transaction read, now that its micro-operations are there.
    fn read_all(&mut self, transaction: u32, event: &Event) -> Result<(), Malformed> {
        let begin = self.transactions.begin[transaction as usize];
        let Value::Array(micro) = &event.value else {
            return Ok(());
        };
        for (one, at) in micro.iter().zip(begin..) {
            let mop = self.transactions.mops[at as usize];
            if mop.element().is_some() {
                continue;
            }
            if self.objects == Objects::Registers {
                if let Some(value) = one.get(2) {
                    let code = self.transactions.elements.code(value);
                    self.transactions.mops[at as usize] = Mop::read_value(mop.key(), code);
                }
                continue;
            }
            let list = match one.get(2) {
                None | Some(Value::Null) => &[][..],
                Some(Value::Array(list)) => list.as_slice(),
                Some(other) => {
                    return Err(Malformed::List {
                        index: event.index,
                        key: self.transactions.key_value(mop.key()).to_string(),
                        value: brief(other),
                    });
                }
            };
            let seen = self.read(transaction, at, list);
            self.transactions.mops[at as usize] = Mop::read(mop.key(), seen);
        }
        Ok(())
    }

    /// Compares a list that was read with what is known of its key.
    fn read(&mut self, transaction: u32, at: u32, list: &[Value]) -> Seen {
        let own: Vec<u32> = self.transactions.own_before(transaction, at).collect();
        let all = &mut self.transactions;
        let key_number = all.mops[at as usize].key();
        let mut list = list;
        if !own.is_empty() {
            let (others, tail) = list.split_at(list.len().saturating_sub(own.len()));
            let same = tail.len() == own.len()
                && tail
                    .iter()
                    .zip(&own)
                    .all(|(value, code)| all.elements.code(value) == *code);
            if same {
                list = others;
            } else {
                all.torn.insert(at);
            }
        }
        let key = &mut all.keys[key_number as usize];
        let common = list.len().min(key.order.len());
        let pairs = list.iter().zip(&key.order);
        let agreed = pairs
            .take_while(|(value, code)| all.elements.code(value) == **code)
            .count();
        if agreed < common {
            key.agreed = key.agreed.min(agreed as u32);
            let codes: Vec<u32> = list.iter().map(|value| all.elements.code(value)).collect();
            self.list_bytes += codes.len() * 4;
            all.odd.push(OddList {
                reader: transaction,
                key: key_number,
                codes,
            });
            return Seen::Odd(all.odd.len() as u32 - 1);
        }
        if list.len() > common {
            key.order.reserve(list.len() - common);
            for value in &list[common..] {
                key.order.push(all.elements.code(value));
            }
            key.reader = transaction;
            self.list_bytes += (list.len() - common) * 8;
        }
        Seen::Prefix(list.len() as u32)
    }

    /// How many bytes all that was taken in takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.transactions.bytes() + self.list_bytes + self.open.len() * 32
    }
}
