//! Checkers that collect a history as it was recorded, and judge it at its end.

use rustc_hash::FxHashMap;
use store::{Event, EventType};

use super::history::{Outcome, Transactions};
use super::values::NONE;
use crate::budget::{Budget, Exhausted};
use crate::{CheckResult, Feed, Valid};

/// A history that is collected.
pub(super) trait Collect: Default {
    /// Takes an event in. The error says what makes it no part of such a history.
    fn take(&mut self, event: &Event) -> Result<(), String>;

    /// About how many bytes what is kept of an event takes.
    fn bytes(event: &Event) -> usize {
        256 + 128 * event.value.as_array().map_or(1, Vec::len)
    }
}

/// A history that is being collected, or why it cannot be.
#[derive(Default)]
pub(super) struct Collected<H> {
    history: H,
    wrong: Option<String>,
}

impl<H: Collect> Collected<H> {
    /// Takes events in, up to the first that is wrong.
    pub(super) fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        for event in events {
            if self.wrong.is_some() {
                break;
            }
            self.wrong = self.take(event, budget).err();
        }
        Feed::Continue
    }

    fn take(&mut self, event: &Event, budget: &dyn Budget) -> Result<(), String> {
        if event.index.is_multiple_of(1 << 10) {
            budget.check().map_err(out_of_budget)?;
        }
        budget.charge(H::bytes(event)).map_err(out_of_budget)?;
        self.history.take(event)
    }

    /// What a judge says of the whole history, where there is one.
    pub(super) fn judged(
        &mut self,
        judge: impl FnOnce(&H) -> Result<CheckResult, Exhausted>,
    ) -> CheckResult {
        let judged = match self.wrong.take() {
            Some(wrong) => Err(wrong),
            None => judge(&self.history).map_err(out_of_budget),
        };
        judged.unwrap_or_else(|why| CheckResult::new(Valid::Unknown, why))
    }
}

fn out_of_budget(why: Exhausted) -> String {
    format!("out of budget: {why}")
}

/// Finds to which transaction an event belongs.
#[derive(Default)]
pub(super) struct Pairing {
    /// By process: its open transaction.
    open: FxHashMap<u64, u32>,
    /// By process: its number.
    numbers: FxHashMap<u64, u32>,
}

impl Pairing {
    /// Takes an event in: the transaction that it belongs to, and whether it is the first of it. A history may have completions
    /// alone.
    pub(super) fn take(
        &mut self,
        all: &mut Transactions,
        process: u64,
        event: &Event,
    ) -> (u32, bool) {
        let open = self.open.remove(&process).filter(|_| !event.is_invoke());
        let at = open.unwrap_or_else(|| self.begin(all, process, event));
        if event.is_invoke() {
            self.open.insert(process, at);
        } else {
            all.complete[at as usize] = event.index as u32;
            all.outcome[at as usize] = match event.kind {
                EventType::Ok => Outcome::Ok,
                EventType::Fail => Outcome::Fail,
                EventType::Info | EventType::Invoke => Outcome::Info,
            };
        }
        (at, open.is_none())
    }

    fn begin(&mut self, all: &mut Transactions, process: u64, event: &Event) -> u32 {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(process).or_insert(next);
        if number == next {
            all.processes.push(process);
        }
        all.process.push(number);
        all.invoke.push(match event.is_invoke() {
            true => event.index as u32,
            false => NONE,
        });
        all.complete.push(NONE);
        all.outcome.push(Outcome::Info);
        all.outcome.len() as u32 - 1
    }
}
