//! The fault `partition`: links between nodes are cut, packets between them dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Grudge, Network};
use harness::client::Op;
use harness::fault::{Fault, FaultOutcome};
use harness::options::{OptionKind, OptionSpec};
use harness::seed::Rng;
use harness::time::{SharedClock, sleep};
use harness::{Name, OpError, Value};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::down::Down;
use crate::grudge::{Direction, Shape, struck, to_front};
use crate::outcome::{
    failed, message, not_in_force, over_budget, patience, refused, still_in_force, unavailable,
    unknown_op,
};
use crate::schedule::{START, STOP, weighted};
use crate::spec::FaultSpec;
use crate::target::{Target, primaries, struck_primary};

const NAME: &str = "partition";
const DIRECTION: &str = "direction";
const TARGET: &str = "target";
/// The word for "drawn anew for each activity".
const MIX: &str = "mix";
/// The word for "whoever comes first in the drawn order".
const ANY: &str = "any";

/// Milliseconds between looks at the counters of dropped packets after a cut, until one has counted: a
/// start that has proof at once says so. The cut is in force all the while.
const LOOKS: [u64; 4] = [10, 20, 40, 80];

/// Shapes with their weights, for activities of no chosen variant.
const SHAPES: [(Shape, u32); 8] = [
    (Shape::One, 3),
    (Shape::Majority, 3),
    (Shape::MajoritiesRing, 3),
    (Shape::RandomHalves, 2),
    (Shape::Bridge, 2),
    (Shape::Primaries, 2),
    (Shape::Halves, 1),
    (Shape::MinorityThird, 1),
];
/// Shapes for the first activity of no chosen variant: those that isolate a primary.
const FIRST_SHAPES: [(Shape, u32); 3] = [
    (Shape::One, 1),
    (Shape::Majority, 1),
    (Shape::RandomHalves, 1),
];
/// Directions with their weights, where they are drawn.
const DIRECTIONS: [(Direction, u32); 3] = [
    (Direction::Both, 6),
    (Direction::In, 1),
    (Direction::Out, 1),
];

/// The fault, described.
pub(crate) fn info() -> FaultInfo {
    let variant = |shape: Shape| VariantInfo {
        name: shape.name(),
        summary: match shape {
            Shape::Halves => "The first half of the nodes, in their order, against the rest.",
            Shape::RandomHalves => "A random half of the nodes against the rest.",
            Shape::One => "One node against the rest.",
            Shape::Majority => "A majority of the nodes against the largest minority.",
            Shape::MinorityThird => {
                "Less than a third of the nodes (one at least) against the rest."
            }
            Shape::MajoritiesRing => "Every node sees a majority, and no two nodes the same one.",
            Shape::Bridge => {
                "Two halves that see each other only through one node, which sees all."
            }
            Shape::Primaries => "Every node that believes to be primary alone.",
        },
    };
    let directions = ["both", "in", "out", MIX].map(str::to_owned).to_vec();
    let direction = "Which packets between the two sides are dropped: `both`, those `in` to the smaller \
                     side, those `out` of it, or a `mix`. By default `both`, or a `mix` where no \
                     variant is chosen.";
    let target = "Who is on the smaller side: `any`, `primary`, names of nodes joined by `+` (as many as fit), or a `mix`, \
                  which begins with the primary.";
    FaultInfo {
        name: NAME,
        summary: "Cuts links between nodes: packets from chosen peers are dropped.",
        variants: Shape::ALL.map(variant).to_vec(),
        options: with_common(vec![
            OptionSpec::new(DIRECTION, OptionKind::OneOf(directions), None, direction),
            OptionSpec::new(TARGET, OptionKind::Text, Some(MIX), target),
        ]),
        evidence: "Packets counted as dropped by its rules, node by node.",
        undo: "Its own firewall table is deleted, and seen to be gone.",
        synthetic: false,
        make,
    }
}

/// The value of a `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    variant: Shape,
    #[serde(default)]
    direction: Direction,
    /// Who comes to the smaller side; whoever is first in the order, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    order: Vec<Name>,
    /// The very links, as in a run that is repeated; all else is then for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grudge: Option<Grudge>,
}

/// What the user left open, and what not.
struct Choice {
    shape: Option<Shape>,
    direction: Option<Direction>,
    /// `None`: a mix. `Some(None)`: any.
    target: Option<Option<Target>>,
    nodes: Vec<Name>,
}

impl Choice {
    fn of(spec: &FaultSpec, nodes: &[Name]) -> Result<Choice, String> {
        let shape = Shape::ALL
            .into_iter()
            .find(|shape| Some(shape.name()) == spec.variant.as_deref());
        let least = shape.map_or(2, Shape::least_nodes);
        if nodes.len() < least {
            return Err(format!(
                "at least {least} nodes needed, there are {}",
                nodes.len()
            ));
        }
        let direction = match spec.options.text_if(DIRECTION) {
            Some("in") => Some(Direction::In),
            Some("out") => Some(Direction::Out),
            Some("both") => Some(Direction::Both),
            Some(_) => None,
            None => shape.map(|_| Direction::Both),
        };
        let target = match spec.options.text(TARGET) {
            MIX => None,
            ANY => Some(None),
            text => Some(Some(Target::read(text, nodes, &[MIX, ANY])?)),
        };
        let nodes = nodes.to_vec();
        Ok(Choice {
            shape,
            direction,
            target,
            nodes,
        })
    }

    fn start(&self, number: u64, rng: &mut Rng) -> Start {
        let first = number == 0;
        // Everything is drawn whether it is needed or not, so that one choice of the user does not
        // change what is drawn for another.
        let shapes: &[_] = if first { &FIRST_SHAPES } else { &SHAPES };
        let enough = |shape: &Shape| self.nodes.len() >= shape.least_nodes();
        let shape = *weighted(shapes, enough, rng);
        let direction = *weighted(&DIRECTIONS, |_| true, rng);
        let primary = rng.random_bool(0.5) || first;
        let mut order = self.nodes.clone();
        order.shuffle(rng);

        let variant = self.shape.unwrap_or(shape);
        Start {
            variant,
            direction: self
                .direction
                .unwrap_or(if first { Direction::Both } else { direction }),
            target: match &self.target {
                Some(target) => target.clone(),
                None => (primary && variant != Shape::Primaries).then_some(Target::Primary),
            },
            order: if variant == Shape::Halves {
                self.nodes.clone()
            } else {
                order
            },
            grudge: None,
        }
    }
}

fn make(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let choice = Choice::of(spec, &ctx.nodes)?;
    let chosen_target = choice.target.iter().flatten().any(Target::needs_primaries);
    let fault = Partition {
        clock: ctx.clock.clone(),
        patience: patience(ctx.election_timeout),
        needs_primaries: chosen_target || choice.shape == Some(Shape::Primaries),
        owes_primary: choice.target.is_none() && !ctx.exact,
        down: ctx.down.clone(),
        standing: None,
    };
    Ok(Made {
        fault: Box::new(fault),
        draw: Arc::new(move |number, rng| json!(choice.start(number, rng))),
    })
}

/// Cuts links between nodes.
struct Partition {
    clock: SharedClock,
    /// How long to wait for a primary to be known, when one is to be struck.
    patience: Duration,
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
    targets: Vec<Name>,
    leader: Option<bool>,
}

impl Standing {
    /// Evidence, as coverage reads it.
    fn evidence(&self, dropped: &BTreeMap<Name, u64>) -> Value {
        let mut value = json!({
            "effective": dropped.values().any(|packets| *packets > 0),
            "dropped": dropped,
            "targets": self.targets,
        });
        if let Some(leader) = self.leader {
            value["leader"] = leader.into();
        }
        value
    }
}

impl Partition {
    async fn start(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        let Some(network) = &env.network else {
            return unavailable("links between nodes cannot be cut here");
        };
        let start: Start = match serde_json::from_value(op.value.clone()) {
            Ok(start) => start,
            Err(error) => return refused(format!("{error} in {}", op.value)),
        };
        let (grudge, standing) = self.aim(env, &start).await;
        if grudge.0.is_empty() {
            return refused(format!("no link to cut: {}", op.value));
        }
        if let Err(why) = self.down.claim_all(NAME, &standing.targets) {
            return over_budget(why);
        }
        // Before acting: if this future is dropped half-way, `heal` still knows.
        let before = self.standing.replace(standing.clone());
        match network.cut(&grudge).await {
            Ok(installed) => {
                let mut value = standing.evidence(&self.count(&**network).await);
                self.owes_primary &= !struck_primary(&value);
                value["grudge"] = json!(grudge);
                value["installed"] = installed;
                FaultOutcome::Installed(value)
            }
            Err(error) => {
                if matches!(error, CapabilityError::NotDone(_)) {
                    self.standing = before;
                    let held = self.standing.iter().flat_map(|it| &it.targets);
                    self.down.keep(NAME, held);
                }
                failed(error)
            }
        }
    }

    /// Resolves who is cut off from whom now.
    async fn aim(&self, env: &Environment, start: &Start) -> (Grudge, Standing) {
        let owed = self.owes_primary.then_some(&Target::Primary);
        let target = start.target.as_ref().or(owed);
        let needed =
            start.variant == Shape::Primaries || target.is_some_and(Target::needs_primaries);
        let patience = if needed {
            self.patience
        } else {
            Duration::ZERO
        };
        let primaries = primaries(env, &*self.clock, patience).await;
        let known = primaries.as_deref().unwrap_or_default();
        let first = target.map_or(Vec::new(), |target| target.resolve(&start.order, known));
        let order = to_front(&first, &start.order);
        let isolated = Target::Primaries.resolve(&order, known);
        let drawn = || (start.direction).grudge(&start.variant.severed(&order, &isolated));
        let grudge = start.grudge.clone().unwrap_or_else(drawn);
        let targets = struck(&grudge, &env.nodes);
        let leader = primaries.map(|known| known.iter().any(|node| targets.contains(node)));
        (grudge, Standing { targets, leader })
    }

    async fn count(&self, network: &dyn Network) -> BTreeMap<Name, u64> {
        let mut dropped = BTreeMap::new();
        for wait in LOOKS {
            sleep(&*self.clock, Duration::from_millis(wait)).await;
            // No answer is no evidence: the stop will tell.
            dropped = network.dropped().await.unwrap_or_default();
            if dropped.values().any(|packets| *packets > 0) {
                break;
            }
        }
        dropped
    }

    async fn stop(&mut self, env: &Environment) -> FaultOutcome {
        let (Some(network), Some(standing)) = (&env.network, self.standing.clone()) else {
            return not_in_force();
        };
        match network.heal().await {
            Ok(dropped) => {
                self.standing = None;
                self.down.keep(NAME, &[]);
                FaultOutcome::Installed(standing.evidence(&dropped))
            }
            Err(error) => still_in_force(message(error)),
        }
    }
}

#[async_trait]
impl Fault for Partition {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&mut self, env: &Environment) -> Result<(), String> {
        if self.needs_primaries && env.primaries.is_none() {
            return Err("this system has no primaries to target".to_owned());
        }
        match &env.network {
            None => Err("links between nodes cannot be cut here".to_owned()),
            Some(network) => network.probe().await,
        }
    }

    async fn invoke(&mut self, env: &Environment, op: &Op) -> FaultOutcome {
        match &*op.f {
            START => self.start(env, op).await,
            STOP => self.stop(env).await,
            other => unknown_op(other),
        }
    }

    async fn heal(&mut self, env: &Environment) -> Result<(), OpError> {
        match self.stop(env).await {
            FaultOutcome::Indeterminate(error) => Err(error),
            FaultOutcome::Installed(_) | FaultOutcome::Skipped(_) => Ok(()),
        }
    }
}
