//! Faults against a world in memory: what they do to it, what they say of it, and how they undo it.
#![allow(clippy::unwrap_used)]

#[path = "common/stage.rs"]
mod stage;
#[path = "common/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use harness::capability::{CapabilityError, Environment, Grudge, ProcessState};
use harness::fault::FaultOutcome;
use harness::seed::Seed;
use harness::time::VirtualRuntime;
use harness::{Name, Value};
use nemeses::grudge::majority;
use nemeses::{BuildContext, Composition, Zones, build, parse};
use proptest::prelude::*;
use serde_json::json;

use stage::{Stage, installed, skipped};
use world::{Shared, World, names};

fn indeterminate(outcome: FaultOutcome) -> String {
    match outcome {
        FaultOutcome::Indeterminate(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_partition_drops_packets_and_says_so() {
    let mut stage = Stage::new(5, "partition:one:target=primary", 1);
    stage
        .world
        .with(|world| world.primaries = vec!["n4".into()]);
    let started = installed(stage.start(0));
    assert_eq!(started["targets"], json!(["n4"]));
    assert_eq!(started["leader"], json!(true));
    assert_eq!(started["effective"], json!(true));
    assert_eq!(
        started["dropped"],
        json!({"n1": 3, "n2": 3, "n3": 3, "n4": 12, "n5": 3})
    );
    let cuts = stage.world.with(|world| world.cuts.clone());
    assert!(cuts.drops("n1", "n4") && cuts.drops("n4", "n1") && !cuts.drops("n1", "n2"));
    let stopped = installed(stage.stop());
    assert_eq!(stopped["effective"], json!(true));
    assert_eq!(stopped["targets"], json!(["n4"]));
    assert_eq!(
        stage.world.with(|world| world.cuts.clone()),
        Grudge::default()
    );
}

/// Between whom packets pass in no direction, as text: `n1-n2 n1-n3`.
fn severed(world: &Shared, nodes: usize) -> String {
    let cuts = world.with(|world| world.cuts.clone());
    let nodes = names(nodes);
    let pairs = nodes
        .iter()
        .enumerate()
        .flat_map(|(at, a)| nodes[at + 1..].iter().map(move |b| (a, b)));
    let pairs = pairs.filter(|(a, b)| cuts.drops(a, b) && cuts.drops(b, a));
    pairs
        .map(|(a, b)| format!("{a}-{b}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_zone_dies_as_a_whole_and_comes_back() {
    let zones = ["n1=eu/a", "n2=eu/a", "n3=eu/b", "n4=us/a", "n5=us/a"];
    let mut struck = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut stage = Stage::in_zones(5, "chaos-gorilla", seed, &zones);
        let value = installed(stage.start(0));
        assert_eq!(value["effective"], json!(true));
        let dead = stage.world.with(|world| {
            let dead = world
                .processes
                .iter()
                .filter(|it| *it.1 == ProcessState::Absent);
            dead.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        assert_eq!(value["targets"], json!(dead));
        struck.insert(format!(
            "{}: {}",
            value["zone"].as_str().unwrap(),
            dead.join(" ")
        ));
        installed(stage.stop());
    }
    assert_eq!(
        Vec::from_iter(struck),
        ["eu/a: n1 n2", "eu/b: n3", "us/a: n4 n5"]
    );
    let mut stage = Stage::in_zones(5, "pause:target=region-us", 1, &zones);
    assert_eq!(installed(stage.start(0))["targets"], json!(["n4", "n5"]));
    let mut stage = Stage::in_zones(5, "packet:target=zone-eu/b:peers=all", 1, &zones);
    assert_eq!(installed(stage.start(0))["targets"], json!(["n3"]));
}

#[test]
fn groups_see_only_themselves() {
    for seed in 0..20 {
        let mut stage = Stage::new(5, "partition:groups:n=5", seed);
        installed(stage.start(0));
        let all = "n1-n2 n1-n3 n1-n4 n1-n5 n2-n3 n2-n4 n2-n5 n3-n4 n3-n5 n4-n5";
        assert_eq!(severed(&stage.world, 5), all);
        let mut stage = Stage::new(4, "partition:groups:n=2", seed);
        installed(stage.start(0));
        assert_eq!(severed(&stage.world, 4).split(' ').count(), 4);
    }
}

#[test]
fn a_zone_or_a_region_is_cut_off() {
    let zones = ["n1=eu/a", "n2=eu/b", "n3=eu/b", "n4=us/a"];
    let run = |fault: &str| {
        let mut stage = Stage::in_zones(4, fault, 3, &zones);
        stage
            .world
            .with(|world| world.primaries = vec!["n3".into()]);
        let started = installed(stage.start(0));
        (severed(&stage.world, 4), started)
    };
    // That of the primary first.
    let (cut, started) = run("partition:zone");
    assert_eq!(cut, "n1-n2 n1-n3 n2-n4 n3-n4");
    assert_eq!(started["leader"], json!(true));
    assert_eq!(run("partition:zone:target=n1").0, "n1-n2 n1-n3 n1-n4");
    assert_eq!(run("partition:zone:zone=us/a").0, "n1-n4 n2-n4 n3-n4");
    assert_eq!(run("partition:region").0, "n1-n4 n2-n4 n3-n4");
    assert_eq!(run("partition:zones").0, "n1-n2 n1-n3 n1-n4 n2-n4 n3-n4");
}

#[test]
fn clients_are_cut_off_from_nodes_and_nodes_from_nobody_else() {
    let mut stage = Stage::new(3, "partition:clients:direction=in", 1);
    stage
        .world
        .with(|world| world.primaries = vec!["n2".into()]);
    let started = installed(stage.start(0));
    assert_eq!(started["targets"], json!(["n2"]));
    assert_eq!(started["leader"], json!(true));
    assert_eq!(started.get("grudge"), None);
    assert_eq!(
        started["links"],
        json!([{"from": "clients", "to": "n2", "dropped": 3}])
    );
    let rules = stage.world.with(|world| world.links["partition"].clone());
    assert_eq!(rules.rules.len(), 1);
    let mut stage = Stage::new(3, "partition:clients:target=all", 1);
    installed(stage.start(0));
    let rules = stage.world.with(|world| world.links["partition"].clone());
    assert_eq!(rules.rules.len(), 6);
    installed(stage.stop());
}

#[test]
fn what_is_not_dropped_is_rejected_or_held() {
    for (action, word) in [("reject", "rejected"), ("jam", "held")] {
        let fault = format!("partition:one:action={action}:ports=2379+2380:flap=200ms");
        let mut stage = Stage::new(3, &fault, 1);
        let started = installed(stage.start(0));
        assert_eq!(started["effective"], json!(true));
        assert!(started[word].as_object().unwrap().len() == 3);
        assert_eq!(started.get("dropped"), None);
        assert_eq!(started["grudge"].as_object().unwrap().len(), 3);
        let rules = stage.world.with(|world| world.links["partition"].clone());
        assert_eq!(rules.flap, Some(Duration::from_millis(200)));
        assert_eq!(rules.rules[0].traffic.ports, [2379, 2380]);
        let stopped = installed(stage.stop());
        assert!(stopped[word]["n1"].as_u64().unwrap() > 0);
    }
}

#[test]
fn bad_lines_say_what_they_did() {
    let mut stage = Stage::new(3, "packet:delay:target=n1", 1);
    let started = installed(stage.start(0));
    assert_eq!(started["effective"], json!(true));
    assert_eq!(started["targets"], json!(["n1"]));
    assert_eq!(started["delayed"], json!({"n1": 6, "n2": 3, "n3": 3}));
    assert_eq!(started.get("lost"), None);
    assert_eq!(
        started["links"][0],
        json!({"from": "n1", "to": "n2", "delayed": 3, "delay-ms": 2.5})
    );
    let stopped = installed(stage.stop());
    assert_eq!(stopped["effective"], json!(true));
    assert!(stage.world.with(|world| world.links.is_empty()));
    assert!(skipped(stage.stop()).contains("nothing to undo"));
}

#[test]
fn without_traffic_there_is_no_evidence() {
    let mut stage = Stage::new(3, "partition:halves", 1);
    stage.world.with(|world| world.traffic = 0);
    assert_eq!(installed(stage.start(0))["effective"], json!(false));
    assert_eq!(installed(stage.stop())["effective"], json!(false));
}

#[test]
fn a_fault_that_is_to_strike_a_primary_waits_for_an_election() {
    for fault in ["partition:one", "packet:loss", "kill", "pause"] {
        let mut stage = Stage::new(5, fault, 1);
        stage.world.with(|world| {
            world.primaries = vec!["n2".into()];
            world.elections = 20;
        });
        let started = installed(stage.start(0));
        assert_eq!(
            (&started["targets"], &started["leader"]),
            (&json!(["n2"]), &json!(true))
        );
    }
    // But not for ever.
    let mut stage = Stage::new(5, "kill:target=primary", 1);
    stage.world.with(|world| world.elections = usize::MAX);
    let started = installed(stage.start(0));
    assert_eq!(started["leader"], json!(false));
    assert_eq!(started["targets"].as_array().unwrap().len(), 1);
}

#[test]
fn a_mix_that_found_no_primary_strikes_one_the_next_time() {
    for (fault, seed) in ["partition:one", "packet:loss", "kill", "pause"]
        .into_iter()
        .flat_map(|fault| (0..20).map(move |seed| (fault, seed)))
    {
        let mut stage = Stage::new(5, fault, seed);
        stage.world.with(|world| world.elections = usize::MAX);
        assert_eq!(installed(stage.start(0))["leader"], json!(false), "{fault}");
        installed(stage.stop());
        stage.world.with(|world| {
            world.primaries = vec!["n2".into()];
            world.elections = 3;
        });
        let started = installed(stage.start(1));
        assert_eq!(started["leader"], json!(true), "{fault} {seed}");
    }
}

#[test]
fn a_cut_that_was_not_made_is_skipped_and_one_in_doubt_is_healed() {
    let mut stage = Stage::new(3, "partition", 1);
    stage
        .world
        .with(|world| world.failure = Some(CapabilityError::NotDone));
    assert!(skipped(stage.start(0)).contains("the cable is hot"));
    assert!(skipped(stage.stop()).contains("nothing to undo"));

    stage
        .world
        .with(|world| world.failure = Some(CapabilityError::Indeterminate));
    assert!(indeterminate(stage.start(0)).contains("the cable is hot"));
    installed(stage.stop());

    // A stop that failed, even for certain, leaves it in force.
    installed(stage.start(0));
    stage
        .world
        .with(|world| world.failure = Some(CapabilityError::NotDone));
    assert!(indeterminate(stage.stop()).contains("the cable is hot"));
    stage
        .world
        .with(|world| world.failure = Some(CapabilityError::NotDone));
    stage.heal().unwrap_err();
    stage.heal().unwrap();
    stage.heal().unwrap();
    assert_eq!(
        stage.world.with(|world| world.cuts.clone()),
        Grudge::default()
    );
}

#[test]
fn the_killed_are_gone_and_started_again() {
    let mut stage = Stage::new(5, "kill:target=n2+n4", 1);
    stage
        .world
        .with(|world| world.primaries = vec!["n4".into()]);
    let started = installed(stage.start(0));
    let states = json!({"n2": "absent", "n4": "absent"});
    assert_eq!(
        started,
        json!({
            "effective": true, "leader": true, "down": true, "states": states,
            "targets": ["n2", "n4"],
        })
    );
    let stopped = installed(stage.stop());
    assert_eq!(stopped["states"], json!({"n2": "running", "n4": "running"}));
    let done = stage.world.with(|world| world.done.len());
    assert_eq!(done, 4);
    assert!(skipped(stage.stop()).contains("nothing to undo"));
}

#[test]
fn a_signal_that_is_ignored_proves_nothing() {
    let mut stage = Stage::new(3, "kill:target=all:signal=TERM", 1);
    let started = installed(stage.start(0));
    assert_eq!(started["effective"], json!(false));
    assert_eq!(started["leader"], json!(false));
    // By its number, one that has no name.
    let mut stage = Stage::new(3, "kill:target=all:signal=33", 1);
    assert_eq!(installed(stage.start(0))["effective"], json!(false));
    // One that need not end a process is proved by its delivery.
    let mut stage = Stage::new(3, "kill:target=all:signal=HUP", 1);
    assert_eq!(installed(stage.start(0))["effective"], json!(true));
}

#[test]
fn clocks_are_off_and_then_right_again() {
    for fault in ["clock:skew", "clock:strobe", "clock:freeze"] {
        let mut stage = Stage::new(5, &format!("{fault}:target=n2+n4:max=1h"), 3);
        for activity in 0..3 {
            let started = installed(stage.start(activity));
            assert_eq!(started["targets"], json!(["n2", "n4"]), "{fault}");
            assert_eq!(started["effective"], json!(true), "{fault} {started}");
            assert_eq!(started["clocks"]["n2"][0]["whose"], "world[1]");
            assert_eq!(stage.world.with(|world| world.clocks.len()), 2);
            installed(stage.stop());
            assert_eq!(stage.world.with(|world| world.clocks.len()), 0);
        }
    }
}

#[test]
fn a_clock_that_drifts_too_slowly_to_be_seen_at_first_is_told_in_the_end() {
    let mut stage = Stage::new(3, "clock:drift:target=n1:max=1s", 1);
    assert_eq!(installed(stage.start(0))["effective"], json!(false));
    // Later.
    stage.world.with(|world| {
        let (_, ahead) = world.clocks.get_mut("n1").unwrap();
        *ahead = 5.0;
    });
    assert_eq!(installed(stage.stop())["effective"], json!(true));
}

#[test]
fn clocks_that_may_be_wrong_are_made_right() {
    let mut stage = Stage::new(3, "clock:skew:target=n1", 1);
    let unknown = |world: &mut World| world.failure = Some(CapabilityError::Indeterminate);
    stage.world.with(unknown);
    assert!(indeterminate(stage.start(0)).contains("the cable is hot"));
    stage.world.with(unknown);
    assert!(indeterminate(stage.stop()).contains("the cable is hot"));
    stage.heal().unwrap();
    assert!(skipped(stage.stop()).contains("nothing to undo"));
}

#[test]
fn a_process_that_was_not_there_was_not_killed() {
    let mut stage = Stage::new(3, "kill:target=n1", 1);
    let absent = |world: &mut World| world.processes.insert("n1".into(), ProcessState::Absent);
    stage.world.with(absent);
    assert!(skipped(stage.start(0)).contains("not there already"));
    stage.heal().unwrap();
    assert!(
        stage.world.with(|world| world.done.is_empty()),
        "and is not started either"
    );
}

#[test]
fn the_paused_go_on() {
    let mut stage = Stage::new(3, "pause:target=majority", 5);
    let started = installed(stage.start(0));
    assert_eq!(started["effective"], json!(true));
    let stopped = |world: &mut World| {
        let states = world.processes.values();
        states
            .filter(|state| **state == ProcessState::Stopped)
            .count()
    };
    assert_eq!(stage.world.with(stopped), 2);
    stage.heal().unwrap();
    assert_eq!(stage.world.with(stopped), 0);
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nodes_come_back() {
    let mut stage = Stage::new(3, "power:target=all", 1);
    let started = installed(stage.start(0));
    assert_eq!(started["effective"], json!(true));
    let lost = json!({"files": 0, "bytes": 9, "entries": 0});
    assert_eq!(started["lost"], json!({"n1": lost, "n2": lost, "n3": lost}));
    let stopped = installed(stage.stop());
    assert_eq!(stopped["lost"]["n1"], "running");
    let runs = |world: &mut World| {
        world
            .processes
            .values()
            .all(|it| *it == ProcessState::Running)
    };
    assert!(stage.world.with(runs));
}

#[test]
fn a_disk_is_bad_until_the_stop_and_a_system_that_it_ended_is_started_again() {
    let mut stage = Stage::new(3, "disk:errors:on=sync:path=*.wal:target=n2", 1);
    let started = installed(stage.start(0));
    assert_eq!(started["effective"], json!(true));
    assert_eq!(started["operations"], json!({"n2": {"struck": 2}}));
    let rule = stage.world.with(|world| world.disk_rules["n2"][0].clone());
    assert_eq!(
        (rule.kinds.join(" "), rule.glob.as_deref()),
        ("sync".to_owned(), Some("*.wal"))
    );
    stage
        .world
        .with(|world| world.processes.insert("n2".into(), ProcessState::Absent));
    let stopped = installed(stage.stop());
    assert_eq!(
        stopped["operations"],
        json!({"n2": {"struck": 2, "restarted": "running"}})
    );
    assert!(stage.world.with(|world| world.disk_rules.is_empty()));
    // Nothing that is struck is no evidence.
    stage.world.with(|world| world.operations = 0);
    assert_eq!(installed(stage.start(1))["effective"], json!(false));
    assert_eq!(installed(stage.stop())["effective"], json!(false));
    // What comes late is told at the end.
    assert_eq!(installed(stage.start(2))["effective"], json!(false));
    stage.world.with(|world| world.operations = 1);
    assert_eq!(installed(stage.stop())["effective"], json!(true));
}

#[test]
fn a_lying_fsync_is_never_drawn() {
    for seed in 0..20 {
        let stage = Stage::new(3, "disk", seed);
        let lies = |value: &Value| value["variant"] == "lying-fsync";
        assert!(!stage.package.planned.iter().any(|it| lies(&it.value)));
    }
}

#[test]
fn no_more_nodes_are_damaged_than_a_minority_unless_that_is_asked_for() {
    let struck = |fault: &str| {
        let mut stage = Stage::new(5, fault, 3);
        for activity in 0..8 {
            let _ = stage.start(activity);
            let _ = stage.stop();
        }
        let done = stage.world.with(|world| world.done.clone());
        let words = done.iter().filter(|it| it.starts_with("corrupt"));
        let nodes = words.map(|it| it.split(' ').nth(1).unwrap().to_owned());
        nodes.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(struck("corrupt"), 2);
    assert_eq!(struck("corrupt:target=all"), 2);
    assert_eq!(struck("corrupt:target=all:nodes=4"), 4);
    // In a helix no two nodes have the same part damaged.
    let mut stage = Stage::new(3, "corrupt:zero:helix=true:target=all", 1);
    installed(stage.start(0));
    let mut done = stage.world.with(|world| world.done.clone());
    done.sort();
    assert_eq!(
        done,
        [
            "corrupt n1 (0, 3)",
            "corrupt n2 (1, 3)",
            "corrupt n3 (2, 3)"
        ]
    );
}

#[test]
fn a_node_that_does_not_answer_is_no_evidence() {
    let mut stage = Stage::new(3, "pause:target=all", 1);
    stage.world.with(|world| world.gone.insert("n2".into()));
    // It could not even be looked at, so nothing was done to it.
    let started = installed(stage.start(0));
    assert_eq!(started["targets"], json!(["n1", "n3"]));
    assert_eq!(started["skipped"], json!(["n2 is gone"]));
    // It vanishes while paused: undoing waits for it.
    stage.world.with(|world| {
        world.gone.clear();
        world.gone.insert("n1".into());
    });
    assert!(indeterminate(stage.stop()).contains("n1 is gone"));
    stage.world.with(|world| world.gone.clear());
    assert_eq!(installed(stage.stop())["targets"], json!(["n1"]));
}

#[test]
fn what_cannot_be_done_here_is_refused_before_the_run() {
    let probe = |fault: &str, spoil: fn(&mut Environment)| {
        let mut stage = Stage::new(3, fault, 1);
        spoil(&mut stage.env);
        let env = stage.env.clone();
        let run = stage.package.fault.probe(&env);
        stage.runtime.block_on(run).unwrap()
    };
    assert_eq!(probe("partition,kill,pause", |_| {}), Ok(()));
    assert!(probe("partition", |env| env.network = None).is_err());
    assert!(probe("kill", |env| env.processes = None).is_err());
    assert_eq!(probe("clock", |_| {}), Ok(()));
    assert!(probe("clock", |env| env.clocks = None).is_err());
    assert!(probe("clock:scope=machine", |_| {}).is_err());
    assert!(probe("pause:target=primary", |env| env.primaries = None).is_err());
    assert!(probe("partition:primaries", |env| env.primaries = None).is_err());
    assert_eq!(probe("pause", |env| env.primaries = None), Ok(()));
}

#[test]
fn what_makes_no_sense_is_refused_when_built() {
    let runtime = VirtualRuntime::new();
    let error = |nodes: usize, fault: &str| {
        let ctx = BuildContext {
            seed: Seed::new(1),
            time_limit: Duration::from_secs(10),
            election_timeout: Duration::from_secs(1),
            leaders: false,
            nodes: names(nodes),
            zones: Zones::default(),
            clock: Arc::new(runtime.clock()),
            composition: Composition::default(),
        };
        let built = build(&parse(fault).unwrap(), &ctx);
        built.map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        error(2, "partition:bridge"),
        "--nemesis partition:bridge: at least 3 nodes needed, there are 2"
    );
    assert_eq!(
        error(1, "partition"),
        "--nemesis partition: at least 2 nodes needed, there are 1"
    );
    assert!(error(3, "partition:zone").contains("--zone n1=a"));
    assert!(error(3, "partition:one:zone=a").contains("only the variants"));
    assert!(error(3, "partition:groups:n=4").contains("at least 4 nodes"));
    assert!(error(3, "partition:one:flap=1ms").contains("at least"));
    assert!(error(3, "packet:target=n9").contains("no target or node `n9`"));
    assert!(error(3, "kill:target=n1+n4").contains("no target or node `n4`"));
    assert!(error(3, "clock:scope=machine:clocks=both").contains("monotonic"));
    assert!(error(3, "clock:scope=libfaketime:clocks=both").contains("monotonic"));
    assert!(error(3, "clock:drift:scope=libfaketime").contains("skews"));
    assert!(error(3, "clock:max=10us").contains("at least 1ms"));
}

#[test]
fn zones_that_may_not_be_cut_off_are_refused_when_built() {
    let runtime = VirtualRuntime::new();
    let nodes = names(5);
    let zones = ["n1=eu/a", "n2=eu/a", "n3=eu/b", "n4=eu/b", "n5=us/a"];
    let built = |fault: &str, most: usize| {
        let ctx = BuildContext {
            seed: Seed::new(1),
            time_limit: Duration::from_secs(10),
            election_timeout: Duration::from_secs(1),
            leaders: false,
            nodes: nodes.clone(),
            zones: Zones::read(zones, &nodes).unwrap(),
            clock: Arc::new(runtime.clock()),
            composition: Composition {
                max_down: Some(most),
                ..Composition::default()
            },
        };
        let built = build(&parse(fault).unwrap(), &ctx);
        built.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(built("partition:zone", 2), Ok(()));
    assert_eq!(
        built("partition:zone", 1).unwrap_err(),
        "--nemesis partition:zone: the zone `eu/a` has 2 of 5 nodes: without it 2 are cut off, and at most 1 may be down at once\n  \
         hint: --max-down 2"
    );
    assert_eq!(built("partition:zone:zone=us/a", 1), Ok(()));
    // Four nodes of five are the majority, and one is cut off from it.
    assert_eq!(built("partition:region:zone=eu", 1), Ok(()));
}

#[test]
fn operations_that_nobody_planned_are_refused() {
    let mut stage = Stage::new(3, "partition", 1);
    assert!(skipped(stage.invoke("start", json!({"variant": "thirds"}))).contains("thirds"));
    assert!(skipped(stage.invoke("jump", Value::Null)).contains("no operation `jump`"));
    let mut stage = Stage::new(3, "kill", 1);
    assert!(skipped(stage.invoke("start", Value::Null)).contains("refused"));
    assert_eq!(stage.fault().name(), "kill");
}

proptest! {
    /// Whatever is drawn: the cut is a real one, evidence names who suffers, and heal leaves nothing.
    #[test]
    fn every_planned_partition_acts_and_is_undone(seed: u64, n in 2usize..9, primary in 0usize..9) {
        let mut stage = Stage::new(n, "partition", seed);
        let primary = names(n)[primary % n].clone();
        stage.world.with(|world| world.primaries = vec![primary.clone()]);
        for activity in 0..stage.package.planned.len() {
            let started = installed(stage.start(activity));
            prop_assert_eq!(&started["effective"], &json!(true));
            let cuts = stage.world.with(|world| world.cuts.clone());
            let targets: Vec<Name> =
                started["targets"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().into()).collect();
            prop_assert!(!targets.is_empty());
            prop_assert_eq!(&started["leader"], &json!(targets.contains(&primary)));
            if activity == 0 {
                prop_assert_eq!(&started["leader"], &json!(true));
                // It is really cut off from a majority.
                let all = names(n);
                let open = |other: &&Name| !cuts.drops(&primary, other) && !cuts.drops(other, &primary);
                prop_assert!(all.iter().filter(open).count() < majority(n));
            }
            installed(stage.stop());
            prop_assert_eq!(stage.world.with(|world| world.cuts.clone()), Grudge::default());
        }
        stage.heal().unwrap();
    }

    #[test]
    fn whoever_is_killed_or_paused_runs_in_the_end(seed: u64, n in 1usize..9, fault in "kill|pause") {
        let mut stage = Stage::new(n, &fault, seed);
        stage.world.with(|world| world.primaries = vec!["n1".into()]);
        for activity in 0..stage.package.planned.len() {
            let started = installed(stage.start(activity));
            prop_assert_eq!(&started["effective"], &json!(true));
            if activity == 0 {
                prop_assert_eq!(&started["targets"], &json!(["n1"]));
            }
            let hit = stage.world.with(|world| {
                world.processes.values().filter(|state| **state != ProcessState::Running).count()
            });
            prop_assert_eq!(hit, started["targets"].as_array().unwrap().len());
            installed(stage.stop());
            let running = stage.world.with(|world| {
                world.processes.values().all(|state| *state == ProcessState::Running)
            });
            prop_assert!(running);
        }
    }
}
