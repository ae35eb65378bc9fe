//! Runs of the simulated store from one end to the other, with its faults and the checker.
//!
//! `GAINSAY_SIM_SEEDS=10000` makes each test take that many seeds; 100 and more are for release
//! builds. Seeds begin at `GAINSAY_SIM_FIRST_SEED`, 0 by default.

#![allow(clippy::unwrap_used)]

mod run;
mod workloads;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use ::workloads::{Options, Suite};
use checkers::budget::Unlimited;
use checkers::{CheckResult, Valid, check};
use run::{Spec, run};
use sim::{CATALOGUE, Description, SimSuite};
use store::{Event, EventType};

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().unwrap())
}

fn seeds(default: u64) -> Range<u64> {
    let first = number("GAINSAY_SIM_FIRST_SEED", 0);
    first..first + number("GAINSAY_SIM_SEEDS", default)
}

/// The verdict of the workload's own checkers: the worst of them.
fn judge(workload: &str, events: &[Event]) -> CheckResult {
    let options = Options::read(&SimSuite.options(), []).unwrap();
    let checkers = SimSuite.checkers(workload, &options).unwrap();
    let results = checkers
        .iter()
        .map(|checker| check(&mut *(checker.make)(), events, &Unlimited));
    let severity = |result: &CheckResult| match result.valid {
        Valid::True => 0,
        Valid::Unknown => 1,
        Valid::False => 2,
    };
    results.max_by_key(severity).unwrap()
}

/// How many clients' operations of each function ended in each way.
fn outcomes(events: &[Event]) -> BTreeMap<(&str, &str), usize> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event.is_client()) {
        *counts.entry((&*event.f, event.kind.as_str())).or_default() += 1;
    }
    counts
}

#[test]
fn without_a_bug_every_run_is_valid() {
    let started = Instant::now();
    let mut operations = 0;
    for seed in seeds(10) {
        let spec = Spec {
            nodes: [3, 5, 2, 4][seed as usize % 4],
            ..Spec::new(seed)
        };
        let events = run(&spec);
        let result = judge("register", &events);
        assert_eq!(result.valid, Valid::True, "seed {seed}: {}", result.reason);
        let counts = outcomes(&events);
        operations += counts.values().sum::<usize>() / 2;
        for f in ["read", "write", "cas"] {
            assert!(
                counts[&(f, EventType::Ok.as_str())] >= 5,
                "seed {seed}: {counts:?}"
            );
        }
    }
    println!("{operations} operations, {:?}", started.elapsed());
}

fn of_registers() -> impl Iterator<Item = &'static Description> {
    let all = CATALOGUE.iter();
    all.filter(|entry| entry.workloads.contains(&"register"))
}

/// Fails unless each bug is found in at least 95 of 100 seeds.
fn find_every_bug(seeds: Range<u64>, spec: impl Fn(&Description, u64) -> Spec<'static>) {
    let total = seeds.end - seeds.start;
    let mut missed = Vec::new();
    for entry in of_registers() {
        let found = |seed: &u64| {
            let spec = Spec {
                options: vec![("bug", entry.name)],
                ..spec(entry, *seed)
            };
            judge("register", &run(&spec)).valid == Valid::False
        };
        let hits = seeds.clone().filter(found).count() as u64;
        println!("{}: {hits} of {total}", entry.name);
        if hits * 100 < total * 95 {
            missed.push(entry.name);
        }
    }
    assert!(missed.is_empty(), "missed too often: {missed:?}");
}

/// In ten seconds, with the faults that bring it out.
#[test]
fn every_bug_is_found_by_its_trigger() {
    find_every_bug(seeds(3), |entry, seed| Spec {
        nemesis: entry.trigger,
        ..Spec::new(seed)
    });
}

/// With all faults, and no knowledge of the bug: in the minute that a run lasts by default.
#[test]
fn every_bug_is_found_by_all_faults() {
    find_every_bug(seeds(1), |_, seed| Spec {
        time_limit: Duration::from_secs(60),
        ..Spec::new(seed)
    });
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let lines = |seed| -> Vec<String> {
        let events = run(&Spec::new(seed));
        events
            .iter()
            .map(|event| serde_json::to_string(event).unwrap())
            .collect()
    };
    assert_eq!(lines(1), lines(1));
    assert_ne!(lines(1), lines(2));
}
