//! Faults beside clients and beside each other.

use store::{OpError, Value};

use super::world::*;

const NULL: Value = Value::Null;

fn world() -> World {
    World {
        faults: vec![("cut", Ok(())), ("kill", Ok(()))],
        ..World::new(1)
    }
}

#[test]
fn faults_overlap_and_hold_up_nobody() {
    let history = world().history(steps([
        on(1, "start", 50),
        on(2, "start", 20),
        on(0, "read", 5),
        on(2, "stop", 10),
        on(0, "read", 5),
        on(1, "stop", 1),
    ]));
    assert_eq!(
        history,
        [
            "0 nemesis/cut invoke start 50",
            "0 nemesis/kill invoke start 20",
            "0 0 invoke read 5",
            "5 0 ok read 5",
            "20 nemesis/kill ok start \"evidence\"",
            "20 nemesis/kill invoke stop 10",
            "20 0 invoke read 5",
            "25 0 ok read 5",
            "30 nemesis/kill ok stop \"evidence\"",
            "50 nemesis/cut ok start \"evidence\"",
            "50 nemesis/cut invoke stop 1",
            "51 nemesis/cut ok stop \"evidence\"",
        ]
    );
}

#[test]
fn faults_keep_their_process_however_they_end() {
    let history = world().history(steps([
        on(1, "skip", 1),
        on(1, "maybe", 1),
        on(1, "panic", 1),
        on(1, "hang", NULL),
        on(1, "start", 1),
    ]));
    assert_eq!(
        history,
        [
            "0 nemesis/cut invoke skip 1",
            "1 nemesis/cut fail skip 1 told",
            "1 nemesis/cut invoke maybe 1",
            "2 nemesis/cut info maybe 1 told",
            "2 nemesis/cut invoke panic 1",
            "3 nemesis/cut info panic 1 panic",
            "3 nemesis/cut invoke hang",
            "10003 nemesis/cut info hang timeout",
            "10003 nemesis/cut invoke start 1",
            "10004 nemesis/cut ok start \"evidence\"",
        ]
    );
}

#[test]
fn healing_is_recorded_and_reported_also_after_the_run_was_abandoned() {
    let error = OpError::new("firewall", "rule still there");
    let world = World {
        faults: vec![("cut", Err(error.clone())), ("kill", Ok(()))],
        ..World::new(1)
    };
    world.stop.abandon();
    let (outcomes, history) = world.run(async |mut interpreter| {
        let outcomes = interpreter.heal().await;
        interpreter.close().await;
        outcomes
    });
    assert_eq!(
        history,
        [
            "0 nemesis/cut invoke heal",
            "0 nemesis/kill invoke heal",
            "1 nemesis/cut info heal firewall",
            "1 nemesis/kill ok heal",
        ]
    );
    assert_eq!(
        outcomes,
        [("cut".into(), Err(error)), ("kill".into(), Ok(()))]
    );
}
