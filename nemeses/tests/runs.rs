//! All faults at once, through the interpreter, on virtual time: what the history of a run shows.
#![allow(clippy::unwrap_used)]

#[path = "common/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use harness::client::{Client, ClientInfo, Connect};
use harness::generator::{GeneratorExt, Roster, any, clients_and_nemeses, nothing};
use harness::interpreter::{Config, Interpreter, Stop};
use harness::seed::Seed;
use harness::time::VirtualRuntime;
use harness::{Event, EventType, Name, OpError, Process};
use nemeses::{BuildContext, build, parse};
use store::Recorder;
use store::recorder::Options;

use world::{Shared, names};

const LIMIT: Duration = Duration::from_secs(10);

/// There are no clients in these runs.
struct Nobody;

#[async_trait]
impl Connect for Nobody {
    async fn open(&self, _: &ClientInfo) -> Result<Box<dyn Client>, OpError> {
        unreachable!("nobody asks for one")
    }
}

/// The history of a run with these faults, whose leader is elected by lot.
fn run(faults: &str, seed: u64) -> Vec<Event> {
    let runtime = VirtualRuntime::new();
    let nodes = names(5);
    let world = Shared::new(&nodes);
    world.with(|world| world.primaries = vec![nodes[seed as usize % 5].clone()]);
    let ctx = BuildContext {
        seed: Seed::new(seed),
        time_limit: LIMIT,
        election_timeout: Duration::from_secs(1),
        nodes: nodes.clone(),
        clock: Arc::new(runtime.clock()),
    };
    let packages = build(&parse(faults).unwrap(), &ctx).unwrap();
    let roster = Roster {
        workers: 1,
        nodes: nodes.clone(),
        nemeses: packages
            .iter()
            .map(|package| package.name.clone())
            .collect(),
    };
    let (faults, schedules): (Vec<_>, Vec<_>) = packages
        .into_iter()
        .map(|package| (package.fault, package.schedule))
        .unzip();
    let history = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let history = history.clone();
        move |events: &[Event]| history.lock().unwrap().extend_from_slice(events)
    };
    let recorder = Recorder::in_memory(Options {
        observers: vec![Box::new(observer)],
        ..Options::default()
    })
    .unwrap();
    let config = Config {
        clock: ctx.clock.clone(),
        roster: Arc::new(roster),
        connect: Arc::new(Nobody),
        faults,
        environment: world.environment(&nodes),
        recorder: recorder.clone(),
        op_timeout: LIMIT,
        open_timeout: LIMIT,
        fault_timeout: LIMIT,
        stop: Stop::new(),
    };
    let generator = clients_and_nemeses(nothing(), any(ctx.seed, schedules)).time_limit(LIMIT);
    runtime
        .block_on(async {
            let mut interpreter = Interpreter::new(config);
            interpreter.run(generator.boxed()).await.unwrap();
            interpreter.heal().await;
            interpreter.close().await;
        })
        .unwrap();
    recorder.finish().unwrap();
    std::mem::take(&mut *history.lock().unwrap())
}

#[test]
fn every_fault_acts_hits_a_leader_and_is_gone_in_the_end() {
    for seed in 0..200 {
        let events = run("partition,kill,pause", seed);
        let mut by_fault: BTreeMap<Name, Vec<&Event>> = BTreeMap::new();
        for event in &events {
            let Process::Nemesis(name) = &event.process else {
                panic!("only faults act here: {event:?}");
            };
            by_fault.entry(name.clone()).or_default().push(event);
        }
        assert_eq!(by_fault.len(), 3);
        for (fault, events) in by_fault {
            let ok = |event: &&&Event| event.kind == EventType::Ok;
            let proves = |event: &&Event, what: &str| event.value[what] == true;
            assert!(
                events
                    .iter()
                    .filter(ok)
                    .any(|event| proves(event, "effective")),
                "{fault} {seed}"
            );
            assert!(
                events
                    .iter()
                    .filter(ok)
                    .any(|event| proves(event, "leader")),
                "{fault} {seed}"
            );
            let starts = events
                .iter()
                .filter(|event| event.is_invoke() && &*event.f == "start");
            assert!(starts.count() >= 3, "{fault} {seed}");
            let first = events[0].time;
            assert!(first <= 2_000_000_000, "{fault} first acts at {first}");
            // Nothing is left for the heal: the last is a stop, or a start that did nothing.
            let last = events.iter().rfind(|event| &*event.f != "heal").unwrap();
            let nothing_done = last.kind == EventType::Fail;
            assert!(
                &*last.f == "stop" || nothing_done,
                "{fault} {seed}: {last:?}"
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    assert_eq!(
        run("partition,kill,pause", 7),
        run("partition,kill,pause", 7)
    );
    assert_ne!(
        run("partition,kill,pause", 7),
        run("partition,kill,pause", 8)
    );
}
