//! All faults at once, through the interpreter, on virtual time: what the history of a run shows.
#![allow(clippy::unwrap_used)]

#[path = "common/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use harness::client::{Client, ClientInfo, Connect};
use harness::generator::{
    BoxGenerator, GeneratorExt, Roster, any, clients_and_nemeses, nothing, shortest_any,
};
use harness::interpreter::{Config, Interpreter, Stop};
use harness::seed::Seed;
use harness::time::VirtualRuntime;
use harness::{Event, EventType, Name, OpError, Process};
use nemeses::{BuildContext, LEADERS, build, leader_watch, parse};
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
        leaders: true,
        nodes: nodes.clone(),
        zones: nemeses::Zones::default(),
        clock: Arc::new(runtime.clock()),
    };
    let mut packages = build(&parse(faults).unwrap(), &ctx).unwrap();
    packages.push(leader_watch(&ctx));
    let roster = Roster {
        workers: 1,
        nodes: nodes.clone(),
        nemeses: packages
            .iter()
            .map(|package| package.name.clone())
            .collect(),
    };
    let (faults, mut schedules): (Vec<_>, Vec<BoxGenerator>) = packages
        .into_iter()
        .map(|package| (package.fault, package.schedule))
        .unzip();
    let watch = schedules.pop().unwrap();
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
    let all = shortest_any(ctx.seed, [any(ctx.seed, schedules).boxed(), watch]);
    let generator = clients_and_nemeses(nothing(), all).time_limit(LIMIT);
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
        let watched = by_fault.remove(LEADERS).unwrap();
        assert_eq!(watched[1].value["elected"], serde_json::json!([]));
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

#[test]
fn the_history_shows_who_led_when() {
    let mut followed = 0;
    for seed in 0..50 {
        let events = run("kill:target=primary", seed);
        let of = |name: &str, f: &str| -> Vec<&Event> {
            let process = Process::Nemesis(name.into());
            let mine = events.iter().filter(|event| event.process == process);
            mine.filter(|event| !event.is_invoke() && &*event.f == f)
                .collect()
        };
        let watched = of(LEADERS, "watch");
        assert!(watched.iter().all(|event| event.kind == EventType::Ok));
        // The world elects another leader at once when one is killed, and returns to the first.
        for kill in of("kill", "start") {
            let dead = &kill.value["targets"][0];
            let ends = events
                .iter()
                .find(|event| event.time > kill.time && &*event.f == "stop");
            // What is over before anyone looks again is not seen.
            if ends.is_none_or(|end| end.time - kill.time < 300_000_000) {
                continue;
            }
            let next = watched.iter().find(|event| event.time > kill.time).unwrap();
            assert!(next.time - kill.time < 300_000_000, "{kill:?} {next:?}");
            let elected = next.value["elected"].as_array().unwrap();
            assert!(elected.len() == 1 && elected[0] != *dead, "{next:?}");
        }
        // Looked after all the time, and told of at least once a second.
        for pair in watched.windows(2) {
            assert!(pair[1].time - pair[0].time <= 1_001_000_000);
        }
        let acted = events
            .iter()
            .rfind(|event| ["start", "stop"].contains(&&*event.f));
        assert!(watched.last().unwrap().time >= acted.unwrap().time);
        let elections = watched
            .iter()
            .filter(|event| event.value["elected"][0].is_string());
        followed += elections.count();
    }
    assert!(followed > 200, "{followed}");
}
