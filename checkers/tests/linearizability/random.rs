//! Small random histories against the oracle.

use checkers::Valid;
use checkers::linearizability::{FailedCas, NullRead, Options};

use crate::generate::{Shape, correct, mutate};
use crate::oracle::is_linearizable;
use crate::order::prove_order;
use crate::support::{Random, cases, history, judge, judge_online, judge_with_order};

fn shape(random: &mut Random) -> Shape {
    Shape {
        operations: 2 + random.below(8),
        processes: 1 + random.below(5),
        values: 1 + random.below(3),
        cas: [0, 30, 60][random.below(3) as usize],
        crashes: [0, 15, 40][random.below(3) as usize],
        failures: [0, 10][random.below(2) as usize],
    }
}

fn options(random: &mut Random) -> Options {
    Options {
        initial: [serde_json::Value::Null, 0.into()][random.below(2) as usize].clone(),
        failed_cas: [
            FailedCas::Precondition,
            FailedCas::Observes,
            FailedCas::Dropped,
        ][random.below(3) as usize],
        null_read: [NullRead::Absent, NullRead::MatchesAnything][random.below(2) as usize],
        ..Options::default()
    }
}

#[test]
fn agrees_with_the_oracle() {
    let mut verdicts = [0, 0];
    for case in 0..cases(12_000) {
        let mut random = Random(case);
        let shape = shape(&mut random);
        let mut events = correct(shape, &mut random);
        if random.percent(75) {
            mutate(&mut events, shape, &mut random);
        }
        let options = options(&mut random);
        let expected = is_linearizable(&events, &options);
        let result = judge(&events, &options);
        let wanted = if expected { Valid::True } else { Valid::False };
        assert_eq!(
            result.valid, wanted,
            "case {case}: {}\n{events:#?}\n{options:?}",
            result.reason
        );
        let online = judge_online(&events, &options);
        assert_eq!(online, result, "case {case}, online");
        assert_eq!(judge_with_order(&events, &options).valid, wanted);
        verdicts[usize::from(expected)] += 1;
    }
    // Both verdicts must be common, or the test says little.
    let all = verdicts[0] + verdicts[1];
    assert!(verdicts.iter().all(|count| count * 5 > all), "{verdicts:?}");
}

#[test]
fn a_register_that_works_passes() {
    for case in 0..cases(150) {
        let mut random = Random(case);
        let shape = Shape {
            operations: 300,
            processes: 2 + random.below(10),
            values: 2 + random.below(5),
            cas: [0, 40][random.below(2) as usize],
            crashes: [0, 2, 10][random.below(3) as usize],
            failures: 5,
        };
        let events = correct(shape, &mut random);
        let result = judge_with_order(&events, &Options::default());
        assert_eq!(result.valid, Valid::True, "case {case}: {}", result.reason);
    }
}

/// Bounds alone decide these, and they cannot be searched depth first in any time.
#[test]
fn hard_histories_have_orders() {
    for case in 0..cases(6) {
        let shape = Shape {
            operations: 3_000,
            processes: [20, 50][case as usize % 2],
            values: 5,
            cas: [33, 66, 0][case as usize % 3],
            crashes: 5,
            failures: 0,
        };
        let events = correct(shape, &mut Random(case));
        let result = judge_with_order(&events, &Options::default());
        assert_eq!(result.valid, Valid::True, "case {case}: {}", result.reason);
    }
}

/// What proves orders notices what is wrong with one.
#[test]
fn what_is_no_order_is_found_out() {
    let events = history(
        "0 invoke write 1
         1 invoke write 2
         1 ok write 2
         2 invoke cas [3,4]
         0 ok write 1
         3 invoke read null
         3 ok read 1",
    );
    let prove = |order: &[u64]| prove_order(&events, order, &Options::default());
    assert_eq!(prove(&[1, 0, 5]), Ok(()));
    let wrong: [(&[u64], &str); 5] = [
        (&[0, 1, 5], "5 cannot be in 2"),
        (&[1, 0, 3, 5], "3 cannot be in 1"),
        (&[0, 5, 1], "1 had returned before 5"),
        (&[1, 0, 0, 5], "something happens twice"),
        (&[0, 5], "1 is not in it"),
    ];
    for (order, told) in wrong {
        assert_eq!(prove(order), Err(told.to_owned()));
    }
}
