//! The other workloads: transactions, sets, accounts and all the rest.

use std::collections::BTreeMap;

use checkers::Valid;
use sim::CATALOGUE;
use store::EventType;

use crate::run::{Spec, run};
use crate::{judge, outcomes, seeds};

/// A workload with the options that it runs under, and the functions that must succeed.
type Workload = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const WORKLOADS: &[Workload] = &[
    ("append", &[("rate", "300")], &["txn"]),
    ("rw-register", &[("rate", "300")], &["txn"]),
    (
        "set",
        &[("rate", "300"), ("reads", "0.3")],
        &["add", "read"],
    ),
    ("bank", &[("rate", "300")], &["transfer", "read"]),
    (
        "counter",
        &[("rate", "300")],
        &["add", "read", "final-read"],
    ),
    (
        "counter",
        &[("rate", "300"), ("decrements", "true")],
        &["add", "read", "final-read"],
    ),
    (
        "dirty-read",
        &[("rate", "300")],
        &["write", "read", "strong-read"],
    ),
    (
        "lost-update",
        &[("rate", "300")],
        &["add", "read", "final-read"],
    ),
    (
        "divergence",
        &[("rate", "300")],
        &["write", "read", "final-read"],
    ),
    ("causal", &[("rate", "300")], &["txn"]),
    ("causal-reverse", &[("rate", "300")], &["txn"]),
    ("long-fork", &[("rate", "300")], &["txn"]),
    ("write-skew", &[("rate", "300")], &["txn"]),
    (
        "monotonic-reads",
        &[("rate", "300")],
        &["add", "read", "final-read"],
    ),
];

#[test]
fn without_a_bug_no_workload_is_invalid() {
    for (workload, options, functions) in WORKLOADS {
        for seed in seeds(10) {
            let spec = Spec {
                workload,
                nodes: [3, 5, 2, 4][seed as usize % 4],
                options: options.to_vec(),
                ..Spec::new(seed)
            };
            let events = run(&spec);
            let result = judge(workload, &events);
            assert_eq!(
                result.valid,
                Valid::True,
                "{workload}, seed {seed}: {}",
                result.reason
            );
            let counts = outcomes(&events);
            for f in *functions {
                assert!(
                    counts[&(*f, EventType::Ok.as_str())] >= 5,
                    "{workload}, seed {seed}: {counts:?}"
                );
            }
        }
    }
}

/// Whether a workload can tell nothing of a bug.
fn is_blind(workload: &str, bug: &str) -> bool {
    match bug {
        // To a bank's totals, a whole transaction more or less makes no difference.
        _ if workload == "bank" => bug != "fractured-reads",
        // Operations on one key are not seen in pieces, and read nothing that they do not write.
        "fractured-reads" | "write-skew" => {
            !matches!(workload, "append" | "rw-register" | "write-skew")
        }
        _ => false,
    }
}

/// In ten seconds, with the faults that bring it out. Fails unless each bug is found in at least 95 of 100 seeds by each workload that
/// it shows in, and never by one that is blind to it. Others find it now and then.
#[test]
fn bugs_are_found_by_the_workloads_that_they_show_in() {
    let mut wrong = Vec::new();
    for (workload, options, _) in WORKLOADS {
        for entry in CATALOGUE {
            let mut verdicts: BTreeMap<String, u64> = BTreeMap::new();
            for seed in seeds(3) {
                let spec = Spec {
                    workload,
                    nemesis: entry.trigger,
                    options: [options, &[("bug", entry.name)][..]].concat(),
                    ..Spec::new(seed)
                };
                let verdict = judge(workload, &run(&spec)).valid;
                *verdicts.entry(verdict.to_string()).or_default() += 1;
            }
            println!("{workload}, {}: {verdicts:?}", entry.name);
            let hits = verdicts
                .get(&Valid::False.to_string())
                .copied()
                .unwrap_or_default();
            let total: u64 = verdicts.values().sum();
            let as_expected = match entry.workloads.contains(workload) {
                true => hits * 100 >= total * 95,
                false => hits == 0 || !is_blind(workload, entry.name),
            };
            if !as_expected {
                wrong.push(format!("{workload}, {}: {verdicts:?}", entry.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
