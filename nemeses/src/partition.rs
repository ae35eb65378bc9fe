//! The fault `partition`: links between nodes, or between nodes and clients, are cut: packets dropped, rejected or held.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment, Grudge};
use harness::client::Op;
use harness::fault::{Fault, FaultOutcome};
use harness::links::{LinkNeeds, LinkRule, LinkRules, Party, Traffic, Treatment};
use harness::options::{OptionKind, OptionSpec, unknown};
use harness::seed::Rng;
use harness::time::SharedClock;
use harness::{Name, OpError};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::down::Down;
use crate::grudge::{Direction, Shape, apart, divided, struck, to_front};
use crate::links::{self, Kind, NO_NETWORK, Struck, between, is_all, look, traffic_options};
use crate::outcome::{
    failed, message, not_in_force, over_budget, patience, refused, still_in_force, unavailable,
    unknown_op,
};
use crate::schedule::{START, STOP, weighted};
use crate::spec::FaultSpec;
use crate::target::{Target, primaries, struck_primary};
use crate::zones::Zone;

const NAME: &str = "partition";
const DIRECTION: &str = "direction";
const TARGET: &str = "target";
const GROUPS: &str = "n";
const ZONE: &str = "zone";
const ACTION: &str = "action";
const FLAP: &str = "flap";
/// The word for "drawn anew for each activity".
const MIX: &str = "mix";
/// The word for "whoever comes first in the drawn order".
const ANY: &str = "any";
/// The shortest period of a link that flaps: the firewall is changed twice in each.
const SHORTEST_FLAP: Duration = Duration::from_millis(10);

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

/// How nodes are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Variant {
    /// So many groups, as equal as can be.
    Groups,
    /// The nodes of one zone against the rest.
    Zone,
    /// The nodes of one region against the rest.
    Region,
    /// Every zone alone.
    Zones,
    /// Clients against nodes.
    Clients,
    /// By their number and order alone.
    #[serde(untagged)]
    Shape(Shape),
}

impl Variant {
    const OTHERS: [(Variant, VariantInfo); 5] = {
        const fn info(name: &'static str, summary: &'static str) -> VariantInfo {
            VariantInfo { name, summary }
        }
        [
            (
                Variant::Groups,
                info(
                    "groups",
                    "So many groups (option `n`), as equal as can be, none of which sees another.",
                ),
            ),
            (
                Variant::Zone,
                info("zone", "The nodes of one zone (--zone) against the rest."),
            ),
            (
                Variant::Region,
                info(
                    "region",
                    "The nodes of one region (--zone n1=REGION/ZONE) against the rest.",
                ),
            ),
            (Variant::Zones, info("zones", "Every zone (--zone) alone.")),
            (
                Variant::Clients,
                info(
                    "clients",
                    "Clients against the target, or against one node; no links between nodes are cut.",
                ),
            ),
        ]
    };

    fn named(name: &str) -> Option<Variant> {
        let shape = Shape::ALL.into_iter().find(|shape| shape.name() == name);
        let mut others = Variant::OTHERS.iter();
        let other = || {
            others
                .find(|(_, info)| info.name == name)
                .map(|(it, _)| *it)
        };
        shape.map(Variant::Shape).or_else(other)
    }

    fn least_nodes(self) -> usize {
        match self {
            Variant::Shape(shape) => shape.least_nodes(),
            Variant::Clients => 1,
            Variant::Groups | Variant::Zone | Variant::Region | Variant::Zones => 2,
        }
    }
}

/// What happens to packets on a link that is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Drop,
    Reject,
    Jam,
}

impl Action {
    fn is_drop(&self) -> bool {
        *self == Action::Drop
    }

    fn treatment(self) -> Treatment {
        match self {
            Action::Drop => Treatment::Drop,
            Action::Reject => Treatment::Reject,
            Action::Jam => Treatment::Jam,
        }
    }

    /// What proves it.
    fn kind(self) -> Kind {
        match self {
            Action::Drop => ("dropped", |it| it.matched),
            Action::Reject => ("rejected", |it| it.matched),
            Action::Jam => ("held", |it| it.held),
        }
    }
}

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
    let variants = Shape::ALL.map(variant).into_iter();
    let variants = variants.chain(Variant::OTHERS.map(|(_, info)| info));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let directions = words(&["both", "in", "out", MIX]);
    let direction = "Which packets between the two sides are dropped: `both`, those `in` to the smaller \
                     side, those `out` of it, or a `mix`. By default `both`, or a `mix` where no \
                     variant is chosen.";
    let target = "Who is on the smaller side: `any`, `primary`, names of nodes joined by `+` (as many as fit), or a `mix`, \
                  which begins with the primary.";
    let action = "What happens to packets on a link that is cut: `drop`; `reject` (a TCP reset, an ICMP error); `jam` (held, \
                  and delivered at the end).";
    let flap =
        "Links go up and down: cut for half of this time, whole for the other half, and so on.";
    let zone = "Which zone or region is cut off; drawn each time by default.";
    let mut options = vec![
        OptionSpec::new(DIRECTION, OptionKind::OneOf(directions), None, direction),
        OptionSpec::new(TARGET, OptionKind::Text, Some(MIX), target),
        OptionSpec::new(
            GROUPS,
            OptionKind::Integer { min: 2, max: 100 },
            Some("3"),
            "How many groups, for the variant `groups`.",
        ),
        OptionSpec::new(ZONE, OptionKind::Text, None, zone),
        OptionSpec::new(
            ACTION,
            OptionKind::OneOf(words(&["drop", "reject", "jam"])),
            Some("drop"),
            action,
        ),
    ];
    options.extend(traffic_options());
    options.push(OptionSpec::new(FLAP, OptionKind::Duration, None, flap));
    FaultInfo {
        name: NAME,
        summary: "Cuts links between nodes: packets from chosen peers are dropped, rejected or held.",
        variants: variants.collect(),
        options: with_common(options),
        evidence: "Packets counted as dropped (rejected, held) by its rules, node by node and link by link.",
        undo: "Its own firewall table is deleted, and seen to be gone; what was held is delivered.",
        synthetic: false,
        make,
    }
}

/// The value of a `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    variant: Variant,
    #[serde(default)]
    direction: Direction,
    /// Who comes to the smaller side; whoever is first in the order, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    order: Vec<Name>,
    /// The very links, as in a run that is repeated; all else is then for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grudge: Option<Grudge>,
    /// How many groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<usize>,
    /// The zones or regions, in the order in which they are chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    zones: Vec<Zone>,
    #[serde(default, skip_serializing_if = "Action::is_drop")]
    action: Action,
    #[serde(default, skip_serializing_if = "is_all")]
    traffic: Traffic,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flap_ms: Option<u64>,
}

/// What the user left open, and what not.
struct Choice {
    variant: Option<Variant>,
    direction: Option<Direction>,
    /// `None`: a mix. `Some(None)`: any.
    target: Option<Option<Target>>,
    nodes: Vec<Name>,
    groups: usize,
    zones: Vec<Zone>,
    /// The one to be cut off, if the user chose it.
    zone: Option<String>,
    action: Action,
    traffic: Traffic,
    flap: Option<Duration>,
}

impl Choice {
    fn of(spec: &FaultSpec, ctx: &MakeContext) -> Result<Choice, String> {
        let nodes = ctx.nodes.clone();
        let variant = spec.variant.as_deref().and_then(Variant::named);
        let groups = spec.options.integer(GROUPS) as usize;
        let least = match variant {
            Some(Variant::Groups) => groups,
            variant => variant.map_or(2, Variant::least_nodes),
        };
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
            None => variant.map(|_| Direction::Both),
        };
        let target = match spec.options.text(TARGET) {
            MIX => None,
            ANY => Some(None),
            text => Some(Some(Target::read(text, &nodes, &[MIX, ANY])?)),
        };
        let action = match spec.options.text(ACTION) {
            "reject" => Action::Reject,
            "jam" => Action::Jam,
            _ => Action::Drop,
        };
        let flap = spec.options.duration_if(FLAP);
        if flap.is_some_and(|period| period < SHORTEST_FLAP) {
            return Err(format!("option `{FLAP}`: {SHORTEST_FLAP:?} at least"));
        }
        let zone = spec.options.text_if(ZONE).map(str::to_owned);
        Ok(Choice {
            variant,
            direction,
            target,
            groups,
            zones: zones(variant, zone.as_deref(), ctx)?,
            zone,
            nodes,
            action,
            traffic: links::traffic(&spec.options)?,
            flap,
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
        let mut zones = self.zones.clone();
        zones.shuffle(rng);
        zones.sort_by_key(|zone| Some(&zone.name) != self.zone.as_ref());

        let variant = self.variant.unwrap_or(Variant::Shape(shape));
        let whole = matches!(
            variant,
            Variant::Shape(Shape::Primaries) | Variant::Groups | Variant::Zones
        );
        Start {
            variant,
            direction: self
                .direction
                .unwrap_or(if first { Direction::Both } else { direction }),
            target: match &self.target {
                Some(target) => target.clone(),
                None => (primary && !whole && self.zone.is_none()).then_some(Target::Primary),
            },
            order: if variant == Variant::Shape(Shape::Halves) {
                self.nodes.clone()
            } else {
                order
            },
            grudge: None,
            groups: (variant == Variant::Groups).then_some(self.groups),
            zones,
            action: self.action,
            traffic: self.traffic.clone(),
            flap_ms: self.flap.map(|period| period.as_millis() as u64),
        }
    }

    fn needs(&self) -> LinkNeeds {
        LinkNeeds {
            holding: self.action == Action::Jam,
            rejecting: self.action == Action::Reject,
            clients: self.variant == Some(Variant::Clients),
            traffic: !is_all(&self.traffic),
            flapping: self.flap.is_some(),
            ..LinkNeeds::default()
        }
    }
}

/// The zones or regions that a variant tells apart.
fn zones(
    variant: Option<Variant>,
    chosen: Option<&str>,
    ctx: &MakeContext,
) -> Result<Vec<Zone>, String> {
    let zones = match variant {
        Some(Variant::Zone | Variant::Zones) => ctx.zones.zones(&ctx.nodes),
        Some(Variant::Region) => ctx.zones.regions(&ctx.nodes),
        _ if chosen.is_some() => {
            return Err(format!(
                "option `{ZONE}`: only the variants `zone` and `region` have one"
            ));
        }
        _ => return Ok(Vec::new()),
    };
    if zones.len() < 2 && !zones.iter().any(|zone| zone.nodes.len() < ctx.nodes.len()) {
        return Err(format!(
            "nodes in different places needed, there are {}\n  hint: say where they are: --zone n1=a,n2=b or --zone \
             n1=eu/a,n2=us/b",
            zones.len()
        ));
    }
    match chosen.filter(|chosen| !zones.iter().any(|zone| zone.name == *chosen)) {
        None => Ok(zones),
        Some(chosen) => {
            let names = zones.iter().map(|zone| &zone.name);
            Err(format!(
                "option `{ZONE}`: no zone `{chosen}`{}",
                unknown(chosen, names)
            ))
        }
    }
}

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
        fault: Box::new(fault),
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
impl Fault for Partition {
    fn name(&self) -> &str {
        NAME
    }

    async fn probe(&mut self, env: &Environment) -> Result<(), String> {
        if self.needs_primaries && env.primaries.is_none() {
            return Err("this system has no primaries to target".to_owned());
        }
        links::probe(env, &self.needs).await
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
