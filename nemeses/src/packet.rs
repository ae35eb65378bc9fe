//! The fault `packet`: links get bad: packets come late, are lost, damaged, come twice, out of order, or slowly.
//!
//! The words and defaults are Jepsen's and `tc-netem(8)`'s.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::capability::{CapabilityError, Environment};
use harness::client::Op;
use harness::fault::{Fault, FaultOutcome};
use harness::links::{
    Backend, CLIENTS, LinkNeeds, LinkRule, LinkRules, Party, Quality, Traffic, Treatment,
};
use harness::options::{OptionKind, OptionSpec};
use harness::seed::Rng;
use harness::time::SharedClock;
use harness::{Name, OpError};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::build::MakeContext;
use crate::catalogue::{FaultInfo, Made, VariantInfo, with_common};
use crate::grudge::Direction;
use crate::links::{self, NO_NETWORK, OF_QUALITY, Struck, between, is_all, look, traffic_options};
use crate::outcome::{
    failed, message, not_in_force, patience, refused, still_in_force, unavailable, unknown_op,
};
use crate::schedule::{START, STOP, weighted};
use crate::spec::FaultSpec;
use crate::ssh::netem_lacks;
use crate::target::{Target, primaries, struck_primary};

mod quality;

use quality::Qualities;

const NAME: &str = "packet";
const TARGET: &str = "target";
const PEERS: &str = "peers";
const DIRECTION: &str = "direction";
const MIX: &str = "mix";
const NODES: &str = "nodes";
const ALL: &str = "all";

const DELAY: &str = "delay";
const JITTER: &str = "jitter";
const DISTRIBUTION: &str = "distribution";
const CORRELATION: &str = "correlation";
const LOSS: &str = "loss";
const NTH: &str = "nth";
const GEMODEL: &str = "gemodel";
const CORRUPT: &str = "corrupt";
const DUPLICATE: &str = "duplicate";
const REORDER: &str = "reorder";
const GAP: &str = "gap";
const RATE: &str = "rate";
const BACKEND: &str = "backend";

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    Delay,
    Loss,
    Corrupt,
    Duplicate,
    Reorder,
    Rate,
}

impl Flaw {
    const ALL: [Flaw; 6] = [
        Flaw::Delay,
        Flaw::Loss,
        Flaw::Corrupt,
        Flaw::Duplicate,
        Flaw::Reorder,
        Flaw::Rate,
    ];

    fn name(self) -> &'static str {
        match self {
            Flaw::Delay => DELAY,
            Flaw::Loss => LOSS,
            Flaw::Corrupt => CORRUPT,
            Flaw::Duplicate => DUPLICATE,
            Flaw::Reorder => REORDER,
            Flaw::Rate => RATE,
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Flaw::Delay => "Packets come late, by an amount that strays.",
            Flaw::Loss => "Packets are lost: each by chance, in bursts, or every so-many-th.",
            Flaw::Corrupt => {
                "Packets have a bit flipped, so that the receiver's checksum is wrong."
            }
            Flaw::Duplicate => "Packets come twice.",
            Flaw::Reorder => "Packets overtake others, which are delayed.",
            Flaw::Rate => "Only so many bits pass in a second.",
        }
    }

    /// The options that ask for it.
    fn options(self) -> &'static [&'static str] {
        match self {
            Flaw::Delay => &[DELAY, JITTER, DISTRIBUTION],
            Flaw::Loss => &[LOSS, NTH, GEMODEL],
            Flaw::Corrupt => &[CORRUPT],
            Flaw::Duplicate => &[DUPLICATE],
            Flaw::Reorder => &[REORDER, GAP],
            Flaw::Rate => &[RATE],
        }
    }
}

/// Flaws with their weights, for activities for which the user chose none; none is a mix.
const FLAWS: [(Option<Flaw>, u32); 7] = [
    (Some(Flaw::Delay), 4),
    (Some(Flaw::Loss), 3),
    (None, 2),
    (Some(Flaw::Reorder), 1),
    (Some(Flaw::Duplicate), 1),
    (Some(Flaw::Corrupt), 1),
    (Some(Flaw::Rate), 1),
];
/// Targets with their weights, where they are drawn.
const TARGETS: [(Target, u32); 4] = [
    (Target::One, 3),
    (Target::Primary, 3),
    (Target::All, 3),
    (Target::Minority, 2),
];
/// Directions with their weights, where they are drawn.
const DIRECTIONS: [(Direction, u32); 3] = [
    (Direction::Both, 4),
    (Direction::In, 1),
    (Direction::Out, 1),
];

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

fn options() -> Vec<OptionSpec> {
    let words = |words: &[&str]| OptionKind::OneOf(words.iter().map(|it| (*it).into()).collect());
    let percent = || OptionKind::Number {
        min: 0.0,
        max: 100.0,
    };
    let option = |name, kind, help| OptionSpec::new(name, kind, None, help);
    let count = || OptionKind::Integer {
        min: 1,
        max: 1_000_000,
    };
    let target = "Which nodes' links: `one`, `minority`, `minority-third`, `majority`, `all`, `primary`, `primaries`, names \
                  joined by `+`, or a `mix`, which begins with the primary.";
    let peers = "The other ends of the links: all `nodes`, the `clients`, `all` of these, or names of nodes joined by `+`.";
    let direction =
        "Which packets: `both` ways, those `in` to the target, those `out` of it, or a `mix`.";
    let mut options = vec![
        OptionSpec::new(TARGET, OptionKind::Text, Some(MIX), target),
        OptionSpec::new(PEERS, OptionKind::Text, Some(NODES), peers),
        OptionSpec::new(
            DIRECTION,
            words(&["both", "in", "out", MIX]),
            Some("both"),
            direction,
        ),
        option(
            DELAY,
            OptionKind::Duration,
            "How late packets come on average; 50ms by default.",
        ),
        option(
            JITTER,
            OptionKind::Duration,
            "How far the delay strays; 10ms by default, or a fifth of the delay.",
        ),
        option(
            DISTRIBUTION,
            words(&["uniform", "normal", "pareto"]),
            "How the delay strays; `normal` by default.",
        ),
        option(
            CORRELATION,
            percent(),
            "How much each packet's fate resembles the one's before, in percent; by default 25 for delays, 75 for \
             everything else.",
        ),
        option(
            LOSS,
            percent(),
            "The share of packets lost, in percent; 20 by default.",
        ),
        option(
            NTH,
            count(),
            "Every so-many-th packet is lost, instead of a share.",
        ),
        option(
            GEMODEL,
            OptionKind::Text,
            "Losses in bursts (Gilbert and Elliott), as netem's: `P/R/1-H/1-K` in percent: to turn bad, to turn good, lost \
             while bad (100 if left out), lost while good (0 if left out).",
        ),
        option(
            CORRUPT,
            percent(),
            "The share of packets damaged, in percent; 20 by default.",
        ),
        option(
            DUPLICATE,
            percent(),
            "The share of packets that come twice, in percent; 20 by default.",
        ),
        option(
            REORDER,
            percent(),
            "The share of packets that are not delayed as the others are, in percent; 20 by default.",
        ),
        option(
            GAP,
            count(),
            "Only every so-many-th packet may overtake; 1 by default.",
        ),
        option(
            RATE,
            OptionKind::Text,
            "How much passes: `500kbit`, `1mbit`, `1gbit`; 1mbit by default.",
        ),
    ];
    let backend = "By which means: `netem`, the kernel's (tc), or a `queue` to the agent, which needs nf_tables and no netem. With `any` netem \
                   does what it can do and prove, where the nodes' kernels have it, and the queue the rest: duplicates, every so-many-th \
                   packet lost, damage alone, and what clients send.";
    options.push(OptionSpec::new(
        BACKEND,
        words(&["any", "netem", "queue"]),
        Some("any"),
        backend,
    ));
    options.extend(traffic_options());
    options
}

/// The other ends of links. Written as a word, or as names of nodes joined by `+`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
enum Peers {
    Nodes,
    Clients,
    All,
    These(Vec<Name>),
}

impl From<String> for Peers {
    fn from(text: String) -> Peers {
        match &*text {
            NODES => Peers::Nodes,
            CLIENTS => Peers::Clients,
            ALL => Peers::All,
            names => Peers::These(names.split('+').map(Name::from).collect()),
        }
    }
}

impl From<Peers> for String {
    fn from(peers: Peers) -> String {
        match peers {
            Peers::Nodes => NODES.to_owned(),
            Peers::Clients => CLIENTS.to_owned(),
            Peers::All => ALL.to_owned(),
            Peers::These(names) => names.join("+"),
        }
    }
}

impl Peers {
    fn parties(&self, nodes: &[Name]) -> Vec<Party> {
        let named = |names: &[Name]| names.iter().cloned().map(Party::Node).collect();
        let mut parties: Vec<Party> = match self {
            Peers::Nodes | Peers::All => named(nodes),
            Peers::These(names) => named(names),
            Peers::Clients => Vec::new(),
        };
        if self.have_clients() {
            parties.push(Party::Clients);
        }
        parties
    }

    fn have_clients(&self) -> bool {
        matches!(self, Peers::Clients | Peers::All)
    }
}

/// The value of a `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    quality: Quality,
    target: Target,
    peers: Peers,
    #[serde(default)]
    direction: Direction,
    order: Vec<Name>,
    /// The root of each packet's fate.
    seed: u64,
    #[serde(default, skip_serializing_if = "is_all")]
    traffic: Traffic,
    #[serde(default, skip_serializing_if = "is_any")]
    backend: Backend,
}

fn is_any(backend: &Backend) -> bool {
    *backend == Backend::Any
}

/// What the user left open, and what not.
struct Choice {
    /// What is wrong with the line, if the user says so; a mix otherwise, if that was asked for.
    flaws: BTreeSet<Flaw>,
    mix: bool,
    qualities: Qualities,
    /// `None`: a mix.
    target: Option<Target>,
    peers: Peers,
    /// `None`: a mix.
    direction: Option<Direction>,
    traffic: Traffic,
    backend: Backend,
    nodes: Vec<Name>,
}

impl Choice {
    fn of(spec: &FaultSpec, nodes: &[Name]) -> Result<Choice, String> {
        let options = &spec.options;
        let given = |flaw: &Flaw| {
            let mut names = flaw.options().iter();
            names.any(|name| options.get(name).is_some())
        };
        let variant = spec.variant.as_deref();
        let chosen = |flaw: &Flaw| Some(flaw.name()) == variant;
        let flaws = Flaw::ALL.into_iter();
        let flaws = flaws.filter(|flaw| chosen(flaw) || given(flaw)).collect();
        let peers = Peers::from(options.text(PEERS).to_owned());
        if let Peers::These(names) = &peers {
            let words = [NODES, CLIENTS, ALL];
            // Its words are no peers, but names are told right or wrong the same.
            Target::read(&names.join("+"), nodes, &words)?;
        }
        if nodes.len() < 2 && !peers.have_clients() {
            return Err("at least 2 nodes needed, there are 1".to_owned());
        }
        Ok(Choice {
            flaws,
            mix: variant == Some(MIX),
            qualities: Qualities::of(options)?,
            target: match options.text(TARGET) {
                MIX => None,
                text => Some(Target::read(text, nodes, &[MIX])?),
            },
            peers,
            direction: match options.text(DIRECTION) {
                "in" => Some(Direction::In),
                "out" => Some(Direction::Out),
                MIX => None,
                _ => Some(Direction::Both),
            },
            traffic: links::traffic(options)?,
            backend: match options.text(BACKEND) {
                "netem" => Backend::Netem,
                "queue" => Backend::Queue,
                _ => Backend::Any,
            },
            nodes: nodes.to_vec(),
        })
    }

    /// Whether a flaw may be drawn.
    fn may_have(&self, flaw: Flaw) -> bool {
        let quality = self.qualities.with(&[flaw].into());
        self.backend != Backend::Netem || netem_lacks(&quality).is_none()
    }

    /// What netem would lack, if anything is to be done to lines that it cannot do.
    fn beyond_netem(&self) -> Option<&'static str> {
        if self.peers.have_clients() && self.direction != Some(Direction::Out) {
            return Some("it acts on what nodes send, and not on what clients do");
        }
        match self.flaws.is_empty() {
            false => netem_lacks(&self.qualities.with(&self.flaws)),
            true => {
                let possible = Flaw::ALL.into_iter().filter(|flaw| self.may_have(*flaw));
                let mut lacking =
                    possible.map(|flaw| netem_lacks(&self.qualities.with(&[flaw].into())));
                lacking.find_map(|why| why)
            }
        }
    }

    fn start(&self, number: u64, rng: &mut Rng) -> Start {
        // Everything is drawn whether it is needed or not, so that one choice of the user does not
        // change what is drawn for another.
        let flaw = *weighted(&FLAWS, |flaw| flaw.is_none_or(|it| self.may_have(it)), rng);
        let mut mixed = Flaw::ALL.to_vec();
        mixed.retain(|flaw| self.may_have(*flaw));
        mixed.shuffle(rng);
        mixed.truncate(rng.random_range(2..=mixed.len()));
        let drawn = match (number, weighted(&TARGETS, |_| true, rng)) {
            (0, _) => &Target::Primary,
            (_, drawn) => drawn,
        };
        let direction = *weighted(&DIRECTIONS, |_| true, rng);
        let mut order = self.nodes.clone();
        order.shuffle(rng);
        let flaws = match (self.flaws.is_empty(), self.mix, flaw) {
            (false, _, _) => self.flaws.clone(),
            (true, false, Some(flaw)) => [flaw].into(),
            _ => mixed.into_iter().collect(),
        };
        Start {
            quality: self.qualities.with(&flaws),
            target: self.target.as_ref().unwrap_or(drawn).clone(),
            peers: self.peers.clone(),
            direction: self.direction.unwrap_or(direction),
            order,
            // Short enough to be read, and to be a number in any reader of JSON.
            seed: rng.random_range(0..1 << 32),
            traffic: self.traffic.clone(),
            backend: self.backend,
        }
    }
}

fn make(spec: &FaultSpec, ctx: &MakeContext) -> Result<Made, String> {
    let choice = Choice::of(spec, &ctx.nodes)?;
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
        needs_primaries: choice.target.as_ref().is_some_and(Target::needs_primaries),
        owes_primary: choice.target.is_none() && !ctx.exact,
        standing: None,
    };
    Ok(Made {
        fault: Box::new(fault),
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
impl Fault for Packet {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use harness::links::{Chance, Loss};
    use harness::seed::Seed;

    use super::*;
    use crate::spec::parse;

    fn choice(text: &str) -> Result<Choice, String> {
        let nodes = ["n1", "n2", "n3"].map(Name::from);
        Choice::of(&parse(text).unwrap()[0], &nodes)
    }

    /// What is wrong with the lines of an activity.
    fn quality(text: &str, number: u64) -> Quality {
        let rng = &mut Seed::new(1).child(number).rng();
        choice(text).unwrap().start(number, rng).quality
    }

    #[test]
    fn a_variant_is_as_bad_as_jepsens() {
        let delay = quality("packet:delay", 0);
        let expected = json!({"delay": {"mean_us": 50_000, "jitter_us": 10_000, "distribution": "normal", "correlation": 0.25}});
        assert_eq!(json!(delay), expected);
        let chance = json!({"share": 0.2, "correlation": 0.75});
        for variant in ["corrupt", "duplicate"] {
            let quality = quality(&format!("packet:{variant}"), 0);
            assert_eq!(json!(quality), json!({variant: chance}));
        }
        let loss = quality("packet:loss", 0);
        assert_eq!(json!(loss), json!({"loss": {"bernoulli": chance}}));
        assert_eq!(json!(quality("packet:rate", 0)), json!({"rate": 1_000_000}));
        let reorder = quality("packet:reorder", 0);
        assert!(reorder.delay.is_some() && reorder.reorder.is_some());
    }

    #[test]
    fn options_say_what_is_wrong_as_well_as_variants_do() {
        let both = quality("packet:delay=5ms:loss=1:correlation=0", 3);
        assert_eq!(both.delay.unwrap().mean_us, 5000);
        assert_eq!(both.delay.unwrap().jitter_us, 1000);
        let chance = Chance {
            share: 0.01,
            correlation: 0.0,
        };
        assert_eq!(both.loss, Some(Loss::Bernoulli(chance)));
        let only = Quality {
            delay: both.delay,
            loss: both.loss,
            ..Quality::default()
        };
        assert_eq!(both, only);
        let bursts = quality("packet:loss:gemodel=5/20", 0).loss;
        let expected = Loss::GilbertElliott {
            p: 0.05,
            r: 0.2,
            bad: 1.0,
            good: 0.0,
        };
        assert_eq!(bursts, Some(expected));
        assert_eq!(quality("packet:rate=2kbit", 0).rate, Some(2000));
    }

    #[test]
    fn a_mix_is_of_several_and_without_a_variant_it_varies() {
        let flaws = |quality: &Quality| json!(quality).as_object().unwrap().len();
        for number in 0..50 {
            assert!(flaws(&quality("packet:mix", number)) > 1);
        }
        let drawn: BTreeSet<String> = (0..100)
            .map(|number| json!(quality("packet", number)).to_string())
            .collect();
        assert!(drawn.len() > 6);
    }

    #[test]
    fn wrong_values_are_told() {
        let error = |text: &str| choice(text).err().unwrap();
        assert!(error("packet:rate=fast").contains("`1mbit`"));
        assert!(error("packet:gemodel=1").contains("two to four"));
        assert!(error("packet:gemodel=1/200").contains("0 to 100"));
        assert!(error("packet:loss=1:nth=3").contains("one of"));
        assert!(error("packet:delay=2m").contains("at most"));
        assert!(error("packet:peers=n9").contains("no target or node `n9`"));
        assert!(error("packet:ports=0").contains("1 to 65535"));
        assert!(error("packet:ports=1:protocol=icmp").contains("no ports"));
    }

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
