//! Small random histories against the oracle.

use checkers::Valid;
use checkers::linearizability::{FailedCas, NullRead, Options};

use crate::generate::{Shape, correct, mutate};
use crate::oracle::is_linearizable;
use crate::support::{Random, cases, judge, judge_online};

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
        let result = judge(&events, &Options::default());
        assert_eq!(result.valid, Valid::True, "case {case}: {}", result.reason);
    }
}
