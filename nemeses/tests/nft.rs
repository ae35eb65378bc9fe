//! Cutting links for real: packets between network namespaces stop, and come again, and nobody else's
//! firewall rules change.
#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/shell.rs"]
mod shell;
#[path = "common/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::capability::{CapabilityError, Grudge, Network};
use harness::links::{LinkCount, LinkNeeds, LinkRules, Traffic, Treatment, by_node};
use harness::node::undo::{Healing, heal_node_in};
use harness::{Name, Value};
use nemeses::ssh::AgentNetwork;

use cluster::{Cluster, Probe};

/// How long a packet that should come may take.
const COMES: Duration = Duration::from_secs(10);
/// How long one that should not come is waited for.
const NEVER_COMES: Duration = Duration::from_millis(100);

/// Rules of somebody else, in tables with names as near to ours as can be.
const FOREIGN: &str = r#"nft '
table inet gainsay2 {
    chain input { type filter hook input priority 0; ip saddr 203.0.113.9 drop; }
}
table ip gainsay {
    counter dropped { }
    chain input { type filter hook input priority 0; ip saddr 203.0.113.8 counter name dropped drop; }
}
table inet filter {
    chain input { type filter hook input priority 0; policy accept; }
}'"#;

fn grudge(cuts: &[(&str, &[&str])]) -> Grudge {
    let cut = |(at, from): &(&str, &[&str])| {
        (
            Name::from(*at),
            from.iter().map(|name| Name::from(*name)).collect(),
        )
    };
    Grudge(cuts.iter().map(cut).collect())
}

async fn cut(network: &AgentNetwork, grudge: &Grudge) -> Result<Value, CapabilityError> {
    let rules = LinkRules::of(grudge, &Traffic::default(), &Treatment::Drop);
    network.set("partition", &rules).await
}

fn drops(counts: &[LinkCount]) -> BTreeMap<Name, u64> {
    by_node(counts, |it| it.matched)
}

/// Which of all ordered pairs of nodes can reach each other, by sending a packet over each.
struct Reach<'a> {
    cluster: &'a Cluster,
    probes: Vec<Probe>,
    round: usize,
}

impl Reach<'_> {
    fn new(cluster: &Cluster, count: usize) -> Reach<'_> {
        Reach {
            cluster,
            probes: (1..=count).map(|i| cluster.socket(i)).collect(),
            round: 0,
        }
    }

    /// Whether a packet of this round, and none of an earlier one, comes from one node to another.
    fn reaches(&mut self, from: usize, to: usize, expected: bool) -> bool {
        self.round += 1;
        let message = format!("packet {}", self.round);
        self.probes[from - 1].send(self.cluster.address(to), &message);
        let limit = if expected { COMES } else { NEVER_COMES };
        match self.probes[to - 1].hears(limit) {
            None => false,
            Some(heard) => {
                assert_eq!(heard, message, "a packet that was dropped came later");
                true
            }
        }
    }

    fn check(&mut self, grudge: &Grudge) {
        let nodes = 1..=self.probes.len();
        for (from, to) in nodes
            .clone()
            .flat_map(|a| nodes.clone().map(move |b| (a, b)))
        {
            let cut = grudge.drops(&format!("n{from}"), &format!("n{to}"));
            if from != to {
                assert_eq!(self.reaches(from, to, !cut), !cut, "n{from} to n{to}");
            }
        }
    }
}

#[tokio::test]
async fn packets_stop_and_come_again() {
    let Some(cluster) = Cluster::up("nft", 3) else {
        return;
    };
    let rulesets = || {
        (1..=3)
            .map(|i| cluster.on(i, "nft list ruleset"))
            .collect::<Vec<_>>()
    };
    for i in 1..=3 {
        cluster.on(i, FOREIGN);
    }
    let before = rulesets();
    let network = AgentNetwork::new(&cluster.nodes());
    network.probe(&LinkNeeds::default()).await.unwrap();
    assert_eq!(rulesets(), before, "the probe changes nothing");

    let mut reach = Reach::new(&cluster, 3);
    reach.check(&Grudge::default());

    let isolate = grudge(&[("n1", &["n2", "n3"]), ("n2", &["n1"]), ("n3", &["n1"])]);
    let began = Instant::now();
    let installed = cut(&network, &isolate).await.unwrap();
    println!("cut in {:?}: {installed}", began.elapsed());
    assert_eq!(
        installed["n1"],
        serde_json::json!(["10.77.0.2", "10.77.0.3", "fd77::2", "fd77::3"])
    );
    reach.check(&isolate);
    let dropped = drops(&network.counts("partition").await.unwrap());
    assert!(
        dropped.values().all(|packets| *packets > 0) && dropped.len() == 3,
        "{dropped:?}"
    );

    // Replaced by a one-way cut: n3 no longer hears n2, and all else is whole again.
    let one_way = grudge(&[("n3", &["n2"])]);
    cut(&network, &one_way).await.unwrap();
    reach.check(&one_way);
    assert_eq!(
        cluster.on(1, "nft list ruleset"),
        before[0],
        "n1 has no table any more"
    );

    let began = Instant::now();
    let dropped = drops(&network.heal("partition").await.unwrap());
    println!("healed in {:?}", began.elapsed());
    assert_eq!(
        dropped.keys().map(|name| &**name).collect::<Vec<_>>(),
        ["n3"]
    );
    assert!(dropped["n3"] > 0);
    reach.check(&Grudge::default());
    assert_eq!(rulesets(), before, "nobody else's rules changed");
    for at in cluster.nodes() {
        assert_eq!(
            at.journal.list().await.unwrap(),
            [],
            "nothing is left to undo"
        );
    }
    assert!(
        network.heal("partition").await.unwrap().is_empty(),
        "healing twice is harmless"
    );
}

#[tokio::test]
async fn somebody_who_flushes_the_firewall_is_noticed_and_harms_nothing() {
    let Some(cluster) = Cluster::up("flush", 2) else {
        return;
    };
    let network = AgentNetwork::new(&cluster.nodes());
    let both = grudge(&[("n1", &["n2"]), ("n2", &["n1"])]);
    cut(&network, &both).await.unwrap();
    cluster.on(1, "nft flush ruleset");
    let healed = network.heal("partition").await.unwrap();
    assert!(
        !drops(&healed).contains_key("n1"),
        "nothing is claimed for rules that are gone: {healed:?}"
    );
    Reach::new(&cluster, 2).check(&Grudge::default());
}

#[tokio::test]
async fn the_journal_undoes_what_a_dead_controller_left() {
    let Some(cluster) = Cluster::up("dead", 2) else {
        return;
    };
    let both = grudge(&[("n1", &["n2"]), ("n2", &["n1"])]);
    let network = AgentNetwork::new(&cluster.nodes());
    // Neighbours must know each other first, or packets wait in their sender's queue for that.
    let mut reach = Reach::new(&cluster, 2);
    reach.check(&Grudge::default());
    cut(&network, &both).await.unwrap();
    cut(&network, &both).await.unwrap();
    // As if its machine were gone: nobody tells the agents, and they wait yet.
    std::mem::forget(network);
    reach.check(&both);
    for (i, at) in cluster.nodes().iter().enumerate() {
        let healed = heal_node_in(&*at.node.remote, &cluster.journal(i + 1))
            .await
            .unwrap();
        assert!(
            healed
                .iter()
                .all(|healed| healed.healing == Healing::Undone),
            "{healed:?}"
        );
        assert_eq!(healed.len(), 2);
        assert_eq!(cluster.on(i + 1, "nft list tables"), "");
    }
    reach.check(&Grudge::default());
}

#[tokio::test]
async fn without_a_journal_nothing_is_cut() {
    let Some(cluster) = Cluster::up("full", 2) else {
        return;
    };
    // A file where the folder should be.
    for i in 1..=2 {
        std::fs::write(cluster.journal(i), "").unwrap();
    }
    let network = AgentNetwork::new(&cluster.nodes());
    let both = grudge(&[("n1", &["n2"]), ("n2", &["n1"])]);
    let refused = cut(&network, &both).await.unwrap_err();
    assert!(matches!(refused, CapabilityError::NotDone(_)), "{refused}");
    for i in 1..=2 {
        assert_eq!(cluster.on(i, "nft list tables"), "");
    }
    assert!(network.heal("partition").await.unwrap().is_empty());
}
