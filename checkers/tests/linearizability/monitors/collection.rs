//! Queues, stacks, priority queues and bags.

use checkers::Exhausted;
use checkers::budget::{Budget, Steps, Unlimited};
use checkers::linearizability::monitors::collection::{CollectionKind, Order, check};
use checkers::linearizability::monitors::verify;
use checkers::linearizability::monitors::{NEVER, NotApplicable, Operation, Outcome, Reason};

use super::generate::{Draft, around, disturb, positioned};
use super::{is_linearizable, listed};
use crate::support::{Random, cases};

type Op = Operation<CollectionKind>;

const ORDERS: [Order; 5] = [
    Order::First,
    Order::Last,
    Order::Greatest,
    Order::Least,
    Order::Any,
];

/// The place of the value that comes out next.
fn next(order: Order, inside: &[u32]) -> Option<usize> {
    let places = 0..inside.len();
    match order {
        Order::First => places.min(),
        Order::Last => places.max(),
        Order::Greatest => places.max_by_key(|at| inside[*at]),
        Order::Least => places.min_by_key(|at| inside[*at]),
        Order::Any => None,
    }
}

fn without(inside: &[u32], place: usize) -> Vec<u32> {
    let mut rest = inside.to_vec();
    rest.remove(place);
    rest
}

fn step(order: Order, inside: &[u32], op: &Op) -> Vec<Vec<u32>> {
    let candidates: Vec<usize> = match order {
        Order::Any => (0..inside.len()).collect(),
        _ => next(order, inside).into_iter().collect(),
    };
    let matching = candidates
        .iter()
        .copied()
        .find(|at| inside[*at] == op.value);
    match op.kind {
        CollectionKind::Insert => {
            let mut more = inside.to_vec();
            more.push(op.value);
            if order == Order::Any {
                more.sort_unstable();
            }
            vec![more]
        }
        CollectionKind::Remove if op.complete == NEVER => candidates
            .into_iter()
            .map(|at| without(inside, at))
            .collect(),
        CollectionKind::Remove => matching.into_iter().map(|at| without(inside, at)).collect(),
        _ if op.complete == NEVER => Vec::new(),
        CollectionKind::Peek => matching.map(|_| inside.to_vec()).into_iter().collect(),
        CollectionKind::Empty if inside.is_empty() => vec![inside.to_vec()],
        CollectionKind::Empty => Vec::new(),
    }
}

/// How a random history looks.
#[derive(Clone, Copy, Debug)]
struct Shape {
    operations: u64,
    width: u64,
    peeks: u64,
    crashes: u64,
    disturbances: u64,
}

fn shape(random: &mut Random) -> Shape {
    Shape {
        operations: 2 + random.below(8),
        width: 1 + random.below(3),
        peeks: [0, 0, 25][random.below(3) as usize],
        crashes: [0, 0, 10, 30][random.below(4) as usize],
        disturbances: random.below(7),
    }
}

/// A history of a collection that works, somewhat disturbed.
fn history(order: Order, shape: Shape, random: &mut Random) -> Vec<Op> {
    let mut values: Vec<u32> = (0..shape.operations as u32).collect();
    for at in (1..values.len()).rev() {
        values.swap(at, random.below(at as u64 + 1) as usize);
    }
    let mut inside: Vec<u32> = Vec::new();
    let mut drafts = Vec::new();
    for moment in 0..shape.operations {
        let (begin, end) = around(moment, shape.width, random);
        let crashed = random.percent(shape.crashes);
        let happens = !crashed || random.percent(60);
        let place = match order {
            Order::Any if inside.is_empty() => None,
            Order::Any => Some(random.below(inside.len() as u64) as usize),
            _ => next(order, &inside),
        };
        let (kind, value) = if random.percent(50) {
            let value = values.pop().unwrap();
            if happens {
                inside.push(value);
            }
            (CollectionKind::Insert, value)
        } else if random.percent(shape.peeks) {
            match place {
                Some(place) => (CollectionKind::Peek, inside[place]),
                None => (CollectionKind::Empty, 0),
            }
        } else if crashed {
            if let Some(place) = place.filter(|_| happens) {
                inside.remove(place);
            }
            (CollectionKind::Remove, 0)
        } else {
            match place {
                Some(place) => (CollectionKind::Remove, inside.remove(place)),
                None => (CollectionKind::Empty, 0),
            }
        };
        let end = (!crashed).then_some(end);
        drafts.push(Draft {
            kind,
            value,
            begin,
            end,
        });
    }
    for _ in 0..shape.disturbances {
        disturb(&mut drafts, random);
    }
    positioned(&drafts)
}

#[test]
fn agrees_with_the_oracle() {
    for order in ORDERS {
        // Not linearizable, linearizable, unknown.
        let mut verdicts = [0u64; 3];
        for case in 0..cases(20_000) {
            let mut random = Random(case * 8 + order as u64);
            let shape = shape(&mut random);
            let ops = history(order, shape, &mut random);
            let outcome = check(order, &ops, &Unlimited).unwrap();
            let expected =
                || is_linearizable(&ops, Vec::new(), &|state, op| step(order, state, op));
            let context = || format!("{order:?}, case {case}: {outcome:?}\n{}", listed(&ops));
            match &outcome {
                Outcome::Linearizable => {
                    verdicts[1] += 1;
                    assert!(expected(), "{}", context());
                }
                Outcome::Violation(reason) => {
                    verdicts[0] += 1;
                    let proved = verify::collection(order, &ops, reason);
                    assert_eq!(proved, Ok(()), "{}", context());
                    assert!(!reason.operations().is_empty());
                    assert!(!expected(), "{}", context());
                }
                Outcome::NotApplicable(NotApplicable::NotUnique { .. }) => {}
                Outcome::NotApplicable(NotApplicable::UnknownRemovals { .. }) => verdicts[2] += 1,
                Outcome::NotApplicable(_) => panic!("{}", context()),
            }
        }
        let all: u64 = verdicts.iter().sum();
        eprintln!("{order:?}: {verdicts:?}");
        assert!(
            verdicts[..2].iter().all(|count| count * 8 > all),
            "{order:?}: {verdicts:?}"
        );
        // Crashed removals leave little open.
        assert!(verdicts[2] * 50 < all, "{order:?}: {verdicts:?}");
    }
}

/// What was seen later was not taken before, so there is nothing that a removal without an answer can have taken in time.
#[test]
fn nothing_was_empty_while_a_value_was_inside_that_was_seen_later() {
    let op = |kind, value, invoke, complete| Op {
        kind,
        value,
        invoke,
        complete,
    };
    let ops = [
        op(CollectionKind::Insert, 0, 0, 3),
        op(CollectionKind::Remove, 0, 1, NEVER),
        op(CollectionKind::Insert, 1, 2, 5),
        op(CollectionKind::Empty, 0, 4, 8),
        op(CollectionKind::Peek, 0, 6, 7),
    ];
    for order in ORDERS {
        let outcome = check(order, &ops, &Unlimited).unwrap();
        let Outcome::Violation(reason) = outcome else {
            panic!("{order:?}: {outcome:?}");
        };
        assert_eq!(verify::collection(order, &ops, &reason), Ok(()));
    }
    // Two such removals are enough.
    let mut more = ops.to_vec();
    more.insert(2, op(CollectionKind::Remove, 0, 2, NEVER));
    for op in &mut more[3..] {
        op.invoke += 1;
    }
    for op in &mut more {
        op.complete = op.complete.saturating_add(1);
    }
    assert_eq!(
        check(Order::Any, &more, &Unlimited),
        Ok(Outcome::Linearizable)
    );
}

#[test]
fn collections_that_work_pass() {
    for order in ORDERS {
        let mut unknown = 0;
        for case in 0..100 {
            let mut random = Random(case);
            let shape = Shape {
                operations: 3_000,
                width: 1 + random.below(20),
                peeks: [0, 25][random.below(2) as usize],
                crashes: [0, 1, 5][random.below(3) as usize],
                disturbances: 0,
            };
            let ops = history(order, shape, &mut random);
            match check(order, &ops, &Unlimited).unwrap() {
                Outcome::Linearizable => {}
                Outcome::NotApplicable(NotApplicable::UnknownRemovals { .. }) => unknown += 1,
                outcome => panic!("{order:?}, case {case}: {outcome:?}"),
            }
        }
        eprintln!("{order:?}: {unknown} of 100 unknown");
    }
}

/// Exchanges what two removals returned, the second a little after the first and of a value that was there.
fn exchange(ops: &mut [Op], from: usize) -> bool {
    let answered = |op: &Op| op.complete != NEVER;
    for one in from..ops.len() {
        for other in one + 10..(one + 200).min(ops.len()) {
            let (first, second) = (ops[one], ops[other]);
            let removals = [first, second]
                .iter()
                .all(|op| op.kind == CollectionKind::Remove);
            let inserted = |op: &Op| op.kind == CollectionKind::Insert && op.value == second.value;
            let insert = ops.iter().find(|op| inserted(op)).copied();
            if removals
                && insert.is_some_and(|insert| answered(&insert) && insert.complete < first.invoke)
            {
                (ops[one].value, ops[other].value) = (second.value, first.value);
                return true;
            }
        }
    }
    false
}

#[test]
fn proofs_from_long_histories_are_small() {
    for order in ORDERS {
        let (mut violations, mut most, mut all) = (0, 0, 0);
        for case in 0..30 {
            let mut random = Random(case);
            let shape = Shape {
                operations: 5_000,
                width: 1 + random.below(5),
                peeks: [0, 25][random.below(2) as usize],
                crashes: 0,
                disturbances: 0,
            };
            let mut ops = history(order, shape, &mut random);
            if !exchange(&mut ops, 4_000) {
                continue;
            }
            if let Outcome::Violation(reason) = check(order, &ops, &Unlimited).unwrap() {
                assert_eq!(verify::collection(order, &ops, &reason), Ok(()));
                let count = reason.operations().len();
                (violations, most, all) = (violations + 1, most.max(count), all + count);
            }
        }
        eprintln!("{order:?}: {violations} violations, {most} operations at most, {all} together");
        assert!(
            order == Order::Any || violations > 10,
            "{order:?}: {violations}"
        );
        assert!(most <= 20, "{order:?}: {most}");
    }
}

#[test]
fn a_budget_that_is_used_up_ends_the_check() {
    let mut random = Random(1);
    let shape = Shape {
        operations: 5_000,
        width: 5,
        peeks: 10,
        crashes: 2,
        disturbances: 0,
    };
    for order in ORDERS {
        let ops = history(order, shape, &mut random);
        let time = check(order, &ops, &Steps::new(3, u64::MAX));
        assert_eq!(time, Err(Exhausted::Time), "{order:?}");
        let budget = Steps::new(u64::MAX, 50_000);
        assert_eq!(
            check(order, &ops, &budget),
            Err(Exhausted::Memory),
            "{order:?}"
        );
        // All was given back.
        assert!(budget.charge(50_000).is_ok());
    }
}

#[test]
fn positions_and_values_may_have_gaps() {
    for order in ORDERS {
        for case in 0..2_000 {
            let mut random = Random(case);
            let ops = history(order, shape(&mut random), &mut random);
            let far = |position: u32| {
                if position == NEVER {
                    NEVER
                } else {
                    7 + position * 1_000
                }
            };
            let spread: Vec<Op> = ops
                .iter()
                .map(|op| Op {
                    kind: op.kind,
                    value: op.value * 100_000,
                    invoke: far(op.invoke),
                    complete: far(op.complete),
                })
                .collect();
            let outcome = check(order, &ops, &Unlimited);
            assert_eq!(
                check(order, &spread, &Unlimited),
                outcome,
                "{order:?}, case {case}"
            );
        }
    }
}
