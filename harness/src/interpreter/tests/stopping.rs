//! Ending a run from outside.

use std::time::Duration;

use super::world::*;
use crate::interpreter::{PhaseEnd, Stage};
use crate::time::sleep;

/// Calls a function of the run's `Stop` at some milliseconds.
fn at(world: &World, ms: u64, call: impl Fn(&crate::interpreter::Stop) + Send + 'static) {
    let (clock, stop) = (world.clock(), world.stop.clone());
    let task = {
        let clock = clock.clone();
        async move {
            sleep(&*clock, Duration::from_millis(ms)).await;
            call(&stop);
        }
    };
    clock.spawn(Box::pin(task));
}

fn endless() -> impl Iterator<Item = Step> {
    (0..1_000).map(|_| any("ok", 10))
}

#[test]
fn the_first_stop_lets_operations_finish_and_final_phases_run() {
    let world = World::new(2);
    at(&world, 15, |stop| {
        stop.escalate();
    });
    let (ends, history) = world.run(async |mut interpreter| {
        let mut ends = Vec::new();
        ends.push(interpreter.run(steps(endless())).await.unwrap().end);
        ends.push(interpreter.run(steps(endless())).await.unwrap().end);
        let last = interpreter.run_final(steps([any("final", 5)])).await;
        ends.push(last.unwrap().end);
        ends
    });
    use PhaseEnd::{Exhausted, Stopped};
    assert_eq!(ends, [Stopped, Stopped, Exhausted]);
    assert_eq!(
        history,
        [
            "0 0 invoke ok 10",
            "0 1 invoke ok 10",
            "10 0 ok ok 10",
            "10 0 invoke ok 10",
            "10 1 ok ok 10",
            "10 1 invoke ok 10",
            "20 0 ok ok 10",
            "20 1 ok ok 10",
            "20 0 invoke final 5",
            "25 0 ok final 5",
        ]
    );
}

#[test]
fn the_second_stop_abandons_what_is_under_way() {
    let world = World {
        faults: vec![("cut", Ok(()))],
        ..World::new(2)
    };
    world
        .tally
        .slow
        .store(4, std::sync::atomic::Ordering::SeqCst);
    at(&world, 11, |stop| assert_eq!(stop.escalate(), Stage::Stop));
    at(&world, 13, |stop| {
        assert_eq!(stop.escalate(), Stage::Abandon);
    });
    let plan = [on(0, "ok", 100), on(2, "start", 50), on_at(1, 10, "ok", 1)];
    let (ends, history) = world.run(async |mut interpreter| {
        let main = interpreter.run(steps(plan)).await.unwrap().end;
        let last = interpreter.run_final(steps(endless())).await;
        interpreter.heal().await;
        [main, last.unwrap().end]
    });
    assert_eq!(ends, [PhaseEnd::Abandoned; 2]);
    assert_eq!(
        history,
        [
            "0 nemesis/cut invoke start 50",
            "4 0 invoke ok 100",
            // Its client was being opened: nothing was sent.
            "13 0 info ok 100 interrupted",
            "13 1 invoke ok 1",
            "13 1 fail ok 1 no-client",
            "13 nemesis/cut info start 50 interrupted",
            "13 nemesis/cut invoke heal",
            "14 nemesis/cut ok heal",
        ]
    );
}

#[test]
fn stages_only_go_up() {
    let stop = crate::interpreter::Stop::new();
    assert_eq!(stop.stage(), Stage::Run);
    stop.abandon();
    stop.stop();
    assert_eq!(stop.stage(), Stage::Abandon);
    assert_eq!(stop.clone().escalate(), Stage::Abandon);
}
