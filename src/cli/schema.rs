//! `gainsay schema`: what the objects of `--json` look like, as JSON Schema.

use anyhow::Result;
use clap::{Arg, ArgMatches, Command};

use super::output::outln;
use crate::exit::Exit;

/// What is printed by `test`, `analyze` and `test-all`.
pub(super) const TEST: &str = include_str!("../../docs/schema/test.json");
/// What is printed by `check`.
pub(super) const CHECK: &str = include_str!("../../docs/schema/check.json");

pub(super) fn command() -> Command {
    Command::new("schema")
        .about("Print the JSON Schema of what --json prints")
        .arg(
            Arg::new("of")
                .value_name("COMMAND")
                .default_value("test")
                .value_parser(["test", "analyze", "test-all", "check"])
                .help("Whose output: test, analyze and test-all print the same"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let schema = match matches.get_one::<String>("of").map(String::as_str) {
        Some("check") => CHECK,
        _ => TEST,
    };
    outln!("{}", schema.trim_end());
    Ok(Exit::Valid)
}
