//! The controller: the command line, the life of a run, reports.
//!
//! This is also the face for suites of your own: build a binary whose `main` is
//! `gainsay::main(suites)` and it has every command of `gainsay`, for your systems.

mod catalog;
mod check;
mod ci;
mod cli;
mod compare;
mod exit;
mod report;
mod run;
mod spec;
mod suites;
mod summary;
mod web;
mod words;

use std::process::ExitCode;
use std::sync::Arc;

pub use exit::Exit;
pub use suites::built_in as suites;
pub use workloads::Suite;

/// Runs Gainsay with these suites on the process's arguments.
///
/// Call it first thing in `main`: nodes of a local cluster and checkers are processes of the same
/// executable, started with arguments of their own.
pub fn main(suites: Vec<Arc<dyn Suite>>) -> ExitCode {
    harness::local::run_helper_if_asked();
    cli::main(suites).into()
}
