//! What the user says of partitions, what is left to chance, and what a `start` then has.

use std::time::Duration;

use harness::Name;
use harness::capability::Grudge;
use harness::links::{LinkNeeds, Traffic};
use harness::options::{OptionKind, OptionSpec, unknown};
use harness::seed::Rng;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::NAME;
use super::variant::{Action, Variant};
use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, VariantInfo, with_common};
use crate::grudge::{Direction, Shape};
use crate::links::{self, is_all, traffic_options};
use crate::schedule::weighted;
use crate::spec::FaultSpec;
use crate::target::Target;
use crate::zones::{Level, Zone};

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
        undo: "Its own firewall table (or filters of tc, where the kernel has no nf_tables for IP) is deleted, and seen to be gone; \
               what was held is delivered.",
        synthetic: false,
        make: super::make,
    }
}

/// The value of a `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) variant: Variant,
    #[serde(default)]
    pub(super) direction: Direction,
    /// Who comes to the smaller side; whoever is first in the order, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Target>,
    pub(super) order: Vec<Name>,
    /// The very links, as in a run that is repeated; all else is then for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grudge: Option<Grudge>,
    /// How many groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) groups: Option<usize>,
    /// The zones or regions, in the order in which they are chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) zones: Vec<Zone>,
    #[serde(default, skip_serializing_if = "Action::is_drop")]
    pub(super) action: Action,
    #[serde(default, skip_serializing_if = "is_all")]
    pub(super) traffic: Traffic,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flap_ms: Option<u64>,
}

/// What the user left open, and what not.
pub(super) struct Choice {
    pub(super) variant: Option<Variant>,
    direction: Option<Direction>,
    /// `None`: a mix. `Some(None)`: any.
    pub(super) target: Option<Option<Target>>,
    nodes: Vec<Name>,
    groups: usize,
    zones: Vec<Zone>,
    /// The one to be cut off, if the user chose it.
    pub(super) zone: Option<String>,
    action: Action,
    traffic: Traffic,
    flap: Option<Duration>,
}

impl Choice {
    pub(super) fn of(spec: &FaultSpec, ctx: &MakeContext) -> Result<Choice, String> {
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

    pub(super) fn start(&self, number: u64, rng: &mut Rng) -> Start {
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

    pub(super) fn needs(&self) -> LinkNeeds {
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
    let level = match variant {
        Some(Variant::Zone | Variant::Zones) => Level::Zone,
        Some(Variant::Region) => Level::Region,
        _ if chosen.is_some() => {
            return Err(format!(
                "option `{ZONE}`: only the variants `zone` and `region` have one"
            ));
        }
        _ => return Ok(Vec::new()),
    };
    let zones = ctx.zones.places(level, &ctx.nodes)?;
    if variant != Some(Variant::Zones) {
        let meant = |zone: &&Zone| chosen.is_none_or(|chosen| zone.name == chosen);
        zones
            .iter()
            .filter(meant)
            .try_for_each(|zone| within_budget(level, zone, ctx))?;
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

/// Whether a zone may be cut off from the rest: then the smaller of the two sides counts as down.
fn within_budget(level: Level, zone: &Zone, ctx: &MakeContext) -> Result<(), String> {
    let size = zone.nodes.len();
    let off = size.min(ctx.nodes.len() - size);
    match ctx.down.most() {
        Some(most) if off > most => Err(format!(
            "the {} `{}` has {size} of {} nodes: without it {off} are cut off, and at most {most} may be down at once\n  hint: --max-down {off}",
            level.word(),
            zone.name,
            ctx.nodes.len(),
        )),
        _ => Ok(()),
    }
}
