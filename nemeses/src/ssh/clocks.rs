//! Changing clocks through the agent.

use std::sync::Arc;
use std::time::Duration;

use agent::modules::clock::{Answer, Look, NAME, Request, STILL_PPB, Seen, Setting, UNDO, What};
use async_trait::async_trait;
use futures::future::try_join_all;
use harness::Name;
use harness::capability::{
    CapabilityError, ClockChange, ClockKind, ClockOffsets, ClockScope, ClockSeen, ClockSetting,
    Clocks,
};
use harness::db::Db;
use harness::node::undo::Undo;
use harness::remote::quote;

use super::agent::Errand;
use super::journaled::{Journaled, Standing};
use crate::outcome::message;

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Changes the clocks of a system's processes on nodes.
pub struct NodeClocks {
    nodes: Vec<Journaled>,
    db: Arc<dyn Db>,
    processes: Standing,
}

impl NodeClocks {
    /// Clocks on these nodes.
    pub fn new(nodes: &[Journaled], db: Arc<dyn Db>) -> NodeClocks {
        NodeClocks {
            nodes: nodes.to_vec(),
            db,
            processes: Standing::default(),
        }
    }

    fn at(&self, name: &Name) -> Result<&Journaled, CapabilityError> {
        let at = self.nodes.iter().find(|at| at.node.name == *name);
        at.ok_or_else(|| CapabilityError::NotDone(format!("no node {name}")))
    }

    fn pids(&self, at: &Journaled) -> Result<String, String> {
        let pids = self.db.pids_script(&at.node);
        pids.ok_or_else(|| "this system does not say which its processes are".to_owned())
    }

    async fn ask(&self, at: &Journaled, what: What) -> Result<Answer, CapabilityError> {
        let request = request(at, what);
        let asked = at.agent.ask(NAME, &request, Errand::default(), PATIENCE);
        asked.await
    }

    async fn probe_at(&self, at: &Journaled) -> Result<(), String> {
        self.pids(at)?;
        let probed = self.ask(at, What::Probe).await.map_err(message)?;
        tracing::debug!(
            "{}: clocks of processes that come later: {:?}",
            at.node.name,
            probed.follows
        );
        Ok(())
    }
}

/// What names all that is changed on a node, among processes that others may see too.
fn tag(at: &Journaled) -> String {
    let text = format!("{}-{}", at.journal.run(), at.node.name);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().map(plain).take(200).collect()
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

#[async_trait]
impl Clocks for NodeClocks {
    async fn probe(&self, scope: ClockScope) -> Result<(), String> {
        let probes = self.nodes.iter().map(|at| self.probe_at(at));
        try_join_all(probes).await.map(drop)
    }

    async fn change(
        &self,
        node: &Name,
        setting: &ClockSetting,
    ) -> Result<Vec<ClockSeen>, CapabilityError> {
        let at = self.at(node)?;
        let set = What::Set {
            pids: self.pids(at).map_err(CapabilityError::NotDone)?,
            setting: theirs(setting),
        };
        let (undo, request) = (undo(at), request(at, set));
        let asked = self.processes.ask(at, &undo, NAME, &request, PATIENCE);
        asked.await.map(ours)
    }

    async fn look(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError> {
        self.ask(self.at(node)?, What::Look).await.map(ours)
    }

    async fn restore(&self, node: &Name) -> Result<Vec<ClockSeen>, CapabilityError> {
        let at = self.at(node)?;
        let request = request(at, What::Restore);
        let asked = self.processes.take_back(at, NAME, &request, PATIENCE);
        asked.await.map(ours)
    }
}
