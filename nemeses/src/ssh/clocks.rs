//! Changing clocks through the agent.

use std::sync::Arc;
use std::time::Duration;

use agent::modules::clock::{Answer, Look, NAME, Request, STILL_PPB, Seen, Setting, UNDO, What};
use agent::modules::machine_clock;
use async_trait::async_trait;
use futures::future::{join_all, try_join_all};
use harness::Name;
use harness::capability::{
    CapabilityError, ClockChange, ClockKind, ClockOffsets, ClockScope, ClockSeen, ClockSetting,
    Clocks,
};
use harness::db::Db;
use harness::node::undo::Undo;
use harness::remote::quote;

use super::agent::Errand;
use super::journaled::{Journaled, Standing, find, pids, plain};
use super::{faketime, preload};
use crate::outcome::message;

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Changes the clocks of a system's processes on nodes.
pub struct NodeClocks {
    nodes: Vec<Journaled>,
    db: Arc<dyn Db>,
    processes: Standing,
    machines: Standing,
    /// Where programs find something of ours when they start.
    prepared: Standing,
    faked: Standing,
}

impl NodeClocks {
    /// Clocks on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> NodeClocks {
        NodeClocks {
            nodes: nodes.to_vec(),
            db,
            processes: Standing::default(),
            machines: Standing::default(),
            prepared: Standing::default(),
            faked: Standing::default(),
        }
    }

    async fn ask(&self, at: &Journaled, what: What) -> Result<Answer, CapabilityError> {
        let request = request(at, what);
        let asked = at.agent.ask(NAME, &request, Errand::default(), PATIENCE);
        asked.await
    }

    async fn probe_processes(&self, at: &Journaled) -> Result<(), String> {
        pids(&*self.db, at).map_err(message)?;
        let probed = self.ask(at, What::Probe).await.map_err(message)?;
        let (name, follows) = (&at.node.name, probed.follows);
        tracing::debug!("{name}: clocks of processes that come later: {follows:?}");
        Ok(())
    }

    /// The machine's boot, if its clock may be set.
    async fn probe_machine(&self, at: &Journaled) -> Result<String, String> {
        let probed = self.ask_machine(at, machine_clock::Request::Probe).await;
        probed.map(|answer| answer.boot).map_err(message)
    }

    async fn ask_machine(
        &self,
        at: &Journaled,
        request: machine_clock::Request,
    ) -> Result<machine_clock::Answer, CapabilityError> {
        let errand = Errand::default();
        at.agent
            .ask(machine_clock::NAME, &request, errand, PATIENCE)
            .await
    }

    /// Refuses clocks that are not the nodes' own.
    async fn probe_machines(&self) -> Result<(), String> {
        let probes = self.nodes.iter().map(|at| self.probe_machine(at));
        let boots = try_join_all(probes).await?;
        let here = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let here = here.unwrap_or_default();
        for (index, (at, boot)) in self.nodes.iter().zip(&boots).enumerate() {
            let name = &at.node.name;
            if *boot == here.trim() {
                return Err(format!(
                    "{name} has this machine's own clock, by which others live too\n  hint: scope=process"
                ));
            }
            if let Some(other) = boots[..index].iter().position(|other| other == boot) {
                let other = &self.nodes[other].node.name;
                return Err(format!(
                    "{name} and {other} are one machine, with one clock\n  hint: scope=process"
                ));
            }
        }
        Ok(())
    }
}

/// By how much a machine's clock may differ from where it would be without having been set.
const MACHINE_NOISE_NS: i64 = 100_000;

/// What names all that is changed on a node, among processes that others may see too.
fn tag(at: &Journaled) -> String {
    let text = format!("{}-{}", at.journal.run(), at.node.name);
    plain(&text).chars().take(200).collect()
}

fn request(at: &Journaled, what: What) -> Request {
    Request { tag: tag(at), what }
}

/// How all is made as it was when we are gone.
fn undo(at: &Journaled) -> Undo {
    let (program, tag) = (at.agent.program(), tag(at));
    let program = quote(&program).into_owned();
    Undo {
        fault: NAME.to_owned(),
        undo: format!("[ ! -x {program} ] || {program} {UNDO} {tag}"),
        verify: format!("! grep -qsF 'memfd:gainsay-clock:{tag} ' /proc/[0-9]*/maps"),
        survives_reboot: false,
        process: None,
    }
}

fn undo_machine(at: &Journaled) -> Undo {
    let (program, folder) = (at.agent.program(), &at.folder);
    let (program, folder) = (quote(&program), quote(folder));
    Undo {
        fault: machine_clock::NAME.to_owned(),
        undo: format!("{program} {} {folder}", machine_clock::RESTORE),
        verify: format!("! ls {folder}/machine-clock.* >/dev/null 2>&1"),
        survives_reboot: false,
        process: None,
    }
}

const MILLISECOND: i64 = 1_000_000;

fn theirs(setting: &ClockSetting) -> Setting {
    let mut theirs = Setting {
        realtime: setting.clocks != ClockKind::Monotonic,
        monotonic: setting.clocks != ClockKind::Realtime,
        ..Setting::default()
    };
    match setting.change {
        ClockChange::Skew { offset_ms } => theirs.offset_ns = offset_ms.saturating_mul(MILLISECOND),
        ClockChange::Strobe {
            delta_ms,
            period_ms,
        } => {
            theirs.strobe_delta_ns = delta_ms.saturating_mul(MILLISECOND);
            theirs.strobe_period_ns = i64::from(period_ms) * MILLISECOND;
        }
        ClockChange::Drift { ppm } => theirs.rate_ppb = ppm.saturating_mul(1000),
        ClockChange::Freeze => theirs.rate_ppb = STILL_PPB,
    }
    theirs
}

fn ours(answer: Answer) -> Vec<ClockSeen> {
    let millis = |nanos: i64| nanos as f64 / MILLISECOND as f64;
    let offsets = |look: Look| ClockOffsets {
        realtime: millis(look.realtime.ahead_ns),
        monotonic: millis(look.monotonic.ahead_ns),
    };
    let seen = |seen: Seen| ClockSeen {
        whose: format!("{}[{}]", seen.program, seen.pid),
        before: seen.before.map(offsets),
        during: seen.during.map(offsets),
        after: seen.after.map(offsets),
        effective: seen.as_told && seen.moved,
    };
    for why in &answer.refused {
        tracing::warn!("the clocks of a process were not changed: {why}");
    }
    answer.processes.into_iter().map(seen).collect()
}

fn machines_clock(answer: &machine_clock::Answer) -> Vec<ClockSeen> {
    let offsets = |nanos: i64| ClockOffsets {
        realtime: nanos as f64 / MILLISECOND as f64,
        monotonic: 0.0,
    };
    let certain = |nanos: i64| nanos.abs() > MACHINE_NOISE_NS;
    vec![ClockSeen {
        whose: "machine".to_owned(),
        before: None,
        during: answer.during_ns.map(offsets),
        after: answer.after_ns.map(offsets),
        effective: answer.during_ns.is_some_and(certain),
    }]
}

#[async_trait]
impl Clocks for NodeClocks {
    async fn probe(&self, scope: ClockScope) -> Result<(), String> {
        match scope {
            ClockScope::Machine => self.probe_machines().await,
            ClockScope::Process => {
                let probes = self.nodes.iter().map(|at| self.probe_processes(at));
                try_join_all(probes).await.map(drop)
            }
            ClockScope::Libfaketime => {
                let pids = self.nodes.iter().map(|at| pids(&*self.db, at));
                pids.collect::<Result<Vec<_>, _>>()
                    .map(drop)
                    .map_err(message)
            }
        }
    }

    async fn prepare(&self, scope: ClockScope) -> Result<(), CapabilityError> {
        let prepared = self.nodes.iter().map(async |at| match scope {
            ClockScope::Process => preload::keep_waits(&self.prepared, at).await,
            ClockScope::Libfaketime => preload::load_faketime(&self.prepared, at).await,
            ClockScope::Machine => Ok(()),
        });
        try_join_all(prepared).await.map(drop)
    }

    async fn dismantle(&self) -> Result<(), CapabilityError> {
        let removed = self.nodes.iter();
        let removed = removed.map(|at| preload::remove(&self.prepared, at));
        join_all(removed).await.into_iter().collect()
    }

    async fn change(
        &self,
        node: &Name,
        setting: &ClockSetting,
    ) -> Result<Vec<ClockSeen>, CapabilityError> {
        let at = find(&self.nodes, node)?;
        if setting.scope == ClockScope::Machine {
            let (undo, request) = (
                undo_machine(at),
                machine_clock::Request::Set(theirs(setting)),
            );
            let machines = &self.machines;
            let asked = machines.ask(at, &undo, machine_clock::NAME, &request, PATIENCE);
            return asked.await.map(|answer| machines_clock(&answer));
        }
        let pids = pids(&*self.db, at)?;
        if setting.scope == ClockScope::Libfaketime {
            return faketime::change(&self.faked, at, &pids, setting).await;
        }
        let set = What::Set {
            pids,
            setting: theirs(setting),
        };
        let (undo, request) = (undo(at), request(at, set));
        let asked = self.processes.ask(at, &undo, NAME, &request, PATIENCE);
        asked.await.map(ours)
    }

    /// Only what grows is looked at again, and nothing does under libfaketime.
    async fn look(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError> {
        let at = find(&self.nodes, node)?;
        if self.machines.has(node) {
            let asked = self.ask_machine(at, machine_clock::Request::Look).await;
            return asked.map(|answer| machines_clock(&answer));
        }
        self.ask(at, What::Look).await.map(ours)
    }

    async fn restore(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError> {
        let at = find(&self.nodes, node)?;
        if self.machines.has(node) {
            let (request, machines) = (machine_clock::Request::Restore, &self.machines);
            let asked = machines.take_back(at, machine_clock::NAME, &request, PATIENCE);
            return asked.await.map(|answer| machines_clock(&answer));
        }
        if self.faked.has(node) {
            return faketime::restore(&self.faked, at, &pids(&*self.db, at)?).await;
        }
        let request = request(at, What::Restore);
        let asked = self.processes.take_back(at, NAME, &request, PATIENCE);
        asked.await.map(ours)
    }
}
