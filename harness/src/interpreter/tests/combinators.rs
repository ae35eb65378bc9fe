//! The interpreter with the real generators.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;

use super::world::World;
use crate::client::Op;
use crate::generator::{
    BoxGenerator, GeneratorExt, any, clients_and_nemeses, concat, from_fn, independent, op, ops,
    sleep,
};
use crate::interpreter::PhaseEnd;
use crate::seed::Seed;

const SECOND: Duration = Duration::from_secs(1);

fn act(f: &str, ms: u64) -> Op {
    Op::new(f, ms.into())
}

/// Two keys at a time, three threads each; some operations fail, crash or hang.
fn chaotic_clients(seed: Seed) -> BoxGenerator {
    independent::concurrent(seed, 3, 0_u64.., |seed, _, _| {
        let acts = from_fn(seed, |rng, _| {
            let f = match rng.random_range(0..200) {
                0 | 1 => "hang",
                2..8 => "info",
                8..30 => "fail",
                30..40 => "refuse",
                _ => "ok",
            };
            Some(act(f, rng.random_range(0..20)))
        });
        acts.limit(40).boxed()
    })
    .boxed()
}

/// A second of chaos with two faults, each on its own schedule; then, when all is quiet, one last
/// operation.
fn test() -> BoxGenerator {
    let cut = ops([act("start", 30), act("stop", 5)]).stagger(Seed::new(3), SECOND / 5);
    let kill = concat([sleep(SECOND / 10).boxed(), op(act("start", 1_200)).boxed()]);
    let faults = any(
        Seed::new(2),
        [cut.nemesis("cut").boxed(), kill.nemesis("kill").boxed()],
    );
    let main = clients_and_nemeses(chaotic_clients(Seed::new(1)).time_limit(SECOND), faults);
    main.then(op(act("final", 1)).clients()).boxed()
}

fn run() -> (PhaseEnd, Vec<String>) {
    let world = World {
        faults: vec![("cut", Ok(())), ("kill", Ok(()))],
        ..World::new(6)
    };
    world.tally.refuse.store(20, Ordering::SeqCst);
    world.run(async |mut interpreter| {
        let phase = interpreter.run(test()).await;
        interpreter.close().await;
        phase.unwrap().end
    })
}

#[test]
fn combinators_and_interpreter_understand_each_other() {
    let (end, history) = run();
    assert_eq!(end, PhaseEnd::Exhausted);
    // MILLISECONDS PROCESS TYPE F …
    let parsed: Vec<Vec<&str>> = history
        .iter()
        .map(|line| line.split(' ').collect())
        .collect();
    let ms = |event: &[&str]| event[0].parse::<u64>().unwrap();
    let find = |process: &str, kind: &str, f: &str| {
        let is = |event: &&Vec<&str>| {
            event[2] == kind && event[3] == f && (process.is_empty() || event[1] == process)
        };
        let found = parsed.iter().find(is);
        ms(found.unwrap_or_else(|| panic!("no {process} {kind} {f} in {history:#?}")))
    };
    // The faults overlap, and clients work on under both.
    let (began, ended) = (
        find("nemesis/kill", "invoke", "start"),
        find("nemesis/kill", "ok", "start"),
    );
    assert_eq!((began, ended), (100, 1_300));
    let cut = find("nemesis/cut", "invoke", "stop");
    assert!((began..ended).contains(&cut), "{cut}");
    let meanwhile = parsed
        .iter()
        .filter(|event| event[2] == "ok" && (began..1_000).contains(&ms(event)));
    assert!(meanwhile.count() > 100);
    // The time limit holds for beginnings; hanging operations may end a second later.
    let late = |event: &&Vec<&str>| event[2] == "invoke" && (1_000..1_300).contains(&ms(event));
    assert_eq!(parsed.iter().find(late), None);
    // The last operation waits for everything.
    let last = find("", "invoke", "final");
    assert_eq!(parsed[parsed.len() - 2][3], "final");
    assert!(last >= ended);
    for word in ["no-client", "refuse", "timeout", "fail"] {
        assert!(history.iter().any(|line| line.ends_with(word)), "no {word}");
    }
    assert_eq!(history, run().1, "the same again");
}
