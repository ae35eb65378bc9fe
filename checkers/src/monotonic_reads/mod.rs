//! Monotonic reads: does each read of a growing set show what its session had read before?
//!
//! Operations are `add` of an element and `read` (or `final-read`, which is the same here), whose `ok` has all elements as a
//! list. Nothing is ever taken away, so for each process, which is a *session*, every read must contain the one before. One that
//! does not went back in time: it was answered by a replica that is behind, or what the earlier one showed was rolled back. This
//! is asked of systems whose reads may be behind, such as MongoDB's with read concern `majority`, and of which one cannot ask
//! that each read shows all that was acknowledged.
//!
//! It makes no difference whether adds were acknowledged, failed or unknown: what a session has read was there. A read that
//! failed says nothing. A process that an `info` ended is a session that is over.
//!
//! Each read is looked at when it ends; a session is kept as one bit for each element.

use std::fmt::Write;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::budget::{Budget, Exhausted, feed_clients};
use crate::keyed::{Keyed, MALFORMED};
use crate::transactions::values::Interner;
use crate::{CheckResult, Checker, Evidence, FINAL_READ, Feed, OperationsEvidence, Valid};

/// Reads that went back which are proved one by one.
const PROVED: usize = 3;
/// Elements that are named.
const NAMED: usize = 5;
/// What an element costs in memory, about, sessions not counted.
const ELEMENT_BYTES: usize = 96;
/// After how many elements of a read the budget is asked.
const ASKED_EVERY: usize = 4_096;

/// How many reads another read of their session came before, which showed something.
const COMPARED: &str = "compared-count";

/// A checker of many sets, one for each key. Without keys there is one.
pub fn new() -> Keyed<MonotonicReads> {
    Keyed::new(COMPARED, MonotonicReads::new)
}

/// The indexes of the events that an operation begins and ends with.
type Span = (u64, u64);

/// What a session has read.
#[derive(Default)]
struct Session {
    /// By number of the element, a bit: whether the last read showed it.
    seen: Vec<u64>,
    last: Option<Span>,
}

/// A read that lacks what the one before showed.
struct Back {
    process: u64,
    before: Span,
    read: Span,
    missing: Vec<u32>,
    count: usize,
}

/// The checker of reads that must not go back.
#[derive(Default)]
pub struct MonotonicReads {
    numbers: Interner,
    sessions: FxHashMap<u64, Session>,
    /// By process: the read that is under way.
    open: FxHashMap<u64, u64>,
    reads: u64,
    /// Reads that another read of their session came before, which showed something.
    compared: u64,
    back: u64,
    first: Vec<Back>,
    malformed: Option<(u64, String)>,
    exhausted: Option<Exhausted>,
}

impl MonotonicReads {
    /// A checker that has seen nothing.
    pub fn new() -> MonotonicReads {
        MonotonicReads::default()
    }

    fn malformed(&mut self, event: &Event, why: String) {
        self.malformed.get_or_insert((event.index, why));
    }

    fn take(&mut self, event: &Event, process: u64, budget: &dyn Budget) -> Result<(), Exhausted> {
        match (event.kind, &*event.f) {
            (EventType::Invoke, "read" | FINAL_READ) => {
                self.open.insert(process, event.index);
            }
            (EventType::Ok, "read" | FINAL_READ) => {
                if let Some(begun) = self.open.remove(&process) {
                    self.read(event, process, (begun, event.index), budget)?;
                }
            }
            (_, "read" | FINAL_READ | "add") => {
                self.open.remove(&process);
                if event.kind == EventType::Info
                    && let Some(session) = self.sessions.remove(&process)
                {
                    budget.release(size_of_val(&session.seen[..]));
                }
            }
            (_, f) => self.malformed(
                event,
                format!("a set has add, read and {FINAL_READ}, not {f}"),
            ),
        }
        Ok(())
    }

    fn read(
        &mut self,
        event: &Event,
        process: u64,
        read: Span,
        budget: &dyn Budget,
    ) -> Result<(), Exhausted> {
        let Some(shown) = event.value.as_array() else {
            let why = format!("a read returns a list of all elements, not {}", event.value);
            self.malformed(event, why);
            return Ok(());
        };
        self.reads += 1;
        let known = self.numbers.len();
        let mut now = vec![0_u64; known.div_ceil(64)];
        for (at, value) in shown.iter().enumerate() {
            if at % ASKED_EVERY == 0 {
                budget.check()?;
            }
            let number = self.numbers.number(value) as usize;
            if now.len() <= number / 64 {
                now.resize(number / 64 + 1, 0);
            }
            now[number / 64] |= 1 << (number % 64);
        }
        budget.charge(ELEMENT_BYTES * (self.numbers.len() - known))?;
        let session = self.sessions.entry(process).or_default();
        if let Some(before) = session.last {
            let gone = |(at, word): (usize, &u64)| {
                let gone = word & !now.get(at).copied().unwrap_or_default();
                let bits = (0..64).filter(move |bit| gone >> bit & 1 == 1);
                bits.map(move |bit| (64 * at + bit) as u32)
            };
            let mut missing = session.seen.iter().enumerate().flat_map(gone);
            self.compared += u64::from(session.seen.iter().any(|word| *word != 0));
            let few: Vec<u32> = missing.by_ref().take(NAMED).collect();
            if !few.is_empty() {
                let count = few.len() + missing.count();
                self.back += 1;
                if self.first.len() < PROVED {
                    self.first.push(Back {
                        process,
                        before,
                        read,
                        missing: few,
                        count,
                    });
                }
            }
        }
        budget.charge(size_of_val(&now[..]))?;
        budget.release(size_of_val(&session.seen[..]));
        session.seen = now;
        session.last = Some(read);
        Ok(())
    }

    fn evidence(&self, back: &Back) -> Evidence {
        let mut missing = String::new();
        for number in &back.missing {
            let comma = if missing.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(missing, "{comma}{}", self.numbers.value(*number));
        }
        let more = match back.count - back.missing.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Evidence::Operations(OperationsEvidence {
            explanation: format!(
                "The reads of process {} went back. The one that ended at event {} shows {missing}{more}; its next one, which began at event \
                 {} and ended at event {}, does not, and nothing is ever taken away.",
                back.process, back.before.1, back.read.0, back.read.1
            ),
            events: vec![back.before.0, back.before.1, back.read.0, back.read.1],
        })
    }
}

impl Checker for MonotonicReads {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.exhausted = feed_clients(self.exhausted, events, |event, process| {
            self.take(event, process, budget)
        });
        Feed::of(self.exhausted, self.back > 0)
    }

    fn finish(&mut self, _budget: &dyn Budget) -> CheckResult {
        if let Some(why) = self.exhausted {
            return CheckResult::new(Valid::Unknown, why.to_string());
        }
        let mut result = if self.back > 0 {
            let reason = format!(
                "{} of {} reads do not show all that the one before in their session showed",
                self.back, self.compared
            );
            CheckResult::new(Valid::False, reason)
        } else if let Some((event, why)) = &self.malformed {
            let reason = format!("event {event} is not of a set: {why}");
            CheckResult::new(Valid::Unknown, reason)
        } else if self.compared == 0 {
            let reason = "no session read something and then read again, so nothing could go back";
            CheckResult::new(Valid::Unknown, reason)
        } else {
            let reason = format!(
                "each of {} reads shows all that the one before in its session showed",
                self.compared
            );
            CheckResult::new(Valid::True, reason)
        };
        result.evidence = self.first.iter().map(|back| self.evidence(back)).collect();
        let counts: [(&str, Value); 3] = [
            ("read-count", json!(self.reads)),
            (COMPARED, json!(self.compared)),
            ("back-count", json!(self.back)),
        ];
        let counts = counts.map(|(name, count)| (name.to_owned(), count));
        result.details = counts.into_iter().collect();
        if let Some((event, _)) = self.malformed {
            result.details.insert(MALFORMED.to_owned(), json!(event));
        }
        result
    }
}

#[cfg(test)]
mod tests;
