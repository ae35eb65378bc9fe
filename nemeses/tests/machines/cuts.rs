//! Cuts on nodes whose firewall has no nf_tables for IP: made by filters, measured by `ping` over sessions of the tests' own.

use harness::Name;
use harness::capability::Network;
use harness::links::{LinkNeeds, LinkRule, LinkRules, Party, Protocol, Traffic, Treatment};
use harness::node::undo::{Healing, heal_node};
use nemeses::ssh::{Journaled, NodeNetwork};

use crate::outside::Machines;

const LAYER: &str = "partition";

struct Tested<'a> {
    machines: &'a Machines,
    nodes: Vec<Journaled>,
    network: NodeNetwork,
    before: Vec<String>,
}

impl<'a> Tested<'a> {
    fn new(machines: &'a Machines) -> Tested<'a> {
        let nodes = machines.journaled();
        let network = NodeNetwork::new(&nodes);
        let needs = LinkNeeds {
            clients: true,
            traffic: true,
            ..LinkNeeds::default()
        };
        machines.runtime.block_on(network.probe(&needs)).unwrap();
        let before = (1..=3).map(|i| disciplines(machines, i)).collect();
        Tested {
            machines,
            nodes,
            network,
            before,
        }
    }

    fn cut(&self, links: &[(&str, &str)], traffic: &Traffic) {
        let rule = |(from, to): &(&str, &str)| LinkRule {
            from: Party::from(Name::from(*from)),
            to: Party::from(Name::from(*to)),
            traffic: traffic.clone(),
            treatment: Treatment::Drop,
        };
        let rules = LinkRules {
            rules: links.iter().map(rule).collect(),
            ..LinkRules::default()
        };
        let set = self.network.set(LAYER, &rules);
        let set = self.machines.runtime.block_on(set).unwrap();
        assert!(set.to_string().contains("filters"), "{set}");
    }

    /// Heals, and says how many packets each link's rules had dropped.
    fn heal(&self) -> Vec<(String, u64)> {
        let healed = self.network.heal(LAYER);
        let counts = self.machines.runtime.block_on(healed).unwrap();
        let count = |count: &harness::links::LinkCount| {
            (format!("{}-{}", count.from, count.to), count.counts.matched)
        };
        counts.iter().map(count).collect()
    }

    /// What was there before, and nothing of ours.
    fn assert_gone(&self) {
        let now: Vec<String> = (1..=3).map(|i| disciplines(self.machines, i)).collect();
        assert_eq!(now, self.before);
        for at in &self.nodes {
            let noted = self.machines.runtime.block_on(at.journal.list()).unwrap();
            assert_eq!(noted, []);
        }
    }

    fn leave(self) {
        self.assert_gone();
        let left = nemeses::ssh::leave(&self.nodes);
        self.machines.runtime.block_on(left);
    }
}

fn disciplines(machines: &Machines, i: usize) -> String {
    let script =
        "tc qdisc show; for b in 26465 26466; do tc filter show block $b 2>/dev/null || true; done";
    machines.says(i, script)
}

/// How many of three packets to somebody came back.
fn back(machines: &Machines, from: usize, to: &str) -> usize {
    let text = machines.says(from, &format!("ping -c 3 -i 0.1 -W 1 {to}; true"));
    let told = text.split_once(" packets transmitted, ");
    let back = told.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    back.unwrap_or_else(|| panic!("{text}"))
}

pub(crate) fn a_kernel_without_a_firewall_cuts_by_filters(machines: &Machines) {
    let tested = Tested::new(machines);
    tested.cut(&[("n2", "n1")], &Traffic::default());
    assert_eq!(back(machines, 1, "n2"), 0, "answers are dropped");
    assert_eq!((back(machines, 1, "n3"), back(machines, 3, "n2")), (3, 3));
    let counts = tested.network.counts(LAYER);
    let counts = machines.runtime.block_on(counts).unwrap();
    assert_eq!(counts[0].counts.matched, 3, "{counts:?}");
    // Others in their place.
    tested.cut(&[("n3", "n1"), ("n1", "n3")], &Traffic::default());
    assert_eq!((back(machines, 1, "n2"), back(machines, 1, "n3")), (3, 0));
    assert_eq!(back(machines, 3, "n1"), 0);
    let counts = tested.heal();
    // Those to n3 from n1, and to n1 from n3, with what they say of addresses that do not answer.
    let links: Vec<&str> = counts.iter().map(|(link, _)| link.as_str()).collect();
    assert_eq!(links, ["n3-n1", "n1-n3"]);
    assert!(
        counts.iter().all(|(_, packets)| *packets >= 3),
        "{counts:?}"
    );
    assert_eq!((back(machines, 1, "n3"), back(machines, 1, "n2")), (3, 3));
    tested.leave();
}

pub(crate) fn filters_find_the_traffic_that_is_meant(machines: &Machines) {
    let tested = Tested::new(machines);
    let udp = Traffic {
        protocol: Some(Protocol::Udp),
        ports: vec![7777],
    };
    tested.cut(&[("n1", "n2")], &udp);
    assert_eq!(back(machines, 1, "n2"), 3);
    for port in [7777, 7778] {
        machines.says(1, &format!("echo x | nc -u -w 1 -q 0 n2 {port}"));
    }
    assert_eq!(tested.heal(), [("n1-n2".to_owned(), 1)]);
    // Clients, but for the session that this is asked over.
    let all = Traffic::default();
    tested.cut(&[("clients", "n1"), ("n1", "clients")], &all);
    assert_eq!(
        (back(machines, 1, "controller"), back(machines, 1, "n2")),
        (0, 3)
    );
    let counts = tested.heal();
    assert!(counts[1].1 >= 3, "{counts:?}");
    assert_eq!(back(machines, 1, "controller"), 3);
    tested.leave();
}

pub(crate) fn filters_are_gone_with_their_controller(machines: &Machines) {
    let tested = Tested::new(machines);
    tested.cut(&[("n2", "n1")], &Traffic::default());
    let left = nemeses::ssh::leave(&tested.nodes);
    machines.runtime.block_on(left);
    tested.assert_gone();
    // And without the agent: heal.
    tested.cut(&[("n2", "n1")], &Traffic::default());
    machines.says(
        1,
        "kill -9 $(pgrep -f '^/var/lib/gainsay/agent-[0-9a-f]* serve')",
    );
    assert_eq!(back(machines, 1, "n2"), 0);
    let healed = heal_node(&*tested.nodes[0].node.remote);
    let healed = machines.runtime.block_on(healed).unwrap();
    let undone = healed.iter().all(|it| it.healing == Healing::Undone);
    assert!(undone && healed.len() == 1, "{healed:?}");
    assert_eq!(back(machines, 1, "n2"), 3);
    tested.leave();
}

pub(crate) fn what_filters_cannot_do_is_refused(machines: &Machines) {
    let tested = Tested::new(machines);
    let refused = |needs: LinkNeeds| {
        let probed = NodeNetwork::new(&tested.nodes);
        machines
            .runtime
            .block_on(async { probed.probe(&needs).await })
            .unwrap_err()
    };
    let plain = LinkNeeds::default();
    let rejecting = LinkNeeds {
        rejecting: true,
        ..plain
    };
    let holding = LinkNeeds {
        holding: true,
        ..plain
    };
    let why = refused(rejecting);
    assert!(
        why.contains("cannot reject") && why.contains("tc filters"),
        "{why}"
    );
    assert!(refused(holding).contains("cannot hold"));
    // What is somebody's is not touched.
    machines.says(1, "tc qdisc add dev eth0 clsact");
    let why = refused(plain);
    assert!(why.contains("n1") && why.contains("somebody's"), "{why}");
    machines.says(1, "tc qdisc del dev eth0 clsact");
    tested.leave();
}
