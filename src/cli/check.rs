//! `gainsay check FILE…`: the checkers alone, on histories from anywhere.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use checkers::linearizability::models::ModelInfo;
use checkers::{CheckResult, Valid};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::output::outln;
use super::{Output, Verbosity, args, check_report, source};
use crate::check::{
    Answer, CheckerProcess, FileRequest, INVARIANTS, LINT, MODELS, Request, TRANSACTIONAL,
    consistency_of,
};
use crate::ci::{Case, Record};
use crate::exit::Exit;
use crate::report;
use crate::spec::CheckLimits;

pub(super) fn command() -> Command {
    Command::new("check")
        .about("Check histories from anywhere, and of runs")
        .after_help(
            "RUN is a folder, `latest`, a test such as etcd-register, or a beginning of its time or id.\n\
             The exit code is the worst of all: 1 if any is invalid, else 2 if any is unknown.\n\
             With --json, one object a file: file, valid, reason, ms_parse, ms_check, evidence; with --order also orders, and lint\n\
             where the linter finds mistakes in the record.",
        )
        .arg(
            source::argument().num_args(1..),
        )
        .arg(
            Arg::new("model")
                .long("model")
                .value_name("MODEL")
                .required(true)
                .value_parser(clap::builder::PossibleValuesParser::new(models().map(|model| model.name)))
                .help("What the system should have behaved like; see `gainsay list models`"),
        )
        .arg(
            Arg::new("consistency")
                .long("consistency")
                .value_name("LEVEL")
                .help(
                    "What the model's operations should have been: linearizable or sequential [default: linearizable]; \
                     of transactions serializable, snapshot-isolation … [default: strict-serializable], where the texts plume \
                     and awdit mean the level that keeps to sessions; of set-full, dirty-read and lost-update eventual or linearizable \
                     [default: eventual]; of counter-bounds the same [default: linearizable]; see `gainsay list models`",
                ),
        )
        .args(source::reading_args("format"))
        .arg(
            Arg::new("initial")
                .long("initial")
                .value_name("JSON")
                .default_value("null")
                .help("What each object holds first; null is nothing, or as `gainsay list models` says"),
        )
        .arg(
            Arg::new("null-matches-anything")
                .long("null-matches-anything")
                .action(ArgAction::SetTrue)
                .help("A read of null says nothing (Knossos' meaning) instead of: absent"),
        )
        .arg(
            Arg::new("sequential-keys")
                .long("sequential-keys")
                .action(ArgAction::SetTrue)
                .help("Of rw-register: take each key alone to be sequentially consistent, which orders its versions"),
        )
        .arg(
            Arg::new("linearizable-keys")
                .long("linearizable-keys")
                .action(ArgAction::SetTrue)
                .help("Of rw-register: take each key alone to be linearizable, which orders its versions"),
        )
        .arg(
            Arg::new("given-versions")
                .long("given-versions")
                .action(ArgAction::SetTrue)
                .conflicts_with("timestamps")
                .help(
                    "Of rw-register: the versions of each key are in the order of the numbers that the database gave them: \
                     [\"w\", key, value, version] and [\"r\", key, value, version]",
                ),
        )
        .arg(
            Arg::new("negative-balances")
                .long("negative-balances")
                .action(ArgAction::SetTrue)
                .help("Of bank: accounts may be below zero"),
        )
        .arg(
            Arg::new("timestamps")
                .long("timestamps")
                .action(ArgAction::SetTrue)
                .help(
                    "Of list-append and rw-register: check that transactions are what the system says of them by the micro-operation \
                     [\"timestamps\", start, commit] in each, at serializable or snapshot-isolation, or their strong variants",
                ),
        )
        .arg(
            Arg::new("failed-cas")
                .long("failed-cas")
                .value_name("MEANING")
                .default_value("precondition")
                .value_parser(["precondition", "observes", "dropped"])
                .help(
                    "What a compare-and-set that failed says: that the value was different (observes), \
                     nothing (dropped), or the first where its error is `precondition`, as for all \
                     other operations",
                ),
        )
        .arg(
            Arg::new("order")
                .long("order")
                .action(ArgAction::SetTrue)
                .help(
                    "With a linearizable history, show an order of each object's operations that the model allows, by the events \
                     that began them",
                ),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object a file"),
        )
        .arg(
            Arg::new("report")
                .long("report")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write what was found as a page, like a run's report.html; for one history"),
        )
        .arg(super::junit_arg())
        .args(args::check_args())
        .arg(args::store_arg())
}

/// All models that can be named.
pub(super) fn models() -> impl Iterator<Item = &'static ModelInfo> {
    MODELS.iter().chain(TRANSACTIONAL).chain(INVARIANTS)
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let model = matches
        .get_one::<String>("model")
        .cloned()
        .unwrap_or_default();
    let level = matches.get_one::<String>("consistency").map(String::as_str);
    let consistency = consistency_of(&model, level).map_err(super::BadArguments)?;
    let initial = matches
        .get_one::<String>("initial")
        .map_or("null", String::as_str);
    let initial: Value = serde_json::from_str(initial)
        .map_err(|error| super::BadArguments(format!("--initial: not JSON: {error}")))?;
    let limits = args::check_limits(matches);
    let reading = source::reading(matches)?;
    let page = matches.get_one::<PathBuf>("report");
    if page.is_some()
        && matches
            .get_many::<String>("source")
            .is_some_and(|all| all.len() > 1)
    {
        let why = "--report is for one history: check them one by one";
        return Err(super::BadArguments(why.to_owned()).into());
    }
    let json = matches.get_flag("json");
    let mut process: Option<CheckerProcess> = None;
    let mut exit = Exit::Valid;
    let mut record = Record::new("gainsay check", matches.get_one("junit").cloned());
    let store = args::store(matches);
    for name in matches.get_many::<String>("source").into_iter().flatten() {
        let request = |path| {
            Request::File(FileRequest {
                path,
                format: matches.get_one::<String>("from").cloned(),
                model: model.clone(),
                consistency: consistency.to_owned(),
                keyed: matches.get_flag("keyed"),
                null_matches_anything: matches.get_flag("null-matches-anything"),
                failed_cas: matches
                    .get_one::<String>("failed-cas")
                    .cloned()
                    .unwrap_or_default(),
                sequential_keys: matches.get_flag("sequential-keys"),
                linearizable_keys: matches.get_flag("linearizable-keys"),
                given_versions: matches.get_flag("given-versions"),
                negative_balances: matches.get_flag("negative-balances"),
                timestamps: matches.get_flag("timestamps"),
                order: matches.get_flag("order"),
                initial: initial.clone(),
                limits,
            })
        };
        let begun = Instant::now();
        // The process serves file after file until one of them kills it.
        let answer = source::find(store, name)
            .map_err(|error| crate::words::describe(&error))
            .and_then(|path| ask(&mut process, &request(path), limits));
        let valid = answer
            .as_ref()
            .map_or(Valid::Unknown, |answer| answer.result.valid);
        let details = answer
            .as_ref()
            .map(|answer| answer.result.evidence.iter().take(1));
        record.add(Case {
            group: model.clone(),
            name: name.clone(),
            exit: valid.into(),
            reason: match &answer {
                Ok(answer) => answer.result.reason.clone(),
                Err(reason) => reason.clone(),
            },
            details: details
                .into_iter()
                .flatten()
                .flat_map(report::sentences)
                .collect(),
            time: begun.elapsed(),
            properties: Vec::new(),
        });
        if let Some(page) = page {
            let history = source::find(store, name)?;
            check_report::write(
                page,
                &history,
                &reading,
                (&model, consistency),
                answer.clone(),
            )?;
        }
        print(name, answer, json);
        exit = exit.and(valid.into());
    }
    let output = Output::new(Verbosity::Normal, json);
    Ok(exit.and(record.finish(&output)))
}

fn ask(
    process: &mut Option<CheckerProcess>,
    request: &Request,
    limits: CheckLimits,
) -> Result<Answer, String> {
    if process.is_none() {
        *process = Some(CheckerProcess::start(limits.memory)?);
    }
    let answer = match process.as_mut() {
        // Reading counts too; a file that cannot even be read in this time is not checked.
        Some(process) => process.ask(request, limits.time + Duration::from_secs(60), None),
        None => Err("no process".to_owned()),
    };
    if answer.is_err() {
        *process = None;
    }
    answer
}

fn print(file: &str, answer: Result<Answer, String>, json: bool) {
    let (result, parse, check) = match answer {
        Ok(answer) => (answer.result, answer.ms_parse, answer.ms_check),
        Err(reason) => (CheckResult::new(Valid::Unknown, reason), 0.0, 0.0),
    };
    let CheckResult {
        valid,
        reason,
        evidence,
        details,
        ..
    } = result;
    if json {
        let mut object = json!({
            "file": file, "valid": valid, "reason": reason,
            "ms_parse": parse, "ms_check": check, "evidence": evidence,
        });
        for name in ["orders", "no-orders", LINT] {
            if let Some(orders) = details.get(name) {
                object[name] = orders.clone();
            }
        }
        outln!("{object}");
        return;
    }
    outln!("{file}: {valid}: {reason}");
    if let Some(count) = details.get(LINT) {
        outln!(
            "  {count} mistakes in the record, which a verdict may hang on: `gainsay lint {file}` shows them"
        );
    }
    for evidence in evidence.iter().take(1) {
        for line in report::sentences(evidence) {
            outln!("  {line}");
        }
    }
    for order in details
        .get("orders")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        outln!("  in the order of the events {order}");
    }
    if let Some(why) = details.get("no-orders").and_then(Value::as_str) {
        outln!("  no order can be shown: {why}");
    }
}
