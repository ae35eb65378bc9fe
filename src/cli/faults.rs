//! The flags about faults: which, when, and how many nodes at once.

use std::path::Path;

use anyhow::Result;
use clap::ArgMatches;
use clap::parser::ValueSource;
use nemeses::{Composition, Order, Quiet, Script};
use store::RunFolder;

use super::BadArguments;
use crate::spec::{TestSpec, parse_duration};

/// What the flags say about faults.
pub(super) struct Faults {
    pub(super) nemesis: String,
    pub(super) composition: Composition,
    pub(super) schedule: Option<String>,
}

impl Faults {
    /// Reads the flags, for so many nodes.
    pub(super) fn read(matches: &ArgMatches, nodes: usize) -> Result<Faults> {
        let text = |name| matches.get_one::<String>(name).cloned();
        let schedule = text("schedule");
        let order = match schedule.as_deref() {
            None | Some("overlapping") => Order::Overlapping,
            Some("alternating") => Order::Alternating,
            Some(path) => Order::Scripted(script(Path::new(path))?),
        };
        let mut nemesis = text("nemesis").unwrap_or_default();
        if let Order::Scripted(script) = &order {
            let theirs = script.nemesis().map_err(|why| wrong("schedule", why))?;
            let given = matches.value_source("nemesis") != Some(ValueSource::DefaultValue);
            if given && nemesis != theirs {
                let why =
                    format!("the faults are those of the script, {theirs}; leave --nemesis out");
                return Err(wrong("nemesis", why));
            }
            nemesis = theirs;
        }
        let quiet = text("quiet-periods").map(|text| quiet(&text)).transpose()?;
        let max_down = text("max-down").map(|text| nemeses::parse_max_down(&text, nodes));
        let max_down = max_down.transpose().map_err(|why| wrong("max-down", why))?;
        Ok(Faults {
            nemesis,
            composition: Composition {
                order,
                quiet,
                max_down,
            },
            schedule,
        })
    }
}

fn wrong(flag: &str, why: impl std::fmt::Display) -> anyhow::Error {
    BadArguments(format!("--{flag}: {why}")).into()
}

/// The script in a file, or that of the faults of an earlier run.
fn script(path: &Path) -> Result<Script> {
    let unreadable = |error: &dyn std::fmt::Display| {
        wrong(
            "schedule",
            format!(
                "{}: {error}\n  hint: write `overlapping`, `alternating`, the name of a file with activities, or the folder of \
                 a run",
                path.display()
            ),
        )
    };
    if path.is_dir() {
        return of_run(path).map_err(|error| unreadable(&crate::words::describe(&error)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    toml::from_str(&text).map_err(|error| unreadable(&error))
}

fn of_run(path: &Path) -> Result<Script> {
    let folder = RunFolder::open(path)?;
    let spec: TestSpec = folder.read_test()?;
    let faults = nemeses::parse(&spec.nemesis)?;
    let loaded = store::load_history(&folder.history_path())?;
    Ok(nemeses::replay(&faults, loaded.history.events()))
}

fn quiet(text: &str) -> Result<Quiet> {
    let halves = text.split_once('/');
    let read = halves.map(|(every, lasts)| (parse_duration(every), parse_duration(lasts)));
    match read {
        Some((Ok(every), Ok(lasts))) if lasts < every && !lasts.is_zero() => {
            Ok(Quiet { every, lasts })
        }
        _ => {
            let why = format!("`{text}`: write EVERY/LENGTH, the length shorter, such as 30s/5s");
            Err(wrong("quiet-periods", why))
        }
    }
}
