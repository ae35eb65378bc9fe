//! What the workload asks for, seen by the simulator of generators.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use harness::generator::simulate::{Ending, Step, roster, simulate};
use harness::seed::Seed;
use harness::time::VirtualRuntime;
use store::{EventType, Name};

use super::*;

const MILLISECOND: u64 = 1_000_000;

fn build(given: &[(&str, &str)], workers: usize, seed: u64) -> Result<BoxGenerator, BuildError> {
    let options = Options::read(&options(), given.iter().copied()).unwrap();
    let nodes: Vec<Name> = roster(workers).nodes;
    generator(&BuildRequest {
        workload: NAME,
        options: &options,
        nodes: &[],
        node_names: &nodes,
        workers,
        time_limit: Duration::from_secs(10),
        op_timeout: Duration::from_secs(5),
        seed: Seed::new(seed),
        run: 0,
        clock: Arc::new(VirtualRuntime::new().clock()),
    })
}

/// The invocations of a run of ten seconds on five nodes. Operations take 5 ms and end as `end` says.
fn run(
    given: &[(&str, &str)],
    workers: usize,
    mut end: impl FnMut(&Step) -> EventType,
) -> Vec<Step> {
    let load = build(given, workers, 1).unwrap();
    let load = load.clients().time_limit(Duration::from_secs(10));
    let steps = simulate(roster(workers), load, |step| Ending {
        latency: 5 * MILLISECOND,
        kind: end(step),
    });
    let steps = steps.unwrap();
    steps
        .into_iter()
        .filter(|step| step.kind == EventType::Invoke)
        .collect()
}

fn key(step: &Step) -> i64 {
    step.op.key.as_ref().unwrap().as_i64().unwrap()
}

#[test]
fn the_rate_is_kept_and_keys_follow_each_other() {
    let steps = run(&[], 10, |_| EventType::Ok);
    assert!((9_600..=10_400).contains(&steps.len()), "{}", steps.len());
    // All operations succeed, so a key has 300 of them, and those that were under way then.
    let mut per_key: BTreeMap<i64, usize> = BTreeMap::new();
    steps
        .iter()
        .for_each(|step| *per_key.entry(key(step)).or_default() += 1);
    per_key.pop_last();
    assert!(per_key.len() >= 30, "{per_key:?}");
    assert!(
        per_key.values().all(|count| (300..310).contains(count)),
        "{per_key:?}"
    );
}

#[test]
fn each_key_has_a_mixer_and_a_reader_on_each_node() {
    let steps = run(&[("rate", "0")], 20, |_| EventType::Ok);
    let mut functions: BTreeMap<usize, BTreeMap<&str, usize>> = BTreeMap::new();
    for step in &steps {
        let thread = functions.entry(step.thread).or_default();
        *thread.entry(&*step.op.f).or_default() += 1;
        // Two groups of ten: even keys are of the first, odd ones of the second.
        assert_eq!(key(step) % 2, step.thread as i64 / 10);
    }
    for (thread, counts) in functions {
        let share = |f: &str| 100 * counts.get(f).unwrap_or(&0) / counts.values().sum::<usize>();
        let is_mixer = thread % 10 < 5;
        match is_mixer {
            true => assert!(
                ["read", "write", "cas"]
                    .iter()
                    .all(|f| (28..=38).contains(&share(f))),
                "{counts:?}"
            ),
            false => assert_eq!(share("read"), 100),
        }
    }
}

#[test]
fn values_are_those_asked_for() {
    let steps = run(&[("values", "3")], 10, |_| EventType::Ok);
    let written: BTreeSet<String> = (steps.iter())
        .filter(|step| &*step.op.f != "read")
        .map(|step| step.op.value.to_string())
        .collect();
    let expected = (0..3).flat_map(|a| (0..3).map(move |b| format!("[{a},{b}]")));
    let expected = expected.chain((0..3).map(|a| a.to_string())).collect();
    assert_eq!(written, expected);
}

#[test]
fn a_key_with_many_unknown_outcomes_is_left() {
    let given = [("unknown-per-key", "4"), ("ops-per-key", "1000000")];
    let steps = run(&given, 10, |step| match step.thread {
        0 => EventType::Info,
        _ => EventType::Ok,
    });
    let mut unknown: BTreeMap<i64, usize> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.thread == 0) {
        *unknown.entry(key(step)).or_default() += 1;
    }
    unknown.pop_last();
    assert!(unknown.len() > 10);
    assert!(unknown.values().all(|count| *count == 4), "{unknown:?}");
}

#[test]
fn who_is_refused_rests_and_costs_the_key_nothing() {
    let steps = run(&[("rate", "0")], 5, |step| match step.thread {
        0 => EventType::Fail,
        _ => EventType::Ok,
    });
    let of = |thread| steps.iter().filter(|step| step.thread == thread).count();
    assert_eq!(of(1), 2_000);
    // 5 ms for the operation and 50 ms of rest.
    assert!((170..=185).contains(&of(0)), "{}", of(0));
    let keys: BTreeSet<i64> = steps.iter().map(key).collect();
    assert_eq!(keys.len() as u64, (4 * 2_000_u64).div_ceil(300));
}

#[test]
fn a_thread_has_the_same_operations_whatever_the_others_do() {
    let streams = |slow: usize| {
        let mut streams: BTreeMap<usize, Vec<Op>> = BTreeMap::new();
        let mut keys = Vec::new();
        let given = [("rate", "0"), ("ops-per-key", "1000")];
        for step in run(&given, 10, |step| match step.thread == slow {
            true => EventType::Fail,
            false => EventType::Ok,
        }) {
            keys.push((step.thread, key(&step)));
            let op = Op {
                key: None,
                ..step.op
            };
            streams.entry(step.thread).or_default().push(op);
        }
        (streams, keys)
    };
    let ((a, keys), (b, other_keys)) = (streams(3), streams(4));
    // Not because the threads came to other keys at the same moments.
    assert_ne!(keys, other_keys);
    for (thread, ops) in &a {
        let common = ops.len().min(b[thread].len());
        assert_eq!(ops[..common], b[thread][..common], "{thread}");
        // On more keys than one; those that are refused come less far.
        let slow = [3, 4].contains(thread);
        assert!(common > if slow { 150 } else { 1_000 }, "{thread} {common}");
    }
}

#[test]
fn groups_must_come_out_even() {
    assert!(build(&[], 10, 1).is_ok());
    assert!(build(&[], 5, 1).is_ok());
    assert!(build(&[], 3, 1).is_ok());
    let error = build(&[], 7, 1).err().unwrap().to_string();
    assert!(
        error.contains("7 clients") && error.contains("multiple of 5"),
        "{error}"
    );
    assert!(build(&[("group-size", "7")], 7, 1).is_ok());
    assert!(build(&[("group-size", "4")], 7, 1).is_err());
}
