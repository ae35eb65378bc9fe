//! What the user says of bad lines, what is left to chance, and what a `start` then has.

use std::collections::BTreeSet;

use harness::Name;
use harness::links::{Backend, CLIENTS, Party, Quality, Traffic};
use harness::options::{OptionKind, OptionSpec};
use harness::seed::Rng;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::quality::{self, FLAWS, Flaw, Qualities};
use crate::grudge::Direction;
use crate::links::{self, is_all, traffic_options};
use crate::schedule::weighted;
use crate::spec::FaultSpec;
use crate::ssh::netem_lacks;
use crate::target::{Aim, Target};
use crate::zones::Zones;

const TARGET: &str = "target";
const PEERS: &str = "peers";
const DIRECTION: &str = "direction";
pub(super) const MIX: &str = "mix";
const BACKEND: &str = "backend";
const NODES: &str = "nodes";
const ALL: &str = "all";

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

/// What the user can say.
pub(super) fn options() -> Vec<OptionSpec> {
    let words = |words: &[&str]| OptionKind::OneOf(words.iter().map(|it| (*it).into()).collect());
    let target = format!(
        "Which nodes' links: `one`, `minority`, `minority-third`, `majority`, `all`, `primary`, `primaries`, names joined by `+`, \
         {}, or a `mix`, which begins with the primary.",
        Aim::PLACES
    );
    let peers = "The other ends of the links: all `nodes`, the `clients`, `all` of these, or names of nodes joined by `+`.";
    let direction =
        "Which packets: `both` ways, those `in` to the target, those `out` of it, or a `mix`.";
    let mut options = vec![
        OptionSpec::new(TARGET, OptionKind::Text, Some(MIX), &target),
        OptionSpec::new(PEERS, OptionKind::Text, Some(NODES), peers),
        OptionSpec::new(
            DIRECTION,
            words(&["both", "in", "out", MIX]),
            Some("both"),
            direction,
        ),
    ];
    options.extend(quality::options());
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
pub(super) enum Peers {
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
    pub(super) fn parties(&self, nodes: &[Name]) -> Vec<Party> {
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

    pub(super) fn have_clients(&self) -> bool {
        matches!(self, Peers::Clients | Peers::All)
    }
}

/// The value of a `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) quality: Quality,
    pub(super) target: Target,
    pub(super) peers: Peers,
    #[serde(default)]
    pub(super) direction: Direction,
    pub(super) order: Vec<Name>,
    /// The zone or region that the target is all nodes of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    /// The root of each packet's fate.
    pub(super) seed: u64,
    #[serde(default, skip_serializing_if = "is_all")]
    pub(super) traffic: Traffic,
    #[serde(default, skip_serializing_if = "is_any")]
    pub(super) backend: Backend,
}

fn is_any(backend: &Backend) -> bool {
    *backend == Backend::Any
}

/// What the user left open, and what not.
pub(super) struct Choice {
    /// What is wrong with the line, if the user says so; a mix otherwise, if that was asked for.
    flaws: BTreeSet<Flaw>,
    mix: bool,
    qualities: Qualities,
    /// `None`: a mix.
    pub(super) aim: Option<Aim>,
    pub(super) peers: Peers,
    /// `None`: a mix.
    direction: Option<Direction>,
    pub(super) traffic: Traffic,
    pub(super) backend: Backend,
    nodes: Vec<Name>,
}

impl Choice {
    pub(super) fn of(spec: &FaultSpec, nodes: &[Name], zones: &Zones) -> Result<Choice, String> {
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
            aim: match options.text(TARGET) {
                MIX => None,
                text => Some(Aim::read(text, nodes, zones, &[MIX])?),
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
    pub(super) fn beyond_netem(&self) -> Option<&'static str> {
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

    pub(super) fn start(&self, number: u64, rng: &mut Rng) -> Start {
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
        // Short enough to be read, and to be a number in any reader of JSON.
        let seed = rng.random_range(0..1 << 32);
        let (target, zone) = match &self.aim {
            Some(aim) => aim.draw(rng),
            None => (drawn.clone(), None),
        };
        Start {
            quality: self.qualities.with(&flaws),
            target,
            peers: self.peers.clone(),
            direction: self.direction.unwrap_or(direction),
            order,
            zone,
            seed,
            traffic: self.traffic.clone(),
            backend: self.backend,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use harness::links::{Chance, Loss};
    use harness::seed::Seed;
    use serde_json::json;

    use super::*;
    use crate::spec::parse;

    pub(in crate::packet) fn choice(text: &str) -> Result<Choice, String> {
        let nodes = ["n1", "n2", "n3"].map(Name::from);
        Choice::of(&parse(text).unwrap()[0], &nodes, &Zones::default())
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
}
