//! What the workload asks for, seen by the simulator of generators.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use harness::generator::GeneratorExt;
use harness::generator::simulate::{Ending, Step, perfect, simulate};
use store::EventType;

use super::*;
use crate::load::FINAL_TRIES;
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
    let last = steps.iter().rfind(|step| &*step.op.f == "add").unwrap();
    assert_eq!(
        last.op.value.as_u64().unwrap() as usize,
        steps.len() - reads - 1
    );
}

#[test]
fn in_the_end_each_client_reads_until_it_succeeds() {
    let asked = Asked::of(&options(), &[]);
    let make = |request: &BuildRequest<'_>| Ok(final_generator(request));
    let last = asked.build(10, make).unwrap();
    let mut tries: BTreeMap<usize, u64> = BTreeMap::new();
    let steps = simulate(roster(10), last.clients(), |step| {
        let tries = tries.entry(step.thread).or_default();
        *tries += 1;
        // One succeeds from the third time on, one never.
        let fails = match step.thread {
            3 => *tries < 3,
            7 => true,
            _ => false,
        };
        Ending {
            latency: 5 * MILLISECOND,
            kind: match fails {
                true => EventType::Fail,
                false => EventType::Ok,
            },
        }
    });
    let steps = steps.unwrap();
    assert!(steps.iter().all(|step| &*step.op.f == FINAL_READ));
    // Ten clients have to succeed twice for twenty reads.
    let reads = |thread| match thread {
        3 => 4,
        7 => 2 * FINAL_TRIES,
        _ => 2,
    };
    let expected: BTreeMap<usize, u64> = (0..10).map(|thread| (thread, reads(thread))).collect();
    assert_eq!(tries, expected);
    let few = perfect(3, asked.build(3, make).unwrap().clients());
    assert_eq!(
        few.iter()
            .filter(|step| step.kind == EventType::Invoke)
            .count(),
        21
    );
}
