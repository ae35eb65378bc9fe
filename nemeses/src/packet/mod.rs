//! The fault `packet`: links get bad: packets come late, are lost, damaged, come twice, out of order, or slowly.
//!
//! The words and defaults are Jepsen's and `tc-netem(8)`'s.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, Environment};
use harness::client::Op;
use harness::fault::FaultOutcome;
use harness::links::{LinkNeeds, LinkRule, LinkRules, Party, Treatment};
use harness::time::SharedClock;
use serde_json::json;

use crate::begun::{Begun, StartStop};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::links::{self, NO_NETWORK, OF_QUALITY, Struck, between, is_all, look};
use crate::outcome::{
    failed, message, not_in_force, patience, refused, still_in_force, unavailable,
};
use crate::spec::FaultSpec;
use crate::target::{Aim, Target, primaries, struck_primary};

mod choice;
mod quality;

use choice::{Choice, MIX, Start, options};
use quality::Flaw;

const NAME: &str = "packet";
/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let variant = |flaw: Flaw| VariantInfo {
        name: flaw.name(),
        summary: flaw.summary(),
    };
    let variants = Flaw::ALL.map(variant).into_iter().chain([VariantInfo {
        name: MIX,
        summary: "Several of these at once, drawn anew each time.",
    }]);
    FaultInfo {
        name: NAME,
        summary: "Makes links bad: packets come late, are lost, damaged, come twice, out of order, or slowly.",
        variants: variants.collect(),
        options: with_common(options()),
        evidence: "Packets counted as delayed (by how much, where that is measured: by the queue), lost, corrupted, duplicated and reordered, node by \
                   node and link by link.",
        undo: "Its own firewall table is deleted, and seen to be gone; packets that are still held are delivered. Its netem trees are deleted, \
               and seen to be gone; packets that they hold are lost.",
        synthetic: false,
        make,
    }
}

fn make(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let choice = Choice::of(spec, &ctx.nodes, &ctx.zones)?;
    let fault = Packet {
        clock: ctx.clock.clone(),
        patience: patience(ctx.election_timeout),
        needs: LinkNeeds {
            holding: true,
            clients: choice.peers.have_clients(),
            traffic: !is_all(&choice.traffic),
            quality: true,
            backend: choice.backend,
            beyond_netem: choice.beyond_netem(),
            ..LinkNeeds::default()
        },
        needs_primaries: choice.aim.as_ref().is_some_and(Aim::needs_primaries),
        owes_primary: choice.aim.is_none() && !ctx.exact,
        standing: None,
    };
    Ok(Made {
        fault: Box::new(Begun(fault)),
        draw: Arc::new(move |number, rng| json!(choice.start(number, rng))),
    })
}

/// Makes links bad.
struct Packet {
    clock: SharedClock,
    /// How long to wait for a primary to be known, when one is to be struck.
    patience: Duration,
    needs: LinkNeeds,
    /// Whether the user chose a target that makes no sense without primaries.
    needs_primaries: bool,
    /// Whether a primary is still to be [struck](struck_primary).
    owes_primary: bool,
    /// Who is struck, or may be.
    standing: Option<Struck>,
}

impl Packet {
    /// Resolves whom to strike now.
    async fn aim(&self, env: &Environment, start: &Start) -> Struck {
        let target = match self.owes_primary {
            true if !start.target.needs_primaries() && start.target != Target::All => {
                &Target::Primary
            }
            _ => &start.target,
        };
        // All nodes have a primary among them, once there is one.
        let patience = match target.needs_primaries() || self.owes_primary {
            true => self.patience,
            false => Duration::ZERO,
        };
        let primaries = primaries(env, &*self.clock, patience).await;
        let known = primaries.as_deref().unwrap_or_default();
        let targets = target.resolve(&start.order, known);
        let leader = primaries.map(|known| known.iter().any(|node| targets.contains(node)));
        Struck { targets, leader }
    }
}

/// The rules for the links of some nodes.
fn rules(start: &Start, targets: &[Name], nodes: &[Name]) -> LinkRules {
    let peers = start.peers.parties(nodes);
    let of = |node: &Name| between(&Party::Node(node.clone()), &peers, start.direction);
    // A link between two targets is one of both.
    let links: BTreeSet<(Party, Party)> = targets.iter().flat_map(of).collect();
    let rule = |(from, to)| LinkRule {
        from,
        to,
        traffic: start.traffic.clone(),
        treatment: Treatment::Quality(start.quality.clone()),
    };
    LinkRules {
        rules: links.into_iter().map(rule).collect(),
        flap: None,
        seed: start.seed,
        backend: start.backend,
    }
}

#[async_trait]
impl StartStop for Packet {
    fn name(&self) -> &str {
        NAME
    }

    fn needs_primaries(&self) -> bool {
        self.needs_primaries
    }

    async fn probe(&mut self, env: &Environment) -> Result<(), String> {
        links::probe(env, &self.needs).await
    }

    async fn start(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        let Some(network) = &env.network else {
            return unavailable(NO_NETWORK);
        };
        let start: Start = match serde_json::from_value(op.value.clone()) {
            Ok(start) => start,
            Err(error) => return refused(format!("{error} in {}", op.value)),
        };
        let struck = self.aim(env, &start).await;
        let rules = rules(&start, &struck.targets, &env.nodes);
        if rules.rules.is_empty() {
            return refused(format!("no link to make bad: {}", op.value));
        }
        // Before acting: if this future is dropped half-way, `heal` still knows.
        let before = self.standing.replace(struck.clone());
        match network.set(NAME, &rules).await {
            Ok(installed) => {
                let counts = look(&*self.clock, &**network, NAME, &OF_QUALITY).await;
                let mut value = struck.evidence(&OF_QUALITY, &counts);
                self.owes_primary &= !struck_primary(&value);
                value["installed"] = installed;
                FaultOutcome::Installed(value)
            }
            Err(error) => {
                if matches!(error, CapabilityError::NotDone(_)) {
                    self.standing = before;
                }
                failed(error)
            }
        }
    }

    async fn stop(&mut self, env: &Environment) -> FaultOutcome {
        let (Some(network), Some(struck)) = (&env.network, self.standing.clone()) else {
            return not_in_force();
        };
        match network.heal(NAME).await {
            Ok(counts) => {
                self.standing = None;
                FaultOutcome::Installed(struck.evidence(&OF_QUALITY, &counts))
            }
            Err(error) => still_in_force(message(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use harness::seed::Seed;

    use super::choice::tests::choice;
    use super::*;

    #[test]
    fn each_link_has_one_rule() {
        let nodes = ["n1", "n2", "n3"].map(Name::from);
        let count = |text: &str, targets: &[Name]| {
            let rng = &mut Seed::new(1).rng();
            let start = choice(text).unwrap().start(0, rng);
            rules(&start, targets, &nodes).rules.len()
        };
        assert_eq!(count("packet", &nodes), 6);
        assert_eq!(count("packet", &nodes[..1]), 4);
        assert_eq!(count("packet:direction=in", &nodes[..1]), 2);
        assert_eq!(count("packet:peers=clients", &nodes[..1]), 2);
        assert_eq!(count("packet:peers=all", &nodes[..1]), 6);
        assert_eq!(count("packet:peers=n2:direction=out", &nodes[..1]), 1);
    }
}
