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
use nemeses::{
    BuildContext, Composition, Entry, LEADERS, Order, Quiet, Script, build, leader_watch, parse,
    replay,
};
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
    composed(faults, Composition::default(), seed)
}

/// The same, with faults that go together as told.
fn composed(faults: &str, composition: Composition, seed: u64) -> Vec<Event> {
    in_zones(faults, composition, seed, &[])
}

/// The same, with nodes in zones.
fn in_zones(faults: &str, composition: Composition, seed: u64, zones: &[&str]) -> Vec<Event> {
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
        zones: nemeses::Zones::read(zones.iter().copied(), &nodes).unwrap(),
        clock: Arc::new(runtime.clock()),
        composition,
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

/// An activity of a fault: from when its start was asked for to when it had been undone.
#[derive(Debug)]
struct Window {
    fault: Name,
    from: u64,
    /// When it was in force.
    since: u64,
    /// When its end was asked for.
    until: u64,
    to: u64,
    targets: Vec<String>,
}

fn windows(events: &[Event]) -> Vec<Window> {
    let mut all: Vec<Window> = Vec::new();
    let mut asked: BTreeMap<Name, u64> = BTreeMap::new();
    for event in events {
        let Process::Nemesis(name) = &event.process else {
            continue;
        };
        let mine = all.iter_mut().rev().find(|window| window.fault == *name);
        match (&*event.f, event.kind) {
            ("start", EventType::Invoke) => drop(asked.insert(name.clone(), event.time)),
            ("start", EventType::Ok) => all.push(Window {
                fault: name.clone(),
                from: asked[name],
                since: event.time,
                until: u64::MAX,
                to: u64::MAX,
                targets: serde_json::from_value(event.value["targets"].clone()).unwrap(),
            }),
            ("stop", EventType::Invoke) => mine.unwrap().until = event.time,
            ("stop", EventType::Ok) => mine.unwrap().to = event.time,
            _ => {}
        }
    }
    all
}

fn overlap(one: &Window, other: &Window) -> bool {
    one.from < other.to && other.from < one.to
}

/// Whether any two activities overlap for which that is not allowed.
fn overlapping(windows: &[Window], matters: impl Fn(&Window, &Window) -> bool) -> bool {
    windows.iter().enumerate().any(|(at, one)| {
        let mut later = windows[at + 1..].iter();
        later.any(|other| overlap(one, other) && matters(one, other))
    })
}

#[test]
fn faults_overlap_unless_they_alternate_or_want_to_be_alone() {
    let mut overlapped = 0;
    for seed in 0..40 {
        let all = windows(&run("partition,kill,pause", seed));
        overlapped += usize::from(overlapping(&all, |_, _| true));
        let alone = windows(&run("partition,kill,pause:alone=true", seed));
        assert!(!overlapping(&alone, |one, other| &*one.fault == "pause"
            || &*other.fault == "pause"));
        let turns = Composition {
            order: Order::Alternating,
            ..Composition::default()
        };
        let turns = windows(&composed("partition,kill:weight=5,pause", turns, seed));
        assert!(!overlapping(&turns, |_, _| true), "{turns:?}");
        assert!(turns.len() >= 2, "{turns:?}");
    }
    assert!(overlapped > 20);
}

#[test]
fn who_weighs_more_gets_more_turns() {
    let mut counts = BTreeMap::new();
    for seed in 0..60 {
        let turns = Composition {
            order: Order::Alternating,
            ..Composition::default()
        };
        for window in windows(&composed(
            "partition:interval=500ms:duration=100ms,kill:weight=4",
            turns,
            seed,
        )) {
            *counts.entry(window.fault.to_string()).or_insert(0) += 1;
        }
    }
    assert!(counts["kill"] > counts["partition"] * 3, "{counts:?}");
    assert!(counts["kill"] < counts["partition"] * 6, "{counts:?}");
}

#[test]
fn nothing_is_in_force_in_quiet_periods() {
    let quiet = Quiet {
        every: Duration::from_secs(3),
        lasts: Duration::from_secs(1),
    };
    let mut acted = 0;
    for seed in 0..60 {
        let composition = Composition {
            quiet: Some(quiet),
            ..Composition::default()
        };
        for window in windows(&composed("partition,kill,pause", composition, seed)) {
            // What is asked for at one time is recorded some nanoseconds after each other.
            let within = |time: u64| time.saturating_sub(100) % 3_000_000_000;
            // A start that was asked for just before takes its time, and is then stopped at once.
            assert!(window.from % 3_000_000_000 < 2_000_000_000, "{window:?}");
            let late = window.since % 3_000_000_000 >= 2_000_000_000;
            let until = if late { window.since } else { window.until };
            assert!(window.until <= until + 100, "{window:?}");
            assert!(late || within(until) <= 2_000_000_000, "{window:?}");
            acted += 1;
        }
    }
    assert!(acted > 300, "{acted}");
}

#[test]
fn no_more_nodes_are_down_than_may_be() {
    let mut refused = 0;
    for seed in 0..100 {
        let composition = Composition {
            max_down: Some(2),
            ..Composition::default()
        };
        let events = composed("partition,kill,pause", composition, seed);
        let all = windows(&events);
        for at in all.iter().map(|window| window.since) {
            let standing = all
                .iter()
                .filter(|window| window.since <= at && at < window.until);
            let mut down: Vec<&String> = standing.flat_map(|window| &window.targets).collect();
            down.sort_unstable();
            down.dedup();
            assert!(down.len() <= 2, "{down:?} at {at}");
        }
        let error = |event: &&Event| {
            event
                .error
                .as_ref()
                .is_some_and(|it| it.to_string().contains("over-budget"))
        };
        refused += events.iter().filter(error).count();
    }
    assert!(refused > 0);
}

#[test]
fn a_zone_is_down_as_a_whole_or_not_at_all() {
    let zones = ["n1=a", "n2=a", "n3=b", "n4=b", "n5=c"];
    let zones_of_two = |faults: &str, seed: u64| {
        let composition = Composition {
            max_down: Some(2),
            ..Composition::default()
        };
        let events = in_zones(faults, composition, seed, &zones);
        let all = windows(&events);
        let kills = all.iter().filter(|window| &*window.fault == "kill");
        let places = kills.map(|window| {
            let mut targets = window.targets.clone();
            targets.sort();
            targets.join(" ")
        });
        let places: Vec<String> = places.collect();
        let known = ["n1 n2", "n3 n4", "n5"];
        assert!(
            places.iter().all(|place| known.contains(&&**place)),
            "{places:?}"
        );
        let error = |event: &&Event| {
            let error = event.error.as_ref();
            error.is_some_and(|it| it.to_string().contains("over-budget"))
        };
        let two = places.iter().filter(|place| *place != "n5").count();
        (two, events.iter().filter(error).count())
    };
    let (mut killed, mut refused) = (0, 0);
    for seed in 0..40 {
        killed += zones_of_two("kill:target=zone,pause:target=one", seed).0;
        // With one other node down, there is room for half of a zone.
        refused += zones_of_two(
            "kill:target=zone,pause:target=n5:interval=9s:duration=8s",
            seed,
        )
        .1;
    }
    assert!(killed > 20 && refused > 5, "{killed} {refused}");
}

#[test]
fn a_script_is_followed_and_a_run_is_repeated() {
    let entry = |at: u64, lasts: u64, nemesis: &str| Entry {
        at: Duration::from_millis(at),
        lasts: Duration::from_millis(lasts),
        nemesis: nemesis.to_owned(),
        value: None,
    };
    let entries = vec![
        entry(1_000, 500, "kill:target=n3"),
        entry(1_200, 2_000, "partition:one"),
        entry(2_000, 100, "kill:target=n1"),
        entry(2_100, 100, "kill:target=n1+n2"),
    ];
    let scripted = |script: Script, seed| {
        let faults = script.nemesis().unwrap();
        let composition = Composition {
            order: Order::Scripted(script),
            ..Composition::default()
        };
        (faults.clone(), composed(&faults, composition, seed))
    };
    let (faults, events) = scripted(Script { entries }, 5);
    assert_eq!(faults, "kill:target=n3,partition:one");
    let told = |events: &[Event]| -> Vec<String> {
        let mut all = windows(events);
        all.sort_by_key(|window| window.from);
        let tell = |window: &Window| {
            let (from, lasts) = (
                window.from / 1_000_000,
                (window.until - window.since + 500_000) / 1_000_000,
            );
            format!(
                "{} {from} {lasts} {}",
                window.fault,
                window.targets.join("+")
            )
        };
        all.iter().map(tell).collect()
    };
    let first = told(&events);
    let (kills, cuts): (Vec<_>, Vec<_>) = first.iter().partition(|it| it.starts_with("kill"));
    assert_eq!(
        kills,
        [
            "kill 1000 500 n3",
            "kill 2000 100 n1",
            "kill 2100 100 n1+n2"
        ]
    );
    assert!(
        cuts.len() == 1 && cuts[0].starts_with("partition 1200 2000 n"),
        "{cuts:?}"
    );

    // Whatever was left to chance, or to who led then, is the same again under another seed.
    for seed in 0..20 {
        let events = run("partition,kill,pause", seed);
        let script = replay(&parse("partition,kill,pause").unwrap(), &events);
        let (_, again) = scripted(script, seed + 1000);
        assert_eq!(told(&events), told(&again), "{seed}");
        let grudges = |events: &[Event]| -> Vec<harness::Value> {
            let cuts = events
                .iter()
                .filter(|event| event.value.get("grudge").is_some());
            cuts.filter(|event| !event.is_invoke())
                .map(|event| event.value["grudge"].clone())
                .collect()
        };
        assert_eq!(grudges(&events), grudges(&again));
    }
}
