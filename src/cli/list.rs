//! `gainsay list`: what this build knows.

use anyhow::Result;
use checkers::transactions::LEVELS;
use clap::{Arg, ArgMatches, Command};

use super::output::outln;
use crate::exit::Exit;
use crate::suites::Suites;

pub(super) fn command() -> Command {
    Command::new("list")
        .about("List systems, faults or models")
        .arg(
            Arg::new("what")
                .value_name("WHAT")
                .default_value("systems")
                .value_parser(["systems", "faults", "models"]),
        )
}

pub(super) fn run(suites: &Suites, matches: &ArgMatches) -> Result<Exit> {
    match matches.get_one::<String>("what").map(String::as_str) {
        Some("faults") => faults(),
        Some("models") => models(),
        _ => systems(suites),
    }
    Ok(Exit::Valid)
}

fn systems(suites: &Suites) {
    for suite in suites.iter() {
        outln!("{:<12} {}", suite.name(), suite.summary());
        for workload in suite.workloads() {
            outln!("  {:<12} {}", workload.name, workload.summary);
        }
        for version in suite.versions() {
            outln!("  --version {:<12} {}", version.version, version.source);
        }
        for fault in suite.faults() {
            outln!(
                "  --nemesis system:fault={:<12} {}",
                fault.name,
                fault.summary
            );
        }
    }
}

fn models() {
    for model in super::check::models() {
        outln!("{:<22} {}", model.name, model.summary);
        outln!("  {:<20} {}", "functions", model.functions);
        outln!("  {:<20} {}", "holds first", model.initial);
    }
    outln!(
        "\nlevels of consistency of transactions (`--consistency`), strongest first; in the texts plume and awdit, read-committed, read-atomic, causal,\n\
         snapshot-isolation and serializable mean what they mean to the tools of those formats, which is that sessions are kept:"
    );
    for level in LEVELS {
        let also = level.aliases.join(", ");
        outln!("{:<34} {also}", level.name);
    }
}

fn faults() {
    for fault in nemeses::catalogue() {
        outln!("{:<12} {}", fault.name, fault.summary);
        for variant in &fault.variants {
            outln!("  :{:<18} {}", variant.name, variant.summary);
        }
    }
    outln!("\npresets:");
    for preset in nemeses::presets() {
        outln!(
            "{:<12} {} ({})",
            preset.name,
            preset.summary,
            preset.nemesis
        );
    }
    outln!(
        "\n`gainsay explain fault NAME` tells its options, what proves that it took effect, and how it is undone."
    );
}
