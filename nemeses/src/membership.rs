//! The fault `membership`: nodes are taken out of the system and brought in again while it runs.
//!
//! Who belongs to the system is not what we asked for, but what its nodes say; and they need not agree. A change is seen to be
//! made when a majority of the members say so, or, of one whose outcome nobody knew, that it was made or was not: until then it is
//! *pending*, and no other is begun. Never are so many nodes taken out that fewer than three are left.
//!
//! A system may refuse changes for a while because members are not seen to be well yet (etcd wants all of them connected for five
//! seconds before it takes one in), so that what must be undone is asked for again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex as Quick, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Membership, ProcessState};
use harness::seed::Rng;
use harness::time::{SharedClock, nanos, sleep};
use harness::{Name, Value};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use tokio::sync::Mutex;

use crate::action::{Action, Struck, Undone, fields, processes, read};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::grudge::majority;
use crate::holds::Hold;
use crate::node_fault::{make, target_option};
use crate::outcome::message;
use crate::spec::FaultSpec;

const NAME: &str = "membership";

/// The fewest members that are left.
const FEWEST: usize = 3;
/// How long a change may take to be seen.
const SEEN: Duration = Duration::from_secs(8);
/// How long one is asked for again that is refused.
const REFUSED: Duration = Duration::from_secs(9);
/// How long a node may wait for its turn, so that those of one activity are done within the time that it has.
const TURN: Duration = Duration::from_secs(7);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Between two askings.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// What is done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    /// It is taken out, and brought in again at the end.
    Shrink,
    /// It is taken out and brought in again at once, without its data.
    Replace,
    /// Its data is lost; at the end it is taken out, and brought in again.
    Rejoin,
}

impl Change {
    const ALL: [Change; 3] = [Change::Shrink, Change::Replace, Change::Rejoin];

    fn name(self) -> &'static str {
        match self {
            Change::Shrink => "shrink",
            Change::Replace => "replace",
            Change::Rejoin => "rejoin",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Change::Shrink => {
                "A member is taken out, its data removed; at the end it is brought in again, as a new one."
            }
            Change::Replace => {
                "A member is taken out, and a new one without data is brought in on the same node at once."
            }
            Change::Rejoin => {
                "A member loses its disk: it is killed, and its data is gone. At the end it is taken out, and a new one without data \
                 is brought in on the same node."
            }
        }
    }

    /// The fewest members that it leaves.
    fn leaves(self) -> usize {
        match self {
            Change::Shrink | Change::Replace => FEWEST,
            // As after any crash, of the two that are left both are needed.
            Change::Rejoin => FEWEST - 1,
        }
    }
}

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let variant = |change: Change| VariantInfo {
        name: change.name(),
        summary: change.summary(),
    };
    FaultInfo {
        name: NAME,
        summary: "Takes nodes out of the system and brings them in again, while it runs. One at a time, and never so that fewer \
                  than three are left; `rejoin` never so that those left are no majority.",
        variants: Change::ALL.map(variant).to_vec(),
        options: with_common(vec![target_option()]),
        evidence: "A majority of the members say that the node does not belong to the system (any more, or until it came back); of \
                   `rejoin`, that its process is gone with its data.",
        undo: "The node is brought in again; a majority of the members say that it belongs to the system, and it does so itself. Where \
               the controller is gone, `gainsay heal` or the agent brings it in: what was to be done is written down on the node for \
               systems that can say it as a script (each system's page tells); for others, it stays out until the next run.",
        synthetic: false,
        make: made,
    }
}

/// What a `start` says besides whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct What {
    change: Change,
}

fn made(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let there = ctx.nodes.len();
    let mut possible = Change::ALL.to_vec();
    possible.retain(|change| match &spec.variant {
        Some(chosen) => change.name() == chosen,
        None => there > change.leaves(),
    });
    let needed = possible
        .first()
        .map_or(FEWEST, |change| change.leaves() + 1);
    if there < needed {
        return Err(format!("at least {needed} nodes needed, there are {there}"));
    }
    let action = Changing {
        clock: ctx.clock.clone(),
        turn: Mutex::new(()),
        lost: Quick::default(),
    };
    let draw = move |_, rng: &mut Rng| {
        fields(&What {
            change: possible[rng.random_range(0..possible.len())],
        })
    };
    make(action, spec, ctx, Box::new(draw))
}

/// What is asked of a system about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// That it does not belong to it any more.
    Out,
    /// That it belongs to it again.
    In,
}

/// Changes who belongs to the system.
struct Changing {
    clock: SharedClock,
    /// One change at a time: what is pending may be all that the others can bear.
    turn: Mutex<()>,
    /// Members whose data is lost, or perhaps: what is known of them by that name must go before they come back.
    lost: Quick<BTreeSet<Name>>,
}

fn membership(env: &Environment) -> Result<&dyn Membership, String> {
    let missing = "who belongs to the system cannot be changed here";
    env.membership.as_deref().ok_or_else(|| missing.to_owned())
}

/// Who belongs to the system, as each node that answers sees it.
struct Views<'a> {
    nodes: &'a [Name],
    views: BTreeMap<Name, Vec<Name>>,
}

impl<'a> Views<'a> {
    async fn of(env: &'a Environment, membership: &dyn Membership) -> Views<'a> {
        Views {
            nodes: &env.nodes,
            views: membership.views().await,
        }
    }

    /// How many other nodes say that a node belongs to the system, and how many that it does not.
    fn votes(&self, node: &Name) -> (usize, usize) {
        let others = self.views.iter().filter(|(at, _)| *at != node);
        let (yes, no): (Vec<bool>, Vec<bool>) = others
            .map(|(_, view)| view.contains(node))
            .partition(|it| *it);
        (yes.len(), no.len())
    }

    /// Those of which more say that they belong than that they do not.
    fn members(&self) -> Vec<&'a Name> {
        let belongs = |name: &&Name| {
            let (yes, no) = self.votes(name);
            yes > no
        };
        self.nodes.iter().filter(belongs).collect()
    }

    /// How many say that a node belongs, or that it does not, and how many must: a majority of the members, it among them.
    fn agree(&self, node: &Name, belongs: bool) -> (usize, usize) {
        let (yes, no) = self.votes(node);
        let others = self.members().into_iter().filter(|name| *name != node);
        let needed = majority(others.count() + 1);
        (if belongs { yes } else { no }, needed)
    }

    /// Whether a node itself says that it belongs.
    fn admits(&self, node: &Name) -> bool {
        self.views.get(node).is_some_and(|view| view.contains(node))
    }
}

impl Changing {
    /// Waits until a majority say that a node belongs to the system, or that it does not; and, where it is to run, until it
    /// says so itself.
    async fn see(
        &self,
        env: &Environment,
        membership: &dyn Membership,
        node: &Name,
        belongs: bool,
        runs: bool,
    ) -> Result<(), String> {
        let deadline = self.clock.now().saturating_add(nanos(SEEN));
        loop {
            let views = Views::of(env, membership).await;
            let (agree, needed) = views.agree(node, belongs);
            if agree >= needed && (!runs || views.admits(node)) {
                return Ok(());
            }
            if self.clock.now() >= deadline {
                let what = if belongs {
                    "belongs"
                } else {
                    "does not belong"
                };
                return Err(match agree >= needed {
                    true => format!("{node} {what} to the system, and does not answer"),
                    false => format!(
                        "{agree} nodes say that {node} {what} to the system, {needed} are needed"
                    ),
                });
            }
            sleep(&*self.clock, LOOK).await;
        }
    }

    /// Whether a member can be spared: enough are left without it, and answer.
    async fn spare(
        &self,
        env: &Environment,
        membership: &dyn Membership,
        node: &Name,
        change: Change,
    ) -> Result<(), String> {
        let views = Views::of(env, membership).await;
        let members = views.members();
        if !members.contains(&node) {
            return Err(format!("{node} does not belong to the system now"));
        }
        let silent = members
            .iter()
            .filter(|name| !views.views.contains_key(**name) && **name != node)
            .count();
        let left = members.len() - 1;
        if left < change.leaves() || left - silent <= members.len() / 2 {
            return Err(format!(
                "{} nodes belong to the system, {silent} of the others do not answer: none can be spared",
                members.len(),
            ));
        }
        Ok(())
    }

    /// Takes a node out, and sees what became of it where nobody answered.
    async fn take_out(
        &self,
        env: &Environment,
        membership: &dyn Membership,
        node: &Name,
    ) -> Result<(), CapabilityError> {
        match membership.remove(node).await {
            Err(CapabilityError::Indeterminate(why)) => {
                let seen = self.see(env, membership, node, false, false).await;
                seen.map_err(|but| CapabilityError::Indeterminate(format!("{why}; {but}")))
            }
            known => known,
        }
    }

    /// Asks for a change until it is not refused any more.
    async fn insist(
        &self,
        env: &Environment,
        membership: &dyn Membership,
        node: &Name,
        wanted: Wanted,
    ) -> Result<(), CapabilityError> {
        let deadline = self.clock.now().saturating_add(nanos(REFUSED));
        loop {
            let asked = match wanted {
                Wanted::Out => self.take_out(env, membership, node).await,
                Wanted::In => membership.add(node).await,
            };
            match asked {
                Err(CapabilityError::NotDone(_)) if self.clock.now() < deadline => {
                    sleep(&*self.clock, ASK_AGAIN).await;
                }
                known => return known,
            }
        }
    }

    /// Whether a node that was brought in runs and does not answer, though the others count it among them. It may have asked a node who
    /// belongs to the system that did not know either; then it refuses all others for ever (etcd: "failed to find remote peer in
    /// cluster"), and only another attempt helps.
    async fn is_deaf(&self, env: &Environment, membership: &dyn Membership, node: &Name) -> bool {
        let Ok(processes) = processes(env) else {
            return false;
        };
        let runs = matches!(processes.state(node).await, Ok(ProcessState::Running));
        let views = Views::of(env, membership).await;
        let (yes, no) = views.votes(node);
        runs && yes > no && !views.admits(node)
    }

    fn lose(&self, node: &Name) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.insert(node.clone());
    }

    fn all_lost(&self) -> BTreeSet<Name> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.clone()
    }

    fn forget(&self, node: &Name) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.remove(node);
    }

    /// Takes a member out and removes what it has. Whether that was seen.
    async fn shrink(
        &self,
        env: &Environment,
        membership: &dyn Membership,
        node: &Name,
    ) -> Result<bool, CapabilityError> {
        self.take_out(env, membership, node).await?;
        membership.clear(node).await.map_err(|error| {
            // It is out, whatever it still has.
            CapabilityError::Indeterminate(message(error))
        })?;
        Ok(self.see(env, membership, node, false, false).await.is_ok())
    }
}

#[async_trait]
impl Action for Changing {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&self, env: &Environment) -> Result<(), String> {
        membership(env)?.probe().await
    }

    async fn strike(
        &self,
        env: &Environment,
        node: &Name,
        what: &Map<String, Value>,
    ) -> Result<Struck, CapabilityError> {
        let membership = membership(env).map_err(CapabilityError::NotDone)?;
        let What { change } = read(what)?;
        let patience = self.clock.now().saturating_add(nanos(TURN));
        let _turn = self.turn.lock().await;
        if self.clock.now() > patience {
            let why =
                format!("{node}: the changes of other nodes took all the time that there was");
            return Err(CapabilityError::NotDone(why));
        }
        self.spare(env, membership, node, change)
            .await
            .map_err(CapabilityError::NotDone)?;
        let (mut effective, mut free) = (false, false);
        match change {
            Change::Shrink => effective = self.shrink(env, membership, node).await?,
            Change::Replace => {
                effective = self.shrink(env, membership, node).await?;
                // That it does not come back is told when it is to be undone.
                let added = self.insist(env, membership, node, Wanted::In).await;
                free = added.is_ok();
            }
            Change::Rejoin => {
                self.lose(node);
                membership.clear(node).await?;
                if let Some(processes) = &env.processes {
                    let seen = processes.state(node).await;
                    effective = matches!(seen, Ok(ProcessState::Absent));
                }
            }
        }
        Ok(Struck {
            effective: effective.into(),
            seen: json!({"change": change, "members": membership.views().await}),
            free,
        })
    }

    async fn undo(
        &self,
        env: &Environment,
        node: &Name,
        holder: Option<&Name>,
    ) -> Result<Undone, String> {
        let membership = membership(env)?;
        let _turn = self.turn.lock().await;
        // All of them first: nobody is taken in while members that will never answer are counted.
        for lost in self.all_lost() {
            let (yes, no) = Views::of(env, membership).await.votes(&lost);
            if yes > no {
                let out = self.insist(env, membership, &lost, Wanted::Out).await;
                out.map_err(message)?;
            }
        }
        let views = Views::of(env, membership).await;
        let (yes, no) = views.votes(node);
        // Where nobody knows what became of the removal, the others say it now.
        if no > yes {
            self.forget(node);
            let added = self.insist(env, membership, node, Wanted::In).await;
            added.map_err(message)?;
        } else if yes > no && !views.admits(node) && holder.is_none() {
            // It was taken in, and did not start; or something ended it.
            processes(env)?.start(node).await.map_err(message)?;
        }
        let seen = self.see(env, membership, node, true, holder.is_none());
        if let Err(why) = seen.await {
            if holder.is_none() && self.is_deaf(env, membership, node).await {
                self.lose(node);
            }
            return Err(why);
        }
        // It may never have been out: nobody knew what became of the asking.
        membership.settle(node).await.map_err(message)?;
        Ok(json!({"members": membership.views().await}).into())
    }

    fn hold(&self, _: &Map<String, Value>) -> Hold {
        Hold::Alone
    }

    fn takes_down(&self) -> bool {
        true
    }

    fn evidence(&self) -> &'static str {
        "changes"
    }
}
