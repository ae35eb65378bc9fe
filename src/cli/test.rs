//! `gainsay test SYSTEM`.

use std::time::Instant;

use anyhow::{Result, bail};
use checkers::Valid;
use clap::ArgMatches;
use harness::interpreter::Stage;

use super::Output;
use super::args::{self, TestArgs};
use super::output::outln;
use super::told::Told;
use crate::ci::{Case, Record};
use crate::compare::Comparison;
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
    let earlier = super::earlier(matches)?;
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
    let mut record = Record::new(
        format!("gainsay test {name}"),
        matches.get_one("junit").cloned(),
    );
    let mut exit = Exit::Valid;
    for turn in 0..args.count {
        let mut spec: TestSpec = spec.clone();
        spec.seed = spec.seed.wrapping_add(turn);
        let (begun, seed) = (Instant::now(), spec.seed);
        let test = format!("{}-{}", spec.suite, spec.workload);
        let finished = run::execute(RunRequest {
            suite: suite.as_ref(),
            spec,
            inventory: &inventory,
            store: &args.store,
            labels: &args.labels,
            earlier: earlier.as_ref(),
            output,
            stop: stop.clone(),
            force_unlock: args.force_unlock,
        });
        let this = match finished {
            Ok(finished) => {
                let told = print(&finished, &output);
                record.add(told.case(format!("seed {seed}"), finished.exit, begun.elapsed()));
                finished.exit
            }
            Err(error) => {
                let exit = super::failed(&error);
                record.add(Case {
                    group: test,
                    name: format!("seed {seed}"),
                    exit,
                    reason: crate::words::describe(&error),
                    details: Vec::new(),
                    time: begun.elapsed(),
                    properties: vec![("seed", seed.to_string())],
                });
                exit
            }
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
    Ok(exit.and(record.finish(&output)))
}

/// Prints the verdict: an object for machines, or a few lines for a person.
pub(super) fn print(finished: &Finished, output: &Output) -> Told {
    let told = Told::of(finished);
    let Finished {
        folder, results, ..
    } = finished;
    let report = folder.report_path();
    if output.json {
        match serde_json::to_string(&told) {
            Ok(line) => outln!("{line}"),
            Err(error) => eprintln!("error: {error}"),
        }
        return told;
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
    for line in results.comparison.iter().flat_map(Comparison::lines) {
        outln!("{line}");
    }
    outln!("seed    {}", results.seed);
    outln!("report  {}", report.display());
    told
}
