//! A fault in a world in memory, for tests, each of which uses a part of this.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use harness::capability::Environment;
use harness::client::Op;
use harness::fault::{Fault, FaultOutcome};
use harness::seed::Seed;
use harness::time::VirtualRuntime;
use harness::{Name, Value};
use nemeses::{BuildContext, Composition, Package, Zones, build, parse};

use crate::world::{Shared, names};

/// The faults of a run.
pub(crate) fn packages(
    runtime: &VirtualRuntime,
    nodes: Vec<Name>,
    zones: Zones,
    faults: &str,
    seed: u64,
) -> Vec<Package> {
    let ctx = BuildContext {
        seed: Seed::new(seed),
        time_limit: Duration::from_secs(60),
        election_timeout: Duration::from_secs(1),
        leaders: false,
        zones,
        nodes,
        clock: Arc::new(runtime.clock()),
        composition: Composition::default(),
    };
    build(&parse(faults).unwrap(), &ctx).unwrap()
}

/// One fault in a world of some nodes, on virtual time.
pub(crate) struct Stage {
    pub(crate) runtime: VirtualRuntime,
    pub(crate) world: Shared,
    pub(crate) env: Environment,
    pub(crate) package: Package,
}

impl Stage {
    pub(crate) fn new(nodes: usize, fault: &str, seed: u64) -> Stage {
        Stage::in_zones(nodes, fault, seed, &[])
    }

    pub(crate) fn in_zones(nodes: usize, fault: &str, seed: u64, zones: &[&str]) -> Stage {
        let runtime = VirtualRuntime::new();
        let nodes = names(nodes);
        let world = Shared::new(&nodes);
        let env = world.environment(&nodes);
        let zones = Zones::read(zones.iter().copied(), &nodes).unwrap();
        let mut packages = packages(&runtime, nodes, zones, fault, seed);
        Stage {
            runtime,
            world,
            env,
            package: packages.remove(0),
        }
    }

    pub(crate) fn fault(&mut self) -> &mut dyn Fault {
        &mut *self.package.fault
    }

    pub(crate) fn invoke(&mut self, f: &str, value: Value) -> FaultOutcome {
        let op = Op::new(f, value);
        let run = self.package.fault.invoke(&self.env, &op);
        self.runtime.block_on(run).unwrap()
    }

    pub(crate) fn start(&mut self, activity: usize) -> FaultOutcome {
        let value = self.package.planned[activity].value.clone();
        self.invoke("start", value)
    }

    pub(crate) fn stop(&mut self) -> FaultOutcome {
        self.invoke("stop", Value::Null)
    }

    pub(crate) fn heal(&mut self) -> Result<(), String> {
        let run = self.package.fault.heal(&self.env);
        let healed = self.runtime.block_on(run).unwrap();
        healed.map_err(|error| error.to_string())
    }
}

/// The evidence of an outcome that must be `Installed`.
pub(crate) fn installed(outcome: FaultOutcome) -> Value {
    match outcome {
        FaultOutcome::Installed(value) => value,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn skipped(outcome: FaultOutcome) -> String {
    match outcome {
        FaultOutcome::Skipped(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}
