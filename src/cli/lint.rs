//! `gainsay lint RUN|FILE…`: what is wrong with histories as records, whatever the system did.

use std::path::Path;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;
use store::import::{Format, format_of, read_each};
use store::{Finding, Flow, LintReport, Linter, Problem};

use super::output::outln;
use super::{args, source};
use crate::check::recorded_as;
use crate::exit::Exit;

pub(super) fn command() -> Command {
    Command::new("lint")
        .about("Find what is wrong with histories as records")
        .after_help(format!(
            "{}\n\n\
             A checker believes the history: one that says two things at once, or `fail` where nobody can know, makes it prove what\n\
             never happened. Each finding is a line: file, line, event, mistake.\n\n\
             Exit codes: 0 nothing was found, 1 something was, 254 bad arguments, 255 a file cannot be read.\n\
             With --json, one object a history: file, clean, events, total, counts, findings (line, index, problem, message), torn.",
            source::HELP
        ))
        .arg(source::argument().num_args(1..))
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .default_value("10")
                .value_parser(value_parser!(u64).range(1..=1_000_000))
                .help("How many findings of each kind to show"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print one JSON object a history"),
        )
        .args(source::reading_args("format"))
        .arg(args::store_arg())
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let reading = source::reading(matches)?;
    let limit = matches.get_one::<u64>("limit").copied().unwrap_or(10) as usize;
    let json = matches.get_flag("json");
    let mut exit = Exit::Valid;
    for name in matches.get_many::<String>("source").into_iter().flatten() {
        let linted =
            source::find(args::store(matches), name).and_then(|path| lint(&path, &reading, limit));
        let this = match linted {
            Ok((report, torn)) => {
                print(name, &report, torn.as_deref(), json);
                match report.total() {
                    0 => Exit::Valid,
                    _ => Exit::Invalid,
                }
            }
            Err(error) => super::failed(&error),
        };
        exit = exit.and(this);
    }
    Ok(exit)
}

/// What is wrong with a history, and what was cut off at its end.
pub(super) fn lint(
    path: &Path,
    reading: &source::Reading,
    kept_max: usize,
) -> Result<(LintReport, Option<String>)> {
    let format = match reading.format {
        Some(format) => format,
        None => format_of(path)?,
    };
    let mut linter = Linter::new(kept_max);
    let torn = read_each(path, Some(format), reading.options, &mut |batch| {
        linter.feed(batch);
        Flow::Continue(())
    })?;
    let recorded = recorded_as(path, format);
    Ok((finish(linter, recorded), torn.map(|torn| torn.to_string())))
}

/// What was found. That a format has no invocations is no mistake of who wrote it.
pub(super) fn finish(linter: Linter, format: Format) -> LintReport {
    let mut report = linter.finish();
    if format.is_of_sessions() {
        report.forget(&Problem::NoInvocations);
    }
    report
}

fn print(name: &str, report: &LintReport, torn: Option<&str>, json: bool) {
    if json {
        let finding = |finding: &Finding| {
            json!({
                "line": finding.line,
                "index": finding.index,
                "problem": finding.problem.name(),
                "message": finding.problem.to_string(),
            })
        };
        let findings: Vec<_> = report.findings.iter().map(finding).collect();
        let object = json!({
            "file": name,
            "clean": report.total() == 0,
            "events": report.events,
            "total": report.total(),
            "counts": report.counts,
            "findings": findings,
            "torn": torn,
        });
        outln!("{object}");
        return;
    }
    for finding in &report.findings {
        outln!(
            "{name}:{}: event {}: {}",
            finding.line,
            finding.index,
            finding.problem
        );
    }
    for (kind, count) in &report.counts {
        let shown = |finding: &&Finding| finding.problem.name() == *kind;
        let shown = report.findings.iter().filter(shown).count() as u64;
        if *count > shown {
            outln!(
                "{name}: {} more of {kind} (--limit shows more)",
                count - shown
            );
        }
    }
    if let Some(torn) = torn {
        outln!("{name}: {torn}");
    }
    match report.total() {
        0 => outln!("{name}: {} events, nothing found", report.events),
        total => outln!("{name}: {} events, {total} findings", report.events),
    }
}
