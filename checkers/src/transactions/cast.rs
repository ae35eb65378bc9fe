//! Names for the transactions of a piece of evidence.

use serde_json::Value;
use store::EventType;

use super::evidence::TransactionView;
use super::history::{Outcome, Transactions};
use super::values::NONE;

/// The transactions of a piece of evidence, in order of their names.
#[derive(Default)]
pub(super) struct Cast {
    numbers: Vec<u32>,
}

impl Cast {
    /// What a transaction is called.
    pub(super) fn name(&mut self, transaction: u32) -> String {
        let known = self.numbers.iter().position(|one| *one == transaction);
        let at = known.unwrap_or_else(|| {
            self.numbers.push(transaction);
            self.numbers.len() - 1
        });
        format!("T{}", at + 1)
    }

    /// The transactions that have names.
    pub(super) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// How they all stand in the history. `micro` makes the micro-operations of one.
    pub(super) fn views(
        &self,
        all: &Transactions,
        micro: &dyn Fn(u32) -> Value,
    ) -> Vec<TransactionView> {
        let named = self.numbers.iter().zip(1..);
        named
            .map(|(transaction, number)| view(all, *transaction, format!("T{number}"), micro))
            .collect()
    }
}

/// How a transaction stands in the history.
pub(super) fn view(
    all: &Transactions,
    transaction: u32,
    name: String,
    micro: &dyn Fn(u32) -> Value,
) -> TransactionView {
    let at = transaction as usize;
    let index = |event: u32| (event != NONE).then_some(u64::from(event));
    TransactionView {
        name,
        invoke: index(all.invoke[at]),
        complete: index(all.complete[at]),
        process: all.processes[all.process[at] as usize],
        outcome: match all.outcome[at] {
            Outcome::Ok => EventType::Ok,
            Outcome::Fail => EventType::Fail,
            Outcome::Info => EventType::Info,
        },
        value: micro(transaction),
    }
}
