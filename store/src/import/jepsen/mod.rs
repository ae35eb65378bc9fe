//! Jepsen's histories: maps of EDN, one after another or all in one vector.
//!
//! ```text
//! {:index 0, :time 3291485317, :type :invoke, :process 0, :f :write, :value 3}
//! ```
//!
//! # Read
//!
//! Keywords become strings. Of an operation's other keys only `:key`, `:error` and `:node` are kept.
//! What Jepsen's own tools tolerate is tolerated: no `:index` (the position), no `:time` or a negative
//! one (0), no `:f` (`txn`, as in Elle's examples), no `:process` (0), no `:value` (absent).
//!
//! An independent key's `[k v]` looks like any vector of two, so it is taken apart only when it is
//! tagged as a tuple or when the caller says so ([`ImportOptions::keyed`]).
//!
//! Jepsen's one nemesis marks beginnings and ends alike with `:info`; they are told apart when the
//! history is [mended](super::mend). An `:f` like `:partition/start`, as we write it, is the event
//! `start` of the fault `partition`.
//!
//! # Written
//!
//! The same way round, one map a line. What EDN has two notations for is written as Jepsen would:
//! types and functions as keywords, the functions of a transaction's micro-operations too, and the
//! keys of maps as integers or keywords where they look like them.

mod fast;
mod read;
mod write;

pub(super) use read::each;
pub use read::events_of;
pub use write::write_edn;

/// The function of an operation that does not say it: Elle's examples are all transactions.
const DEFAULT_F: &str = "txn";

/// Reads the events of a text.
#[cfg(test)]
fn read(
    text: &str,
    path: &std::path::Path,
    options: super::ImportOptions,
) -> Result<crate::jsonl::Events, crate::load::LoadError> {
    let read = crate::testing::collect(|batcher| each(text.as_bytes(), path, options, batcher));
    read.map(|(events, _, torn)| crate::jsonl::Events { events, torn })
}
