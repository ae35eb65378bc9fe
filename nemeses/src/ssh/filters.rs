//! Cuts by filters of `tc(8)`, where a node's firewall cannot keep them: old kernels have no nf_tables, and some have it without IP.
//! Filters can only drop.
//!
//! Rules are kept by the node that receives, as in the firewall, and by the one that sends to clients. They are two blocks of filters
//! (`flower`, with the action `drop`), for packets that come in and that go out, which `clsact` has on each interface that leads to a
//! peer. The numbers of the blocks say that it is ours; an interface that has one of somebody's is refused. Undoing removes it, and all
//! filters with it.
//!
//! In one thing they differ from the firewall: who sends a datagram to a client while such packets are dropped may be told so (`ENOBUFS`).

use std::fmt::Write;
use std::net::IpAddr;

use harness::Name;
use harness::links::{
    LinkCounts, LinkNeeds, LinkRule, LinkRules, Party, Protocol, Traffic, Treatment,
};
use serde::Deserialize;

use super::addresses::{Addresses, Known};
use super::tc::Means;

/// Filters, kept by who receives.
pub(super) const FILTERS: Means = Means {
    name: "tc filter",
    undo: UNDO,
    verify: VERIFY,
    count: COUNT,
    probe,
    keeper: |rule| rule.to.node().or_else(|| rule.from.node()),
    script,
    counts,
};

/// The blocks of filters for packets that come in, and that go out: as the scripts have them.
const IN: u32 = 26465;
const OUT: u32 = 26466;

/// Takes them away.
const UNDO: &str = "\
for d in /sys/class/net/*; do
    d=${d##*/}
    ! tc qdisc show dev \"$d\" 2>/dev/null | grep -q '^qdisc clsact .* ingress_block 26465 ' || tc qdisc del dev \"$d\" clsact || exit 1
done
";

/// Succeeds if none are there.
const VERIFY: &str = "all=$(tc qdisc show) && ! printf '%s\\n' \"$all\" | grep -q '^qdisc clsact .* ingress_block 26465 '";

/// What they counted. Where none are, there are no blocks.
const COUNT: &str = "\
for b in 26465 26466; do
    tc -s -j filter show block $b 2>/dev/null && echo || true
done
";

/// Tries all of it where it disturbs nobody, and says why it cannot be had.
const PROBE: &str = "\
for program in tc ip unshare; do
    command -v $program >/dev/null || { echo \"$program is not there (apt-get install iproute2)\"; exit 1; }
done
said=$(unshare -n sh -ec '
    tc qdisc add dev lo ingress_block 26465 egress_block 26466 clsact
    tc filter add block 26465 protocol ip pref 1 flower src_ip 127.0.0.9 ip_proto tcp dst_port 9 action drop
    tc filter add block 26466 protocol ipv6 pref 1 flower dst_ip ::9 action pass
' 2>&1) || { echo \"the kernel lacks clsact, flower or gact: $said\" | tr '\\n' ' '; exit 1; }
";

/// What the scripts have in common. Sees that the interface that leads to an address has the filters.
const PRELUDE: &str = "\
devs=
lead() {
    d=$(ip -o route get \"$1\" 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\) .*/\\1/p')
    [ -n \"$d\" ] || return 1
    case \" $devs \" in *\" $d \"*) return 0;; esac
    tc qdisc add dev \"$d\" ingress_block 26465 egress_block 26466 clsact || exit 1
    devs=\"$devs $d\"
}
";

/// Whether filters can do all that a fault needs. If not, why.
pub(super) fn lacks(needs: &LinkNeeds) -> Option<&'static str> {
    let beyond = [
        (needs.quality, "they cannot make lines bad"),
        (needs.holding, "they cannot hold packets"),
        (needs.rejecting, "they cannot reject packets"),
        (needs.flapping, "they are not in force by turns"),
    ];
    beyond
        .into_iter()
        .find_map(|(needed, why)| needed.then_some(why))
}

/// Whether rules are such as filters can keep.
pub(super) fn can_keep(rules: &LinkRules) -> bool {
    let mut all = rules.rules.iter();
    rules.flap.is_none() && all.all(|rule| rule.treatment == Treatment::Drop)
}

/// Why a node cannot have filters.
fn probe(known: Option<&Known>) -> String {
    let mut script = PROBE.to_owned();
    script.push_str(
        "foreign() {\n    d=$(ip -o route get \"$1\" 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\) .*/\\1/p')\n    \
         tc qdisc show dev \"${d:-lo}\" | grep -E '^qdisc (clsact|ingress) ' | grep -v ' ingress_block 26465 '\n}\n",
    );
    for peer in known.into_iter().flat_map(Known::all) {
        let _ = writeln!(
            script,
            "! foreign {peer} || {{ echo \"$d has filters of somebody's\"; exit 1; }}"
        );
    }
    script
}

/// A filter, and which of the rules it belongs to, if to one.
#[derive(Debug, PartialEq)]
struct Filter {
    rule: Option<usize>,
    block: u32,
    /// What it is called by, before `flower`, and what stands after it.
    family: &'static str,
    matches: String,
    action: &'static str,
}

/// The filters that make rules on a node, in their order, and the addresses that they are about.
fn filters(
    node: &Name,
    rules: &[LinkRule],
    addresses: &Addresses,
) -> Result<(Vec<Filter>, Vec<IpAddr>), String> {
    let known = addresses
        .get(node)
        .ok_or_else(|| format!("no node {node}"))?;
    let (mut filters, mut all) = (Vec::new(), Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        if rule.treatment != Treatment::Drop {
            return Err("filters drop packets, and do nothing else".to_owned());
        }
        let (way, other) = match (&rule.from, &rule.to) {
            (from, Party::Node(to)) if to == node => (Way::IN, from),
            (_, to) => (Way::OUT, to),
        };
        let peers = match other {
            Party::Node(peer) => known
                .peers
                .get(peer)
                .ok_or_else(|| format!("no node {peer}"))?,
            Party::Clients => &known.clients,
        };
        for peer in peers {
            let family = if peer.is_ipv4() { "ip" } else { "ipv6" };
            let mut add = |rule, matches, action| {
                filters.push(Filter {
                    rule,
                    block: way.block,
                    family,
                    matches,
                    action,
                });
            };
            let whole = format!("{} {peer}", way.theirs);
            if *other == Party::Clients {
                let own = format!("{whole} ip_proto tcp {} {}", way.own_port, known.ssh_port);
                add(None, own, "pass");
            }
            for matches in matches(*peer, &whole, &rule.traffic) {
                add(Some(index), matches, "drop");
            }
        }
        all.extend(peers.iter().copied());
    }
    Ok((filters, all))
}

/// A way that packets go, as `flower` speaks of it.
struct Way {
    block: u32,
    /// The address of the other end.
    theirs: &'static str,
    /// The port of this end.
    own_port: &'static str,
}

impl Way {
    const IN: Way = Way {
        block: IN,
        theirs: "src_ip",
        own_port: "dst_port",
    };
    const OUT: Way = Way {
        block: OUT,
        theirs: "dst_ip",
        own_port: "src_port",
    };
}

/// What finds a part of the packets to or from a peer: any of these.
fn matches(peer: IpAddr, whole: &str, traffic: &Traffic) -> Vec<String> {
    let name = |protocol: Protocol| match (protocol, peer.is_ipv4()) {
        (Protocol::Tcp, _) => "tcp",
        (Protocol::Udp, _) => "udp",
        (Protocol::Icmp, true) => "icmp",
        (Protocol::Icmp, false) => "icmpv6",
    };
    let protocols: Vec<&str> = match (traffic.protocol, traffic.ports.is_empty()) {
        (Some(protocol), _) => vec![name(protocol)],
        (None, false) => vec!["tcp", "udp"],
        (None, true) => return vec![whole.to_owned()],
    };
    let mut all = Vec::new();
    for protocol in protocols {
        let base = format!("{whole} ip_proto {protocol}");
        if traffic.ports.is_empty() {
            all.push(base);
            continue;
        }
        for port in &traffic.ports {
            all.extend(["src_port", "dst_port"].map(|side| format!("{base} {side} {port}")));
        }
    }
    all
}

/// The script that makes rules on a node, and the addresses that they are about.
fn script(
    node: &Name,
    rules: &[LinkRule],
    addresses: &Addresses,
) -> Result<(String, Vec<IpAddr>), String> {
    let (filters, peers) = filters(node, rules, addresses)?;
    let mut script = format!("{UNDO}{PRELUDE}");
    for peer in &peers {
        let _ = writeln!(script, "lead {peer} || true");
    }
    script.push_str("[ -n \"$devs\" ] || { echo 'no way to any of them' >&2; exit 1; }\ntc -batch - <<'END' || exit 1\n");
    for (index, filter) in filters.iter().enumerate() {
        let Filter {
            block,
            family,
            matches,
            action,
            ..
        } = filter;
        let preference = index + 1;
        let _ = writeln!(
            script,
            "filter add block {block} protocol {family} pref {preference} flower {matches} action {action}"
        );
    }
    script.push_str("END\n");
    Ok((script, peers))
}

/// What each rule did.
fn counts(node: &Name, rules: &[LinkRule], addresses: &Addresses, text: &str) -> Vec<LinkCounts> {
    let mut counts = vec![LinkCounts::default(); rules.len()];
    let filters = filters(node, rules, addresses).map_or(Vec::new(), |(filters, _)| filters);
    for (preference, packets) in dropped(text) {
        let filter = preference.checked_sub(1).and_then(|at| filters.get(at));
        let count = filter.and_then(|filter| counts.get_mut(filter.rule?));
        if let Some(count) = count {
            count.matched += packets;
        }
    }
    counts
}

/// A filter, as `tc -s -j` tells it; it tells each several times, and once with what it did.
#[derive(Deserialize)]
struct Told {
    pref: usize,
    #[serde(default)]
    options: Options,
}

#[derive(Default, Deserialize)]
struct Options {
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct Action {
    stats: Stats,
}

#[derive(Deserialize)]
struct Stats {
    packets: u64,
}

/// What actions were done to how many packets, by the preference of their filters. What is not understood counts nothing.
fn dropped(text: &str) -> Vec<(usize, u64)> {
    let lists = serde_json::Deserializer::from_str(text).into_iter::<Vec<Told>>();
    let all = lists.map_while(Result::ok).flatten();
    all.flat_map(|told| {
        let actions = told.options.actions.into_iter();
        actions.map(move |action| (told.pref, action.stats.packets))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn addresses() -> Addresses {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let n2 = BTreeSet::from(["10.0.0.2", "fd00::2"].map(address));
        let known = Known {
            peers: BTreeMap::from([("n2".into(), n2)]),
            clients: BTreeSet::from([address("10.0.0.9")]),
            ssh_port: 22,
        };
        Addresses::from([("n1".into(), known)])
    }

    fn rule(from: &str, to: &str, ports: &[u16]) -> LinkRule {
        LinkRule {
            from: Name::from(from).into(),
            to: Name::from(to).into(),
            traffic: Traffic {
                protocol: None,
                ports: ports.to_vec(),
            },
            treatment: Treatment::Drop,
        }
    }

    #[test]
    fn rules_become_filters_in_their_order() {
        let rules = [rule("n2", "n1", &[]), rule("n1", "clients", &[80])];
        let (script, peers) = script(&"n1".into(), &rules, &addresses()).unwrap();
        assert_eq!(peers.len(), 3);
        let batch: Vec<&str> = script
            .lines()
            .filter(|it| it.starts_with("filter "))
            .collect();
        assert_eq!(
            batch,
            [
                "filter add block 26465 protocol ip pref 1 flower src_ip 10.0.0.2 action drop",
                "filter add block 26465 protocol ipv6 pref 2 flower src_ip fd00::2 action drop",
                "filter add block 26466 protocol ip pref 3 flower dst_ip 10.0.0.9 ip_proto tcp src_port 22 action pass",
                "filter add block 26466 protocol ip pref 4 flower dst_ip 10.0.0.9 ip_proto tcp src_port 80 action drop",
                "filter add block 26466 protocol ip pref 5 flower dst_ip 10.0.0.9 ip_proto tcp dst_port 80 action drop",
                "filter add block 26466 protocol ip pref 6 flower dst_ip 10.0.0.9 ip_proto udp src_port 80 action drop",
                "filter add block 26466 protocol ip pref 7 flower dst_ip 10.0.0.9 ip_proto udp dst_port 80 action drop",
            ]
        );
    }

    #[test]
    fn what_they_did_is_counted_by_rule() {
        let rules = [rule("n2", "n1", &[]), rule("n1", "clients", &[80])];
        let told = |pref: usize, packets: u64| {
            format!(
                r#"{{"protocol":"ip","pref":{pref},"kind":"flower","chain":0}},{{"protocol":"ip","pref":{pref},"kind":"flower","chain":0,
                "options":{{"handle":1,"actions":[{{"order":1,"kind":"gact","stats":{{"bytes":9,"packets":{packets},"drops":2}}}}]}}}}"#
            )
        };
        let text = format!(
            "[{},{}]\n[{},{},{}]\n",
            told(1, 3),
            told(2, 4),
            told(3, 100),
            told(4, 5),
            told(7, 6)
        );
        let counts = counts(&"n1".into(), &rules, &addresses(), &text);
        let matched: Vec<u64> = counts.iter().map(|count| count.matched).collect();
        assert_eq!(matched, [7, 11]);
        assert!(dropped("no json").is_empty());
    }
}
