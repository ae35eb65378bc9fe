//! Lost updates: documents that are read, changed and written back, each by many at once.
//!
//! | `op.f` | `op.key` | `op.value` | an `ok` returns |
//! | --- | --- | --- | --- |
//! | `add` | a document | an element, never twice | the element |
//! | `read` | a document | `null` | its elements, as a list; they may be behind |
//! | `final-read` | a document | `null` | its elements, when all is healed |
//!
//! How an element is added is the client's business: it reads the document with its version, and writes it with one element more,
//! on condition that the version is still the same. Where the condition does not hold, the add failed. Two that both succeed on
//! one version overwrite each other, and what the first one had been told is there is not.
//!
//! Each document is a set that only grows, and is judged by [`set_full`](crate::set_full): an element that was acknowledged, or
//! read, must be in the final reads that begin when all adds to it have ended. Other reads prove only what they show, unless they
//! are said to be linearizable. Adds of unknown outcome prove nothing unless they are read.

use crate::FINAL_READ;
use crate::keyed::{ACKNOWLEDGED, Keyed};
use crate::set_full::{Options, SetFull, Words};

/// Checks documents to which elements are added.
pub type LostUpdate = Keyed<SetFull>;

const WORDS: Words = Words {
    add: "add",
    all: FINAL_READ,
    early: Some("read"),
    told_apart: true,
    one: None,
    keyed: true,
    what: "a document has add, read and final-read",
};

/// A checker that has seen nothing.
pub fn new(options: Options) -> LostUpdate {
    Keyed::new(ACKNOWLEDGED, move || SetFull::called(options, WORDS))
}

#[cfg(test)]
mod tests;
