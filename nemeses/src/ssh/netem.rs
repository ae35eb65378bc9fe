//! Bad lines by `tc-netem(8)`, where a node's kernel has it: packets never leave the kernel.
//!
//! Rules are kept by the node that sends. On each interface that packets to a peer leave by there is a tree of ours, which is there
//! only while rules are: `htb` with the handle 6761:, with a class for each link, a netem below it, and filters (`u32`) that find the
//! link by the receiver's address. Everything else goes past it (`htb`'s direct queue). Undoing removes the tree, and the kernel puts
//! there what it had there by itself; an interface with another tree of somebody's is refused. Packets that netem holds then are lost.
//!
//! netem counts what it sent and what it dropped, and nothing else. So it is given only what these numbers prove: delays, losses and
//! rates. A rule that also corrupts or reorders is given to it, one that does nothing else is not.
//!
//! It differs from what was asked for in this: its correlation makes delays stray less, and where nothing is known of chance but a seed, it
//! has none. Its correlated losses are not the share that was asked for, so they become bursts with that share (Gilbert's).
//! Its jitter changes the order of packets; here it does not, since a rate that nobody notices keeps it.

use std::fmt::Write;
use std::net::IpAddr;

use harness::Name;
use harness::links::{
    Chance, Distribution, LinkCounts, LinkRule, Loss, Party, Protocol, Quality, Traffic, Treatment,
};
use serde::Deserialize;

use super::addresses::{Addresses, Known};
use super::tc::Means;

/// netem, kept by the node that sends.
pub(super) const NETEM: Means = Means {
    name: "netem",
    undo: UNDO,
    verify: VERIFY,
    count: COUNT,
    probe,
    keeper: |rule| rule.from.node(),
    script,
    counts: |_, rules, _, text| counts(rules, text),
};

/// A rate that no interface has, in bits a second: with one, netem keeps the order of packets.
const UNNOTICED: u64 = 32_000_000_000;

/// The class of packets to a peer that are none of the rules' business.
const SPARED: usize = 0xffff;

/// What the scripts have in common. Called with an address, `link` sees that its class is there on the interface that leads there.
const PRELUDE: &str = "\
devs= made= d=
link() {
    k=$1 a=$2; shift 2
    d=$(ip -o route get \"$a\" 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\) .*/\\1/p')
    [ -n \"$d\" ] || return 1
    case \" $devs \" in *\" $d \"*) ;; *) tc qdisc add dev \"$d\" root handle 6761: htb || exit 1; devs=\"$devs $d\";; esac
    case \" $made \" in *\" $d/$k \"*) ;; *)
        tc class add dev \"$d\" parent 6761: classid \"6761:$k\" htb rate 10gbit quantum 60000 || exit 1
        [ $# = 0 ] || tc qdisc add dev \"$d\" parent \"6761:$k\" netem limit 100000 \"$@\" || exit 1
        made=\"$made $d/$k\";;
    esac
}
pick() {
    k=$1 p=$2 f=$3; shift 3
    tc filter add dev \"$d\" parent 6761: protocol \"$f\" prio \"$p\" u32 \"$@\" flowid \"6761:$k\" || exit 1
}
";

/// Takes our trees away.
const UNDO: &str = "\
for d in /sys/class/net/*; do
    d=${d##*/}
    ! tc qdisc show dev \"$d\" 2>/dev/null | grep -q '^qdisc htb 6761: root' || tc qdisc del dev \"$d\" root || exit 1
done
";

/// Succeeds if none is there.
const VERIFY: &str =
    "all=$(tc qdisc show) && ! printf '%s\\n' \"$all\" | grep -q '^qdisc htb 6761: '";

/// What our trees counted.
const COUNT: &str = "\
for d in /sys/class/net/*; do
    d=${d##*/}
    ! tc qdisc show dev \"$d\" 2>/dev/null | grep -q '^qdisc htb 6761: root' || { tc -s -j qdisc show dev \"$d\" && echo; } || exit 1
done
";

/// Tries all of it where it disturbs nobody, and says why it cannot be had.
const PROBE: &str = "\
for program in tc ip unshare; do command -v $program >/dev/null || { echo \"$program is not there (apt-get install iproute2)\"; exit 1; }; done
said=$(unshare -n sh -ec '
    tc qdisc add dev lo root handle 6761: htb
    tc class add dev lo parent 6761: classid 6761:1 htb rate 10gbit quantum 60000
    tc qdisc add dev lo parent 6761:1 netem limit 1000 delay 1ms 1ms distribution normal loss gemodel 1% 10% 100% 0% rate 1gbit
    tc filter add dev lo parent 6761: protocol ip prio 1 u32 match ip dst 127.0.0.9/32 flowid 6761:1
' 2>&1) || { echo \"the kernel lacks netem, htb or u32: $said\" | tr '\\n' ' '; exit 1; }
";

/// Whether netem can do what a rule says, and proves it. If not, why.
pub(super) fn objection(rule: &LinkRule) -> Option<&'static str> {
    let Treatment::Quality(quality) = &rule.treatment else {
        return Some("it cannot drop all, reject or hold packets");
    };
    match rule.from {
        Party::Clients => Some("it acts on what a node sends, and clients are no nodes"),
        Party::Node(_) => beyond(quality),
    }
}

/// What of a line's quality netem cannot do or cannot prove.
pub(crate) fn beyond(quality: &Quality) -> Option<&'static str> {
    if matches!(quality.loss, Some(Loss::Nth(_))) {
        return Some("it cannot lose every so-many-th packet");
    }
    if quality.duplicate.is_some() {
        return Some(
            "it does not tell what it duplicated, and kernels refuse that on several links",
        );
    }
    let counted = quality.delay.is_some() || quality.loss.is_some() || quality.rate.is_some();
    (!counted).then_some("it does not tell what it corrupted")
}

/// Why a node cannot have rules.
fn probe(known: Option<&Known>) -> String {
    let mut script = PROBE.to_owned();
    script.push_str("foreign() {\n    d=$(ip -o route get \"$1\" 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\) .*/\\1/p')\n");
    script.push_str("    tc qdisc show dev \"${d:-lo}\" | grep ' root ' | grep -v ' 0: ' | grep -v ' htb 6761: '\n}\n");
    for peer in known.into_iter().flat_map(Known::all) {
        let _ = writeln!(
            script,
            "! foreign {peer} || {{ echo \"$d has a queueing discipline of somebody's\"; exit 1; }}"
        );
    }
    script
}

/// What each rule did.
fn counts(rules: &[LinkRule], text: &str) -> Vec<LinkCounts> {
    let disciplines = disciplines(text);
    let count = |(index, rule): (usize, &LinkRule)| {
        let class = format!("6761:{:x}", index + 1);
        let own = disciplines
            .iter()
            .filter(|it| it.parent.as_deref() == Some(&class));
        let (sent, dropped) = own.fold((0, 0), |sums, it| (sums.0 + it.packets, sums.1 + it.drops));
        counts_of(&rule.treatment, sent, dropped)
    };
    rules.iter().enumerate().map(count).collect()
}

/// What netem's numbers say about a rule.
fn counts_of(treatment: &Treatment, sent: u64, dropped: u64) -> LinkCounts {
    let Treatment::Quality(quality) = treatment else {
        return LinkCounts::default();
    };
    let late = quality.delay.is_some() || quality.rate.is_some();
    LinkCounts {
        matched: sent + dropped,
        delayed: if late { sent } else { 0 },
        lost: if quality.loss.is_some() { dropped } else { 0 },
        ..LinkCounts::default()
    }
}

/// A queueing discipline, as `tc -s -j` tells it.
#[derive(Debug, Deserialize)]
struct Discipline {
    kind: String,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    packets: u64,
    #[serde(default)]
    drops: u64,
}

/// The netems among what interfaces have. What is not understood counts nothing.
fn disciplines(text: &str) -> Vec<Discipline> {
    let lists = serde_json::Deserializer::from_str(text).into_iter::<Vec<Discipline>>();
    let all = lists.map_while(Result::ok).flatten();
    all.filter(|it| it.kind == "netem").collect()
}

/// The script that makes rules on a node that sends, and the receivers' addresses.
fn script(
    node: &Name,
    rules: &[LinkRule],
    addresses: &Addresses,
) -> Result<(String, Vec<IpAddr>), String> {
    let known = addresses
        .get(node)
        .ok_or_else(|| format!("no node {node}"))?;
    let mut script = format!("{UNDO}{PRELUDE}");
    let mut all = Vec::new();
    let mut priority = 0;
    for (index, rule) in rules.iter().enumerate() {
        let class = index + 1;
        let Treatment::Quality(quality) = &rule.treatment else {
            return Err("netem makes lines bad, and nothing else".to_owned());
        };
        let peers: Vec<IpAddr> = match &rule.to {
            Party::Node(to) => known
                .peers
                .get(to)
                .ok_or_else(|| format!("no node {to}"))?
                .iter()
                .copied()
                .collect(),
            Party::Clients => known.clients.iter().copied().collect(),
        };
        let spared = (rule.to == Party::Clients).then_some(known.ssh_port);
        let line = words(quality);
        let mut ways = Vec::new();
        for peer in &peers {
            let mut way = format!("link {class:x} {peer} {line} && {{\n");
            if let Some(port) = spared {
                priority += 1;
                let ssh = Traffic {
                    protocol: Some(Protocol::Tcp),
                    ports: Vec::new(),
                };
                let matches = format!(
                    "{} match {} sport {port} 0xffff",
                    matches(*peer, &ssh)[0],
                    family(*peer).1
                );
                let _ = writeln!(
                    way,
                    "link {SPARED:x} {peer}\npick {SPARED:x} {priority} {} {matches}",
                    family(*peer).0
                );
            }
            for matches in matches(*peer, &rule.traffic) {
                priority += 1;
                let _ = writeln!(
                    way,
                    "pick {class:x} {priority} {} {matches}",
                    family(*peer).0
                );
            }
            way.push_str("n=$((n + 1)); }\n");
            ways.push(way);
        }
        let _ = writeln!(
            script,
            "n=0\n{}[ $n -gt 0 ] || {{ echo 'no way to {}' >&2; exit 1; }}",
            ways.concat(),
            rule.to
        );
        all.extend(peers);
    }
    Ok((script, all))
}

/// What `tc` calls the family of an address, before a filter and in it.
fn family(peer: IpAddr) -> (&'static str, &'static str) {
    match peer {
        IpAddr::V4(_) => ("ip", "ip"),
        IpAddr::V6(_) => ("ipv6", "ip6"),
    }
}

/// The words of the filters that find a part of the packets to a peer: any of them.
fn matches(peer: IpAddr, traffic: &Traffic) -> Vec<String> {
    let (_, ip) = family(peer);
    let length = if peer.is_ipv4() { 32 } else { 128 };
    let whole = format!("match {ip} dst {peer}/{length}");
    let number = |protocol: Protocol| match (protocol, peer.is_ipv4()) {
        (Protocol::Tcp, _) => 6,
        (Protocol::Udp, _) => 17,
        (Protocol::Icmp, true) => 1,
        (Protocol::Icmp, false) => 58,
    };
    let protocols: Vec<u8> = match (traffic.protocol, traffic.ports.is_empty()) {
        (Some(protocol), _) => vec![number(protocol)],
        (None, false) => vec![6, 17],
        (None, true) => return vec![whole],
    };
    let of_protocol = |number: u8| format!("{whole} match {ip} protocol {number} 0xff");
    if traffic.ports.is_empty() {
        return protocols.into_iter().map(of_protocol).collect();
    }
    let of_ports = |number: u8| {
        let sides = ["sport", "dport"].into_iter();
        sides.flat_map(move |side| {
            let base = of_protocol(number);
            traffic
                .ports
                .iter()
                .map(move |port| format!("{base} match {ip} {side} {port} 0xffff"))
        })
    };
    protocols.into_iter().flat_map(of_ports).collect()
}

fn percent(share: f64) -> String {
    format!("{:.4}%", share * 100.0)
}

/// A share, and a correlation if there is one.
fn chance(chance: Chance) -> String {
    match chance.correlation > 0.0 {
        true => format!("{} {}", percent(chance.share), percent(chance.correlation)),
        false => percent(chance.share),
    }
}

/// A line's quality in the words of `tc-netem(8)`.
fn words(quality: &Quality) -> String {
    let mut words = Vec::new();
    let mut rate = quality.rate;
    if let Some(delay) = quality.delay {
        words.push(format!("delay {}us", delay.mean_us));
        if delay.jitter_us > 0 {
            words.push(format!(
                "{}us {}",
                delay.jitter_us,
                percent(delay.correlation)
            ));
            match delay.distribution {
                Distribution::Uniform => {}
                Distribution::Normal => words.push("distribution normal".to_owned()),
                Distribution::Pareto => words.push("distribution pareto".to_owned()),
            }
            // Those that are to overtake do so by not being delayed.
            rate = rate.or(quality.reorder.is_none().then_some(UNNOTICED));
        }
    }
    match quality.loss {
        Some(Loss::Bernoulli(chance)) if chance.correlation == 0.0 => {
            words.push(format!("loss random {}", percent(chance.share)));
        }
        Some(Loss::Bernoulli(Chance { share, correlation })) => {
            let changes = 1.0 - correlation;
            let [p, r] = [share * changes, (1.0 - share) * changes].map(percent);
            words.push(format!("loss gemodel {p} {r} 100% 0%"));
        }
        Some(Loss::GilbertElliott { p, r, bad, good }) => {
            let [p, r, bad, good] = [p, r, bad, good].map(percent);
            words.push(format!("loss gemodel {p} {r} {bad} {good}"));
        }
        Some(Loss::Nth(_)) | None => {}
    }
    if let Some(corrupt) = quality.corrupt {
        words.push(format!("corrupt {}", chance(corrupt)));
    }
    if let Some(reorder) = quality.reorder {
        words.push(format!(
            "reorder {} gap {}",
            chance(reorder.chance),
            reorder.gap
        ));
    }
    if let Some(rate) = rate {
        words.push(format!("rate {rate}bit"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use harness::links::{Delay, Reorder};

    use super::*;

    fn delay(jitter_us: u64) -> Quality {
        Quality {
            delay: Some(Delay {
                mean_us: 50_000,
                jitter_us,
                distribution: Distribution::Normal,
                correlation: 0.25,
            }),
            ..Quality::default()
        }
    }

    #[test]
    fn lines_in_netems_words() {
        assert_eq!(words(&delay(0)), "delay 50000us");
        assert_eq!(
            words(&delay(10_000)),
            "delay 50000us 10000us 25.0000% distribution normal rate 32000000000bit"
        );
        let share = Chance {
            share: 0.2,
            correlation: 0.0,
        };
        let reordering = Quality {
            reorder: Some(Reorder {
                chance: share,
                gap: 5,
            }),
            corrupt: Some(share),
            ..delay(1000)
        };
        assert_eq!(
            words(&reordering),
            "delay 50000us 1000us 25.0000% distribution normal corrupt 20.0000% reorder 20.0000% gap 5"
        );
        let bursts = |loss| {
            words(&Quality {
                loss: Some(loss),
                ..Quality::default()
            })
        };
        assert_eq!(bursts(Loss::Bernoulli(share)), "loss random 20.0000%");
        // The share of the time that a chain is bad is p / (p + r).
        let correlated = Chance {
            correlation: 0.75,
            ..share
        };
        assert_eq!(
            bursts(Loss::Bernoulli(correlated)),
            "loss gemodel 5.0000% 20.0000% 100% 0%"
        );
    }

    #[test]
    fn what_netem_cannot_do_or_prove_is_refused() {
        let share = Chance {
            share: 0.2,
            correlation: 0.0,
        };
        let nothing = Quality::default();
        let refused = [
            Quality {
                loss: Some(Loss::Nth(3)),
                ..nothing.clone()
            },
            Quality {
                duplicate: Some(share),
                ..delay(0)
            },
            Quality {
                corrupt: Some(share),
                ..nothing.clone()
            },
        ];
        assert!(refused.iter().all(|quality| beyond(quality).is_some()));
        let fine = [
            delay(0),
            Quality {
                corrupt: Some(share),
                ..delay(0)
            },
            Quality {
                rate: Some(1),
                ..nothing
            },
        ];
        assert!(fine.iter().all(|quality| beyond(quality).is_none()));
    }

    #[test]
    fn filters_find_parts_of_the_traffic() {
        let four: IpAddr = "10.0.0.2".parse().unwrap();
        let six: IpAddr = "fd00::2".parse().unwrap();
        assert_eq!(
            matches(four, &Traffic::default()),
            ["match ip dst 10.0.0.2/32"]
        );
        let ports = Traffic {
            protocol: Some(Protocol::Udp),
            ports: vec![53],
        };
        assert_eq!(
            matches(six, &ports),
            ["sport", "dport"].map(|side| format!(
                "match ip6 dst fd00::2/128 match ip6 protocol 17 0xff match ip6 {side} 53 0xffff"
            ))
        );
        let all = Traffic {
            protocol: None,
            ports: vec![1, 2],
        };
        assert_eq!(matches(four, &all).len(), 8);
    }

    #[test]
    fn counts_are_read() {
        let text = r#"[{"kind":"htb","handle":"6761:","root":true,"bytes":9,"packets":9,"drops":1},
            {"kind":"netem","handle":"8001:","parent":"6761:1","options":{"limit":1000},"bytes":5,"packets":7,"drops":2}]
            [{"kind":"netem","handle":"8002:","parent":"6761:1","packets":3,"drops":0}]"#;
        let netems = disciplines(text);
        assert_eq!(
            netems
                .iter()
                .map(|it| (it.packets, it.drops))
                .collect::<Vec<_>>(),
            [(7, 2), (3, 0)]
        );
        let counts = counts_of(&Treatment::Quality(delay(0)), 10, 2);
        assert_eq!(
            (counts.matched, counts.delayed, counts.lost, counts.delay_us),
            (12, 10, 0, 0)
        );
        assert!(disciplines("no json").is_empty());
    }
}
