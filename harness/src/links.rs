//! What can happen to packets on the links of a cluster, as data.
//!
//! A link is an ordered pair of parties: packets from one to the other. The parties are the nodes, and all clients together, which
//! run on the controller's machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use store::Name;

use crate::capability::Grudge;

/// The word for the clients, where the other words are names of nodes.
pub const CLIENTS: &str = "clients";

/// An end of a link. Written as a node's name, or as `clients`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Name", into = "Name")]
pub enum Party {
    /// A node.
    Node(Name),
    /// All clients. Sessions that faults are steered through are no clients, and never struck.
    Clients,
}

impl Party {
    /// The node that it is, if it is one.
    pub fn node(&self) -> Option<&Name> {
        match self {
            Party::Node(name) => Some(name),
            Party::Clients => None,
        }
    }
}

impl From<Name> for Party {
    fn from(name: Name) -> Party {
        match &*name {
            CLIENTS => Party::Clients,
            _ => Party::Node(name),
        }
    }
}

impl From<Party> for Name {
    fn from(party: Party) -> Name {
        match party {
            Party::Node(name) => name,
            Party::Clients => CLIENTS.into(),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.node().map_or(CLIENTS, |name| name))
    }
}

/// By which means lines are made bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The kernel's, where it is there and can do it, and prove it; else the other.
    #[default]
    Any,
    /// The kernel's: `tc-netem(8)`.
    Netem,
    /// The firewall, and a queue to a program that holds packets back.
    Queue,
}

/// Rules for links, all of one fault. The first that fits a packet decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkRules {
    /// The rules.
    pub rules: Vec<LinkRule>,
    /// If the rules are to be in force by turns: for half of this time, then not for the other half.
    pub flap: Option<Duration>,
    /// The root of what chance there is, as far as it can be chosen.
    pub seed: u64,
    /// By which means lines are to be made bad.
    pub backend: Backend,
}

/// What happens to packets on a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkRule {
    /// Who sends them.
    pub from: Party,
    /// Who is to receive them.
    pub to: Party,
    /// Which of them are meant.
    pub traffic: Traffic,
    /// What happens to them.
    pub treatment: Treatment,
}

/// A part of what goes over a link. The default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets of this protocol only.
    pub protocol: Option<Protocol>,
    /// TCP and UDP packets from or to one of these ports only. Empty means all packets.
    pub ports: Vec<u16>,
}

/// A protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
}

/// What happens to packets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// They are lost in silence.
    Drop,
    /// They are answered with a TCP reset or an ICMP error.
    Reject,
    /// They are held, and delivered when the rule is gone.
    Jam,
    /// They come as over a bad line.
    Quality(Quality),
}

/// How bad a line is. The default is a good one. Shares are from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// How late packets come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Which are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How many come with a bit flipped, so that their checksum is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Chance>,
    /// How many come twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Chance>,
    /// How many overtake those that are delayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Reorder>,
    /// How many bits pass in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// How late packets come. Their order is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// On average, in microseconds.
    pub mean_us: u64,
    /// How far it strays, in microseconds: half the range of a uniform distribution, the standard deviation of a normal one, the scale
    /// of a Pareto one.
    pub jitter_us: u64,
    /// How it strays.
    pub distribution: Distribution,
    /// How much each resembles the one before it: from 0 to 1.
    pub correlation: f64,
}

/// How a delay strays around its mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// As far on both sides, all the same.
    Uniform,
    /// The bell curve.
    #[default]
    Normal,
    /// A few come very late.
    Pareto,
}

/// A share of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chance {
    /// From 0 to 1.
    pub share: f64,
    /// How much each packet's fate resembles that of the one before: from 0 to 1.
    pub correlation: f64,
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Each by chance.
    Bernoulli(Chance),
    /// In bursts: a line that is good or bad by turns (Gilbert 1960, Elliott 1963).
    GilbertElliott {
        /// How likely a good line is to turn bad at a packet.
        p: f64,
        /// How likely a bad one is to turn good.
        r: f64,
        /// The share lost while it is bad.
        bad: f64,
        /// The share lost while it is good.
        good: f64,
    },
    /// Every so-many-th.
    Nth(u32),
}

/// Packets that overtake.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reorder {
    /// How many of those that may.
    pub chance: Chance,
    /// Every so-many-th packet may; 1 for each.
    pub gap: u32,
}

/// What a fault needs beyond dropping all packets of links between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkNeeds {
    /// Holding packets back, for a jam or a bad line.
    pub holding: bool,
    /// Rejecting packets.
    pub rejecting: bool,
    /// Links between clients and nodes.
    pub clients: bool,
    /// Rules for a part of the traffic.
    pub traffic: bool,
    /// Rules that are in force by turns.
    pub flapping: bool,
    /// Lines that are made bad.
    pub quality: bool,
    /// By which means.
    pub backend: Backend,
    /// Why netem would not do for all that the fault may do to lines.
    pub beyond_netem: Option<&'static str>,
}

/// What a rule did, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkCounts {
    /// It fitted so many. Those of a rule that drops or rejects were dropped or rejected.
    pub matched: u64,
    /// Held by a jam, those that were delivered since included.
    pub held: u64,
    /// Delivered late.
    pub delayed: u64,
    /// By how much, all together, as measured: in microseconds.
    pub delay_us: u64,
    /// Lost.
    pub lost: u64,
    /// With a bit flipped.
    pub corrupted: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Delivered before some that had come earlier.
    pub reordered: u64,
}

/// What happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCount {
    /// Who sent.
    pub from: Party,
    /// Who was to receive.
    pub to: Party,
    /// What happened to it.
    pub counts: LinkCounts,
}

impl LinkCount {
    /// The node whose rule it was: who receives, or who sends to clients.
    pub fn at(&self) -> Option<&Name> {
        self.to.node().or_else(|| self.from.node())
    }
}

/// Adds something up by the node whose rules did it. Nodes of which nothing is known are left out.
pub fn by_node(counts: &[LinkCount], what: impl Fn(&LinkCounts) -> u64) -> BTreeMap<Name, u64> {
    let mut sums = BTreeMap::new();
    for count in counts {
        if let Some(node) = count.at() {
            *sums.entry(node.clone()).or_default() += what(&count.counts);
        }
    }
    sums
}

impl LinkRules {
    /// Rules that treat all links of a grudge in one way.
    pub fn of(grudge: &Grudge, traffic: &Traffic, treatment: &Treatment) -> LinkRules {
        let links = grudge
            .0
            .iter()
            .flat_map(|(to, sources)| sources.iter().map(move |from| (from, to)));
        let rules = links.map(|(from, to)| LinkRule {
            from: Party::Node(from.clone()),
            to: Party::Node(to.clone()),
            traffic: traffic.clone(),
            treatment: treatment.clone(),
        });
        LinkRules {
            rules: rules.collect(),
            ..LinkRules::default()
        }
    }

    /// The links between nodes whose packets are all dropped, all the time.
    pub fn cuts(&self) -> Grudge {
        let mut grudge: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for rule in &self.rules {
            let whole = rule.treatment == Treatment::Drop && rule.traffic == Traffic::default();
            if let (Some(from), Some(to), true) = (rule.from.node(), rule.to.node(), whole) {
                grudge.entry(to.clone()).or_default().insert(from.clone());
            }
        }
        Grudge(grudge)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn parties_are_written_as_names() {
        for (party, text) in [
            (Party::Node("n1".into()), "\"n1\""),
            (Party::Clients, "\"clients\""),
        ] {
            assert_eq!(serde_json::to_string(&party).unwrap(), text);
            assert_eq!(serde_json::from_str::<Party>(text).unwrap(), party);
        }
    }

    #[test]
    fn a_grudge_becomes_rules_and_a_grudge_again() {
        let grudge: Grudge = serde_json::from_str(r#"{"n1": ["n2", "n3"], "n2": ["n1"]}"#).unwrap();
        let mut rules = LinkRules::of(&grudge, &Traffic::default(), &Treatment::Drop);
        assert_eq!(rules.rules.len(), 3);
        assert_eq!(rules.cuts(), grudge);
        rules.rules[0].treatment = Treatment::Jam;
        rules.rules[1].traffic.ports.push(1);
        assert_eq!(rules.cuts().0.len(), 1);
    }
}
