//! Counters: is each read within what the additions allow?
//!
//! | `op.f` | `op.value` | an `ok` returns |
//! | --- | --- | --- |
//! | `add` | a whole number, which may be negative | anything |
//! | `read` | `null` | the number; `null` where nothing was ever added |
//! | `final-read` | `null` | the number, when all is healed |
//!
//! Additions commute, so their order makes no difference, only which of them a read counts:
//!
//! | an addition that | is counted by a read |
//! | --- | --- |
//! | ended `ok` before the read began | yes |
//! | began before the read ended, and did not fail | maybe: it was under way, or nobody knows whether it happened |
//! | failed, or began later | no |
//!
//! So a read lies between two bounds: the sum of the first row, with all negative ones of the second, and with all positive ones
//! of the second. One of unknown outcome may take effect at any time, or never: it widens the bounds of all later reads for good.
//! An addition that is under way when a read ends may yet fail: the bounds of the read are narrowed then.
//!
//! | finding | what it is | verdict |
//! | --- | --- | --- |
//! | impossible | no choice of additions that had begun makes as much, however far behind the read is | invalid |
//! | final | a final read that began when all additions had ended is out of its bounds: additions are lost, or were done twice | invalid |
//! | stale | another read is out of its bounds | counted; invalid if linearizable |
//!
//! Sums are of 128 bits, so that no history makes them overflow; a counter that wraps around is found.
//!
//! The bounds are not exact: between them may be numbers that no choice of additions makes, nor is it seen that two reads
//! contradict each other. The model `counter` finds these too, by a search that costs more. What is found here is wrong by
//! either.
//!
//! Nothing is kept but sums, and the reads that an addition still under way may narrow.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;
use serde_json::Value;
use store::{Event, EventType};

use crate::budget::{Budget, Exhausted, feed_clients};
use crate::keyed::{ACKNOWLEDGED, Keyed};
use crate::{CheckResult, Checker, FINAL_READ, Feed, Valid};

mod report;

/// What to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What each counter holds at first.
    pub initial: i64,
    /// Stale reads are violations.
    pub linearizable: bool,
}

/// What a read that waits costs in memory, about.
const READ_BYTES: usize = size_of::<Read>() + 16;

/// A checker of many counters, one for each key. Without keys there is one.
pub fn new(options: Options) -> Keyed<CounterBounds> {
    Keyed::new(ACKNOWLEDGED, move || CounterBounds::new(options))
}

/// Sums of additions: of those above zero and of those below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    up: i128,
    down: i128,
}

impl Sums {
    fn add(&mut self, amount: i128) {
        match amount >= 0 {
            true => self.up += amount,
            false => self.down += amount,
        }
    }

    /// Takes back what was added.
    fn remove(&mut self, amount: i128) {
        match amount >= 0 {
            true => self.up -= amount,
            false => self.down -= amount,
        }
    }

    fn total(self) -> i128 {
        self.up + self.down
    }
}

/// An operation that has not ended.
#[derive(Clone, Copy, Debug)]
enum Open {
    Add {
        begun: u64,
        amount: i128,
    },
    /// With what had been acknowledged when it began.
    Read {
        begun: u64,
        acknowledged: Sums,
    },
}

/// A read that ended.
#[derive(Clone, Copy, Debug)]
struct Read {
    begun: u64,
    ended: u64,
    is_final: bool,
    found: i128,
    /// What had been acknowledged when it began.
    acknowledged: Sums,
    /// What had begun when it ended, and did not fail.
    begun_sums: Sums,
}

impl Read {
    /// The least and the most that it may find if it is not behind.
    fn bounds(&self) -> (i128, i128) {
        (
            self.acknowledged.up + self.begun_sums.down,
            self.begun_sums.up + self.acknowledged.down,
        )
    }

    /// How far out of bounds it is.
    fn off(&self, (least, most): (i128, i128)) -> i128 {
        (least - self.found).max(self.found - most).max(0)
    }

    fn is_impossible(&self) -> bool {
        self.off((self.begun_sums.down, self.begun_sums.up)) > 0
    }

    fn is_off(&self) -> bool {
        self.off(self.bounds()) > 0
    }
}

/// Reads that are wrong in one way.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u64,
    first: Option<Read>,
    worst: Option<Read>,
}

impl Group {
    fn add(&mut self, read: Read) {
        self.count += 1;
        self.first.get_or_insert(read);
        let off = read.off(read.bounds());
        if self
            .worst
            .is_none_or(|worst| worst.off(worst.bounds()) < off)
        {
            self.worst = Some(read);
        }
    }
}

/// The checker of one counter.
pub struct CounterBounds {
    options: Options,
    open: FxHashMap<u64, Open>,
    /// When additions began that are under way.
    adding: BTreeSet<u64>,
    /// Additions that ended `ok`.
    acknowledged: Sums,
    /// Additions that began, and did not fail.
    begun: Sums,
    /// Reads that may yet be narrowed, in the order in which they ended.
    waiting: VecDeque<Read>,
    impossible: Group,
    stale: Group,
    /// Final reads that are out of their bounds.
    finals: Vec<Read>,
    /// When an addition ended last.
    last_add: Option<u64>,
    attempts: u64,
    acknowledgements: u64,
    unknowns: u64,
    reads: u64,
    final_reads: u64,
    malformed: Option<(u64, String)>,
    exhausted: Option<Exhausted>,
}

impl CounterBounds {
    /// A checker that has seen nothing. Keys are not looked at.
    pub fn new(options: Options) -> CounterBounds {
        CounterBounds {
            options,
            open: FxHashMap::default(),
            adding: BTreeSet::new(),
            acknowledged: Sums::default(),
            begun: Sums::default(),
            waiting: VecDeque::new(),
            impossible: Group::default(),
            stale: Group::default(),
            finals: Vec::new(),
            last_add: None,
            attempts: 0,
            acknowledgements: 0,
            unknowns: 0,
            reads: 0,
            final_reads: 0,
            malformed: None,
            exhausted: None,
        }
    }

    fn malformed(&mut self, event: &Event, why: String) {
        self.malformed.get_or_insert((event.index, why));
    }

    fn take(&mut self, event: &Event, process: u64, budget: &dyn Budget) -> Result<(), Exhausted> {
        if event.kind == EventType::Invoke {
            self.begin(event, process);
            return Ok(());
        }
        match self.open.remove(&process) {
            Some(Open::Add { begun, amount }) => {
                self.adding.remove(&begun);
                self.last_add = Some(event.index);
                match event.kind {
                    EventType::Ok => {
                        self.acknowledgements += 1;
                        self.acknowledged.add(amount);
                    }
                    EventType::Fail => self.did_not_happen(begun, amount, budget)?,
                    EventType::Info | EventType::Invoke => self.unknowns += 1,
                }
                self.judge_all(budget);
            }
            Some(Open::Read {
                begun,
                acknowledged,
            }) if event.kind == EventType::Ok => {
                let Some(found) = number(&event.value, self.options.initial) else {
                    let why = format!("a read returns a whole number, not {}", event.value);
                    self.malformed(event, why);
                    return Ok(());
                };
                budget.charge(READ_BYTES)?;
                self.reads += 1;
                let is_final = &*event.f == FINAL_READ;
                self.final_reads += u64::from(is_final);
                self.waiting.push_back(Read {
                    begun,
                    ended: event.index,
                    is_final,
                    found: found - i128::from(self.options.initial),
                    acknowledged,
                    begun_sums: self.begun,
                });
                self.judge_all(budget);
            }
            Some(Open::Read { .. }) | None => {}
        }
        Ok(())
    }

    fn begin(&mut self, event: &Event, process: u64) {
        let begun = event.index;
        let open = match &*event.f {
            "add" => {
                let Some(amount) = number(&event.value, 0) else {
                    let why = format!("a whole number is added, not {}", event.value);
                    return self.malformed(event, why);
                };
                self.attempts += 1;
                self.begun.add(amount);
                self.adding.insert(begun);
                Open::Add { begun, amount }
            }
            "read" | FINAL_READ => Open::Read {
                begun,
                acknowledged: self.acknowledged,
            },
            f => {
                let why = format!("a counter has add, read and {FINAL_READ}, not {f}");
                return self.malformed(event, why);
            }
        };
        self.open.insert(process, open);
    }

    /// An addition failed that some reads took for one that may have happened.
    fn did_not_happen(
        &mut self,
        begun: u64,
        amount: i128,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        self.begun.remove(amount);
        budget.check()?;
        let waiting = self.waiting.iter_mut();
        waiting
            .filter(|read| read.ended > begun)
            .for_each(|read| read.begun_sums.remove(amount));
        Ok(())
    }

    /// Judges the reads that nothing narrows any more.
    fn judge_all(&mut self, budget: &dyn Budget) {
        let oldest = self.adding.first().copied().unwrap_or(u64::MAX);
        while let Some(read) = self.waiting.front().copied()
            && read.ended < oldest
        {
            self.waiting.pop_front();
            budget.release(READ_BYTES);
            self.judge(read);
        }
    }

    fn judge(&mut self, read: Read) {
        if read.is_impossible() {
            self.impossible.add(read);
        } else if read.is_off() {
            if read.is_final {
                self.finals.push(read);
            } else {
                self.stale.add(read);
            }
        }
    }

    fn is_violated(&self) -> bool {
        self.impossible.count > 0 || self.options.linearizable && self.stale.count > 0
    }
}

/// A whole number; `null` is what a counter holds at first.
fn number(value: &Value, initial: i64) -> Option<i128> {
    match value {
        Value::Null => Some(initial.into()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Some(number.into()),
            None => number.as_u64().map(i128::from),
        },
        _ => None,
    }
}

impl Checker for CounterBounds {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.exhausted = feed_clients(self.exhausted, events, |event, process| {
            self.take(event, process, budget)
        });
        Feed::of(self.exhausted, self.is_violated())
    }

    fn finish(&mut self, _budget: &dyn Budget) -> CheckResult {
        if let Some(why) = self.exhausted {
            return CheckResult::new(Valid::Unknown, why.to_string());
        }
        // What is still under way may have happened or not.
        for read in std::mem::take(&mut self.waiting) {
            self.judge(read);
        }
        report::report(self)
    }
}

#[cfg(test)]
mod tests;
