//! What faults of one run know of each other, loads, and data that goes back: against a world in memory.
#![allow(clippy::unwrap_used)]

#[path = "common/stage.rs"]
mod stage;
#[path = "common/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use harness::Name;
use harness::capability::{Environment, ProcessState};
use harness::client::Op;
use harness::seed::Seed;
use harness::time::{Clock, VirtualRuntime};
use nemeses::{BuildContext, Composition, Package, Zones, build, parse};
use serde_json::json;

use stage::{Stage, installed, packages, skipped};
use world::{Shared, names};

/// Several faults of one run, in a world.
fn together(faults: &str, seed: u64) -> (VirtualRuntime, Shared, Environment, Vec<Package>) {
    let runtime = VirtualRuntime::new();
    let nodes = names(3);
    let world = Shared::new(&nodes);
    let env = world.environment(&nodes);
    let packages = packages(&runtime, nodes, Zones::default(), faults, seed);
    (runtime, world, env, packages)
}

#[test]
fn nobody_starts_what_another_fault_holds_down() {
    let faults = "kill:target=n1,power:target=n1,disk:errors:target=n1";
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        for killer in ["kill", "power"] {
            let (runtime, world, env, mut packages) = together(faults, 1);
            let mut invoke = |at: usize, f: &str| {
                let package: &mut Package = &mut packages[at];
                let op = Op::new(f, package.planned[0].value.clone());
                runtime.block_on(package.fault.invoke(&env, &op)).unwrap()
            };
            let state = || world.with(|world| world.processes[&Name::from("n1")]);
            installed(invoke(2, "start"));
            let first = usize::from(killer == "power");
            installed(invoke(first, "start"));
            assert_eq!(state(), ProcessState::Absent);
            // The other finds nothing to strike, and holds nothing.
            skipped(invoke(1 - first, "start"));
            let mut held = true;
            for at in order {
                let stopped = invoke(at, "stop");
                held &= at != first;
                let expected = match held {
                    true => ProcessState::Absent,
                    false => ProcessState::Running,
                };
                assert_eq!(state(), expected, "{killer} {order:?} {at}: {stopped:?}");
            }
        }
    }
}

#[test]
fn a_load_is_measured_until_it_shows() {
    let mut stage = Stage::new(3, "load:memory:target=n2:amount=256MiB", 1);
    stage.world.with(|world| world.busy = 500);
    let value = installed(stage.start(0));
    assert_eq!(value["effective"], json!(true));
    assert_eq!(value["targets"], json!(["n2"]));
    assert_eq!(value["load"]["n2"]["cpu-ms"], json!(500));
    let loads = stage.world.with(|world| world.loads.clone());
    let asked = json!(loads[&Name::from("n2")]);
    assert_eq!(
        asked["load"],
        json!({"of": "memory", "amount": {"bytes": 256 << 20}, "oom": false})
    );
    let value = installed(stage.stop());
    assert_eq!(value["effective"], json!(true));
    assert!(stage.world.with(|world| world.loads.is_empty()));

    // Where nothing is seen of it, that is what the end says.
    stage.world.with(|world| world.busy = 0);
    assert_eq!(installed(stage.start(0))["effective"], json!(false));
    assert_eq!(installed(stage.stop())["effective"], json!(false));
}

#[test]
fn data_goes_back_across_a_stop() {
    let mut stage = Stage::new(3, "corrupt:restore:target=all:back=2s", 1);
    let before = stage.runtime.clock().now();
    let value = installed(stage.start(0));
    assert!(stage.runtime.clock().now() - before >= 2_000_000_000);
    assert_eq!(value["effective"], json!(true));
    // No more nodes than a minority, in the whole run.
    assert_eq!(value["targets"].as_array().unwrap().len(), 1);
    let node = value["targets"][0].as_str().unwrap().to_owned();
    let done = stage.world.with(|world| std::mem::take(&mut world.done));
    let steps = ["KILL", "keep", "start", "KILL", "put back", "start"];
    assert_eq!(done, steps.map(|step| format!("{step} {node}")));
    installed(stage.stop());

    let mut stage = Stage::new(3, "corrupt:wipe:target=n3", 1);
    let value = installed(stage.start(0));
    assert_eq!(value["different"]["n3"]["bytes"], json!(7));
    let done = stage.world.with(|world| std::mem::take(&mut world.done));
    assert_eq!(done, ["KILL n3", "wipe n3", "start n3"]);
    // What is down already is not wiped.
    stage.world.with(|world| {
        let absent = ProcessState::Absent;
        world.processes.insert("n3".into(), absent);
    });
    assert!(skipped(stage.start(0)).contains("not there already"));
}

#[test]
fn setbacks_are_never_drawn() {
    let nodes = names(3);
    let ctx = BuildContext {
        seed: Seed::new(1),
        time_limit: Duration::from_secs(60),
        election_timeout: Duration::from_secs(1),
        leaders: false,
        zones: Zones::default(),
        nodes,
        clock: Arc::new(VirtualRuntime::new().clock()),
        composition: Composition::default(),
    };
    let built = |text: &str| build(&parse(text).unwrap(), &ctx);
    let error = built("corrupt:restore:back=1m").err().unwrap().to_string();
    assert!(error.contains("option `back`"), "{error}");
    let packages = built("corrupt:interval=10ms:duration=5ms").unwrap();
    assert!(packages[0].planned.len() > 10);
    let planned = packages[0].planned.iter();
    assert!(
        planned
            .clone()
            .all(|activity| activity.value.get("corruption").is_some())
    );
}
