//! `gainsay test-all FILE`: a matrix of runs.
//!
//! Each is a `gainsay test` of its own, in a process of its own: what becomes of one is nothing to the others.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use harness::interpreter::{Stage, Stop};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::matrix::{self, Cell};
use super::output::outln;
use super::told::Told;
use super::{BadArguments, Output, Verbosity, args};
use crate::ci::{Case, Record};
use crate::exit::Exit;
use crate::run;
use crate::suites::Suites;

/// How often it is looked whether a run has ended.
const GLANCE: Duration = Duration::from_millis(50);
/// Characters of a reason in the table.
const REASON_MAX: usize = 100;

pub(super) fn command() -> Command {
    Command::new("test-all")
        .about("Run a matrix of tests: workloads × faults × options, from a file")
        .after_help(
            "The file's keys are the long flags of `gainsay test`; a table [SYSTEM] has those of a system, and a list means each of its values.\n\
             The exit code is the worst of all: 1 if any run is invalid, else 255 if any failed, else 2 if any is unknown; \
             runs for which there was no time are not counted, unless none was run (2).",
        )
        .arg(Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf)))
        .arg(
            Arg::new("stop-on-failure")
                .long("stop-on-failure")
                .action(ArgAction::SetTrue)
                .help("Stop after the first run that is not valid"),
        )
        .arg(
            Arg::new("time-box")
                .long("time-box")
                .value_name("DURATION")
                .value_parser(crate::spec::parse_duration)
                .help("Begin no run after so much time"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Print the commands that would run, and run none"),
        )
        .arg(super::junit_arg())
        .args(args::output_args())
}

/// What all runs are given.
struct Common<'a> {
    store: &'a str,
    config: Option<&'a PathBuf>,
    output: Output,
}

impl Common<'_> {
    /// The words after the program's name.
    fn arguments(&self, cell: &Cell) -> Vec<String> {
        let mut words = vec!["test".to_owned(), cell.suite.clone()];
        words.extend(cell.flags.iter().cloned());
        words.push(format!("--store={}", self.store));
        if let Some(config) = self.config {
            words.push(format!("--config={}", config.display()));
        }
        words
    }
}

pub(super) fn run(suites: &Suites, command: &Command, matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let file = matches
        .get_one::<PathBuf>("file")
        .context("clap requires it")?;
    let test = command
        .find_subcommand("test")
        .context("there is a command test")?;
    let cells =
        matrix::read(file, test).map_err(|error| BadArguments(crate::words::describe(&error)))?;
    let store = matches
        .get_one::<PathBuf>("store")
        .context("it has a default")?;
    let common = Common {
        store: store
            .to_str()
            .ok_or_else(|| BadArguments("--store: not UTF-8".to_owned()))?,
        config: matches.get_one("config"),
        output,
    };
    // All before the first: a mistake in the last should not be told in the morning.
    for cell in &cells {
        check(suites, test, &common.arguments(cell)).map_err(|error| {
            BadArguments(format!(
                "{}: {}: {}",
                cell.place,
                cell.name,
                crate::words::describe(&error)
            ))
        })?;
    }
    if matches.get_flag("dry-run") {
        for cell in &cells {
            let words: Vec<_> = common
                .arguments(cell)
                .iter()
                .map(|word| harness::remote::quote(word).into_owned())
                .collect();
            outln!("gainsay {}", words.join(" "));
        }
        return Ok(Exit::Valid);
    }
    let box_ = matches.get_one::<Duration>("time-box").copied();
    let stop = run::signals::watch()?;
    let record = Record::new(
        format!("gainsay test-all {}", file.display()),
        matches.get_one("junit").cloned(),
    );
    let mut all = All {
        common,
        stop,
        record,
        exit: Exit::Valid,
    };
    all.run(&cells, box_, matches.get_flag("stop-on-failure"))?;
    all.table();
    let none = all.record.cases().is_empty() && !cells.is_empty();
    let exit = all.exit.and(if none { Exit::Unknown } else { Exit::Valid });
    Ok(exit.and(all.record.finish(&output)))
}

/// Whether a run could begin.
fn check(suites: &Suites, test: &Command, arguments: &[String]) -> Result<()> {
    let matches = test
        .clone()
        .try_get_matches_from(arguments)
        .map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            BadArguments(first.trim_start_matches("error: ").to_owned())
        })?;
    let (name, matches) = matches.subcommand().context("clap requires a system")?;
    let args = args::test_args_of(suites.get(name)?.as_ref(), matches, arguments)?;
    run::check_faults(&args.spec).map_err(|error| BadArguments(error).into())
}

struct All<'a> {
    common: Common<'a>,
    stop: Stop,
    record: Record,
    exit: Exit,
}

impl All<'_> {
    fn run(
        &mut self,
        cells: &[Cell],
        time_box: Option<Duration>,
        stop_on_failure: bool,
    ) -> Result<()> {
        let begun = Instant::now();
        for (at, cell) in cells.iter().enumerate() {
            let late = time_box.is_some_and(|time_box| begun.elapsed() >= time_box);
            let failed = stop_on_failure && self.exit != Exit::Valid;
            if late || failed || self.stop.stage() != Stage::Run {
                let rest = &cells[at..];
                rest.iter()
                    .for_each(|cell| self.record.skip(cell.name.clone()));
                let why = match (failed, late) {
                    (true, _) => "a run is not valid",
                    (_, true) => "the time is up",
                    _ => "interrupted",
                };
                self.common.output.say(&format!(
                    "stopped: {why}; {} of {} are not run",
                    rest.len(),
                    cells.len()
                ));
                break;
            }
            self.common
                .output
                .say(&format!("\n[{}/{}]   {}", at + 1, cells.len(), cell.name));
            self.one(cell)?;
        }
        Ok(())
    }

    /// Runs one, and waits for it.
    fn one(&mut self, cell: &Cell) -> Result<()> {
        let begun = Instant::now();
        let mut process =
            Process::new(std::env::current_exe().context("cannot tell which program this is")?);
        process
            .args(self.common.arguments(cell))
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // What is told to CI is told once, by this process.
            .env_remove("GITHUB_ACTIONS")
            // Signals of the terminal are for this process, which passes them on.
            .process_group(0);
        match self.common.output.verbosity {
            Verbosity::Quiet => process.arg("--quiet"),
            Verbosity::Normal => &mut process,
            Verbosity::Verbose => process.arg("-v"),
            Verbosity::Trace => process.arg("-vv"),
        };
        let mut child = process.spawn().context("cannot start a run")?;
        let (json, lines) = (self.common.output.json, child.stdout.take());
        let reader = std::thread::spawn(move || {
            let mut told: Vec<(Told, Duration)> = Vec::new();
            let mut since = begun;
            for line in BufReader::new(lines.into_iter().next()?)
                .lines()
                .map_while(Result::ok)
            {
                if json {
                    outln!("{line}");
                }
                if let Ok(one) = serde_json::from_str::<Told>(&line) {
                    told.push((one, since.elapsed()));
                    since = Instant::now();
                }
            }
            Some(told)
        });
        let ended = self.wait(&mut child)?;
        let told = reader.join().ok().flatten().unwrap_or_default();
        let mut worst = Exit::Valid;
        for (run, time) in &told {
            let exit = Exit::of_code(Some(run.exit.into()));
            worst = worst.and(exit);
            let name = match told.len() {
                1 => cell.name.clone(),
                _ => format!("{} (seed {})", cell.name, run.seed),
            };
            self.record.add(run.case(name, exit, *time));
        }
        let exit = Exit::of_code(ended);
        // It ended worse than its runs did, or without any.
        if worst.and(exit) != worst || told.is_empty() {
            let how = ended.map_or("by a signal".to_owned(), |code| {
                format!("with exit code {code}")
            });
            self.record.add(Case {
                group: cell.suite.clone(),
                name: cell.name.clone(),
                exit,
                reason: format!("it ended {how} and without a verdict; what it said is above"),
                details: Vec::new(),
                time: begun.elapsed(),
                properties: Vec::new(),
            });
        }
        // Flags were checked before: what a run says of them now is a failure of this one run.
        self.exit = self.exit.and(match exit {
            Exit::BadArguments => Exit::Failure,
            exit => exit,
        });
        Ok(())
    }

    /// Waits for a run, and passes on what this process is told to stop.
    fn wait(&self, child: &mut Child) -> Result<Option<i32>> {
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id")?);
        let mut passed = Stage::Run;
        loop {
            if let Some(status) = child.try_wait().context("a run was lost")? {
                return Ok(status.code());
            }
            let stage = self.stop.stage();
            if stage != passed {
                // Not reaped yet, so the number is still its own.
                let _ = kill(pid, Signal::SIGINT);
                passed = stage;
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The results, for a person.
    fn table(&self) {
        if self.common.output.json {
            return;
        }
        let cases = self.record.cases();
        let width = cases
            .iter()
            .map(|case| case.name.chars().count())
            .max()
            .unwrap_or(0)
            .min(80);
        outln!();
        for case in cases {
            let color = match case.exit {
                Exit::Valid => "32",
                Exit::Unknown => "33",
                _ => "31",
            };
            let word = self
                .common
                .output
                .paint(color, &format!("{:<9}", case.word().to_uppercase()));
            let reason: String = case.reason.chars().take(REASON_MAX).collect();
            let reason = if case.exit == Exit::Valid {
                String::new()
            } else {
                format!("  {reason}")
            };
            outln!(
                "{word} {:<width$} {:>7.1} s{reason}",
                case.name,
                case.time.as_secs_f64()
            );
        }
        for name in self.record.skipped() {
            outln!("{:<9} {name}", "not run");
        }
        let count = |exit: Exit| cases.iter().filter(|case| case.exit == exit).count();
        let (invalid, unknown, valid) = (
            count(Exit::Invalid),
            count(Exit::Unknown),
            count(Exit::Valid),
        );
        let failed = cases.len() - invalid - unknown - valid;
        outln!(
            "\n{} runs: {invalid} invalid, {failed} failed, {unknown} unknown, {valid} valid; {} not run",
            cases.len(),
            self.record.skipped().len()
        );
    }
}
