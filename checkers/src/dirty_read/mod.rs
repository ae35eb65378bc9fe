//! Dirty reads: elements that somebody read, and that are nowhere in the end.
//!
//! | `op.f` | `op.value` | an `ok` returns |
//! | --- | --- | --- |
//! | `write` | an element, never twice | the element |
//! | `read` | an element | the element if it is there, else `null` |
//! | `strong-read` | `null` | all elements, as a list |
//!
//! While some write, others read what is being written just now. A node that shows what it has not committed shows elements that
//! are rolled back later. When all is healed, every client reads everything:
//!
//! | finding | what it is | verdict |
//! | --- | --- | --- |
//! | dirty | it was read, and no final read shows it; or its write failed, and it was read | invalid |
//! | lost | its write was acknowledged, and no final read shows it | invalid |
//! | divergent | it was acknowledged or read before the final reads began, of which some show it and some do not: nodes differ | invalid |
//! | unexpected, duplicated | as of [`set_full`](crate::set_full) | invalid |
//!
//! A *final* read is the last one of its process, begun when all writes had ended. What is meant by *shown by none* is that of
//! `set_full`, to the letter: this is that checker, with reads of single elements. These prove that an element was there. One
//! that does not find it proves nothing, for nobody promised that it is up to date. A write of unknown outcome that takes effect
//! between two final reads makes no difference to be blamed: what it wrote was not known before.

use store::Event;

use crate::budget::Budget;
use crate::set_full::{Options, SetFull, Words};
use crate::{CheckResult, Checker, Feed, Valid};

/// Checks that what was read was committed.
pub struct DirtyRead(SetFull);

const WORDS: Words = Words {
    add: "write",
    all: "strong-read",
    early: None,
    told_apart: true,
    one: Some("read"),
    keyed: false,
    what: "of dirty reads there are write, read and strong-read",
};

impl DirtyRead {
    /// A checker that has seen nothing. Linearizable: strong reads that are behind are violations before the end, too.
    pub fn new(options: Options) -> DirtyRead {
        DirtyRead(SetFull::called(options, WORDS))
    }
}

impl Checker for DirtyRead {
    fn feed(&mut self, events: &[Event], budget: &dyn Budget) -> Feed {
        self.0.feed(events, budget)
    }

    fn finish(&mut self, budget: &dyn Budget) -> CheckResult {
        let mut result = self.0.finish(budget);
        let dirty = result.details.get("dirty-count");
        let dirty = dirty.and_then(|count| count.as_u64()).unwrap_or_default();
        if dirty > 0 && result.valid == Valid::False {
            result.reason = format!("{dirty} elements were read dirty; {}", result.reason);
        }
        result
    }
}

#[cfg(test)]
mod tests;
