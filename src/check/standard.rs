//! Which checkers judge what: those of the workload, and those that judge every run.

use std::path::Path;

use anyhow::{Context, Result, bail};
use checkers::coverage::{self, Coverage};
use checkers::linearizability::models::ModelInfo;
use checkers::linearizability::{self, FailedCas, Linearizable, NullRead, SequentiallyConsistent};
use checkers::transactions::{
    self, Assumptions, ClosedPredicate, CounterInc, LEVELS, Level, Objects, RwRegister, SetAdd,
    Timestamps,
};
use checkers::{CheckResult, Checker, ListAppend, Stats, Unhandled, Valid};
use harness::interpreter;
use store::import::{Format, ImportOptions, format_of, load_any};
use store::{OpError, RunFolder};
use workloads::{NamedChecker, Suite};

use super::RunFacts;
use super::invariants;
use super::results::CheckerReport;
use super::worker::{FileRequest, Loaded, Source};
use crate::spec::TestSpec;
use crate::suites::Suites;

/// The models of `gainsay check` that are of single objects.
pub(crate) use checkers::linearizability::models::BUILT_IN as MODELS;

/// Transactions of lists, whose reads show the order of versions.
const LIST_APPEND: ModelInfo = ModelInfo {
    name: "list-append",
    summary: "transactions that read lists and append to them",
    functions: "txn, of [\"append\", key, element] and [\"r\", key, list]",
    initial: "every list is empty",
};

/// Transactions of registers, whose reads do not.
const RW_REGISTER: ModelInfo = ModelInfo {
    name: "rw-register",
    summary: "transactions that read and write registers",
    functions: "txn, of [\"w\", key, value] and [\"r\", key, value]",
    initial: "every register is null (in plume text 0)",
};

/// Transactions of rows that are read by predicates.
const CLOSED_PREDICATE: ModelInfo = ModelInfo {
    name: "closed-predicate",
    summary: "transactions that write rows, each once, and read all that match a predicate",
    functions: "init, of {key: value}; txn, of [\"insert\", key, value], [\"w\", key, value], [\"delete\", key], [\"r\", key, value] and \
                [\"rp\", predicate, {key: value}], of predicates \"true\", [\"=\", value] and [\"mod\", modulus, rest]",
    initial: "what init made",
};

/// Transactions of sets.
const SET_ADD: ModelInfo = ModelInfo {
    name: "set-add",
    summary: "transactions that read sets and add elements to them",
    functions: "txn, of [\"add\", key, element] and [\"r\", key, elements]",
    initial: "every set is empty",
};

/// Transactions of counters.
const COUNTER_INC: ModelInfo = ModelInfo {
    name: "counter-inc",
    summary: "transactions that read counters and add positive numbers to them; finds violations, and proves no model to hold",
    functions: "txn, of [\"inc\", key, n] and [\"r\", key, value]",
    initial: "every counter is 0",
};

/// The models of `gainsay check` that are of transactions.
pub(crate) const TRANSACTIONAL: [&ModelInfo; 5] = [
    &LIST_APPEND,
    &RW_REGISTER,
    &CLOSED_PREDICATE,
    &SET_ADD,
    &COUNTER_INC,
];

fn is_transactional(model: &str) -> bool {
    TRANSACTIONAL.iter().any(|one| one.name == model)
}

/// The levels of consistency of single objects, the default first.
pub(crate) const CONSISTENCIES: &[&str] = &["linearizable", SEQUENTIAL];

/// Whether a model can be checked at a level, or the one that is meant where none is named.
pub(crate) fn consistency_of(model: &str, level: Option<&str>) -> Result<&'static str, String> {
    let few = |levels: &[&'static str]| {
        let known = levels.iter().copied().find(|one| Some(*one) == level);
        (known, levels[0], levels.to_vec())
    };
    let (known, default, all): (Option<&str>, _, Vec<&str>) = match model {
        model if is_transactional(model) => (
            level
                .and_then(transactions::models::find)
                .map(|level| level.name),
            transactions::models::DEFAULT,
            LEVELS.iter().map(|level| level.name).collect(),
        ),
        model => few(invariants::levels_of(model).unwrap_or(CONSISTENCIES)),
    };
    let Some(level) = level else {
        return Ok(default);
    };
    known.ok_or_else(|| {
        let all = all.join(", ");
        format!("--consistency {level}: of {model} it is one of {all}")
    })
}

const SEQUENTIAL: &str = "sequential";

/// What stands for a checker where the healed system did not recover.
pub(super) const RECOVERY: &str = "recovery";
/// What stands for a checker where the controller was overloaded.
pub(super) const CONTROLLER: &str = "controller";
/// What stands for a checker where the online checker is not confirmed.
const ONLINE: &str = "online";

/// The checker of whether a run could have found anything.
pub(crate) const COVERAGE: &str = "coverage";

/// The least number of each function's operations that must have ended `ok`.
const OK_MIN: u64 = 10;

/// Classes of errors that every workload expects under faults.
const KNOWN_ERRORS: &[&str] = &[
    OpError::PRECONDITION,
    OpError::TIMEOUT,
    OpError::NO_CLIENT,
    interpreter::INTERRUPTED,
];

/// All checkers of a run: the workload's first, then those of every run.
fn of_run(suite: &dyn Suite, spec: &TestSpec) -> Result<Vec<NamedChecker>> {
    let mut all = suite.checkers(&spec.workload, &spec.options)?;
    let faults = nemeses::parse(&spec.nemesis)?
        .into_iter()
        // As the history has it: there may be several of one fault.
        .map(|fault| fault.label)
        .collect();
    let coverage = coverage::Options {
        faults,
        leaders: suite.has_leaders(),
        spare_leaders: suite
            .faults()
            .iter()
            .filter(|fault| fault.spares_leaders)
            .map(|fault| nemeses::system_label(fault.name))
            .collect(),
        ok_min: OK_MIN,
        nodes: spec
            .nodes
            .names()
            .iter()
            .map(|name| name.to_string())
            .collect(),
        workers: spec.workers as u64,
        ..coverage::Options::default()
    };
    all.push(NamedChecker {
        name: COVERAGE.to_owned(),
        make: Box::new(move || Box::new(Coverage::new(coverage.clone()))),
    });
    all.push(NamedChecker {
        name: "statistics".to_owned(),
        make: Box::new(|| Box::new(Stats::default())),
    });
    all.push(NamedChecker {
        name: "errors".to_owned(),
        make: Box::new(|| Box::new(Unhandled::new(KNOWN_ERRORS.iter().copied()))),
    });
    Ok(all)
}

/// The names of all checkers of a run.
pub(super) fn names(suite: &dyn Suite, spec: &TestSpec) -> Result<Vec<String>> {
    Ok(of_run(suite, spec)?
        .into_iter()
        .map(|checker| checker.name)
        .collect())
}

/// A checker of a run.
pub(super) fn make(suites: &Suites, folder: &RunFolder, name: &str) -> Result<Box<dyn Checker>> {
    let spec: TestSpec = folder.read_test()?;
    let suite = suites.get(&spec.suite)?;
    let mut all = of_run(suite.as_ref(), &spec)?.into_iter();
    let checker = all.find(|checker| checker.name == name);
    let checker = checker.with_context(|| format!("no checker is named {name}"))?;
    Ok((checker.make)())
}

/// A checker of a run with its history.
pub(super) fn load(suites: &Suites, folder: &Path, name: &str) -> Result<Loaded> {
    let folder = RunFolder::open(folder)?;
    let checker = make(suites, &folder, name)?;
    let loaded = store::load_history(&folder.history_path())?;
    let torn = loaded.torn.map(|torn| torn.to_string());
    Ok(Loaded {
        checker,
        source: Source::Whole(loaded.history, torn, 0),
    })
}

/// A model's checker with a history from anywhere.
pub(super) fn load_file(request: &FileRequest) -> Result<Loaded> {
    let format = match &request.format {
        Some(name) => Some(format_named(name)?),
        None => None,
    };
    if is_transactional(&request.model) {
        let format = match format {
            Some(format) => format,
            None => format_of(&request.path)?,
        };
        let recorded = recorded_as(&request.path, format);
        return Ok(Loaded {
            checker: transactional(request, recorded)?,
            // Transactions that overlap in a process, or have no beginning, tell something as they stand.
            source: Source::File {
                path: request.path.clone(),
                format,
                recorded,
            },
        });
    }
    let loaded = load_any(
        &request.path,
        format,
        ImportOptions {
            keyed: request.keyed,
        },
    )?;
    let null_read = match request.null_matches_anything {
        true => NullRead::MatchesAnything,
        false => NullRead::Absent,
    };
    let options = linearizability::Options {
        initial: request.initial.clone(),
        failed_cas: match request.failed_cas.as_str() {
            "observes" => FailedCas::Observes,
            "dropped" => FailedCas::Dropped,
            _ => FailedCas::Precondition,
        },
        null_read,
        witness: request.order,
        ..linearizability::Options::default()
    };
    let checker: Box<dyn Checker> = match (invariants::checker(request)?, &*request.consistency) {
        (Some(checker), _) => checker,
        (None, SEQUENTIAL) => Box::new(SequentiallyConsistent::named(&request.model, &options)?),
        (None, _) => Box::new(Linearizable::named(&request.model, &options)?),
    };
    let mut notes = loaded.notes;
    notes.extend(loaded.torn.map(|torn| torn.to_string()));
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(Loaded {
        checker,
        source: Source::Whole(loaded.history, note, loaded.findings),
    })
}

/// How a history in this format was recorded: in the same, or, where it is an imported run's, in the one that it had before.
pub(crate) fn recorded_as(path: &Path, format: Format) -> Format {
    let run = RunFolder::open(path).ok();
    let spec = run.and_then(|run| run.read_test::<TestSpec>().ok());
    let imported = spec.and_then(|spec| spec.imported);
    imported
        .and_then(|imported| format_named(&imported.format).ok())
        .unwrap_or(format)
}

/// A checker of transactions.
fn transactional(request: &FileRequest, format: Format) -> Result<Box<dyn Checker>> {
    // To the tools of these formats, the order of sessions is part of every level.
    let meaning: fn(&str) -> Option<&'static Level> = match format.is_of_sessions() {
        true => transactions::models::academic,
        false => transactions::models::find,
    };
    let consistency = meaning(&request.consistency)
        .with_context(|| format!("there is no model {:?}", request.consistency))?;
    let options = transactions::Options { consistency };
    if request.timestamps {
        let objects = match request.model.as_str() {
            model if model == LIST_APPEND.name => Objects::Lists,
            model if model == RW_REGISTER.name => Objects::Registers,
            other => bail!("--timestamps is of list-append and rw-register, not of {other}"),
        };
        return Ok(Box::new(Timestamps::new(options, objects)));
    }
    Ok(match request.model.as_str() {
        model if model == RW_REGISTER.name => {
            let assume = Assumptions {
                wfr_keys: true,
                sequential_keys: request.sequential_keys,
                linearizable_keys: request.linearizable_keys,
                given_versions: request.given_versions,
            };
            Box::new(RwRegister::new(options, assume))
        }
        model if model == CLOSED_PREDICATE.name => Box::new(ClosedPredicate::new(options)),
        model if model == SET_ADD.name => Box::new(SetAdd::new(options)),
        model if model == COUNTER_INC.name => Box::new(CounterInc::new(options)),
        _ => Box::new(ListAppend::new(options)),
    })
}

/// The format that a person names.
pub(crate) fn format_named(name: &str) -> Result<Format> {
    let mut all = Format::ALL.into_iter();
    all.find(|format| format.name() == name)
        .with_context(|| format!("there is no format {name:?}"))
}

/// What is known of a run besides its history can make it unknown, never valid.
pub(super) fn judge_facts(facts: &RunFacts) -> Vec<CheckerReport> {
    let known = [
        (RECOVERY, &facts.not_recovered),
        (CONTROLLER, &facts.overloaded),
    ];
    let unknown = known
        .into_iter()
        .filter_map(|(name, why)| Some((name, why.as_ref()?)));
    unknown
        .map(|(name, why)| CheckerReport::of(name, CheckResult::new(Valid::Unknown, why.clone())))
        .collect()
}

/// A violation that was proved while the run went on, and is not found in its whole history, is nothing to pass
/// over.
pub(super) fn judge_online(facts: &RunFacts, reports: &[CheckerReport]) -> Option<CheckerReport> {
    let stopped = facts.stopped.as_ref()?;
    let found = reports.iter().any(|report| report.valid == Valid::False);
    let reason = format!(
        "the online checker {} proved a violation that the check of the whole history does not confirm: {}",
        stopped.by, stopped.reason
    );
    (!found).then(|| CheckerReport::of(ONLINE, CheckResult::new(Valid::Unknown, reason)))
}
