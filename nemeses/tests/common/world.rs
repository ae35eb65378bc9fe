//! A world in memory that provides all capabilities, for tests of faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use harness::capability::{
    CapabilityError, ClockChange, ClockOffsets, ClockScope, ClockSeen, ClockSetting, Clocks,
    Corruption, DiskRule, DiskStatus, Disks, Environment, Grudge, Load, LoadSeen, Loads, Lost,
    Network, Primaries, ProcessState, Processes, Signal, Survival,
};
use harness::links::{LinkCount, LinkCounts, LinkRule, LinkRules, Party, Treatment};
use harness::{Name, Value};
use serde_json::json;

/// A world in memory.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) cuts: Grudge,
    /// How many packets come in on each cut link every time that somebody looks.
    pub(crate) traffic: u64,
    pub(crate) counted: BTreeMap<String, BTreeMap<(Party, Party), LinkCount>>,
    /// The rules in force, by layer.
    pub(crate) links: BTreeMap<String, LinkRules>,
    /// How nodes' clocks go, and how far ahead they are in milliseconds: more for each look, where they drift.
    pub(crate) clocks: BTreeMap<Name, (ClockSetting, f64)>,
    /// The state of the process on each node.
    pub(crate) processes: BTreeMap<Name, ProcessState>,
    pub(crate) primaries: Vec<Name>,
    /// How often nobody is primary yet when asked.
    pub(crate) elections: usize,
    /// Signals and starts, in their order.
    pub(crate) done: Vec<String>,
    /// The rules in force on each node's disk.
    pub(crate) disk_rules: BTreeMap<Name, Vec<DiskRule>>,
    /// How many operations a rule strikes every time that somebody looks.
    pub(crate) operations: u64,
    /// The load on each node.
    pub(crate) loads: BTreeMap<Name, Load>,
    /// CPU time that loads have used every time that somebody looks.
    pub(crate) busy: u64,
    /// Nodes that answer nothing.
    pub(crate) gone: BTreeSet<Name>,
    /// What happens to the network next.
    pub(crate) failure: Option<fn(String) -> CapabilityError>,
}

impl World {
    /// Those of the primaries that run; if none does, another node that does has taken over.
    fn leaders(&self) -> Vec<Name> {
        let runs = |node: &&Name| self.processes[*node] == ProcessState::Running;
        let leaders: Vec<Name> = self.primaries.iter().filter(runs).cloned().collect();
        match leaders.is_empty() && !self.primaries.is_empty() {
            true => self
                .processes
                .keys()
                .find(runs)
                .cloned()
                .into_iter()
                .collect(),
            false => leaders,
        }
    }

    fn count(&mut self, layer: &str) {
        let rules = self.links.get(layer).cloned().unwrap_or_default();
        let counted = self.counted.entry(layer.to_owned()).or_default();
        for LinkRule {
            from,
            to,
            treatment,
            ..
        } in rules.rules
        {
            let link = (from.clone(), to.clone());
            let counts = &mut counted
                .entry(link)
                .or_insert_with(|| LinkCount {
                    from,
                    to,
                    counts: LinkCounts::default(),
                })
                .counts;
            counts.matched += self.traffic;
            match treatment {
                Treatment::Drop | Treatment::Reject => {}
                Treatment::Jam => counts.held += self.traffic,
                Treatment::Quality(_) => {
                    counts.delayed += self.traffic;
                    counts.delay_us += self.traffic * 2500;
                }
            }
        }
    }

    /// Does something to the data of a system that must not run.
    fn still(&mut self, node: &Name, what: &str) -> Result<Value, CapabilityError> {
        assert_eq!(self.check(node)?, ProcessState::Absent);
        self.done.push(format!("{what} {node}"));
        Ok(json!({"files": 1, "bytes": 7}))
    }

    fn check(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        match self.gone.contains(node) {
            true => Err(CapabilityError::Indeterminate(format!("{node} is gone"))),
            false => Ok(self.processes[node]),
        }
    }

    /// Looks at the clocks of a node.
    fn look(&mut self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError> {
        self.check(node)?;
        let Some((setting, ahead)) = self.clocks.get_mut(node) else {
            return Ok(Vec::new());
        };
        *ahead = match setting.change {
            ClockChange::Skew { offset_ms } => offset_ms as f64,
            ClockChange::Strobe { delta_ms, .. } => delta_ms as f64,
            ClockChange::Drift { ppm } => *ahead + ppm as f64 / 1e6,
            ClockChange::Freeze => *ahead - 1.0,
        };
        let during = ClockOffsets {
            realtime: *ahead,
            monotonic: 0.0,
        };
        Ok(vec![ClockSeen {
            whose: "world[1]".to_owned(),
            before: None,
            during: Some(during),
            after: None,
            effective: ahead.abs() >= 1.0,
        }])
    }

    fn fail(&mut self) -> Result<(), CapabilityError> {
        match self.failure.take() {
            None => Ok(()),
            Some(failure) => Err(failure("the cable is hot".to_owned())),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(nodes: &[Name]) -> Shared {
        let shared = Shared::default();
        shared.with(|world| {
            world.traffic = 3;
            world.operations = 2;
            world.processes = nodes
                .iter()
                .map(|node| (node.clone(), ProcessState::Running))
                .collect();
        });
        shared
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    pub(crate) fn environment(&self, nodes: &[Name]) -> Environment {
        Environment {
            nodes: nodes.to_vec(),
            network: Some(Arc::new(self.clone())),
            processes: Some(Arc::new(self.clone())),
            primaries: Some(Arc::new(self.clone())),
            clocks: Some(Arc::new(self.clone())),
            disks: Some(Arc::new(self.clone())),
            loads: Some(Arc::new(self.clone())),
            ..Environment::default()
        }
    }
}

#[async_trait]
impl Network for Shared {
    async fn set(&self, layer: &str, rules: &LinkRules) -> Result<Value, CapabilityError> {
        self.with(|world| {
            world.fail()?;
            if layer == "partition" {
                world.cuts = rules.cuts();
            }
            world.links.insert(layer.to_owned(), rules.clone());
            Ok(json!("installed"))
        })
    }

    async fn heal(&self, layer: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        self.with(|world| {
            world.fail()?;
            world.count(layer);
            world.links.remove(layer);
            if layer == "partition" {
                world.cuts = Grudge::default();
            }
            Ok(world
                .counted
                .remove(layer)
                .unwrap_or_default()
                .into_values()
                .collect())
        })
    }

    async fn counts(&self, layer: &str) -> Result<Vec<LinkCount>, CapabilityError> {
        self.with(|world| {
            world.count(layer);
            let counted = world.counted.get(layer).cloned().unwrap_or_default();
            Ok(counted.into_values().collect())
        })
    }
}

#[async_trait]
impl Processes for Shared {
    async fn signal(&self, node: &Name, signal: Signal) -> Result<ProcessState, CapabilityError> {
        self.with(|world| {
            let before = world.check(node)?;
            world.done.push(format!("{signal:?} {node}"));
            let after = match (signal, before) {
                (_, ProcessState::Absent) | (Signal::KILL, _) => ProcessState::Absent,
                (Signal::STOP, _) => ProcessState::Stopped,
                (Signal::CONT, _) => ProcessState::Running,
                (_, state) => state,
            };
            world.processes.insert(node.clone(), after);
            Ok(after)
        })
    }

    async fn start(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            world.done.push(format!("start {node}"));
            world.processes.insert(node.clone(), ProcessState::Running);
            Ok(ProcessState::Running)
        })
    }

    async fn state(&self, node: &Name) -> Result<ProcessState, CapabilityError> {
        self.with(|world| world.check(node))
    }
}

#[async_trait]
impl Clocks for Shared {
    async fn probe(&self, scope: ClockScope) -> Result<(), String> {
        match scope {
            ClockScope::Process | ClockScope::Libfaketime => Ok(()),
            ClockScope::Machine => Err("the world has one clock".to_owned()),
        }
    }

    async fn prepare(&self, _: ClockScope) -> Result<(), CapabilityError> {
        self.with(|world| world.fail())
    }

    async fn dismantle(&self) -> Result<(), CapabilityError> {
        Ok(())
    }

    async fn change(
        &self,
        node: &Name,
        setting: &ClockSetting,
    ) -> Result<Vec<ClockSeen>, CapabilityError> {
        self.with(|world| {
            world.fail()?;
            world.clocks.insert(node.clone(), (*setting, 0.0));
            world.look(node)
        })
    }

    async fn look(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError> {
        self.with(|world| world.look(node))
    }

    async fn restore(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError> {
        self.with(|world| {
            world.fail()?;
            let seen = world.look(node)?;
            world.clocks.remove(node);
            Ok(seen)
        })
    }
}

#[async_trait]
impl Primaries for Shared {
    async fn primaries(&self) -> Vec<Name> {
        self.with(|world| match world.elections {
            0 => world.leaders(),
            _ => {
                world.elections -= 1;
                Vec::new()
            }
        })
    }
}

#[async_trait]
impl Disks for Shared {
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }

    async fn interpose(&self) -> Result<(), CapabilityError> {
        self.with(|world| world.fail())
    }

    async fn withdraw(&self) -> Result<(), CapabilityError> {
        Ok(())
    }

    async fn rule(
        &self,
        node: &Name,
        rules: &[DiskRule],
        seed: u64,
    ) -> Result<DiskStatus, CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            world.done.push(format!("rule {node} {seed}"));
            world.disk_rules.insert(node.clone(), rules.to_vec());
            Ok(DiskStatus::default())
        })
    }

    async fn calm(&self, node: &Name) -> Result<DiskStatus, CapabilityError> {
        let status = self.status(node).await?;
        self.with(|world| world.disk_rules.remove(node));
        Ok(status)
    }

    async fn status(&self, node: &Name) -> Result<DiskStatus, CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            Ok(DiskStatus {
                rules: world.disk_rules.get(node).map_or(0, Vec::len),
                struck: world.operations,
                ..DiskStatus::default()
            })
        })
    }

    async fn cut_power(&self, node: &Name, _: Survival, _: u64) -> Result<Lost, CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            world.processes.insert(node.clone(), ProcessState::Absent);
            Ok(Lost {
                bytes: 9,
                ..Lost::default()
            })
        })
    }

    async fn corrupt(&self, node: &Name, what: &Corruption) -> Result<Value, CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            world.done.push(format!("corrupt {node} {:?}", what.every));
            Ok(json!({"bytes": 1}))
        })
    }

    async fn keep(&self, node: &Name) -> Result<(), CapabilityError> {
        self.with(|world| world.still(node, "keep").map(drop))
    }

    async fn put_back(&self, node: &Name) -> Result<Value, CapabilityError> {
        self.with(|world| world.still(node, "put back"))
    }

    async fn discard(&self, node: &Name) -> Result<(), CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            world.done.push(format!("discard {node}"));
            Ok(())
        })
    }

    async fn wipe(&self, node: &Name) -> Result<Value, CapabilityError> {
        self.with(|world| world.still(node, "wipe"))
    }
}

#[async_trait]
impl Loads for Shared {
    async fn probe(&self, _: &Load) -> Result<(), String> {
        Ok(())
    }

    async fn begin(&self, node: &Name, load: &Load) -> Result<LoadSeen, CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            world.loads.insert(node.clone(), load.clone());
            Ok(LoadSeen::default())
        })
    }

    async fn look(&self, node: &Name) -> Result<LoadSeen, CapabilityError> {
        self.with(|world| {
            world.check(node)?;
            Ok(LoadSeen {
                effective: world.loads.contains_key(node) && world.busy > 0,
                cpu_ms: world.busy,
                ..LoadSeen::default()
            })
        })
    }

    async fn end(&self, node: &Name) -> Result<LoadSeen, CapabilityError> {
        let seen = Loads::look(self, node).await?;
        self.with(|world| world.loads.remove(node));
        Ok(seen)
    }
}

/// The nodes n1, n2 …
pub(crate) fn names(n: usize) -> Vec<Name> {
    (1..=n).map(|i| Name::from(format!("n{i}"))).collect()
}
