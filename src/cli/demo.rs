//! `gainsay demo`: a planted bug in a simulated store, found and explained in seconds.

use anyhow::{Context, Result};
use checkers::Valid;
use clap::{ArgMatches, Command};

use super::{args, test};
use crate::exit::Exit;
use crate::run::{self, Inventory, LocalRequest, RunRequest};
use crate::suites::Suites;

/// What `gainsay test` is given for the demonstration.
const ARGUMENTS: &[&str] = &[
    "sim",
    "--workload",
    "register",
    "--bug",
    "stale-reads",
    "--nemesis",
    "partition,kill,pause",
    "--time-limit",
    "20s",
    "--seed",
    "1",
];

pub(super) fn command() -> Command {
    Command::new("demo")
        .about("Find a planted bug in a simulated store: no root, no network, ten seconds")
        .args(args::output_args())
}

pub(super) fn run(suites: &Suites, matches: &ArgMatches, _arguments: &[String]) -> Result<Exit> {
    let suite = suites
        .get("sim")
        .context("this build has no simulated store")?
        .clone();
    let output = args::output(matches);
    run::log::start(&output);
    let words = ARGUMENTS.iter().copied();
    let inner = args::suite_command(suite.as_ref()).get_matches_from(words.clone());
    let mut command = vec!["gainsay".to_owned(), "test".to_owned()];
    command.extend(words.map(str::to_owned));
    let parsed = args::test_args_of(suite.as_ref(), &inner, &command)?;
    let stop = run::signals::watch()?;
    output.say(
        "A store of three replicas, simulated in this process, with a bug that real systems have had:\n\
         a replica answers reads from its own state without asking the others. Clients read, write and\n\
         compare-and-set registers on it while its network is cut and its processes are killed and\n\
         paused. Then the history of what they saw is checked.\n",
    );
    output.say(&format!("$ {}\n", command.join(" ")));
    let none = LocalRequest::default();
    let inventory = Inventory::acquire(&parsed.spec.nodes, &none, None, &output)?;
    let store = matches
        .get_one::<std::path::PathBuf>("store")
        .context("it has a default")?;
    let finished = run::execute(RunRequest {
        suite: suite.as_ref(),
        spec: parsed.spec,
        inventory: &inventory,
        store,
        labels: &parsed.labels,
        earlier: None,
        output,
        stop,
        force_unlock: false,
    })?;
    test::print(&finished, &output);
    if finished.results.valid != Valid::False {
        output
            .say("\nThe planted bug was not found. That is a defect of Gainsay: please report it.");
        return Ok(Exit::Failure);
    }
    output.say(
        "\nThis is what was planted, found. Open the report in a browser to see the operations.\n\
         Next: `gainsay test sim --help`, or a real system on this machine:\n  \
         gainsay test etcd --setup --local 5 --workload register --nemesis partition,kill,pause",
    );
    Ok(Exit::Valid)
}
