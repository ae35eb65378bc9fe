//! Runs of the simulated store from one end to the other, with its faults and the checker.
//!
//! `GAINSAY_SIM_SEEDS=10000` makes each test take that many seeds; 100 and more are for release
//! builds. Seeds begin at `GAINSAY_SIM_FIRST_SEED`, 0 by default.

#![allow(clippy::unwrap_used)]

mod run;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use checkers::budget::Unlimited;
use checkers::{CheckResult, Valid, check};
use run::{Spec, run};
use sim::{CATALOGUE, SimSuite};
use store::{Event, EventType};
use workloads::{Options, Suite};

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().unwrap())
}

fn seeds(default: u64) -> Range<u64> {
    let first = number("GAINSAY_SIM_FIRST_SEED", 0);
    first..first + number("GAINSAY_SIM_SEEDS", default)
}

/// The verdict of the workload's own checker.
fn judge(events: &[Event]) -> CheckResult {
    let checkers = SimSuite.checkers("register", &Options::default()).unwrap();
    assert_eq!(checkers.len(), 1);
    check(&mut *(checkers[0].make)(), events, &Unlimited)
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
        let result = judge(&events);
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

/// How many of some seeds find a bug.
fn hits(bug: &str, seeds: Range<u64>) -> u64 {
    let found = seeds.filter(|seed| {
        let spec = Spec {
            options: {
                let mut o: Vec<(&str, &str)> = vec![("bug", bug)];
                if let Ok(x) = std::env::var("X_OPTS") {
                    let x: &'static str = x.leak();
                    for p in x.split(',') {
                        o.push(p.split_once('=').unwrap());
                    }
                }
                o
            },
            time_limit: std::time::Duration::from_secs(number("X_TIME", 10)),
            nemesis: std::env::var("X_NEM").map_or("partition,kill,pause", |x| x.leak()),
            ..Spec::new(*seed)
        };
        judge(&run(&spec)).valid == Valid::False
    });
    found.count() as u64
}

#[test]
fn every_bug_is_found() {
    let mut missed = Vec::new();
    for entry in CATALOGUE.iter().filter(|e| {
        std::env::var("X_BUG").is_ok_and(|b| b.contains(e.name)) || std::env::var("X_BUG").is_err()
    }) {
        let seeds = seeds(3);
        let total = seeds.end - seeds.start;
        let hits = hits(entry.name, seeds);
        println!("{}: {hits} of {total}", entry.name);
        if hits * 100 < total * 95 {
            missed.push(entry.name);
        }
    }
    assert!(missed.is_empty(), "missed too often: {missed:?}");
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

#[test]
fn zz_debug() {
    for seed in seeds(40) {
        let spec = Spec {
            options: vec![("bug", "unsynced-log")],
            nemesis: "kill:target=all",
            ..Spec::new(seed)
        };
        let events = run(&spec);
        if judge(&events).valid == Valid::True {
            println!("seed {seed} {:?}", outcomes(&events));
            for event in &events {
                println!("{}", serde_json::to_string(event).unwrap());
            }
            break;
        }
    }
}
