//! What the workload asks for, seen by the simulator of generators.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use harness::generator::simulate::{Ending, Step, simulate};
use store::EventType;

use super::*;
use crate::load::testing::{Asked, MILLISECOND, roster};

fn run(given: &[(&str, &str)]) -> Vec<Step> {
    Asked::of(&options(), given).invocations(10, generator)
}

#[test]
fn elements_are_added_once_each() {
    let steps = run(&[]);
    assert!((9_600..=10_400).contains(&steps.len()), "{}", steps.len());
    assert!(steps.iter().all(|step| &*step.op.f == "add"));
    let mut elements: Vec<u64> = steps
        .iter()
        .map(|step| step.op.value.as_u64().unwrap())
        .collect();
    elements.sort_unstable();
    assert!(elements.iter().copied().eq(0..steps.len() as u64));
}

#[test]
fn some_read_if_they_are_asked_to() {
    let steps = run(&[("reads", "0.1")]);
    let reads = steps.iter().filter(|step| &*step.op.f == "read").count();
    assert!((800..=1_200).contains(&reads), "{reads}");
    let last = steps
        .iter()
        .filter(|step| &*step.op.f == "add")
        .next_back()
        .unwrap();
    assert_eq!(
        last.op.value.as_u64().unwrap() as usize,
        steps.len() - reads - 1
    );
}

#[test]
fn in_the_end_each_client_reads_until_it_succeeds() {
    let asked = Asked::of(&options(), &[]);
    let last = asked
        .build(10, |request| Ok(final_generator(request)))
        .unwrap();
    let mut failures = BTreeMap::new();
    let steps = simulate(roster(10), last.clients(), |step| Ending {
        latency: 5 * MILLISECOND,
        kind: match step.thread {
            // One succeeds the third time, one never.
            3 | 7 => {
                let tries: &mut u32 = failures.entry(step.thread).or_default();
                *tries += 1;
                if step.thread == 3 && *tries == 3 {
                    EventType::Ok
                } else {
                    EventType::Fail
                }
            }
            _ => EventType::Ok,
        },
    });
    let mut reads: BTreeMap<usize, u64> = BTreeMap::new();
    for step in steps
        .unwrap()
        .iter()
        .filter(|step| step.kind == EventType::Invoke)
    {
        assert_eq!(&*step.op.f, "read");
        *reads.entry(step.thread).or_default() += 1;
    }
    let expected = (0..10).map(|thread| {
        (
            thread,
            if thread == 3 {
                3
            } else if thread == 7 {
                FINAL_TRIES
            } else {
                1
            },
        )
    });
    assert_eq!(reads, expected.collect());
}
