//! Sequential consistency, of whole histories.

use std::collections::HashSet;

use checkers::linearizability::verify::{Reference, verify_sequential};
use checkers::linearizability::{Linearizable, Options, SequentiallyConsistent};
use checkers::{CheckResult, Evidence, Valid, budget::Unlimited, check};
use serde_json::{Value, json};
use store::{Event, EventType};

use crate::models::{Op, correct, fits, mutate, operations, without_meaningless_refusals};
use crate::plain;
use crate::support::{Random, cases, history};

fn judge(model: &str, events: &[Event], options: &Options) -> CheckResult {
    let mut checker = SequentiallyConsistent::named(model, options).unwrap();
    let result = check(&mut checker, events, &Unlimited);
    if result.valid == Valid::False {
        let [Evidence::Operations(evidence)] = result.evidence.as_slice() else {
            panic!("{result:?}");
        };
        let known_as = if model == "register" { "map" } else { model };
        let judge = Reference::new(known_as, options).unwrap();
        verify_sequential(&evidence.events, events, &judge, options).unwrap();
    }
    result
}

/// An operation on one of two objects.
struct Keyed {
    key: usize,
    op: Op,
}

/// Whether there is an order that keeps every process's own, by trying all of them.
fn can_be_ordered(
    model: &str,
    programs: &[Vec<Keyed>],
    at: &[usize],
    states: &[Value; 2],
    dead: &mut HashSet<(Vec<usize>, [Value; 2])>,
) -> bool {
    let mut rest = programs
        .iter()
        .zip(at)
        .flat_map(|(program, at)| &program[*at..]);
    if rest.all(|keyed| keyed.op.outcome.is_none()) {
        return true;
    }
    if !dead.insert((at.to_vec(), states.clone())) {
        return false;
    }
    for (process, program) in programs.iter().enumerate() {
        let Some(Keyed { key, op }) = program.get(at[process]) else {
            continue;
        };
        let mut next = at.to_vec();
        next[process] += 1;
        for (answer, after) in plain::run(model, &states[*key], &op.f, &op.value, op.process) {
            let mut then = states.clone();
            then[*key] = after;
            if fits(model, op, answer.as_ref())
                && can_be_ordered(model, programs, &next, &then, dead)
            {
                return true;
            }
        }
    }
    false
}

fn is_sequentially_consistent(model: &str, events: &[Event], initial: &Value) -> bool {
    let mut programs: Vec<Vec<Keyed>> = Vec::new();
    let mut processes: Vec<u64> = Vec::new();
    for op in operations(events) {
        let key = usize::from(events[op.invoke].key == Some(json!(1)));
        let at = processes.iter().position(|process| *process == op.process);
        let at = at.unwrap_or_else(|| {
            processes.push(op.process);
            programs.push(Vec::new());
            programs.len() - 1
        });
        programs[at].push(Keyed { key, op });
    }
    let first = plain::first(model, initial);
    let at = vec![0; programs.len()];
    let states = [first.clone(), first];
    can_be_ordered(model, &programs, &at, &states, &mut HashSet::new())
}

#[test]
fn agrees_with_objects_that_run() {
    for model in [
        "register",
        "queue",
        "stack",
        "set",
        "counter",
        "unordered-queue",
        "mutex",
    ] {
        let mut verdicts = [0u64, 0];
        for case in 0..cases(400) {
            let mut random = Random(case);
            let mut events = correct(model, &Value::Null, &mut random);
            for _ in 0..2 {
                mutate(model, &mut events, &mut random);
            }
            without_meaningless_refusals(model, &mut events);
            // On two objects, so that one could look right without the other.
            let keys = random.below(2);
            let mut open = std::collections::BTreeMap::new();
            for event in &mut events {
                let key = match event.kind {
                    EventType::Invoke => random.below(1 + keys),
                    _ => open[&event.process],
                };
                open.insert(event.process.clone(), key);
                event.key = Some(json!(key));
            }
            let options = Options::default();
            let expected = is_sequentially_consistent(model, &events, &Value::Null);
            let result = judge(model, &events, &options);
            let wanted = if expected { Valid::True } else { Valid::False };
            assert_eq!(
                result.valid, wanted,
                "{model} case {case}: {}\n{events:#?}",
                result.reason
            );
            let mut linearizable = Linearizable::named(model, &options).unwrap();
            if check(&mut linearizable, &events, &Unlimited).valid == Valid::True {
                assert_eq!(
                    result.valid,
                    Valid::True,
                    "{model} case {case}: linearizable"
                );
            }
            verdicts[usize::from(expected)] += 1;
        }
        let all = verdicts[0] + verdicts[1];
        assert!(
            verdicts.iter().all(|count| count * 20 > all),
            "{model}: {verdicts:?}"
        );
    }
}

#[test]
fn a_stale_read_is_sequentially_consistent() {
    let events = history(
        "0 invoke write 1
        0 ok write 1
        1 invoke read null
        1 ok read null",
    );
    let options = Options::default();
    assert_eq!(judge("register", &events, &options).valid, Valid::True);
    let mut linearizable = Linearizable::default();
    assert_eq!(
        check(&mut linearizable, &events, &Unlimited).valid,
        Valid::False
    );
}

#[test]
fn keys_that_look_right_alone_can_be_wrong_together() {
    let mut events = history(
        "0 invoke write 1
        0 ok write 1
        0 invoke read null
        0 ok read null
        1 invoke write 1
        1 ok write 1
        1 invoke read null
        1 ok read null",
    );
    for (event, key) in events
        .iter_mut()
        .zip(["x", "x", "y", "y", "y", "y", "x", "x"])
    {
        event.key = Some(json!(key));
    }
    let options = Options::default();
    assert_eq!(judge("register", &events, &options).valid, Valid::False);
    for key in ["x", "y"] {
        let mut of_key = events.clone();
        of_key.retain(|event| event.key == Some(json!(key)));
        assert_eq!(judge("register", &of_key, &options).valid, Valid::True);
    }
}
