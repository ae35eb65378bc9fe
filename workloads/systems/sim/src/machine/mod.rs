//! The replicated state machine: what is stored, and what can be done to it.
//!
//! Nothing else in the store knows what a command means. A new data type is a variant of
//! [`Command`], an arm of [`Command::lower`] (from the JSON of a history) and one of
//! [`Machine::apply`].
//!
//! Commands that write more than one thing say first what they would do, as [`Effect`]s, and then all of these
//! happen at once; or not quite at once, with [`Bug::FracturedReads`].

use std::collections::BTreeMap;

use harness::client::{Completion, Op};
use store::{OpError, Value, json};

use crate::bug::Bug;
use crate::settings::Settings;

mod document;
mod lower;
mod snapshot;

use document::Document;
pub(crate) use lower::names;
use snapshot::Snapshot;

/// Registers, lists, accounts and documents are named by numbers.
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
    /// Reads and writes of registers and lists, all at once.
    Transaction(Vec<Micro>),
    /// Adds an element to the set.
    Add(i64),
    /// Reads the set.
    Elements,
    /// Whether an element is in the set.
    Contains(i64),
    /// Adds to the counter, or takes from it.
    Increase(i64),
    /// Reads the counter.
    Count,
    /// Replaces a document; where a version is given, only if it still has that.
    Put {
        key: Key,
        version: Option<i64>,
        value: Value,
    },
    /// Reads a document with its version.
    Get(Key),
    /// The same, as the node has it that is asked.
    GetLocal(Key),
    /// Moves money from one account to another, unless there is too little.
    Transfer {
        from: Key,
        to: Key,
        amount: i64,
    },
    /// Reads all accounts.
    Balances,
}

/// A part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Micro {
    /// Reads the list of a key, or its register.
    Read(Key),
    Append(Key, i64),
    Write(Key, i64),
}

/// Something that a command changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Append(Key, i64),
    Write(Key, i64),
    /// Adds to an account.
    Move(Key, i64),
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// It was done.
    Done,
    /// What was read; `None` where nothing was ever written.
    Value(Option<i64>),
    /// What was read, as it stands in a history.
    Shown(Value),
    /// A compare-and-set saw this instead of what it expected, and did nothing.
    Mismatch(Option<i64>),
    /// A document has this version instead of the one that was expected, and was not replaced.
    Conflict(i64),
    /// An account holds so much, which is too little, and nothing was moved.
    TooLittle(i64),
}

impl Output {
    /// The completion of an operation with this output.
    pub(crate) fn raise(self, op: &Op) -> Completion {
        let refused =
            |why| Completion::fail(op.value.clone(), OpError::new(OpError::PRECONDITION, why));
        match self {
            Output::Done => Completion::ok(op.value.clone()),
            Output::Value(value) => Completion::ok(json!(value)),
            Output::Shown(value) => Completion::ok(value),
            Output::Mismatch(found) => refused(format!("the value is {}", json!(found))),
            Output::Conflict(version) => refused(format!("the version is {version}")),
            Output::TooLittle(balance) => refused(format!("the account holds {balance}")),
        }
    }
}

/// The state that commands act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    registers: BTreeMap<Key, i64>,
    lists: BTreeMap<Key, Vec<i64>>,
    /// The set, as it was added to.
    elements: Vec<i64>,
    accounts: BTreeMap<Key, i64>,
    negative_balances: bool,
    counter: i64,
    documents: BTreeMap<Key, Document>,
    /// What was there a moment ago, with [`Bug::WriteSkew`].
    snapshot: Option<Snapshot>,
    /// Whether half of what a command changes is seen before the rest.
    fractured: bool,
    /// What the last command changes and nobody sees yet.
    late: Vec<Effect>,
}

impl Machine {
    /// The state before the first command.
    pub(crate) fn new(settings: &Settings) -> Machine {
        Machine {
            registers: BTreeMap::new(),
            lists: BTreeMap::new(),
            elements: Vec::new(),
            accounts: settings.accounts.iter().copied().collect(),
            negative_balances: settings.negative_balances,
            counter: 0,
            documents: BTreeMap::new(),
            snapshot: settings.has(Bug::WriteSkew).then(Snapshot::default),
            fractured: settings.has(Bug::FracturedReads),
            late: Vec::new(),
        }
    }

    /// What a register holds.
    pub(crate) fn value(&self, key: Key) -> Option<i64> {
        self.registers.get(&key).copied()
    }

    /// Executes a command.
    pub(crate) fn apply(&mut self, command: &Command) -> Output {
        if !command.is_read() {
            let late = std::mem::take(&mut self.late);
            late.into_iter().for_each(|effect| self.change(effect));
        }
        match command {
            Command::Noop => Output::Done,
            Command::Read(key) => Output::Value(self.value(*key)),
            Command::Write(key, value) => {
                self.registers.insert(*key, *value);
                Output::Done
            }
            Command::Cas(key, _, to) => match self.refuse(command) {
                None => self.apply(&Command::Write(*key, *to)),
                Some(refused) => refused,
            },
            Command::Transaction(micros) => {
                let (shown, effects) = self.transact(micros);
                self.change_all(effects);
                Output::Shown(shown)
            }
            Command::Add(element) => {
                self.elements.push(*element);
                Output::Done
            }
            Command::Elements => Output::Shown(json!(self.elements)),
            Command::Contains(element) => {
                Output::Value(self.elements.contains(element).then_some(*element))
            }
            Command::Increase(amount) => {
                self.counter = self.counter.saturating_add(*amount);
                Output::Done
            }
            Command::Count => Output::Value(Some(self.counter)),
            Command::Put { key, value, .. } => match self.refuse(command) {
                None => {
                    self.documents.entry(*key).or_default().replace(value);
                    Output::Done
                }
                Some(refused) => refused,
            },
            Command::Get(key) | Command::GetLocal(key) => {
                Output::Shown(self.documents.get(key).map_or(Value::Null, Document::shown))
            }
            Command::Transfer { from, to, amount } => self.transfer(*from, *to, *amount),
            Command::Balances => {
                let accounts = self.accounts.iter();
                let accounts = accounts.map(|(key, balance)| (key.to_string(), json!(balance)));
                Output::Shown(Value::Object(accounts.collect()))
            }
        }
    }

    /// Why a conditional command would change nothing, if so.
    fn refuse(&self, command: &Command) -> Option<Output> {
        match command {
            Command::Cas(key, from, _) => {
                let found = self.value(*key);
                (found != Some(*from)).then_some(Output::Mismatch(found))
            }
            Command::Put { key, version, .. } => {
                let expected = (*version)?;
                let found = self.documents.get(key).map_or(0, Document::version);
                (found != expected).then_some(Output::Conflict(found))
            }
            _ => None,
        }
    }

    /// With [`Bug::EarlyCheck`]: what is left to do of a conditional command once its condition was looked at, or why
    /// nothing is.
    pub(crate) fn check_early(&self, command: Command) -> Result<Command, Output> {
        match (self.refuse(&command), command) {
            (Some(refused), _) => Err(refused),
            (None, Command::Cas(key, _, to)) => Ok(Command::Write(key, to)),
            (None, Command::Put { key, value, .. }) => Ok(Command::Put {
                key,
                version: None,
                value,
            }),
            (None, command) => Ok(command),
        }
    }

    /// What a transaction shows, and what it changes.
    fn transact(&mut self, micros: &[Micro]) -> (Value, Vec<Effect>) {
        let written = micros.iter().filter_map(|micro| match micro {
            Micro::Append(key, _) | Micro::Write(key, _) => Some(*key),
            Micro::Read(_) => None,
        });
        let written: Vec<Key> = written.collect();
        let is_behind = |snapshot: &Snapshot| !written.is_empty() && !snapshot.conflicts(&written);
        let behind = self.snapshot.as_ref().is_some_and(is_behind);
        let mut effects = Vec::new();
        let show = |micro: &Micro| match *micro {
            Micro::Read(key) => json!(["r", key, self.read(key, behind, &effects)]),
            Micro::Append(key, element) => {
                effects.push(Effect::Append(key, element));
                json!(["append", key, element])
            }
            Micro::Write(key, value) => {
                effects.push(Effect::Write(key, value));
                json!(["w", key, value])
            }
        };
        let shown = micros.iter().map(show).collect();
        if !written.is_empty() {
            let now = written.iter().map(|key| {
                let length = self.lists.get(key).map_or(0, Vec::len);
                (*key, (self.value(*key), length))
            });
            let now = now.collect();
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.note(now);
            }
        }
        (shown, effects)
    }

    /// What a transaction reads that has these effects so far, now or of what was there a moment ago.
    fn read(&self, key: Key, behind: bool, effects: &[Effect]) -> Value {
        let mut list = self.lists.get(&key).cloned().unwrap_or_default();
        let mut value = self.value(key);
        let before = self.snapshot.as_ref().filter(|_| behind);
        if let Some((then, length)) = before.and_then(|snapshot| snapshot.of(key)) {
            value = then;
            list.truncate(length);
        }
        for effect in effects {
            match *effect {
                Effect::Append(to, element) if to == key => list.push(element),
                Effect::Write(to, written) if to == key => value = Some(written),
                _ => {}
            }
        }
        match list.is_empty() {
            true => json!(value),
            false => json!(list),
        }
    }

    fn transfer(&mut self, from: Key, to: Key, amount: i64) -> Output {
        let balance = self.accounts.get(&from).copied().unwrap_or_default();
        if balance < amount && !self.negative_balances {
            return Output::TooLittle(balance);
        }
        self.change_all(vec![Effect::Move(from, -amount), Effect::Move(to, amount)]);
        Output::Done
    }

    /// Changes everything that a command changes, as far as is seen yet.
    fn change_all(&mut self, mut effects: Vec<Effect>) {
        if self.fractured {
            let seen = effects.len().div_ceil(2);
            self.late.extend(effects.drain(seen..));
        }
        effects.into_iter().for_each(|effect| self.change(effect));
    }

    fn change(&mut self, effect: Effect) {
        match effect {
            Effect::Append(key, element) => self.lists.entry(key).or_default().push(element),
            Effect::Write(key, value) => {
                self.registers.insert(key, value);
            }
            Effect::Move(account, amount) => {
                let balance = self.accounts.entry(account).or_default();
                *balance = balance.saturating_add(amount);
            }
        }
    }
}

#[cfg(test)]
mod tests;
