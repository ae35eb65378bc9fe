//! Phases, their generators, and what these are told.

use std::time::Duration;

use store::Value;

use super::world::*;
use crate::client::Op;
use crate::generator::{Context, Generator, Peek, Planned, Update};
use crate::interpreter::{Counts, InterpreterError, PhaseEnd};

const NULL: Value = Value::Null;

#[test]
fn an_empty_generator_is_exhausted() {
    let (phase, history) =
        World::new(1).run(async |mut interpreter| interpreter.run(steps([])).await);
    let phase = phase.unwrap();
    assert!(history.is_empty());
    assert_eq!(phase.end, PhaseEnd::Exhausted);
    assert_eq!(phase.operations, Counts::default());
}

#[test]
fn workers_clients_and_processes_live_from_phase_to_phase() {
    let world = World::new(2);
    let (phases, history) = world.run(async |mut interpreter| {
        let first = interpreter
            .run(steps([on(1, "info", 1), on(0, "ok", 2)]))
            .await;
        let second = interpreter.run(steps([any("ok", 1), any("ok", 1)])).await;
        (first.unwrap(), second.unwrap())
    });
    assert_eq!(
        history,
        [
            "0 1 invoke info 1",
            "0 0 invoke ok 2",
            "1 1 info info 1 info",
            "2 0 ok ok 2",
            "2 3 invoke ok 1",
            "2 0 invoke ok 1",
            "3 3 ok ok 1",
            "3 0 ok ok 1",
        ]
    );
    assert_eq!(Tally::get(&world.tally.opened), 3);
    let (first, second) = phases;
    assert_eq!((first.began / MS, first.ended / MS), (0, 2));
    assert_eq!((second.began / MS, second.ended / MS), (2, 3));
    let counts = |ok, info| Counts { ok, fail: 0, info };
    assert_eq!(first.operations, counts(1, 1));
    assert_eq!(second.operations, counts(2, 0));
}

#[test]
fn operations_begin_when_they_are_planned() {
    let history = World::new(2).history(steps([
        on_any_at(10, "ok", 1),
        on_any_at(10, "ok", 1),
        on_any_at(30, "ok", NULL),
    ]));
    assert_eq!(
        history,
        [
            "10 0 invoke ok 1",
            "10 1 invoke ok 1",
            "11 0 ok ok 1",
            "11 1 ok ok 1",
            "30 0 invoke ok",
            "30 0 ok ok",
        ]
    );
}

#[test]
fn generators_are_told_of_every_completion_in_order() {
    let told = Told::default();
    let generator = told_steps(
        [
            on(0, "ok", 3),
            on(1, "info", 1),
            on(2, "start", 2),
            on(1, "ok", 9),
        ],
        told.clone(),
    );
    let world = World {
        faults: vec![("cut", Ok(()))],
        ..World::new(2)
    };
    world.history(generator);
    // Function, thread, type, the thread's process now, whether the thread is free now.
    assert_eq!(
        *told.lock().unwrap(),
        [
            "info 1 info Some(3) true",
            "start 2 ok None true",
            "ok 0 ok Some(0) true",
            "ok 1 ok Some(3) true",
        ]
    );
}

/// Waits for ever, though nothing is under way after its one operation.
struct Waits(bool);

impl Generator for Waits {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        if self.0 {
            return Peek::Pending;
        }
        Peek::Op(Planned {
            time: ctx.time,
            thread: 0,
            op: Op::new("ok", 1.into()),
        })
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {
        self.0 = true;
    }
}

#[test]
fn a_generator_that_waits_for_nothing_is_an_error_not_a_hang() {
    let (result, history) =
        World::new(1).run(async |mut interpreter| interpreter.run(Box::new(Waits(false))).await);
    assert!(matches!(result, Err(InterpreterError::Stuck)));
    assert_eq!(history, ["0 0 invoke ok 1", "1 0 ok ok 1"]);
}

/// Waits until a time, and is then done.
struct Until(u64);

impl Generator for Until {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        match ctx.time >= self.0 {
            true => Peek::Done,
            false => Peek::Wait(self.0),
        }
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
}

#[test]
fn a_generator_that_waits_for_the_past_is_an_error_not_a_hang() {
    struct Past;
    impl Generator for Past {
        fn peek(&mut self, ctx: &Context<'_>) -> Peek {
            Peek::Wait(ctx.time)
        }

        fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
    }
    let (result, _) =
        World::new(1).run(async |mut interpreter| interpreter.run(Box::new(Past)).await);
    assert!(matches!(result, Err(InterpreterError::WrongAnswer(_))));
}

#[test]
fn a_generator_may_wait_for_a_time() {
    let (phase, _) =
        World::new(1).run(async |mut interpreter| interpreter.run(Box::new(Until(7 * MS))).await);
    assert_eq!(phase.unwrap().ended, 7 * MS);
}

/// Gives a thread two operations at once.
struct Greedy;

impl Generator for Greedy {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        Peek::Op(Planned {
            time: ctx.time,
            thread: 0,
            op: Op::new("ok", 1.into()),
        })
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {}
}

#[test]
fn a_thread_performs_one_operation_at_a_time() {
    let (result, history) =
        World::new(2).run(async |mut interpreter| interpreter.run(Box::new(Greedy)).await);
    assert!(matches!(result, Err(InterpreterError::WrongAnswer(_))));
    assert_eq!(history, ["0 0 invoke ok 1", "1 0 ok ok 1"]);
}

/// Panics when it is told of its second completion.
struct Fragile(u32);

impl Generator for Fragile {
    fn peek(&mut self, ctx: &Context<'_>) -> Peek {
        ctx.turn().map_or(Peek::Pending, |thread| {
            Peek::Op(Planned {
                time: ctx.time,
                thread,
                op: Op::new("ok", (thread as u64 + 1).into()),
            })
        })
    }

    fn accept(&mut self, _: &Context<'_>, _: &Planned) {}

    fn update(&mut self, _: &Context<'_>, _: &Update<'_>) {
        self.0 += 1;
        assert!(self.0 < 2, "too much");
    }
}

#[test]
fn a_generator_that_panics_ends_the_phase_in_order() {
    let world = World::new(2);
    let (result, history) = world.run(async |mut interpreter| {
        let result = interpreter.run(Box::new(Fragile(0))).await;
        interpreter.run(steps([any("after", 1)])).await.unwrap();
        result
    });
    let Err(InterpreterError::GeneratorPanicked(message)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(message, "too much");
    assert_eq!(
        history,
        [
            "0 0 invoke ok 1",
            "0 1 invoke ok 2",
            "1 0 ok ok 1",
            "1 0 invoke ok 1",
            "2 1 ok ok 2",
            "2 0 ok ok 1",
            "2 1 invoke after 1",
            "3 1 ok after 1",
        ]
    );
}

#[test]
fn lateness_is_the_schedules_and_dispatch_is_the_controllers() {
    // One operation a millisecond, which takes ten: each is later than the one before.
    let plan = (1..=20).map(|ms| on_any_at(ms, "ok", 10));
    let (phase, _) = World::new(1).run(async |mut interpreter| interpreter.run(steps(plan)).await);
    let timing = phase.unwrap().timing;
    assert_eq!(timing.latency.count, 20);
    let about = |measured: Duration, ms: u64| {
        let expected = Duration::from_millis(ms);
        measured >= expected && measured <= expected.mul_f64(1.01)
    };
    assert!(about(timing.latency.p50, 10), "{timing:?}");
    assert!(about(timing.lateness.max, 19 * 9), "{timing:?}");
    // Stamps of virtual events at one time are a nanosecond apart.
    assert!(
        timing.dispatch.max < Duration::from_nanos(100),
        "{timing:?}"
    );
    assert!(
        timing.stamping.max < Duration::from_nanos(100),
        "{timing:?}"
    );
    assert!(!timing.is_overloaded());
}
