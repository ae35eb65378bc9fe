//! Faults that strike nodes one by one: who is struck, what became of each, and what stands where.
//!
//! What is done to a node is an [`Action`](crate::action); all else is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use harness::capability::{CapabilityError, Environment};
use harness::client::Op;
use harness::fault::FaultOutcome;
use harness::options::{OptionKind, OptionSpec};
use harness::seed::Rng;
use harness::time::{SharedClock, nanos, sleep};
use harness::{Name, OpError, Value};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::action::{Action, DrawWhat, Proof, Struck, Undone};
use crate::begun::{Begun, StartStop};
use crate::build::MakeContext;
use crate::catalogue::Made;
use crate::down::Down;
use crate::grudge::{in_order, to_front};
use crate::holds::{Hold, Holds};
use crate::outcome::{not_in_force, over_budget, patience, refused, still_in_force};
use crate::schedule::weighted;
use crate::spec::FaultSpec;
use crate::target::{Aim, Target, primaries, struck_primary};

pub(crate) const TARGET: &str = "target";
/// The word for "drawn anew for each activity".
pub(crate) const MIX: &str = "mix";

/// The pause before striking again where nothing was there to be struck.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Targets with their weights, where they are drawn. Those that leave no majority are rare, for they
/// stop everything; but nothing else shows what a whole cluster forgets.
const TARGETS: [(Target, u32); 5] = [
    (Target::One, 8),
    (Target::Primary, 6),
    (Target::Minority, 4),
    (Target::Majority, 1),
    (Target::All, 1),
];

/// The option that says which nodes are struck.
pub(crate) fn target_option() -> OptionSpec {
    let help = format!(
        "Which nodes: `one`, `minority`, `minority-third`, `majority`, `all`, `primary`, `primaries`, names joined by `+`, {}, or \
         a `mix`, which begins with the primary.",
        Aim::PLACES
    );
    OptionSpec::new(TARGET, OptionKind::Text, Some(MIX), &help)
}

/// The value of a `start`: whom, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Start {
    target: Target,
    order: Vec<Name>,
    /// The zone or region that the target is all nodes of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(flatten)]
    what: Map<String, Value>,
}

/// A fault that does something to nodes, and what draws its activities.
pub(crate) fn make(
    action: impl Action,
    spec: &FaultSpec,
    ctx: &MakeContext,
    what: DrawWhat,
) -> Result<Made, String> {
    let aim = match spec.options.text(TARGET) {
        MIX => None,
        text => Some(Aim::read(text, &ctx.nodes, &ctx.zones, &[MIX])?),
    };
    if let (Some(aim), true) = (&aim, action.takes_down()) {
        aim.within_budget(ctx.down.most())?;
    }
    let fault = NodeFault {
        action: Box::new(action),
        clock: ctx.clock.clone(),
        patience: patience(ctx.election_timeout),
        needs_primaries: aim.as_ref().is_some_and(Aim::needs_primaries),
        owes_primary: aim.is_none() && !ctx.exact,
        standing: BTreeSet::new(),
        leaders: None,
        down: ctx.down.clone(),
        holds: ctx.holds.clone(),
        hold: Hold::Free,
    };
    let nodes = ctx.nodes.clone();
    let draw = move |number: u64, rng: &mut Rng| {
        let drawn = match (number, weighted(&TARGETS, |_| true, rng)) {
            (0, _) => &Target::Primary,
            (_, drawn) => drawn,
        };
        let mut order = nodes.clone();
        order.shuffle(rng);
        let what = what(number, rng);
        // Drawn last, so that the choice of the user does not change what is drawn besides.
        let (target, zone) = match &aim {
            Some(aim) => aim.draw(rng),
            None => (drawn.clone(), None),
        };
        json!(Start {
            target,
            order,
            zone,
            what,
        })
    };
    Ok(Made {
        fault: Box::new(Begun(fault)),
        draw: Arc::new(draw),
    })
}

/// Does something to nodes.
struct NodeFault {
    action: Box<dyn Action>,
    clock: SharedClock,
    /// How long to wait for a primary to be known, when one is to be struck.
    patience: Duration,
    /// Whether the user chose a target that makes no sense without primaries.
    needs_primaries: bool,
    /// Whether a primary is still to be [struck](struck_primary).
    owes_primary: bool,
    /// Nodes where it is in force, or may be.
    standing: BTreeSet<Name>,
    /// Who believed to be primary when it was last begun, where there are primaries.
    leaders: Option<Vec<Name>>,
    down: Down,
    holds: Holds,
    /// How it holds the nodes where it is in force.
    hold: Hold,
}

impl NodeFault {
    /// What came of it, and whether there is nothing to be gained by striking again.
    async fn strike_once(&mut self, env: &Environment, start: &Start) -> (FaultOutcome, bool) {
        let patience = match start.target.needs_primaries() || self.owes_primary {
            true => self.patience,
            false => Duration::ZERO,
        };
        let primaries = primaries(env, &*self.clock, patience).await;
        let known = primaries.as_deref().unwrap_or_default();
        let owed = if self.owes_primary { known } else { &[] };
        let order = to_front(&in_order(&start.order, owed), &start.order);
        let mut targets = start.target.resolve(&order, known);
        if self.action.takes_down() {
            match self.claim(start, targets) {
                Ok(claimed) => targets = claimed,
                Err(why) => return (over_budget(why), false),
            }
        }
        // Before acting: if this future is dropped half-way, `heal` still knows.
        let before = self.standing.clone();
        self.standing.extend(targets.iter().cloned());
        self.hold = self.action.hold(&start.what);
        let strikes = targets
            .iter()
            .map(|node| self.strike_node(env, node, &start.what, before.contains(node)));
        let results: Vec<Result<Struck, CapabilityError>> = join_all(strikes).await;
        for (node, result) in targets.iter().zip(&results) {
            if matches!(result, Err(CapabilityError::NotDone(_))) && !before.contains(node) {
                self.standing.remove(node);
            }
        }
        self.down.keep(self.action.name(), &self.standing);
        self.leaders = primaries;
        let leads = |node: &Name| self.leaders.as_ref().map(|known| known.contains(node));
        let told = |result: &Result<Struck, _>| match result {
            Ok(struck) => struck.effective != Proof::Missing,
            // Nobody knows.
            Err(error) => matches!(error, CapabilityError::Indeterminate(_)),
        };
        let settled = results.iter().any(told);
        let down = self.action.takes_down();
        let mut outcome = summary(&targets, results, leads, self.action.evidence());
        if let FaultOutcome::Installed(value) = &mut outcome {
            if let Some(zone) = &start.zone {
                value["zone"] = zone.as_str().into();
            }
            if down {
                value["down"] = true.into();
            }
        }
        (outcome, settled)
    }

    /// Does it to a node, whose system is in its hands from before.
    async fn strike_node(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
        stands: bool,
    ) -> Result<Struck, CapabilityError> {
        let (holds, fault) = (&self.holds, self.action.name());
        let taken = holds.take(fault, node, self.hold);
        taken.map_err(CapabilityError::NotDone)?;
        let result = self.action.strike(env, node, what).await;
        let free = match &result {
            Ok(struck) => struck.free,
            Err(CapabilityError::NotDone(_)) => !stands,
            Err(CapabilityError::Indeterminate(_)) => false,
        };
        if free {
            holds.let_go(fault, node);
        }
        result
    }

    /// Undoes it on a node.
    async fn undo_node(&self, env: &Environment, node: &Name) -> Result<Undone, String> {
        let (holds, fault) = (&self.holds, self.action.name());
        let holder = match self.hold {
            // Nobody comes in between, unless somebody did when it was free.
            Hold::Alone => match holds.take(fault, node, Hold::Alone) {
                Ok(()) => None,
                Err(_) => holds.other(fault, node),
            },
            Hold::Free => holds.other(fault, node),
            // Of two that end at the same time, one is the last.
            Hold::Stopped => holds.let_go(fault, node),
        };
        let undone = self.action.undo(env, node, holder.as_ref()).await;
        match undone {
            Ok(_) => drop(holds.let_go(fault, node)),
            // Who has it alone meanwhile starts it in the end as well.
            Err(_) => drop(holds.take(fault, node, self.hold)),
        }
        undone
    }

    /// Those of the targets that may be taken down; all of a place or none, for a part of one is another fault.
    fn claim(&self, start: &Start, targets: Vec<Name>) -> Result<Vec<Name>, String> {
        let (down, fault) = (&self.down, self.action.name());
        if start.zone.is_some() {
            return down.claim_all(fault, &targets).map(|()| targets);
        }
        let claimed = down.claim(fault, &targets);
        match claimed.is_empty() {
            true => Err(down.refusal()),
            false => Ok(claimed),
        }
    }
}

/// What became of all targets: indeterminate if one is, skipped if all were.
fn summary(
    targets: &[Name],
    results: Vec<Result<Struck, CapabilityError>>,
    leads: impl Fn(&Name) -> Option<bool>,
    evidence: &'static str,
) -> FaultOutcome {
    let (mut seen, mut skipped, mut unknown) = (BTreeMap::new(), Vec::new(), Vec::new());
    let (mut effective, mut leader) = (false, targets.first().and_then(&leads).map(|_| false));
    for (node, result) in targets.iter().zip(results) {
        match result {
            Ok(struck) => {
                let is_seen = struck.effective == Proof::Seen;
                effective |= is_seen;
                if is_seen && leads(node) == Some(true) {
                    leader = Some(true);
                }
                seen.insert(node, struck.seen);
            }
            Err(CapabilityError::NotDone(message)) => skipped.push(message),
            Err(CapabilityError::Indeterminate(message)) => unknown.push(message),
        }
    }
    if !unknown.is_empty() {
        return FaultOutcome::Indeterminate(OpError::new("indeterminate", unknown.join("; ")));
    }
    if seen.is_empty() {
        return FaultOutcome::Skipped(OpError::new("not-done", skipped.join("; ")));
    }
    let targets: Vec<&&Name> = seen.keys().collect();
    let mut value = json!({"effective": effective, "targets": targets, evidence: seen});
    if let Some(leader) = leader {
        value["leader"] = leader.into();
    }
    if !skipped.is_empty() {
        value["skipped"] = Value::from(skipped);
    }
    FaultOutcome::Installed(value)
}

#[async_trait]
impl StartStop for NodeFault {
    fn name(&self) -> &str {
        self.action.name()
    }

    fn needs_primaries(&self) -> bool {
        self.needs_primaries
    }

    async fn probe(&mut self, env: &Environment) -> Result<(), String> {
        self.action.probe(env).await
    }

    async fn start(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        let start: Start = match serde_json::from_value(op.value.clone()) {
            Ok(start) => start,
            Err(error) => return refused(format!("{error} in {}", op.value)),
        };
        // Another fault may have killed what this one aims at, or kill it at the same moment. As with a
        // primary in the midst of an election, it then waits a while for something to strike.
        let deadline = self.clock.now().saturating_add(nanos(self.patience));
        loop {
            let (outcome, settled) = self.strike_once(env, &start).await;
            if let FaultOutcome::Installed(value) = &outcome {
                self.owes_primary &= !struck_primary(value);
            }
            if settled || self.clock.now() >= deadline {
                return outcome;
            }
            sleep(&*self.clock, RETRY_PAUSE).await;
        }
    }

    async fn stop(&mut self, env: &Environment) -> FaultOutcome {
        if self.standing.is_empty() {
            return not_in_force();
        }
        let this = &*self;
        let undo = |node: Name| async move {
            let result = this.undo_node(env, &node).await;
            (node, result)
        };
        let results = join_all(self.standing.iter().cloned().map(undo)).await;
        let mut errors = Vec::new();
        let mut seen = BTreeMap::new();
        let mut effective: Option<bool> = None;
        let mut leader = self.leaders.as_ref().map(|_| false);
        for (node, result) in results {
            match result {
                Ok(undone) => {
                    if let Some(proved) = undone.effective {
                        effective = Some(proved || effective == Some(true));
                        let led = self.leaders.as_ref().is_some_and(|it| it.contains(&node));
                        leader = leader.map(|before| before || (proved && led));
                    }
                    self.standing.remove(&node);
                    seen.insert(node, undone.seen);
                }
                Err(error) => errors.push(format!("{node}: {error}")),
            }
        }
        self.down.keep(self.action.name(), &self.standing);
        match errors.is_empty() {
            true => {
                let targets: Vec<&Name> = seen.keys().collect();
                let mut value = json!({"targets": targets, self.action.evidence(): seen});
                if let Some(effective) = effective {
                    value["effective"] = effective.into();
                    if let Some(leader) = leader {
                        value["leader"] = leader.into();
                    }
                }
                FaultOutcome::Installed(value)
            }
            false => still_in_force(errors.join("; ")),
        }
    }
}
