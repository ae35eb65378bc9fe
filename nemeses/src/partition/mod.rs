//! The fault `partition`: links between nodes, or between nodes and clients, are cut: packets dropped, rejected or held.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::Name;
use harness::capability::{CapabilityError, Environment, Grudge};
use harness::client::Op;
use harness::fault::FaultOutcome;
use harness::links::{LinkNeeds, LinkRule, LinkRules, Party};
use harness::time::SharedClock;
use serde_json::json;

use crate::begun::{Begun, StartStop};
use crate::build::MakeContext;
use crate::catalogue::Made;
use crate::down::Down;
use crate::grudge::{Direction, Shape, apart, divided, struck, to_front};
use crate::links::{self, NO_NETWORK, Struck, between, look};
use crate::outcome::{
    failed, message, not_in_force, over_budget, patience, refused, still_in_force, unavailable,
};
use crate::spec::FaultSpec;
use crate::target::{Target, primaries, struck_primary};
use crate::zones::Zone;

mod choice;
mod variant;

use choice::{Choice, Start};
use variant::{Action, Variant};

pub(crate) use choice::info;

const NAME: &str = "partition";

fn make(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let choice = Choice::of(spec, ctx)?;
    let chosen_target = choice.target.iter().flatten().any(Target::needs_primaries);
    let isolates = choice.variant == Some(Variant::Shape(Shape::Primaries));
    let fault = Partition {
        clock: ctx.clock.clone(),
        patience: patience(ctx.election_timeout),
        needs: choice.needs(),
        needs_primaries: chosen_target || isolates,
        owes_primary: choice.target.is_none() && choice.zone.is_none() && !ctx.exact,
        down: ctx.down.clone(),
        standing: None,
    };
    Ok(Made {
        fault: Box::new(Begun(fault)),
        draw: Arc::new(move |number, rng| json!(choice.start(number, rng))),
    })
}

/// Cuts links.
struct Partition {
    clock: SharedClock,
    /// How long to wait for a primary to be known, when one is to be struck.
    patience: Duration,
    needs: LinkNeeds,
    /// Whether the user chose something that makes no sense without primaries.
    needs_primaries: bool,
    /// Whether a primary is still to be [struck](struck_primary).
    owes_primary: bool,
    /// What is in force, or may be.
    standing: Option<Standing>,
    down: Down,
}

#[derive(Clone)]
struct Standing {
    struck: Struck,
    /// Which of those are as good as down.
    down: Vec<Name>,
    action: Action,
}

/// What is to be cut now.
#[derive(Default)]
struct Cut {
    grudge: Grudge,
    /// Links with clients.
    clients: Vec<(Party, Party)>,
    targets: Vec<Name>,
}

impl Cut {
    fn rules(&self, start: &Start) -> LinkRules {
        let treatment = start.action.treatment();
        let mut rules = LinkRules::of(&self.grudge, &start.traffic, &treatment);
        let clients = self.clients.iter().cloned();
        rules.rules.extend(clients.map(|(from, to)| LinkRule {
            from,
            to,
            traffic: start.traffic.clone(),
            treatment: treatment.clone(),
        }));
        rules.flap = start.flap_ms.map(Duration::from_millis);
        rules
    }
}

impl Partition {
    /// Resolves who is cut off from whom now, and whether a primary is among those struck.
    async fn aim(&self, env: &Environment, start: &Start) -> (Cut, Option<bool>) {
        let owed = self.owes_primary.then_some(&Target::Primary);
        let target = start.target.as_ref().or(owed);
        let isolates = start.variant == Variant::Shape(Shape::Primaries);
        let needed = isolates || target.is_some_and(Target::needs_primaries);
        let patience = if needed {
            self.patience
        } else {
            Duration::ZERO
        };
        let primaries = primaries(env, &*self.clock, patience).await;
        let known = primaries.as_deref().unwrap_or_default();
        let first = target.map_or(Vec::new(), |target| target.resolve(&start.order, known));
        let order = to_front(&first, &start.order);
        let cut = match start.variant {
            Variant::Clients => {
                let targets = match first.is_empty() {
                    true => order.into_iter().take(1).collect(),
                    false => first,
                };
                Cut {
                    clients: clients(&targets, start.direction),
                    targets,
                    ..Cut::default()
                }
            }
            variant => {
                let severed = severed(variant, start, &first, &order, known);
                let drawn = || start.direction.grudge(&severed);
                let grudge = start.grudge.clone().unwrap_or_else(drawn);
                Cut {
                    targets: struck(&grudge, &env.nodes),
                    grudge,
                    ..Cut::default()
                }
            }
        };
        let leader = primaries.map(|known| known.iter().any(|node| cut.targets.contains(node)));
        (cut, leader)
    }
}

/// The pairs of nodes that cannot talk, of each the inner one first.
fn severed(
    variant: Variant,
    start: &Start,
    first: &[Name],
    order: &[Name],
    primaries: &[Name],
) -> Vec<(Name, Name)> {
    let nodes = |zone: &Zone| zone.nodes.clone();
    match variant {
        Variant::Shape(shape) => {
            let isolated = Target::Primaries.resolve(order, primaries);
            shape.severed(order, &isolated)
        }
        Variant::Groups => apart(&divided(order, start.groups.unwrap_or(2))),
        Variant::Zones => apart(&start.zones.iter().map(nodes).collect::<Vec<_>>()),
        Variant::Zone | Variant::Region => {
            let has = |zone: &&Zone| first.iter().any(|node| zone.nodes.contains(node));
            let aimed = start.zones.iter().find(has).or(start.zones.first());
            let inner = aimed.map(nodes).unwrap_or_default();
            let outer = order.iter().filter(|node| !inner.contains(node));
            let outer = outer.cloned().collect();
            apart(&[inner, outer])
        }
        Variant::Clients => Vec::new(),
    }
}

/// The links between clients and nodes.
fn clients(nodes: &[Name], direction: Direction) -> Vec<(Party, Party)> {
    let node = |name: &Name| between(&Party::Node(name.clone()), &[Party::Clients], direction);
    nodes.iter().flat_map(node).collect()
}

#[async_trait]
impl StartStop for Partition {
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
        let (cut, leader) = self.aim(env, &start).await;
        let rules = cut.rules(&start);
        if rules.rules.is_empty() {
            return refused(format!("no link to cut: {}", op.value));
        }
        // Who is cut off from clients alone is as good a member as before.
        let down: &[Name] = if cut.clients.is_empty() {
            &cut.targets
        } else {
            &[]
        };
        if let Err(why) = self.down.claim_all(NAME, down) {
            return over_budget(why);
        }
        let standing = Standing {
            down: down.to_vec(),
            struck: Struck {
                targets: cut.targets,
                leader,
            },
            action: start.action,
        };
        // Before acting: if this future is dropped half-way, `heal` still knows.
        let before = self.standing.replace(standing.clone());
        match network.set(NAME, &rules).await {
            Ok(installed) => {
                let kinds = [start.action.kind()];
                let counts = look(&*self.clock, &**network, NAME, &kinds).await;
                let mut value = standing.struck.evidence(&kinds, &counts);
                self.owes_primary &= !struck_primary(&value);
                // Clients are no nodes: whom they cannot reach is among the targets.
                if !cut.grudge.0.is_empty() {
                    value["grudge"] = json!(cut.grudge);
                }
                value["installed"] = installed;
                FaultOutcome::Installed(value)
            }
            Err(error) => {
                if matches!(error, CapabilityError::NotDone(_)) {
                    self.standing = before;
                    let held = self.standing.iter().flat_map(|it| &it.down);
                    self.down.keep(NAME, held);
                }
                failed(error)
            }
        }
    }

    async fn stop(&mut self, env: &Environment) -> FaultOutcome {
        let (Some(network), Some(standing)) = (&env.network, self.standing.clone()) else {
            return not_in_force();
        };
        match network.heal(NAME).await {
            Ok(counts) => {
                self.standing = None;
                self.down.keep(NAME, &[]);
                let kinds = [standing.action.kind()];
                FaultOutcome::Installed(standing.struck.evidence(&kinds, &counts))
            }
            Err(error) => still_in_force(message(error)),
        }
    }
}
