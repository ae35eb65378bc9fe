//! `RUN|FILE`: a history, by its file or by its run, and how it is written.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches};
use store::import::{Format, ImportOptions};
use store::{RunError, RunFolder};

use crate::check::format_named;

/// The positional argument: one or many.
pub(super) fn argument() -> Arg {
    Arg::new("source").value_name("RUN|FILE").required(true)
}

/// What the argument may be, for a command's help.
pub(super) const HELP: &str = "RUN is a folder, `latest`, a test such as etcd-register, or a beginning of its time or id; \
                               FILE is a history in any format that is known.";

/// Finds a history. A file is taken as it is, also one in a run's folder.
pub(super) fn find(store: &Path, name: &str) -> Result<PathBuf> {
    let file = Path::new(name);
    if file.exists() && !file.is_dir() {
        return Ok(file.to_owned());
    }
    let run = match RunFolder::resolve(store, name) {
        Ok(run) => run,
        Err(RunError::NotFound { .. }) if name.contains(['/', '.']) => {
            bail!(
                "there is no file {name}, and no run by that name in {}",
                store.display()
            )
        }
        Err(error) => return Err(error.into()),
    };
    let path = run.history_path();
    if !path.exists() {
        bail!(
            "{} has no history: the run ended before its first operation; {} says why",
            run.path().display(),
            run.log_path().display()
        );
    }
    Ok(path)
}

/// The flags that say how a history is written, the first of them by its name.
pub(super) fn reading_args(flag: &'static str) -> [Arg; 2] {
    [
        Arg::new("from")
            .long(flag)
            .value_name("FORMAT")
            .value_parser(clap::builder::PossibleValuesParser::new(
                Format::ALL.map(Format::name),
            ))
            .help("How the history is written [default: by its content]"),
        Arg::new("keyed")
            .long("keyed")
            .action(ArgAction::SetTrue)
            .help("Take values of the form [key value] for operations on independent keys"),
    ]
}

/// How a history is written.
pub(super) struct Reading {
    /// Where the user names it.
    pub(super) format: Option<Format>,
    pub(super) options: ImportOptions,
}

/// Reads the flags that say how a history is written.
pub(super) fn reading(matches: &ArgMatches) -> Result<Reading> {
    let name = matches.get_one::<String>("from");
    Ok(Reading {
        format: name.map(|name| format_named(name)).transpose()?,
        options: ImportOptions {
            keyed: matches.get_flag("keyed"),
        },
    })
}
