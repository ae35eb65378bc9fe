//! `gainsay.toml`: defaults for flags. Its keys are the long flags, without dashes; a table named
//! after a suite holds defaults for that suite alone. Flags win over environment over file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Command};
use toml::de::DeValue;

use super::toml_file::TomlFile;

/// The file looked for where none is named.
pub(crate) const DEFAULT_FILE: &str = "gainsay.toml";

/// Reads a file and makes its values the defaults of the `test` command's flags.
///
/// Every error names the file, the line and the key.
pub(crate) fn apply(command: Command, path: &Path) -> Result<Command> {
    let file = TomlFile::read(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    let place = |at: usize| file.place(at);
    let table = file.table()?;
    let mut test = find(&command, "test")?;
    for (key, value) in table.get_ref() {
        let at = place(key.span().start);
        let name = key.get_ref().as_ref();
        match value.get_ref() {
            DeValue::Table(inner) => {
                if test.find_subcommand(name).is_none() {
                    bail!("{at}: no suite is named {name:?}; it holds a table of its flags");
                }
                let mut suite = find(&test, name)?;
                for (key, value) in inner {
                    let at = place(key.span().start);
                    suite = set_default(suite, key.get_ref(), value.get_ref(), &at)?;
                }
                test = test.mut_subcommand(name, |_| suite);
            }
            value => {
                let suites: Vec<String> = test
                    .get_subcommands()
                    .map(|suite| suite.get_name().to_owned())
                    .collect();
                let mut known = false;
                for suite in &suites {
                    let inner = find(&test, suite)?;
                    if has_flag(&inner, name) {
                        known = true;
                        let inner = set_default(inner, name, value, &at)?;
                        test = test.mut_subcommand(suite, |_| inner);
                    }
                }
                if !known {
                    bail!("{at}: no flag is named --{name}; see `gainsay test --help`");
                }
            }
        }
    }
    Ok(command.mut_subcommand("test", |_| test))
}

fn find(command: &Command, name: &str) -> Result<Command> {
    command
        .find_subcommand(name)
        .cloned()
        .with_context(|| format!("no command {name}"))
}

fn has_flag(command: &Command, name: &str) -> bool {
    command
        .get_arguments()
        .any(|arg| arg.get_long() == Some(name))
}

fn set_default(command: Command, name: &str, value: &DeValue<'_>, at: &str) -> Result<Command> {
    let Some(arg) = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
    else {
        bail!("{at}: {} has no flag --{name}", command.get_name());
    };
    let flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let text = match value {
        DeValue::Boolean(on) if flag => on.to_string(),
        _ if flag => bail!("{at}: {name} takes true or false"),
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Array(items) => {
            let words: Option<Vec<String>> = items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    DeValue::Integer(number) => Some(number.to_string()),
                    _ => None,
                })
                .collect();
            match words {
                Some(words) => words.join(","),
                None => bail!("{at}: {name} takes a list of words"),
            }
        }
        _ => bail!("{at}: {name} takes a word, a number or a list of words"),
    };
    let id = arg.get_id().clone();
    Ok(command.mut_arg(id, |arg| arg.default_value(text)))
}
