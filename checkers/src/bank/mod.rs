//! Accounts between which money is moved: is it always all there?
//!
//! Operations are `transfer` of `{"from": a, "to": b, "amount": n}` and `read`, whose `ok` has the balances of all
//! accounts as `{"0": 10, …}`. Transfers
//! make no money and lose none, so every read that sees a state between two transactions finds the same total: this is broken by read skew,
//! lost updates and transactions of which half is there, whichever isolation allows them. For each read:
//!
//! | finding | what it is |
//! | --- | --- |
//! | wrong total | the balances do not add up to what there is |
//! | negative balance | an account is below zero, where transfers are to see to it that none is |
//! | missing account | an account is not there |
//! | nil balance | an account is there without a balance |
//! | unexpected account | there is one that nobody made |
//!
//! Each is a violation by itself, and all of them are counted. The total of a read that lacks a balance says nothing more.
//!
//! Where it is not known which accounts there are, those of the first read are taken, with its total: if two reads disagree, one of them is
//! wrong, whichever it is.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use store::{Event, EventType, Process};

use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Checker, Feed, Valid};

mod report;

/// What to check.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The accounts with what they hold at first. `None`: those of the first read, with its total.
    pub accounts: Option<BTreeMap<String, i64>>,
    /// Balances may be negative.
    pub negative_balances: bool,
}

/// What can be wrong with a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    WrongTotal,
    NegativeBalance,
    MissingAccount,
    NilBalance,
    UnexpectedAccount,
}

impl Kind {
    /// As in results.
    fn name(self) -> &'static str {
        match self {
            Kind::WrongTotal => "wrong-total",
            Kind::NegativeBalance => "negative-balance",
            Kind::MissingAccount => "missing-account",
            Kind::NilBalance => "nil-balance",
            Kind::UnexpectedAccount => "unexpected-account",
        }
    }
}

/// A read that is wrong.
#[derive(Clone, Debug)]
struct Wrong {
    begun: u64,
    ended: u64,
    /// How wrong it is: the larger, the worse.
    badness: i128,
    /// What is wrong: a total, a balance with its account, accounts.
    found: Value,
    balances: Map<String, Value>,
}

/// All reads that are wrong in one way.
#[derive(Clone, Debug)]
struct Group {
    count: u64,
    first: Wrong,
    worst: Wrong,
    last: Wrong,
    /// The least and the greatest of what was found, where that is a number.
    range: Option<(i128, i128)>,
}

/// What there is.
#[derive(Clone, Debug)]
struct Expected {
    accounts: Vec<String>,
    total: i128,
    /// The read that it is known from, if it was not given: the events of its beginning and its end.
    from: Option<(u64, u64)>,
}

/// The checker of accounts.
pub struct Bank {
    negative_balances: bool,
    expected: Option<Expected>,
    /// Events at which reads began, by process.
    open: FxHashMap<u64, u64>,
    reads: u64,
    wrong_reads: u64,
    transfers: u64,
    groups: BTreeMap<Kind, Group>,
    malformed: Option<(u64, String)>,
    exhausted: Option<Exhausted>,
}

impl Bank {
    /// A checker that has seen nothing.
    pub fn new(options: Options) -> Bank {
        let expected = options.accounts.map(|accounts| Expected {
            total: accounts.values().map(|balance| i128::from(*balance)).sum(),
            accounts: accounts.into_keys().collect(),
            from: None,
        });
        Bank {
            negative_balances: options.negative_balances,
            expected,
            open: FxHashMap::default(),
            reads: 0,
            wrong_reads: 0,
            transfers: 0,
            groups: BTreeMap::new(),
            malformed: None,
            exhausted: None,
        }
    }

    fn malformed(&mut self, event: &Event, why: String) {
        self.malformed.get_or_insert((event.index, why));
    }

    fn take(&mut self, event: &Event, process: u64) {
        match (event.kind, &*event.f) {
            (EventType::Invoke, "read") => {
                self.open.insert(process, event.index);
            }
            (EventType::Ok, "transfer") => self.transfers += 1,
            (EventType::Ok, "read") => {
                if let Some(begun) = self.open.remove(&process) {
                    self.read(event, begun);
                }
            }
            (_, "read") => {
                self.open.remove(&process);
            }
            (_, "transfer") => {}
            (_, f) => self.malformed(event, format!("a bank has transfer and read, not {f}")),
        }
    }

    fn read(&mut self, event: &Event, begun: u64) {
        let Some(balances) = event.value.as_object() else {
            let why = format!(
                "a read returns the balances of all accounts, not {}",
                event.value
            );
            return self.malformed(event, why);
        };
        let odd = |(account, balance): (&String, &Value)| {
            let fine = balance.is_null() || balance.as_i64().is_some();
            (!fine).then(|| {
                format!("the balance of account {account} is no whole number but {balance}")
            })
        };
        if let Some(why) = balances.iter().find_map(odd) {
            return self.malformed(event, why);
        }
        self.reads += 1;
        let total: i128 = balances
            .values()
            .filter_map(Value::as_i64)
            .map(i128::from)
            .sum();
        let expected = self.expected.get_or_insert_with(|| Expected {
            accounts: balances.keys().cloned().collect(),
            total,
            from: Some((begun, event.index)),
        });
        let wrong = look(balances, total, expected, self.negative_balances);
        self.wrong_reads += u64::from(!wrong.is_empty());
        for (kind, badness, found) in wrong {
            let wrong = Wrong {
                begun,
                ended: event.index,
                badness,
                found,
                balances: balances.clone(),
            };
            match self.groups.get_mut(&kind) {
                Some(group) => group.add(wrong),
                None => {
                    self.groups.insert(kind, Group::of(wrong));
                }
            }
        }
    }
}

/// What is wrong with a read, how badly, and what was found.
fn look(
    balances: &Map<String, Value>,
    total: i128,
    expected: &Expected,
    negative_balances: bool,
) -> Vec<(Kind, i128, Value)> {
    let mut wrong = Vec::new();
    let mut accounts = |kind, accounts: Vec<&str>| {
        if !accounts.is_empty() {
            wrong.push((kind, accounts.len() as i128, Value::from(accounts)));
        }
    };
    let known = expected.accounts.iter().map(String::as_str);
    let missing: Vec<&str> = known
        .clone()
        .filter(|account| !balances.contains_key(*account))
        .collect();
    let named = balances
        .iter()
        .map(|(account, balance)| (account.as_str(), balance));
    let nil = named.clone().filter(|(_, balance)| balance.is_null());
    let nil: Vec<&str> = nil.map(|(account, _)| account).collect();
    let strange = named.clone().map(|(account, _)| account);
    let strange = strange.filter(|account| !expected.accounts.iter().any(|one| one == account));
    let whole = missing.is_empty() && nil.is_empty();
    accounts(Kind::MissingAccount, missing);
    accounts(Kind::NilBalance, nil);
    accounts(Kind::UnexpectedAccount, strange.collect());
    if whole && total != expected.total {
        // Wrong totals are of few accounts, and these hold whole numbers.
        let found =
            i64::try_from(total).map_or_else(|_| Value::from(total.to_string()), Value::from);
        wrong.push((Kind::WrongTotal, (total - expected.total).abs(), found));
    }
    let lowest = named.filter_map(|(_, balance)| balance.as_i64()).min();
    if let Some(lowest) = lowest.filter(|lowest| *lowest < 0 && !negative_balances) {
        wrong.push((Kind::NegativeBalance, -i128::from(lowest), lowest.into()));
    }
    wrong
}

impl Group {
    fn of(wrong: Wrong) -> Group {
        Group {
            count: 1,
            range: wrong.number().map(|number| (number, number)),
            worst: wrong.clone(),
            last: wrong.clone(),
            first: wrong,
        }
    }

    fn add(&mut self, wrong: Wrong) {
        self.count += 1;
        if let (Some((least, greatest)), Some(number)) = (&mut self.range, wrong.number()) {
            *least = number.min(*least);
            *greatest = number.max(*greatest);
        }
        if wrong.badness > self.worst.badness {
            self.worst = wrong.clone();
        }
        self.last = wrong;
    }
}

impl Wrong {
    fn number(&self) -> Option<i128> {
        self.found.as_i64().map(i128::from)
    }
}

impl Checker for Bank {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        if self.exhausted.is_some() {
            return Feed::Exhausted;
        }
        for (at, event) in events.iter().enumerate() {
            if at % 1_024 == 0
                && let Err(why) = budget.check()
            {
                self.exhausted = Some(why);
                return Feed::Exhausted;
            }
            if let Process::Client(process) = event.process {
                self.take(event, process);
            }
        }
        match self.groups.is_empty() {
            true => Feed::Continue,
            false => Feed::Violation,
        }
    }

    fn finish(&mut self, _budget: &dyn Budget) -> CheckResult {
        match self.exhausted {
            Some(why) => CheckResult::new(Valid::Unknown, why.to_string()),
            None => report::report(self),
        }
    }
}

#[cfg(test)]
mod tests;
