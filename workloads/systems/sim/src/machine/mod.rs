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

mod lower;

pub(crate) use lower::BALANCES;

/// Registers, lists and accounts are named by numbers.
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
            Command::Cas(key, from, to) => match self.registers.get_mut(key) {
                Some(value) if *value == *from => {
                    *value = *to;
                    Output::Done
                }
                found => Output::Mismatch(found.copied()),
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
            Command::Transfer { from, to, amount } => self.transfer(*from, *to, *amount),
            Command::Balances => {
                let accounts = self.accounts.iter();
                let accounts = accounts.map(|(key, balance)| (key.to_string(), json!(balance)));
                Output::Shown(Value::Object(accounts.collect()))
            }
        }
    }

    /// What a transaction shows, and what it changes.
    fn transact(&self, micros: &[Micro]) -> (Value, Vec<Effect>) {
        let mut effects = Vec::new();
        let show = |micro: &Micro| match *micro {
            Micro::Read(key) => json!(["r", key, self.read(key, &effects)]),
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
        (shown, effects)
    }

    /// What a transaction reads that has these effects so far.
    fn read(&self, key: Key, effects: &[Effect]) -> Value {
        let mut list = self.lists.get(&key).cloned().unwrap_or_default();
        let mut value = self.value(key);
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
