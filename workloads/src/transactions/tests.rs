//! What transactional workloads ask for, seen by the simulator of generators.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use crate::load::testing::Asked;
use crate::{append, rw_register};

use super::*;

/// A micro-operation: function, key, value.
type Micro = (String, i64, Option<i64>);

fn micros(op: &Op) -> Vec<Micro> {
    let all = op.value.as_array().unwrap().iter();
    all.map(|one| {
        (
            one[0].as_str().unwrap().to_owned(),
            one[1].as_i64().unwrap(),
            one[2].as_i64(),
        )
    })
    .collect()
}

/// The transactions of ten threads in ten seconds, in order.
fn run(given: &[(&str, &str)]) -> Vec<(usize, Vec<Micro>)> {
    let steps = Asked::of(&options(), given).invocations(10, append::generator);
    assert!(
        steps
            .iter()
            .all(|step| &*step.op.f == "txn" && step.op.key.is_none())
    );
    steps
        .iter()
        .map(|step| (step.thread, micros(&step.op)))
        .collect()
}

#[test]
fn transactions_have_the_shape_that_was_asked_for() {
    let all = run(&[("min-txn-length", "2"), ("max-txn-length", "5")]);
    assert!((9_600..=10_400).contains(&all.len()), "{}", all.len());
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    all.iter()
        .for_each(|(_, one)| *lengths.entry(one.len()).or_default() += 1);
    assert!(lengths.keys().copied().eq(2..=5), "{lengths:?}");
    let flat: Vec<&Micro> = all.iter().flat_map(|(_, one)| one).collect();
    let reads = flat
        .iter()
        .filter(|(f, _, value)| f == "r" && value.is_none())
        .count();
    let writes = flat
        .iter()
        .filter(|(f, _, value)| f == "append" && value.is_some())
        .count();
    assert_eq!(reads + writes, flat.len());
    assert!((45..=55).contains(&(100 * reads / flat.len())));
}

#[test]
fn keys_have_their_share_of_writes_and_are_left() {
    for (given, most) in [("256", 256), ("10", 10), ("1", 1)] {
        let all = run(&[("max-writes-per-key", given)]);
        let mut written: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (f, key, value) in all.iter().flat_map(|(_, one)| one) {
            if f == "append" {
                written.entry(*key).or_default().push(value.unwrap());
            }
        }
        // Each value once, from 1 in order, and no more than the share.
        assert!(
            written
                .values()
                .all(|values| values.iter().copied().eq(1..=values.len() as i64))
        );
        let full = written
            .values()
            .filter(|values| values.len() as i64 == most)
            .count();
        assert!(written.values().all(|values| values.len() as i64 <= most));
        assert!(
            written.len() - full <= 10,
            "at most the keys in use are not full"
        );
        assert!(full > 10);
    }
}

#[test]
fn each_place_is_drawn_half_as_often_as_the_one_before() {
    // Keys are never left, so they are the places.
    let count = |given: &[(&str, &str)]| {
        let mut keys: BTreeMap<i64, usize> = BTreeMap::new();
        let given = [&[("max-writes-per-key", "1000000")], given].concat();
        for (_, key, _) in run(&given).iter().flat_map(|(_, one)| one) {
            *keys.entry(*key).or_default() += 1;
        }
        keys.into_values().collect::<Vec<_>>()
    };
    let keys = count(&[("key-count", "5")]);
    let total: usize = keys.iter().sum();
    assert_eq!(keys.len(), 5);
    for (place, count) in keys.iter().enumerate() {
        let expected = total * (16 >> place) / 31;
        assert!(count.abs_diff(expected) < total / 40, "{keys:?}");
    }
    let keys = count(&[("key-count", "5"), ("key-dist", "uniform")]);
    assert!(
        keys.iter()
            .all(|count| count.abs_diff(total / 5) < total / 40),
        "{keys:?}"
    );
    assert_eq!(count(&[("key-count", "1")]).len(), 1);
    assert_eq!(
        count(&[("key-count", "100"), ("key-dist", "uniform")]).len(),
        100
    );
    // Far places are hardly ever drawn.
    assert!(count(&[("key-count", "10000")]).len() < 30);
}

#[test]
fn a_thread_has_the_same_functions_and_places_whatever_the_others_do() {
    let given = [("rate", "0"), ("max-writes-per-key", "1000000")];
    let streams = |slow: usize| {
        let asked = Asked::of(&options(), &given);
        let mut streams: BTreeMap<usize, Vec<Vec<(String, i64)>>> = BTreeMap::new();
        for step in asked.invocations_but(10, append::generator, slow) {
            let one = micros(&step.op)
                .into_iter()
                .map(|(f, key, _)| (f, key))
                .collect();
            streams.entry(step.thread).or_default().push(one);
        }
        streams
    };
    let (a, b) = (streams(3), streams(4));
    for (thread, all) in &a {
        let common = all.len().min(b[thread].len());
        assert_eq!(all[..common], b[thread][..common], "{thread}");
        assert!(common > 150, "{thread} {common}");
    }
}

#[test]
fn registers_are_written_by_another_name() {
    let steps = Asked::of(&options(), &[]).invocations(10, rw_register::generator);
    let flat = steps.iter().flat_map(|step| micros(&step.op));
    assert!(flat.map(|(f, ..)| f).all(|f| f == "w" || f == "r"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let given = [("min-txn-length", "5"), ("max-txn-length", "4")];
    let refused = Asked::of(&options(), &given)
        .build(10, append::generator)
        .err()
        .unwrap();
    assert!(
        refused
            .to_string()
            .contains("--min-txn-length 5 is more than"),
        "{refused}"
    );
    assert!(append::checkers("strict-serializable").is_ok());
    assert!(rw_register::checkers("snapshot-isolation").is_ok());
    let unknown = append::checkers("nonsense").err().unwrap();
    assert!(unknown.to_string().contains("nonsense"));
}
