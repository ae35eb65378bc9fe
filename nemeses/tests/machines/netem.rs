//! Bad lines by netem: measured by `ping` over sessions of the tests' own, beside nodes and links that are none of the rules' business.

use harness::Name;
use harness::capability::{CapabilityError, Network};
use harness::links::{
    Backend, Chance, Delay, Distribution, LinkNeeds, LinkRule, LinkRules, Loss, Party, Protocol,
    Quality, Traffic, Treatment,
};
use harness::local::{self, Config};
use harness::node::undo::{Healing, heal_node};
use harness::remote::Command;
use nemeses::ssh::{Journaled, NodeNetwork};

use crate::conformance;
use crate::outside::{Machines, journaled_of};

const LAYER: &str = "packet";

fn needs() -> LinkNeeds {
    LinkNeeds {
        quality: true,
        holding: true,
        backend: Backend::Netem,
        ..LinkNeeds::default()
    }
}

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
        machines.runtime.block_on(network.probe(&needs())).unwrap();
        let before = (1..=3).map(|i| disciplines(machines, i)).collect();
        Tested {
            machines,
            nodes,
            network,
            before,
        }
    }

    fn set(&self, rules: Vec<LinkRule>) {
        let rules = LinkRules {
            rules,
            backend: Backend::Netem,
            ..LinkRules::default()
        };
        let set = self
            .machines
            .runtime
            .block_on(self.network.set(LAYER, &rules))
            .unwrap();
        assert!(!set.as_object().unwrap().is_empty(), "{set}");
    }

    /// The tree that was there before, and nothing of ours.
    fn assert_gone(&self) {
        let now: Vec<String> = (1..=3).map(|i| disciplines(self.machines, i)).collect();
        assert_eq!(now, self.before);
        for at in &self.nodes {
            assert_eq!(
                self.machines.runtime.block_on(at.journal.list()).unwrap(),
                []
            );
        }
    }

    fn leave(self) {
        self.assert_gone();
        self.machines
            .runtime
            .block_on(nemeses::ssh::leave(&self.nodes));
    }
}

fn disciplines(machines: &Machines, i: usize) -> String {
    machines.says(
        i,
        "tc qdisc show; tc class show dev eth0; tc filter show dev eth0; ip -o link show eth0",
    )
}

fn link(from: &str, to: &str, quality: Quality) -> LinkRule {
    LinkRule {
        from: Party::from(Name::from(from)),
        to: Party::from(Name::from(to)),
        traffic: Traffic::default(),
        treatment: Treatment::Quality(quality),
    }
}

fn late(mean_ms: u64) -> Quality {
    let delay = Delay {
        mean_us: mean_ms * 1000,
        jitter_us: 0,
        distribution: Distribution::Normal,
        correlation: 0.0,
    };
    Quality {
        delay: Some(delay),
        ..Quality::default()
    }
}

/// What `ping` saw: how many came back of so many, and the least and the mean of the ways there and back, in milliseconds.
fn ping(machines: &Machines, from: usize, to: &str, count: usize) -> (usize, f64, f64) {
    let script = format!("ping -c {count} -i 0.02 -W 3 {to}; true");
    let text = machines.says(from, &script);
    let back = text
        .lines()
        .find_map(|line| line.split_once(" packets transmitted, "));
    let back = back
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|it| it.parse().ok());
    let times = text
        .lines()
        .find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
    let mut times = times
        .into_iter()
        .flat_map(|it| it.split('/'))
        .map_while(|it| it.parse::<f64>().ok());
    let (least, mean) = (
        times.next().unwrap_or(f64::NAN),
        times.next().unwrap_or(f64::NAN),
    );
    (back.unwrap_or_else(|| panic!("{text}")), least, mean)
}

pub(crate) fn netem_does_what_every_means_does(machines: &Machines) {
    let tested = Tested::new(machines);
    for case in conformance::cases(Backend::Netem) {
        let set = tested.network.set(LAYER, &case.rules);
        machines.runtime.block_on(set).unwrap();
        for ping in &case.pings {
            let said = machines.says(ping.from, &ping.script(&format!("10.77.0.{}", ping.to)));
            ping.judge(case.name, &said);
        }
        let counts = machines
            .runtime
            .block_on(tested.network.counts(LAYER))
            .unwrap();
        conformance::judge_counts(&case, &counts);
    }
    let healed = machines
        .runtime
        .block_on(tested.network.heal(LAYER))
        .unwrap();
    assert!(!healed.is_empty());
    assert!(ping(machines, 1, "n2", 3).1 < 250.0);
    tested.leave();
}

pub(crate) fn netem_loses_in_bursts(machines: &Machines) {
    let tested = Tested::new(machines);
    let loss = Some(Loss::Bernoulli(Chance {
        share: 0.3,
        correlation: 0.5,
    }));
    tested.set(vec![link(
        "n2",
        "n1",
        Quality {
            loss,
            ..Quality::default()
        },
    )]);
    let (back, ..) = ping(machines, 1, "n2", 300);
    // The share is what was asked for: bursts have a larger deviation.
    assert!((120..=295).contains(&back), "{back} of 300 came back");
    let counts = machines
        .runtime
        .block_on(tested.network.heal(LAYER))
        .unwrap();
    let lost = counts[0].counts.lost as usize;
    assert!(
        lost >= 300 - back && counts[0].counts.matched >= 300,
        "{counts:?} {back}"
    );
    tested.leave();
}

pub(crate) fn netem_finds_the_traffic_that_is_meant(machines: &Machines) {
    let tested = Tested::new(machines);
    let mut udp = link("n1", "n2", late(300));
    udp.traffic = Traffic {
        protocol: Some(Protocol::Udp),
        ports: vec![7777],
    };
    // All to clients, but for the session that this is asked over.
    let clients = link("n1", "clients", late(500));
    tested.set(vec![udp, clients]);
    assert!(ping(machines, 1, "n2", 3).1 < 250.0, "no UDP");
    let (_, least, _) = ping(machines, 1, "controller", 3);
    assert!((499.0..1500.0).contains(&least), "{least}");
    machines.says(1, "true");
    machines.says(
        1,
        "for i in 1 2 3; do echo x | nc -u -w 1 -q 0 n2 7777; done; sleep 1",
    );
    let counts = machines
        .runtime
        .block_on(tested.network.heal(LAYER))
        .unwrap();
    assert_eq!(counts[0].counts.delayed, 3, "{counts:?}");
    // Those to the controller, and none of the packets of the session, which are many more.
    assert!((3..10).contains(&counts[1].counts.delayed), "{counts:?}");
    tested.leave();
}

pub(crate) fn netem_is_gone_with_its_controller(machines: &Machines) {
    let tested = Tested::new(machines);
    tested.set(vec![link("n1", "n2", late(300))]);
    // The agent's input ends.
    machines
        .runtime
        .block_on(nemeses::ssh::leave(&tested.nodes));
    tested.assert_gone();
    // And without the agent: heal.
    tested.set(vec![link("n1", "n2", late(300))]);
    machines.says(
        1,
        "kill -9 $(pgrep -f '^/var/lib/gainsay/agent-[0-9a-f]* serve')",
    );
    assert!(ping(machines, 1, "n2", 3).1 > 299.0);
    let healed = machines
        .runtime
        .block_on(heal_node(&*tested.nodes[0].node.remote))
        .unwrap();
    assert!(
        healed.iter().all(|it| it.healing == Healing::Undone) && healed.len() == 1,
        "{healed:?}"
    );
    tested.leave();
}

pub(crate) fn what_netem_cannot_do_is_refused_or_left_to_the_queue(machines: &Machines) {
    let tested = Tested::new(machines);
    let nth = Quality {
        loss: Some(Loss::Nth(3)),
        ..Quality::default()
    };
    let rules = |backend| LinkRules {
        rules: vec![link("n1", "n2", nth.clone())],
        backend,
        ..LinkRules::default()
    };
    let refused = machines
        .runtime
        .block_on(tested.network.set(LAYER, &rules(Backend::Netem)))
        .unwrap_err();
    assert!(
        matches!(&refused, CapabilityError::NotDone(why) if why.contains("so-many-th")),
        "{refused}"
    );
    // These kernels have no nf_tables for IP, so the queue cannot either, and says so.
    let left = machines
        .runtime
        .block_on(tested.network.set(LAYER, &rules(Backend::Any)))
        .unwrap_err();
    assert!(matches!(&left, CapabilityError::NotDone(_)), "{left}");
    let why = machines.runtime.block_on(tested.network.probe(&LinkNeeds {
        backend: Backend::Any,
        beyond_netem: Some("it cannot"),
        ..needs()
    }));
    assert!(why.clone().unwrap_err().contains("netem"), "{why:?}");
    // What is somebody's is not touched.
    machines.says(1, "tc qdisc add dev eth0 root handle 1: prio");
    let foreign = NodeNetwork::new(&tested.nodes);
    let why = machines
        .runtime
        .block_on(foreign.probe(&needs()))
        .unwrap_err();
    assert!(why.contains("n1") && why.contains("somebody's"), "{why}");
    machines.says(1, "tc qdisc del dev eth0 root");
    tested.leave();
}

/// The other means, on nodes that share the machine's kernel.
pub(crate) fn the_queue_does_what_every_means_does(_: &Machines) {
    let cluster = local::up(&Config::new(3), &mut |line| eprintln!("  {line}")).unwrap();
    let conforms = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let nodes = journaled_of(&cluster);
        let network = NodeNetwork::new(&nodes);
        runtime.block_on(async {
            let queue = LinkNeeds {
                backend: Backend::Queue,
                ..needs()
            };
            network.probe(&queue).await.unwrap();
            for case in conformance::cases(Backend::Queue) {
                network.set(LAYER, &case.rules).await.unwrap();
                for ping in &case.pings {
                    let script = ping.script(&format!("10.77.0.{}", ping.to));
                    let command = Command::new(script).idempotent();
                    let said = nodes[ping.from - 1]
                        .node
                        .remote
                        .exec(command)
                        .await
                        .unwrap();
                    ping.judge(case.name, &said.text());
                }
                let counts = network.counts(LAYER).await.unwrap();
                conformance::judge_counts(&case, &counts);
            }
            network.heal(LAYER).await.unwrap();
            nemeses::ssh::leave(&nodes).await;
        });
    };
    cluster.in_switch_netns(conforms).unwrap();
    cluster.down().unwrap();
}
