//! One run in a catalog.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use checkers::Valid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{RunError, RunFolder};

use crate::spec::TestSpec;
use crate::summary::Summary;

/// Files of a run's folder that are counted before its size is called at least that.
const FILES_MAX: usize = 100_000;

/// A run, in a few words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunEntry {
    /// Its short name.
    pub(crate) id: String,
    /// `<test>/<time>`.
    pub(crate) name: String,
    /// `<suite>-<workload>`.
    pub(crate) test: String,
    /// How far it has come.
    #[serde(flatten)]
    pub(crate) status: Status,
    /// Its verdict, where there is one.
    pub(crate) valid: Option<Valid>,
    /// Why, in a sentence; empty where there is no verdict.
    pub(crate) reason: String,
    /// What its specification says. `None` where that cannot be read.
    pub(crate) spec: Option<SpecEntry>,
    /// Its labels, sorted.
    pub(crate) labels: Vec<String>,
    /// All files of its folder together, in bytes.
    pub(crate) size: u64,
    /// The run in numbers, where it has a verdict and is not too old.
    pub(crate) summary: Option<Summary>,
}

/// What is read of `results.json`: the rest may be large.
#[derive(Deserialize)]
struct ResultsHead {
    valid: Valid,
    reason: String,
    #[serde(default)]
    summary: Option<Summary>,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub(crate) enum Status {
    /// A process writes it.
    Running,
    /// It has results.
    Finished,
    /// It has none, and nobody writes any.
    Died,
    /// It has none: others recorded it.
    Imported,
    /// A file of it makes no sense.
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What the specification of a run says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpecEntry {
    /// The system.
    pub(crate) suite: String,
    /// The workload.
    pub(crate) workload: String,
    /// When it began, in UTC.
    pub(crate) started: String,
    /// Faults, as `--nemesis` takes them.
    pub(crate) nemesis: String,
    /// The names of those, and of those that occurred, sorted.
    pub(crate) faults: Vec<String>,
    /// The root of all random choices.
    pub(crate) seed: u64,
    /// How many nodes.
    pub(crate) nodes: usize,
    /// The version of Gainsay.
    pub(crate) gainsay: String,
    /// The versions of the system that were found on nodes, sorted.
    pub(crate) versions: Vec<String>,
    /// The same for all runs whose specifications differ in nothing but the seed: letters and digits.
    pub(crate) alike: String,
}

impl SpecEntry {
    fn of(spec: &TestSpec, summary: Option<&Summary>) -> SpecEntry {
        let asked = nemeses::parse(&spec.nemesis).unwrap_or_default();
        let asked = asked.into_iter().map(|fault| fault.name);
        let occurred = summary
            .into_iter()
            .flat_map(|summary| summary.faults.keys());
        let faults: BTreeSet<String> = asked.chain(occurred.cloned()).collect();
        let versions: BTreeSet<String> = spec
            .found
            .iter()
            .filter_map(|node| node.system.clone())
            .collect();
        SpecEntry {
            suite: spec.suite.clone(),
            workload: spec.workload.clone(),
            started: spec.started.clone(),
            nemesis: spec.nemesis.clone(),
            faults: faults.into_iter().collect(),
            seed: spec.seed,
            nodes: spec.nodes.names().len(),
            gainsay: spec.gainsay.clone(),
            versions: versions.into_iter().collect(),
            alike: alike(spec),
        }
    }
}

/// What a specification is a run of, whatever its seed: a hash of all that was asked for.
fn alike(spec: &TestSpec) -> String {
    let mut asked = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = asked.as_object_mut() {
        for field in [
            "seed",
            "started",
            "command",
            "controller",
            "found",
            "gainsay",
        ] {
            fields.remove(field);
        }
    }
    let hash = Sha256::digest(asked.to_string().as_bytes());
    hash.iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl RunEntry {
    /// Reads a run. Whatever is wrong with it is in the entry.
    pub(crate) fn read(folder: &RunFolder) -> RunEntry {
        let mut corrupt = None;
        let mut wrong = |file: &Path, error: &RunError| {
            // Without the path: who looks at a run need not know where it is.
            let why = match error {
                RunError::Json { source, .. } => source.to_string(),
                RunError::Io { source, .. } => source.to_string(),
                error => error.to_string(),
            };
            let file = file.file_name().unwrap_or_default();
            corrupt.get_or_insert(Status::Corrupt {
                file: file.to_string_lossy().into_owned(),
                why,
            });
        };
        let spec = folder.read_test::<TestSpec>();
        let spec = spec
            .map_err(|error| wrong(&folder.test_path(), &error))
            .ok();
        // Asked before it is looked for results: a run that ends in between has them, and has not died.
        let held = folder.is_held();
        let results = match folder.results_path().exists() {
            false => None,
            true => Some(folder.read_results::<ResultsHead>()),
        };
        let status = match (&results, held) {
            (Some(_), _) => Status::Finished,
            (None, true) => Status::Running,
            (None, false) if spec.as_ref().is_some_and(|spec| spec.imported.is_some()) => {
                Status::Imported
            }
            (None, false) => Status::Died,
        };
        let results = results.and_then(|read| {
            read.map_err(|error| wrong(&folder.results_path(), &error))
                .ok()
        });
        let labels = folder.labels();
        let labels = labels.map_err(|error| wrong(&folder.labels_path(), &error));
        let (valid, reason, summary) = match results {
            Some(results) => (Some(results.valid), results.reason, results.summary),
            None => (None, folder.failure().unwrap_or_default(), None),
        };
        RunEntry {
            id: folder.id(),
            name: folder.name(),
            test: folder.test(),
            valid,
            reason,
            spec: spec.map(|spec| SpecEntry::of(&spec, summary.as_ref())),
            labels: labels.unwrap_or_default(),
            size: size(folder.path()),
            summary,
            status: corrupt.unwrap_or(status),
        }
    }

    /// Whether nothing more is expected of it.
    pub(crate) fn is_over(&self) -> bool {
        self.status != Status::Running
    }

    /// The day on which it began, in UTC: `2026-11-22`. Follows from its name.
    pub(crate) fn day(&self) -> String {
        let stamp = self.stamp();
        match (stamp.get(..4), stamp.get(4..6), stamp.get(6..8)) {
            (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
            _ => String::new(),
        }
    }

    /// When it began, as in its folder's name, and so in its order.
    pub(crate) fn stamp(&self) -> &str {
        let (_, stamp) = self.name.rsplit_once('/').unwrap_or_default();
        stamp
    }

    /// What became of it, in a word: `valid`, `invalid`, `unknown`, `running`, `died`, `imported` or `corrupt`.
    pub(crate) fn word(&self) -> &'static str {
        match (&self.status, self.valid) {
            (Status::Corrupt { .. }, None) => "corrupt",
            (_, Some(Valid::True)) => "valid",
            (_, Some(Valid::False)) => "invalid",
            (_, Some(Valid::Unknown)) => "unknown",
            (Status::Running, None) => "running",
            (Status::Imported, None) => "imported",
            (Status::Died | Status::Finished, None) => "died",
        }
    }
}

/// All files below a folder, in bytes. Links count for themselves.
fn size(folder: &Path) -> u64 {
    let mut open = vec![folder.to_owned()];
    let (mut size, mut files) = (0, 0);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            files += 1;
            if files > FILES_MAX {
                return size;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) => size += metadata.len(),
                Err(_) => {}
            }
        }
    }
    size
}
