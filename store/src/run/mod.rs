//! The run folder: where everything that is known of one run is kept.
//!
//! ```text
//! runs/                                  the store (--store, GAINSAY_STORE)
//!   latest -> etcd-register/20261122T114205.123Z
//!   etcd-register/                       the test: <suite>-<workload>
//!     latest -> 20261122T114205.123Z
//!     20261122T114205.123Z/              the run, by when it began (UTC)
//!       test.json                        the spec: all that is needed to run it again
//!       history.jsonl                    one event a line, appended as it happens
//!       results.json                     verdict, results of each checker, evidence
//!       results-20261123T080000.000Z.json   earlier ones, by when they were written
//!       report.html                      the report, complete in itself
//!       gainsay.log                      the controller's own log
//!       labels.json                      what people call it, if anything: a sorted list of words
//!       n1/ …                            that node's logs
//! ```
//!
//! `test.json` is written before the folder is linked as `latest`, so that even a run that dies at
//! once says what it was, and again when it is known what the nodes are. Files that are written whole
//! appear whole: they are written beside their
//! place, synced and renamed. Links are relative, so that a store can be moved or mounted elsewhere.
//!
//! A run also has a short [id](RunFolder::id), which follows from its name and is written nowhere, and whoever writes into a run
//! [holds](RunFolder::hold) its folder meanwhile, so that others can tell a run that goes on from one that died.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

mod failure;
mod files;
mod hold;
mod id;
mod labels;
mod remove;
mod results;

pub use files::write_whole;
pub use hold::RunHold;
pub use labels::{LABEL_MAX, LABELS_MAX, check_label};

use files::{link, read_json, write_json};

const TEST: &str = "test.json";
const HISTORY: &str = "history.jsonl";
const RESULTS: &str = "results.json";
const REPORT: &str = "report.html";
const LOG: &str = "gainsay.log";
const LABELS: &str = "labels.json";
const FAILURE: &str = "failure.txt";
const LATEST: &str = "latest";

/// Runs of one test that may begin in the same moment before it is called an error.
const SAME_TIME_MAX: u32 = 1000;

/// Candidates that an error names.
const NAMED_MAX: usize = 10;

/// What can go wrong with run folders.
#[derive(Debug, Error)]
pub enum RunError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "cannot … PATH".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A name that cannot be that of a folder of ours.
    #[error("{what} {name:?} cannot name a folder: {why}")]
    Name {
        /// Whose name it is.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file that does not hold what it should.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A path that leads to no run.
    #[error("{} is no run: it has neither {TEST} nor {HISTORY}", .0.display())]
    NotARun(PathBuf),
    /// Nothing by that name.
    #[error("no run {text:?} in {}{}", root.display(), known(known_runs))]
    NotFound {
        /// What was asked for.
        text: String,
        /// The store.
        root: PathBuf,
        /// Some of what there is, newest first.
        known_runs: Vec<String>,
    },
    /// A label that is none.
    #[error("the label {label:?} {why}")]
    Label {
        /// The label.
        label: String,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody else writes into it.
    #[error("{} is being written by another process: wait until that has ended", .0.display())]
    Held(PathBuf),
    /// Too many by that name.
    #[error("{text:?} may mean any of: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// What it may mean, newest first.
        candidates: Vec<String>,
    },
}

fn known(runs: &[String]) -> String {
    if runs.is_empty() {
        "; there are none yet (another store is named with --store)".to_owned()
    } else {
        format!("; there are: {}", runs.join(", "))
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |source| RunError::Io {
        action,
        path,
        source,
    }
}

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder of a run that begins now, with the spec in its `test.json`, and links it as
    /// the latest of the store and of its test.
    ///
    /// `test` is `<suite>-<workload>`. Two runs that begin in the same millisecond get two folders.
    pub fn create(root: &Path, test: &str, spec: &impl Serialize) -> Result<RunFolder, RunError> {
        RunFolder::create_at(root, test, spec, Timestamp::now(), |_| Ok(()))
    }

    /// Makes the folder of a run that began at another time, such as one that others recorded. `fill` puts what belongs to it into the
    /// folder before anybody can see it; the folder is gone again if it fails.
    ///
    /// # Errors
    /// As [`create`](RunFolder::create), and what `fill` says.
    pub fn create_at<E: From<RunError>>(
        root: &Path,
        test: &str,
        spec: &impl Serialize,
        began: Timestamp,
        fill: impl FnOnce(&RunFolder) -> Result<(), E>,
    ) -> Result<RunFolder, E> {
        check_name("test", test, &[LATEST])?;
        let tests = root.join(test);
        fs::create_dir_all(&tests).map_err(io_error("make the folder", &tests))?;
        let (stamp, path) = create_stamped(&tests, began)?;
        let run = RunFolder { path };
        let held = run.hold();
        let filled = run.write_test(spec).map_err(E::from);
        if let Err(error) = filled.and_then(|()| fill(&run)) {
            // What is wrong is told; what cannot be removed either is not.
            let _ = fs::remove_dir_all(&run.path);
            return Err(error);
        }
        drop(held);
        link(&tests.join(LATEST), Path::new(&stamp))?;
        link(&root.join(LATEST), &Path::new(test).join(&stamp))?;
        Ok(run)
    }

    /// Opens the run at a path: its folder, a link to it, or a file in it.
    pub fn open(path: &Path) -> Result<RunFolder, RunError> {
        let real = fs::canonicalize(path).map_err(io_error("open", path))?;
        let folder = match real.parent() {
            Some(parent) if real.is_file() => parent.to_owned(),
            _ => real,
        };
        if is_run(&folder) {
            Ok(RunFolder { path: folder })
        } else {
            Err(RunError::NotARun(path.to_owned()))
        }
    }

    /// Finds the run that a person means by `text`. In this order:
    ///
    /// 1. a path to a run, or to a folder with a `latest` run;
    /// 2. `latest`: the latest run of the store;
    /// 3. the name of a test: its latest run; or `<test>/<time>`;
    /// 4. the time or the [id](RunFolder::id) of a run, or a beginning of it that no other run shares.
    pub fn resolve(root: &Path, text: &str) -> Result<RunFolder, RunError> {
        // In the store itself the empty text would name the store, that is, its latest run.
        if !text.is_empty() {
            for base in [Path::new(text).to_owned(), root.join(text)] {
                for path in [base.join(LATEST), base] {
                    if let Ok(run) = RunFolder::open(&path) {
                        return Ok(run);
                    }
                }
            }
        }
        let mut runs = RunFolder::list(root)?;
        runs.reverse();
        let matching: Vec<&RunFolder> = runs
            .iter()
            .filter(|run| {
                !text.is_empty() && (run.stamp().starts_with(text) || run.id().starts_with(text))
            })
            .collect();
        match matching.as_slice() {
            [run] => Ok((*run).clone()),
            [] => Err(RunError::NotFound {
                text: text.to_owned(),
                root: root.to_owned(),
                known_runs: runs.iter().take(NAMED_MAX).map(RunFolder::name).collect(),
            }),
            several => Err(RunError::Ambiguous {
                text: text.to_owned(),
                candidates: several
                    .iter()
                    .take(NAMED_MAX)
                    .map(|run| format!("{} ({})", run.name(), run.id()))
                    .collect(),
            }),
        }
    }

    /// All runs of a store, oldest first. A store that does not exist has none.
    pub fn list(root: &Path) -> Result<Vec<RunFolder>, RunError> {
        let mut runs = Vec::new();
        for test in folders(root)? {
            let paths = folders(&test)?.into_iter().filter(|path| is_run(path));
            runs.extend(paths.map(|path| RunFolder { path }));
        }
        runs.sort_by_cached_key(|run| (run.stamp(), run.test()));
        Ok(runs)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the test, `<suite>-<workload>`.
    pub fn test(&self) -> String {
        file_name(self.path.parent().unwrap_or(Path::new("")))
    }

    /// When the run began, as in the folder's name: `20261122T114205.123Z`.
    pub fn stamp(&self) -> String {
        file_name(&self.path)
    }

    /// `<test>/<time>`, which [`resolve`](RunFolder::resolve) finds again.
    pub fn name(&self) -> String {
        format!("{}/{}", self.test(), self.stamp())
    }

    /// A short name for people: twelve letters that follow from [`name`](RunFolder::name), so that the run keeps them wherever its
    /// store is moved. No run's time begins like them.
    pub fn id(&self) -> String {
        id::of(&self.name())
    }

    /// The path of `test.json`.
    pub fn test_path(&self) -> PathBuf {
        self.path.join(TEST)
    }

    /// The path of `history.jsonl`.
    pub fn history_path(&self) -> PathBuf {
        self.path.join(HISTORY)
    }

    /// The path of `results.json`.
    pub fn results_path(&self) -> PathBuf {
        self.path.join(RESULTS)
    }

    /// The path of `report.html`.
    pub fn report_path(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// The path of `gainsay.log`.
    pub fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The path of `failure.txt`.
    pub fn failure_path(&self) -> PathBuf {
        self.path.join(FAILURE)
    }

    /// The path of `labels.json`.
    pub fn labels_path(&self) -> PathBuf {
        self.path.join(LABELS)
    }

    /// The folder for a node's logs, made if need be.
    pub fn node_folder(&self, node: &str) -> Result<PathBuf, RunError> {
        check_name("node", node, &[TEST, HISTORY, RESULTS, REPORT, LOG, LABELS])?;
        let path = self.path.join(node);
        fs::create_dir_all(&path).map_err(io_error("make the folder", &path))?;
        Ok(path)
    }

    /// Writes `test.json`, for instance when versions have become known.
    pub fn write_test(&self, spec: &impl Serialize) -> Result<(), RunError> {
        write_json(&self.test_path(), spec)
    }

    /// Writes `report.html`.
    pub fn write_report(&self, html: &str) -> Result<(), RunError> {
        write_whole(&self.report_path(), |out| out.write_all(html.as_bytes()))
    }

    /// Reads `test.json`.
    pub fn read_test<T: DeserializeOwned>(&self) -> Result<T, RunError> {
        read_json(&self.test_path())
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn is_run(path: &Path) -> bool {
    path.join(TEST).is_file() || path.join(HISTORY).is_file()
}

/// The folders in a folder, links excepted.
fn folders(path: &Path) -> Result<Vec<PathBuf>, RunError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", path)(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("list", path))?;
        // One that is hidden is on its way out.
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn check_name(what: &'static str, name: &str, reserved: &[&str]) -> Result<(), RunError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > 200 {
        "it is longer than 200 bytes"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.contains(['/', '\0']) {
        "it contains a slash or a NUL"
    } else if reserved.contains(&name) {
        "something else has this name"
    } else {
        return Ok(());
    };
    Err(RunError::Name {
        what,
        name: name.to_owned(),
        why,
    })
}

/// A moment as folders are named by it.
fn stamp_of(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

/// Makes a folder named by a moment, or by one of the next milliseconds where that is taken.
fn create_stamped(parent: &Path, began: Timestamp) -> Result<(String, PathBuf), RunError> {
    let mut at = began;
    for _ in 0..SAME_TIME_MAX {
        let stamp = stamp_of(at);
        let path = parent.join(&stamp);
        match fs::create_dir(&path) {
            Ok(()) => return Ok((stamp, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                at = at.saturating_add(1.millisecond()).unwrap_or(at);
            }
            Err(error) => return Err(io_error("make the folder", &path)(error)),
        }
    }
    let taken = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(io_error("make a folder of the current time in", parent)(
        taken,
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn run(root: &TempDir, test: &str, began: &str) -> RunFolder {
        let spec = json!({"test": test});
        RunFolder::create_at(root.path(), test, &spec, at(began), |_| {
            Ok::<_, RunError>(())
        })
        .unwrap()
    }

    #[test]
    fn a_run_is_named_by_its_time_and_linked_as_the_latest() {
        let root = tempfile::tempdir().unwrap();
        let run = run(&root, "etcd-register", "2026-11-22T11:42:05.123456Z");
        assert_eq!(run.name(), "etcd-register/20261122T114205.123Z");
        assert_eq!(
            run.read_test::<Value>().unwrap(),
            json!({"test": "etcd-register"})
        );
        let target = |link: &str| fs::read_link(root.path().join(link)).unwrap();
        assert_eq!(
            target("latest"),
            Path::new("etcd-register/20261122T114205.123Z")
        );
        assert_eq!(
            target("etcd-register/latest"),
            Path::new("20261122T114205.123Z")
        );
        let mut names: Vec<_> = fs::read_dir(run.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["test.json"]);
    }

    #[test]
    fn two_runs_of_one_millisecond_get_two_folders() {
        let root = tempfile::tempdir().unwrap();
        let first = run(&root, "sim-register", "2026-11-22T11:42:05.999Z");
        let second = run(&root, "sim-register", "2026-11-22T11:42:05.999Z");
        assert_eq!(first.stamp(), "20261122T114205.999Z");
        assert_eq!(second.stamp(), "20261122T114206.000Z");
    }

    #[test]
    fn what_a_person_types_is_found() {
        let root = tempfile::tempdir().unwrap();
        let first = run(&root, "etcd-register", "2026-11-22T11:42:05Z");
        let second = run(&root, "etcd-register", "2026-11-22T11:45:00Z");
        let third = run(&root, "etcd-append", "2026-11-23T09:00:00Z");
        let fourth = run(&root, "sim-register", "2026-11-21T09:00:00Z");
        let find = |text: &str| RunFolder::resolve(root.path(), text).map(|run| run.name());
        let path = |run: &RunFolder| run.path().to_str().unwrap().to_owned();

        assert_eq!(find("latest").unwrap(), fourth.name());
        assert_eq!(find("etcd-register").unwrap(), second.name());
        assert_eq!(find("etcd-append").unwrap(), third.name());
        assert_eq!(find(&first.name()).unwrap(), first.name());
        assert_eq!(find(&path(&first)).unwrap(), first.name());
        assert_eq!(
            find(&format!("{}/test.json", path(&first))).unwrap(),
            first.name()
        );
        assert_eq!(find("20261122T1142").unwrap(), first.name());
        assert_eq!(find("20261123").unwrap(), third.name());
        assert_eq!(find(root.path().to_str().unwrap()).unwrap(), fourth.name());

        let ambiguous = find("20261122").unwrap_err().to_string();
        assert_eq!(
            ambiguous,
            format!(
                "\"20261122\" may mean any of: {} ({}), {} ({})",
                second.name(),
                second.id(),
                first.name(),
                first.id()
            )
        );
        let missing = find("2027").unwrap_err().to_string();
        assert!(missing.starts_with("no run \"2027\" in /"), "{missing}");
        assert!(
            missing.contains(&format!("there are: {}", third.name())),
            "{missing}"
        );
        assert!(find("").is_err());
    }

    #[test]
    fn a_beginning_of_an_id_is_enough_if_it_is_the_only_one() {
        let root = tempfile::tempdir().unwrap();
        let runs: Vec<RunFolder> = (0..40)
            .map(|n| run(&root, "sim-register", &format!("2026-11-22T11:42:{n:02}Z")))
            .collect();
        let find = |text: &str| RunFolder::resolve(root.path(), text).map(|run| run.name());
        for one in &runs {
            let id = one.id();
            for length in 1..=id.len() {
                let beginning = &id[..length];
                let like = runs.iter().filter(|run| run.id().starts_with(beginning));
                match like.count() {
                    1 => assert_eq!(find(beginning).unwrap(), one.name()),
                    // Sixteen letters, forty runs: some share the first.
                    _ => assert!(find(beginning).unwrap_err().to_string().contains(&id)),
                }
            }
        }
        let missing = find(&format!("{}k", runs[0].id())).unwrap_err();
        assert!(matches!(missing, RunError::NotFound { .. }), "{missing}");
    }

    #[test]
    fn a_store_without_runs_says_so() {
        let root = tempfile::tempdir().unwrap();
        let nowhere = root.path().join("nowhere");
        let error = RunFolder::resolve(&nowhere, "latest")
            .unwrap_err()
            .to_string();
        assert!(error.contains("there are none yet"), "{error}");
    }

    #[test]
    fn names_that_would_leave_the_store_are_refused() {
        let root = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "latest", ".hidden"] {
            let error = RunFolder::create(root.path(), name, &json!({})).unwrap_err();
            assert!(matches!(error, RunError::Name { .. }), "{error}");
        }
        let run = run(&root, "sim-register", "2026-11-22T11:42:05Z");
        for name in ["../n1", "..", "history.jsonl", ""] {
            assert!(run.node_folder(name).is_err());
        }
        assert!(run.node_folder("fd00::1").unwrap().is_dir());
    }

    #[test]
    fn files_are_replaced_whole_and_leave_nothing_beside() {
        let root = tempfile::tempdir().unwrap();
        let run = run(&root, "sim-register", "2026-11-22T11:42:05Z");
        run.write_results(&json!({"valid": "unknown"})).unwrap();
        run.write_results(&json!({"valid": true})).unwrap();
        assert_eq!(run.read_results::<Value>().unwrap(), json!({"valid": true}));
        let fails = write_whole(&run.results_path(), |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(fails.is_err());
        assert_eq!(run.read_results::<Value>().unwrap(), json!({"valid": true}));
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 2);
    }

    #[test]
    fn broken_json_is_named_with_its_place() {
        let root = tempfile::tempdir().unwrap();
        let run = run(&root, "sim-register", "2026-11-22T11:42:05Z");
        fs::write(run.results_path(), "{\"valid\":\n tru").unwrap();
        let error = run.read_results::<Value>().unwrap_err().to_string();
        assert!(
            error.contains("results.json: ") && error.contains("line 2"),
            "{error}"
        );
    }
}
