//! `gainsay test SYSTEM`.

use anyhow::{Result, bail};
use checkers::Valid;
use clap::ArgMatches;
use harness::interpreter::Stage;
use serde_json::json;

use super::Output;
use super::args::{self, TestArgs};
use super::output::outln;
use crate::exit::Exit;
use crate::report;
use crate::run::{self, Finished, Inventory, LocalRequest, RunRequest};
use crate::spec::TestSpec;
use crate::suites::Suites;

pub(super) fn run(suites: &Suites, matches: &ArgMatches, arguments: &[String]) -> Result<Exit> {
    let Some((name, matches)) = matches.subcommand() else {
        unreachable!("clap requires a system");
    };
    let suite = suites.get(name)?.clone();
    let args = args::test_args_of(suite.as_ref(), matches, arguments)?;
    run::check_faults(&args.spec).map_err(super::BadArguments)?;
    run::log::start(&args.output);
    let stop = run::signals::watch()?;
    let TestArgs { spec, output, .. } = args;
    let local = LocalRequest {
        packages: suite.packages(),
        setup: args.setup,
    };
    let inventory = Inventory::acquire(&spec.nodes, &local, args.password, &output)?;
    if stop.stage() != Stage::Run {
        inventory.release(&output)?;
        bail!(run::Interrupted::Unrecorded);
    }
    let mut exit = Exit::Valid;
    for turn in 0..args.count {
        let mut spec: TestSpec = spec.clone();
        spec.seed = spec.seed.wrapping_add(turn);
        let finished = run::execute(RunRequest {
            suite: suite.as_ref(),
            spec,
            inventory: &inventory,
            store: &args.store,
            labels: &args.labels,
            output,
            stop: stop.clone(),
            force_unlock: args.force_unlock,
        });
        let this = match finished {
            Ok(finished) => {
                print(&finished, &output);
                finished.exit
            }
            Err(error) => super::failed(&error),
        };
        exit = exit.and(this);
        if this != Exit::Valid || stop.stage() != Stage::Run {
            break;
        }
    }
    // A verdict is not hidden by nodes that did not go.
    if let Err(error) = inventory.release(&output) {
        exit = exit.and(super::failed(&error));
    }
    Ok(exit)
}

/// Prints the verdict: an object for machines, or a few lines for a person.
pub(super) fn print(finished: &Finished, output: &Output) {
    let Finished {
        folder,
        results,
        exit,
    } = finished;
    let report = folder.report_path();
    if output.json {
        let object = json!({
            "run": folder.path(),
            "valid": results.valid,
            "reason": results.reason,
            "seed": results.seed,
            "harness_failure": results.harness_failure,
            "stopped": results.stopped,
            "exit": exit.code(),
            "report": report,
            "results": folder.results_path(),
        });
        outln!("{object}");
        return;
    }
    let (code, word) = match results.valid {
        Valid::True => ("1;32", "VALID"),
        Valid::False => ("1;31", "INVALID"),
        Valid::Unknown => ("1;33", "UNKNOWN"),
    };
    outln!();
    outln!("{}  {}", output.paint(code, word), results.reason);
    for line in report::explanation(results) {
        outln!("{line}");
    }
    for line in report::fault_lines(results) {
        outln!("{line}");
    }
    if let Some(failure) = &results.harness_failure {
        outln!("test    {failure}");
    }
    if let Some(stopped) = &results.stopped {
        outln!(
            "stopped after {:.3} s, by the online checker {}",
            stopped.at,
            stopped.by
        );
    }
    for note in &results.notes {
        outln!("note    {note}");
    }
    outln!("seed    {}", results.seed);
    outln!("report  {}", report.display());
}
