//! Sets, counters and growing sets.

use checkers::budget::Unlimited;
use checkers::linearizability::monitors::counter::{self, CounterKind};
use checkers::linearizability::monitors::grow_set::{self, GrowSetKind};
use checkers::linearizability::monitors::set::{self, SetKind};
use checkers::linearizability::monitors::verify;
use checkers::linearizability::monitors::{NEVER, NotApplicable, Operation, Outcome};

use super::generate::{Draft, around, disturb, positioned};
use super::{is_linearizable, listed};
use crate::support::{Random, cases};

/// Drafts of a random history, one after the other, by what makes an operation. It is told whether the operation has
/// no answer, and whether it happens all the same.
fn random_history<K: Copy>(
    random: &mut Random,
    mut make: impl FnMut(bool, bool, &mut Random) -> (K, u32),
) -> Vec<Operation<K>> {
    let width = 1 + random.below(3);
    let crashes = [0, 0, 10, 30][random.below(4) as usize];
    let mut drafts = Vec::new();
    for moment in 0..2 + random.below(8) {
        let (begin, end) = around(moment, width, random);
        let crashed = random.percent(crashes);
        let happens = !crashed || random.percent(60);
        let (kind, value) = make(crashed, happens, random);
        let end = (!crashed).then_some(end);
        drafts.push(Draft {
            kind,
            value,
            begin,
            end,
        });
    }
    for _ in 0..random.below(5) {
        disturb(&mut drafts, random);
    }
    positioned(&drafts)
}

/// Both verdicts must be common, or the test says little.
fn assert_balanced(verdicts: [u64; 2]) {
    let all: u64 = verdicts.iter().sum();
    eprintln!("{verdicts:?}");
    assert!(verdicts.iter().all(|count| count * 8 > all), "{verdicts:?}");
}

fn step_set(state: &u32, op: &Operation<SetKind>) -> Vec<u32> {
    let bit = 1 << op.value;
    let present = state & bit != 0;
    let next = match op.kind {
        SetKind::Add => (!present).then_some(state | bit),
        SetKind::Remove => present.then_some(state & !bit),
        SetKind::Present => present.then_some(*state),
        SetKind::Absent => (!present).then_some(*state),
    };
    next.into_iter().collect()
}

#[test]
fn sets_agree_with_the_oracle() {
    let mut verdicts = [0; 2];
    for case in 0..cases(40_000) {
        let mut random = Random(case);
        let mut state = 0u32;
        let mut fresh = 0;
        let ops = random_history(&mut random, |crashed, happens, random| {
            if fresh == 0 || random.percent(25) {
                fresh += 1;
                state |= u32::from(happens) << fresh;
                return (SetKind::Add, fresh);
            }
            let value = 1 + random.below(u64::from(fresh)) as u32;
            let present = state & (1 << value) != 0;
            if random.percent(40) && (present || crashed) {
                state &= !(u32::from(happens) << value);
                return (SetKind::Remove, value);
            }
            (
                if present {
                    SetKind::Present
                } else {
                    SetKind::Absent
                },
                value,
            )
        });
        let outcome = set::check(&ops, &Unlimited).unwrap();
        let expected = || is_linearizable(&ops, 0, &step_set);
        let context = || format!("case {case}: {outcome:?}\n{}", listed(&ops));
        match &outcome {
            Outcome::Linearizable => {
                verdicts[1] += 1;
                assert!(expected(), "{}", context());
            }
            Outcome::Violation(reason) => {
                verdicts[0] += 1;
                assert_eq!(verify::set(&ops, reason), Ok(()), "{}", context());
                assert!(!expected(), "{}", context());
            }
            Outcome::NotApplicable(NotApplicable::NotUnique { .. }) => {}
            Outcome::NotApplicable(_) => panic!("{}", context()),
        }
    }
    assert_balanced(verdicts);
}

fn step_counter(state: &u32, op: &Operation<CounterKind>) -> Vec<u32> {
    match op.kind {
        CounterKind::Add => vec![state + op.value],
        CounterKind::Read => (op.value == *state).then_some(*state).into_iter().collect(),
    }
}

#[test]
fn counters_agree_with_the_oracle() {
    let mut verdicts = [0; 2];
    let mut bounds = [0; 2];
    for case in 0..cases(40_000) {
        let mut random = Random(case);
        let mut state = 0;
        let most = [1, 1, 3][random.below(3) as usize];
        let mut ops = random_history(&mut random, |_, happens, random| {
            if random.percent(50) {
                let amount = 2 * (1 + random.below(most) as u32);
                state += if happens { amount } else { 0 };
                (CounterKind::Add, amount)
            } else {
                (CounterKind::Read, state)
            }
        });
        if most == 1 && random.percent(90) {
            // Disturbances also exchange amounts for what was read.
            let adds = ops.iter_mut().filter(|op| op.kind == CounterKind::Add);
            adds.for_each(|op| op.value = 2);
        }
        let outcome = counter::check(&ops, &Unlimited).unwrap();
        let expected = || is_linearizable(&ops, 0, &step_counter);
        let context = || format!("case {case}: {outcome:?}\n{}", listed(&ops));
        match &outcome {
            Outcome::Linearizable => {
                verdicts[1] += 1;
                assert!(expected(), "{}", context());
            }
            Outcome::Violation(reason) => {
                verdicts[0] += 1;
                assert_eq!(verify::counter(&ops, reason), Ok(()), "{}", context());
                assert!(!expected(), "{}", context());
            }
            Outcome::NotApplicable(NotApplicable::Amounts { first, second }) => {
                assert_ne!(ops[*first as usize].value, ops[*second as usize].value);
                bounds[usize::from(expected())] += 1;
            }
            Outcome::NotApplicable(_) => panic!("{}", context()),
        }
    }
    eprintln!("amounts differ, not decided: {bounds:?}");
    assert_balanced(verdicts);
}

fn step_grow_set(contents: &[u32], state: &u32, op: &Operation<GrowSetKind>) -> Vec<u32> {
    match op.kind {
        GrowSetKind::Add => vec![state | 1 << op.value],
        GrowSetKind::Read { from, to } => {
            let seen = contents[from as usize..to as usize].iter();
            let seen = seen.fold(0, |seen, value| seen | 1 << value);
            (seen == *state).then_some(*state).into_iter().collect()
        }
    }
}

#[test]
fn growing_sets_agree_with_the_oracle() {
    let mut verdicts = [0; 2];
    for case in 0..cases(40_000) {
        let mut random = Random(case);
        let mut state = 0u32;
        let mut fresh = 0;
        let mut contents = Vec::new();
        let again = random.below(2) * 30;
        let ops = random_history(&mut random, |_, happens, random| {
            if random.percent(60) {
                fresh += 1;
                let value = if random.percent(again) {
                    random.below(fresh) + 1
                } else {
                    fresh
                };
                state |= u32::from(happens) << value;
                return (GrowSetKind::Add, value as u32);
            }
            let from = contents.len() as u32;
            contents.extend((0..12).filter(|value| state & (1 << value) != 0));
            if random.percent(5) {
                contents.push(random.below(8) as u32);
            }
            let to = contents.len() as u32;
            (GrowSetKind::Read { from, to }, 0)
        });
        let outcome = grow_set::check(&ops, &contents, &Unlimited).unwrap();
        let step = |state: &u32, op: &Operation<GrowSetKind>| step_grow_set(&contents, state, op);
        let expected = || is_linearizable(&ops, 0, &step);
        let context = || format!("case {case}: {outcome:?}\n{}{contents:?}", listed(&ops));
        match &outcome {
            Outcome::Linearizable => {
                verdicts[1] += 1;
                assert!(expected(), "{}", context());
            }
            Outcome::Violation(reason) => {
                verdicts[0] += 1;
                let proved = verify::grow_set(&ops, &contents, reason);
                assert_eq!(proved, Ok(()), "{}", context());
                assert!(!expected(), "{}", context());
            }
            Outcome::NotApplicable(_) => panic!("{}", context()),
        }
    }
    assert_balanced(verdicts);
}

#[test]
fn operations_out_of_order_are_refused() {
    let op = |invoke, complete| Operation {
        kind: SetKind::Absent,
        value: 0,
        invoke,
        complete,
    };
    for (ops, operation) in [
        (vec![op(3, 4), op(1, 2)], 1),
        (vec![op(1, NEVER), op(1, 2)], 1),
        (vec![op(2, 2)], 0),
    ] {
        let outcome = set::check(&ops, &Unlimited).unwrap();
        let why = NotApplicable::Disordered { operation };
        assert_eq!(outcome, Outcome::NotApplicable(why));
    }
}
