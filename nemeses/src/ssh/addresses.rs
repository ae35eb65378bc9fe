//! Which addresses packets between nodes come from.
//!
//! Each node is asked what its peers' addresses mean *there* (names may mean other things here), and
//! which addresses it has itself: a node that is known by one address may well send from another,
//! of another interface or of the other family.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

use futures::future::try_join_all;
use harness::Name;
use harness::remote::{Command, Node, quote};

/// What each node knows of the others.
pub(super) type Addresses = BTreeMap<Name, Known>;

/// What a node knows of the others.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The addresses of each of its peers.
    pub(super) peers: BTreeMap<Name, BTreeSet<IpAddr>>,
    /// The addresses that clients come from, as far as that is known.
    pub(super) clients: BTreeSet<IpAddr>,
    /// The port of its SSH server.
    pub(super) ssh_port: u16,
}

impl Known {
    /// The addresses of everybody.
    pub(super) fn all(&self) -> impl Iterator<Item = &IpAddr> {
        self.peers.values().flatten().chain(&self.clients)
    }
}

/// Where SSH servers are if they do not say.
const SSH_PORT: u16 = 22;

/// Asks all nodes. Refuses what would make cutting by address wrong, and says why.
pub(super) async fn resolve(nodes: &[Node]) -> Result<Addresses, String> {
    let reports = try_join_all(nodes.iter().map(|node| ask(node, nodes))).await?;
    let mut addresses = Addresses::new();
    for ((node, report), peers) in nodes.iter().zip(&reports).zip(combine(nodes, &reports)) {
        let clients = report.session.into_iter().chain(way_to(&node.address));
        let clients: BTreeSet<IpAddr> = clients.collect();
        check(node, &clients, &peers, nodes)?;
        let known = Known {
            peers,
            clients,
            ssh_port: report.ssh_port.unwrap_or(SSH_PORT),
        };
        addresses.insert(node.name.clone(), known);
    }
    Ok(addresses)
}

/// The address of this machine that packets to a node leave from: clients connect by themselves, where our session may
/// come by a jump host. Connecting a UDP socket sends nothing.
fn way_to(address: &str) -> Option<IpAddr> {
    let to = (address, 9).to_socket_addrs().ok()?.next()?;
    let any = match to.is_ipv4() {
        true => IpAddr::from([0; 4]),
        false => IpAddr::from([0; 16]),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let ours = socket.local_addr().ok()?.ip().to_canonical();
    (!ours.is_loopback() && !ours.is_unspecified()).then_some(ours)
}

/// What a node says.
#[derive(Debug, Default)]
struct Report {
    /// Where our own session comes from.
    session: Option<IpAddr>,
    /// The port that it has come to.
    ssh_port: Option<u16>,
    /// The node's own addresses, those of the link and the loopback left out.
    own: BTreeSet<IpAddr>,
    /// What the peers' addresses mean there.
    peers: BTreeMap<Name, BTreeSet<IpAddr>>,
}

async fn ask(node: &Node, nodes: &[Node]) -> Result<Report, String> {
    let command = Command::new(script(node, nodes))
        .idempotent()
        .as_login_user();
    let output = node.remote.exec(command).await;
    let output = output.map_err(|error| error.to_string())?;
    Ok(read(nodes, &output.text()))
}

/// Prints addresses, one a line after what they are: `session`, `own`, or the number of a peer; and the `port` of the session.
fn script(node: &Node, nodes: &[Node]) -> String {
    let mut script = String::from(
        "echo session \"${SSH_CONNECTION%% *}\"\n\
         echo port \"${SSH_CONNECTION##* }\"\n\
         for address in $(hostname -I); do echo own \"$address\"; done\n",
    );
    let peers = nodes.iter().enumerate();
    for (number, peer) in peers.filter(|(_, peer)| peer.name != node.name) {
        let address = quote(&peer.address);
        script += &format!(
            "getent ahosts {address} | while read -r address _; do echo {number} \"$address\"; done\n"
        );
    }
    script
}

fn read(nodes: &[Node], text: &str) -> Report {
    let mut report = Report::default();
    for line in text.lines() {
        if let Some(port) = line.strip_prefix("port ") {
            report.ssh_port = port.trim().parse().ok();
        }
        let Some((key, address)) = line.split_once(' ').and_then(|(k, a)| Some((k, parse(a)?)))
        else {
            continue;
        };
        let peer = key.parse().ok().and_then(|number: usize| nodes.get(number));
        match (key, peer) {
            ("session", _) => report.session = Some(address),
            ("own", _) => {
                report.own.insert(address);
            }
            (_, Some(peer)) => {
                report
                    .peers
                    .entry(peer.name.clone())
                    .or_default()
                    .insert(address);
            }
            (_, None) => {}
        }
    }
    report
}

/// An address without its zone; IPv4 in IPv6's clothing is IPv4.
fn parse(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.split('%').next()?.trim().parse().ok()?;
    Some(address.to_canonical())
}

/// A peer's addresses: what its name means, and those it has itself and no other node has (such as a
/// container bridge's, which are the same everywhere).
fn combine(nodes: &[Node], reports: &[Report]) -> Vec<BTreeMap<Name, BTreeSet<IpAddr>>> {
    let mut owners: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for address in reports.iter().flat_map(|report| &report.own) {
        *owners.entry(*address).or_default() += 1;
    }
    let of_peer = |report: &Report, peer: usize| {
        let named = report.peers.get(&nodes[peer].name).into_iter().flatten();
        let own = reports[peer]
            .own
            .iter()
            .filter(|address| owners[address] == 1);
        named.chain(own).copied().collect()
    };
    let of_node = |at: usize| {
        let peers = (0..nodes.len()).filter(|peer| *peer != at);
        let peers = peers.map(|peer| (nodes[peer].name.clone(), of_peer(&reports[at], peer)));
        peers.collect()
    };
    (0..nodes.len()).map(of_node).collect()
}

/// Whether a node's packets from one peer can be told from all others.
fn check(
    node: &Node,
    clients: &BTreeSet<IpAddr>,
    peers: &BTreeMap<Name, BTreeSet<IpAddr>>,
    nodes: &[Node],
) -> Result<(), String> {
    let at = &node.name;
    let mut owners: BTreeMap<IpAddr, &Name> = BTreeMap::new();
    for (peer, address) in peers
        .iter()
        .flat_map(|(peer, all)| all.iter().map(move |a| (peer, *a)))
    {
        if address.is_loopback() || address.is_unspecified() {
            return Err(format!(
                "{at}: {peer} is {address} there, which is {at} itself\n  hint: correct /etc/hosts \
                 on {at}"
            ));
        }
        if let Some(other) = owners.insert(address, peer) {
            return Err(format!(
                "{at}: {other} and {peer} are both {address} there: cutting one would cut both"
            ));
        }
    }
    let mut ours = clients.iter();
    if let Some((address, peer)) = ours.find_map(|from| owners.get_key_value(from)) {
        return Err(format!(
            "{at}: this session comes from {address}, which is {peer}: a partition would cut it\n  \
             hint: run from a machine that is no node, and use no node as a jump host"
        ));
    }
    let unknown = |peer: &&Node| peers.get(&peer.name).is_some_and(BTreeSet::is_empty);
    match nodes.iter().find(unknown) {
        None => Ok(()),
        Some(peer) => Err(format!(
            "{at}: cannot resolve {}\n  hint: add it to /etc/hosts on {at}, or give nodes by address",
            peer.address
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::ssh::testing::NoRemote;

    fn node(name: &str) -> Node {
        Node {
            name: name.into(),
            address: format!("{name}.example"),
            remote: Arc::new(NoRemote(name.into())),
        }
    }

    /// What is known on n1, from what n1, n2 and n3 say.
    fn on_n1(texts: [&str; 3]) -> Result<String, String> {
        let nodes = ["n1", "n2", "n3"].map(node);
        let reports = texts.map(|text| read(&nodes, text));
        let peers = &combine(&nodes, &reports)[0];
        check(
            &nodes[0],
            &reports[0].session.into_iter().collect(),
            peers,
            &nodes,
        )?;
        let shown = peers
            .iter()
            .map(|(name, addresses)| format!("{name}={addresses:?}"));
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_peer_is_all_its_addresses_in_both_families() {
        let n1 = "session 10.0.0.254\nown 10.0.0.1\nown 172.17.0.1\n1 10.0.0.2\n1 10.0.0.2\n\
                  2 ::ffff:10.0.0.3\n2 fe80::3%eth0\n";
        let n2 = "own 10.0.0.2\nown fd00::2\nown 172.17.0.1\n";
        assert_eq!(
            on_n1([n1, n2, "own 172.17.0.1\n"]).unwrap(),
            "n2={10.0.0.2, fd00::2} n3={10.0.0.3, fe80::3}"
        );
    }

    #[test]
    fn the_session_says_where_clients_come_from() {
        let report = read(&[], "session 10.0.0.254\nport 2222\n");
        assert_eq!(report.session, Some("10.0.0.254".parse().unwrap()));
        assert_eq!(report.ssh_port, Some(2222));
        // Without a session there is none.
        let report = read(&[], "session \nport \n");
        assert_eq!((report.session, report.ssh_port), (None, None));
    }

    #[test]
    fn what_would_cut_the_wrong_thing_is_refused() {
        let error = |texts| on_n1(texts).unwrap_err();
        let unknown = error(["1 10.0.0.2\n", "", ""]);
        assert!(unknown.contains("cannot resolve n3.example"), "{unknown}");
        let itself = error(["1 127.0.1.1\n2 10.0.0.3\n", "", ""]);
        assert!(
            itself.contains("n2 is 127.0.1.1 there, which is n1 itself"),
            "{itself}"
        );
        let same = error(["1 10.0.0.2\n2 10.0.0.2\n", "", ""]);
        assert!(same.contains("n2 and n3 are both 10.0.0.2 there"), "{same}");
        let jump = error([
            "session 10.1.0.3\n1 10.0.0.2\n2 10.0.0.3\n",
            "",
            "own 10.1.0.3\n",
        ]);
        assert!(
            jump.contains("this session comes from 10.1.0.3, which is n3"),
            "{jump}"
        );
    }
}
