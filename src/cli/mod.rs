//! The command line.
//!
//! Commands are built from data: each suite becomes a subcommand of `test` with the common flags and
//! its own options, so that `--help`, the configuration file and the shell completions agree.

mod analyze;
mod args;
mod check;
mod check_report;
mod config;
mod demo;
mod doctor;
mod explain;
mod export;
mod faults;
mod heal;
mod import;
mod lint;
mod list;
mod matrix;
mod nodes;
mod output;
mod runs;
mod schema;
mod serve;
mod source;
mod test;
mod test_all;
mod told;
mod toml_file;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use store::RunFolder;
use workloads::Suite;

use crate::compare::Earlier;
use crate::exit::Exit;
use crate::run::Interrupted;
use crate::suites::Suites;

pub(crate) use output::{Output, Verbosity};

/// Runs the program with these suites and the process's arguments.
pub(crate) fn main(suites: Vec<Arc<dyn Suite>>) -> Exit {
    let suites = Suites::new(suites);
    if std::env::args().nth(1).as_deref() == Some(crate::check::WORKER_ARGUMENT) {
        return crate::check::serve(&suites);
    }
    let arguments: Vec<String> = match std::env::args_os().map(|arg| arg.into_string()).collect() {
        Ok(arguments) => arguments,
        Err(argument) => {
            eprintln!(
                "error: an argument is not UTF-8: {}",
                argument.to_string_lossy()
            );
            return Exit::BadArguments;
        }
    };
    let mut command = command(&suites);
    if let Some(file) = config_file(&arguments) {
        command = match config::apply(command, &file) {
            Ok(command) => command,
            Err(error) => {
                eprintln!("error: {}", crate::words::describe(&error));
                return Exit::BadArguments;
            }
        };
    }
    let matches = match command.clone().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are answers, not errors.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::BadArguments
            } else {
                Exit::Valid
            };
        }
    };
    match dispatch(&suites, command, &matches, &arguments) {
        Ok(exit) => exit,
        Err(error) => failed(&error),
    }
}

/// Says what went wrong, and with what code to end.
fn failed(error: &anyhow::Error) -> Exit {
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        eprintln!("{interrupted}");
        return Exit::Interrupted;
    }
    eprintln!("error: {}", crate::words::describe(error));
    match error.downcast_ref::<BadArguments>() {
        Some(_) => Exit::BadArguments,
        None => Exit::Failure,
    }
}

/// An error that is the user's to correct on the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadArguments(pub(crate) String);

fn dispatch(
    suites: &Suites,
    command: Command,
    matches: &ArgMatches,
    arguments: &[String],
) -> anyhow::Result<Exit> {
    match matches.subcommand() {
        Some(("test", matches)) => test::run(suites, matches, arguments),
        Some(("test-all", matches)) => test_all::run(suites, &command, matches),
        Some(("schema", matches)) => schema::run(matches),
        Some(("demo", matches)) => demo::run(suites, matches, arguments),
        Some(("analyze", matches)) => analyze::run(suites, matches),
        Some(("check", matches)) => check::run(matches),
        Some(("lint", matches)) => lint::run(matches),
        Some(("import", matches)) => import::run(matches),
        Some(("export", matches)) => export::run(matches),
        Some(("runs", matches)) => runs::run(matches),
        Some(("nodes", matches)) => nodes::run(suites, matches),
        Some(("heal", matches)) => heal::run(matches),
        Some(("serve", matches)) => serve::run(matches),
        Some(("list", matches)) => list::run(suites, matches),
        Some(("explain", matches)) => explain::run(matches),
        Some(("doctor", matches)) => doctor::run(suites, matches),
        Some(("completions", matches)) => completions(command, matches),
        _ => unreachable!("clap requires a known subcommand"),
    }
}

/// Where a JUnit file goes.
fn junit_arg() -> Arg {
    Arg::new("junit")
        .long("junit")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Also write the results as a JUnit file")
        .help_heading("Output")
}

/// An earlier run to compare with.
fn compare_arg() -> Arg {
    Arg::new("compare-to")
        .long("compare-to")
        .value_name("RUN")
        .help("Also say how verdict, rate and latencies differ from those of an earlier run, and keep that in the results")
        .help_heading("Output")
}

/// The run that is named to compare with, if one is.
fn earlier(matches: &ArgMatches) -> anyhow::Result<Option<Earlier>> {
    let store = matches.get_one::<PathBuf>("store");
    let (Some(name), Some(store)) = (matches.get_one::<String>("compare-to"), store) else {
        return Ok(None);
    };
    let found = RunFolder::resolve(store, name).and_then(|folder| Earlier::read(&folder));
    found
        .map(Some)
        .map_err(|error| BadArguments(format!("--compare-to: {error}")).into())
}

/// The configuration file: `--config FILE`, or `gainsay.toml` here, if it is there.
fn config_file(arguments: &[String]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(file) = argument.strip_prefix("--config=") {
            return Some(PathBuf::from(file));
        }
    }
    let here = PathBuf::from(config::DEFAULT_FILE);
    here.exists().then_some(here)
}

const ABOUT: &str = "Tests distributed systems: breaks them for real, and proves whether they kept \
                     their promises";

const EXAMPLES: &str = "\
Examples:
  gainsay demo
      Find a planted bug in a simulated store. No root, no network, ten seconds.
  gainsay test etcd --setup --local 5 --workload register --nemesis partition,kill,pause
      Five etcd nodes on this machine, broken and checked.
  gainsay test etcd --nodes n1,n2,n3 --username admin --ssh-private-key ~/.ssh/id_ed25519
      The same on hosts of your own.
  gainsay check history.jsonl --model cas-register
      Only check a history.

Exit codes: 0 valid, 1 invalid, 2 unknown, 254 bad arguments, 255 crash or harness failure,
130 interrupted before there was a verdict (Ctrl-C during set-up, or twice).";

fn command(suites: &Suites) -> Command {
    let mut test = Command::new("test")
        .about("Run a test of a system")
        .subcommand_required(true)
        .subcommand_value_name("SYSTEM")
        .subcommand_help_heading("Systems");
    for suite in suites.iter() {
        test = test.subcommand(args::suite_command(suite.as_ref()));
    }
    Command::new("gainsay")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(test)
        .subcommand(test_all::command())
        .subcommand(demo::command())
        .subcommand(analyze::command())
        .subcommand(check::command())
        .subcommand(lint::command())
        .subcommand(import::command())
        .subcommand(export::command())
        .subcommand(runs::command())
        .subcommand(nodes::command())
        .subcommand(heal::command())
        .subcommand(serve::command())
        .subcommand(list::command())
        .subcommand(explain::command())
        .subcommand(schema::command())
        .subcommand(doctor::command())
        .subcommand(
            Command::new("completions")
                .about("Print completions for a shell")
                .arg(
                    Arg::new("shell")
                        .required(true)
                        .action(ArgAction::Set)
                        .value_parser(value_parser!(clap_complete::Shell)),
                ),
        )
}

fn completions(mut command: Command, matches: &ArgMatches) -> anyhow::Result<Exit> {
    if let Some(shell) = matches.get_one::<clap_complete::Shell>("shell") {
        clap_complete::generate(*shell, &mut command, "gainsay", &mut std::io::stdout());
    }
    Ok(Exit::Valid)
}
