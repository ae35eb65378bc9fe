//! What the faults of links have in common: which traffic is meant, and what proves that something happened to it.

use std::time::Duration;

use harness::capability::{Environment, Network};
use harness::links::{LinkCount, LinkCounts, Party, Protocol, Traffic, by_node};
use harness::options::{OptionKind, OptionSpec, Options};
use harness::time::{Clock, sleep};
use harness::{Name, Value};
use serde_json::json;

use crate::grudge::Direction;

const PORTS: &str = "ports";
const PROTOCOL: &str = "protocol";

/// Milliseconds between looks at the counters after rules were made, until one has counted: a
/// start that has proof at once says so. The rules are in force all the while.
const LOOKS: [u64; 4] = [10, 20, 40, 80];

/// The options that say which traffic is meant.
pub(crate) fn traffic_options() -> [OptionSpec; 2] {
    let ports =
        "Only TCP and UDP packets from or to these ports, joined by `+`; all packets by default.";
    let protocol = "Only packets of this protocol; all by default.";
    let protocols = ["tcp", "udp", "icmp"].map(str::to_owned).to_vec();
    [
        OptionSpec::new(PORTS, OptionKind::Text, None, ports),
        OptionSpec::new(PROTOCOL, OptionKind::OneOf(protocols), None, protocol),
    ]
}

/// Which traffic the user means.
pub(crate) fn traffic(options: &Options) -> Result<Traffic, String> {
    let port = |text: &str| match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!(
            "option `{PORTS}`: ports from 1 to 65535 joined by `+` expected, found `{text}`"
        )),
    };
    let ports = options.text_if(PORTS).map(|text| text.split('+'));
    let ports = ports.into_iter().flatten().map(port);
    let protocol = match options.text_if(PROTOCOL) {
        Some("tcp") => Some(Protocol::Tcp),
        Some("udp") => Some(Protocol::Udp),
        Some(_) => Some(Protocol::Icmp),
        None => None,
    };
    let traffic = Traffic {
        protocol,
        ports: ports.collect::<Result<_, _>>()?,
    };
    match (traffic.protocol, traffic.ports.is_empty()) {
        (Some(Protocol::Icmp), false) => Err("ICMP has no ports".to_owned()),
        _ => Ok(traffic),
    }
}

/// Whether a description of traffic says nothing, and need not be told.
pub(crate) fn is_all(traffic: &Traffic) -> bool {
    *traffic == Traffic::default()
}

/// The links between an inner party and others, one way or both: from whom, to whom.
pub(crate) fn between(
    inner: &Party,
    others: &[Party],
    direction: Direction,
) -> Vec<(Party, Party)> {
    let mut links = Vec::new();
    for other in others.iter().filter(|other| *other != inner) {
        if direction != Direction::Out {
            links.push((other.clone(), inner.clone()));
        }
        if direction != Direction::In {
            links.push((inner.clone(), other.clone()));
        }
    }
    links
}

/// Who was struck.
#[derive(Clone, Debug)]
pub(crate) struct Struck {
    /// The nodes.
    pub(crate) targets: Vec<Name>,
    /// Whether a node that believed to be primary just before was among them.
    pub(crate) leader: Option<bool>,
}

/// A kind of thing that happens to packets: its word, and how many packets.
pub(crate) type Kind = (&'static str, fn(&LinkCounts) -> u64);

/// What happens to packets on a bad line.
pub(crate) const OF_QUALITY: [Kind; 5] = [
    ("delayed", |it| it.delayed),
    ("lost", |it| it.lost),
    ("corrupted", |it| it.corrupted),
    ("duplicated", |it| it.duplicated),
    ("reordered", |it| it.reordered),
];

impl Struck {
    /// Evidence, as coverage reads it: what happened to packets, of these kinds, by node and by link.
    pub(crate) fn evidence(&self, kinds: &[Kind], counts: &[LinkCount]) -> Value {
        let mut value = json!({
            "effective": effective(kinds, counts),
            "targets": self.targets,
        });
        if let Some(leader) = self.leader {
            value["leader"] = leader.into();
        }
        for (word, kind) in kinds {
            let sums = by_node(counts, kind);
            // What a fault of one kind did is told also where it did nothing.
            if kinds.len() == 1 || sums.values().any(|packets| *packets > 0) {
                value[word] = json!(sums);
            }
        }
        let links = counts.iter().filter_map(|count| link(kinds, count));
        let links: Vec<Value> = links.collect();
        if !links.is_empty() {
            value["links"] = links.into();
        }
        value
    }
}

/// What happened on one link; none if nothing did.
fn link(kinds: &[Kind], count: &LinkCount) -> Option<Value> {
    let counts = &count.counts;
    if count.from == count.to || kinds.iter().all(|(_, kind)| kind(counts) == 0) {
        return None;
    }
    let mut link = json!({"from": count.from, "to": count.to});
    for (word, kind) in kinds {
        if kind(counts) > 0 {
            link[word] = kind(counts).into();
        }
    }
    // On average, as measured, to the microsecond.
    if let Some(mean) = counts.delay_us.checked_div(counts.delayed)
        // Not everybody who counts also measures.
        && counts.delay_us > 0
    {
        link["delay-ms"] = (mean as f64 / 1000.0).into();
    }
    Some(link)
}

pub(crate) fn effective(kinds: &[Kind], counts: &[LinkCount]) -> bool {
    let mut all = counts.iter();
    all.any(|count| kinds.iter().any(|(_, kind)| kind(&count.counts) > 0))
}

/// What rules that were just made have done by now, as soon as that is something.
pub(crate) async fn look(
    clock: &dyn Clock,
    network: &dyn Network,
    layer: &str,
    kinds: &[Kind],
) -> Vec<LinkCount> {
    let mut counts = Vec::new();
    for wait in LOOKS {
        sleep(clock, Duration::from_millis(wait)).await;
        // No answer is no evidence: the stop will tell.
        counts = network.counts(layer).await.unwrap_or_default();
        if effective(kinds, &counts) {
            break;
        }
    }
    counts
}

/// Whether the network of an environment can do something; the error says why not.
pub(crate) async fn probe(
    env: &Environment,
    needs: &harness::links::LinkNeeds,
) -> Result<(), String> {
    match &env.network {
        None => Err(NO_NETWORK.to_owned()),
        Some(network) => network.probe(needs).await,
    }
}

/// Said where there is no network to act on.
pub(crate) const NO_NETWORK: &str = "links between nodes cannot be cut here";
