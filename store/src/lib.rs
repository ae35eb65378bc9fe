//! Events, histories and the run folder: the waist of Gainsay.
//!
//! Everything else meets here. The interpreter writes *events* through a recorder; a finished
//! run is a *history* that checkers read; the run folder is where both live on disk.
//!
//! An **event** is one line of the history: an `invoke`, `ok`, `fail` or `info`. An **operation** is
//! an invocation together with its completion. Counts and rates are always of operations.
//!
//! | to | use |
//! | --- | --- |
//! | write a history as it happens | [`Recorder`] |
//! | make, find and fill a run folder | [`RunFolder`] |
//! | load a `history.jsonl` of ours | [`load_history`] |
//! | read a `history.jsonl` as it grows | [`jsonl::Tail`] |
//! | load a history from anywhere | [`load_any`], [`import`] |
//! | write a history for other tools | [`export`] |
//! | see what is wrong with a record | [`Linter`] |
//!
//! This crate knows nothing of networks, clients or checkers, and pulls in no async runtime.

mod batch;
mod event;
pub mod export;
mod history;
pub mod import;
pub mod jsonl;
mod lint;
mod load;
pub mod recorder;
mod run;
#[cfg(test)]
mod testing;

pub use batch::{Batch, Flow};
pub use event::{Event, EventType, Name, OpError, Process};
pub use history::{History, HistoryError, Operation, Outcome};
pub use import::{Format, ImportOptions, detect, load_any, load_bytes};
pub use jsonl::write_event;
pub use lint::{Finding, LintReport, Linter, Problem};
pub use load::{LoadError, Loaded, Place, load_history};
pub use recorder::{Draft, Observer, Recorder, Stamp};
pub use run::{LABEL_MAX, LABELS_MAX, RunError, RunFolder, RunHold, check_label, write_whole};
pub use serde_json::{Value, json};
