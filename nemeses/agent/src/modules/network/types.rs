//! What the controller says to the module, and hears from it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The module's name.
pub const NAME: &str = "network";

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Says whether rules can be made here; with `shaping`, also those that hold packets back.
    Probe {
        /// Whether packets must be held back.
        shaping: bool,
    },
    /// Replaces all rules of a layer.
    Set(RuleSet),
    /// Says what the rules of a layer did so far.
    Count {
        /// The layer.
        layer: String,
    },
    /// Deletes a layer, sees that it is gone, and says what its rules did.
    Heal {
        /// The layer.
        layer: String,
    },
}

/// All rules of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleSet {
    /// The layer: lower-case letters.
    pub layer: String,
    /// The rules; the first that fits a packet decides.
    pub rules: Vec<Rule>,
    /// The root of what chance there is.
    pub seed: u64,
    /// If the rules are to be in force by turns: for half of so many milliseconds, then not for the other half.
    pub flap_ms: Option<u64>,
}

/// What happens to packets of one peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The peer's addresses.
    pub peer: Vec<IpAddr>,
    /// From it or to it.
    pub way: Way,
    /// Which of them.
    #[serde(default)]
    pub traffic: Traffic,
    /// A TCP port of this node whose packets are left alone: that of its SSH server.
    #[serde(default)]
    pub spare: Option<u16>,
    /// What happens to them.
    pub treatment: Treatment,
}

/// Which way packets go, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// They come in.
    In,
    /// They go out.
    Out,
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

impl Treatment {
    /// Whether it needs a queue.
    pub(super) fn queues(&self) -> bool {
        matches!(self, Treatment::Jam | Treatment::Quality(_))
    }
}

/// How bad a line is. The default is a good one. Shares are from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// How late packets come.
    pub delay: Option<Delay>,
    /// Which are lost.
    pub loss: Option<Loss>,
    /// How many come with a bit flipped, so that their checksum is wrong.
    pub corrupt: Option<Chance>,
    /// How many come twice.
    pub duplicate: Option<Chance>,
    /// How many overtake those that are delayed.
    pub reorder: Option<Reorder>,
    /// How many bits pass in a second.
    pub rate: Option<u64>,
}

/// How late packets come. Their order is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// On average, in microseconds.
    pub mean_us: u64,
    /// How far it strays: half the range of a uniform distribution, the standard deviation of a normal one, the scale of a Pareto one.
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

/// What the kernel and the shaper know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// For each rule of the layer what it did; none if the layer is not in the firewall (any more).
    pub counts: Option<Vec<Counts>>,
    /// How many rules the kernel says that it has, if they were just installed.
    pub installed: Option<usize>,
}

/// What a rule did, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
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
