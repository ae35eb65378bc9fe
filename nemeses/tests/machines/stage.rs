//! A fault on the nodes as a run has it, with a system on all of them.

use std::sync::Arc;
use std::time::Duration;

use harness::Name;
use harness::capability::{Environment, PowerSwitch};
use harness::client::Op;
use harness::fault::FaultOutcome;
use harness::seed::Seed;
use harness::time::RealClock;
use nemeses::ssh::{Journaled, PowerSwitches, ssh_environment};
use nemeses::{BuildContext, Composition, Package, build, parse};
use serde_json::Value;

use crate::outside::{Machines, Sleeper};
use crate::part::System;

/// A fault on the nodes, with a system that runs on all.
pub(crate) struct Stage<'a> {
    pub(crate) machines: &'a Machines,
    pub(crate) nodes: Vec<Journaled>,
    pub(crate) env: Environment,
    /// The fault that ends machines, and maybe one beside it.
    pub(crate) packages: Vec<Package>,
}

/// A fault on nodes where this system runs; maybe with others.
pub(crate) fn stage<'a>(
    machines: &'a Machines,
    system: Arc<System<Sleeper>>,
    spec: &str,
    max_down: Option<usize>,
) -> Stage<'a> {
    let nodes = machines.journaled();
    let names: Vec<Name> = nodes.iter().map(|at| at.node.name.clone()).collect();
    let power = machines.cluster.power().unwrap().into_iter();
    let switch = |power| Arc::new(power) as Arc<dyn PowerSwitch>;
    let power: PowerSwitches = names.iter().cloned().zip(power.map(switch)).collect();
    let env = ssh_environment(&nodes, system, power);
    let packages = machines.runtime.block_on(async {
        let ctx = BuildContext {
            seed: Seed::new(1),
            time_limit: Duration::from_secs(60),
            election_timeout: Duration::from_secs(1),
            leaders: false,
            nodes: names.clone(),
            zones: nemeses::Zones::default(),
            clock: Arc::new(RealClock::start()),
            composition: Composition {
                max_down,
                ..Composition::default()
            },
        };
        for name in &names {
            env.processes.as_ref().unwrap().start(name).await.unwrap();
        }
        build(&parse(spec).unwrap(), &ctx).unwrap()
    });
    let mut packages = packages;
    machines
        .runtime
        .block_on(packages[0].fault.probe(&env))
        .unwrap();
    Stage {
        machines,
        nodes,
        env,
        packages,
    }
}

impl Stage<'_> {
    pub(crate) fn invoke(&mut self, f: &str) -> FaultOutcome {
        self.invoke_of(0, f)
    }

    pub(crate) fn invoke_of(&mut self, index: usize, f: &str) -> FaultOutcome {
        let package = &mut self.packages[index];
        let op = Op::new(f, package.planned[0].value.clone());
        self.machines
            .runtime
            .block_on(package.fault.invoke(&self.env, &op))
    }

    pub(crate) fn installed(&mut self, f: &str) -> Value {
        match self.invoke(f) {
            FaultOutcome::Installed(value) => value,
            other => panic!("{other:?}"),
        }
    }

    /// As a run does, until it is undone.
    pub(crate) fn stopped(&mut self) -> Value {
        let machines = self.machines;
        machines.until("the machine is back", || match self.invoke("stop") {
            FaultOutcome::Installed(value) => Some(value),
            FaultOutcome::Indeterminate(_) => None,
            FaultOutcome::Skipped(error) => panic!("{error:?}"),
        })
    }

    pub(crate) fn leave(self) {
        self.machines.runtime.block_on(async {
            nemeses::ssh::leave(&self.nodes).await;
            for at in &self.nodes {
                let left = at.journal.list().await.unwrap();
                assert_eq!(left, []);
                Sleeper::end(&at.node).await;
            }
        });
    }
}
