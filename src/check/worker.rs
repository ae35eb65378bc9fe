//! The child's side: reads one request a line on standard input, answers one line each.

use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checkers::{CheckResult, Checker, Valid};
use serde::{Deserialize, Serialize};
use store::import::{Format, ImportOptions, read_each};
use store::{Batch, Event, Flow, History, Linter};

use super::budget::ProcessBudget;
use super::follow::{Following, Seen};
use super::standard;
use crate::exit::Exit;
use crate::spec::CheckLimits;
use crate::suites::Suites;

/// The hidden argument that makes this executable a checker.
pub(crate) const WORKER_ARGUMENT: &str = "__check";

/// The detail of an answer that says how many mistakes the linter finds in the record, if there are any.
pub(crate) const LINT: &str = "lint";

/// What a checker's process is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// A checker of a run.
    Run {
        /// The run folder.
        folder: PathBuf,
        /// The checker's name.
        checker: String,
        /// Its limits.
        limits: CheckLimits,
    },
    /// A model for a history from anywhere.
    File(FileRequest),
    /// To follow a run that goes on, and say what was seen by now. The first such request decides which. The
    /// answer is a [`Seen`].
    Follow {
        /// The run folder.
        folder: PathBuf,
        /// The checker's name.
        checker: String,
        /// Its limits.
        limits: CheckLimits,
    },
}

/// A model for a history from anywhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileRequest {
    /// The history.
    pub(crate) path: PathBuf,
    /// Its format, where the user names one.
    pub(crate) format: Option<String>,
    /// The model.
    pub(crate) model: String,
    /// The level of consistency.
    pub(crate) consistency: String,
    /// Whether `[key value]` pairs in values name independent keys.
    pub(crate) keyed: bool,
    /// Whether a read of null matches anything.
    pub(crate) null_matches_anything: bool,
    /// What a compare-and-set that failed says: `observes`, `dropped`, or by its error.
    pub(crate) failed_cas: String,
    /// Whether each key of registers is taken to be sequentially consistent.
    pub(crate) sequential_keys: bool,
    /// Whether each key of registers is taken to be linearizable.
    pub(crate) linearizable_keys: bool,
    /// Whether versions of registers are in the order that the history gives.
    pub(crate) given_versions: bool,
    /// Whether accounts may be below zero.
    pub(crate) negative_balances: bool,
    /// Whether transactions are compared with the timestamps that the system gives them.
    pub(crate) timestamps: bool,
    /// Whether to find an order of what is linearizable.
    pub(crate) order: bool,
    /// What each object holds first.
    pub(crate) initial: serde_json::Value,
    /// Limits.
    pub(crate) limits: CheckLimits,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The verdict.
    pub(crate) result: CheckResult,
    /// Milliseconds of reading.
    pub(crate) ms_parse: f64,
    /// Milliseconds of checking.
    pub(crate) ms_check: f64,
    /// The most memory this process has had, in bytes.
    pub(crate) peak_memory: u64,
}

/// Answers requests until standard input ends.
pub(crate) fn serve(suites: &Suites) -> Exit {
    // A panic is part of an answer, not talk.
    std::panic::set_hook(Box::new(|_| {}));
    let mut stdout = std::io::stdout().lock();
    let mut following = None;
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return Exit::Failure };
        let answer = match serde_json::from_str::<Request>(&line) {
            Ok(Request::Follow {
                folder,
                checker,
                limits,
            }) => serde_json::to_vec(&caught(
                || look(&mut following, suites, &folder, &checker, limits),
                |why| Seen::Over { why },
            )),
            Ok(Request::Run {
                folder,
                checker,
                limits,
            }) => serde_json::to_vec(&caught(
                || run_checker(limits, || standard::load(suites, &folder, &checker)),
                unknown,
            )),
            Ok(Request::File(file)) => serde_json::to_vec(&caught(
                || run_checker(file.limits, || standard::load_file(&file)),
                unknown,
            )),
            Err(error) => {
                serde_json::to_vec(&unknown(format!("the request makes no sense: {error}")))
            }
        };
        let Ok(mut bytes) = answer else {
            return Exit::Failure;
        };
        bytes.push(b'\n');
        if stdout
            .write_all(&bytes)
            .and_then(|()| stdout.flush())
            .is_err()
        {
            return Exit::Failure;
        }
    }
    Exit::Valid
}

/// The answer of a check, or one that says that it panicked.
fn caught<T>(answer: impl FnOnce() -> T, otherwise: impl FnOnce(String) -> T) -> T {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        otherwise(format!(
            "the checker panicked: {}",
            text.unwrap_or_default()
        ))
    })
}

/// What is seen of a run by now.
fn look(
    following: &mut Option<Following>,
    suites: &Suites,
    folder: &Path,
    checker: &str,
    limits: CheckLimits,
) -> Seen {
    // One that panics is not there any more.
    let mut current = match following.take() {
        Some(current) => current,
        None => match Following::begin(suites, folder, checker, limits) {
            Ok(begun) => begun,
            Err(error) => {
                let why = crate::words::describe(&error);
                return Seen::Over { why };
            }
        },
    };
    let seen = current.look();
    *following = Some(current);
    seen
}

/// A checker, and what it is to judge.
pub(super) struct Loaded {
    pub(super) checker: Box<dyn Checker>,
    pub(super) source: Source,
}

/// Where a history comes from.
pub(super) enum Source {
    /// All of it is there, with a note on how it was read, and how many mistakes there are in the record.
    Whole(History, Option<String>, u64),
    /// A file that is read piece by piece, its events taken as they stand; in a format, and how it was recorded.
    File {
        path: PathBuf,
        format: Format,
        recorded: Format,
    },
}

fn run_checker(limits: CheckLimits, load: impl FnOnce() -> anyhow::Result<Loaded>) -> Answer {
    let started = Instant::now();
    let Loaded {
        mut checker,
        source,
    } = match load() {
        Ok(loaded) => loaded,
        Err(error) => return unknown(crate::words::describe(&error)),
    };
    let loaded = Instant::now();
    let budget = ProcessBudget::new(limits.time, limits.memory);
    let mut feeding = Duration::ZERO;
    let mut feed = |events: &[Event]| {
        let begun = Instant::now();
        checker.feed(events, &budget);
        feeding += begun.elapsed();
    };
    let (note, findings) = match source {
        Source::Whole(history, note, findings) => {
            feed(history.events());
            (note, findings)
        }
        Source::File {
            path,
            format,
            recorded,
        } => {
            let mut linter = Linter::new(0);
            let mut take = |batch: Batch<'_>| {
                linter.feed(batch);
                feed(batch.events);
                Flow::Continue(())
            };
            match read_each(&path, Some(format), ImportOptions::default(), &mut take) {
                // A format without invocations says what it can.
                Ok(torn) if recorded.is_of_sessions() => (torn.map(|torn| torn.to_string()), 0),
                Ok(torn) => (torn.map(|torn| torn.to_string()), linter.finish().total()),
                Err(error) => return unknown(crate::words::describe(&error.into())),
            }
        }
    };
    let reading = loaded.elapsed().saturating_sub(feeding);
    let read = Instant::now();
    let mut result = checker.finish(&budget);
    if let Some(note) = note {
        result.details.insert("note".to_owned(), note.into());
    }
    if findings > 0 {
        result.details.insert(LINT.to_owned(), findings.into());
    }
    Answer {
        result,
        ms_parse: (loaded - started + reading).as_secs_f64() * 1e3,
        ms_check: (read.elapsed() + feeding).as_secs_f64() * 1e3,
        peak_memory: peak_memory(),
    }
}

fn unknown(reason: String) -> Answer {
    let result = CheckResult::new(Valid::Unknown, reason);
    Answer {
        result,
        ms_parse: 0.0,
        ms_check: 0.0,
        peak_memory: peak_memory(),
    }
}

fn peak_memory() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss().max(0) as u64 * 1024)
}
