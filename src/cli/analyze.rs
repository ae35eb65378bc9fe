//! `gainsay analyze RUN`: judge a stored history again, with this version's checkers.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command};
use store::RunFolder;

use super::{BadArguments, args, test};
use crate::check::{Results, RunFacts};
use crate::exit::Exit;
use crate::run;
use crate::spec::TestSpec;
use crate::suites::Suites;

pub(super) fn command() -> Command {
    Command::new("analyze")
        .about("Check a stored run again, and keep the earlier results")
        .after_help(
            "RUN is a folder, `latest`, a test such as etcd-register, or a beginning of its time or id.",
        )
        .arg(Arg::new("run").value_name("RUN").default_value("latest"))
        .args(args::output_args())
        .arg(super::compare_arg())
}

pub(super) fn run(suites: &Suites, matches: &ArgMatches) -> Result<Exit> {
    let output = args::output(matches);
    let store = matches
        .get_one::<PathBuf>("store")
        .context("it has a default")?;
    let name = matches
        .get_one::<String>("run")
        .context("it has a default")?;
    let folder = RunFolder::resolve(store, name)?;
    let spec: TestSpec = folder.read_test()?;
    if let Some(imported) = &spec.imported {
        let message = format!(
            "{} was imported from {}: nothing says what it is to be checked for\n  \
             hint: gainsay check {} --model MODEL; `gainsay list models` has them",
            folder.name(),
            imported.file,
            folder.id()
        );
        return Err(BadArguments(message).into());
    }
    let _held = folder.hold()?;
    if !folder.history_path().exists() {
        bail!(
            "{} has no history: the run ended before its first operation; {} says why",
            folder.path().display(),
            folder.log_path().display()
        );
    }
    let suite = suites.get(&spec.suite)?;
    output.say(&format!("run     {}", folder.path().display()));
    let facts = facts(&folder);
    let earlier = super::earlier(matches)?;
    if let Some(kept) = folder.keep_results()? {
        output.say(&format!("earlier {}", kept.display()));
    }
    let finished = run::judge(
        suite.as_ref(),
        &spec,
        &folder,
        &facts,
        earlier.as_ref(),
        &output,
        None,
    )?;
    test::print(&finished, &output);
    Ok(finished.exit)
}

/// What was known of the run besides its history, when it was judged first.
fn facts(folder: &RunFolder) -> RunFacts {
    let failure = match folder.read_results::<Results>() {
        Ok(results) => return results.facts(),
        Err(_) if !folder.results_path().exists() => {
            "it has no results: it did not come to its end".to_owned()
        }
        Err(error) => format!("what was known of it besides its history is lost: {error}"),
    };
    RunFacts {
        failure: Some(failure),
        ..RunFacts::default()
    }
}
