//! Restarting nodes one after another, in a world in memory.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Restarted, Rolling};
use harness::client::Op;
use harness::fault::FaultOutcome;
use harness::seed::Seed;
use harness::time::{SharedClock, VirtualRuntime, sleep};
use harness::{Name, Value};
use nemeses::{BuildContext, Composition, build, parse};
use serde_json::json;

/// A system in memory, whose nodes take a second to restart.
struct World {
    clock: SharedClock,
    system: Mutex<System>,
}

#[derive(Default)]
struct System {
    versions: BTreeMap<Name, String>,
    brought: Option<String>,
    /// Nodes that are being restarted.
    under_way: usize,
    /// What happened, in its order.
    done: Vec<String>,
    /// Nodes that do not come up with a version.
    broken: Option<(Name, String)>,
}

#[async_trait]
impl Rolling for World {
    async fn probe(&self, version: Option<&str>) -> Result<(), String> {
        if version == Some("none") {
            return Err("no version `none`".to_owned());
        }
        self.system.lock().unwrap().brought = version.map(str::to_owned);
        Ok(())
    }

    fn versions(&self) -> BTreeMap<Name, String> {
        self.system.lock().unwrap().versions.clone()
    }

    async fn restart(
        &self,
        node: &Name,
        version: Option<&str>,
    ) -> Result<Restarted, CapabilityError> {
        {
            let mut system = self.system.lock().unwrap();
            system.under_way += 1;
            assert_eq!(system.under_way, 1, "one after another");
        }
        sleep(&*self.clock, Duration::from_secs(1)).await;
        let mut system = self.system.lock().unwrap();
        system.under_way -= 1;
        let from = system.versions[node].clone();
        let to = version.unwrap_or(&from).to_owned();
        system.done.push(format!("{node} {to}"));
        system.versions.insert(node.clone(), to.clone());
        if system.broken == Some((node.clone(), to.clone())) {
            return Err(CapabilityError::Indeterminate(format!(
                "{node}: not healthy"
            )));
        }
        Ok(Restarted {
            from: version.map(|_| from),
            runs: to,
            in_order: true,
        })
    }
}

fn names(count: usize) -> Vec<Name> {
    (1..=count).map(|i| Name::from(format!("n{i}"))).collect()
}

/// What becomes of operations of a fault, one after the other, and what was done.
fn outcomes(
    fault: &str,
    count: usize,
    ops: &[&'static str],
    before: fn(&mut System),
) -> (Vec<FaultOutcome>, Vec<String>) {
    let runtime = VirtualRuntime::new();
    let clock: SharedClock = Arc::new(runtime.clock());
    let versions = names(count).into_iter().map(|node| (node, "1".to_owned()));
    let mut system = System {
        versions: versions.collect(),
        ..System::default()
    };
    before(&mut system);
    let world = Arc::new(World {
        clock: clock.clone(),
        system: Mutex::new(system),
    });
    let env = Environment {
        nodes: names(count),
        rolling: Some(world.clone()),
        ..Environment::default()
    };
    let ctx = BuildContext {
        seed: Seed::new(3),
        time_limit: Duration::from_secs(600),
        election_timeout: Duration::from_millis(100),
        leaders: false,
        nodes: names(count),
        zones: nemeses::Zones::default(),
        clock,
        composition: Composition::default(),
    };
    let mut package = build(&parse(fault).unwrap(), &ctx).unwrap().remove(0);
    let outcomes = runtime
        .block_on(async {
            package.fault.probe(&env).await.unwrap();
            let mut outcomes = Vec::new();
            for (f, planned) in ops.iter().zip(package.planned.iter().cycle()) {
                let op = Op::new(*f, planned.value.clone());
                outcomes.push(package.fault.invoke(&env, &op).await);
            }
            outcomes
        })
        .unwrap();
    let done = world.system.lock().unwrap().done.clone();
    (outcomes, done)
}

fn installed(outcome: &FaultOutcome) -> &Value {
    match outcome {
        FaultOutcome::Installed(value) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_nodes_are_restarted_one_after_another() {
    let (outcomes, done) = outcomes("rolling", 3, &["start", "stop"], |_| {});
    let value = installed(&outcomes[0]);
    assert_eq!(value["effective"], true);
    let said = json!({"in_order": true, "runs": "1"});
    assert_eq!(
        value["restarted"],
        json!({"n1": said, "n2": said, "n3": said})
    );
    installed(&outcomes[1]);
    assert_eq!(done.len(), 3);
}

#[test]
fn an_upgrade_stays_and_is_done_once() {
    let (outcomes, done) = outcomes(
        "rolling:upgrade:to=2",
        3,
        &["start", "stop", "start"],
        |_| {},
    );
    assert_eq!(installed(&outcomes[0])["restarted"]["n2"]["from"], "1");
    installed(&outcomes[1]);
    let FaultOutcome::Skipped(error) = &outcomes[2] else {
        panic!("{outcomes:?}");
    };
    assert!(error.message.contains("started with 2 already"), "{error}");
    assert_eq!(done.len(), 3);
    assert!(done.iter().all(|it| it.ends_with(" 2")));
}

#[test]
fn versions_are_mixed_and_go_back() {
    let (outcomes, done) = outcomes(
        "rolling:upgrade:to=2:target=n2:back=true",
        3,
        &["start", "stop"],
        |_| {},
    );
    assert_eq!(installed(&outcomes[0])["targets"], json!(["n2"]));
    assert_eq!(installed(&outcomes[1])["restarted"]["n2"]["runs"], "1");
    assert_eq!(done, ["n2 2", "n2 1"]);
}

#[test]
fn a_node_that_does_not_come_up_leaves_it_open_and_can_go_back() {
    let broken = |system: &mut System| system.broken = Some(("n2".into(), "2".to_owned()));
    let (outcomes, done) = outcomes(
        "rolling:upgrade:to=2:target=n2:back=true",
        3,
        &["start", "stop"],
        broken,
    );
    assert!(matches!(outcomes[0], FaultOutcome::Indeterminate(_)));
    assert_eq!(installed(&outcomes[1])["restarted"]["n2"]["runs"], "1");
    assert_eq!(done, ["n2 2", "n2 1"]);
}

#[test]
fn what_is_done_takes_no_longer_than_an_operation_may() {
    let (outcomes, done) = outcomes("rolling", 30, &["start"], |_| {});
    let value = installed(&outcomes[0]);
    let (restarted, skipped) = (&value["targets"], &value["skipped"]);
    assert_eq!(restarted.as_array().unwrap().len(), done.len());
    assert_eq!(done.len() + skipped.as_array().unwrap().len(), 30);
    assert!((15..20).contains(&done.len()), "{done:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let ctx = || BuildContext {
        seed: Seed::new(3),
        time_limit: Duration::from_secs(60),
        election_timeout: Duration::from_millis(100),
        leaders: false,
        nodes: names(3),
        zones: nemeses::Zones::default(),
        clock: Arc::new(VirtualRuntime::new().clock()),
        composition: Composition::default(),
    };
    for (fault, why) in [
        ("rolling:upgrade", "give the version"),
        ("rolling:restart:to=2", "changes no version"),
        ("rolling:back=true", "only an upgrade"),
    ] {
        let error = build(&parse(fault).unwrap(), &ctx()).err().unwrap();
        assert!(error.message.contains(why), "{fault}: {error}");
    }
}
