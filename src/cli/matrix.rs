//! The file of `gainsay test-all`: which runs there are.
//!
//! Keys are the long flags of `gainsay test SYSTEM`. A table named after a system has the flags of its runs, and `[[system]]` several such; what stands
//! before the tables is of all systems; `false` leaves a flag out. A list means each of its values, so that a table stands for every combination; of a flag that takes a
//! list itself (`nodes`, `zone`, `label`), a list is one value, and a list of lists each of them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, Command};
use harness::options::unknown;
use toml::de::DeValue;

use super::toml_file::TomlFile;

/// Flags that are of the whole command.
const WHOLE: [&str; 7] = [
    "config",
    "store",
    "json",
    "quiet",
    "verbose",
    "junit",
    "compare-to",
];

/// More runs than this are a mistake.
const CELLS_MAX: usize = 10_000;

/// One combination.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    /// The system.
    pub(super) suite: String,
    /// What is different in it from others, for a person: `workload=register nemesis=kill`.
    pub(super) name: String,
    /// Its flags as they are given: `--workload=register`.
    pub(super) flags: Vec<String>,
    /// Where in the file its table is.
    pub(super) place: String,
}

/// A key with the values that it goes through.
struct Axis {
    name: String,
    is_flag: bool,
    /// `None` leaves the flag out.
    values: Vec<Option<String>>,
}

/// Reads the file. `test` is the command with a subcommand for each system.
///
/// # Errors
/// The place, the key, and what is meant perhaps.
pub(super) fn read(path: &Path, test: &Command) -> Result<Vec<Cell>> {
    let file = TomlFile::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let place = |at: usize| file.place(at);
    let table = file.table()?;
    let suites: Vec<&str> = test.get_subcommands().map(Command::get_name).collect();
    let mut common = Vec::new();
    let mut tables = Vec::new();
    for (key, value) in table.get_ref() {
        let (name, at) = (key.get_ref().as_ref(), key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => tables.push((name, inner, at)),
            DeValue::Array(items)
                if items
                    .iter()
                    .any(|item| matches!(item.get_ref(), DeValue::Table(_))) =>
            {
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(inner) => tables.push((name, inner, item.span().start)),
                        _ => bail!("{}: [[{name}]] holds tables only", place(item.span().start)),
                    }
                }
            }
            value => common.push((name, value, at)),
        }
    }
    // In the order of the file.
    tables.sort_by_key(|(_, _, at)| *at);
    if tables.is_empty() {
        bail!(
            "{}: no system is named; a table such as [{}] holds its flags",
            path.display(),
            suites.first().unwrap_or(&"etcd")
        );
    }
    let mut cells = Vec::new();
    for (suite, inner, at) in tables {
        let Some(command) = test.find_subcommand(suite) else {
            bail!(
                "{}: no system is named {suite:?}{}",
                place(at),
                unknown(suite, &suites)
            );
        };
        let mut entries: Vec<(&str, &DeValue<'_>, usize)> = Vec::new();
        for (key, value) in inner {
            entries.push((key.get_ref().as_ref(), value.get_ref(), key.span().start));
        }
        for entry @ (name, _, at) in &common {
            let known = test
                .get_subcommands()
                .any(|suite| find(suite, name).is_some());
            if !known {
                bail!(
                    "{}: no flag is named --{name}{}",
                    place(*at),
                    did_you_mean(command, name)
                );
            }
            if find(command, name).is_some() && !entries.iter().any(|(own, _, _)| own == name) {
                entries.push(*entry);
            }
        }
        entries.sort_by_key(|(_, _, at)| *at);
        let mut axes = Vec::new();
        for (name, value, at) in entries {
            axes.push(axis(command, name, value, &place(at))?);
        }
        expand(suite, &axes, &place(at), &mut cells)?;
    }
    Ok(cells)
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
}

fn did_you_mean(command: &Command, name: &str) -> String {
    let known: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
    match harness::options::nearest(name, &known) {
        Some(near) => format!(
            " (did you mean {near}?); see `gainsay test {} --help`",
            command.get_name()
        ),
        None => format!("; see `gainsay test {} --help`", command.get_name()),
    }
}

fn axis(command: &Command, name: &str, value: &DeValue<'_>, at: &str) -> Result<Axis> {
    if WHOLE.contains(&name) {
        bail!("{at}: --{name} is of all runs; give it to `gainsay test-all`");
    }
    let Some(arg) = find(command, name) else {
        bail!(
            "{at}: {} has no flag --{name}{}",
            command.get_name(),
            did_you_mean(command, name)
        );
    };
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let takes_list = matches!(arg.get_action(), ArgAction::Append);
    let is_list = |value: &DeValue<'_>| matches!(value, DeValue::Array(_));
    let one = |value: &DeValue<'_>| match value {
        DeValue::Boolean(false) => Ok(None),
        DeValue::Boolean(true) if is_flag => Ok(Some(String::new())),
        _ if is_flag => bail!("{at}: {name} takes true or false, or a list of both"),
        DeValue::Array(items) if takes_list => {
            let words = items.iter().map(|item| scalar(name, item.get_ref(), at));
            Ok(Some(words.collect::<Result<Vec<_>>>()?.join(",")))
        }
        value => scalar(name, value, at).map(Some),
    };
    let values = match value {
        DeValue::Array(items)
            if !takes_list || items.iter().any(|item| is_list(item.get_ref())) =>
        {
            items
                .iter()
                .map(|item| one(item.get_ref()))
                .collect::<Result<Vec<_>>>()?
        }
        value => vec![one(value)?],
    };
    if values.is_empty() {
        bail!("{at}: {name} has no value, so that there would be no run");
    }
    Ok(Axis {
        name: name.to_owned(),
        is_flag,
        values,
    })
}

fn scalar(name: &str, value: &DeValue<'_>, at: &str) -> Result<String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        _ => bail!("{at}: {name} takes a word or a number, or a list of those"),
    }
}

/// Every combination, the last key fastest.
fn expand(suite: &str, axes: &[Axis], place: &str, cells: &mut Vec<Cell>) -> Result<()> {
    let count = axes
        .iter()
        .try_fold(1usize, |count, axis| count.checked_mul(axis.values.len()));
    let count = count.filter(|count| cells.len() + count <= CELLS_MAX);
    let Some(count) = count else {
        bail!("{place}: these are more than {CELLS_MAX} runs");
    };
    for at in 0..count {
        let mut rest = at;
        let mut chosen: Vec<Option<&str>> = vec![None; axes.len()];
        for (axis, chosen) in axes.iter().zip(&mut chosen).rev() {
            *chosen = axis.values[rest % axis.values.len()].as_deref();
            rest /= axis.values.len();
        }
        let mut flags = Vec::new();
        let mut name = Vec::new();
        for (axis, value) in axes.iter().zip(chosen) {
            let shown = match value {
                Some(_) if axis.is_flag => "true",
                Some(value) => value,
                None => "false",
            };
            match value {
                Some(_) if axis.is_flag => flags.push(format!("--{}", axis.name)),
                Some(value) => flags.push(format!("--{}={value}", axis.name)),
                None => {}
            }
            if axis.values.len() > 1 {
                name.push(format!("{}={shown}", axis.name));
            }
        }
        let name = match name.is_empty() {
            true => suite.to_owned(),
            false => format!("{suite} {}", name.join(" ")),
        };
        cells.push(Cell {
            suite: suite.to_owned(),
            name,
            flags,
            place: place.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn cells(text: &str) -> Result<Vec<Cell>> {
        let suites = crate::suites::Suites::new(crate::suites());
        let mut test = Command::new("test");
        for suite in suites.iter() {
            test = test.subcommand(crate::cli::args::suite_command(suite.as_ref()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, &test)
    }

    fn lines(text: &str) -> Vec<String> {
        let cells = cells(text).unwrap();
        cells
            .iter()
            .map(|cell| format!("{} | {} {}", cell.name, cell.suite, cell.flags.join(" ")))
            .collect()
    }

    #[test]
    fn a_table_is_every_combination_of_its_lists() {
        let text = "
time-limit = \"5s\"
seed = [1, 2]

[sim]
nemesis = [\"none\", \"partition,kill\"]
rate = [100.5]
stop-on-violation = [true, false]

[[etcd]]
local = 5
seed = 9
nodes = [\"a\", \"b\"]
zone = [[\"a=x\", \"b=y\"], [\"a=x\"]]

[[etcd]]
";
        assert_eq!(
            lines(text),
            [
                "sim seed=1 nemesis=none stop-on-violation=true | sim --time-limit=5s --seed=1 --nemesis=none --rate=100.5 --stop-on-violation",
                "sim seed=1 nemesis=none stop-on-violation=false | sim --time-limit=5s --seed=1 --nemesis=none --rate=100.5",
                "sim seed=1 nemesis=partition,kill stop-on-violation=true | sim --time-limit=5s --seed=1 --nemesis=partition,kill --rate=100.5 --stop-on-violation",
                "sim seed=1 nemesis=partition,kill stop-on-violation=false | sim --time-limit=5s --seed=1 --nemesis=partition,kill --rate=100.5",
                "sim seed=2 nemesis=none stop-on-violation=true | sim --time-limit=5s --seed=2 --nemesis=none --rate=100.5 --stop-on-violation",
                "sim seed=2 nemesis=none stop-on-violation=false | sim --time-limit=5s --seed=2 --nemesis=none --rate=100.5",
                "sim seed=2 nemesis=partition,kill stop-on-violation=true | sim --time-limit=5s --seed=2 --nemesis=partition,kill --rate=100.5 --stop-on-violation",
                "sim seed=2 nemesis=partition,kill stop-on-violation=false | sim --time-limit=5s --seed=2 --nemesis=partition,kill --rate=100.5",
                "etcd zone=a=x,b=y | etcd --time-limit=5s --local=5 --seed=9 --nodes=a,b --zone=a=x,b=y",
                "etcd zone=a=x | etcd --time-limit=5s --local=5 --seed=9 --nodes=a,b --zone=a=x",
                "etcd seed=1 | etcd --time-limit=5s --seed=1",
                "etcd seed=2 | etcd --time-limit=5s --seed=2",
            ]
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, place, told) in [
            ("[sim]\nnemsis = \"kill\"", ":2: ", "did you mean nemesis?"),
            ("nemsis = \"kill\"\n[sim]", ":1: ", "did you mean nemesis?"),
            ("[simm]", ":1: ", "did you mean `sim`?"),
            (
                "[sim]\n\njson = true",
                ":3: ",
                "give it to `gainsay test-all`",
            ),
            ("[sim]\nnemesis = []", ":2: ", "no value"),
            ("[sim]\nnemesis = { a = 1 }", ":2: ", "takes a word"),
            (
                "[sim]\nstop-on-violation = \"yes\"",
                ":2: ",
                "true or false",
            ),
            (
                "[sim]\nnode-count = [[1]]",
                ":2: ",
                "takes a word or a number",
            ),
            ("seed = 1", "all.toml: ", "no system is named"),
            ("[sim]\nseed = ", ":2: ", "not valid TOML"),
            ("sim = [1, {seed = 1}]", ":1: ", "tables only"),
        ] {
            let error = cells(text).unwrap_err().to_string();
            assert!(
                error.contains(place) && error.contains(told),
                "{text:?}: {error}"
            );
        }
        let many = (0..101)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(",");
        let error = cells(&format!("[sim]\nseed = [{many}]\nrate = [{many}]")).unwrap_err();
        assert!(error.to_string().contains("more than 10000 runs"));
    }
}
