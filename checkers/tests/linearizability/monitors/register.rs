//! Registers with compare-and-set and unique values.

use checkers::budget::Unlimited;
use checkers::linearizability::monitors::register::{RegisterKind, check, witness};
use checkers::linearizability::monitors::verify;
use checkers::linearizability::monitors::{NEVER, NotApplicable, Operation, Outcome, Reason};

use super::generate::{Draft, around, disturb, positioned};
use super::{is_linearizable, listed};
use crate::support::{Random, cases};

type Op = Operation<RegisterKind>;

fn step(state: &u32, op: &Op) -> Vec<u32> {
    match op.kind {
        RegisterKind::Read => (op.value == *state).then_some(*state).into_iter().collect(),
        RegisterKind::Write => vec![op.value],
        RegisterKind::Cas { from } => (from == *state).then_some(op.value).into_iter().collect(),
        RegisterKind::Differs => (op.value != *state).then_some(*state).into_iter().collect(),
    }
}

/// A history of a register that works, somewhat disturbed.
fn history(random: &mut Random) -> Vec<Op> {
    let operations = 2 + random.below(8);
    let width = 1 + random.below(3);
    let crashes = [0, 0, 10, 30][random.below(4) as usize];
    let cas = [0, 20, 50][random.below(3) as usize];
    let failures = [0, 0, 50][random.below(3) as usize];
    let (mut state, mut fresh) = (0, 0);
    let mut drafts = Vec::new();
    for moment in 0..operations {
        let (begin, end) = around(moment, width, random);
        let crashed = random.percent(crashes);
        let happens = !crashed || random.percent(60);
        let (kind, value) = if random.percent(cas) {
            if random.percent(failures) {
                let value = random.below(u64::from(fresh) + 1) as u32;
                let kind = if value == state {
                    RegisterKind::Read
                } else {
                    RegisterKind::Differs
                };
                (kind, value)
            } else {
                fresh += 1;
                let kind = RegisterKind::Cas { from: state };
                state = if happens { fresh } else { state };
                (kind, fresh)
            }
        } else if random.percent(50) {
            fresh += 1;
            state = if happens { fresh } else { state };
            (RegisterKind::Write, fresh)
        } else {
            (RegisterKind::Read, state)
        };
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

/// Whether an order has every operation that completed, keeps to real time, and is one that a register allows.
fn is_witness(order: &[u32], ops: &[Op]) -> bool {
    let (mut state, mut latest) = (0, 0);
    for at in order {
        let op = &ops[*at as usize];
        latest = latest.max(op.invoke);
        let Some(next) = step(&state, op).first().copied() else {
            return false;
        };
        if op.complete < latest {
            return false;
        }
        state = next;
    }
    let completed = (0..ops.len() as u32).filter(|at| ops[*at as usize].complete != NEVER);
    completed
        .into_iter()
        .all(|at| order.iter().filter(|other| **other == at).count() == 1)
}

#[test]
fn agrees_with_the_oracle() {
    // Not linearizable, linearizable, unknown.
    let mut verdicts = [0u64; 3];
    for case in 0..cases(40_000) {
        let mut random = Random(case);
        let ops = history(&mut random);
        let outcome = check(&ops, &Unlimited).unwrap();
        let expected = || is_linearizable(&ops, 0, &step);
        let context = || format!("case {case}: {outcome:?}\n{}", listed(&ops));
        match &outcome {
            Outcome::Linearizable => {
                verdicts[1] += 1;
                assert!(expected(), "{}", context());
                match witness(&ops, &Unlimited).unwrap() {
                    Some(order) => assert!(is_witness(&order, &ops), "{order:?} {}", context()),
                    None => assert!(ops.iter().any(|op| op.kind == RegisterKind::Differs)),
                }
            }
            Outcome::Violation(reason) => {
                verdicts[0] += 1;
                assert_eq!(witness(&ops, &Unlimited), Ok(None));
                assert_eq!(verify::register(&ops, reason), Ok(()), "{}", context());
                assert!(!reason.operations().is_empty());
                assert!(!expected(), "{}", context());
            }
            Outcome::NotApplicable(NotApplicable::NotUnique { .. }) => {}
            Outcome::NotApplicable(NotApplicable::Differs { .. }) => verdicts[2] += 1,
            Outcome::NotApplicable(_) => panic!("{}", context()),
        }
    }
    let all: u64 = verdicts.iter().sum();
    eprintln!("register: {verdicts:?}");
    assert!(
        verdicts[..2].iter().all(|count| count * 8 > all),
        "{verdicts:?}"
    );
    // Failed compare-and-sets leave little open.
    assert!(verdicts[2] * 50 < all, "{verdicts:?}");
}
