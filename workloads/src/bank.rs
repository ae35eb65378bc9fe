//! Accounts between which money is moved: is it always all there?
//!
//! | `op.f` | `op.value` | an `ok` returns |
//! | --- | --- | --- |
//! | `transfer` | `{"from": a, "to": b, "amount": n}` | the same |
//! | `read` | `null` | the balances of all accounts, `{"0": 10, "1": 7, …}`, read in one transaction |
//!
//! A transfer is one transaction: it reads both balances and writes both. Without `--negative-balances` it must not
//! happen where the first account has too little; that ends `fail`, best with the class `precondition`. The client makes the
//! [`accounts`] before the first operation, so that making them twice does no harm.
//!
//! The total never changes, and each read shows all accounts at one moment: so one that finds another total proves read skew, a
//! lost update or half a transaction. Snapshot isolation suffices for all reads to be right.

use std::collections::BTreeMap;

use checkers::bank::{self, Bank};
use harness::client::Op;
use harness::generator::BoxGenerator;
use harness::seed::Rng;
use rand::RngExt;
use store::{Value, json};

use crate::load::{self, Limits, Streams, Turns, whole};
use crate::options::{self, OptionSpec, Options};
use crate::{BuildError, BuildRequest, NamedChecker, WorkloadInfo};

/// The workload's name.
pub const NAME: &str = "bank";

/// The workload, for listings.
pub fn info() -> WorkloadInfo {
    WorkloadInfo {
        name: NAME.into(),
        summary: "Transfers between accounts and reads of all of them; finds read skew, lost updates and half \
                  transactions, for then the money is not all there"
            .into(),
    }
}

/// The workload's options.
pub fn options() -> Vec<OptionSpec> {
    let options = [
        load::rate(),
        whole(
            "accounts",
            2,
            10_000,
            Some("8"),
            "How many accounts there are",
        ),
        whole(
            "total",
            0,
            1_000_000_000,
            Some("100"),
            "How much money there is in all of them together",
        ),
        whole(
            "max-transfer",
            1,
            1_000_000_000,
            Some("5"),
            "The most that is moved at once",
        ),
        OptionSpec::flag("negative-balances", "Balances may be below zero"),
    ];
    options::of(NAME, options)
}

/// The accounts, from 0, with what each holds at first: about the same.
pub fn accounts(options: &Options) -> Vec<(i64, i64)> {
    let (count, total) = (options.integer("accounts"), options.integer("total"));
    let share = |account| total / count + i64::from(account < total % count);
    (0..count)
        .map(|account| (account, share(account)))
        .collect()
}

/// What judges a history.
pub fn checkers(options: &Options) -> Vec<NamedChecker> {
    let accounts = accounts(options).into_iter();
    let accounts: BTreeMap<String, i64> = accounts
        .map(|(account, balance)| (account.to_string(), balance))
        .collect();
    let options = bank::Options {
        accounts: Some(accounts),
        negative_balances: options.flag("negative-balances"),
    };
    vec![NamedChecker {
        name: NAME.into(),
        make: Box::new(move || Box::new(Bank::new(options.clone()))),
    }]
}

/// The operations of the main phase: half of them read.
pub fn generator(request: &BuildRequest<'_>) -> Result<BoxGenerator, BuildError> {
    let options = request.options;
    let seed = request.seed.named(NAME);
    let (accounts, most) = (options.integer("accounts"), options.integer("max-transfer"));
    let draw = move |_thread, rng: &mut Rng| operation(rng, accounts, most);
    let streams = Streams::new(seed.named("operations"), Turns::new(Limits::NONE), draw);
    Ok(load::paced(options, seed, streams))
}

/// Draws an operation. An account never pays itself.
fn operation(rng: &mut Rng, accounts: i64, most: i64) -> Op {
    if rng.random() {
        return Op::new("read", Value::Null);
    }
    let from = rng.random_range(0..accounts);
    let to = (from + rng.random_range(1..accounts)) % accounts;
    let amount = rng.random_range(1..=most);
    Op::new(
        "transfer",
        json!({"from": from, "to": to, "amount": amount}),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::load::testing::Asked;

    #[test]
    fn half_read_and_half_transfer_between_two_accounts() {
        let asked = Asked::of(&options(), &[("accounts", "3"), ("max-transfer", "4")]);
        let steps = asked.invocations(10, generator);
        let transfers: Vec<&Value> = (steps.iter())
            .filter(|step| &*step.op.f == "transfer")
            .map(|step| &step.op.value)
            .collect();
        assert!((45..=55).contains(&(100 * transfers.len() / steps.len())));
        let all: BTreeSet<(i64, i64, i64)> = (transfers.iter())
            .map(|one| ["from", "to", "amount"].map(|part| one[part].as_i64().unwrap()))
            .map(|[from, to, amount]| (from, to, amount))
            .collect();
        let expected = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
        let expected = expected.filter(|(from, to)| from != to);
        let expected =
            expected.flat_map(|(from, to)| (1..=4).map(move |amount| (from, to, amount)));
        assert_eq!(all, expected.collect());
    }

    #[test]
    fn the_accounts_hold_the_total() {
        for (count, total) in [("8", "100"), ("2", "1"), ("3", "0"), ("7", "7")] {
            let options =
                Options::read(&options(), [("accounts", count), ("total", total)]).unwrap();
            let accounts = accounts(&options);
            assert_eq!(accounts.len().to_string(), count);
            let balances = accounts.iter().map(|(_, balance)| balance);
            assert_eq!(balances.clone().sum::<i64>().to_string(), total);
            assert!(balances.clone().max().unwrap() - balances.min().unwrap() <= 1);
        }
    }
}
