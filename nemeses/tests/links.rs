//! What happens to packets on bad links, seen from outside: by sockets at both ends.
#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/shell.rs"]
mod shell;
#[path = "common/skip.rs"]
mod skip;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command as Process;
use std::time::{Duration, Instant};

use harness::Name;
use harness::capability::Network;
use harness::links::{
    Chance, Delay, Distribution, LinkCounts, LinkNeeds, LinkRule, LinkRules, Loss, Party, Protocol,
    Quality, Reorder, Traffic, Treatment,
};
use harness::node::undo::{Healing, heal_node_in};
use nemeses::ssh::AgentNetwork;

use cluster::{Cluster, Probe};

const LAYER: &str = "packet";
/// How long a packet that should come may take.
const COMES: Duration = Duration::from_secs(10);
/// How long one that should not come is waited for.
const NEVER_COMES: Duration = Duration::from_millis(200);

fn node(i: usize) -> Party {
    Party::Node(Name::from(format!("n{i}")))
}

fn rule(from: Party, to: Party, treatment: Treatment) -> LinkRule {
    LinkRule {
        from,
        to,
        traffic: Traffic::default(),
        treatment,
    }
}

fn rules(rules: Vec<LinkRule>) -> LinkRules {
    LinkRules {
        rules,
        flap: None,
        seed: 7,
        ..LinkRules::default()
    }
}

fn chance(share: f64) -> Chance {
    Chance {
        share,
        correlation: 0.0,
    }
}

fn delay(millis: u64) -> Delay {
    Delay {
        mean_us: millis * 1000,
        jitter_us: 0,
        distribution: Distribution::Normal,
        correlation: 0.0,
    }
}

/// All that is set up on a node, as its own tools tell it.
fn setup(cluster: &Cluster, i: usize) -> String {
    cluster.on(
        i,
        "nft list ruleset; tc qdisc show; ip route; ip rule; \
         if command -v iptables-save >/dev/null; then iptables-save; ip6tables-save; fi",
    )
}

/// Two nodes, one of which sends packets to the other over a link that something is wrong with.
struct Line {
    cluster: Cluster,
    network: AgentNetwork,
    sender: Probe,
    receiver: Probe,
    /// The receiver's number.
    to: usize,
    before: String,
}

impl Line {
    /// A line to n1, which is IPv4, or to n2, which is IPv6.
    async fn new(test: &str, to: usize) -> Option<Line> {
        let cluster = Cluster::up(test, 2)?;
        let network = AgentNetwork::new(&cluster.nodes());
        let holding = LinkNeeds {
            holding: true,
            ..LinkNeeds::default()
        };
        network.probe(&holding).await.unwrap();
        let line = Line {
            before: setup(&cluster, to),
            sender: cluster.socket(3 - to),
            receiver: cluster.socket(to),
            cluster,
            network,
            to,
        };
        // Neighbours must know each other first, or packets wait in their sender's queue for that.
        line.send(1);
        assert_eq!(line.hears(COMES).unwrap(), "0");
        Some(line)
    }

    async fn treat(&self, treatment: Treatment) {
        let rule = rule(node(3 - self.to), node(self.to), treatment);
        self.network.set(LAYER, &rules(vec![rule])).await.unwrap();
    }

    async fn make(&self, quality: Quality) {
        self.treat(Treatment::Quality(quality)).await;
    }

    fn send(&self, count: usize) {
        for number in 0..count {
            self.sender
                .send(self.cluster.address(self.to), &number.to_string());
        }
    }

    fn hears(&self, limit: Duration) -> Option<String> {
        self.receiver.hears(limit)
    }

    /// The numbers of all packets that come, until none does for a while.
    fn all(&self) -> Vec<usize> {
        let next = || self.hears(Duration::from_secs(1));
        std::iter::from_fn(next)
            .map(|text| text.parse().unwrap())
            .collect()
    }

    /// Heals it, sees that the node is as it was, and says what was counted.
    async fn heal(&self) -> LinkCounts {
        let counts = self.network.heal(LAYER).await.unwrap();
        assert_eq!(setup(&self.cluster, self.to), self.before);
        assert_eq!(counts.len(), 1);
        assert_eq!(
            (&counts[0].from, &counts[0].to),
            (&node(3 - self.to), &node(self.to))
        );
        counts[0].counts
    }
}

/// How a read ends. A child of ours that ends interrupts a read that has a limit.
fn fails(mut read: impl FnMut() -> std::io::Result<usize>) -> ErrorKind {
    loop {
        match read().unwrap_err().kind() {
            ErrorKind::Interrupted => {}
            kind => return kind,
        }
    }
}

/// How many datagrams the node dropped for their checksums, in both families.
fn wrong_checksums(line: &Line) -> u64 {
    let four = "awk '/^Udp:/ { if (n++) print $8 }' /proc/net/snmp";
    let six = "awk '/^Udp6InCsumErrors/ { print $2 }' /proc/net/snmp6";
    let text = line.cluster.on(line.to, &format!("{four}; {six}"));
    text.split_whitespace()
        .map(|word| word.parse::<u64>().unwrap())
        .sum()
}

#[tokio::test]
async fn packets_come_late() {
    for to in [1, 2] {
        let Some(line) = Line::new("delay", to).await else {
            return;
        };
        line.make(Quality {
            delay: Some(delay(80)),
            ..Quality::default()
        })
        .await;
        for _ in 0..5 {
            let began = Instant::now();
            line.send(1);
            line.hears(COMES).unwrap();
            // Later is possible on a machine that is busy; earlier is not.
            assert!(began.elapsed() >= Duration::from_millis(80));
        }
        let counts = line.heal().await;
        assert_eq!((counts.matched, counts.delayed), (5, 5));
        assert!(counts.delay_us / counts.delayed >= 80_000);
        line.send(1);
        line.hears(COMES).unwrap();
    }
}

#[tokio::test]
async fn packets_that_are_delayed_are_delivered_when_it_ends() {
    let Some(line) = Line::new("flush", 1).await else {
        return;
    };
    line.make(Quality {
        delay: Some(delay(50_000)),
        ..Quality::default()
    })
    .await;
    line.send(10);
    assert_eq!(line.hears(NEVER_COMES), None);
    line.heal().await;
    assert_eq!(line.all(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_nth_packet_is_lost() {
    for to in [1, 2] {
        let Some(line) = Line::new("nth", to).await else {
            return;
        };
        line.make(Quality {
            loss: Some(Loss::Nth(3)),
            ..Quality::default()
        })
        .await;
        line.send(9);
        assert_eq!(line.all(), [0, 1, 3, 4, 6, 7]);
        assert_eq!(line.heal().await.lost, 3);
    }
}

#[tokio::test]
async fn what_is_counted_as_lost_does_not_come() {
    let losses = [
        Loss::Bernoulli(chance(0.3)),
        Loss::Bernoulli(Chance {
            share: 0.3,
            correlation: 0.75,
        }),
        Loss::GilbertElliott {
            p: 0.1,
            r: 0.3,
            bad: 0.9,
            good: 0.0,
        },
    ];
    let Some(line) = Line::new("loss", 1).await else {
        return;
    };
    for loss in losses {
        line.make(Quality {
            loss: Some(loss),
            ..Quality::default()
        })
        .await;
        line.send(200);
        let came = line.all().len() as u64;
        let counts = line.heal().await;
        assert_eq!(counts.matched, 200);
        assert_eq!(counts.lost + came, 200);
        // The seed is always the same, so this is no chance.
        assert!((20..120).contains(&counts.lost), "{}", counts.lost);
    }
}

#[tokio::test]
async fn damage_is_seen_by_checksums_and_by_nobody_else() {
    for to in [1, 2] {
        let Some(line) = Line::new("corrupt", to).await else {
            return;
        };
        let before = wrong_checksums(&line);
        line.make(Quality {
            corrupt: Some(chance(0.4)),
            ..Quality::default()
        })
        .await;
        line.send(200);
        let came = line.all();
        let counts = line.heal().await;
        assert!((40..120).contains(&counts.corrupted), "{counts:?}");
        assert_eq!(came.len() as u64 + counts.corrupted, 200);
        assert!(came.is_sorted(), "no number is another");
        // One whose port was hit goes nowhere without a look at its checksum.
        let wrong = wrong_checksums(&line) - before;
        assert!(
            wrong > counts.corrupted / 2 && wrong <= counts.corrupted,
            "{wrong} of {counts:?}"
        );
    }
}

#[tokio::test]
async fn packets_come_twice() {
    for to in [1, 2] {
        let Some(line) = Line::new("twice", to).await else {
            return;
        };
        line.make(Quality {
            duplicate: Some(chance(1.0)),
            ..Quality::default()
        })
        .await;
        line.send(50);
        let mut came = line.all();
        came.sort_unstable();
        let expected: Vec<usize> = (0..50).flat_map(|number| [number, number]).collect();
        assert_eq!(came, expected);
        let counts = line.heal().await;
        assert_eq!((counts.matched, counts.duplicated), (50, 50));
    }
}

#[tokio::test]
async fn some_packets_overtake() {
    let Some(line) = Line::new("order", 2).await else {
        return;
    };
    line.make(Quality {
        delay: Some(delay(100)),
        reorder: Some(Reorder {
            chance: chance(1.0),
            gap: 5,
        }),
        ..Quality::default()
    })
    .await;
    line.send(20);
    let came = line.all();
    let (first, rest) = came.split_at(4);
    assert_eq!(first, [4, 9, 14, 19]);
    assert!(rest.is_sorted() && rest.len() == 16);
    assert_eq!(line.heal().await.reordered, 4);
}

#[tokio::test]
async fn a_slow_line_is_slow() {
    let Some(line) = Line::new("rate", 1).await else {
        return;
    };
    // A packet of one digit has 29 bytes with its headers: about 232 bits.
    line.make(Quality {
        rate: Some(2320),
        ..Quality::default()
    })
    .await;
    let began = Instant::now();
    line.send(5);
    for number in 0..5u32 {
        assert_eq!(line.hears(COMES).unwrap(), number.to_string());
        assert!(began.elapsed() >= Duration::from_millis(100) * (number + 1));
    }
    assert_eq!(line.heal().await.delayed, 5);
}

#[tokio::test]
async fn what_is_jammed_comes_later_and_in_order() {
    for to in [1, 2] {
        let Some(line) = Line::new("jam", to).await else {
            return;
        };
        line.treat(Treatment::Jam).await;
        line.send(20);
        assert_eq!(line.hears(NEVER_COMES), None);
        let counts = line.network.counts(LAYER).await.unwrap();
        assert_eq!(counts[0].counts.held, 20);
        assert_eq!(line.heal().await.held, 20);
        assert_eq!(line.all(), (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn replacing_a_jam_lets_go_what_it_held() {
    let Some(line) = Line::new("rejam", 1).await else {
        return;
    };
    line.treat(Treatment::Jam).await;
    line.send(3);
    line.treat(Treatment::Drop).await;
    assert_eq!(line.all(), [0, 1, 2]);
    line.send(3);
    assert_eq!(line.hears(NEVER_COMES), None);
    assert_eq!(line.heal().await.matched, 3);
}

#[tokio::test]
async fn who_is_rejected_is_told() {
    for to in [1, 2] {
        let Some(line) = Line::new("reject", to).await else {
            return;
        };
        let (cluster, network) = (&line.cluster, &line.network);
        let address = cluster.address(to);
        let listener = cluster.inside(to, || TcpListener::bind("[::]:80").unwrap());
        let connect = move || {
            let to = SocketAddr::new(address, 80);
            TcpStream::connect_timeout(&to, COMES).map_err(|error| error.kind())
        };
        let open = cluster.inside(3 - to, connect).unwrap();
        let both = vec![
            rule(node(1), node(2), Treatment::Reject),
            rule(node(2), node(1), Treatment::Reject),
        ];
        network.set(LAYER, &rules(both)).await.unwrap();
        let refused = cluster.inside(3 - to, connect).unwrap_err();
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        // A connection that is open is reset at the next packet.
        let reset = cluster.inside(3 - to, move || {
            use std::io::{Read, Write};
            let mut open = &open;
            open.set_read_timeout(Some(COMES)).unwrap();
            open.write_all(b"hello").unwrap();
            fails(|| open.read(&mut [0; 8]))
        });
        assert_eq!(reset, ErrorKind::ConnectionReset);
        // A datagram is answered with an ICMP error.
        let unreachable = cluster.inside(3 - to, move || {
            let any = if address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect((address, 9)).unwrap();
            socket.set_read_timeout(Some(COMES)).unwrap();
            socket.send(b"hello").unwrap();
            fails(|| socket.recv(&mut [0; 8]))
        });
        assert_eq!(unreachable, ErrorKind::ConnectionRefused);
        let counts = network.heal(LAYER).await.unwrap();
        let at = counts.iter().find(|count| count.to == node(to)).unwrap();
        assert_eq!(at.counts.matched, 3);
        assert_eq!(setup(cluster, to), line.before);
        cluster.inside(3 - to, connect).unwrap();
        drop(listener);
    }
}

#[tokio::test]
async fn only_some_ports_are_struck() {
    let Some(line) = Line::new("ports", 1).await else {
        return;
    };
    let mut some = rule(node(2), node(1), Treatment::Drop);
    for (ports, protocol, struck) in [
        (vec![7777], None, true),
        (vec![1, 7777], Some(Protocol::Udp), true),
        (vec![7777], Some(Protocol::Tcp), false),
        (vec![7778], None, false),
        (Vec::new(), Some(Protocol::Udp), true),
        (Vec::new(), Some(Protocol::Icmp), false),
    ] {
        some.traffic = Traffic { protocol, ports };
        let rules = rules(vec![some.clone()]);
        line.network.set(LAYER, &rules).await.unwrap();
        line.send(1);
        let limit = if struck { NEVER_COMES } else { COMES };
        assert_eq!(line.hears(limit).is_none(), struck, "{:?}", some.traffic);
        assert_eq!(line.heal().await.matched, u64::from(struck));
    }
}

#[tokio::test]
async fn clients_are_cut_off_but_our_session_is_not() {
    let Some(line) = Line::new("clients", 1).await else {
        return;
    };
    let cluster = &line.cluster;
    let listeners = cluster.inside(1, || {
        ["0.0.0.0:22", "0.0.0.0:80"].map(|at| TcpListener::bind(at).unwrap())
    });
    let reach = |from: usize, port: u16| {
        let to = SocketAddr::new(cluster.address(1), port);
        let connect = move || TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_ok();
        cluster.inside(from, connect)
    };
    for (from, to) in [(Party::Clients, node(1)), (node(1), Party::Clients)] {
        assert!(reach(0, 80) && reach(0, 22) && reach(2, 80));
        let cut = rules(vec![rule(from.clone(), to.clone(), Treatment::Drop)]);
        line.network.set(LAYER, &cut).await.unwrap();
        assert!(!reach(0, 80));
        assert!(reach(0, 22) && reach(2, 80));
        let counts = line.network.heal(LAYER).await.unwrap();
        assert_eq!((&counts[0].from, &counts[0].to), (&from, &to));
        assert!(counts[0].counts.matched > 0);
        assert_eq!(setup(cluster, 1), line.before);
    }
    // Late on the way out, too.
    let quality = Quality {
        delay: Some(delay(80)),
        ..Quality::default()
    };
    let late = rule(node(1), Party::Clients, Treatment::Quality(quality));
    line.network.set(LAYER, &rules(vec![late])).await.unwrap();
    let began = Instant::now();
    assert!(reach(0, 80));
    assert!(began.elapsed() >= Duration::from_millis(80));
    assert!(line.network.heal(LAYER).await.unwrap()[0].counts.delayed > 0);
    drop(listeners);
}

#[tokio::test]
async fn a_link_flaps() {
    let Some(line) = Line::new("flap", 1).await else {
        return;
    };
    let flapping = LinkRules {
        flap: Some(Duration::from_millis(100)),
        ..rules(vec![rule(node(2), node(1), Treatment::Drop)])
    };
    line.network.set(LAYER, &flapping).await.unwrap();
    // Up, down and up again, however long that takes here.
    for expected in [true, false, true, false] {
        let deadline = Instant::now() + COMES;
        loop {
            line.send(1);
            if line.hears(Duration::from_millis(20)).is_some() == expected {
                break;
            }
            assert!(Instant::now() < deadline, "it does not change");
        }
    }
    assert!(line.heal().await.matched > 1);
    let _ = line.all();
    line.send(1);
    assert!(line.hears(COMES).is_some());
}

#[tokio::test]
async fn faults_do_not_disturb_each_other() {
    let Some(line) = Line::new("layers", 1).await else {
        return;
    };
    line.make(Quality {
        delay: Some(delay(500)),
        ..Quality::default()
    })
    .await;
    let cut = rules(vec![rule(node(2), node(1), Treatment::Drop)]);
    line.network.set("partition", &cut).await.unwrap();
    line.send(4);
    assert_eq!(line.hears(NEVER_COMES), None);
    let counts = line.network.heal("partition").await.unwrap();
    assert_eq!(counts[0].counts.matched, 4);
    // Packets that are held by one fault survive the beginning and the end of another.
    line.send(2);
    line.network.set("partition", &cut).await.unwrap();
    line.network.heal("partition").await.unwrap();
    assert_eq!(line.all(), [0, 1]);
    assert_eq!(line.heal().await.delayed, 2);
}

/// The processes that are agents of a node.
fn agents(cluster: &Cluster, i: usize) -> Vec<String> {
    let folder = cluster.journal(i);
    let all = Process::new("ps").args(["-eo", "pid=,args="]).output();
    let all = String::from_utf8(all.unwrap().stdout).unwrap();
    let ours = all.lines().filter(|line| {
        line.contains(&folder) && line.contains(" serve ") && !line.contains("sh -c")
    });
    let pid = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    ours.map(pid).collect()
}

#[tokio::test]
async fn packets_pass_when_the_agent_is_killed_and_the_journal_undoes_the_rest() {
    let Some(line) = Line::new("killed", 1).await else {
        return;
    };
    line.make(Quality {
        loss: Some(Loss::Bernoulli(chance(1.0))),
        ..Quality::default()
    })
    .await;
    line.send(1);
    assert_eq!(line.hears(NEVER_COMES), None);
    let pids = agents(&line.cluster, 1);
    assert_eq!(pids.len(), 1, "{pids:?}");
    let killed = Process::new("kill").arg("-9").args(&pids).status();
    assert!(killed.unwrap().success());
    let deadline = Instant::now() + COMES;
    while line.hears(Duration::from_millis(50)).is_none() {
        assert!(Instant::now() < deadline, "packets do not pass");
        line.send(1);
    }
    let at = &line.cluster.nodes()[0];
    let journal = line.cluster.journal(1);
    let healed = heal_node_in(&*at.node.remote, &journal).await.unwrap();
    assert_eq!(healed.len(), 1);
    assert_eq!(healed[0].healing, Healing::Undone);
    assert_eq!(setup(&line.cluster, 1), line.before);
}

#[tokio::test]
async fn what_a_controller_leaves_behind_the_agent_takes_back() {
    let Some(line) = Line::new("left", 1).await else {
        return;
    };
    line.treat(Treatment::Jam).await;
    line.send(3);
    assert_eq!(line.hears(NEVER_COMES), None);
    // As if it were gone: its end of the channel closes.
    let Line {
        network,
        cluster,
        receiver,
        before,
        ..
    } = line;
    drop(network);
    let deadline = Instant::now() + COMES;
    while setup(&cluster, 1) != before {
        assert!(Instant::now() < deadline, "the rules stand");
        // Lets the channel close.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for number in 0..3 {
        assert_eq!(receiver.hears(COMES), Some(number.to_string()));
    }
}
